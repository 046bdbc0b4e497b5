//! What a holder of a data credential can't do, with everything that role gives in his hands: the
//! root key, the data keys, his own slot's wrap key, and the file to write to.

use super::enrolment::{self, Contents, Plan};
use super::wrapping::random_key;
use super::*;
use crate::crypto::wrap::WrappedKey;
use crate::error::{Damage, KeyError, OpenError};
use crate::format::header::{Header, HeaderBytes, UnverifiedHeader};
use crate::format::key_slot::{KeySlot, Role};
use crate::units::{CopyId, SlotId};

fn raw(byte: u8) -> RawKey {
    RawKey::new([byte; 32])
}

fn change<'a>(unlocked: &'a Unlocked, admin: &'a AdminKey, terms: &'a Terms) -> Change<'a> {
    Change { unlocked, admin, terms }
}

/// Admin 1, data 2.
fn made(terms: &Terms) -> Unlocked {
    let made = create(&raw(1), None, terms).unwrap();
    let admin = unlock_admin(&made, &raw(1), terms).unwrap();
    change(&made, &admin, terms).add(&SlotSpec::data("two"), &raw(2)).unwrap().0
}

fn encoded(unlocked: &Unlocked, header: &Header) -> Box<HeaderBytes> {
    header.encode(CopyId::A, &[0; 32], &unlocked.root.data_mac)
}

fn open(bytes: &HeaderBytes, key: u8) -> Result<Unlocked, OpenError> {
    let unverified = UnverifiedHeader::decode(bytes, CopyId::A).unwrap();
    unlock(&unverified, &raw(key), &Terms::default())
}

/// A change that somebody makes who has what `unlocked` holds.
type Forgery = fn(&Unlocked, &mut Header);

fn own_slot(unlocked: &Unlocked, header: &Header, role: Role, id: u32, key: u8) -> KeySlot {
    let Unlocked { arena, root, .. } = unlocked;
    // The escrow key needs the admin key, which he lacks; he makes one up.
    let made_up = random_key(arena).unwrap();
    let contents = Contents { key: &root.key, escrow_key: &made_up };
    let plan = Plan { id, role, label: [0; 32], created: 1, not_after: 0 };
    enrolment::enrol(arena, header, &raw(key), &Terms::default(), plan, contents).unwrap()
}

const FORGERIES: [(&str, Forgery); 9] = [
    ("a slot of his own for the root key", |unlocked, header| {
        header.slots[2] = Some(own_slot(unlocked, header, Role::Data, 3, 3));
    }),
    ("an admin slot of his own", |unlocked, header| {
        header.slots[2] = Some(own_slot(unlocked, header, Role::Admin, 3, 3));
    }),
    ("an admin key of his own, signed with it", |unlocked, header| {
        let Unlocked { arena, root, .. } = unlocked;
        let key = random_key(arena).unwrap();
        let admin = AdminKey::new(arena, key, header.file_id).unwrap();
        header.slots[2] = Some(own_slot(unlocked, header, Role::Admin, 3, 3));
        header.admin_generation += 1;
        admin.sign(header);
        let _ = root;
    }),
    ("his own slot called an admin's", |_, header| {
        header.slots[1].as_mut().unwrap().role = Role::Admin;
    }),
    ("another slot removed", |_, header| header.slots[1] = None),
    ("a date taken away", |_, header| header.slots[1].as_mut().unwrap().not_after = 0),
    ("a label", |_, header| header.slots[1].as_mut().unwrap().label[0] ^= 1),
    ("the policy", |_, header| header.policy.slots_min = 2),
    ("slot ids to be given out again", |_, header| header.next_slot = 1),
];

#[test]
fn no_admin_accepts_a_slot_table_that_no_admin_signed() {
    let terms = Terms::default();
    let owner = made(&terms);
    let admin = unlock_admin(&owner, &raw(1), &terms).unwrap();
    let dated = change(&owner, &admin, &terms).set_not_after(SlotId(2), Some(u64::MAX)).unwrap();
    let attacker = open(&encoded(&dated, &dated.header), 2).unwrap();
    for (what, forge) in FORGERIES {
        let mut header = attacker.header.clone();
        forge(&attacker, &mut header);
        assert_ne!(header, attacker.header, "{what}");
        let bytes = encoded(&attacker, &header);
        // At an open with an admin credential, and at a session beside a data credential.
        let opened = open(&bytes, 1);
        assert!(matches!(opened, Err(OpenError::Damaged(Damage::Header { .. }))), "{what}");
        let mine = if what.contains("of his own") { 3 } else { 2 };
        if let Ok(beside) = open(&bytes, mine) {
            let session = unlock_admin(&beside, &raw(1), &terms);
            let Err(KeyError::Open(OpenError::Damaged(Damage::Header { .. }))) = session else {
                panic!("{what}: {session:?}");
            };
        }
    }
    // What moves without an admin: generation, clock, data keys. The signature is carried over.
    let mut header = attacker.header.clone();
    header.generation.0 += 1;
    header.clock_high_water += 5;
    assert!(open(&encoded(&attacker, &header), 1).is_ok());
}

#[test]
fn an_older_signed_table_is_told_by_its_admin_generation_alone() {
    // The honest limit: whoever holds the root key can put an older signed table under a new
    // generation. A remembered admin generation tells.
    let terms = Terms::default();
    let before = made(&terms);
    let admin = unlock_admin(&before, &raw(1), &terms).unwrap();
    let after = change(&before, &admin, &terms).remove(SlotId(2)).unwrap();
    let mut replayed = before.header.clone();
    replayed.generation.0 = after.header.generation.0 + 1;
    let opened = open(&encoded(&before, &replayed), 1).unwrap();
    assert!(opened.header.admin_generation < after.header.admin_generation);
}

#[test]
fn after_a_new_root_key_the_old_one_verifies_and_unwraps_nothing() {
    let terms = Terms::default();
    let before = made(&terms);
    let admin = unlock_admin(&before, &raw(1), &terms).unwrap();
    let (after, revoked) = change(&before, &admin, &terms).revoke_data(SlotId(2)).unwrap();
    assert!(revoked.needs_rotation);
    let bytes = encoded(&after, &after.header);
    let unverified = UnverifiedHeader::decode(&bytes, CopyId::A).unwrap();
    assert!(unverified.verify(&before.root.data_mac).is_none());
    let record = &after.header.epochs[0];
    let (arena, file_id) = (&before.arena, before.header.file_id);
    assert!(before.root.unwrap_data_key(arena, record, file_id, CopyId::A).is_err());
    assert!(after.root.unwrap_data_key(arena, record, file_id, CopyId::A).is_ok());
    assert!(matches!(open(&bytes, 2), Err(OpenError::WrongKey)));
    // The data keys are the same: why rotation is needed.
    assert!(std::sync::Arc::ptr_eq(&before.keyring, &after.keyring));
}

#[test]
fn a_revoked_admin_can_open_no_escrow_of_the_new_header() {
    let terms = Terms::default();
    let before = made(&terms);
    let admin = unlock_admin(&before, &raw(1), &terms).unwrap();
    let add = change(&before, &admin, &terms).add(&SlotSpec::admin("three"), &raw(3));
    let before = add.unwrap().0;
    let keep: [(SlotId, &dyn Credential); 2] = [(SlotId(2), &raw(2)), (SlotId(3), &raw(3))];
    let (after, new_admin, _) =
        change(&before, &admin, &terms).revoke_admin(SlotId(1), &keep).unwrap();
    assert!(new_admin.has_signed(&after.header) && !admin.has_signed(&after.header));
    let arena = &after.arena;
    let root_escrow = after.header.root_escrow.as_ref().unwrap();
    assert!(admin.open_root_escrow(arena, root_escrow).unwrap().is_err());
    // What he could have opened before: the wrap key of every slot. None of them is in use.
    let commitments = |unlocked: &Unlocked| -> Vec<_> {
        unlocked.header.slots.iter().flatten().map(|slot| (slot.salt, slot.commitment)).collect()
    };
    let old = commitments(&before);
    assert!(commitments(&after).iter().all(|(salt, commitment)| {
        old.iter().all(|(old_salt, old)| old_salt != salt && old != commitment)
    }));
    let bytes = encoded(&after, &after.header);
    assert!(open(&bytes, 2).is_ok() && open(&bytes, 3).is_ok());
    assert!(matches!(open(&bytes, 1), Err(OpenError::WrongKey)));
}

#[test]
fn a_data_credential_can_not_end_dual_control() {
    let terms = Terms::default();
    let made = create(&raw(1), Some(&raw(2)), &terms).unwrap();
    let mut header = made.header.clone();
    header.combined_roles = true; // whoever has the root key can MAC this
    let opened = open(&encoded(&made, &header), 2).unwrap();
    let refused = unlock_admin(&opened, &raw(1), &terms).unwrap_err();
    assert!(refused.to_string().contains("role mode"), "{refused}");
    // The same with an escrow that the data credential makes up.
    header.root_escrow = Some(WrappedKey { nonce: [1; 12], ciphertext: [2; 32], tag: [3; 16] });
    let opened = open(&encoded(&made, &header), 2).unwrap();
    assert!(unlock_admin(&opened, &raw(1), &terms).is_err());
    let untouched = open(&encoded(&made, &made.header), 2).unwrap();
    assert!(unlock_admin(&untouched, &raw(1), &terms).is_ok());
}

#[cfg(feature = "testkit")]
#[test]
fn with_split_roles_a_data_slot_without_a_date_stays() {
    let terms = Terms { clock: crate::clock::Clock::standing_at(1000), ..Terms::default() };
    let made = create(&raw(1), Some(&raw(2)), &terms).unwrap();
    let admin = unlock_admin(&made, &raw(1), &terms).unwrap();
    let dated = change(&made, &admin, &terms).set_not_after(SlotId(2), Some(1001));
    assert!(matches!(dated, Err(KeyError::LastData)));
}

#[test]
fn fields_that_no_admin_signs_block_no_revocation_and_no_rotation() {
    let terms = Terms::default();
    let made = made(&terms);
    let mut header = made.header.clone();
    header.created = u64::MAX;
    let opened = open(&encoded(&made, &header), 1).unwrap();
    let admin = unlock_admin(&opened, &raw(1), &terms).unwrap();
    assert!(change(&opened, &admin, &terms).revoke_data(SlotId(2)).is_ok());
    assert!(matches!(
        change(&opened, &admin, &terms).set_not_after(SlotId(2), Some(1)),
        Err(KeyError::ClockBehind { .. })
    ));
    let mut header = made.header.clone();
    header.next_epoch = crate::units::Epoch(1);
    let bytes = encoded(&made, &header);
    assert!(UnverifiedHeader::decode(&bytes, CopyId::A).is_err(), "an epoch given out twice");
}

#[test]
fn a_credential_in_two_slots_opens_by_the_one_that_may() {
    let terms = Terms::default();
    let made = create(&raw(1), Some(&raw(1)), &terms).unwrap();
    assert!(open(&encoded(&made, &made.header), 1).is_ok(), "the data slot, not the admin's");
}
