//! The slot table as pure functions: a header in, a changed header or the reason why not out. No
//! key, no credential, no I/O. What must always hold of a table is in one place, [`check_table`].

use crate::error::KeyError;
use crate::format::header::Header;
use crate::format::key_slot::{Kdf, KdfCost, KeySlot, LABEL_SIZE, Role, SlotKind};
use crate::units::SlotId;

/// What a new key slot is to be called and what its holder may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotSpec {
    pub(crate) role: Role,
    pub(crate) label: Vec<u8>,
    pub(crate) not_after: Option<u64>,
}

impl SlotSpec {
    /// A slot that reads and writes data. The label is UTF-8, at most 32 bytes, no control
    /// characters, and stands in the file in the clear; an empty one is no label.
    #[must_use]
    pub fn data(label: impl AsRef<[u8]>) -> Self {
        Self { role: Role::Data, label: label.as_ref().to_vec(), not_after: None }
    }

    /// A slot that changes slots and policy as well (with split roles: instead). The label as for
    /// [`SlotSpec::data`].
    #[must_use]
    pub fn admin(label: impl AsRef<[u8]>) -> Self {
        Self { role: Role::Admin, ..Self::data(label) }
    }

    /// The last second, Unix time, at which the credential is accepted.
    #[must_use]
    pub fn not_after(mut self, unix_seconds: u64) -> Self {
        self.not_after = Some(unix_seconds);
        self
    }
}

/// What a key slot says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SlotInfo {
    /// Its number.
    pub id: SlotId,
    /// What kind of credential it wants.
    pub kind: SlotKind,
    /// What its holder may do.
    pub role: Role,
    /// Its label, empty where it has none.
    pub label: String,
    /// The cost of its Argon2id, if it has one.
    pub kdf: Option<KdfCost>,
    /// When it was made, Unix seconds.
    pub created: u64,
    /// Its last second, Unix time; `None` is never.
    pub not_after: Option<u64>,
    /// Whether that has passed.
    pub expired: bool,
}

impl SlotInfo {
    pub(crate) fn of(slot: &KeySlot, now: u64) -> Self {
        let end = slot.label.iter().position(|byte| *byte == 0).unwrap_or(LABEL_SIZE);
        let label = slot.label.get(..end).unwrap_or_default();
        Self {
            id: SlotId(slot.id),
            kind: slot.kind,
            role: slot.role,
            label: String::from_utf8_lossy(label).into_owned(),
            kdf: match slot.kdf {
                Kdf::None => None,
                Kdf::Argon2id(cost) => Some(cost),
            },
            created: slot.created,
            not_after: Some(slot.not_after).filter(|not_after| *not_after != 0),
            expired: is_expired(slot, now),
        }
    }
}

/// All slots of a header, in the order of the table.
pub(crate) fn list(header: &Header, clock: u64) -> Vec<SlotInfo> {
    let now = judged_time(header, clock);
    header.slots.iter().flatten().map(|slot| SlotInfo::of(slot, now)).collect()
}

/// A label as it stands in a slot.
///
/// # Errors
/// [`KeyError::LabelTooLong`], [`KeyError::LabelNotText`].
pub(super) fn label_bytes(label: &[u8]) -> Result<[u8; LABEL_SIZE], KeyError> {
    let mut bytes = [0; LABEL_SIZE];
    let room = bytes.get_mut(..label.len()).ok_or(KeyError::LabelTooLong { found: label.len() })?;
    room.copy_from_slice(label);
    let text = str::from_utf8(label).map_err(|_| KeyError::LabelNotText)?;
    if text.chars().any(char::is_control) { Err(KeyError::LabelNotText) } else { Ok(bytes) }
}

/// The time that dates are judged by: a clock that was turned back behind what the file has seen
/// counts for nothing.
pub(super) fn judged_time(header: &Header, clock: u64) -> u64 {
    clock.max(header.clock_high_water)
}

pub(super) fn is_expired(slot: &KeySlot, now: u64) -> bool {
    slot.not_after != 0 && now > slot.not_after
}

/// # Errors
/// [`KeyError::ClockBehind`]: a clock before the file's creation stamps and judges nothing.
pub(super) fn check_clock(header: &Header, clock: u64) -> Result<(), KeyError> {
    if clock < header.created {
        return Err(KeyError::ClockBehind { now: clock, created: header.created });
    }
    Ok(())
}

/// # Errors
/// [`KeyError::AlreadyExpired`].
pub(super) fn check_date(not_after: Option<u64>, now: u64) -> Result<u64, KeyError> {
    match not_after {
        None => Ok(0),
        Some(not_after) if not_after < now.max(1) => {
            Err(KeyError::AlreadyExpired { not_after, now })
        }
        Some(not_after) => Ok(not_after),
    }
}

/// # Errors
/// [`KeyError::DuplicateLabel`], if a slot other than `but` has it. No label is no duplicate.
pub(super) fn check_label(
    header: &Header,
    label: &[u8; LABEL_SIZE],
    but: Option<SlotId>,
) -> Result<(), KeyError> {
    let mut others = header.slots.iter().flatten().filter(|slot| Some(SlotId(slot.id)) != but);
    match others.find(|slot| slot.label == *label && *label != [0; LABEL_SIZE]) {
        Some(slot) => Err(KeyError::DuplicateLabel(SlotId(slot.id))),
        None => Ok(()),
    }
}

/// # Errors
/// [`KeyError::KindNotAllowed`].
pub(super) fn check_kind(header: &Header, kind: SlotKind) -> Result<(), KeyError> {
    if header.policy.allows(kind) { Ok(()) } else { Err(KeyError::KindNotAllowed) }
}

/// # Errors
/// [`KeyError::KdfBelowPolicy`].
pub(super) fn check_kdf(header: &Header, kdf: Kdf) -> Result<(), KeyError> {
    let policy = &header.policy;
    let (memory_min_kib, passes_min) = (policy.argon2_memory_min_kib, policy.argon2_passes_min);
    match kdf {
        Kdf::Argon2id(cost) if cost.memory_kib < memory_min_kib || cost.passes < passes_min => {
            Err(KeyError::KdfBelowPolicy { memory_min_kib, passes_min })
        }
        _ => Ok(()),
    }
}

/// What must hold of a table before it is signed.
///
/// # Errors
/// [`KeyError::LastAdmin`], [`KeyError::LastData`], [`KeyError::TooFewSlots`].
pub(super) fn check_table(header: &Header) -> Result<(), KeyError> {
    let slots = || header.slots.iter().flatten();
    if !slots().any(|slot| slot.role == Role::Admin && slot.not_after == 0) {
        return Err(KeyError::LastAdmin);
    }
    let lasting_data = |slot: &KeySlot| slot.role == Role::Data && slot.not_after == 0;
    if !header.combined_roles && !slots().any(lasting_data) {
        return Err(KeyError::LastData);
    }
    let min = header.policy.slots_min;
    if slots().count() < usize::from(min) { Err(KeyError::TooFewSlots { min }) } else { Ok(()) }
}

/// Takes the next slot id; none is given out twice in a file's life, not even after the slot with
/// the greatest one was removed. 2^32 of them are out of reach.
pub(super) fn take_id(header: &mut Header) -> u32 {
    let greatest = header.slots.iter().flatten().map(|slot| slot.id).max().unwrap_or(0);
    let id = header.next_slot.max(greatest.saturating_add(1));
    header.next_slot = id.saturating_add(1);
    id
}

/// # Errors
/// [`KeyError::UnknownSlot`].
pub(super) fn find(header: &Header, id: SlotId) -> Result<&KeySlot, KeyError> {
    header.slots.iter().flatten().find(|slot| slot.id == id.0).ok_or(KeyError::UnknownSlot(id))
}

/// The place of a slot in the table.
///
/// # Errors
/// [`KeyError::UnknownSlot`].
pub(super) fn place_of(header: &mut Header, id: SlotId) -> Result<&mut Option<KeySlot>, KeyError> {
    let mut places = header.slots.iter_mut();
    places
        .find(|place| place.as_ref().is_some_and(|slot| slot.id == id.0))
        .ok_or(KeyError::UnknownSlot(id))
}

/// The first empty place of the table.
///
/// # Errors
/// [`KeyError::SlotsFull`].
pub(super) fn free_place(header: &mut Header) -> Result<&mut Option<KeySlot>, KeyError> {
    header.slots.iter_mut().find(|place| place.is_none()).ok_or(KeyError::SlotsFull)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::header::tests::example as header;

    #[test]
    fn labels_are_short_text_and_told_apart() {
        assert_eq!(label_bytes(b"").unwrap(), [0; 32]);
        assert!(label_bytes("\u{e4}".repeat(16).as_bytes()).is_ok());
        for (label, long) in [
            (&b"thirty-three bytes are one too ma"[..], true),
            (b"two\nlines", false),
            (b"nul\0", false),
            (b"\xFF\xFE", false),
        ] {
            let error = label_bytes(label).unwrap_err();
            assert_eq!(matches!(error, KeyError::LabelTooLong { found: 33 }), long, "{error}");
            assert_eq!(matches!(error, KeyError::LabelNotText), !long, "{error}");
        }
        let mut header = header();
        let laptop = label_bytes(b"laptop").unwrap();
        let slot = header.slots[0].as_ref().unwrap().id;
        assert!(matches!(check_label(&header, &laptop, None), Err(KeyError::DuplicateLabel(_))));
        header.slots[11] = None;
        assert!(check_label(&header, &laptop, Some(SlotId(slot))).is_ok());
    }

    #[test]
    fn ids_are_never_given_out_twice() {
        let mut header = header();
        header.next_slot = 0; // as files had it before the field
        header.slots[11].as_mut().unwrap().id = 7;
        assert_eq!(take_id(&mut header), 8);
        header.slots[11] = None;
        assert_eq!(take_id(&mut header), 9, "though 1 is now the greatest one present");
        header.next_slot = 3;
        header.slots[11] = Some(crate::format::key_slot::tests::example(7));
        assert_eq!(take_id(&mut header), 8);
    }

    #[test]
    fn a_table_keeps_an_admin_who_never_expires() {
        let table = |change: fn(&mut Header)| {
            let mut header = header();
            header.slots.iter_mut().flatten().for_each(|slot| slot.not_after = 0);
            change(&mut header);
            check_table(&header)
        };
        assert!(table(|_| ()).is_ok());
        assert!(table(|header| header.slots[0] = None).is_ok());
        assert!(matches!(
            table(|header| header.slots = [const { None }; 12]),
            Err(KeyError::LastAdmin)
        ));
        let expiring: fn(&mut Header) =
            |header| header.slots.iter_mut().flatten().for_each(|slot| slot.not_after = 9);
        assert!(matches!(table(expiring), Err(KeyError::LastAdmin)));
        let data: fn(&mut Header) =
            |header| header.slots.iter_mut().flatten().for_each(|slot| slot.role = Role::Data);
        assert!(matches!(table(data), Err(KeyError::LastAdmin)));
        assert!(matches!(table(|header| header.combined_roles = false), Err(KeyError::LastData)));
        assert!(matches!(
            table(|header| header.policy.slots_min = 3),
            Err(KeyError::TooFewSlots { min: 3 })
        ));
    }

    #[test]
    fn dates_are_judged_by_the_later_of_clock_and_high_water() {
        let mut header = header();
        header.clock_high_water = 100;
        assert_eq!((judged_time(&header, 50), judged_time(&header, 150)), (100, 150));
        let slot = header.slots[0].as_mut().unwrap();
        slot.not_after = 100;
        assert!(!is_expired(slot, 100) && is_expired(slot, 101));
        slot.not_after = 0;
        assert!(!is_expired(slot, u64::MAX));
        header.created = 60;
        assert!(check_clock(&header, 60).is_ok());
        assert!(matches!(check_clock(&header, 59), Err(KeyError::ClockBehind { .. })));
        assert!(matches!(check_date(Some(99), 100), Err(KeyError::AlreadyExpired { .. })));
        assert!(matches!(check_date(Some(0), 0), Err(KeyError::AlreadyExpired { .. })));
        assert_eq!((check_date(Some(100), 100).unwrap(), check_date(None, 100).unwrap()), (100, 0));
    }
}
