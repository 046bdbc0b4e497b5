//! Memory as a medium: for tests and for databases that need not outlive the process. Clones are
//! views of the same bytes, so that a database can be closed and opened again.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::{LockKind, Medium};

#[derive(Debug, Default)]
struct Shared {
    bytes: RwLock<Vec<u8>>,
    lock: Mutex<Locked>,
}

#[derive(Debug, Default, Clone, Copy)]
enum Locked {
    #[default]
    Free,
    Shared(u32),
    Exclusive,
}

/// A growable run of bytes in memory. [`Clone`] gives a second view of the same bytes; locks
/// conflict between views as they do between two opens of one file.
#[derive(Debug, Default)]
pub struct MemoryMedium {
    shared: Arc<Shared>,
    held: Mutex<Option<LockKind>>,
}

impl Clone for MemoryMedium {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), held: Mutex::new(None) }
    }
}

impl MemoryMedium {
    /// An empty medium.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A medium that starts with these bytes, such as a copy of a file.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        let medium = Self::new();
        *write(&medium.shared.bytes) = bytes;
        medium
    }

    /// A copy of all bytes as they are now.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        read(&self.shared.bytes).clone()
    }
}

// The bytes stay meaningful when another thread panicked while it held them.
fn read(bytes: &RwLock<Vec<u8>>) -> std::sync::RwLockReadGuard<'_, Vec<u8>> {
    bytes.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(bytes: &RwLock<Vec<u8>>) -> std::sync::RwLockWriteGuard<'_, Vec<u8>> {
    bytes.write().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn out_of_range() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "offset beyond what memory can hold")
}

impl Medium for MemoryMedium {
    fn len(&self) -> io::Result<u64> {
        Ok(read(&self.shared.bytes).len() as u64)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = read(&self.shared.bytes);
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        let found = bytes.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| out_of_range())?;
        let end = start.checked_add(data.len()).ok_or_else(out_of_range)?;
        let mut bytes = write(&self.shared.bytes);
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        if let Some(place) = bytes.get_mut(start..end) {
            place.copy_from_slice(data);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        write(&self.shared.bytes).resize(usize::try_from(len).map_err(|_| out_of_range())?, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn try_lock(&self, kind: LockKind) -> io::Result<bool> {
        let mut state = lock(&self.shared.lock);
        let next = match (*state, kind) {
            (Locked::Free, LockKind::Exclusive) => Locked::Exclusive,
            (Locked::Free, LockKind::Shared) => Locked::Shared(1),
            (Locked::Shared(holders), LockKind::Shared) => {
                Locked::Shared(holders.saturating_add(1))
            }
            _ => return Ok(false),
        };
        *state = next;
        *lock(&self.held) = Some(kind);
        Ok(true)
    }

    fn unlock(&self) -> io::Result<()> {
        let Some(kind) = lock(&self.held).take() else { return Ok(()) };
        let mut state = lock(&self.shared.lock);
        *state = match (kind, *state) {
            (LockKind::Shared, Locked::Shared(holders)) if holders > 1 => {
                Locked::Shared(holders.saturating_sub(1))
            }
            _ => Locked::Free,
        };
        Ok(())
    }
}

impl Drop for MemoryMedium {
    fn drop(&mut self) {
        // As closing a file does: a view that goes away holds no lock.
        let _ = self.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_extend_and_gaps_read_as_zeros() {
        let medium = MemoryMedium::new();
        medium.write_at(4, b"ab").unwrap();
        assert_eq!(medium.to_bytes(), [0, 0, 0, 0, b'a', b'b']);
        let mut past_the_end = [0; 3];
        let error = medium.read_at(4, &mut past_the_end).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn locks_conflict_between_views_and_end_with_them() {
        let first = MemoryMedium::new();
        let second = first.clone();
        assert!(first.try_lock(LockKind::Shared).unwrap());
        assert!(second.try_lock(LockKind::Shared).unwrap());
        assert!(!first.clone().try_lock(LockKind::Exclusive).unwrap());
        drop(first);
        second.unlock().unwrap();
        assert!(second.try_lock(LockKind::Exclusive).unwrap());
        assert!(!second.clone().try_lock(LockKind::Shared).unwrap());
    }
}
