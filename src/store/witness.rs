//! What an open holds against the file besides the file itself: its anchor, and a checkpoint token
//! that the caller kept. Asked for before anything in the file is chosen, compared before anything
//! in it is changed.

use crate::anchor::AskedAnchor;
use crate::error::{AnchorError, OpenError};
use crate::format::anchor_binding::{self, AnchorBinding, AnchorPolicy, Standing};
use crate::format::checkpoint::CheckpointToken;
use crate::format::header::Header;
use crate::format::root_record::RootRecord;
use crate::keys::Keyring;
use crate::units::{CopyId, Generation};

/// What the caller brings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Witness {
    pub(crate) anchor: Option<AskedAnchor>,
    pub(crate) at_least: Option<CheckpointToken>,
    /// An administrator is going to take a file that its anchor does not vouch for: refuse only
    /// one that it does.
    pub(crate) accepts_rollback: bool,
    /// The file is being restored: it is older than its anchor by its nature, and counts nothing.
    pub(crate) asks_nobody: bool,
}

/// What the header and the anchor say.
#[derive(Debug)]
pub(super) struct Testimony {
    binding: Option<AnchorBinding>,
    anchor: Option<AskedAnchor>,
    /// The anchor's count, where the header is bound to this anchor.
    anchor_count: Option<u64>,
    at_least: Option<CheckpointToken>,
    accepts_rollback: bool,
}

/// How the chosen state stands.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) count: u64,
    pub(super) acknowledged: u64,
    /// To count with from here on.
    pub(super) anchor: Option<(AskedAnchor, AnchorPolicy)>,
    /// The anchor has acknowledged this very sync: it had returned, so that nothing it wrote can be
    /// torn by a crash.
    pub(super) acknowledged_sync: bool,
}

impl Witness {
    /// Asks the anchor of a header that is believed.
    ///
    /// # Errors
    /// [`AnchorError`]: none was given, none was wanted, another one, or it does not answer.
    pub(super) fn testify(&self, header: &Header) -> Result<Testimony, OpenError> {
        let mut testimony = Testimony {
            binding: header.anchor,
            anchor: self.anchor.clone(),
            anchor_count: None,
            at_least: self.at_least.filter(|_| !self.accepts_rollback),
            accepts_rollback: self.accepts_rollback,
        };
        if self.asks_nobody {
            (testimony.anchor, testimony.at_least) = (None, None);
            testimony.accepts_rollback = true;
            return Ok(testimony);
        }
        let (binding, anchor) = match (header.anchor, &self.anchor) {
            (None, None) => return Ok(testimony),
            (None, Some(_)) => return Err(AnchorError::NotBound.into()),
            (Some(_), None) => return Err(AnchorError::Required.into()),
            (Some(binding), Some(anchor)) => (binding, anchor),
        };
        let identity = anchor.identity().map_err(AnchorError::from)?;
        if anchor_binding::identity_hash(&identity, header.file_id) == binding.identity {
            testimony.anchor_count = Some(anchor.read().map_err(AnchorError::from)?);
        } else if !self.accepts_rollback {
            return Err(AnchorError::WrongAnchor.into());
        }
        Ok(testimony)
    }
}

impl Testimony {
    /// Compares a state that was chosen. Nothing was changed before.
    ///
    /// # Errors
    /// [`AnchorError`] or [`TokenError`](crate::TokenError): the file is not the newest; or damage.
    pub(super) fn check(
        &self,
        keyring: &Keyring,
        header: Generation,
        root: &RootRecord,
        copy: CopyId,
    ) -> Result<Observed, OpenError> {
        if let Some((token, key)) = self.at_least.zip(keyring.get(root.epoch)) {
            token.check(&CheckpointToken::of(root, &key.digest))?;
        }
        let count = anchor_binding::count_of(self.binding.as_ref(), header, root, copy)?;
        let mut observed =
            Observed { count, acknowledged: 0, anchor: None, acknowledged_sync: false };
        let Some(binding) = self.binding else { return Ok(observed) };
        let standing = self.anchor_count.map(|anchor| anchor_binding::check_count(count, anchor));
        if self.accepts_rollback {
            return match standing {
                Some(Ok(_)) => Err(AnchorError::NothingToAccept.into()),
                Some(Err(_)) | None => Ok(observed),
            };
        }
        let level = matches!(standing.transpose()?, Some(Standing::Level));
        observed.acknowledged = self.anchor_count.unwrap_or(0);
        observed.anchor = self.anchor.clone().map(|anchor| (anchor, binding.policy));
        observed.acknowledged_sync =
            level && root.generation >= binding.since && root.counted_at == root.sync;
        Ok(observed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::anchor_binding::tests::made;
    use crate::format::root_record::tests::example;
    use crate::keys::RawKey;
    use crate::medium::MemoryMedium;
    use crate::store::{Options, create};
    use crate::units::SyncSeq;
    use std::sync::Arc;

    #[test]
    fn an_acknowledged_sync_is_the_one_that_was_counted_under_this_binding() {
        let medium = Arc::new(MemoryMedium::new());
        let store = create(medium, &RawKey::new([7; 32]), None, &Options::default()).unwrap();
        // Since which generation it is bound, the anchor's count, the root's generation, count and
        // the sync that was counted; the root is of sync 9.
        for (since, anchor, generation, count, counted_at, acknowledged) in [
            (3, 7, 3, 7, 9, true),
            (3, 7, 4, 7, 9, true),
            (3, 7, 3, 7, 8, false),
            (3, 6, 3, 7, 9, false),
            (4, 6, 3, 7, 9, false),
        ] {
            let testimony = Testimony {
                binding: Some(made(since, 6)),
                anchor: None,
                anchor_count: Some(anchor),
                at_least: None,
                accepts_rollback: false,
            };
            let (generation, counted_at) = (Generation(generation), SyncSeq(counted_at));
            let root = RootRecord { generation, count, counted_at, ..example(9) };
            let observed = testimony.check(&store.keyring(), Generation(4), &root, CopyId::A);
            assert_eq!(
                observed.unwrap().acknowledged_sync,
                acknowledged,
                "{since} {anchor} {root:?}"
            );
        }
    }
}
