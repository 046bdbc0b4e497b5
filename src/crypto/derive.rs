//! Every key derivation of strongroom, on one screen. BLAKE3 in `derive_key` mode: the context is
//! a constant of this table, everything variable goes into the key material with its length in
//! front (docs/keys.md). Never on a passphrase: those go through Argon2id first.

use std::io;

use blake3::Hasher;
use zeroize::{Zeroize, Zeroizing};

use crate::secret::{Arena, SecretKey};

/// What a derived key is for. Two purposes never share a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// Slot secret -> wraps the slot's root or admin key.
    SlotWrap,
    /// Slot secret -> 32 bytes in the clear that commit the slot to one secret.
    SlotCommitment,
    /// Key file bytes -> slot secret.
    KeyFile,
    /// The 256 bits of a recovery code -> slot secret.
    RecoveryCode,
    /// The same -> 19 bits in the code that tie its groups together.
    RecoveryCodeTie,
    /// The secrets of several credentials -> slot secret.
    AllOf,
    /// Admin key -> MAC over policy and slots.
    AdminMac,
    /// Admin key -> wraps the root key for a combined admin slot.
    RootEscrow,
    /// Admin and root key -> wraps the slots' wrap keys.
    SlotEscrow,
    /// Root key -> MAC over the whole header copy.
    DataMac,
    /// Root key -> wraps the data keys.
    KeyringWrap,
    /// Data key -> 16 bytes in the clear that tell a wrong data key from a right one.
    DataKeyCheck,
    /// Data key -> seals data pages.
    Page,
    /// Data key -> seals tag pages.
    TagPage,
    /// Data key -> seals root records.
    RootRecord,
    /// Data key -> seals the clean index.
    CleanIndex,
    /// Data key -> keys the digest over tag pages.
    Digest,
    /// Data key -> seals index pages of the rotation journal.
    Journal,
    /// Data key -> seals the manifest of a backup.
    Backup,
    /// An anchor's identity -> 32 bytes in the clear that tell another anchor from it.
    AnchorIdentity,
    /// Digest subkey, with what a root record says -> the digest of a checkpoint token.
    Checkpoint,
}

impl Purpose {
    /// Every purpose, for tests and for the format snapshot.
    #[cfg(any(test, feature = "testkit"))]
    pub(crate) const ALL: [Self; 21] = [
        Self::SlotWrap,
        Self::SlotCommitment,
        Self::KeyFile,
        Self::RecoveryCode,
        Self::RecoveryCodeTie,
        Self::AllOf,
        Self::AdminMac,
        Self::RootEscrow,
        Self::SlotEscrow,
        Self::DataMac,
        Self::KeyringWrap,
        Self::DataKeyCheck,
        Self::Page,
        Self::TagPage,
        Self::RootRecord,
        Self::CleanIndex,
        Self::Digest,
        Self::Journal,
        Self::Backup,
        Self::AnchorIdentity,
        Self::Checkpoint,
    ];

    /// The context string: part of the format, never changed, never used twice.
    pub(crate) const fn context(self) -> &'static str {
        match self {
            Self::SlotWrap => "strongroom 2026-11 slot-wrap v1",
            Self::SlotCommitment => "strongroom 2026-11 slot-commitment v1",
            Self::KeyFile => "strongroom 2026-11 key-file v1",
            Self::RecoveryCode => "strongroom 2026-11 recovery-code v1",
            Self::RecoveryCodeTie => "strongroom 2026-11 recovery-code-tie v1",
            Self::AllOf => "strongroom 2026-11 all-of v1",
            Self::AdminMac => "strongroom 2026-11 admin-mac v1",
            Self::RootEscrow => "strongroom 2026-11 root-escrow v1",
            Self::SlotEscrow => "strongroom 2026-11 slot-escrow v1",
            Self::DataMac => "strongroom 2026-11 data-mac v1",
            Self::KeyringWrap => "strongroom 2026-11 keyring-wrap v1",
            Self::DataKeyCheck => "strongroom 2026-11 data-key-check v1",
            Self::Page => "strongroom 2026-11 page v1",
            Self::TagPage => "strongroom 2026-11 tag-page v1",
            Self::RootRecord => "strongroom 2026-11 root-record v1",
            Self::CleanIndex => "strongroom 2026-11 clean-index v1",
            Self::Digest => "strongroom 2026-11 digest v1",
            Self::Journal => "strongroom 2026-11 journal v1",
            Self::Backup => "strongroom 2026-11 backup v1",
            Self::AnchorIdentity => "strongroom 2026-11 anchor-identity v1",
            Self::Checkpoint => "strongroom 2026-11 checkpoint v1",
        }
    }
}

/// `derive_key(context, le64(|p1|) p1 le64(|p2|) p2 ...)`, 32 bytes.
pub(crate) fn bytes(purpose: Purpose, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut hasher = Hasher::new_derive_key(purpose.context());
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut out = Zeroizing::new([0; 32]);
    let mut reader = hasher.finalize_xof();
    reader.fill(out.as_mut_slice());
    reader.zeroize();
    hasher.zeroize();
    out
}

/// The same into key memory.
///
/// # Errors
/// Key memory is full.
pub(crate) fn key(arena: &Arena, purpose: Purpose, parts: &[&[u8]]) -> io::Result<SecretKey> {
    arena.keep(&bytes(purpose, parts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn contexts_are_unique() {
        let contexts: HashSet<_> = Purpose::ALL.iter().map(|p| p.context()).collect();
        assert_eq!(contexts.len(), Purpose::ALL.len());
    }

    #[test]
    fn parts_are_kept_apart() {
        let joined = bytes(Purpose::Page, &[b"ab", b"c"]);
        assert_ne!(*joined, *bytes(Purpose::Page, &[b"a", b"bc"]));
        assert_ne!(*joined, *bytes(Purpose::Page, &[b"abc"]));
        assert_ne!(*joined, *bytes(Purpose::TagPage, &[b"ab", b"c"]));
    }

    #[test]
    fn is_blake3_derive_key_over_length_prefixed_parts() {
        let material = [&3u64.to_le_bytes()[..], b"abc"].concat();
        let expected = blake3::derive_key("strongroom 2026-11 page v1", &material);
        assert_eq!(*bytes(Purpose::Page, &[b"abc"]), expected);
    }
}
