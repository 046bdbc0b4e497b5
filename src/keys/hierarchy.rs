//! The key hierarchy, top to bottom: making one for a new file, and unlocking one
//! (docs/keys.md, "Hierarchy" and "Unlocking").
//!
//! slot secret -> slot wrap key -> admin key -> (escrow) root key -> data keys.
//! A data slot's wrap key leads to the root key at once.

use std::io;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use zeroize::Zeroizing;

use super::credential::{Credential, NewSlot, Refusal, SlotFacts, SlotSecret, SlotView};
use super::keyring::{DataKey, Keyring};
use super::root_key::RootKey;
use super::terms::Terms;
use super::wrapping::{ROOT_ESCROW, SLOT_ESCROW, SLOT_KEY, binding, random_key, wrap_fresh};
use crate::crypto::derive::{self, Purpose};
use crate::crypto::mac;
use crate::crypto::wrap::{self, WrappedKey};
use crate::error::{Damage, OpenError};
use crate::format::header::{Header, Policy, SLOTS, UnverifiedHeader};
use crate::format::key_slot::{KeySlot, Role};
use crate::random;
use crate::secret::{Arena, SecretKey};
use crate::units::{Epoch, FileId, Generation};

/// What a credential opened: the believed header, the root key, and what it gives. A header commit
/// replaces it as a whole; a clone shares the keys.
#[derive(Clone, Debug)]
pub(crate) struct Unlocked {
    pub(crate) header: Header,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) root: Arc<RootKey>,
    pub(crate) arena: Arena,
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
    let parts = [secret.expose().as_slice(), &fixed, &salt, &blob];
    let wrap = derive::key(arena, Purpose::SlotWrap, &parts)?;
    Ok(SlotKeys { wrap, commitment: derive::bytes(Purpose::SlotCommitment, &parts) })
}

/// Makes the hierarchy of a new file: random admin, root and data key, one admin slot that also
/// opens the data.
///
/// # Errors
/// The credential can't make a slot, or the system gave no randomness or memory.
pub(crate) fn create(provider: &dyn Credential, terms: &Terms) -> Result<Unlocked, OpenError> {
    let arena = terms.arena(provider)?;
    let file_id = FileId(random::array().map_err(OpenError::io("making a file id"))?);
    let (salt, label) = (random::array().map_err(OpenError::io("making a salt"))?, [0; 32]);
    let facts = SlotFacts { file_id, id: 1, label: &label, salt: &salt };
    let NewSlot { kdf, blob, secret } = provider.make(facts, terms)?;
    let blank = WrappedKey::default();
    let mut slot = KeySlot {
        id: facts.id,
        kind: provider.kind(),
        role: Role::Admin,
        kdf,
        salt,
        commitment: [0; 32],
        wrapped: blank,
        escrow: blank,
        label,
        created: unix_seconds(),
        not_after: 0,
        blob,
    };
    build(arena, file_id, &mut slot, &secret).map_err(OpenError::io("making the keys"))
}

fn build(
    arena: Arena,
    file_id: FileId,
    slot: &mut KeySlot,
    secret: &SlotSecret,
) -> io::Result<Unlocked> {
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

    let root = RootKey::new(&arena, root_key, file_id)?;
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
        epochs: vec![root.wrap_data_key(&data_key, file_id, epoch, now)?],
        root_escrow: Some(wrap_fresh(&escrow_key, &binding(file_id, ROOT_ESCROW, 0), &root.key)?),
        anchor_binding: [0; 64],
        clock_high_water: now,
        next_epoch: Epoch(2),
        rotations: Vec::new(),
        admin_mac: [0; 32],
    };
    header.admin_mac = header.admin_mac(&admin_mac_key(&arena, &admin_key, file_id)?);
    let keyring =
        Keyring::new(file_id, DataKey::split(&arena, &data_key, file_id, epoch)?, Vec::new());
    Ok(Unlocked { header, keyring: Arc::new(keyring), root: Arc::new(root), arena })
}

/// Unlocks a header with a credential.
///
/// # Errors
/// [`OpenError::WrongKey`] where no slot of the credential's kind commits to it; damage where a
/// slot does but what follows doesn't authenticate. Neither leads to the other copy: that would be
/// a way to turn a header back.
pub(crate) fn unlock(
    unverified: &UnverifiedHeader,
    provider: &dyn Credential,
    terms: &Terms,
) -> Result<Unlocked, OpenError> {
    let arena = terms.arena(provider)?;
    let file_id = unverified.file_id();
    let mut refused = None;
    for slot in unverified.slots().filter(|slot| slot.kind == provider.kind()) {
        let secret = match provider.slot_secret(SlotView::of(slot, file_id), terms) {
            Ok(secret) => secret,
            Err(Refusal::NotMine) => continue,
            // Another slot may be this credential's.
            Err(Refusal::GoOn(error)) => {
                refused.get_or_insert(error);
                continue;
            }
            Err(Refusal::Stop(error)) => return Err(error),
        };
        let keys = slot_keys(&arena, &secret, slot, file_id).map_err(no_memory())?;
        if mac::equal(&keys.commitment, &slot.commitment) {
            return unlock_slot(&arena, unverified, slot, &keys.wrap);
        }
    }
    Err(refused.unwrap_or(OpenError::WrongKey))
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
    let root = RootKey::new(arena, root_key, file_id).map_err(no_memory())?;
    let header = unverified
        .verify(&root.data_mac)
        .ok_or_else(|| damaged("it was altered: its MAC doesn't fit"))?
        .clone();
    if let Some(admin_key) = admin_key {
        let mac_key = admin_mac_key(arena, &admin_key, file_id).map_err(no_memory())?;
        if !mac::equal(&header.admin_mac(&mac_key), &header.admin_mac) {
            return Err(damaged("its slots or policy were changed by somebody who may not"));
        }
    }
    let keyring = Arc::new(root.unlock_keyring(arena, &header, copy)?);
    Ok(Unlocked { header, keyring, root: Arc::new(root), arena: arena.clone() })
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
    use crate::units::CopyId;

    fn made_with(provider: &dyn Credential) -> Result<Unlocked, OpenError> {
        create(provider, &Terms::default())
    }

    fn encoded(unlocked: &Unlocked) -> Box<HeaderBytes> {
        unlocked.header.encode(CopyId::A, &[0; 32], &unlocked.root.data_mac)
    }

    fn reopen(bytes: &HeaderBytes, provider: &dyn Credential) -> Result<Unlocked, OpenError> {
        let unverified = UnverifiedHeader::decode(bytes, CopyId::A).unwrap();
        unlock(&unverified, provider, &Terms::default())
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
        let bytes = mixed.encode(CopyId::A, &[0; 32], &one.root.data_mac);
        assert!(matches!(reopen(&bytes, &key), Err(OpenError::WrongKey)));
    }

    #[test]
    fn slots_changed_without_the_admin_key_are_noticed() {
        // Whoever holds the root key can MAC a header, but not sign its slots and policy.
        let made = made_with(&RawKey::new([1; 32])).unwrap();
        let changed = |change: fn(&mut Header)| {
            let mut header = made.header.clone();
            change(&mut header);
            let bytes = header.encode(CopyId::A, &[0; 32], &made.root.data_mac);
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
