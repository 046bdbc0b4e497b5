//! The terms on which keys are made and opened: what a file may ask for, how long a provider may
//! take, whether key memory must be locked. Set on the [`Builder`](crate::Builder).

use std::time::Duration;

use super::credential::Credential;
use super::hint::SlotHint;
use super::passphrase::KdfLimits;
use crate::clock::Clock;
use crate::error::OpenError;
use crate::secret::{self, Arena, LockMemory};

/// How long one question to a provider may take unless the builder says otherwise.
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(30);

/// What a caller allows and asks for.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub(crate) kdf_limits: KdfLimits,
    pub(crate) provider_timeout: Duration,
    pub(crate) lock_memory: LockMemory,
    pub(crate) hint: SlotHint,
    pub(crate) clock: Clock,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            kdf_limits: KdfLimits::default(),
            provider_timeout: PROVIDER_TIMEOUT,
            lock_memory: LockMemory::default(),
            hint: SlotHint::default(),
            clock: Clock::default(),
        }
    }
}

impl Terms {
    /// Key memory for a file, empty.
    ///
    /// # Errors
    /// [`OpenError::MemoryNotLocked`] where locked memory is required, and this or the credential's
    /// is not; or the system gave no memory.
    pub(crate) fn arena(&self, credential: &dyn Credential) -> Result<Arena, OpenError> {
        let arena = Arena::new().map_err(OpenError::io("reserving key memory"))?;
        self.check_locked(arena.is_locked())?;
        self.check_credential(credential)?;
        Ok(arena)
    }

    /// # Errors
    /// [`OpenError::MemoryNotLocked`] where locked memory is required, and the credential's is not.
    pub(crate) fn check_credential(&self, credential: &dyn Credential) -> Result<(), OpenError> {
        self.check_locked(credential.is_locked())
    }

    fn check_locked(&self, locked: bool) -> Result<(), OpenError> {
        match self.lock_memory {
            LockMemory::Require if !locked => {
                Err(OpenError::MemoryNotLocked { limit_bytes: secret::lock_limit_bytes() })
            }
            LockMemory::Require | LockMemory::Prefer => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::credential::{NewSlot, Refusal, Sealed, SlotFacts, SlotSecret, SlotView};
    use super::*;
    use crate::format::key_slot::SlotKind;

    /// A credential whose memory the system did not lock.
    #[derive(Debug)]
    struct NotLocked;

    impl Credential for NotLocked {}

    impl Sealed for NotLocked {
        fn kind(&self) -> SlotKind {
            SlotKind::RawKey
        }

        fn make(&self, _facts: SlotFacts<'_>, _terms: &Terms) -> Result<NewSlot, OpenError> {
            Err(OpenError::WrongKey)
        }

        fn slot_secret(&self, _slot: SlotView<'_>, _terms: &Terms) -> Result<SlotSecret, Refusal> {
            Err(Refusal::NotMine)
        }

        fn is_locked(&self) -> bool {
            false
        }
    }

    #[test]
    fn required_locking_covers_the_credential() {
        let require = Terms { lock_memory: LockMemory::Require, ..Terms::default() };
        let refused = require.arena(&NotLocked);
        assert!(matches!(refused, Err(OpenError::MemoryNotLocked { .. })), "{refused:?}");
        assert!(Terms::default().arena(&NotLocked).is_ok());
    }

    #[test]
    fn only_required_locking_refuses_unlocked_memory() {
        for (lock_memory, locked, good) in [
            (LockMemory::Prefer, false, true),
            (LockMemory::Prefer, true, true),
            (LockMemory::Require, true, true),
            (LockMemory::Require, false, false),
        ] {
            let checked = Terms { lock_memory, ..Terms::default() }.check_locked(locked);
            let refused = matches!(checked, Err(OpenError::MemoryNotLocked { .. }));
            assert_eq!((checked.is_ok(), refused), (good, !good), "{lock_memory:?} {locked}");
        }
    }
}
