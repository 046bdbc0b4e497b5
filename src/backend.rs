//! Floor 7: what redb sees of a store. Implements `redb::StorageBackend`, turns its byte ranges into
//! runs of pages and sends page 0 to the root record. redb asks for whole pages but for its
//! header; any other range works too, through a page read, changed and written again.
//!
//! Locks: the store has locked the whole medium before redb asks, so redb's request for the whole
//! range is granted without doing anything, and its byte-range locks, which only its
//! multi-process modes need, are unsupported.

use std::io;
use std::ops::Bound;
use std::sync::{Arc, PoisonError};

use redb::{BackendError, StorageBackend};

use crate::error::{OpenError, StoreError};
use crate::keys::Credential;
use crate::layout::{PAGE_BYTES, PAGE_SIZE, PAGE_ZERO_SIZE};
use crate::locks::Mutex;
use crate::medium::Medium;
use crate::store::{self, Options, Recovery, Store, Witness};
use crate::units::PageNo;

/// The encrypting storage backend without a database on it.
///
/// [`Builder`](crate::Builder) is what applications want: it knows when redb is recovering. A bare
/// backend is strict at all times, so after an unclean shutdown a torn page of an unfinished
/// commit is an error here, where `Builder` lets redb roll the commit back. What no `sync_data`
/// followed may be lost at close. For tools and tests.
#[derive(Debug)]
pub struct EncryptedBackend {
    store: Arc<Store>,
    /// One read-change-write of a partial page at a time.
    partial_writes: Mutex<()>,
}

impl EncryptedBackend {
    /// Makes a new, empty store on an empty medium.
    ///
    /// # Errors
    /// [`OpenError::NotEmpty`], [`OpenError::AlreadyOpen`], [`OpenError::Io`].
    pub fn create_on(medium: impl Medium, key: &dyn Credential) -> Result<Self, OpenError> {
        let store = store::create(Arc::new(medium), key, None, &Options::default())?;
        store.finish_creation()?;
        Ok(Self::over(Arc::new(store)))
    }

    /// Opens an existing store.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_on(medium: impl Medium, key: &dyn Credential) -> Result<Self, OpenError> {
        Self::open_with(medium, key, &Options::default())
    }

    pub(crate) fn open_with(
        medium: impl Medium,
        key: &dyn Credential,
        options: &Options,
    ) -> Result<Self, OpenError> {
        let store = store::open(Arc::new(medium), key, options, &Witness::default())?;
        store.end_guard_strictly()?;
        Ok(Self::over(Arc::new(store)))
    }

    /// What opening found and did.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        self.store.recovery()
    }

    pub(crate) fn over(store: Arc<Store>) -> Self {
        Self { store, partial_writes: Mutex::new(()) }
    }

    fn check_range(&self, offset: u64, len: usize) -> Result<(), StoreError> {
        match offset.checked_add(len as u64) {
            Some(end) if end <= self.store.len()? => Ok(()),
            _ => Err(StoreError::Io(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    fn read_range(&self, offset: u64, out: &mut [u8]) -> Result<(), StoreError> {
        self.check_range(offset, out.len())?;
        for part in parts(offset, out.len()) {
            let Some(out) = out.get_mut(part.start..part.start + part.len) else { break };
            if part.is_whole() {
                self.store.read_pages(part.page, out)?;
            } else {
                let mut page = [0; PAGE_SIZE];
                self.store.read_pages(part.page, &mut page)?;
                out.copy_from_slice(page.get(part.within..part.within + part.len).unwrap_or(&[]));
            }
        }
        Ok(())
    }

    fn write_range(&self, offset: u64, data: &[u8]) -> Result<(), StoreError> {
        self.check_range(offset, data.len())?;
        for part in parts(offset, data.len()) {
            let Some(data) = data.get(part.start..part.start + part.len) else { break };
            if part.page == PageNo(0) {
                self.write_page_zero(part.within, data)?;
            } else if part.is_whole() {
                self.store.write_pages(part.page, data)?;
            } else {
                self.write_partial(&part, data)?;
            }
        }
        Ok(())
    }

    // redb keeps 320 bytes in page 0; the root record has room for 2048, and the rest is zeros.
    fn write_page_zero(&self, within: usize, data: &[u8]) -> Result<(), StoreError> {
        let room = PAGE_ZERO_SIZE.saturating_sub(within).min(data.len());
        let (kept, beyond) = data.split_at_checked(room).unwrap_or((data, &[]));
        if beyond.iter().any(|byte| *byte != 0) {
            return Err(StoreError::Misuse("page 0 holds 2048 bytes; the rest of it stays zero"));
        }
        if kept.is_empty() { Ok(()) } else { self.store.write_page_zero(within, kept) }
    }

    fn write_partial(&self, part: &Part, data: &[u8]) -> Result<(), StoreError> {
        let _one_at_a_time = self.partial_writes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut page = [0; PAGE_SIZE];
        self.store.read_pages(part.page, &mut page)?;
        if let Some(room) = page.get_mut(part.within..part.within + part.len) {
            room.copy_from_slice(data);
        }
        self.store.write_pages(part.page, &page)
    }
}

/// A piece of a byte range: whole pages, or a part of one; page 0 always by itself.
struct Part {
    /// Where the piece starts in the caller's buffer.
    start: usize,
    len: usize,
    page: PageNo,
    /// Where in its first page it starts.
    within: usize,
}

impl Part {
    fn is_whole(&self) -> bool {
        self.within == 0 && self.len.is_multiple_of(PAGE_SIZE)
    }
}

fn parts(offset: u64, len: usize) -> impl Iterator<Item = Part> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = len.checked_sub(start).filter(|rest| *rest > 0)?;
        let at = offset + start as u64;
        let page = PageNo(at / PAGE_BYTES);
        let within = usize::try_from(at % PAGE_BYTES).unwrap_or(0);
        let len = if within > 0 || rest < PAGE_SIZE || page == PageNo(0) {
            rest.min(PAGE_SIZE - within)
        } else {
            rest - rest % PAGE_SIZE
        };
        let part = Part { start, len, page, within };
        start += len;
        Some(part)
    })
}

impl StorageBackend for EncryptedBackend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.store.len()?)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        Ok(self.read_range(offset, out)?)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Ok(self.store.set_len(len)?)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(self.store.sync()?)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        Ok(self.write_range(offset, data)?)
    }

    fn close(&self) -> io::Result<()> {
        Ok(self.store.close()?)
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        grant_whole_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        grant_whole_range(start, end)
    }

    fn unlock_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<(), BackendError> {
        // The store's own lock lasts until close.
        Ok(())
    }
}

fn grant_whole_range(start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
    if matches!(start, Bound::Unbounded | Bound::Included(0)) && end == Bound::Unbounded {
        Ok(true)
    } else {
        Err(BackendError::Unsupported)
    }
}

impl Drop for EncryptedBackend {
    fn drop(&mut self) {
        // redb closes its backend exactly once; a bare one may never have met redb. Errors have
        // no one to go to here: the next open recovers.
        let _ = self.store.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_fall_into_whole_pages_and_parts() {
        let describe = |offset, len| -> Vec<(usize, usize, u64, usize)> {
            parts(offset, len)
                .map(|part| (part.start, part.len, part.page.0, part.within))
                .collect()
        };
        assert_eq!(describe(0, 320), [(0, 320, 0, 0)]);
        assert_eq!(describe(0, 8192), [(0, 4096, 0, 0), (4096, 4096, 1, 0)]);
        assert_eq!(describe(4096, 12288), [(0, 12288, 1, 0)]);
        assert_eq!(describe(8000, 10), [(0, 10, 1, 3904)]);
        assert_eq!(describe(4000, 8400), [(0, 96, 0, 4000), (96, 8192, 1, 0), (8288, 112, 3, 0)]);
        assert_eq!(describe(9, 0), []);
    }
}
