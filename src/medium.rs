//! Floor 2: where the bytes lie. A [`Medium`] is a flat, growable run of bytes with a barrier
//! ([`Medium::sync`]), a whole-storage lock and a way to forget cached bytes. It knows nothing of
//! pages, keys or redb. What the store assumes of a medium is written down in docs/design.md.

use std::fmt;
use std::io;

mod directory;
mod file;
mod map;
mod memory;
mod named;

pub use directory::{Directory, Identity};
pub use file::FileMedium;
pub use map::MappedMedium;
pub use memory::MemoryMedium;

pub(crate) use directory::FileDirectory;
pub(crate) use named::{existing, existing_read_only, file_error};

/// How a medium is locked while it is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockKind {
    /// Readers only: any number at once, no writer.
    Shared,
    /// One writer and nobody else.
    Exclusive,
}

/// What became of a request to forget cached bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CacheDrop {
    /// Later reads see what is durable, for bytes that were not written since.
    Dropped,
    /// This medium has no cache between itself and durability, or no way to drop it.
    NotPossible,
}

/// A flat run of bytes that a store lies on: a file, memory, a crash simulator, or anything you
/// implement this for.
///
/// Offsets and lengths are bytes. Calls may come from several threads at once; the store never
/// writes overlapping ranges concurrently.
pub trait Medium: fmt::Debug + Send + Sync + 'static {
    /// The length in bytes.
    ///
    /// # Errors
    /// Whatever the storage reports.
    fn len(&self) -> io::Result<u64>;

    /// Whether the medium holds no byte at all.
    ///
    /// # Errors
    /// Whatever the storage reports.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `out` with the bytes at `offset`.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] where the range passes the end; else whatever the storage
    /// reports.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes all of `data` at `offset`; a write past the end extends the medium, and a gap reads
    /// as zeros. Not durable before [`Medium::sync`].
    ///
    /// # Errors
    /// Whatever the storage reports. Any part of `data` may have been written then.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Cuts or extends to `len` bytes; new bytes read as zeros.
    ///
    /// # Errors
    /// Whatever the storage reports.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes everything written before the call durable, the length included.
    ///
    /// # Errors
    /// Whatever the storage reports. The store never calls it again after an error: a second
    /// `fsync` that succeeds proves nothing.
    fn sync(&self) -> io::Result<()>;

    /// Takes the whole-storage lock; `false` where somebody else holds a conflicting one.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where this medium can't lock: the store then refuses to
    /// open unless told otherwise.
    fn try_lock(&self, kind: LockKind) -> io::Result<bool>;

    /// Gives the lock back. Called once at close, also when nothing is locked.
    ///
    /// # Errors
    /// Whatever the storage reports.
    fn unlock(&self) -> io::Result<()>;

    /// Forgets cached copies of `len` bytes at `offset` (0: of everything from there on), so that
    /// later reads come from the storage itself: after a failed `fsync` a cache may hold bytes that
    /// never became durable.
    ///
    /// # Errors
    /// Whatever the storage reports.
    fn drop_cache(&self, offset: u64, len: u64) -> io::Result<CacheDrop> {
        let _ = (offset, len);
        Ok(CacheDrop::NotPossible)
    }

    /// Whether a flush of many pages gains from writing them from several threads at once. Where it
    /// doesn't say so the store seals and writes a flush on one thread, in file order, which a
    /// simulator can count on.
    fn writes_in_parallel(&self) -> bool {
        false
    }

    /// Told at named points of a protocol (`"sync: after tag pages"`). A simulator may cut the
    /// power there; every other medium ignores it.
    fn reached(&self, point: &'static str) {
        let _ = point;
    }
}
