//! Floor 6: pages on a medium. The store seals and opens runs of pages, keeps the tag pages that
//! make them authentic, and makes states durable one sync at a time, so that a crash at any point
//! leaves the last one. It knows nothing of redb but its page 0 and when it is being recovered.
//!
//! Read `sync` and `recovery` first; what they promise and assume is in docs/design.md.
//!
//! Locks, always taken in this order: `keys_stay` (shared while a picture is copied, alone where a
//! data key goes), `committing` (one header commit at a time), `anchoring` (the anchor is asked; held
//! across syncs that count), `sweep` (one step of a key rotation, or a change of length), `syncing` (one sync at a time), `flushing` (one flush of gathered pages at
//! a time), `resizing` (writes share it, a change of length has it alone), `keeping` (pages kept for
//! a picture), `gather` and `state` (briefly, never across I/O).

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crate::error::{OpenError, StoreError};
use crate::events::tell;
use crate::format::late_entry::LATE_ENTRIES_MAX;
use crate::holes::Holes;
use crate::keys::{Credential, Keyring, Terms, Unlocked};
use crate::layout::{self, PAGE_BYTES};
use crate::locks::{
    AtomicBool, AtomicU64, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
};
use crate::medium::{LockKind, Medium};
use crate::random::NonceSource;
use crate::secret::Arena;
use crate::units::{CopyId, PageNo};

mod administration;
mod anchoring;
mod check;
mod checkpoint;
mod close;
mod create;
mod debris;
mod gather;
mod guard;
mod header;
mod journal;
mod pages;
mod plausible;
mod recovery;
mod restore;
mod roots;
mod scan;
mod snapshotting;
mod state;
mod survey;
mod sweep;
mod sync;
mod tags;
#[cfg(test)]
mod tests;
mod transplant;
mod witness;
mod writes;

pub use anchoring::AnchorStatus;
pub use recovery::Recovery;
pub use restore::{HeaderRestored, TurnBack};

pub(crate) use administration::AdminSeat;
pub(crate) use restore::{recover, restore};
pub(crate) use snapshotting::Picture;
pub(crate) use transplant::{Origin, new_keys, transplant, unlock_copy};
pub(crate) use witness::Witness;

pub(crate) use check::{GroupBuffer, holds, put};
pub(crate) use debris::PageSet;
pub(crate) use guard::Recovered;
pub(crate) use header::{look as look_at_header, read as read_header};
pub(crate) use survey::{
    HeaderCopyState, PageVerdict, RootCopyState, Survey, SurveyedState, TagCopyState, Under,
};

use anchoring::Bound;
use gather::Gather;
use guard::Guard;
use journal::Sweep;
use snapshotting::Keeping;
use state::State;

/// How a store is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) tag_cache_bytes: usize,
    pub(crate) allow_unlocked: bool,
    /// How a credential is tried.
    pub(crate) terms: Terms,
    pub(crate) holes: Holes,
    pub(crate) seal_reserve: Option<u64>,
    /// Pages in a batch of a key rotation, at least a group.
    pub(crate) batch_pages: usize,
    /// Pages gathered before they are written; 0 gathers nothing.
    pub(crate) gathered_pages: usize,
    /// Late entries in a root record, at most; 0 writes every tag page in the sync that needs it.
    pub(crate) late_entries: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tag_cache_bytes: 64 << 20,
            allow_unlocked: false,
            terms: Terms::default(),
            holes: Holes::default(),
            seal_reserve: None,
            batch_pages: journal::BATCH_PAGES_MAX,
            gathered_pages: writes::GATHERED_PAGES,
            late_entries: LATE_ENTRIES_MAX,
        }
    }
}

const FORKED: StoreError = StoreError::Misuse(
    "this process is a fork of the one that opened the database and has no keys; open it after the \
     fork",
);

/// An open store.
pub(crate) struct Store {
    medium: LockedMedium,
    /// Replaced as a whole by a header commit.
    unlocked: RwLock<Arc<Unlocked>>,
    arena: Arena,
    nonces: NonceSource,
    holes: Holes,
    read_only: bool,
    /// A write, sync or resize failed: nothing is written any more.
    latched: AtomicBool,
    /// A page write failed since the last sync: redb may have stopped in the middle of a commit.
    write_failed: AtomicBool,
    closed: AtomicBool,
    /// redb asked for something since the last look.
    active: AtomicBool,
    guard: Mutex<Guard>,
    /// The guard has pages to forgive: reads ask it.
    forgiving: AtomicBool,
    /// redb is opening: what it reads is written down.
    watching: AtomicBool,
    /// Pages sealed under the active epoch, counting from the bound that the root record held.
    sealed_pages: AtomicU64,
    /// What the durable root record allows the count to reach.
    sealed_pages_bound: AtomicU64,
    /// Overrides how many seals a root record leaves room for.
    seal_reserve: Option<u64>,
    batch_pages: usize,
    committing: Mutex<()>,
    /// The anchor, if the file is bound to one; held while it is asked.
    anchoring: Mutex<Option<Bound>>,
    /// What there is to say of it without waiting for it.
    anchor_status: Mutex<Option<AnchorStatus>>,
    sweep: Mutex<Sweep>,
    syncing: Mutex<()>,
    flushing: Mutex<writes::Buffers>,
    resizing: RwLock<()>,
    gather: RwLock<Gather>,
    /// How many pages are gathered, so that readers need not ask.
    gathered: AtomicU64,
    /// Held by whoever copies a picture, taken by whoever lets a data key go.
    keys_stay: RwLock<()>,
    /// Somebody copies a picture: writers keep what they overwrite.
    picturing: AtomicBool,
    keeping: Mutex<Option<Keeping>>,
    state: RwLock<State>,
    recovery: Recovery,
    heal_header: Mutex<Option<CopyId>>,
    /// Whether there is an admin session.
    admin_seat: AtomicBool,
    options: Options,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("file_id", &self.keyring().file_id())
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

/// A medium whose whole-storage lock is held until this is dropped.
#[derive(Debug)]
pub(crate) struct LockedMedium {
    medium: Arc<dyn Medium>,
    owner: u32,
    held: AtomicBool,
}

impl LockedMedium {
    /// # Errors
    /// [`OpenError::AlreadyOpen`], [`OpenError::CannotLock`] unless that is allowed.
    pub(crate) fn lock(
        medium: Arc<dyn Medium>,
        kind: LockKind,
        allow_unlocked: bool,
    ) -> Result<Self, OpenError> {
        let medium = Self::not_locked(medium);
        match medium.lock_now(kind) {
            Err(OpenError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::Unsupported =>
            {
                if allow_unlocked {
                    Ok(medium)
                } else {
                    Err(OpenError::CannotLock)
                }
            }
            locked => locked.map(|()| medium),
        }
    }

    fn not_locked(medium: Arc<dyn Medium>) -> Self {
        Self { medium, owner: std::process::id(), held: AtomicBool::new(false) }
    }

    fn lock_now(&self, kind: LockKind) -> Result<(), OpenError> {
        match self.medium.try_lock(kind) {
            Ok(true) => {
                self.held.store(true, Ordering::Release);
                Ok(())
            }
            Ok(false) => Err(OpenError::AlreadyOpen),
            Err(error) => Err(OpenError::io("locking the database")(error)),
        }
    }

    fn unlock(&self) -> std::io::Result<()> {
        // A lock belongs to the open file, which a forked child shares: letting go of it there
        // would let go of the parent's.
        if self.held.swap(false, Ordering::AcqRel) && self.owner == std::process::id() {
            return self.medium.unlock();
        }
        Ok(())
    }
}

impl std::ops::Deref for LockedMedium {
    type Target = dyn Medium;

    fn deref(&self) -> &Self::Target {
        &*self.medium
    }
}

impl Drop for LockedMedium {
    fn drop(&mut self) {
        let _ = self.unlock();
    }
}

impl Store {
    /// A store in this state, writable, with nothing counted and nothing to heal.
    fn new(
        medium: LockedMedium,
        unlocked: Unlocked,
        options: &Options,
        guard: Guard,
        mut state: State,
    ) -> Self {
        state.late_max = options.late_entries;
        let group = layout::ENTRIES_PER_TAG_PAGE;
        Self {
            medium,
            arena: unlocked.arena.clone(),
            unlocked: RwLock::new(Arc::new(unlocked)),
            nonces: NonceSource::default(),
            holes: options.holes,
            read_only: false,
            latched: AtomicBool::new(false),
            write_failed: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            active: AtomicBool::new(false),
            forgiving: AtomicBool::new(guard.is_forgiving()),
            watching: AtomicBool::new(guard.is_held()),
            guard: Mutex::new(guard),
            sealed_pages: AtomicU64::new(0),
            sealed_pages_bound: AtomicU64::new(0),
            seal_reserve: options.seal_reserve,
            batch_pages: options.batch_pages.clamp(group, journal::BATCH_PAGES_MAX),
            committing: Mutex::new(()),
            anchoring: Mutex::new(None),
            anchor_status: Mutex::new(None),
            sweep: Mutex::default(),
            syncing: Mutex::new(()),
            flushing: Mutex::default(),
            resizing: RwLock::new(()),
            gather: RwLock::default(),
            gathered: AtomicU64::new(0),
            keys_stay: RwLock::new(()),
            picturing: AtomicBool::new(false),
            keeping: Mutex::new(None),
            state: RwLock::new(state),
            recovery: Recovery::default(),
            heal_header: Mutex::new(None),
            admin_seat: AtomicBool::new(false),
            options: *options,
        }
    }

    /// The logical length in bytes, as redb sees it.
    pub(crate) fn len(&self) -> Result<u64, StoreError> {
        self.check_usable()?;
        Ok(self.state().logical_len)
    }

    /// What opening found and did.
    pub(crate) fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Whether key memory is locked against swapping.
    pub(crate) fn key_memory_is_locked(&self) -> bool {
        self.arena.is_locked()
    }

    /// The header and its keys as the last header commit left them.
    pub(crate) fn unlocked(&self) -> Arc<Unlocked> {
        Arc::clone(&self.unlocked.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The keys, for the testkit's attacker who kept one.
    #[cfg(feature = "testkit")]
    pub(crate) fn keyring_for_tests(&self) -> Arc<Keyring> {
        self.keyring()
    }

    fn keyring(&self) -> Arc<Keyring> {
        Arc::clone(&self.unlocked.read().unwrap_or_else(PoisonError::into_inner).keyring)
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn guard(&self) -> MutexGuard<'_, Guard> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // A load first: readers that write to one cache line all the time wait for each other.
    fn note_activity(&self) {
        if !self.active.load(Ordering::Relaxed) {
            self.active.store(true, Ordering::Relaxed);
        }
    }

    fn check_usable(&self) -> Result<(), StoreError> {
        if self.arena.is_forked_child() {
            return Err(FORKED);
        }
        if self.latched.load(Ordering::Acquire) {
            return Err(StoreError::Latched);
        }
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreError::Misuse("the database is closed"));
        }
        Ok(())
    }

    // Asked before anything goes to the file: a fork may have gone around what counts forks.
    fn check_process(&self) -> Result<(), StoreError> {
        if self.arena.is_elsewhere() { Err(FORKED) } else { Ok(()) }
    }

    /// Whether this process is a fork of the one that opened the store.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.arena.is_elsewhere()
    }

    fn check_writable(&self) -> Result<(), StoreError> {
        self.check_usable()?;
        if self.read_only {
            return Err(StoreError::Misuse("the database was opened read-only"));
        }
        Ok(())
    }

    /// Passes a failure on and lets nothing be written after it: what is durable is known again
    /// only after a reopen.
    fn latch<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &result
            && !self.latched.swap(true, Ordering::AcqRel)
        {
            tell!(
                ERROR,
                "nothing is written any more until the database is opened again",
                error = error
            );
        }
        result
    }

    /// Changes the logical length to `len` bytes, whole pages. New pages read as zeros. Nothing is
    /// cut from the file before a sync has made the smaller length durable.
    pub(crate) fn set_len(&self, len: u64) -> Result<(), StoreError> {
        self.check_writable()?;
        if !layout::is_addressable(len) {
            return Err(StoreError::Misuse("a length beyond any file"));
        }
        if !len.is_multiple_of(PAGE_BYTES) {
            return Err(StoreError::Misuse("a length that is not whole pages of 4096 bytes"));
        }
        if self.guard().is_held() && !self.guard().creating() {
            return Err(StoreError::Misuse("a change of length before recovery has ended"));
        }
        // The rotation journal lies where a longer file would have pages.
        let mut sweep = self.sweep.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_usable()?; // a close may have come between
        self.end_journal(&mut sweep)?;
        self.leave_clean_state()?;
        let _alone = self.resizing.write().unwrap_or_else(PoisonError::into_inner);
        let current = self.state().logical_len;
        if len < current {
            self.shrink(len)?;
            if self.holes.truncate_at_once() {
                self.medium.set_len(layout::data_end(len).0)?;
            }
        } else if len > current {
            let mut state = self.state_mut();
            state.logical_len = len;
            state.dirty = true;
        }
        Ok(())
    }

    fn shrink(&self, len: u64) -> Result<(), StoreError> {
        // The tag page of the group that the cut falls into.
        self.sealed_pages.fetch_add(1, Ordering::AcqRel);
        let pages = layout::pages_in(len);
        self.change_gather(|gather| gather.forget(PageNo(pages), PageNo(u64::MAX)));
        self.keep_cut_pages(PageNo(pages));
        let (last_group, place) = layout::place_of(PageNo(pages));
        loop {
            if place > 0 {
                self.with_tag_page(last_group, |_| ())?;
            }
            let mut state = self.state_mut();
            if place > 0 && last_group.0 < state.groups && !state.cut_group(last_group, place) {
                continue; // evicted again between the load and the lock
            }
            state.drop_groups_from(layout::groups_for(pages));
            state.logical_len = len;
            if len == 0 {
                state.page_zero.fill(0);
            }
            state.dirty = true;
            state.cut_pending = true;
            return Ok(());
        }
    }
}

/// Opens an existing store for writing, held back by a guard until [`Store::end_recovery`].
///
/// # Errors
/// [`OpenError`]; nothing but stale second copies was changed.
pub(crate) fn open(
    medium: Arc<dyn Medium>,
    provider: &dyn Credential,
    options: &Options,
    witness: &Witness,
) -> Result<Store, OpenError> {
    recovery::open(medium, provider, options, witness, false)
}

/// Opens an existing, cleanly closed store for reading; changes nothing.
///
/// # Errors
/// [`OpenError`].
pub(crate) fn open_read_only(
    medium: Arc<dyn Medium>,
    provider: &dyn Credential,
    options: &Options,
    witness: &Witness,
) -> Result<Store, OpenError> {
    recovery::open(medium, provider, options, witness, true)
}

pub(crate) use create::create;
