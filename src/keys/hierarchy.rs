//! The key hierarchy, top to bottom: making one for a new file, and unlocking one
//! (docs/keys.md, "Hierarchy" and "Unlocking").
//!
//! slot secret -> slot wrap key -> admin key -> (escrow) root key -> data keys.
//! A data slot's wrap key leads to the root key at once.

use std::io;
use std::sync::Arc;

use super::admin_key::AdminKey;
use super::credential::Credential;
use super::enrolment::{self, Contents, Plan};
use super::keyring::{DataKey, Keyring};
use super::root_key::RootKey;
use super::slots::{self, SlotInfo};
use super::wrapping::{SLOT_KEY, binding, random_key};
use super::{SlotHint, Terms};
use crate::crypto::mac;
use crate::crypto::wrap;
use crate::error::{Damage, KeyError, OpenError, SlotRefused};
use crate::format::header::{Header, SLOTS, UnverifiedHeader};
use crate::format::key_slot::{KeySlot, LABEL_SIZE, Role};
use crate::format::policy::Policy;
use crate::random;
use crate::secret::{Arena, SecretKey};
use crate::units::{CopyId, Epoch, FileId, Generation, SlotId};

/// What a credential opened: the believed header, the root key, and what it gives. A header commit
/// replaces it as a whole; a clone shares the keys.
#[derive(Clone, Debug)]
pub(crate) struct Unlocked {
    pub(crate) header: Header,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) root: Arc<RootKey>,
    pub(crate) arena: Arena,
}

/// Makes the hierarchy of a new file: random admin, root and data key, and one admin slot that also
/// opens the data. Where there is a credential for the data alone, roles are split: the admin slot
/// opens no data, and that credential gets a data slot.
///
/// # Errors
/// A credential can't make a slot, or the system gave no randomness or memory.
pub(crate) fn create(
    admin: &dyn Credential,
    data: Option<&dyn Credential>,
    terms: &Terms,
) -> Result<Unlocked, OpenError> {
    let no_keys = || OpenError::io("making the keys");
    let arena = terms.arena(admin)?;
    let file_id = FileId(random::array().map_err(no_keys())?);
    let admin_key =
        random_key(&arena).and_then(|key| AdminKey::new(&arena, key, file_id)).map_err(no_keys())?;
    let root =
        random_key(&arena).and_then(|key| RootKey::new(&arena, key, file_id)).map_err(no_keys())?;
    let now = terms.clock.now_s();
    let (mut header, keyring) =
        first_header(&arena, &root, file_id, data.is_none(), now).map_err(no_keys())?;
    let escrow_key = admin_key.slot_escrow_key(&arena, &root).map_err(no_keys())?;
    let credentials = [(Some(admin), Role::Admin, &admin_key.key), (data, Role::Data, &root.key)];
    for (provider, role, key) in credentials {
        let Some(provider) = provider else { continue };
        let id = slots::take_id(&mut header);
        let plan = Plan { id, role, label: [0; LABEL_SIZE], created: now, not_after: 0 };
        let contents = Contents { key, escrow_key: &escrow_key };
        let slot = enrolment::enrol(&arena, &header, provider, terms, plan, contents)
            .map_err(first_slot)?;
        *slots::free_place(&mut header).map_err(first_slot)? = Some(slot);
    }
    if header.combined_roles {
        header.root_escrow = Some(admin_key.escrow_root(&root).map_err(no_keys())?);
    }
    admin_key.sign(&mut header);
    Ok(Unlocked { header, keyring: Arc::new(keyring), root: Arc::new(root), arena })
}

// The header of a new file with its first data key, no slot yet.
fn first_header(
    arena: &Arena,
    root: &RootKey,
    file_id: FileId,
    combined_roles: bool,
    now: u64,
) -> io::Result<(Header, Keyring)> {
    let (epoch, data_key) = (Epoch(1), random_key(arena)?);
    let header = Header {
        generation: Generation(1),
        admin_generation: 1,
        file_id,
        combined_roles,
        created: now,
        policy: Policy::default(),
        next_slot: 1,
        slots: [const { None }; SLOTS],
        epochs: vec![root.wrap_data_key(&data_key, file_id, epoch, now)?],
        root_escrow: None,
        anchor: None,
        clock_high_water: now,
        next_epoch: Epoch(2),
        rotations: Vec::new(),
        admin_mac: [0; 32],
    };
    let active = DataKey::split(arena, &data_key, file_id, epoch)?;
    Ok((header, Keyring::new(file_id, active, Vec::new())))
}

// The default policy refuses nothing that a provider doesn't: what is left is the provider's word.
fn first_slot(error: KeyError) -> OpenError {
    match error {
        KeyError::Open(error) => error,
        other => OpenError::io("making the first slot")(io::Error::other(other.to_string())),
    }
}

/// Unlocks a header with a credential.
///
/// # Errors
/// [`OpenError::WrongKey`] where no slot of the credential's kind commits to it; damage where a
/// slot does but what follows doesn't authenticate; [`SlotRefused`] where the slot has expired or
/// is an admin's who may not see data. None leads to the other copy: that would be a way to turn a
/// header back.
pub(crate) fn unlock(
    unverified: &UnverifiedHeader,
    provider: &dyn Credential,
    terms: &Terms,
) -> Result<Unlocked, OpenError> {
    let arena = terms.arena(provider)?;
    let (mut passed, mut refused) = (0, None);
    loop {
        let slots = unverified.slots().skip(passed);
        let found = enrolment::find(&arena, unverified.file_id(), slots, provider, terms);
        let (slot, wrap_key) = match found {
            Err(error) => return Err(refused.unwrap_or(error)),
            Ok(found) => found,
        };
        let unlocked = unlock_slot(&arena, unverified, slot, &wrap_key).and_then(|unlocked| {
            // The date was believed with the header, not before.
            check_expired(&unlocked.header, slot, terms)?;
            Ok(unlocked)
        });
        match unlocked {
            // The credential may have another slot, of another role or date.
            Err(error @ OpenError::Slot(_)) => {
                refused.get_or_insert(error);
                passed +=
                    1 + unverified.slots().skip(passed).take_while(|s| s.id != slot.id).count();
            }
            done => return done,
        }
    }
}

/// The admin key behind an admin credential, for a header that is unlocked already.
///
/// # Errors
/// [`KeyError::NotAdmin`]; or damage, where slots or policy carry no admin's signature.
pub(crate) fn unlock_admin(
    unlocked: &Unlocked,
    provider: &dyn Credential,
    terms: &Terms,
) -> Result<AdminKey, KeyError> {
    let Unlocked { header, arena, .. } = unlocked;
    let terms = &Terms { hint: terms.hint.role(Role::Admin), ..*terms };
    let by_role_alone = terms.hint == SlotHint::default().role(Role::Admin);
    let slots = header.slots.iter().flatten();
    let (slot, wrap_key) = match enrolment::find(arena, header.file_id, slots, provider, terms) {
        Err(OpenError::WrongKey) => return Err(KeyError::NotAdmin),
        Err(OpenError::Slot(SlotRefused::NoSuchSlot)) if by_role_alone => {
            return Err(KeyError::NotAdmin);
        }
        found => found?,
    };
    check_expired(header, slot, terms).map_err(OpenError::from)?;
    let key = open_slot(arena, header.file_id, slot, &wrap_key, CopyId::A)?;
    let admin = AdminKey::new(arena, key, header.file_id).map_err(no_memory())?;
    if !admin.has_signed(header) {
        return Err(unsigned(CopyId::A).into());
    }
    check_role_mode(unlocked, &admin)?;
    Ok(admin)
}

// The role mode is not among what an administrator signs. A data credential could change it, and
// the next change of the root key would put that into an escrow for the admin key: dual control
// would be gone. What it can't make is an escrow under the admin key.
fn check_role_mode(unlocked: &Unlocked, admin: &AdminKey) -> Result<(), OpenError> {
    let Unlocked { header, arena, root, .. } = unlocked;
    let changed = || damaged(CopyId::A, "its role mode was changed by somebody who may not");
    match (header.combined_roles, &header.root_escrow) {
        (false, None) => Ok(()),
        (true, Some(escrow)) => {
            let key = admin.open_root_escrow(arena, escrow).map_err(no_memory())?;
            let key = key.map_err(|_| changed())?;
            mac::equal(&key.expose(), &root.key.expose()).then_some(()).ok_or_else(changed)
        }
        _ => Err(changed()),
    }
}

/// The slot that a credential opens, of a header that is unlocked already, expired or not. The key
/// behind it is the one that the header hangs on.
///
/// # Errors
/// As [`unlock`].
pub(crate) fn opens(
    unlocked: &Unlocked,
    provider: &dyn Credential,
    terms: &Terms,
) -> Result<SlotInfo, OpenError> {
    let Unlocked { header, arena, .. } = unlocked;
    let slots = header.slots.iter().flatten();
    let (slot, wrap_key) = enrolment::find(arena, header.file_id, slots, provider, terms)?;
    let key = open_slot(arena, header.file_id, slot, &wrap_key, CopyId::A)?;
    let is_its_key = match slot.role {
        Role::Data => mac::equal(&key.expose(), &unlocked.root.key.expose()),
        Role::Admin => {
            AdminKey::new(arena, key, header.file_id).map_err(no_memory())?.has_signed(header)
        }
    };
    if !is_its_key {
        return Err(damaged(CopyId::A, "a key slot leads to another key than the header's"));
    }
    let now = slots::judged_time(header, terms.clock.now_s());
    Ok(SlotInfo::of(slot, now))
}

fn no_memory() -> impl FnOnce(io::Error) -> OpenError {
    OpenError::io("reserving key memory")
}

fn damaged(copy: CopyId, why: &'static str) -> OpenError {
    OpenError::Damaged(Damage::Header { copy, why })
}

fn unsigned(copy: CopyId) -> OpenError {
    damaged(copy, "its slots or policy were changed by somebody who may not")
}

fn check_expired(header: &Header, slot: &KeySlot, terms: &Terms) -> Result<(), SlotRefused> {
    let now = slots::judged_time(header, terms.clock.now_s());
    if slots::is_expired(slot, now) {
        let (slot, not_after) = (SlotId(slot.id), slot.not_after);
        return Err(SlotRefused::Expired { slot, not_after, now });
    }
    Ok(())
}

// The admin or root key that a slot wraps.
fn open_slot(
    arena: &Arena,
    file_id: FileId,
    slot: &KeySlot,
    wrap_key: &SecretKey,
    copy: CopyId,
) -> Result<SecretKey, OpenError> {
    wrap::unwrap(arena, wrap_key, &binding(file_id, SLOT_KEY, slot.id), &slot.wrapped)
        .map_err(no_memory())?
        .map_err(|_| damaged(copy, "a key slot was altered"))
}

fn unlock_slot(
    arena: &Arena,
    unverified: &UnverifiedHeader,
    slot: &KeySlot,
    wrap_key: &SecretKey,
) -> Result<Unlocked, OpenError> {
    let (file_id, copy) = (unverified.file_id(), unverified.copy());
    let slot_key = open_slot(arena, file_id, slot, wrap_key, copy)?;
    let (admin_key, root_key) = match slot.role {
        Role::Data => (None, slot_key),
        Role::Admin => {
            let admin = AdminKey::new(arena, slot_key, file_id).map_err(no_memory())?;
            let root_key = root_behind(arena, unverified, &admin, slot)?;
            (Some(admin), root_key)
        }
    };
    let root = RootKey::new(arena, root_key, file_id).map_err(no_memory())?;
    let header = unverified
        .verify(&root.data_mac)
        .ok_or_else(|| damaged(copy, "it was altered: its MAC doesn't fit"))?
        .clone();
    if admin_key.is_some_and(|admin| !admin.has_signed(&header)) {
        return Err(unsigned(copy));
    }
    let keyring = Arc::new(root.unlock_keyring(arena, &header, copy)?);
    Ok(Unlocked { header, keyring, root: Arc::new(root), arena: arena.clone() })
}

// Nothing the header says is believed yet: the root key that comes out has to verify it.
fn root_behind(
    arena: &Arena,
    unverified: &UnverifiedHeader,
    admin: &AdminKey,
    slot: &KeySlot,
) -> Result<SecretKey, OpenError> {
    let copy = unverified.copy();
    match (unverified.combined_roles(), unverified.root_escrow()) {
        (false, None) => Err(SlotRefused::AdminOnly(SlotId(slot.id)).into()),
        (true, Some(escrow)) => admin
            .open_root_escrow(arena, escrow)
            .map_err(no_memory())?
            .map_err(|_| damaged(copy, "the escrow was altered")),
        _ => Err(damaged(copy, "its role mode and its escrow of the root key contradict")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::header::HeaderBytes;
    use crate::format::key_slot::KdfCost;
    use crate::keys::{Passphrase, RawKey};
    use crate::units::CopyId;

    fn made_with(provider: &dyn Credential) -> Result<Unlocked, OpenError> {
        create(provider, None, &Terms::default())
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
