//! What an open store has to say about its keys, and the seat of its one administrator.

use std::sync::atomic::Ordering;

use super::Store;
use crate::error::{KeyError, OpenError, StoreError};
use crate::format::policy::Policy;
use crate::keys::{self, AdminKey, Credential, HeaderCopies, KeyStatus, SlotHint, SlotInfo, Terms};
use crate::locks::AtomicBool;
use crate::random;
use crate::units::CopyId;

/// Held by the one admin session of a store.
#[derive(Debug)]
pub(crate) struct AdminSeat<'store> {
    taken: &'store AtomicBool,
}

impl Drop for AdminSeat<'_> {
    fn drop(&mut self) {
        self.taken.store(false, Ordering::Release);
    }
}

impl Store {
    /// # Errors
    /// [`KeyError::SessionActive`], or a store that takes no header commit.
    pub(crate) fn take_admin_seat(&self) -> Result<AdminSeat<'_>, KeyError> {
        self.check_writable()?;
        if self.admin_seat.swap(true, Ordering::AcqRel) {
            return Err(KeyError::SessionActive);
        }
        Ok(AdminSeat { taken: &self.admin_seat })
    }

    /// # Errors
    /// [`KeyError::NotAdmin`], or as an open says it.
    pub(crate) fn unlock_admin(
        &self,
        credential: &dyn Credential,
        hint: SlotHint,
    ) -> Result<AdminKey, KeyError> {
        let terms = Terms { hint, ..self.options.terms };
        keys::unlock_admin(&self.unlocked(), credential, &terms)
    }

    /// The slot that a credential opens.
    ///
    /// # Errors
    /// As an open says it.
    pub(crate) fn slot_of(
        &self,
        credential: &dyn Credential,
        hint: SlotHint,
    ) -> Result<SlotInfo, OpenError> {
        self.check_usable()?;
        let terms = Terms { hint, ..self.options.terms };
        keys::opens(&self.unlocked(), credential, &terms)
    }

    pub(crate) fn terms(&self) -> &Terms {
        &self.options.terms
    }

    pub(crate) fn policy(&self) -> Policy {
        self.unlocked().header.policy
    }

    pub(crate) fn slots(&self) -> Vec<SlotInfo> {
        keys::list_slots(&self.unlocked().header, self.options.terms.clock.now_s())
    }

    pub(crate) fn key_status(&self) -> KeyStatus {
        let healed = self.recovery.healed_header;
        KeyStatus::of(
            &self.unlocked().header,
            self.sealed_pages.load(Ordering::Acquire),
            self.options.terms.clock.now_s(),
            if healed { HeaderCopies::Healed } else { HeaderCopies::Healthy },
            self.key_memory_is_locked(),
        )
    }

    /// The same with the share of pages of each epoch. Where there is more than one, that takes
    /// reading all tag pages, 1/128 of the file.
    pub(crate) fn key_status_with_shares(&self) -> KeyStatus {
        let mut status = self.key_status();
        if let [only] = status.epochs.as_mut_slice() {
            only.share = Some(1.0);
        } else if let Ok(pages) = self.pages_by_epoch() {
            let all = pages.values().sum::<u64>().max(1);
            for info in &mut status.epochs {
                let sealed = pages.get(&info.epoch).copied().unwrap_or(0);
                info.share = Some(sealed as f64 / all as f64);
            }
        }
        status
    }

    /// The header as it is, MACed, as a copy A.
    ///
    /// # Errors
    /// The store can't be used, or the system gave no randomness.
    pub(crate) fn header_backup(&self) -> Result<Vec<u8>, StoreError> {
        self.check_usable()?;
        let unlocked = self.unlocked();
        let bytes = unlocked.header.encode(CopyId::A, &random::array()?, &unlocked.root.data_mac);
        Ok(bytes.to_vec())
    }
}
