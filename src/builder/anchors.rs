//! What an open is held against besides the file: an anchor, a checkpoint token; and the way out
//! where they say no and an administrator wants the file all the same.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::Builder;
use crate::anchor::{ANCHOR_TIMEOUT, Anchor, AskedAnchor};
use crate::database::Database;
use crate::error::{AnchorError, KeyError, OpenError};
use crate::format::checkpoint::CheckpointToken;
use crate::keys::{Credential, SlotInfo};
use crate::medium::{self, Medium};
use crate::store::{self, Witness};

/// What the caller brings besides the credential.
#[derive(Clone, Debug)]
pub(super) struct Outside {
    anchor: Option<Arc<dyn Anchor>>,
    timeout: Duration,
    at_least: Option<CheckpointToken>,
}

impl Default for Outside {
    fn default() -> Self {
        Self { anchor: None, timeout: ANCHOR_TIMEOUT, at_least: None }
    }
}

impl Outside {
    fn asked(&self) -> Option<AskedAnchor> {
        let timeout = self.timeout;
        self.anchor.clone().map(|anchor| AskedAnchor { anchor, timeout })
    }

    pub(super) fn witness(&self) -> Witness {
        Witness { anchor: self.asked(), at_least: self.at_least, ..Witness::default() }
    }
}

/// What was taken with [`Builder::accept_rollback`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct RollbackAccepted {
    /// The anchor's count: all that was counted up to it and is not in the file is lost.
    pub anchor_was_at: u64,
    /// The count that the file had.
    pub file_was_at: u64,
    /// The slots that open the file now: credentials that were revoked later are back.
    pub slots: Vec<SlotInfo>,
}

impl fmt::Display for RollbackAccepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { anchor_was_at, file_was_at, slots } = self;
        write!(
            f,
            "the file of count {file_was_at} was taken, its anchor stood at {anchor_was_at}; {} \
             slots open it, those that were revoked since among them",
            slots.len()
        )
    }
}

impl Builder {
    /// The anchor that the file is bound to ([`AdminSession::bind_anchor`]). Give it at every open
    /// of such a file: one that is not bound is refused then, since it may be of before it was
    /// bound. Without an anchor a bound file is refused, and an unbound one opens.
    ///
    /// [`AdminSession::bind_anchor`]: crate::AdminSession::bind_anchor
    pub fn anchor(&mut self, anchor: Arc<dyn Anchor>) -> &mut Self {
        self.outside.anchor = Some(anchor);
        self
    }

    /// How long an anchor may take for one answer, 30 seconds unless set. Opening asks for its
    /// identity and count, and to advance; past the time the open fails with nothing changed. In a
    /// commit, a change of keys or a close it goes on without the anchor
    /// ([`Database::anchor_status`]).
    pub fn anchor_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.outside.timeout = timeout;
        self
    }

    /// Opens a file that is being restored: no anchor and no token is asked.
    pub(crate) fn open_unwitnessed(
        &self,
        medium: Arc<dyn Medium>,
        key: &dyn Credential,
    ) -> Result<Database, OpenError> {
        let witness = Witness { asks_nobody: true, ..Witness::default() };
        self.open_over(Arc::new(store::open(medium, key, &self.options, &witness)?))
    }

    /// Refuses a file that is older than the state that this token names, or of its sync with other
    /// content: see [`Database::checkpoint_token`].
    pub fn at_least(&mut self, token: CheckpointToken) -> &mut Self {
        self.outside.at_least = Some(token);
        self
    }

    /// Opens a file that its anchor does not vouch for, on purpose: one that was put back to an
    /// older state, whose anchor was lost or reset, or that was bound to another one. It takes an
    /// administrator, `admin`, and `key` to open the data; the same credential twice where roles are
    /// combined. From here on the file is bound to the anchor of this builder, and under a new data
    /// key, so that nothing sealed on the timeline that was lost is ever taken for a part of it;
    /// what was sealed before is sealed anew as by [`Database::rotate`].
    ///
    /// What was revoked or changed since is as it was: look at [`RollbackAccepted::slots`]. A
    /// checkpoint token is not compared. After a crash the file is taken, or refused as before.
    ///
    /// # Errors
    /// [`AnchorError::NoAnchor`], [`AnchorError::NothingToAccept`], [`AnchorError::NotBound`],
    /// [`KeyError::NotAdmin`], or what an open says.
    pub fn accept_rollback(
        &self,
        path: impl AsRef<Path>,
        key: &dyn Credential,
        admin: &dyn Credential,
    ) -> Result<(Database, RollbackAccepted), KeyError> {
        self.accept_rollback_on(medium::existing(path.as_ref())?, key, admin)
    }

    /// [`Builder::accept_rollback`] on a medium.
    ///
    /// # Errors
    /// As [`Builder::accept_rollback`].
    pub fn accept_rollback_on(
        &self,
        medium: impl Medium,
        key: &dyn Credential,
        admin: &dyn Credential,
    ) -> Result<(Database, RollbackAccepted), KeyError> {
        let anchor = self.outside.asked().ok_or(AnchorError::NoAnchor)?;
        let witness = Witness { accepts_rollback: true, ..self.outside.witness() };
        let store = store::open(Arc::new(medium), key, &self.options, &witness)?;
        let admin = store.unlock_admin(admin, self.options.terms.hint)?;
        let file_was_at = store.count();
        let db = self.open_over(Arc::new(store))?;
        let anchor_was_at = db.accept_rollback(&admin, anchor)?;
        db.tend_keys(self.resume_rotation, self.auto_rotate);
        let slots = db.key_status().slots;
        Ok((db, RollbackAccepted { anchor_was_at, file_was_at, slots }))
    }
}
