//! Going over all pages of a file once, some threads at a time, in pieces of whole groups.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Phase, Progress, ProgressFn};
use crate::error::ConvertError;
use crate::layout::{DATA_PAGES_PER_GROUP, PAGE_BYTES, PAGE_SIZE};

/// Pages in a piece: 4 groups, about 2 MiB. Two threads so never meet in one group.
const PAGES_PER_PIECE: u64 = 4 * DATA_PAGES_PER_GROUP;

pub(super) struct Sweep<'a> {
    /// Pages in all.
    pub(super) pages: u64,
    pub(super) threads: usize,
    pub(super) phase: Phase,
    pub(super) progress: Option<ProgressFn<'a>>,
}

impl Sweep<'_> {
    /// Calls `each` once for each piece, with two buffers of its length. The first error ends the
    /// sweep.
    pub(super) fn run(
        &self,
        each: impl Fn(Range<u64>, &mut [u8], &mut [u8]) -> Result<(), ConvertError> + Sync,
    ) -> Result<(), ConvertError> {
        let pieces = self.pages.div_ceil(PAGES_PER_PIECE);
        let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let done = Mutex::new((0, None));
        let work = || {
            let room = usize::try_from(PAGES_PER_PIECE.min(self.pages)).unwrap_or(0) * PAGE_SIZE;
            let (mut one, mut two) = (vec![0; room], vec![0; room]);
            while !stop.load(Ordering::Acquire) {
                let piece = next.fetch_add(1, Ordering::AcqRel);
                if piece >= pieces {
                    return;
                }
                let first = piece * PAGES_PER_PIECE;
                let pages = first..self.pages.min(first + PAGES_PER_PIECE);
                let len = usize::try_from(pages.end - pages.start).unwrap_or(0) * PAGE_SIZE;
                let (Some(one), Some(two)) = (one.get_mut(..len), two.get_mut(..len)) else {
                    return;
                };
                let result = each(pages, one, two);
                let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                match result {
                    Ok(()) => self.tell(&mut done.0, len as u64),
                    Err(error) => {
                        stop.store(true, Ordering::Release);
                        done.1.get_or_insert(error);
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.threads {
                scope.spawn(work);
            }
            work();
        });
        match done.into_inner().unwrap_or_else(PoisonError::into_inner).1 {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    // Under the lock, so that what is told only grows.
    fn tell(&self, done_bytes: &mut u64, more: u64) {
        *done_bytes += more;
        if let Some(progress) = self.progress {
            let total_bytes = self.pages.saturating_mul(PAGE_BYTES);
            progress(Progress { phase: self.phase, done_bytes: *done_bytes, total_bytes });
        }
    }
}
