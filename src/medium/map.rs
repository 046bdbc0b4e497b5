//! A file as a medium that is read through a memory map: a read is a copy from the system's page cache
//! without a system call. Ciphertext only, copied out before anything looks at it; written through
//! the file as ever.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use memmap2::{Mmap, MmapOptions};

use super::{CacheDrop, FileMedium, LockKind, Medium};

/// The map is made this much longer than the file, so that growth seldom makes a new one.
const ROOM: u64 = 256 << 20;
/// What lies before is read through the file: header and root records are read again after the cache
/// was told to drop them, and a mapped page is not dropped.
const MAPPED_FROM: u64 = 2 << 20;

/// A file that is read through a memory map. Faster than [`FileMedium`] where the system has the file
/// cached (docs/performance.md), and riskier: if the file is cut by another program, or the disk
/// fails to read, the system ends the process with `SIGBUS` where [`FileMedium`] gets an error. 64-bit
/// systems only: the whole file is mapped.
pub struct MappedMedium {
    file: FileMedium,
    map: RwLock<Option<Mmap>>,
    /// Bytes that the file is known to have: nothing behind them is touched in the map.
    known: AtomicU64,
}

impl fmt::Debug for MappedMedium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MappedMedium").field("file", &self.file).finish_non_exhaustive()
    }
}

impl MappedMedium {
    /// Reads a file through a map. The map is made when it is first needed.
    #[must_use]
    pub fn new(file: FileMedium) -> Self {
        Self { file, map: RwLock::new(None), known: AtomicU64::new(0) }
    }

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// Whatever the operating system reports.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        FileMedium::open(path).map(Self::new)
    }

    fn shared(&self) -> RwLockReadGuard<'_, Option<Mmap>> {
        self.map.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn alone(&self) -> RwLockWriteGuard<'_, Option<Mmap>> {
        self.map.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies from the map; `false` where it, or what is known of the file, doesn't reach so far.
    fn copy(&self, offset: u64, out: &mut [u8]) -> bool {
        let Some(end) = offset.checked_add(out.len() as u64) else { return false };
        let map = self.shared();
        if end > self.known.load(Ordering::Acquire) {
            return false;
        }
        let bytes = map.as_deref().zip(usize::try_from(offset).ok());
        let bytes = bytes.and_then(|(map, at)| map.get(at..)?.get(..out.len()));
        bytes.map(|bytes| out.copy_from_slice(bytes)).is_some()
    }

    /// Asks the file for its length, and maps it anew where the map is too short.
    fn look_again(&self) -> io::Result<()> {
        let mut map = self.alone();
        let len = self.file.len()?;
        let reached = map.as_ref().map_or(0, |map| map.len() as u64);
        if len > reached {
            *map = Some(map_read_only(&self.file, len.saturating_add(ROOM))?);
        }
        self.known.store(len, Ordering::Release);
        Ok(())
    }
}

/// The first `len` bytes, more than the file has if need be.
fn map_read_only(file: &FileMedium, len: u64) -> io::Result<Mmap> {
    let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    #[allow(unsafe_code, reason = "memmap2 leaves it to the caller that the file may change")]
    // SAFETY: the bytes can change under the map, by this process's own writes and by other
    // programs. No reference into it outlives one `copy_from_slice` into the caller's buffer; nothing
    // depends on a byte being the same twice; and what was copied is ciphertext, authenticated
    // where it lies then. To touch a page behind the end of the file raises SIGBUS: `copy` touches
    // only what the file was seen to have, and `set_len` waits for copies. What another program
    // cuts off meanwhile is the risk that `MappedMedium` documents.
    let map = unsafe { MmapOptions::new().len(len).map(file.file()) };
    map
}

impl Medium for MappedMedium {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset < MAPPED_FROM || out.is_empty() {
            return self.file.read_at(offset, out);
        }
        if self.copy(offset, out) {
            return Ok(());
        }
        self.look_again()?;
        if self.copy(offset, out) {
            return Ok(());
        }
        // Behind the end, or more than can be mapped: the file says what is wrong.
        self.file.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, data)
    }

    fn writes_in_parallel(&self) -> bool {
        self.file.writes_in_parallel()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        // Nobody copies while the file becomes shorter.
        let _alone = self.alone();
        self.known.fetch_min(len, Ordering::AcqRel);
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn try_lock(&self, kind: LockKind) -> io::Result<bool> {
        self.file.try_lock(kind)
    }

    fn unlock(&self) -> io::Result<()> {
        self.file.unlock()
    }

    fn drop_cache(&self, offset: u64, len: u64) -> io::Result<CacheDrop> {
        // A mapped page stays cached: without a map, nothing keeps it.
        let mut map = self.alone();
        *map = None;
        self.known.store(0, Ordering::Release);
        self.file.drop_cache(offset, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: u64 = MAPPED_FROM + 4096;

    fn medium() -> (tempfile::TempDir, MappedMedium) {
        let folder = tempfile::tempdir().unwrap();
        let medium = FileMedium::create_new(folder.path().join("file")).unwrap();
        (folder, MappedMedium::new(medium))
    }

    fn read(medium: &MappedMedium, offset: u64) -> io::Result<[u8; 8]> {
        let mut out = [0; 8];
        medium.read_at(offset, &mut out).map(|()| out)
    }

    #[test]
    fn what_was_written_is_read_and_growth_too() {
        let (_folder, medium) = medium();
        medium.write_at(FAR, &[1; 8]).unwrap();
        assert_eq!(read(&medium, FAR).unwrap(), [1; 8]);
        assert!(medium.shared().is_some(), "read through the map");
        medium.write_at(FAR, &[2; 8]).unwrap();
        assert_eq!(read(&medium, FAR).unwrap(), [2; 8]);
        medium.write_at(FAR + ROOM, &[3; 8]).unwrap();
        assert_eq!(read(&medium, FAR + ROOM).unwrap(), [3; 8], "behind the first map");
        assert_eq!(read(&medium, 16).unwrap(), [0; 8]);
    }

    #[test]
    fn behind_the_end_is_an_error_and_no_signal() {
        let (folder, medium) = medium();
        medium.write_at(FAR + 8192, &[1; 8]).unwrap();
        let eof = |read: io::Result<[u8; 8]>| read.unwrap_err().kind();
        assert_eq!(eof(read(&medium, FAR + 8196)), io::ErrorKind::UnexpectedEof);
        assert_eq!(read(&medium, FAR + 8192).unwrap(), [1; 8]);
        medium.set_len(FAR).unwrap();
        assert_eq!(eof(read(&medium, FAR + 8192)), io::ErrorKind::UnexpectedEof);

        // Cut by somebody else before the map is made, or made anew.
        medium.set_len(FAR + 8200).unwrap();
        medium.drop_cache(0, 0).unwrap();
        let other = std::fs::OpenOptions::new().write(true).open(folder.path().join("file"));
        other.unwrap().set_len(FAR).unwrap();
        assert_eq!(eof(read(&medium, FAR + 4096)), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn many_threads_read_while_the_file_grows_and_shrinks() {
        let (_folder, medium) = medium();
        medium.set_len(FAR + 4096).unwrap();
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        assert_eq!(read(&medium, FAR).unwrap(), [0; 8]);
                        let _ = read(&medium, FAR + (1 << 20));
                    }
                });
            }
            for round in 0..300 {
                medium.set_len(FAR + 4096 + (round % 2) * (2 << 20)).unwrap();
                if round % 50 == 0 {
                    medium.drop_cache(0, 0).unwrap();
                }
            }
            over.store(true, Ordering::Relaxed);
        });
    }
}
