//! A credential in a file: 32 random bytes, raw or as 64 hexadecimal digits.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use super::credential::{Credential, NewSlot, Refusal, Sealed, SlotFacts, SlotSecret, SlotView};
use super::terms::Terms;
use crate::crypto::derive::{self, Purpose};
use crate::error::OpenError;
use crate::format::key_slot::{Kdf, SlotKind};
use crate::random;
use crate::secret::SecretBytes;

/// More than the 65 bytes of hexadecimal digits with a newline: enough to see "too long".
const READ_MAX: u64 = 128;

/// A key read from a key file. Keep the file on another medium than the database, readable by its
/// owner only.
pub struct KeyFile {
    bytes: SecretBytes,
}

impl KeyFile {
    /// Reads a key file: exactly 32 bytes, or 64 hexadecimal digits and perhaps a newline.
    ///
    /// # Errors
    /// [`OpenError::KeyFileNotFound`], [`OpenError::KeyFileLength`], [`OpenError::Io`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => OpenError::KeyFileNotFound(path.to_owned()),
            _ => OpenError::io("opening the key file")(error),
        })?;
        let mut content = Zeroizing::new(Vec::with_capacity(256));
        let len = file.metadata().map_err(OpenError::io("reading the key file"))?.len();
        file.take(READ_MAX)
            .read_to_end(&mut content)
            .map_err(OpenError::io("reading the key file"))?;
        Self::parse(&content).ok_or(OpenError::KeyFileLength { found: len })?
    }

    /// Writes a new key file with a random key and reads it back. Refuses to replace a file.
    ///
    /// # Errors
    /// [`OpenError::AlreadyExists`], [`OpenError::Io`].
    pub fn generate(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let path = path.as_ref();
        let mut key = Zeroizing::new([0; 32]);
        random::fill(key.as_mut_slice()).map_err(OpenError::io("making a key"))?;
        let created = File::options().write(true).create_new(true).mode(0o600).open(path);
        let mut file = created.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => OpenError::AlreadyExists(path.to_owned()),
            _ => OpenError::io("creating the key file")(error),
        })?;
        let written = file.write_all(key.as_slice()).and_then(|()| file.sync_all());
        if let Err(error) = written.and_then(|()| sync_directory_of(path)) {
            // Better no key file than half of one.
            let _ = fs::remove_file(path);
            return Err(OpenError::io("writing the key file")(error));
        }
        Self::read(path)
    }

    fn parse(content: &[u8]) -> Option<Result<Self, OpenError>> {
        let key = match <[u8; 32]>::try_from(content) {
            Ok(key) => Zeroizing::new(key),
            Err(_) => hex_key(content)?,
        };
        let kept = SecretBytes::copy_of(key.as_slice());
        Some(kept.map(|bytes| Self { bytes }).map_err(OpenError::io("keeping the key")))
    }
}

// The name must be as durable as the database that the key will open.
fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

fn hex_key(content: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let digits = content.trim_ascii_end();
    if digits.len() != 64 {
        return None;
    }
    let mut key = Zeroizing::new([0; 32]);
    for (byte, pair) in key.iter_mut().zip(digits.as_chunks::<2>().0) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let [high, low] = *pair;
        *byte = u8::try_from(digit(high)? * 16 + digit(low)?).ok()?;
    }
    Some(key)
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyFile")
    }
}

impl Credential for KeyFile {}

impl Sealed for KeyFile {
    fn kind(&self) -> SlotKind {
        SlotKind::KeyFile
    }

    fn make(&self, _facts: SlotFacts<'_>, _terms: &Terms) -> Result<NewSlot, OpenError> {
        Ok(NewSlot { kdf: Kdf::None, blob: Vec::new(), secret: self.secret()? })
    }

    fn slot_secret(&self, _slot: SlotView<'_>, _terms: &Terms) -> Result<SlotSecret, Refusal> {
        Ok(self.secret()?)
    }

    fn is_locked(&self) -> bool {
        self.bytes.is_locked()
    }
}

impl KeyFile {
    fn secret(&self) -> Result<SlotSecret, OpenError> {
        let key = self.bytes.expose().map_err(OpenError::io("taking the key file from memory"))?;
        Ok(derive::bytes(Purpose::KeyFile, &[key]).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_and_hexadecimal_files_hold_the_same_key() {
        let key = [0xABu8; 32];
        let raw = KeyFile::parse(&key).unwrap().unwrap();
        let digits = format!("{}\n", "aB".repeat(32));
        let hex = KeyFile::parse(digits.as_bytes()).unwrap().unwrap();
        assert_eq!(raw.bytes.expose().unwrap(), hex.bytes.expose().unwrap());
        assert_eq!(format!("{raw:?}"), "KeyFile");
    }

    #[test]
    fn other_lengths_and_digits_are_refused() {
        for content in [&[][..], &[1; 31], &[1; 33], &[b'g'; 64], &[b'a'; 66]] {
            assert!(KeyFile::parse(content).is_none(), "{} bytes", content.len());
        }
    }
}
