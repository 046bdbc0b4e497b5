//! Floor 2: memory for keys. One locked mapping an owner: `mlock`ed where the limit allows, left
//! out of core dumps, not inherited by a fork, wiped when dropped. Every key is one slot of an
//! [`Arena`]; the only way to its bytes is [`SecretKey::expose`], which copies them to the stack
//! and wipes the copy.
//!
//! After a fork the child has no mapping, and touching it there would fault. The store asks
//! [`Arena::is_forked_child`] before every call, and dropping a key in a child forgets it.

use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use memmap2::MmapMut;
use zeroize::{Zeroize, Zeroizing};

mod hardening;
mod origin;
#[cfg(feature = "testkit")]
pub(crate) mod watch;

pub use hardening::{Hardening, harden_process};

pub(crate) use hardening::lock_limit_bytes;
pub(crate) use origin::Origin;

const KEY_SIZE: usize = 32;
/// 32-byte keys per arena, two pages of locked memory: 32 epochs with seven subkeys each, and the
/// keys that are held for a moment while unlocking.
const KEYS_PER_ARENA: usize = 256;

/// Whether keys may lie in memory that the system could not lock, and may so write to swap.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LockMemory {
    /// Creating and opening fail where key memory, or the credential's, is not locked.
    Require,
    /// Locked where the system allows it; `Database::key_memory_is_locked` says whether it did.
    #[default]
    Prefer,
}

/// A private, anonymous mapping for secrets.
struct LockedMemory {
    bytes: Option<MmapMut>,
    origin: Origin,
    locked: bool,
}

impl LockedMemory {
    fn map(len: usize) -> io::Result<Self> {
        let bytes = MmapMut::map_anon(len.max(1))?;
        // Best effort here, RLIMIT_MEMLOCK may be small: who requires it asks before a key is put
        // in (`keys/terms.rs`).
        let locked = bytes.lock().is_ok();
        #[cfg(target_os = "linux")]
        {
            bytes.advise(memmap2::Advice::DontDump)?;
            bytes.advise(memmap2::Advice::DontFork)?;
        }
        Ok(Self { bytes: Some(bytes), origin: Origin::here()?, locked })
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or(&[])
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.as_deref_mut().unwrap_or(&mut [])
    }
}

impl Drop for LockedMemory {
    fn drop(&mut self) {
        if self.origin.is_elsewhere() {
            // Not mapped in this process: a wipe would fault, and there is nothing to wipe.
            std::mem::forget(self.bytes.take());
        } else {
            self.bytes_mut().zeroize();
        }
    }
}

struct Slots {
    memory: LockedMemory,
    free: Vec<usize>,
}

/// Locked memory that holds up to 256 keys.
#[derive(Clone)]
pub(crate) struct Arena {
    slots: Arc<RwLock<Slots>>,
    origin: Origin,
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Arena")
    }
}

fn lock(slots: &RwLock<Slots>) -> RwLockWriteGuard<'_, Slots> {
    slots.write().unwrap_or_else(PoisonError::into_inner)
}

// Every page that is opened asks for its key: readers don't wait for each other.
fn share(slots: &RwLock<Slots>) -> RwLockReadGuard<'_, Slots> {
    slots.read().unwrap_or_else(PoisonError::into_inner)
}

impl Arena {
    /// Maps and locks the memory.
    ///
    /// # Errors
    /// The system gave no memory.
    pub(crate) fn new() -> io::Result<Self> {
        let memory = LockedMemory::map(KEY_SIZE * KEYS_PER_ARENA)?;
        let free = (0..KEYS_PER_ARENA).rev().collect();
        let slots = Arc::new(RwLock::new(Slots { memory, free }));
        Ok(Self { slots, origin: Origin::here()? })
    }

    /// Keeps a key; the caller's copy is wiped by its own type.
    ///
    /// # Errors
    /// All slots are taken.
    pub(crate) fn keep(&self, key: &Zeroizing<[u8; KEY_SIZE]>) -> io::Result<SecretKey> {
        #[cfg(feature = "testkit")]
        watch::note(key);
        let mut slots = lock(&self.slots);
        let slot = slots
            .free
            .pop()
            .ok_or_else(|| io::Error::new(io::ErrorKind::OutOfMemory, "key memory is full"))?;
        if let Some(place) = slots.memory.bytes_mut().as_chunks_mut::<KEY_SIZE>().0.get_mut(slot) {
            *place = **key;
        }
        Ok(SecretKey { arena: self.clone(), slot })
    }

    /// Whether the memory can't be swapped out.
    pub(crate) fn is_locked(&self) -> bool {
        share(&self.slots).memory.locked
    }

    /// Whether this process is a fork of the one that made the arena, and so has no keys.
    #[inline]
    pub(crate) fn is_forked_child(&self) -> bool {
        self.origin.is_forked_child()
    }

    /// The same, also where the fork went around the handler: a system call.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.origin.is_elsewhere()
    }
}

/// A 32-byte key in locked memory. Not `Clone`; shows no byte in `Debug`; wiped when dropped.
pub(crate) struct SecretKey {
    arena: Arena,
    slot: usize,
}

impl SecretKey {
    /// The key's bytes, copied to the stack for as long as the caller holds them.
    pub(crate) fn expose(&self) -> Zeroizing<[u8; KEY_SIZE]> {
        let slots = share(&self.arena.slots);
        let chunks = slots.memory.bytes().as_chunks::<KEY_SIZE>().0;
        Zeroizing::new(chunks.get(self.slot).copied().unwrap_or_default())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey")
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        // In a forked child another thread of the parent may have held the lock, for ever.
        if self.arena.is_elsewhere() {
            return;
        }
        let mut slots = lock(&self.arena.slots);
        let chunks = slots.memory.bytes_mut().as_chunks_mut::<KEY_SIZE>().0;
        if let Some(place) = chunks.get_mut(self.slot) {
            place.zeroize();
        }
        let slot = self.slot;
        slots.free.push(slot);
    }
}

/// Secret bytes of any length, such as a passphrase, in locked memory of their own.
pub(crate) struct SecretBytes {
    memory: LockedMemory,
    len: usize,
}

impl SecretBytes {
    /// Copies the bytes; the caller wipes its own copy.
    ///
    /// # Errors
    /// The system gave no memory.
    pub(crate) fn copy_of(bytes: &[u8]) -> io::Result<Self> {
        let mut memory = LockedMemory::map(bytes.len())?;
        if let Some(place) = memory.bytes_mut().get_mut(..bytes.len()) {
            place.copy_from_slice(bytes);
        }
        Ok(Self { memory, len: bytes.len() })
    }

    /// Whether the memory can't be swapped out.
    pub(crate) fn is_locked(&self) -> bool {
        self.memory.locked
    }

    /// The bytes.
    ///
    /// # Errors
    /// This process is a fork of the one that made them: the memory is not mapped here, or is
    /// something else's by now.
    pub(crate) fn expose(&self) -> io::Result<&[u8]> {
        if self.memory.origin.is_elsewhere() {
            return Err(io::Error::other(
                "this process is a fork of the one that made the credential, which has it in memory \
                 that a fork does not inherit; make the credential again after the fork",
            ));
        }
        Ok(self.memory.bytes().get(..self.len).unwrap_or(&[]))
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_and_its_slot_is_wiped_and_used_again() {
        let arena = Arena::new().unwrap();
        let key = arena.keep(&Zeroizing::new([0xA5; 32])).unwrap();
        assert_eq!(*key.expose(), [0xA5; 32]);
        let slot = key.slot;
        drop(key);
        let wiped = lock(&arena.slots).memory.bytes()[slot * 32..][..32].to_vec();
        assert_eq!(wiped, [0; 32]);
        assert_eq!(arena.keep(&Zeroizing::new([1; 32])).unwrap().slot, slot);
    }

    #[test]
    fn a_full_arena_is_an_error() {
        let arena = Arena::new().unwrap();
        let key = Zeroizing::new([7; 32]);
        let keys: Vec<_> = (0..KEYS_PER_ARENA).map(|_| arena.keep(&key).unwrap()).collect();
        assert!(arena.keep(&key).is_err());
        drop(keys);
        assert!(arena.keep(&key).is_ok());
    }

    #[test]
    fn debug_shows_no_byte() {
        let arena = Arena::new().unwrap();
        let key = arena.keep(&Zeroizing::new([0xA5; 32])).unwrap();
        assert_eq!(format!("{key:?} {arena:?}"), "SecretKey Arena");
        assert_eq!(format!("{:?}", SecretBytes::copy_of(b"hunter2").unwrap()), "SecretBytes");
    }
}
