//! Row 24: memory that runs out where a file asks for much of it. A child process with little
//! address space opens a file whose slot asks for 3 GiB of Argon2id, within limits that allow it: a
//! typed error, and the file stays as it was. (Elsewhere the amounts are small and bounded, and
//! running out of memory ends a Rust process.)

use std::path::PathBuf;
use std::process::Command;

use strongroom::{Builder, Database, KdfCost, KdfLimits, OpenError, Passphrase};

fn limits() -> KdfLimits {
    KdfLimits { memory_kib_max: u32::MAX, ..KdfLimits::default() }
}

#[test]
fn a_child_process_derives_a_key() {
    let Ok(path) = std::env::var("STRONGROOM_HUNGRY") else { return };
    match Builder::new().kdf_limits(limits()).open(path, &Passphrase::new("hungry")) {
        Ok(_) => println!("child: opened"),
        Err(OpenError::Io { source, .. }) => println!("child: {:?}", source.kind()),
        Err(error) => println!("child: {error:?}"),
    }
}

/// What the child says, with so many KiB of address space.
fn child(path: &std::path::Path, kib: u64) -> String {
    let this = std::env::current_exe().unwrap();
    let script = format!("ulimit -v {kib}; exec \"$0\" --exact \"$1\" --nocapture");
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg(this).arg("memory::a_child_process_derives_a_key");
    let output = command.env("STRONGROOM_HUNGRY", path).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn row_24_no_memory_for_the_passphrase() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("hungry.room");
    let cost = KdfCost { memory_kib: 19 * 1024, passes: 2, lanes: 1 };
    Database::create(&path, Passphrase::new("hungry").cost(cost)).unwrap().close().unwrap();
    assert!(child(&path, 2_000_000).contains("child: opened"), "{}", child(&path, 2_000_000));
    let mut file = std::fs::read(&path).unwrap();
    for start in [0, 32_768] {
        let copy = &mut file[start..start + 32_768];
        copy[2056..2060].copy_from_slice(&(3_u32 << 20).to_le_bytes());
        let crc = crc32fast::hash(&copy[..32_764]).to_le_bytes();
        copy[32_764..].copy_from_slice(&crc);
    }
    std::fs::write(&path, &file).unwrap();
    let said = child(&path, 2_000_000);
    assert!(said.contains("child: OutOfMemory"), "{said}");
    assert!(std::fs::read(&path).unwrap() == file);
}
