//! Keyed BLAKE3 as a MAC, and comparison in constant time.

use blake3::{Hash, Hasher};
use zeroize::Zeroize;

use crate::secret::SecretKey;

/// `BLAKE3-keyed[key](parts)`, 32 bytes. The parts have fixed lengths, so they need no framing.
pub(crate) fn tag(key: &SecretKey, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Hasher::new_keyed(&key.expose());
    for part in parts {
        hasher.update(part);
    }
    let tag = hasher.finalize();
    hasher.zeroize();
    tag.into()
}

/// Whether two 32-byte values are equal, in time that doesn't depend on where they differ.
pub(crate) fn equal(left: &[u8; 32], right: &[u8; 32]) -> bool {
    // `blake3::Hash` compares in constant time.
    Hash::from_bytes(*left) == Hash::from_bytes(*right)
}

/// Plain BLAKE3, to name bytes in a test.
#[cfg(feature = "testkit")]
pub(crate) fn plain_hash(bytes: &[u8]) -> [u8; 32] {
    blake3::hash(bytes).into()
}
