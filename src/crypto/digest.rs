//! The digest over all current tag pages (docs/format.md, "Digest"): what makes an old page, tag
//! page or group that is put back visible. XOR of one keyed hash a group, so that a sync touches
//! only the groups it wrote. It lies inside the sealed root record: whoever could collect its
//! values could solve for a forgery, so they never appear in the clear.

use std::fmt;

use blake3::Hasher;
use zeroize::Zeroize;

use crate::secret::SecretKey;
use crate::units::{FileId, GroupNo, SyncSeq};

/// XOR over groups of `BLAKE3-keyed[digest key](file id, group, sync sequence, tag)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Digest(pub(crate) [u8; 32]);

/// Computes groups' shares of the digest; wiped when dropped.
pub(crate) struct DigestKey {
    /// Keyed once and reset for each share: building and wiping one a group was most of the time
    /// that opening a large file took.
    hasher: Hasher,
    file_id: FileId,
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKey")
    }
}

impl DigestKey {
    pub(crate) fn new(key: &SecretKey, file_id: FileId) -> Self {
        Self { hasher: Hasher::new_keyed(&key.expose()), file_id }
    }

    /// Adds a group's tag page to the digest or, since XOR is its own inverse, takes it out.
    pub(crate) fn toggle(
        &mut self,
        digest: &mut Digest,
        group: GroupNo,
        sync: SyncSeq,
        tag: &[u8; 16],
    ) {
        self.hasher.reset();
        self.hasher.update(&self.file_id.0);
        self.hasher.update(&group.0.to_le_bytes());
        self.hasher.update(&sync.0.to_le_bytes());
        self.hasher.update(tag);
        let share: [u8; 32] = self.hasher.finalize().into();
        for (byte, share) in digest.0.iter_mut().zip(share) {
            *byte ^= share;
        }
    }
}

impl Drop for DigestKey {
    fn drop(&mut self) {
        self.hasher.zeroize();
    }
}
