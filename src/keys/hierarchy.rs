//! The key hierarchy, top to bottom: making one for a new file, and unlocking one
//! (docs/keys.md, "Hierarchy" and "Unlocking").
//!
//! slot secret -> slot wrap key -> admin key -> (escrow) root key -> data keys.
//! A data slot's wrap key leads to the root key at once.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use zeroize::Zeroizing;

use super::keyring::{DataKey, Keyring};
use super::passphrase::KdfLimits;
use super::provider::{KeyProvider, NewSlot, SlotSecret, SlotView};
use crate::crypto::derive::{self, Purpose};
use crate::crypto::mac;
use crate::crypto::wrap::{self, WrappedKey};
use crate::error::{Damage, OpenError};
use crate::format::header::{EpochRecord, EpochState, Header, Policy, SLOTS, UnverifiedHeader};
use crate::format::key_slot::{KeySlot, Role};
use crate::random;
use crate::secret::{Arena, SecretKey};
use crate::units::{CopyId, Epoch, FileId, Generation};

/// What a credential opened: the believed header, the data keys, and the key to MAC a header with.
#[derive(Debug)]
pub(crate) struct Unlocked {
    pub(crate) header: Header,
    pub(crate) keyring: Keyring,
    pub(crate) data_mac_key: SecretKey,
    pub(crate) arena: Arena,
}

fn random_key(arena: &Arena) -> io::Result<SecretKey> {
    let mut key = Zeroizing::new([0; 32]);
    random::fill(key.as_mut_slice())?;
    arena.keep(&key)
}

/// A slot's two derived values.
struct SlotKeys {
    wrap: SecretKey,
    commitment: Zeroizing<[u8; 32]>,
}

fn slot_keys(
    arena: &Arena,
    secret: &SlotSecret,
    slot: &KeySlot,
    file_id: FileId,
) -> io::Result<SlotKeys> {
    let [fixed, salt, blob] = slot.binding(file_id);
    let parts = [secret.as_slice(), &fixed, &salt, &blob];
    let wrap = derive::key(arena, Purpose::SlotWrap, &parts)?;
    Ok(SlotKeys { wrap, commitment: derive::bytes(Purpose::SlotCommitment, &parts) })
}

/// What a wrapped key is bound to: the file, what it is, and its number there.
fn binding(file_id: FileId, what: &[u8; 8], number: u32) -> [u8; 28] {
    let mut bytes = [0; 28];
    bytes[..16].copy_from_slice(&file_id.0);
    bytes[16..24].copy_from_slice(what);
    bytes[24..].copy_from_slice(&number.to_le_bytes());
    bytes
}

const SLOT_KEY: &[u8; 8] = b"slot-key";
const ROOT_ESCROW: &[u8; 8] = b"rootescr";
const SLOT_ESCROW: &[u8; 8] = b"slotescr";
const DATA_KEY: &[u8; 8] = b"data-key";

/// Wraps `key` under `wrapping` with a fresh nonce.
fn wrap_fresh(wrapping: &SecretKey, binding: &[u8], key: &SecretKey) -> io::Result<WrappedKey> {
    Ok(wrap::wrap(wrapping, random::array()?, binding, key))
}

fn check_value(data_key: &SecretKey, file_id: FileId, epoch: Epoch) -> [u8; 16] {
    let (key, epoch) = (data_key.expose(), epoch.0.to_le_bytes());
    let bytes = derive::bytes(Purpose::DataKeyCheck, &[key.as_slice(), &file_id.0, &epoch]);
    let mut check = [0; 16];
    let key: &[u8; 32] = &bytes;
    check.copy_from_slice(&key[..16]);
    check
}

/// Makes the hierarchy of a new file: random admin, root and data key, one admin slot that also
/// opens the data.
///
/// # Errors
/// The credential can't make a slot, or the system gave no randomness or memory.
pub(crate) fn create(
    provider: &dyn KeyProvider,
    limits: &KdfLimits,
) -> Result<Unlocked, OpenError> {
    let NewSlot { kdf, blob } = provider.choose_kdf(limits)?;
    let salt = random::array().map_err(OpenError::io("making a salt"))?;
    let blank = WrappedKey::default();
    let mut slot = KeySlot {
        id: 1,
        kind: provider.kind(),
        role: Role::Admin,
        kdf,
        salt,
        commitment: [0; 32],
        wrapped: blank,
        escrow: blank,
        label: [0; 32],
        created: unix_seconds(),
        not_after: 0,
        blob,
    };
    let secret = provider.slot_secret(SlotView { slot: &slot }, limits)?.0;
    build(&mut slot, &secret).map_err(OpenError::io("making the keys"))
}

fn build(slot: &mut KeySlot, secret: &SlotSecret) -> io::Result<Unlocked> {
    let arena = Arena::new()?;
    let file_id = FileId(random::array()?);
    let epoch = Epoch(1);
    let admin_key = random_key(&arena)?;
    let root_key = random_key(&arena)?;
    let data_key = random_key(&arena)?;

    let keys = slot_keys(&arena, secret, slot, file_id)?;
    slot.commitment = *keys.commitment;
    slot.wrapped = wrap_fresh(&keys.wrap, &binding(file_id, SLOT_KEY, slot.id), &admin_key)?;
    let slot_escrow_key = derive::key(
        &arena,
        Purpose::SlotEscrow,
        &[admin_key.expose().as_slice(), root_key.expose().as_slice(), &file_id.0],
    )?;
    slot.escrow =
        wrap_fresh(&slot_escrow_key, &binding(file_id, SLOT_ESCROW, slot.id), &keys.wrap)?;

    let derived = DerivedKeys::of(&arena, &root_key, file_id)?;
    let escrow_key = root_escrow_key(&arena, &admin_key, file_id)?;
    let now = unix_seconds();
    let mut slots = [const { None }; SLOTS];
    if let Some(first) = slots.first_mut() {
        *first = Some(slot.clone());
    }
    let mut header = Header {
        generation: Generation(1),
        admin_generation: 1,
        file_id,
        combined_roles: true,
        created: now,
        policy: Policy::default(),
        slots,
        epochs: vec![EpochRecord {
            epoch,
            state: EpochState::Active,
            created: now,
            retired: 0,
            sealed_pages: 0,
            wrapped: wrap_fresh(
                &derived.keyring_wrap,
                &binding(file_id, DATA_KEY, epoch.0),
                &data_key,
            )?,
            check: check_value(&data_key, file_id, epoch),
        }],
        root_escrow: Some(wrap_fresh(&escrow_key, &binding(file_id, ROOT_ESCROW, 0), &root_key)?),
        anchor_binding: [0; 64],
        clock_high_water: now,
        next_epoch: Epoch(2),
        rotations: Box::new([0; 512]),
        admin_mac: [0; 32],
    };
    header.admin_mac = header.admin_mac(&admin_mac_key(&arena, &admin_key, file_id)?);
    let keyring =
        Keyring::new(file_id, DataKey::split(&arena, &data_key, file_id, epoch)?, Vec::new());
    Ok(Unlocked { header, keyring, data_mac_key: derived.data_mac, arena })
}

/// Unlocks a header with a credential.
///
/// # Errors
/// [`OpenError::WrongKey`] where no slot of the credential's kind commits to it; damage where a
/// slot does but what follows doesn't authenticate. Neither leads to the other copy: that would be
/// a way to turn a header back.
pub(crate) fn unlock(
    unverified: &UnverifiedHeader,
    provider: &dyn KeyProvider,
    limits: &KdfLimits,
) -> Result<Unlocked, OpenError> {
    let arena = Arena::new().map_err(OpenError::io("reserving key memory"))?;
    let file_id = unverified.file_id();
    let mut too_expensive = None;
    for slot in unverified.slots().filter(|slot| slot.kind == provider.kind()) {
        let secret = match provider.slot_secret(SlotView { slot }, limits) {
            Ok(secret) => secret.0,
            // Another slot may be this credential's.
            Err(error @ OpenError::KdfTooExpensive { .. }) => {
                too_expensive.get_or_insert(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        let keys = slot_keys(&arena, &secret, slot, file_id).map_err(no_memory())?;
        if mac::equal(&keys.commitment, &slot.commitment) {
            return unlock_slot(&arena, unverified, slot, &keys.wrap);
        }
    }
    Err(too_expensive.unwrap_or(OpenError::WrongKey))
}

fn no_memory() -> impl FnOnce(io::Error) -> OpenError {
    OpenError::io("reserving key memory")
}

fn unlock_slot(
    arena: &Arena,
    unverified: &UnverifiedHeader,
    slot: &KeySlot,
    wrap_key: &SecretKey,
) -> Result<Unlocked, OpenError> {
    let (file_id, copy) = (unverified.file_id(), unverified.copy());
    let damaged = |why| OpenError::Damaged(Damage::Header { copy, why });
    let unwrap = |key: &SecretKey, what, number, wrapped: &WrappedKey, why| {
        wrap::unwrap(arena, key, &binding(file_id, what, number), wrapped)
            .map_err(no_memory())?
            .map_err(|_| damaged(why))
    };
    let slot_key = unwrap(wrap_key, SLOT_KEY, slot.id, &slot.wrapped, "a key slot was altered")?;
    let (admin_key, root_key) = match slot.role {
        Role::Data => (None, slot_key),
        Role::Admin => {
            let escrow = unverified
                .root_escrow()
                .ok_or_else(|| damaged("an admin slot, but no escrow of the root key"))?;
            let escrow_key = root_escrow_key(arena, &slot_key, file_id).map_err(no_memory())?;
            let root_key = unwrap(&escrow_key, ROOT_ESCROW, 0, escrow, "the escrow was altered")?;
            (Some(slot_key), root_key)
        }
    };
    let derived = DerivedKeys::of(arena, &root_key, file_id).map_err(no_memory())?;
    let header = unverified
        .verify(&derived.data_mac)
        .ok_or_else(|| damaged("it was altered: its MAC doesn't fit"))?
        .clone();
    if let Some(admin_key) = admin_key {
        let mac_key = admin_mac_key(arena, &admin_key, file_id).map_err(no_memory())?;
        if !mac::equal(&header.admin_mac(&mac_key), &header.admin_mac) {
            return Err(damaged("its slots or policy were changed by somebody who may not"));
        }
    }
    let keyring = unlock_keyring(arena, &header, copy, &derived.keyring_wrap)?;
    Ok(Unlocked { header, keyring, data_mac_key: derived.data_mac, arena: arena.clone() })
}

fn unlock_keyring(
    arena: &Arena,
    header: &Header,
    copy: CopyId,
    keyring_wrap: &SecretKey,
) -> Result<Keyring, OpenError> {
    let file_id = header.file_id;
    let damaged = |why| OpenError::Damaged(Damage::Header { copy, why });
    let (mut active, mut retired) = (None, Vec::new());
    for record in &header.epochs {
        let binding = binding(file_id, DATA_KEY, record.epoch.0);
        let data_key = wrap::unwrap(arena, keyring_wrap, &binding, &record.wrapped)
            .map_err(no_memory())?
            .map_err(|_| damaged("a wrapped data key was altered"))?;
        if check_value(&data_key, file_id, record.epoch) != record.check {
            return Err(damaged("a data key fails its check value"));
        }
        let key = DataKey::split(arena, &data_key, file_id, record.epoch).map_err(no_memory())?;
        match record.state {
            EpochState::Active => active = Some(key),
            EpochState::Retired | EpochState::Compromised => retired.push(key),
        }
    }
    let active = active.ok_or_else(|| damaged("it has no active data key"))?;
    Ok(Keyring::new(file_id, active, retired))
}

/// What the root key gives.
struct DerivedKeys {
    data_mac: SecretKey,
    keyring_wrap: SecretKey,
}

impl DerivedKeys {
    fn of(arena: &Arena, root_key: &SecretKey, file_id: FileId) -> io::Result<Self> {
        let key = root_key.expose();
        let parts = [key.as_slice(), &file_id.0];
        Ok(Self {
            data_mac: derive::key(arena, Purpose::DataMac, &parts)?,
            keyring_wrap: derive::key(arena, Purpose::KeyringWrap, &parts)?,
        })
    }
}

fn root_escrow_key(arena: &Arena, admin_key: &SecretKey, file_id: FileId) -> io::Result<SecretKey> {
    derive::key(arena, Purpose::RootEscrow, &[admin_key.expose().as_slice(), &file_id.0])
}

fn admin_mac_key(arena: &Arena, admin_key: &SecretKey, file_id: FileId) -> io::Result<SecretKey> {
    derive::key(arena, Purpose::AdminMac, &[admin_key.expose().as_slice(), &file_id.0])
}

/// For "created" fields only: no clock decides which bytes are current.
fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::header::HeaderBytes;
    use crate::format::key_slot::KdfCost;
    use crate::keys::{Passphrase, RawKey};

    fn made_with(provider: &dyn KeyProvider) -> Result<Unlocked, OpenError> {
        create(provider, &KdfLimits::default())
    }

    fn encoded(unlocked: &Unlocked) -> Box<HeaderBytes> {
        unlocked.header.encode(CopyId::A, &[0; 32], &unlocked.data_mac_key)
    }

    fn reopen(bytes: &HeaderBytes, provider: &dyn KeyProvider) -> Result<Unlocked, OpenError> {
        let unverified = UnverifiedHeader::decode(bytes, CopyId::A).unwrap();
        unlock(&unverified, provider, &KdfLimits::default())
    }

    #[test]
    fn the_same_keys_come_back_and_another_key_is_wrong() {
        let made = made_with(&RawKey::new([1; 32])).unwrap();
        let opened = reopen(&encoded(&made), &RawKey::new([1; 32])).unwrap();
        assert_eq!(opened.header, made.header);
        assert_eq!(opened.keyring.active().page.expose(), made.keyring.active().page.expose());
        let wrong = reopen(&encoded(&made), &RawKey::new([2; 32]));
        assert!(matches!(wrong, Err(OpenError::WrongKey)), "{wrong:?}");
        let wrong_kind = reopen(&encoded(&made), &Passphrase::new("x"));
        assert!(matches!(wrong_kind, Err(OpenError::WrongKey)));
    }

    #[test]
    fn two_files_of_one_key_share_nothing() {
        let (one, two) =
            (made_with(&RawKey::new([1; 32])).unwrap(), made_with(&RawKey::new([1; 32])).unwrap());
        assert_ne!(one.header.file_id, two.header.file_id);
        assert_ne!(one.keyring.active().page.expose(), two.keyring.active().page.expose());
    }

    #[test]
    fn a_passphrase_opens_what_it_made() {
        let floor = KdfCost { memory_kib: 19 * 1024, passes: 2, lanes: 1 };
        let made = made_with(&Passphrase::new("correct horse").cost(floor)).unwrap();
        assert!(reopen(&encoded(&made), &Passphrase::new("correct horse")).is_ok());
        let wrong = reopen(&encoded(&made), &Passphrase::new("correct horsf"));
        assert!(matches!(wrong, Err(OpenError::WrongKey)));
    }

    #[test]
    fn a_slot_of_another_file_commits_to_another_secret() {
        let key = RawKey::new([1; 32]);
        let (one, two) = (made_with(&key).unwrap(), made_with(&key).unwrap());
        let mut mixed = one.header.clone();
        mixed.slots = two.header.slots.clone();
        let bytes = mixed.encode(CopyId::A, &[0; 32], &one.data_mac_key);
        assert!(matches!(reopen(&bytes, &key), Err(OpenError::WrongKey)));
    }

    #[test]
    fn slots_changed_without_the_admin_key_are_noticed() {
        // Whoever holds the root key can MAC a header, but not sign its slots and policy.
        let made = made_with(&RawKey::new([1; 32])).unwrap();
        let changed = |change: fn(&mut Header)| {
            let mut header = made.header.clone();
            change(&mut header);
            let bytes = header.encode(CopyId::A, &[0; 32], &made.data_mac_key);
            reopen(&bytes, &RawKey::new([1; 32]))
        };
        assert!(changed(|header| header.clock_high_water += 1).is_ok());
        for change in [
            (|header| header.policy.slots_min = 0) as fn(&mut Header),
            |header| header.slots[1] = header.slots[0].clone(),
            |header| header.slots[0].as_mut().unwrap().not_after = 1,
            |header| header.admin_generation += 1,
        ] {
            let opened = changed(change);
            assert!(matches!(opened, Err(OpenError::Damaged(Damage::Header { .. }))), "{opened:?}");
        }
    }

    #[test]
    fn no_key_stands_in_the_header() {
        let made = made_with(&RawKey::new([0x5A; 32])).unwrap();
        let bytes = encoded(&made);
        let data_key = made.keyring.active();
        let secrets = [&data_key.page, &data_key.digest, &data_key.root_record];
        for secret in secrets.map(SecretKey::expose).into_iter().chain([[0x5A; 32].into()]) {
            assert!(!bytes.windows(32).any(|window| window == secret.as_slice()));
        }
    }
}
