//! A credential of 32 random bytes: from a keychain, an enclave, a parent key. No KDF.

use std::fmt;
use std::io;

use zeroize::Zeroizing;

use super::credential::{Credential, NewSlot, Refusal, Sealed, SlotFacts, SlotSecret, SlotView};
use super::terms::Terms;
use crate::error::OpenError;
use crate::format::key_slot::{Kdf, SlotKind};
use crate::random;
use crate::secret::SecretBytes;

/// A raw 256-bit key. The bytes must be random: there is no KDF between them and the root key, so
/// that opening costs microseconds. For anything a person chose, use
/// [`Passphrase`](crate::Passphrase).
pub struct RawKey {
    bytes: io::Result<SecretBytes>,
}

impl RawKey {
    /// Takes the key; this copy of it is wiped.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        let key = Zeroizing::new(key);
        Self { bytes: SecretBytes::copy_of(key.as_slice()) }
    }

    /// A fresh random key. Keep it ([`RawKey::expose`]): without it the database can't be opened.
    ///
    /// # Errors
    /// The operating system gave no randomness or no memory.
    pub fn generate() -> io::Result<Self> {
        let mut key = Zeroizing::new([0; 32]);
        random::fill(key.as_mut_slice())?;
        SecretBytes::copy_of(key.as_slice()).map(|bytes| Self { bytes: Ok(bytes) })
    }

    /// The key's bytes, to put them where the application keeps its keys. Wiped when dropped.
    ///
    /// # Errors
    /// There was no memory to keep the key in when it was made, or this process is a fork of the
    /// one that made it.
    pub fn expose(&self) -> io::Result<Zeroizing<[u8; 32]>> {
        let missing = || io::Error::new(io::ErrorKind::OutOfMemory, "no key memory");
        let bytes = self.bytes.as_ref().map_err(|_| missing())?;
        let key = bytes.expose()?.first_chunk::<32>().ok_or_else(missing)?;
        Ok(Zeroizing::new(*key))
    }
}

impl fmt::Debug for RawKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawKey")
    }
}

impl Credential for RawKey {}

impl Sealed for RawKey {
    fn kind(&self) -> SlotKind {
        SlotKind::RawKey
    }

    fn make(&self, _facts: SlotFacts<'_>, _terms: &Terms) -> Result<NewSlot, OpenError> {
        Ok(NewSlot { kdf: Kdf::None, blob: Vec::new(), secret: self.secret()? })
    }

    fn slot_secret(&self, _slot: SlotView<'_>, _terms: &Terms) -> Result<SlotSecret, Refusal> {
        Ok(self.secret()?)
    }

    fn is_locked(&self) -> bool {
        self.bytes.as_ref().is_ok_and(SecretBytes::is_locked)
    }
}

impl RawKey {
    fn secret(&self) -> Result<SlotSecret, OpenError> {
        let key = self.expose().map_err(OpenError::io("taking the key from memory"))?;
        Ok(key.into())
    }
}
