//! Several credentials together open a slot, none of them alone: a passphrase and a key file, a
//! token and a recovery code. The slot secret comes from all their secrets at once, so nothing
//! tells which of them was wrong. The bytes are in docs/keys.md, "All of".

use std::fmt;

use super::credential::{Credential, NewSlot, Refusal, Sealed, SlotFacts, SlotSecret, SlotView};
use super::terms::Terms;
use crate::crypto::derive::{self, Purpose};
use crate::error::{AllOfError, OpenError};
use crate::format::key_slot::{BLOB_SIZE_MAX, Kdf, SlotKind};
use crate::wire::{Malformed, Reader};

const PARTS_MAX: usize = 4;

/// Two to four credentials that open a slot together. Their order doesn't matter, except among two
/// of one kind.
///
/// ```
/// use strongroom::{AllOf, Database, Passphrase, RawKey};
/// # let directory = tempfile::tempdir().unwrap();
/// # let path = directory.path().join("notes.room");
/// # let cost = strongroom::KdfCost { memory_kib: 19 * 1024, passes: 2, lanes: 1 };
/// # let words = || Passphrase::new("correct horse").cost(cost);
/// # #[cfg(any())]
/// let words = || Passphrase::new("correct horse");
/// let both = AllOf::new(words(), RawKey::new([7; 32]));
/// Database::create(&path, both)?.close()?;
/// assert!(Database::open(&path, words()).is_err());
/// assert!(Database::open(&path, AllOf::new(words(), RawKey::new([7; 32]))).is_ok());
/// # Ok::<(), strongroom::OpenError>(())
/// ```
pub struct AllOf {
    /// By kind, in the order given within one.
    parts: Vec<Box<dyn Credential>>,
}

impl AllOf {
    /// Both of two credentials.
    #[must_use]
    pub fn new(first: impl Credential + 'static, second: impl Credential + 'static) -> Self {
        Self { parts: Vec::new() }.and(first).and(second)
    }

    /// And one more, up to four. More than one passphrase, and several-together inside, are refused
    /// when it is used.
    #[must_use]
    pub fn and(mut self, another: impl Credential + 'static) -> Self {
        self.parts.push(Box::new(another));
        self.parts.sort_by_key(|part| part.kind().id());
        self
    }

    fn kinds(&self) -> impl Iterator<Item = SlotKind> {
        self.parts.iter().map(|part| part.kind())
    }

    fn check(&self) -> Result<(), OpenError> {
        let count = |wanted| self.kinds().filter(|kind| *kind == wanted).count();
        let error = if self.parts.len() > PARTS_MAX {
            AllOfError::TooMany { found: self.parts.len() }
        } else if count(SlotKind::AllOf) > 0 {
            AllOfError::Nested
        } else if count(SlotKind::Passphrase) > 1 {
            AllOfError::TwoPassphrases
        } else {
            return Ok(());
        };
        Err(OpenError::AllOf(error))
    }
}

impl fmt::Debug for AllOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AllOf ")?;
        f.debug_list().entries(self.kinds()).finish()
    }
}

impl Credential for AllOf {}

impl Sealed for AllOf {
    fn kind(&self) -> SlotKind {
        SlotKind::AllOf
    }

    fn make(&self, facts: SlotFacts<'_>, terms: &Terms) -> Result<NewSlot, OpenError> {
        self.check()?;
        let mut made = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            made.push((part.kind(), part.make(facts, terms)?));
        }
        let blob = join_blob(made.iter().map(|(kind, part)| (*kind, part.blob.as_slice())));
        if blob.len() > BLOB_SIZE_MAX {
            let too_long = AllOfError::BlobTooLong { found: blob.len(), max: BLOB_SIZE_MAX };
            return Err(OpenError::AllOf(too_long));
        }
        let kdf = made.iter().map(|(_, part)| part.kdf).find(|kdf| *kdf != Kdf::None);
        let secret = together(made.iter().map(|(kind, part)| (*kind, &part.secret)));
        Ok(NewSlot { kdf: kdf.unwrap_or(Kdf::None), blob, secret })
    }

    fn slot_secret(&self, slot: SlotView<'_>, terms: &Terms) -> Result<SlotSecret, Refusal> {
        self.check()?;
        let stored = split_blob(slot.blob).map_err(|_| Refusal::NotMine)?;
        // Another set of kinds is another slot; no KDF is run and no provider asked for it.
        if !self.kinds().eq(stored.iter().map(|(kind, _)| *kind)) {
            return Err(Refusal::NotMine);
        }
        let mut secrets = Vec::with_capacity(self.parts.len());
        for (part, (kind, blob)) in self.parts.iter().zip(stored) {
            let kdf = if kind == SlotKind::Passphrase { slot.kdf } else { Kdf::None };
            let view = SlotView { facts: slot.facts, kdf, blob };
            secrets.push((kind, part.slot_secret(view, terms)?));
        }
        Ok(together(secrets.iter().map(|(kind, secret)| (*kind, secret))))
    }

    fn is_locked(&self) -> bool {
        self.parts.iter().all(|part| part.is_locked())
    }
}

/// derive[all-of](kind, secret, kind, secret, ...)
fn together<'a>(parts: impl Iterator<Item = (SlotKind, &'a SlotSecret)>) -> SlotSecret {
    let parts: Vec<_> = parts.map(|(kind, secret)| ([kind.id()], secret.expose())).collect();
    let material: Vec<&[u8]> =
        parts.iter().flat_map(|(kind, secret)| [kind.as_slice(), secret.as_slice()]).collect();
    derive::bytes(Purpose::AllOf, &material).into()
}

/// Count u8, then for each part: kind u8, length u16, what the part stores.
fn join_blob<'a>(parts: impl Iterator<Item = (SlotKind, &'a [u8])> + Clone) -> Vec<u8> {
    let mut blob = vec![u8::try_from(parts.clone().count()).unwrap_or(0)];
    for (kind, stored) in parts {
        blob.push(kind.id());
        blob.extend(u16::try_from(stored.len()).unwrap_or(u16::MAX).to_le_bytes());
        blob.extend(stored);
    }
    blob
}

fn split_blob(blob: &[u8]) -> Result<Vec<(SlotKind, &[u8])>, Malformed> {
    let mut reader = Reader::new(blob);
    let count = usize::from(reader.u8()?);
    let mut parts = Vec::new();
    for _ in 0..count.min(PARTS_MAX) {
        let kind = SlotKind::from_id(reader.u8()?).ok_or(Malformed("a part of unknown kind"))?;
        let len = usize::from(reader.u16()?);
        parts.push((kind, reader.slice(len)?));
    }
    reader.finish()?;
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{Passphrase, RawKey, RecoveryCode};

    fn raw(byte: u8) -> RawKey {
        RawKey::new([byte; 32])
    }

    #[test]
    fn blobs_come_apart_as_they_were_joined_and_nothing_else_does() {
        let parts = [(SlotKind::RawKey, &b""[..]), (SlotKind::Provider, &b"\x01pxyz"[..])];
        let blob = join_blob(parts.into_iter());
        assert_eq!(blob, b"\x02\x01\0\0\x06\x05\0\x01pxyz");
        assert_eq!(split_blob(&blob), Ok(parts.to_vec()));
        let longer = [&blob[..], b"\0"].concat();
        for bad in [&b""[..], &blob[..blob.len() - 1], &longer, b"\x01\x07\0\0", b"\x05"] {
            assert!(split_blob(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn parts_that_can_not_be_together_are_refused() {
        let refused = |all: AllOf| match all.check() {
            Err(OpenError::AllOf(error)) => error,
            other => panic!("{other:?}"),
        };
        let words = || Passphrase::new("words");
        let five = AllOf::new(raw(1), raw(2)).and(raw(3)).and(raw(4)).and(raw(5));
        assert_eq!(refused(five), AllOfError::TooMany { found: 5 });
        assert_eq!(refused(AllOf::new(words(), words())), AllOfError::TwoPassphrases);
        assert_eq!(refused(AllOf::new(AllOf::new(raw(1), raw(2)), raw(3))), AllOfError::Nested);
        assert!(AllOf::new(words(), raw(1)).and(raw(2)).and(raw(3)).check().is_ok());
    }

    #[test]
    fn order_counts_within_a_kind_only() {
        let facts = SlotFacts {
            file_id: crate::units::FileId([1; 16]),
            id: 1,
            label: &[0; 32],
            salt: &[0; 32],
        };
        let text = RecoveryCode::generate().unwrap().reveal().to_string();
        let same = || RecoveryCode::parse(&text).unwrap();
        let secret = |all: AllOf| *all.make(facts, &Terms::default()).unwrap().secret.expose();
        let one = secret(AllOf::new(raw(1), same()));
        assert_eq!(one, secret(AllOf::new(same(), raw(1))));
        assert_ne!(secret(AllOf::new(raw(1), raw(2))), secret(AllOf::new(raw(2), raw(1))));
        assert_ne!(one, secret(AllOf::new(raw(2), same())));
    }
}
