//! A software TPM for each test: a process of its own on a free pair of loopback ports, its state
//! in a temporary folder, killed when dropped. And the few commands that the provider never gives,
//! byte by byte, as firmware, the owner of the machine or an attacker gives them.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use strongroom::providers::tpm::Tcti;
use tempfile::TempDir;

const OWNER: u32 = 0x4000_0001;
const LOCKOUT: u32 = 0x4000_000A;

/// Whether the tests can run. Where `CI` is set they must.
pub fn installed() -> bool {
    let found = Command::new("swtpm").arg("--version").output().is_ok();
    assert!(found || std::env::var_os("CI").is_none(), "swtpm is missing: apt-get install swtpm");
    if !found {
        println!("skipped: swtpm is not installed (apt-get install swtpm)");
    }
    found
}

/// Two ports next to each other that nobody listens on. Not of those that the system gives to
/// whoever connects somewhere: a connection to one's own port connects with itself.
pub fn free_ports() -> [TcpListener; 2] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 9_973).unwrap();
    loop {
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + 2 * (own.wrapping_add(nth.wrapping_mul(37)) % 10_000);
        let bound = [port, port + 1].map(|port| TcpListener::bind(("127.0.0.1", port)));
        if let [Ok(data), Ok(control)] = bound {
            return [data, control];
        }
    }
}

pub fn address(port: u16) -> Tcti {
    format!("swtpm:host=127.0.0.1,port={port}").parse().unwrap()
}

#[derive(Debug)]
pub struct Swtpm {
    folder: TempDir,
    pub port: u16,
    process: Mutex<Option<Child>>,
}

impl Swtpm {
    /// A new one, switched on.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut tpm = Self { folder, port: 0, process: Mutex::new(None) };
        for _ in 0..20 {
            tpm.port = free_ports()[0].local_addr().unwrap().port();
            if tpm.try_boot() {
                return tpm;
            }
        }
        panic!("swtpm doesn't start");
    }

    /// One that takes any number of wrong attempts, and of power cuts, which it counts like them.
    pub fn patient() -> Self {
        let tpm = Self::new();
        tpm.limits(1_000_000, 1000);
        tpm
    }

    pub fn tcti(&self) -> Tcti {
        address(self.port)
    }

    /// Switched on again, with all that it had.
    pub fn boot(&self) {
        assert!(self.try_boot(), "swtpm doesn't start again");
    }

    fn try_boot(&self) -> bool {
        let socket = |port| format!("type=tcp,port={port},bindaddr=127.0.0.1");
        let mut process = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .args(["--tpmstate", &format!("dir={}", self.folder.path().display())])
            .args(["--server", &socket(self.port), "--ctrl", &socket(self.port + 1)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(10) {
            if process.try_wait().unwrap().is_some() {
                return false;
            }
            if [self.port, self.port + 1]
                .iter()
                .all(|p| TcpStream::connect(("127.0.0.1", *p)).is_ok())
            {
                *self.process.lock().unwrap() = Some(process);
                return true;
            }
            thread::sleep(Duration::from_millis(2));
        }
        process.kill().unwrap();
        process.wait().unwrap();
        false
    }

    /// The power goes: `kill -9`.
    pub fn cut(&self) {
        if let Some(mut process) = self.process.lock().unwrap().take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// It answers nothing, or goes on.
    pub fn freeze(&self, frozen: bool) {
        let process = self.process.lock().unwrap();
        let pid = Pid::from_child(process.as_ref().unwrap());
        kill_process(pid, if frozen { Signal::STOP } else { Signal::CONT }).unwrap();
    }

    /// What a snapshot of a virtual machine keeps of it.
    pub fn state(&self) -> Vec<u8> {
        fs::read(self.folder.path().join("tpm2-00.permall")).unwrap()
    }

    pub fn put_back(&self, state: &[u8]) {
        self.cut();
        fs::write(self.folder.path().join("tpm2-00.permall"), state).unwrap();
        self.boot();
    }

    /// One command, whose answer is good.
    pub fn command(&self, command: &[u8]) -> Vec<u8> {
        let mut wire = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        wire.write_all(command).unwrap();
        let mut head = [0; 10];
        wire.read_exact(&mut head).unwrap();
        let [_, _, size @ .., a, b, c, d] = head;
        assert_eq!([a, b, c, d], [0; 4], "response code");
        let mut rest = vec![0; u32::from_be_bytes(size) as usize - 10];
        wire.read_exact(&mut rest).unwrap();
        rest
    }

    /// A command about handles, authorised by an empty password.
    fn authorised(&self, code: u32, handle: u32, parameters: &[u8]) {
        self.authorised_by(b"", code, &[handle], parameters);
    }

    fn authorised_by(&self, password: &[u8], code: u32, handles: &[u32], parameters: &[u8]) {
        let mut command = [0x8002_u16.to_be_bytes(), [0; 2], [0; 2]].concat();
        command.extend(code.to_be_bytes());
        command.extend(handles.iter().flat_map(|handle| handle.to_be_bytes()));
        let len = u8::try_from(password.len()).unwrap();
        command.extend([0, 0, 0, 9 + len, 0x40, 0, 0, 9, 0, 0, 0, 0, len]);
        command.extend(password);
        command.extend(parameters);
        let size = u32::try_from(command.len()).unwrap().to_be_bytes();
        command[2..6].copy_from_slice(&size);
        self.command(&command);
    }

    /// TPM2_DictionaryAttackParameters.
    pub fn limits(&self, tries: u32, recovery_seconds: u32) {
        let numbers = [tries, recovery_seconds, recovery_seconds].map(u32::to_be_bytes);
        self.authorised(0x13A, LOCKOUT, &numbers.concat());
    }

    /// TPM2_DictionaryAttackLockReset.
    pub fn unlock(&self) {
        self.authorised(0x139, LOCKOUT, &[]);
    }

    /// TPM2_Clear.
    pub fn clear(&self) {
        self.authorised(0x126, LOCKOUT, &[]);
    }

    /// TPM2_PCR_Extend of register 16, which is for debugging.
    pub fn extend_pcr_16(&self) {
        let digest = [&[0, 0, 0, 1, 0, 0x0B][..], &[0xAA; 32]].concat();
        self.authorised(0x182, 16, &digest);
    }

    /// TPM2_PCR_Reset of register 16.
    pub fn reset_pcr_16(&self) {
        self.authorised(0x13D, 16, &[]);
    }

    /// TPM2_HierarchyChangeAuth: the owner's hierarchy has an authorisation value from here on.
    pub fn own(&self, auth: &[u8]) {
        let len = u16::try_from(auth.len()).unwrap().to_be_bytes();
        self.authorised(0x129, OWNER, &[&len, auth].concat());
    }

    /// And has none again.
    pub fn own_no_more(&self, auth: &[u8]) {
        self.authorised_by(auth, 0x129, &[OWNER], &[0, 0]);
    }

    /// TPM2_NV_ReadPublic: the public area of an index, with its length before it.
    pub fn nv_public(&self, index: u32) -> Vec<u8> {
        let head = [0x80, 0x01, 0, 0, 0, 14, 0, 0, 0x01, 0x69];
        let answer = self.command(&[&head[..], &index.to_be_bytes()].concat());
        let len = usize::from(u16::from_be_bytes([answer[0], answer[1]]));
        answer[..2 + len].to_vec()
    }

    /// TPM2_NV_DefineSpace.
    pub fn nv_define(&self, auth: &[u8], public: &[u8]) {
        let len = u16::try_from(auth.len()).unwrap().to_be_bytes();
        self.authorised(0x12A, OWNER, &[&len, auth, public].concat());
    }

    /// TPM2_NV_UndefineSpace.
    pub fn nv_undefine(&self, index: u32) {
        self.authorised_by(b"", 0x122, &[OWNER, index], &[]);
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        self.cut();
    }
}
