//! A SoftHSM of one test's own: its tokens in a temporary folder, its configuration named by an
//! environment variable that has to be set before the module is started. So each test runs itself
//! again as a child process with the variable set, and the work is done there.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use strongroom::providers::pkcs11::{Pin, Pkcs11Provider, Pkcs11Uri};

const FOLDER: &str = "STRONGROOM_SOFTHSM_FOLDER";
const MODULES: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];
const OFFICER: &str = "12345678";
pub const PIN: &str = "1234";

fn module() -> Option<PathBuf> {
    let found = |paths: &[PathBuf]| paths.iter().find(|path| path.exists()).cloned();
    match env::var_os("SOFTHSM2_MODULE") {
        Some(named) => found(&[named.into()]),
        None => found(&MODULES.map(PathBuf::from)),
    }
}

/// Runs `work` in a child process that is this test, with a SoftHSM of its own.
///
/// # Panics
/// Where the work fails; or SoftHSM is not installed, and the environment says `CI`.
pub fn with_softhsm(test: &str, work: impl FnOnce(&Hsm)) {
    if let Some(folder) = env::var_os(FOLDER) {
        return work(&Hsm::start(PathBuf::from(folder)));
    }
    if module().is_none() {
        assert!(env::var_os("CI").is_none(), "SoftHSM must be there: apt-get install softhsm2");
        println!("skipped: {test}: SoftHSM is not installed (apt-get install softhsm2)");
        return;
    }
    // In memory where there is such a folder: SoftHSM writes and syncs a file at every login.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let folder = folder.unwrap();
    let tokens = folder.path().join("tokens");
    fs::create_dir(&tokens).unwrap();
    let conf = folder.path().join("softhsm2.conf");
    let content = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        tokens.display()
    );
    fs::write(&conf, content).unwrap();
    let child = Command::new(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env("SOFTHSM2_CONF", &conf)
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    // Through the harness, so that it is shown where that is wanted.
    print!("{}", String::from_utf8_lossy(&child.stdout));
    eprint!("{}", String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success(), "{test}: {}", child.status);
}

pub struct Hsm {
    pub folder: PathBuf,
    pub module: PathBuf,
    context: Pkcs11,
}

impl Hsm {
    fn start(folder: PathBuf) -> Self {
        let module = module().unwrap();
        let hsm = Self { folder, context: Pkcs11::new(&module).unwrap(), module };
        hsm.initialize();
        hsm
    }

    fn initialize(&self) {
        let flags = CInitializeFlags::OS_LOCKING_OK;
        // The provider may have started it again already.
        let _ = self.context.initialize(CInitializeArgs::new(flags));
        self.context.get_library_info().unwrap();
    }

    fn finalize(&self) {
        let _ = self.context.clone().finalize();
    }

    pub fn tokens(&self) -> PathBuf {
        self.folder.join("tokens")
    }

    /// No token but these, new, with [`PIN`].
    pub fn fresh(&self, labels: &[&str]) {
        self.finalize();
        fs::remove_dir_all(self.tokens()).unwrap();
        fs::create_dir(self.tokens()).unwrap();
        self.initialize();
        for label in labels {
            let (officer, pin) = (AuthPin::from(OFFICER), AuthPin::from(PIN));
            let before = self.initialized();
            let empty = self.slot(|_, initialized| !initialized);
            self.context.init_token(empty, &officer, label).unwrap();
            let new = self.initialized().into_iter().find(|slot| !before.contains(slot)).unwrap();
            let session = self.context.open_rw_session(new).unwrap();
            session.login(UserType::So, Some(&officer)).unwrap();
            session.init_pin(&pin).unwrap();
            session.logout().unwrap();
        }
    }

    fn initialized(&self) -> Vec<Slot> {
        self.context.get_slots_with_initialized_token().unwrap()
    }

    fn slot(&self, fits: impl Fn(&str, bool) -> bool) -> Slot {
        let slots = self.context.get_slots_with_token().unwrap();
        let fits = |slot: &Slot| {
            let info = self.context.get_token_info(*slot).unwrap();
            fits(info.label(), info.token_initialized())
        };
        slots.into_iter().find(fits).unwrap()
    }

    /// As the token's user, in a session of the test's own; logged out of afterwards.
    pub fn as_user<T>(&self, token: &str, work: impl FnOnce(&Session) -> T) -> T {
        self.initialize();
        let session = self.context.open_rw_session(self.slot(|label, _| label == token)).unwrap();
        session.login(UserType::User, Some(&AuthPin::from(PIN))).unwrap();
        let done = work(&session);
        session.logout().unwrap();
        done
    }

    /// In a session of the test's own that is not logged in.
    pub fn as_anybody(&self, token: &str, work: impl FnOnce(&Session)) {
        let slot = self.slot(|label, _| label == token);
        work(&self.context.open_ro_session(slot).unwrap());
    }

    /// Whether the token has seen a wrong PIN since the last right one.
    pub fn saw_a_wrong_pin(&self, token: &str) -> bool {
        self.initialize();
        let slot = self.slot(|label, _| label == token);
        self.context.get_token_info(slot).unwrap().user_pin_count_low()
    }

    pub fn serial(&self, token: &str) -> String {
        let slot = self.slot(|label, _| label == token);
        self.context.get_token_info(slot).unwrap().serial_number().to_owned()
    }

    /// The file that SoftHSM locks before it looks at a token.
    pub fn lock_file(&self, token: &str) -> PathBuf {
        let serial = self.serial(token);
        let is_it = |folder: &Path| {
            let name = folder.file_name().unwrap().to_str().unwrap().replace('-', "");
            name.ends_with(&serial)
        };
        let folders = fs::read_dir(self.tokens()).unwrap().map(|entry| entry.unwrap().path());
        folders.into_iter().find(|folder| is_it(folder)).unwrap().join("generation")
    }

    /// All tokens are pulled out, and the module started anew, as a reader's driver would be.
    pub fn pull_out(&self) {
        self.finalize();
        fs::rename(self.tokens(), self.folder.join("away")).unwrap();
        fs::create_dir(self.tokens()).unwrap();
    }

    pub fn put_back(&self) {
        self.finalize();
        fs::remove_dir_all(self.tokens()).unwrap();
        fs::rename(self.folder.join("away"), self.tokens()).unwrap();
    }

    pub fn uri(&self, path: &str) -> Pkcs11Uri {
        format!("pkcs11:{path}?module-path={}", self.module.display()).parse().unwrap()
    }

    /// With the right PIN.
    pub fn provider(&self, path: &str) -> Pkcs11Provider {
        self.provider_with(path, PIN)
    }

    pub fn provider_with(&self, path: &str, pin: &str) -> Pkcs11Provider {
        Pkcs11Provider::new(self.uri(path)).unwrap().pin(Pin::new(pin).unwrap())
    }
}

/// An RSA pair as somebody else would have made it.
pub fn make_rsa_pair(session: &Session, label: &str, bits: u64) {
    let named = [
        Attribute::Token(true),
        Attribute::Label(label.into()),
        Attribute::Id(format!("id of {label}").into()),
    ];
    let public = [
        Attribute::ModulusBits(bits.into()),
        Attribute::PublicExponent(vec![1, 0, 1]),
        Attribute::Encrypt(true),
    ];
    let private = [Attribute::Private(true), Attribute::Sensitive(true), Attribute::Decrypt(true)];
    let way = Mechanism::RsaPkcsKeyPairGen;
    session
        .generate_key_pair(&way, &[&named[..], &public].concat(), &[&named[..], &private].concat())
        .unwrap();
}

/// An AES key with some attributes of the test's choice.
pub fn make_aes_key(
    session: &Session,
    label: &str,
    bytes: u64,
    more: &[Attribute],
) -> ObjectHandle {
    let template = [
        Attribute::Token(true),
        Attribute::Label(label.into()),
        Attribute::ValueLen(bytes.into()),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
    ];
    session.generate_key(&Mechanism::AesKeyGen, &[&template[..], more].concat()).unwrap()
}
