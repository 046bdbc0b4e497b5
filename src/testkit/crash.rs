//! A machine with a disk, in memory, that can be crashed at any operation. Its three layers: the
//! disk holds what is durable; the log holds writes and lengths since the last sync; the view,
//! the page cache, is what reads see. A crash decides what of the log lands and what of the
//! view is left, and hands back the machine after the reboot or restart.
//!
//! Deterministic: a seed and the same calls give the same bytes. Operations, for counting and
//! cutting, are writes, length changes and syncs; reads and locks are not.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::crash_log::{self, Pending};
use super::{Crash, SeededRandom, Survival, Tearing};
use crate::medium::{CacheDrop, LockKind, Medium};

type WriteHook = Arc<dyn Fn(u64, &[u8]) + Send + Sync>;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Locked {
    #[default]
    Free,
    Shared(u32),
    Exclusive,
}

/// A sync that is to fail: after so many that don't, and what of the log lands then.
#[derive(Clone, Copy, Debug)]
struct SyncFault {
    after: u64,
    tearing: Tearing,
    survival: Survival,
}

#[derive(Debug)]
struct State {
    disk: Vec<u8>,
    view: Vec<u8>,
    log: Vec<Pending>,
    random: SeededRandom,
    operations: u64,
    syncs: u64,
    cut_at: Option<u64>,
    cut_at_point: Option<(&'static str, u64)>,
    sync_fault: Option<SyncFault>,
    sync_failed: bool,
    /// Writes that still succeed before one fails.
    write_fault: Option<u64>,
    write_failed: bool,
    off: bool,
    points: BTreeMap<&'static str, u64>,
    last_synced: Vec<(u64, u64)>,
    locked: Locked,
}

impl State {
    fn new(seed: u64, image: Vec<u8>) -> Self {
        Self {
            disk: image.clone(),
            view: image,
            log: Vec::new(),
            random: SeededRandom::new(seed),
            operations: 0,
            syncs: 0,
            cut_at: None,
            cut_at_point: None,
            sync_fault: None,
            sync_failed: false,
            write_fault: None,
            write_failed: false,
            off: false,
            points: BTreeMap::new(),
            last_synced: Vec::new(),
            locked: Locked::Free,
        }
    }

    fn powered(&self) -> io::Result<()> {
        if self.off { Err(power_is_off()) } else { Ok(()) }
    }

    /// Counts one operation; true where the power goes off during this very one.
    fn begin_operation(&mut self) -> io::Result<bool> {
        self.powered()?;
        let cut = self.cut_at == Some(self.operations);
        self.operations = self.operations.saturating_add(1);
        self.off = cut;
        Ok(cut)
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        let cut = self.begin_operation()?;
        let fails = self.write_fault == Some(0);
        self.write_fault = self.write_fault.and_then(|left| left.checked_sub(1));
        self.write_failed |= fails;
        // Of the write that the crash or the fault interrupts some first bytes arrive, perhaps all.
        let length =
            if cut || fails { self.random.between(0, data.len() as u64) } else { u64::MAX };
        let part = usize::try_from(length).ok().and_then(|length| data.get(..length));
        let data = part.unwrap_or(data);
        crash_log::write(&mut self.view, offset, data)?;
        if !data.is_empty() {
            self.log.push(Pending::Write { offset, data: data.to_vec() });
        }
        if fails {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "the disk is full for a moment",
            ));
        }
        if cut { Err(power_is_off()) } else { Ok(()) }
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let cut = self.begin_operation()?;
        if !cut || self.random.chance(0.5) {
            crash_log::set_len(&mut self.view, len)?;
            self.log.push(Pending::Length(len));
        }
        if cut { Err(power_is_off()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.begin_operation()? {
            // The log stays as it is: the crash decides what of it had landed.
            return Err(power_is_off());
        }
        self.syncs = self.syncs.saturating_add(1);
        match &mut self.sync_fault {
            Some(fault) if fault.after == 0 => {
                let fault = *fault;
                self.sync_fault = None;
                self.sync_failed = true;
                self.lose_in_sync(fault.tearing, fault.survival);
                return Err(io::Error::other("the disk failed during the sync"));
            }
            Some(fault) => fault.after = fault.after.saturating_sub(1),
            None => {}
        }
        crash_log::land_all(&mut self.disk, &self.log);
        self.last_synced = self
            .log
            .drain(..)
            .filter_map(|entry| match entry {
                Pending::Write { offset, data } => Some((offset, data.len() as u64)),
                Pending::Length(_) => None,
            })
            .collect();
        Ok(())
    }

    /// A failed sync: part of the log lands, the rest stays readable and is forgotten as clean.
    fn lose_in_sync(&mut self, tearing: Tearing, survival: Survival) {
        let log = std::mem::take(&mut self.log);
        crash_log::land_some(&mut self.disk, &log, tearing, survival, &mut self.random);
        if self.disk.len() != self.view.len() {
            self.log.push(Pending::Length(self.view.len() as u64));
        }
    }

    fn crash(&mut self, crash: Crash) {
        match crash {
            Crash::PowerCut { tearing, survival } => {
                let log = std::mem::take(&mut self.log);
                crash_log::land_some(&mut self.disk, &log, tearing, survival, &mut self.random);
                self.view.clone_from(&self.disk);
            }
            Crash::Kill => {}
            Crash::FailedSync { tearing, survival } => self.lose_in_sync(tearing, survival),
        }
        self.off = false;
        self.sync_failed = false;
        self.write_failed = false;
        self.cut_at = None;
        self.cut_at_point = None;
        self.sync_fault = None;
        self.write_fault = None;
        self.locked = Locked::Free;
    }

    fn drop_cache(&mut self, offset: u64, len: u64) {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.view.len());
        // As with posix_fadvise, a length of 0 means all that follows.
        let len = if len == 0 { u64::MAX } else { len };
        let end = usize::try_from(offset.saturating_add(len)).unwrap_or(usize::MAX);
        let length = end.min(self.view.len()).saturating_sub(start);
        let bytes = crash_log::rebuild(&self.disk, &self.log, start, length);
        let place = self.view.get_mut(start..).and_then(|view| view.get_mut(..length));
        if let Some(place) = place {
            place.copy_from_slice(&bytes);
        }
    }
}

fn power_is_off() -> io::Error {
    io::Error::other("power is off")
}

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
    /// [`CrashMedium::fail_sync_after`] and [`CrashMedium::fail_write_after`] planned.
    pub fn clear_plan(&self) {
        let mut state = self.state();
        (state.cut_at, state.cut_at_point) = (None, None);
        (state.sync_fault, state.write_fault) = (None, None);
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
