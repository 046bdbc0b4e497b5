//! A medium that lets other threads run around each of its calls. The store holds the lock on its
//! state for bookkeeping only and never across a call of its medium, so these calls are where
//! threads can come between one another: a page written and not yet published, a tag page loaded
//! while a sync flips copies, a page evicted while another is read.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::SeededRandom;
use crate::locks;
use crate::medium::{CacheDrop, LockKind, Medium};

/// Wraps a medium; before and after each call, and at each named point, the calling thread goes
/// on, or yields, or sleeps some microseconds, as a stream of numbers from the seed says. Threads
/// draw from it in the order in which they come, so that a seed biases a run but doesn't fix it.
pub struct YieldingMedium<M> {
    inner: M,
    seed: u64,
    calls: AtomicU64,
}

impl<M: Medium> YieldingMedium<M> {
    /// Over this medium.
    #[must_use]
    pub fn new(inner: M, seed: u64) -> Self {
        Self { inner, seed, calls: AtomicU64::new(0) }
    }

    fn pause(&self) {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let mut random = SeededRandom::new(self.seed ^ call.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        match random.below(16) {
            0..8 => {}
            8..14 => locks::yield_now(),
            // shuttle's threads have no clock: the yields are all there is.
            _ if cfg!(strongroom_shuttle) => locks::yield_now(),
            _ => std::thread::sleep(Duration::from_micros(random.below(200))),
        }
    }

    fn between<T>(&self, call: impl FnOnce(&M) -> T) -> T {
        self.pause();
        let result = call(&self.inner);
        self.pause();
        result
    }
}

impl<M: Medium> fmt::Debug for YieldingMedium<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("YieldingMedium").field(&self.inner).finish()
    }
}

impl<M: Medium> Medium for YieldingMedium<M> {
    fn len(&self) -> io::Result<u64> {
        self.between(M::len)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.between(|inner| inner.read_at(offset, out))
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.between(|inner| inner.write_at(offset, data))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.between(|inner| inner.set_len(len))
    }

    fn sync(&self) -> io::Result<()> {
        self.between(M::sync)
    }

    fn try_lock(&self, kind: LockKind) -> io::Result<bool> {
        self.inner.try_lock(kind)
    }

    fn unlock(&self) -> io::Result<()> {
        self.inner.unlock()
    }

    fn drop_cache(&self, offset: u64, len: u64) -> io::Result<CacheDrop> {
        self.between(|inner| inner.drop_cache(offset, len))
    }

    fn reached(&self, point: &'static str) {
        self.between(|inner| inner.reached(point));
    }
}
