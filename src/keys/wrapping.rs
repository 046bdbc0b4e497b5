//! What a wrapped key is bound to (docs/keys.md, "Wrapping"): so that one that is moved to another
//! slot, epoch, file or use doesn't open.

use std::io;

use zeroize::Zeroizing;

use crate::crypto::wrap::{self, WrappedKey};
use crate::random;
use crate::secret::{Arena, SecretKey};
use crate::units::FileId;

/// What a wrapped key is; the words are part of the format.
pub(super) type Word = [u8; 8];
pub(super) const SLOT_KEY: &Word = b"slot-key";
pub(super) const ROOT_ESCROW: &Word = b"rootescr";
pub(super) const SLOT_ESCROW: &Word = b"slotescr";
pub(super) const DATA_KEY: &Word = b"data-key";

/// The associated data of a wrapped key: the file, what it is, and its number there.
pub(super) fn binding(file_id: FileId, what: &Word, number: u32) -> [u8; 28] {
    let mut bytes = [0; 28];
    bytes[..16].copy_from_slice(&file_id.0);
    bytes[16..24].copy_from_slice(what);
    bytes[24..].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// Wraps `key` under `wrapping` with a fresh nonce.
pub(super) fn wrap_fresh(
    wrapping: &SecretKey,
    binding: &[u8],
    key: &SecretKey,
) -> io::Result<WrappedKey> {
    Ok(wrap::wrap(wrapping, random::array()?, binding, key))
}

/// 32 bytes of the system's randomness in key memory.
pub(super) fn random_key(arena: &Arena) -> io::Result<SecretKey> {
    let mut key = Zeroizing::new([0; 32]);
    random::fill(key.as_mut_slice())?;
    arena.keep(&key)
}
