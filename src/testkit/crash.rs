//! A machine with a disk, in memory, that can be crashed at any operation. Its three layers: the
//! disk holds what is durable; the log holds writes and lengths since the last sync; the view,
//! the page cache, is what reads see. A crash decides what of the log lands and what of the
//! view is left, and hands back the machine after the reboot or restart.
//!
//! Deterministic: a seed and the same calls give the same bytes. Operations, for counting and
//! cutting, are writes, length changes and syncs; reads and locks are not.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Crash, SeededRandom, Survival, Tearing};
use crate::medium::{CacheDrop, LockKind, Medium};

mod state;

use state::{Locked, State, SyncFault};

type WriteHook = Arc<dyn Fn(u64, &[u8]) + Send + Sync>;

struct Machine {
    state: Mutex<State>,
    hook: Mutex<Option<WriteHook>>,
}

/// A simulated disk with a page cache that can lose power, be killed over, and fail to sync.
/// [`Clone`] gives a second handle on the same machine; locks conflict between handles as they do
/// between two opens of one file, and end with their handle.
///
/// ```
/// use strongroom::medium::Medium;
/// use strongroom::testkit::{Crash, CrashMedium, Survival, Tearing};
///
/// let disk = CrashMedium::new(1);
/// disk.write_at(0, b"kept")?;
/// disk.sync()?;
/// disk.write_at(0, b"lost")?;
/// let survival = Survival::Each(0.0);
/// let after = disk.crash(Crash::PowerCut { tearing: Tearing::Sector512, survival });
/// assert_eq!(after.image(), b"kept");
/// assert!(disk.len().is_err()); // The old machine is off for good.
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct CrashMedium {
    machine: Arc<Machine>,
    held: Mutex<Option<LockKind>>,
}

impl CrashMedium {
    /// An empty disk. The seed decides what every later crash does.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::from_image(seed, Vec::new())
    }

    /// A disk on which these bytes are durable.
    #[must_use]
    pub fn from_image(seed: u64, image: Vec<u8>) -> Self {
        Self::boot(State::new(seed, image))
    }

    fn boot(state: State) -> Self {
        let machine = Machine { state: Mutex::new(state), hook: Mutex::new(None) };
        Self { machine: Arc::new(machine), held: Mutex::new(None) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The bytes stay meaningful when another thread panicked while it held them.
        self.machine.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets this many further operations pass and cuts the power during the one after: of a write
    /// some first bytes still reach the cache, of a sync anything may still land. From then on
    /// every call fails, reads too, until [`CrashMedium::crash`].
    pub fn cut_after(&self, operations: u64) {
        let mut state = self.state();
        state.cut_at = Some(state.operations.saturating_add(operations));
    }

    /// Cuts the power when the store reaches the named point for the `nth` time from now, counted
    /// from 0.
    pub fn cut_at_point(&self, point: &'static str, nth: u64) {
        let mut state = self.state();
        let before = state.points.get(point).copied().unwrap_or(0);
        state.cut_at_point = Some((point, before.saturating_add(nth)));
    }

    /// Takes back what [`CrashMedium::cut_after`], [`CrashMedium::cut_at_point`],
    /// [`CrashMedium::fail_sync_after`], [`CrashMedium::fail_write_after`] and
    /// [`CrashMedium::lose_syncs_after`] planned.
    pub fn clear_plan(&self) {
        let mut state = self.state();
        (state.cut_at, state.cut_at_point) = (None, None);
        (state.sync_fault, state.write_fault, state.lies) = (None, None, None);
    }

    /// Lets this many further syncs pass and fails the next one as [`Crash::FailedSync`] says; the
    /// machine runs on, and so does the store, with the error in its hands.
    pub fn fail_sync_after(&self, syncs: u64, tearing: Tearing, survival: Survival) {
        self.state().sync_fault = Some(SyncFault { after: syncs, tearing, survival });
    }

    /// Lets this many further writes pass and fails the next one, of which some first bytes still
    /// reach the cache; the machine runs on, with room on the disk again.
    pub fn fail_write_after(&self, writes: u64) {
        self.state().write_fault = Some(writes);
    }

    /// A disk that lies: lets this many further syncs pass, and then so many return at once as if
    /// they had succeeded, while all that was written stays at risk until an honest sync follows.
    /// No store can keep its promises on such a disk; what can be asked of it is that it never
    /// shows what was not written.
    pub fn lose_syncs_after(&self, honest: u64, lost: u64) {
        self.state().lies = Some((honest, lost));
    }

    /// Called with the offset and bytes of every write before it is applied, while no lock of the
    /// medium is held: the hook may call back into the store, whose writes call the hook again.
    /// It replaces an earlier hook, and a crash removes it.
    pub fn on_write(&self, hook: impl Fn(u64, &[u8]) + Send + Sync + 'static) {
        *self.machine.hook.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(hook));
    }

    /// Crashes the machine and hands back the one after the restart: unlocked, with nothing
    /// planned, its counts going on. Every handle on the old one fails from now on.
    #[must_use = "the old machine is gone"]
    pub fn crash(&self, crash: Crash) -> Self {
        let mut old = self.state();
        let mut wreck = State::new(0, Vec::new());
        wreck.off = true;
        wreck.operations = old.operations;
        let mut state = std::mem::replace(&mut *old, wreck);
        drop(old);
        *self.machine.hook.lock().unwrap_or_else(PoisonError::into_inner) = None;
        state.crash(crash);
        Self::boot(state)
    }

    /// The machine as this crash would leave it now, with a seed of its own, while this one and the
    /// store on it run on: one running store can be crashed any number of times. The same state of
    /// the machine, crash and seed give the same image.
    ///
    /// ```
    /// use strongroom::medium::Medium;
    /// use strongroom::testkit::{Crash, CrashMedium, Survival, Tearing};
    ///
    /// let disk = CrashMedium::new(1);
    /// disk.write_at(0, &[7; 8192])?;
    /// let crash = Crash::PowerCut { tearing: Tearing::Page4096, survival: Survival::OnlyOne };
    /// let after = disk.image_after(crash, 42);
    /// assert_eq!(after.image().iter().filter(|byte| **byte == 7).count(), 4096);
    /// disk.write_at(0, b"and on it goes")?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn image_after(&self, crash: Crash, seed: u64) -> Self {
        let mut state = self.state().clone();
        state.random = SeededRandom::new(seed);
        state.crash(crash);
        Self::boot(state)
    }

    /// Whether the planned cut has happened.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.state().off
    }

    /// Whether a sync failed as planned since the last crash.
    #[must_use]
    pub fn sync_failed(&self) -> bool {
        self.state().sync_failed
    }

    /// Whether a write failed as planned since the last crash.
    #[must_use]
    pub fn write_failed(&self) -> bool {
        self.state().write_failed
    }

    /// How many syncs returned without making anything durable, as planned.
    #[must_use]
    pub fn syncs_lost(&self) -> u64 {
        self.state().syncs_lost
    }

    /// How many writes, length changes and syncs there were, the cut one included.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// How many syncs there were, failed ones included.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// The named points that the store reached, with how often.
    #[must_use]
    pub fn points(&self) -> Vec<(&'static str, u64)> {
        self.state().points.iter().map(|(point, count)| (*point, *count)).collect()
    }

    /// What reads see now.
    #[must_use]
    pub fn image(&self) -> Vec<u8> {
        self.state().view.clone()
    }

    /// What is durable now.
    #[must_use]
    pub fn durable_image(&self) -> Vec<u8> {
        self.state().disk.clone()
    }

    /// The writes that the last successful sync made durable, as (offset, length).
    #[must_use]
    pub fn last_synced(&self) -> Vec<(u64, u64)> {
        self.state().last_synced.clone()
    }

    /// Flips the bits of `xor` in the byte at `offset`, in the cache and on the disk, behind the
    /// store's back. Nothing happens past the end.
    pub fn damage(&self, offset: u64, xor: u8) {
        let mut state = self.state();
        let State { disk, view, .. } = &mut *state;
        let place = usize::try_from(offset).unwrap_or(usize::MAX);
        for bytes in [disk, view] {
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= xor;
            }
        }
    }

    /// Puts these bytes at `offset`, in the cache and on the disk, behind the store's back: an
    /// attacker who edits, replays or zeroes. What lies past the end is cut off.
    pub fn forge(&self, offset: u64, data: &[u8]) {
        let mut state = self.state();
        let State { disk, view, .. } = &mut *state;
        let place = usize::try_from(offset).unwrap_or(usize::MAX);
        for bytes in [disk, view] {
            for (to, from) in bytes.get_mut(place..).unwrap_or_default().iter_mut().zip(data) {
                *to = *from;
            }
        }
    }
}

impl Clone for CrashMedium {
    fn clone(&self) -> Self {
        Self { machine: Arc::clone(&self.machine), held: Mutex::new(None) }
    }
}

impl fmt::Debug for CrashMedium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("CrashMedium")
            .field("len", &state.view.len())
            .field("durable_len", &state.disk.len())
            .field("pending", &state.log.len())
            .field("operations", &state.operations)
            .field("off", &state.off)
            .finish_non_exhaustive()
    }
}

impl Medium for CrashMedium {
    fn len(&self) -> io::Result<u64> {
        let state = self.state();
        state.powered()?;
        Ok(state.view.len() as u64)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        state.powered()?;
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        let found = state.view.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let hook = self.machine.hook.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(hook) = hook {
            hook(offset, data);
        }
        self.state().write(offset, data)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.state().set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.state().sync()
    }

    fn try_lock(&self, kind: LockKind) -> io::Result<bool> {
        let mut state = self.state();
        state.powered()?;
        let next = match (state.locked, kind) {
            (Locked::Free, LockKind::Exclusive) => Locked::Exclusive,
            (Locked::Free, LockKind::Shared) => Locked::Shared(1),
            (Locked::Shared(holders), LockKind::Shared) => {
                Locked::Shared(holders.saturating_add(1))
            }
            _ => return Ok(false),
        };
        state.locked = next;
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(kind);
        Ok(true)
    }

    fn unlock(&self) -> io::Result<()> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(kind) = held else { return Ok(()) };
        let mut state = self.state();
        state.locked = match (kind, state.locked) {
            (LockKind::Shared, Locked::Shared(holders)) if holders > 1 => {
                Locked::Shared(holders.saturating_sub(1))
            }
            _ => Locked::Free,
        };
        Ok(())
    }

    fn drop_cache(&self, offset: u64, len: u64) -> io::Result<CacheDrop> {
        let mut state = self.state();
        state.powered()?;
        state.drop_cache(offset, len);
        Ok(CacheDrop::Dropped)
    }

    fn reached(&self, point: &'static str) {
        let mut state = self.state();
        if state.off {
            return;
        }
        let count = state.points.entry(point).or_insert(0);
        let nth = *count;
        *count = count.saturating_add(1);
        if state.cut_at_point == Some((point, nth)) {
            state.off = true;
        }
    }
}

impl Drop for CrashMedium {
    fn drop(&mut self) {
        // As closing a file does: a handle that goes away holds no lock.
        let _ = self.unlock();
    }
}

#[cfg(test)]
mod tests;
