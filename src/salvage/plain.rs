//! redb's own format on a medium of ours: a plain database in memory or in a file that is still
//! being built. Byte ranges go through as they are.

use std::io;
use std::ops::Bound;

use redb::{BackendError, StorageBackend};

use crate::medium::{LockKind, Medium};

/// A medium as redb wants it.
#[derive(Debug)]
pub(super) struct PlainBackend<M>(pub(super) M);

impl<M: Medium> PlainBackend<M> {
    // redb's multi-process modes, which lock parts, are not used here.
    fn lock(&self, kind: LockKind, all: bool) -> Result<bool, BackendError> {
        if all { Ok(self.0.try_lock(kind)?) } else { Err(BackendError::Unsupported) }
    }
}

fn is_all(start: Bound<u64>, end: Bound<u64>) -> bool {
    matches!(start, Bound::Unbounded | Bound::Included(0)) && end == Bound::Unbounded
}

impl<M: Medium> StorageBackend for PlainBackend<M> {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.unlock()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.lock(LockKind::Exclusive, is_all(start, end))
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.lock(LockKind::Shared, is_all(start, end))
    }

    fn unlock_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<(), BackendError> {
        // Held until `close`.
        Ok(())
    }
}
