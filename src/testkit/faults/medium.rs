//! The medium that carries a plan out. It asks which faults hit an operation and does as they say;
//! everything else it hands on.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Armed, Fault, FaultKind, FaultPlan, Operation};
use crate::medium::{CacheDrop, LockKind, Medium};

/// Bytes of a sector, the unit that stays stale.
const SECTOR: usize = 512;

/// Any medium, going wrong as a [`FaultPlan`] says. [`Clone`] gives a second handle on the same
/// plan, to arm it and ask about it while a store has the first.
///
/// ```
/// use strongroom::medium::{Medium, MemoryMedium};
/// use strongroom::testkit::FaultyMedium;
///
/// let disk = FaultyMedium::new(MemoryMedium::new());
/// disk.arm("write error once after 1".parse()?);
/// disk.write_at(0, b"fine")?;
/// assert!(disk.write_at(4, b"lost").is_err());
/// assert_eq!((disk.fired(), disk.len()?), (1, 4));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FaultyMedium<M> {
    inner: M,
    armed: Arc<Mutex<Armed>>,
}

impl<M: Medium> FaultyMedium<M> {
    /// Around this medium, with nothing going wrong yet.
    #[must_use]
    pub fn new(inner: M) -> Self {
        Self { inner, armed: Arc::default() }
    }

    /// Carries this plan out from now on, instead of an earlier one; counts start anew.
    pub fn arm(&self, plan: FaultPlan) {
        *self.armed() = Armed::new(plan);
    }

    /// Nothing goes wrong any more; what did is still told by nobody: ask before.
    pub fn disarm(&self) {
        self.arm(FaultPlan::default());
    }

    /// How often a fault of the plan hit an operation since it was armed.
    #[must_use]
    pub fn fired(&self) -> u64 {
        self.armed().fired()
    }

    /// The medium below.
    #[must_use]
    pub fn inner(&self) -> &M {
        &self.inner
    }

    fn armed(&self) -> MutexGuard<'_, Armed> {
        // Counts stay meaningful when another thread panicked while it held them.
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The faults of this operation, after the delay that is one of them.
    fn hits(&self, operation: Operation) -> Vec<Fault> {
        let hits = self.armed().hits(operation);
        for fault in &hits {
            if let FaultKind::Slow { micros } = fault.what {
                std::thread::sleep(Duration::from_micros(micros));
            }
        }
        hits
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let written = self.inner.write_at(offset, data);
        let mut armed = self.armed();
        armed.written = armed.written.saturating_add(data.len() as u64);
        written
    }

    /// As much as there is room for, then the error.
    fn write_until(&self, offset: u64, data: &[u8], room: u64, fault: &Fault) -> io::Result<()> {
        let room = usize::try_from(room).unwrap_or(usize::MAX).min(data.len());
        let lands = data.get(..room).unwrap_or_default();
        if !lands.is_empty() {
            self.write(offset, lands)?;
        }
        Err(error(io::ErrorKind::StorageFull, fault))
    }

    /// All of it but one sector.
    fn write_around(&self, offset: u64, data: &[u8], nth: u64) -> io::Result<()> {
        for (sector, bytes) in (0_u64..).zip(data.chunks(SECTOR)) {
            if sector != nth {
                self.write(at(offset, sector.saturating_mul(SECTOR as u64)), bytes)?;
            }
        }
        Ok(())
    }
}

fn at(offset: u64, by: u64) -> u64 {
    offset.saturating_add(by)
}

fn error(kind: io::ErrorKind, fault: &Fault) -> io::Error {
    io::Error::new(kind, format!("planned fault: {fault}"))
}

fn flip(bytes: &mut [u8], offset: u64, byte: u64, bit: u8) {
    let index = byte.checked_sub(offset).and_then(|index| usize::try_from(index).ok());
    if let Some(found) = index.and_then(|index| bytes.get_mut(index)) {
        *found ^= 1_u8.checked_shl(u32::from(bit)).unwrap_or(0);
    }
}

impl<M: Medium> Medium for FaultyMedium<M> {
    fn len(&self) -> io::Result<u64> {
        let mut len = self.inner.len()?;
        for fault in self.hits(Operation::Length) {
            if let FaultKind::TruncatedTo { byte } = fault.what {
                len = len.min(byte);
            }
        }
        Ok(len)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let hits = self.hits(Operation::Read { offset, len: out.len() as u64 });
        let mut from = offset;
        for fault in &hits {
            match fault.what {
                FaultKind::ReadError => return Err(error(io::ErrorKind::Other, fault)),
                FaultKind::ShortRead => {
                    let half = out.len().checked_div(2).unwrap_or(0);
                    self.inner.read_at(offset, out.get_mut(..half).unwrap_or_default())?;
                    return Err(error(io::ErrorKind::UnexpectedEof, fault));
                }
                FaultKind::TruncatedTo { .. } => {
                    return Err(error(io::ErrorKind::UnexpectedEof, fault));
                }
                FaultKind::MisdirectedRead { by } => from = from.saturating_add_signed(by),
                _ => {}
            }
        }
        self.inner.read_at(from, out)?;
        for fault in &hits {
            if let FaultKind::BitFlipOnRead { byte, bit } = fault.what {
                flip(out, offset, byte, bit);
            }
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let before = self.armed().written;
        let mut changed = None;
        for fault in self.hits(Operation::Write { offset, len: data.len() as u64 }) {
            match fault.what {
                FaultKind::WriteError => return Err(error(io::ErrorKind::Other, &fault)),
                FaultKind::ShortWrite => {
                    let half = data.len().checked_div(2).unwrap_or(0);
                    self.write(offset, data.get(..half).unwrap_or_default())?;
                    return Err(error(io::ErrorKind::Other, &fault));
                }
                FaultKind::LostWrite => return Ok(()),
                FaultKind::MisdirectedWrite { by } => {
                    return self.write(offset.saturating_add_signed(by), data);
                }
                FaultKind::StaleSector { nth } => return self.write_around(offset, data, nth),
                FaultKind::DiskFullAt { byte } => {
                    return self.write_until(offset, data, byte.saturating_sub(offset), &fault);
                }
                FaultKind::DiskFullAfter { bytes } => {
                    return self.write_until(offset, data, bytes.saturating_sub(before), &fault);
                }
                FaultKind::BitFlipOnWrite { byte, bit } => {
                    flip(changed.get_or_insert_with(|| data.to_vec()), offset, byte, bit);
                }
                _ => {}
            }
        }
        self.write(offset, changed.as_deref().unwrap_or(data))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let grows = len > self.inner.len()?;
        for fault in self.hits(Operation::Resize { len, grows }) {
            match fault.what {
                FaultKind::ResizeError => return Err(error(io::ErrorKind::Other, &fault)),
                FaultKind::DiskFullAt { .. } | FaultKind::DiskFullAfter { .. } => {
                    return Err(error(io::ErrorKind::StorageFull, &fault));
                }
                _ => {}
            }
        }
        self.inner.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        for fault in self.hits(Operation::Sync) {
            match fault.what {
                FaultKind::SyncError => return Err(error(io::ErrorKind::Other, &fault)),
                FaultKind::LostSync => return Ok(()),
                _ => {}
            }
        }
        self.inner.sync()
    }

    fn try_lock(&self, kind: LockKind) -> io::Result<bool> {
        self.inner.try_lock(kind)
    }

    fn unlock(&self) -> io::Result<()> {
        self.inner.unlock()
    }

    fn drop_cache(&self, offset: u64, len: u64) -> io::Result<CacheDrop> {
        self.inner.drop_cache(offset, len)
    }

    fn reached(&self, point: &'static str) {
        self.inner.reached(point);
    }
}
