//! Where the key comes from. No secret is ever an argument or an environment variable.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use strongroom::{Credential, KeyFile, OpenError, Passphrase};
use zeroize::Zeroizing;

use crate::args::KeySource;
use crate::failure::Failure;
use crate::report;

/// Longer than any passphrase; a descriptor that says more is not one of a passphrase.
const PASSPHRASE_BYTES_MAX: usize = 4096;

/// The key of a vault that exists.
pub(crate) fn read(source: &KeySource) -> Result<Box<dyn Credential>, Failure> {
    match source {
        KeySource::PassphraseFd(fd) => passphrase(*fd),
        KeySource::File(path) | KeySource::Beside(path) => match KeyFile::read(path) {
            Ok(key) => Ok(Box::new(key)),
            Err(error) => Err(key_file_failure(path, error)),
        },
    }
}

/// The key of a vault about to be made: a key file that is missing is made too.
pub(crate) fn read_or_make(source: &KeySource) -> Result<Box<dyn Credential>, Failure> {
    let (KeySource::File(path) | KeySource::Beside(path)) = source else { return read(source) };
    match KeyFile::generate(path) {
        Ok(key) => {
            report::note(&format!(
                "made a new key file, {}: without it nobody opens the vault, you included",
                path.display()
            ));
            if matches!(source, KeySource::Beside(_)) {
                report::note(
                    "it lies beside the vault, where it protects nothing: move it to another \
                     disk and name it with --key-file",
                );
            }
            Ok(Box::new(key))
        }
        Err(OpenError::AlreadyExists(_)) => read(source),
        Err(error) => Err(key_file_failure(path, error)),
    }
}

fn key_file_failure(path: &Path, error: OpenError) -> Failure {
    match error {
        OpenError::KeyFileNotFound(_) => Failure::said(format!(
            "there is no key file {}; name the vault's with --key-file, or --passphrase-fd",
            path.display()
        )),
        error => Failure::said(format!("key file {}: {error}", path.display())),
    }
}

fn passphrase(fd: u32) -> Result<Box<dyn Credential>, Failure> {
    let failed = |error: io::Error| {
        Failure::said(format!("reading the passphrase from file descriptor {fd}: {error}"))
    };
    // The whole room at once: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(vec![0; PASSPHRASE_BYTES_MAX + 1]);
    let mut file = File::open(format!("/dev/fd/{fd}")).map_err(failed)?;
    let mut len = 0;
    while let Some(room) = bytes.get_mut(len..).filter(|room| !room.is_empty()) {
        match file.read(room).map_err(failed)? {
            0 => break,
            read => len += read,
        }
    }
    if len > PASSPHRASE_BYTES_MAX {
        return Err(Failure::said(format!("a passphrase of over {PASSPHRASE_BYTES_MAX} bytes")));
    }
    let said = bytes.get(..len).unwrap_or_default();
    // The newline that `echo` and every editor add; no other byte is ours to drop.
    let said = said.strip_suffix(b"\n").unwrap_or(said);
    let said = said.strip_suffix(b"\r").unwrap_or(said);
    Ok(Box::new(Passphrase::new(said)))
}
