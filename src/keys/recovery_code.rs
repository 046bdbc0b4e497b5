//! A credential on paper: 256 random bits as 11 groups of six letters, shown once and typed in
//! again when everything else is lost. No KDF: there is nothing to guess. How letters and check
//! letters are laid out is in docs/keys.md, "Recovery codes", and in `letters`.

use std::fmt;

use zeroize::Zeroizing;

use super::credential::{Credential, NewSlot, Refusal, Sealed, SlotFacts, SlotSecret, SlotView};
use super::terms::Terms;
use crate::crypto::derive::{self, Purpose};
use crate::error::OpenError;
use crate::format::key_slot::{Kdf, SlotKind};
use crate::random;
use crate::secret::SecretBytes;

mod letters;

/// A recovery code. Make one, enrol it, show it once, have it written down, and check what was
/// written down by parsing it back.
///
/// ```
/// use strongroom::RecoveryCode;
/// let code = RecoveryCode::generate()?;
/// let paper = code.reveal().to_string(); // ABCDEF-GHJKMN-..., 11 groups of six
/// assert!(RecoveryCode::parse(&paper.to_lowercase().replace('-', " ")).is_ok());
/// # Ok::<(), strongroom::OpenError>(())
/// ```
pub struct RecoveryCode {
    key: SecretBytes,
}

impl RecoveryCode {
    /// A fresh random code.
    ///
    /// # Errors
    /// The operating system gave no randomness or no memory.
    pub fn generate() -> Result<Self, OpenError> {
        let mut key = Zeroizing::new([0; 32]);
        random::fill(key.as_mut_slice()).map_err(OpenError::io("making a recovery code"))?;
        Self::keep(&key)
    }

    /// Reads a code as a person typed it: upper or lower case, with spaces, line breaks, dashes or
    /// nothing between the groups, `o` for 0, `i` and `l` for 1. The caller's copy is the caller's
    /// to wipe.
    ///
    /// # Errors
    /// [`OpenError::RecoveryCode`] names the groups that are wrong. Every single wrong letter and
    /// every swap of two letters or of two groups is among what it finds.
    pub fn parse(typed: &str) -> Result<Self, OpenError> {
        Self::keep(&letters::parse(typed)?)
    }

    fn keep(key: &Zeroizing<[u8; 32]>) -> Result<Self, OpenError> {
        let key = SecretBytes::copy_of(key.as_slice());
        Ok(Self { key: key.map_err(OpenError::io("keeping the recovery code"))? })
    }

    /// The code as text, for the one time that it is shown: the only way to it. The text is the
    /// caller's to wipe.
    #[must_use]
    pub fn reveal(&self) -> Revealed<'_> {
        Revealed { code: self }
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode")
    }
}

/// A recovery code that was asked for: `Display` shows it, 76 characters.
pub struct Revealed<'a> {
    code: &'a RecoveryCode,
}

impl fmt::Display for Revealed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.code.key.expose().map_err(|_| fmt::Error)?;
        let Some(key) = bytes.first_chunk() else { return Err(fmt::Error) };
        let text = letters::encode(key);
        f.write_str(str::from_utf8(text.as_slice()).unwrap_or_default())
    }
}

impl fmt::Debug for Revealed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Revealed")
    }
}

impl Credential for RecoveryCode {}

impl Sealed for RecoveryCode {
    fn kind(&self) -> SlotKind {
        SlotKind::RecoveryCode
    }

    fn make(&self, _facts: SlotFacts<'_>, _terms: &Terms) -> Result<NewSlot, OpenError> {
        Ok(NewSlot { kdf: Kdf::None, blob: Vec::new(), secret: self.secret()? })
    }

    fn slot_secret(&self, _slot: SlotView<'_>, _terms: &Terms) -> Result<SlotSecret, Refusal> {
        Ok(self.secret()?)
    }

    fn is_locked(&self) -> bool {
        self.key.is_locked()
    }
}

impl RecoveryCode {
    fn secret(&self) -> Result<SlotSecret, OpenError> {
        let key =
            self.key.expose().map_err(OpenError::io("taking the recovery code from memory"))?;
        Ok(derive::bytes(Purpose::RecoveryCode, &[key]).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_comes_back_and_shows_itself_only_when_asked() {
        let code = RecoveryCode::generate().unwrap();
        let text = code.reveal().to_string();
        assert_eq!(text.len(), 76);
        let again = RecoveryCode::parse(&text).unwrap();
        assert_eq!(again.key.expose().unwrap(), code.key.expose().unwrap());
        assert_eq!(format!("{code:?} {:?}", code.reveal()), "RecoveryCode Revealed");
        assert_ne!(RecoveryCode::generate().unwrap().reveal().to_string(), text);
    }
}
