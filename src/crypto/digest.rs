//! The digest over all current tag pages (docs/format.md, "Digest"): what makes an old page, tag
//! page or group that is put back visible. XOR of one keyed hash a group, so that a sync touches
//! only the groups it wrote. It lies inside the sealed root record: whoever could collect its
//! values could solve for a forgery, so they never appear in the clear.

use blake3::Hasher;
use zeroize::Zeroize;

use crate::secret::SecretKey;
use crate::units::{FileId, GroupNo, SyncSeq};

/// XOR over groups of `BLAKE3-keyed[digest key](file id, group, sync sequence, tag)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Digest(pub(crate) [u8; 32]);

/// One group's share of the digest is a hash keyed with this.
#[derive(Debug)]
pub(crate) struct DigestKey<'a> {
    key: &'a SecretKey,
    file_id: FileId,
}

impl<'a> DigestKey<'a> {
    pub(crate) fn new(key: &'a SecretKey, file_id: FileId) -> Self {
        Self { key, file_id }
    }

    /// Adds a group's tag page to the digest or, since XOR is its own inverse, takes it out.
    pub(crate) fn toggle(
        &self,
        digest: &mut Digest,
        group: GroupNo,
        sync: SyncSeq,
        tag: &[u8; 16],
    ) {
        let mut hasher = Hasher::new_keyed(&self.key.expose());
        hasher.update(&self.file_id.0);
        hasher.update(&group.0.to_le_bytes());
        hasher.update(&sync.0.to_le_bytes());
        hasher.update(tag);
        let share: [u8; 32] = hasher.finalize().into();
        hasher.zeroize();
        for (byte, share) in digest.0.iter_mut().zip(share) {
            *byte ^= share;
        }
    }
}
