//! The three layers of a simulated machine and what each operation, fault and crash does to them.
//! Plain data without locks: [`super::CrashMedium`] is the handle on it. The log is all that the
//! disk does not hold yet; the view is disk and log together, but for bytes that a failed sync has
//! lost and the cache still shows.

use std::collections::BTreeMap;
use std::io;

use crate::testkit::crash_log::{self, Pending};
use crate::testkit::{Crash, SeededRandom, Survival, Tearing};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Locked {
    #[default]
    Free,
    Shared(u32),
    Exclusive,
}

/// A sync that is to fail: after so many that don't, and what of the log lands then.
#[derive(Clone, Copy, Debug)]
pub(super) struct SyncFault {
    pub(super) after: u64,
    pub(super) tearing: Tearing,
    pub(super) survival: Survival,
}

#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) disk: Vec<u8>,
    pub(super) view: Vec<u8>,
    pub(super) log: Vec<Pending>,
    pub(super) random: SeededRandom,
    pub(super) operations: u64,
    pub(super) syncs: u64,
    pub(super) cut_at: Option<u64>,
    pub(super) cut_at_point: Option<(&'static str, u64)>,
    pub(super) sync_fault: Option<SyncFault>,
    pub(super) sync_failed: bool,
    /// Writes that still succeed before one fails.
    pub(super) write_fault: Option<u64>,
    pub(super) write_failed: bool,
    /// Syncs that are honest before the disk begins to lie, and how many lies follow.
    pub(super) lies: Option<(u64, u64)>,
    /// Syncs that returned and made nothing durable.
    pub(super) syncs_lost: u64,
    pub(super) off: bool,
    pub(super) points: BTreeMap<&'static str, u64>,
    pub(super) last_synced: Vec<(u64, u64)>,
    pub(super) locked: Locked,
}

impl State {
    pub(super) fn new(seed: u64, image: Vec<u8>) -> Self {
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
            lies: None,
            syncs_lost: 0,
            off: false,
            points: BTreeMap::new(),
            last_synced: Vec::new(),
            locked: Locked::Free,
        }
    }

    pub(super) fn powered(&self) -> io::Result<()> {
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

    pub(super) fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
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

    pub(super) fn set_len(&mut self, len: u64) -> io::Result<()> {
        let cut = self.begin_operation()?;
        if !cut || self.random.chance(0.5) {
            crash_log::set_len(&mut self.view, len)?;
            self.log.push(Pending::Length(len));
        }
        if cut { Err(power_is_off()) } else { Ok(()) }
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
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
        if self.lies_now() {
            self.syncs_lost = self.syncs_lost.saturating_add(1);
            return Ok(());
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

    fn lies_now(&mut self) -> bool {
        match &mut self.lies {
            None | Some((_, 0)) => false,
            Some((0, left)) => {
                *left = left.saturating_sub(1);
                true
            }
            Some((honest, _)) => {
                *honest = honest.saturating_sub(1);
                false
            }
        }
    }

    /// A failed sync: part of the log lands, the rest stays readable and is forgotten as clean.
    fn lose_in_sync(&mut self, tearing: Tearing, survival: Survival) {
        let log = std::mem::take(&mut self.log);
        crash_log::land_some(&mut self.disk, &log, tearing, survival, &mut self.random);
        if self.disk.len() != self.view.len() {
            self.log.push(Pending::Length(self.view.len() as u64));
        }
    }

    pub(super) fn crash(&mut self, crash: Crash) {
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
        self.lies = None;
        self.locked = Locked::Free;
    }

    pub(super) fn drop_cache(&mut self, offset: u64, len: u64) {
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
