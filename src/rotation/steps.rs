//! The order of a rotation, one step a call: sweep until a whole pass finds nothing, give the
//! journal up, make both copies of every record new, wipe what no entry names, read everything once
//! more, and only then let the old data key go. A crash anywhere begins at the sweep again; after
//! the last step nothing needs the old key.

use std::sync::Arc;

use crate::error::StoreError;
use crate::format::completion::Completion;
use crate::store::Store;
use crate::units::{Epoch, GroupNo};

/// Groups whose tag pages are looked through in one step, while no sync can pass.
const GROUPS_PER_STEP: u64 = 64;
/// Groups whose unused places are wiped in one step.
const GROUPS_PER_WIPE: u64 = 64;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Sealing pages anew; `found` if this pass met any.
    Sweep { next: GroupNo, found: bool },
    /// Writing tag pages whose other copy is old, until a pass finds none.
    Refresh { next: u64, found: bool },
    /// Overwriting what lies in the places of pages that no entry names.
    Wipe { next: u64 },
    /// Reading both copies of everything once more.
    Prove { next: u64 },
}

/// What a step came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Bytes of pages that it sealed anew.
    More {
        bytes: u64,
    },
    Done(Completion),
}

/// A rotation on the calling thread, for tests.
#[cfg(feature = "testkit")]
#[derive(Debug)]
pub struct RotationSteps {
    steps: Option<Steps>,
}

#[cfg(feature = "testkit")]
impl RotationSteps {
    pub(crate) fn begin(store: &Arc<Store>) -> Result<Self, crate::error::RotationError> {
        if store.retired_epochs().is_empty() {
            store.begin_rotation()?;
        }
        Ok(Self { steps: Steps::resume(Arc::clone(store)) })
    }

    /// As [`crate::Rotation::give_up_unreadable`].
    pub fn give_up_unreadable(&mut self) {
        if let Some(steps) = &mut self.steps {
            steps.give_up_unreadable();
        }
    }

    /// Takes one step: the record of the rotation once it has ended.
    ///
    /// # Errors
    /// The store's.
    pub fn step(&mut self) -> Result<Option<Completion>, crate::error::RotationError> {
        let Some(steps) = &mut self.steps else { return Ok(None) };
        match steps.step()? {
            Step::More { .. } => Ok(None),
            Step::Done(completion) => {
                self.steps = None;
                Ok(Some(completion))
            }
        }
    }
}

/// A rotation that is taken step by step.
#[derive(Debug)]
pub(crate) struct Steps {
    store: Arc<Store>,
    epochs: Vec<Epoch>,
    phase: Phase,
    /// Pages of this pass that don't open.
    unreadable: u64,
    /// Whether they are to be given up.
    give_up: bool,
}

impl Steps {
    /// Goes on with the rotation that is due; `None` where none is.
    pub(crate) fn resume(store: Arc<Store>) -> Option<Self> {
        let epochs = store.retired_epochs();
        if epochs.is_empty() {
            return None;
        }
        // What lies before was swept in an earlier session; the pass counts as one that found
        // something, so that a whole one follows.
        let next = store.swept_to();
        let phase = Phase::Sweep { next, found: next > GroupNo(0) };
        Some(Self { store, epochs, phase, unreadable: 0, give_up: false })
    }

    /// The epochs that go.
    pub(crate) fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    /// Pages passed in the sweep and pages in all.
    pub(crate) fn pages(&self) -> (u64, u64) {
        let total = self.store.pages();
        match self.phase {
            Phase::Sweep { next, .. } => {
                (next.0.saturating_mul(crate::layout::DATA_PAGES_PER_GROUP).min(total), total)
            }
            _ => (total, total),
        }
    }

    /// Takes one step.
    ///
    /// # Errors
    /// The store's. A step that failed without latching the store can be taken again.
    pub(crate) fn step(&mut self) -> Result<Step, StoreError> {
        let mut bytes = 0;
        self.phase = match self.phase {
            Phase::Sweep { next, found } => self.sweep(next, found, &mut bytes)?,
            Phase::Refresh { next, found } => self.refresh(next, found)?,
            Phase::Wipe { next } => self.wipe(next)?,
            Phase::Prove { next } => return self.prove(next),
        };
        Ok(Step::More { bytes })
    }

    /// From now on pages that don't open are given up: reading one is an error, as it was.
    pub(crate) fn give_up_unreadable(&mut self) {
        self.give_up = true;
    }

    fn sweep(&mut self, next: GroupNo, found: bool, bytes: &mut u64) -> Result<Phase, StoreError> {
        if next.0 < self.store.groups() {
            let batch = self.store.prepare_batch(next, self.give_up)?;
            self.unreadable += batch.unreadable_count();
            let (after, empty) = (batch.next_group(), batch.is_empty());
            *bytes = batch.bytes();
            self.store.exchange(Some(batch))?;
            return Ok(Phase::Sweep { next: after, found: found || !empty });
        }
        // The last batch goes in place.
        self.store.exchange(None)?;
        let unreadable = std::mem::take(&mut self.unreadable);
        if found {
            return Ok(Phase::Sweep { next: GroupNo(0), found: false });
        }
        if unreadable > 0 {
            // Taken again, the step is a pass of its own.
            self.phase = Phase::Sweep { next: GroupNo(0), found: false };
            return Err(StoreError::Unreadable { pages: unreadable });
        }
        self.store.end_sweep()?;
        Ok(Phase::Refresh { next: 0, found: false })
    }

    fn refresh(&self, next: u64, found: bool) -> Result<Phase, StoreError> {
        if next < self.store.groups() {
            let after = next + GROUPS_PER_STEP;
            let stale = self.store.refresh_tag_pages(next..after)?;
            return Ok(Phase::Refresh { next: after, found: found || stale > 0 });
        }
        if found {
            return Ok(Phase::Refresh { next: 0, found: false });
        }
        Ok(Phase::Wipe { next: 0 })
    }

    fn wipe(&self, next: u64) -> Result<Phase, StoreError> {
        let groups = self.store.groups_on_disk();
        if next < groups {
            let after = next + GROUPS_PER_WIPE;
            self.store.wipe_unused(next..after.min(groups))?;
            return Ok(Phase::Wipe { next: after });
        }
        Ok(Phase::Prove { next: 0 })
    }

    // The proof: a pass over all tag pages in both copies, and both root records.
    fn prove(&mut self, next: u64) -> Result<Step, StoreError> {
        if next < self.store.groups() {
            let after = next + GROUPS_PER_STEP;
            let stale = self.store.refresh_tag_pages(next..after)?;
            self.phase = match stale {
                0 => Phase::Prove { next: after },
                _ => Phase::Sweep { next: GroupNo(0), found: false },
            };
            return Ok(Step::More { bytes: 0 });
        }
        if !self.store.root_records_are_new()? {
            self.store.end_sweep()?;
            return Ok(Step::More { bytes: 0 });
        }
        self.store.end_rotation(&self.epochs).map(Step::Done)
    }
}
