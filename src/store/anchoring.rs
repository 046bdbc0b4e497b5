//! The store and its anchor (docs/format.md, "Anchor"; modelled in docs/models/anchor.py). Store,
//! then advance: a root record with count c+1 is durable before the anchor is told, and none with
//! c+2 is written before the anchor has acknowledged c+1. So after a crash the file is level with
//! its anchor or one ahead, and any other file is one that was put back.
//!
//! `anchoring` is held while the anchor is asked, and no other lock that a reader or a rotation can
//! need: redb's writer waits, where its commit counts. Syncs of the store's own never ask; their
//! root records carry the count as it is.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Store;
use super::witness::Observed;
use crate::anchor::AskedAnchor;
use crate::error::{AnchorError, AnchorFault, KeyError, StoreError};
use crate::format::anchor_binding::{AnchorBinding, AnchorPolicy, identity_hash};
use crate::format::header::Header;
use crate::keys::{AdminKey, Change, epochs};
use crate::locks::MutexGuard;
use crate::units::Generation;

/// After a failed question the anchor is left alone for so many times as long as that took, so
/// that one that hangs takes a tenth of the time at most. A close and a header commit ask at once.
const PAUSE_FACTOR: u32 = 10;

/// How a database stands to the anchor that it is bound to.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct AnchorStatus {
    /// When the count goes up.
    pub policy: AnchorPolicy,
    /// The count in the file, durable.
    pub count: u64,
    /// The last count that the anchor acknowledged: this one, or one less.
    pub acknowledged: u64,
    /// What the anchor said when it was last asked in vain; `None` since it acknowledged.
    pub fault: Option<AnchorFault>,
}

impl AnchorStatus {
    /// Whether the anchor has acknowledged the count in the file. Where it hasn't, commits go on,
    /// the count stays, and the anchor is asked again at the next one that would count, at key
    /// changes and at close.
    #[must_use]
    pub fn is_level(&self) -> bool {
        self.count == self.acknowledged
    }
}

/// The anchor of an open store.
#[derive(Debug)]
pub(super) struct Bound {
    anchor: AskedAnchor,
    policy: AnchorPolicy,
    acknowledged: u64,
    /// The next sync counts whatever the policy says.
    at_once: bool,
    /// Commits since the count last went up.
    commits: u32,
    counted: Instant,
    fault: Option<AnchorFault>,
    /// A question was not answered, and may have been carried out.
    unclear: bool,
    /// Not asked again before.
    retry_at: Option<Instant>,
}

/// What makes a count go up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Occasion {
    /// A sync that redb asked for.
    Sync {
        /// With another header of redb's than the durable one.
        commit: bool,
    },
    /// A header commit.
    KeyChange,
    Close,
}

impl Bound {
    /// As found at open, where the file is vouched for. A count above this one may have been
    /// written and lost, and be kept by somebody: the first sync counts.
    pub(super) fn new(anchor: AskedAnchor, policy: AnchorPolicy, acknowledged: u64) -> Self {
        Self {
            anchor,
            policy,
            acknowledged,
            at_once: true,
            commits: 0,
            counted: Instant::now(),
            fault: None,
            unclear: false,
            retry_at: None,
        }
    }

    fn is_due(&mut self, occasion: Occasion) -> bool {
        let AnchorPolicy { at_close, at_key_changes, commits, seconds } = self.policy;
        let by_policy = match occasion {
            Occasion::Close => at_close,
            Occasion::KeyChange => at_key_changes,
            Occasion::Sync { commit: false } => false,
            Occasion::Sync { commit: true } => {
                self.commits = self.commits.saturating_add(1);
                let waited = self.counted.elapsed().as_secs();
                (commits > 0 && self.commits >= commits)
                    || (seconds > 0 && waited >= u64::from(seconds))
            }
        };
        self.at_once || by_policy
    }

    /// The count of the next root record, where the last one was `count`.
    fn next(&mut self, count: u64, occasion: Occasion) -> u64 {
        if !self.is_due(occasion) || self.acknowledged != count {
            return count;
        }
        (self.at_once, self.commits, self.counted) = (false, 0, Instant::now());
        count.saturating_add(1)
    }

    fn may_ask(&self, count: u64, urgent: bool) -> bool {
        let out_of_step = matches!(self.fault, Some(AnchorFault::OutOfStep { .. }));
        let paused = self.retry_at.is_some_and(|at| Instant::now() < at);
        self.acknowledged < count && !out_of_step && (urgent || !paused)
    }

    fn advance(&mut self, count: u64) {
        let begun = Instant::now();
        match self.anchor.advance(count) {
            Ok(()) => self.acknowledge(count),
            // It was ours: the answer was lost.
            Err(AnchorFault::OutOfStep { found, .. }) if found == count && self.unclear => {
                self.acknowledge(count);
            }
            Err(fault) => {
                self.unclear |= fault.is_unclear();
                self.fault = Some(fault);
                self.retry_at = begun.checked_add(begun.elapsed().saturating_mul(PAUSE_FACTOR));
            }
        }
    }

    fn acknowledge(&mut self, count: u64) {
        self.acknowledged = count;
        (self.fault, self.unclear, self.retry_at) = (None, false, None);
    }
}

/// An anchor that a file is to be bound to, as it stands.
#[derive(Debug)]
pub(crate) struct Offer {
    anchor: AskedAnchor,
    identity: [u8; 32],
    count: u64,
}

impl Offer {
    /// Where the anchor stands.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    fn binding(&self, since: Generation, policy: AnchorPolicy) -> AnchorBinding {
        let first = self.count.saturating_add(1);
        AnchorBinding { identity: self.identity, since, first, policy }
    }
}

impl Store {
    pub(super) fn anchoring(&self) -> MutexGuard<'_, Option<Bound>> {
        self.anchoring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The anchor count of the state that was opened or made durable since.
    pub(crate) fn count(&self) -> u64 {
        self.state().count
    }

    /// How the store stands to its anchor; `None` where it has none. Asks nobody.
    pub(crate) fn anchor_status(&self) -> Option<AnchorStatus> {
        self.anchor_status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn note_anchor_status(&self, bound: &Option<Bound>) {
        let count = self.state().count;
        let status = bound.as_ref().map(|bound| AnchorStatus {
            policy: bound.policy,
            count,
            acknowledged: bound.acknowledged,
            fault: bound.fault.clone(),
        });
        *self.anchor_status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    /// Lets the anchor advance to the count that is durable in the file. What it says is noted; a
    /// failure stops nothing.
    pub(super) fn settle(&self, bound: &mut Option<Bound>, urgent: bool) {
        let count = self.state().count;
        // After a failed sync nobody knows what is durable.
        let known = !self.latched.load(Ordering::Acquire);
        if let Some(bound) = bound.as_mut().filter(|bound| known && bound.may_ask(count, urgent)) {
            self.medium.reached("anchor: before advance");
            bound.advance(count);
            self.medium.reached("anchor: after advance");
        }
        self.note_anchor_status(bound);
    }

    /// The sync that ends a recovery. It counts; but where the file is one ahead of its anchor, the
    /// sync that was counted may have been cut off. What became of it is durable before the anchor
    /// acknowledges its count: an acknowledged sync has no torn pages.
    pub(super) fn sync_recovered(&self) -> Result<(), StoreError> {
        let ahead = self.anchor_status().is_some_and(|status| !status.is_level());
        if ahead {
            self.state_mut().dirty = true;
            self.sync_counted(&mut None)?;
        }
        self.sync()
    }

    /// Raises the count of the next root record if this is an occasion to. The caller holds
    /// `syncing`, and makes the record durable before it lets go.
    pub(super) fn count_if_due(&self, bound: &mut Option<Bound>, occasion: Occasion) {
        let Some(bound) = bound else { return };
        let mut state = self.state_mut();
        let count = bound.next(state.count, occasion);
        state.dirty |= count != state.count;
        state.count = count;
    }

    /// What redb's sync is to the anchor's policy.
    pub(super) fn occasion_of_sync(&self) -> Occasion {
        let state = self.state();
        Occasion::Sync { commit: state.page_zero != state.durable.root.page_zero }
    }

    /// Follows a header that is durable in both copies and not yet named by a root record: what it
    /// binds, unbinds or leaves. The root record that names it is written next.
    pub(super) fn follow_header(
        &self,
        bound: &mut Option<Bound>,
        (current, next): (&Header, &Header),
        offer: Option<&Offer>,
    ) {
        let tie = |header: &Header| header.anchor.map(|a| (a.identity, a.since));
        match next.anchor {
            Some(binding) if tie(current) != tie(next) => {
                // The header itself says `first` from here on, and the root record one more: what
                // the file was before must not pass for it.
                let acknowledged = binding.first.saturating_sub(1);
                let anchor = offer.map(|offer| offer.anchor.clone());
                *bound = anchor.map(|anchor| Bound::new(anchor, binding.policy, acknowledged));
                self.state_mut().count = binding.first;
                self.settle(bound, true);
            }
            Some(binding) => {
                if let Some(bound) = bound {
                    bound.policy = binding.policy;
                }
            }
            None => {
                *bound = None;
                self.state_mut().count = 0;
            }
        }
    }

    /// # Errors
    /// What the anchor says, or a store that can't be written.
    pub(crate) fn offer(&self, anchor: AskedAnchor) -> Result<Offer, KeyError> {
        self.check_writable()?;
        let identity = anchor.identity().map_err(AnchorError::from)?;
        let count = anchor.read().map_err(AnchorError::from)?;
        let identity = identity_hash(&identity, self.keyring().file_id());
        Ok(Offer { anchor, identity, count })
    }

    /// Binds the store to an anchor, in one header commit.
    ///
    /// # Errors
    /// [`AnchorError::AlreadyBound`], or what a header commit says.
    pub(crate) fn bind_anchor(
        &self,
        admin: &AdminKey,
        offer: &Offer,
        policy: AnchorPolicy,
    ) -> Result<(), KeyError> {
        policy.check()?;
        self.commit_binding(Some(offer), |unlocked| {
            if unlocked.header.anchor.is_some() {
                return Err(AnchorError::AlreadyBound.into());
            }
            let since = Generation(unlocked.header.generation.0.saturating_add(1));
            let change = Change { unlocked, admin, terms: self.terms() };
            change.set_anchor(Some(offer.binding(since, policy)))
        })
    }

    /// Changes the policy, or unbinds, in one header commit.
    ///
    /// # Errors
    /// [`AnchorError::NotBound`], or what a header commit says.
    pub(crate) fn rebind(
        &self,
        admin: &AdminKey,
        policy: Option<AnchorPolicy>,
    ) -> Result<(), KeyError> {
        policy.map_or(Ok(()), |policy| policy.check())?;
        self.commit_binding(None, |unlocked| {
            let current = unlocked.header.anchor.ok_or(AnchorError::NotBound)?;
            let change = Change { unlocked, admin, terms: self.terms() };
            change.set_anchor(policy.map(|policy| AnchorBinding { policy, ..current }))
        })
    }

    /// Takes a file that its anchor does not vouch for, in one header commit: bound to this anchor
    /// from here on, under a new data key, so that nothing sealed on the timeline that was lost fits.
    ///
    /// # Errors
    /// [`AnchorError::NotBound`], or what a header commit says.
    pub(crate) fn accept_rollback(&self, admin: &AdminKey, offer: &Offer) -> Result<(), KeyError> {
        let (sealed_pages, now) = (self.sealed_pages_at_most(), self.terms().clock.now_s());
        self.commit_binding(Some(offer), |unlocked| {
            let policy = unlocked.header.anchor.ok_or(AnchorError::NotBound)?.policy;
            let since = Generation(unlocked.header.generation.0.saturating_add(1));
            let unlocked = &epochs::begin(unlocked, sealed_pages, now)?;
            let change = Change { unlocked, admin, terms: self.terms() };
            change.set_anchor(Some(offer.binding(since, policy)))
        })
    }
}

/// As an open leaves it.
impl Store {
    pub(super) fn take_observed(&mut self, observed: &Observed) {
        let bound = observed
            .anchor
            .clone()
            .map(|(anchor, policy)| Bound::new(anchor, policy, observed.acknowledged));
        self.state_mut().count = observed.count;
        self.note_anchor_status(&bound);
        *self.anchoring() = bound;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anchor::MemoryAnchor;
    use std::sync::Arc;
    use std::time::Duration;

    fn bound(policy: AnchorPolicy) -> (MemoryAnchor, Bound) {
        let anchor = MemoryAnchor::new("a");
        let asked =
            AskedAnchor { anchor: Arc::new(anchor.clone()), timeout: Duration::from_secs(5) };
        let mut bound = Bound::new(asked, policy, 0);
        bound.at_once = false;
        (anchor, bound)
    }

    const COMMIT: Occasion = Occasion::Sync { commit: true };
    const NO_COMMIT: Occasion = Occasion::Sync { commit: false };

    #[test]
    fn each_policy_counts_on_its_own_occasions() {
        let nothing =
            AnchorPolicy { at_close: false, at_key_changes: false, commits: 0, seconds: 0 };
        let close = AnchorPolicy { at_close: true, ..nothing };
        let keys = AnchorPolicy { at_key_changes: true, ..nothing };
        let third = AnchorPolicy { commits: 3, ..nothing };
        for (policy, occasions, expected) in [
            (close, [NO_COMMIT, COMMIT, Occasion::KeyChange, Occasion::Close], [0, 0, 0, 1]),
            (keys, [NO_COMMIT, COMMIT, Occasion::KeyChange, Occasion::Close], [0, 0, 1, 1]),
            (third, [COMMIT, NO_COMMIT, COMMIT, COMMIT], [0, 0, 0, 1]),
            (AnchorPolicy::every_commit(), [COMMIT, NO_COMMIT, COMMIT, COMMIT], [1, 1, 2, 3]),
        ] {
            let (_, mut bound) = bound(policy);
            let mut count = 0;
            let counts = occasions.map(|occasion| {
                count = bound.next(count, occasion);
                bound.acknowledged = count;
                count
            });
            assert_eq!(counts, expected, "{policy:?}");
        }
        let (_, mut bound) = bound(AnchorPolicy { seconds: 5, ..nothing });
        assert_eq!(bound.next(0, COMMIT), 0);
        bound.counted = Instant::now().checked_sub(Duration::from_secs(6)).unwrap();
        assert_eq!((bound.next(0, COMMIT), bound.next(1, COMMIT)), (1, 1));
        bound.at_once = true;
        assert_eq!(bound.next(1, NO_COMMIT), 1, "1 was not acknowledged");
        bound.acknowledged = 1;
        assert_eq!(bound.next(1, NO_COMMIT), 2, "at once");
    }

    #[test]
    fn a_lost_answer_is_made_out_and_somebody_elses_count_is_not_taken_for_ours() {
        let (anchor, mut bound) = bound(AnchorPolicy::every_commit());
        let away = AnchorFault::Unreachable("away".to_owned());
        anchor.fail(Some(away.clone()));
        bound.advance(1);
        assert_eq!((bound.acknowledged, bound.fault.clone()), (0, Some(away)));
        // It was carried out all the same.
        anchor.fail(None);
        anchor.set(1);
        assert!(bound.may_ask(1, true));
        bound.advance(1);
        assert_eq!((bound.acknowledged, &bound.fault), (1, &None));
        // The same answer to a first question is somebody else's doing.
        anchor.set(2);
        bound.advance(2);
        let found = Some(AnchorFault::OutOfStep { found: 2, asked: 2 });
        assert_eq!((bound.acknowledged, &bound.fault), (1, &found));
        assert!(!bound.may_ask(2, true), "for good");
    }

    #[test]
    fn an_anchor_that_failed_slowly_is_left_alone_for_a_while() {
        let (anchor, mut bound) = bound(AnchorPolicy::every_commit());
        anchor.fail(Some(AnchorFault::Panicked));
        bound.advance(1);
        bound.retry_at = Instant::now().checked_add(Duration::from_secs(60));
        assert!(!bound.may_ask(1, false) && bound.may_ask(1, true));
        bound.acknowledge(1);
        assert!(!bound.may_ask(1, true) && bound.may_ask(2, false));
    }
}
