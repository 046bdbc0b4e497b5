//! What a caller knows of the slot that a credential opens, so that a passphrase isn't tried on all
//! twelve: label, number or role. Never anything computed from the passphrase outside Argon2: that
//! would be a cheap way to test guesses.

use super::slots::label_bytes;
use crate::error::KeyError;
use crate::format::key_slot::{KeySlot, LABEL_SIZE, Role};
use crate::units::SlotId;

/// Which slots to try a credential on. The default is all of the credential's kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SlotHint {
    slot: Option<SlotId>,
    label: Option<[u8; LABEL_SIZE]>,
    role: Option<Role>,
}

impl SlotHint {
    /// The slot of this number.
    #[must_use]
    pub fn slot(slot: SlotId) -> Self {
        Self { slot: Some(slot), ..Self::default() }
    }

    /// The slot of this label.
    ///
    /// # Errors
    /// [`KeyError::LabelTooLong`], [`KeyError::LabelNotText`].
    pub fn label(label: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        Ok(Self { label: Some(label_bytes(label.as_ref())?), ..Self::default() })
    }

    /// Slots of this role only.
    #[must_use]
    pub fn role(mut self, role: Role) -> Self {
        self.role = Some(role);
        self
    }

    pub(super) fn fits(&self, slot: &KeySlot) -> bool {
        self.slot.is_none_or(|wanted| wanted.0 == slot.id)
            && self.label.is_none_or(|wanted| wanted == slot.label)
            && self.role.is_none_or(|wanted| wanted == slot.role)
    }
}
