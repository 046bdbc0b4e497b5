//! The policy (docs/keys.md, "Policy"): what a data session may not do alone, kept in the header
//! under the admin MAC for every later session. Here are its bytes and which values make sense;
//! `keys/slots.rs` and the store act on it.

use super::key_slot::SlotKind;
use crate::wire::{Malformed, Reader, Writer};

const DAY_S: u64 = 86_400;
/// OWASP's floor for Argon2id, which no policy goes below.
const ARGON2_MEMORY_FLOOR_KIB: u32 = 19 * 1024;
const ARGON2_PASSES_FLOOR: u32 = 2;
/// A root record leaves room for at least 256 seals; a use limit below a few of those says nothing.
const SOFT_PAGES_MIN: u64 = 4096;
/// Where random nonces under one key stop being safe (docs/keys.md, "Use limits").
const HARD_PAGES_MAX: u64 = 1 << 48;
const SLOTS_MAX: u16 = 12;

/// What an administrator has laid down for a file. Read it with `AdminSession::policy` or
/// `KeyStatus::policy`, change fields, and give it back to `AdminSession::set_policy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Policy {
    /// Pages sealed under one data key from which a rotation is due; 2^40 by default.
    pub sealed_pages_soft: u64,
    /// Pages sealed under one data key from which no data page is sealed any more; 2^48 by default
    /// and at most.
    pub sealed_pages_hard: u64,
    /// Age of a data key in seconds from which a rotation is due; 90 days by default.
    pub data_key_age_s: u64,
    /// Seconds within which a retired data key must be gone; 365 days by default.
    pub sweep_within_s: u64,
    /// Least Argon2id memory of a new passphrase slot in KiB; 19 MiB by default and at least.
    pub argon2_memory_min_kib: u32,
    /// Least Argon2id passes of a new passphrase slot; 2 by default and at least.
    pub argon2_passes_min: u32,
    /// Bit n allows slot kind n.
    slot_kinds: u32,
    /// No slot is removed where fewer than these would be left; 1 by default.
    pub slots_min: u16,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            sealed_pages_soft: 1 << 40,
            sealed_pages_hard: HARD_PAGES_MAX,
            data_key_age_s: 90 * DAY_S,
            sweep_within_s: 365 * DAY_S,
            argon2_memory_min_kib: ARGON2_MEMORY_FLOOR_KIB,
            argon2_passes_min: ARGON2_PASSES_FLOOR,
            slot_kinds: 0b0111_1110,
            slots_min: 1,
        }
    }
}

impl Policy {
    /// Whether a new slot may be of this kind.
    #[must_use]
    pub fn allows(&self, kind: SlotKind) -> bool {
        self.slot_kinds >> kind.id() & 1 == 1
    }

    /// Allows or forbids a kind for new slots. Slots that are there stay.
    pub fn set_allowed(&mut self, kind: SlotKind, allowed: bool) {
        let bit = 1 << kind.id();
        self.slot_kinds = if allowed { self.slot_kinds | bit } else { self.slot_kinds & !bit };
    }

    /// # Errors
    /// What about it makes no sense, in words.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let ordered = (SOFT_PAGES_MIN..=self.sealed_pages_hard).contains(&self.sealed_pages_soft);
        if !ordered || self.sealed_pages_hard > HARD_PAGES_MAX {
            return Err("use limits must be 4096 <= soft <= hard <= 2^48 pages");
        }
        if self.data_key_age_s < DAY_S || self.sweep_within_s < DAY_S {
            return Err("a data key must be allowed to live for a day at least");
        }
        if self.argon2_memory_min_kib < ARGON2_MEMORY_FLOOR_KIB
            || self.argon2_passes_min < ARGON2_PASSES_FLOOR
        {
            return Err("the Argon2id floor can't be lower than 19 MiB and 2 passes");
        }
        if self.slot_kinds & Self::default().slot_kinds == 0 {
            return Err("at least one kind of slot must be allowed");
        }
        if !(1..=SLOTS_MAX).contains(&self.slots_min) {
            return Err("the least number of slots is 1 to 12");
        }
        Ok(())
    }

    pub(super) fn encode(&self, writer: &mut Writer<'_>) {
        writer.u64(self.sealed_pages_soft);
        writer.u64(self.sealed_pages_hard);
        writer.u64(self.data_key_age_s);
        writer.u64(self.sweep_within_s);
        writer.u32(self.argon2_memory_min_kib);
        writer.u32(self.argon2_passes_min);
        writer.u32(self.slot_kinds);
        writer.u16(self.slots_min);
        writer.skip(78);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let policy = Self {
            sealed_pages_soft: reader.u64()?,
            sealed_pages_hard: reader.u64()?,
            data_key_age_s: reader.u64()?,
            sweep_within_s: reader.u64()?,
            argon2_memory_min_kib: reader.u32()?,
            argon2_passes_min: reader.u32()?,
            slot_kinds: reader.u32()?,
            slots_min: reader.u16()?,
        };
        reader.zeros(78)?;
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        let default = Policy::default();
        let shortest = Policy { data_key_age_s: 86_400, sweep_within_s: 86_400, ..default };
        let pages = Policy { sealed_pages_soft: 4096, sealed_pages_hard: 4096, ..default };
        for policy in [default, shortest, pages, Policy { slots_min: 12, ..default }] {
            assert_eq!(policy.check(), Ok(()), "{policy:?}");
        }
        for change in [
            (|policy| policy.sealed_pages_soft = 4095) as fn(&mut Policy),
            |policy| policy.sealed_pages_hard = policy.sealed_pages_soft - 1,
            |policy| policy.sealed_pages_hard = (1 << 48) + 1,
            |policy| policy.data_key_age_s = 3600,
            |policy| policy.sweep_within_s = 0,
            |policy| policy.argon2_memory_min_kib -= 1,
            |policy| policy.argon2_passes_min = 1,
            |policy| policy.slot_kinds = 1,
            |policy| policy.slots_min = 0,
            |policy| policy.slots_min = 13,
        ] {
            let mut policy = Policy::default();
            change(&mut policy);
            assert!(policy.check().is_err(), "{policy:?}");
        }
    }

    #[test]
    fn kinds_are_allowed_one_by_one() {
        let mut policy = Policy::default();
        policy.set_allowed(SlotKind::Passphrase, false);
        assert!(!policy.allows(SlotKind::Passphrase) && policy.allows(SlotKind::RawKey));
        policy.set_allowed(SlotKind::Passphrase, true);
        assert_eq!(policy, Policy::default());
        policy.set_allowed(SlotKind::Passphrase, true);
        assert_eq!(policy, Policy::default(), "twice is once");
    }
}
