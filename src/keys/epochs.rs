//! Data keys by epoch: a new one becomes active, and old ones go once nothing names them
//! (docs/rotation.md). Pure: from one unlocked header to the next, which a header commit makes
//! durable.

use std::sync::Arc;

use super::hierarchy::Unlocked;
use super::keyring::DataKey;
use super::wrapping::random_key;
use crate::error::StoreError;
use crate::format::completion::{self, Completion};
use crate::format::header::{EPOCHS, EpochState};
use crate::units::Epoch;

/// A header with a new active data key; the one before is retired with `sealed_pages` as the bound
/// of what it sealed. `now` is in Unix seconds and only written down.
///
/// # Errors
/// [`StoreError::Misuse`] where the header holds as many data keys as it has room for, or all epoch
/// numbers are used up; [`StoreError::Io`] without randomness or key memory.
pub(crate) fn begin(
    current: &Unlocked,
    sealed_pages: u64,
    now: u64,
) -> Result<Unlocked, StoreError> {
    let mut next = current.clone();
    let header = &mut next.header;
    if header.epochs.len() >= EPOCHS {
        return Err(StoreError::Misuse(
            "the header holds 32 data keys already: let the rotation that is under way end first",
        ));
    }
    let epoch = header.next_epoch;
    if epoch.0 >= u32::MAX - 1 {
        return Err(StoreError::Misuse("all epoch numbers of this file are used up"));
    }
    header.next_epoch = Epoch(epoch.0 + 1);
    for record in header.epochs.iter_mut().filter(|record| record.state == EpochState::Active) {
        record.state = EpochState::Retired;
        record.retired = now;
        record.sealed_pages = sealed_pages;
    }
    let data_key = random_key(&current.arena)?;
    let file_id = header.file_id;
    header.epochs.push(current.root.wrap_data_key(&data_key, file_id, epoch, now)?);
    let active = DataKey::split(&current.arena, &data_key, file_id, epoch)?;
    next.keyring = Arc::new(current.keyring.with_new(active));
    Ok(next)
}

/// A header without the retired data keys of these epochs, and with a record of the rotation.
///
/// # Errors
/// [`StoreError::Misuse`] where one of them is active.
pub(crate) fn end(
    current: &Unlocked,
    epochs: &[Epoch],
    completion: Completion,
) -> Result<Unlocked, StoreError> {
    if epochs.contains(&current.keyring.active().epoch) {
        return Err(StoreError::Misuse("the active data key can't be removed"));
    }
    let mut next = current.clone();
    next.header.epochs.retain(|record| !epochs.contains(&record.epoch));
    completion::push(&mut next.header.rotations, completion);
    next.keyring = Arc::new(current.keyring.without(epochs));
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::header::UnverifiedHeader;
    use crate::keys::{RawKey, Terms, create, unlock};
    use crate::units::CopyId;

    fn made() -> Unlocked {
        create(&RawKey::new([1; 32]), None, &Terms::default()).unwrap()
    }

    fn completion() -> Completion {
        Completion { from: Epoch(1), to: Epoch(2), begun: 3, ended: 4, pages: 5, lost: 0 }
    }

    #[test]
    fn a_new_epoch_seals_and_the_old_one_opens_until_it_ends() {
        let first = made();
        let second = begin(&first, 77, 1000).unwrap();
        assert_eq!(second.keyring.active().epoch, Epoch(2));
        assert_eq!(second.keyring.retired_epochs(), [Epoch(1)]);
        let old = &second.header.epochs[0];
        assert_eq!((old.state, old.retired, old.sealed_pages), (EpochState::Retired, 1000, 77));
        let key_of =
            |unlocked: &Unlocked, epoch| *unlocked.keyring.get(epoch).unwrap().page.expose();
        assert_eq!(key_of(&second, Epoch(1)), key_of(&first, Epoch(1)));
        assert_ne!(key_of(&second, Epoch(1)), key_of(&second, Epoch(2)));

        let bytes = second.header.encode(CopyId::A, &[0; 32], &second.root.data_mac);
        let unverified = UnverifiedHeader::decode(&bytes, CopyId::A).unwrap();
        let again = unlock(&unverified, &RawKey::new([1; 32]), &Terms::default()).unwrap();
        assert_eq!(key_of(&again, Epoch(2)), key_of(&second, Epoch(2)));

        let third = end(&second, &[Epoch(1)], completion()).unwrap();
        assert!(third.keyring.get(Epoch(1)).is_none() && !third.keyring.has_retired());
        assert_eq!((third.header.epochs.len(), third.header.rotations.len()), (1, 1));
        assert_eq!(begin(&third, 0, 0).unwrap().keyring.active().epoch, Epoch(3), "never again 2");
    }

    #[test]
    fn the_active_key_stays_and_the_table_has_an_end() {
        let mut unlocked = made();
        assert!(end(&unlocked, &[Epoch(1)], completion()).is_err());
        for _ in 1..EPOCHS {
            unlocked = begin(&unlocked, 0, 0).unwrap();
        }
        assert!(matches!(begin(&unlocked, 0, 0), Err(StoreError::Misuse(_))));
    }
}
