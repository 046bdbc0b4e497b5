//! A file as a medium: positioned reads and writes, an advisory whole-file lock, `fdatasync`.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use super::{CacheDrop, LockKind, Medium};

/// Only the owner may read or write a database.
const OWNER_ONLY: u32 = 0o600;

/// A medium on an open file. Local file systems only: the lock and `fsync` must mean something.
#[derive(Debug)]
pub struct FileMedium {
    file: File,
}

impl FileMedium {
    /// A medium on a file that is already open for reading (and for writing, unless the database
    /// is opened read-only).
    #[must_use]
    pub fn new(file: File) -> Self {
        Self { file }
    }

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// Whatever the operating system reports.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        OpenOptions::new().read(true).write(true).open(path).map(Self::new)
    }

    /// Opens an existing file for reading.
    ///
    /// # Errors
    /// Whatever the operating system reports.
    pub fn open_read_only(path: impl AsRef<Path>) -> io::Result<Self> {
        File::open(path).map(Self::new)
    }

    /// Creates a file that must not exist yet, readable and writable by its owner only.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`], or whatever else the operating system reports.
    pub fn create_new(path: impl AsRef<Path>) -> io::Result<Self> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(OWNER_ONLY)
            .open(path)
            .map(Self::new)
    }
}

impl FileMedium {
    /// The file, for a map of it.
    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

impl Medium for FileMedium {
    fn len(&self) -> io::Result<u64> {
        self.file.metadata().map(|metadata| metadata.len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn writes_in_parallel(&self) -> bool {
        true
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn try_lock(&self, kind: LockKind) -> io::Result<bool> {
        let locked = match kind {
            LockKind::Shared => self.file.try_lock_shared(),
            LockKind::Exclusive => self.file.try_lock(),
        };
        match locked {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn unlock(&self) -> io::Result<()> {
        self.file.unlock()
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn drop_cache(&self, offset: u64, len: u64) -> io::Result<CacheDrop> {
        use rustix::fs::{Advice, fadvise};
        // A length of zero means "to the end" to posix_fadvise, as it does here.
        fadvise(&self.file, offset, std::num::NonZeroU64::new(len), Advice::DontNeed)?;
        Ok(CacheDrop::Dropped)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn drop_cache(&self, _offset: u64, _len: u64) -> io::Result<CacheDrop> {
        Ok(CacheDrop::NotPossible)
    }
}
