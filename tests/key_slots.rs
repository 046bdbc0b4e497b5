//! Shows what key slots, roles, revocation, policy and header backups do as a user sees them, and
//! that bad input is a typed error after which the file is byte for byte as it was.
#![cfg(feature = "testkit")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use strongroom::medium::MemoryMedium;
use strongroom::redb::{ReadableDatabase, TableDefinition};
use strongroom::testkit::CrashMedium;
use strongroom::{
    Builder, Credential, Damage, Database, Due, HeaderCopies, KdfCost, KeyError, OpenError,
    Passphrase, RawKey, Role, SlotHint, SlotId, SlotKind, SlotRefused, SlotSpec, TurnBack,
};

/// The call fails with an error of this sort, and not one byte of the file differs.
macro_rules! refused {
    ($medium:expr, $call:expr, $pattern:pat) => {{
        let before = $medium.to_bytes();
        let error = $call.map(drop).unwrap_err();
        assert!(matches!(error, $pattern), "{error:?}");
        assert!($medium.to_bytes() == before, "the file was changed: {error}");
        assert!(!error.to_string().is_empty());
    }};
}

#[path = "key_slots/backups.rs"]
mod backups;
#[path = "key_slots/rotating.rs"]
mod rotating;

const NOTES: TableDefinition<u32, u32> = TableDefinition::new("notes");
const CHEAP: KdfCost = KdfCost { memory_kib: 19 * 1024, passes: 2, lanes: 1 };
const NOW: u64 = 1_800_000_000;

fn raw(byte: u8) -> RawKey {
    RawKey::new([byte; 32])
}

fn at(now: u64) -> Builder {
    let mut builder = Builder::new();
    builder.cache_size(64 << 10).clock_at(now);
    builder
}

fn write(db: &Database, value: u32) {
    let txn = db.begin_write().unwrap();
    txn.open_table(NOTES).unwrap().insert(1, value).unwrap();
    txn.commit().unwrap();
}

fn read(db: &Database) -> u32 {
    db.begin_read().unwrap().open_table(NOTES).unwrap().get(1).unwrap().unwrap().value()
}

/// A database of one admin slot (1), data slots 2 "laptop" and 3 "phone", and a second admin (4).
fn made() -> (MemoryMedium, Database) {
    let medium = MemoryMedium::new();
    let db = at(NOW).create_on(medium.clone(), &raw(1)).unwrap();
    write(&db, 7);
    let mut admin = db.admin(&raw(1)).unwrap();
    assert_eq!(admin.add(&SlotSpec::data("laptop"), &raw(2)).unwrap(), SlotId(2));
    assert_eq!(admin.add(&SlotSpec::data("phone"), &raw(3)).unwrap(), SlotId(3));
    assert_eq!(admin.add(&SlotSpec::admin("safe"), &raw(4)).unwrap(), SlotId(4));
    drop(admin);
    (medium, db)
}

fn opens(medium: &MemoryMedium, key: &dyn Credential) -> Result<Database, OpenError> {
    at(NOW).open_on(MemoryMedium::from_bytes(medium.to_bytes()), key)
}

fn openers(medium: &MemoryMedium) -> Vec<u8> {
    let works = |byte: &u8| match opens(medium, &raw(*byte)) {
        Ok(db) => read(&db) == 7,
        Err(error) => {
            assert!(matches!(error, OpenError::WrongKey), "{error}");
            false
        }
    };
    (1..=9).filter(works).collect()
}

fn slot_ids(db: &Database) -> Vec<u32> {
    db.key_status().slots.iter().map(|slot| slot.id.0).collect()
}

#[test]
fn slots_are_added_listed_relabelled_replaced_and_removed() {
    let (medium, db) = made();
    let status = db.key_status();
    let slots: Vec<_> = status
        .slots
        .iter()
        .map(|slot| (slot.id.0, slot.role, slot.label.as_str(), slot.kind))
        .collect();
    let kind = SlotKind::RawKey;
    assert_eq!(
        slots,
        [
            (1, Role::Admin, "", kind),
            (2, Role::Data, "laptop", kind),
            (3, Role::Data, "phone", kind),
            (4, Role::Admin, "safe", kind)
        ]
    );
    assert_eq!((status.generation.0, status.admin_generation), (4, 4));
    assert_eq!(status.copies, HeaderCopies::Healthy);
    assert_eq!(openers(&medium), [1, 2, 3, 4]);
    let mut admin = db.admin(&raw(4)).unwrap();
    admin.relabel(SlotId(2), "old laptop").unwrap();
    assert_eq!(admin.replace(SlotId(3), &raw(5)).unwrap(), SlotId(5));
    assert_eq!(openers(&medium), [1, 2, 4, 5]);
    admin.remove(SlotId(5)).unwrap();
    assert_eq!(admin.add(&SlotSpec::data("phone"), &raw(6)).unwrap(), SlotId(6), "not 5 again");
    let labels: Vec<_> = admin.slots().into_iter().map(|slot| slot.label).collect();
    assert_eq!(labels, ["", "old laptop", "phone", "safe"]);
    drop(admin);
    let slot = db.test_credential(&raw(6), SlotHint::default()).unwrap();
    assert_eq!((slot.id, slot.role), (SlotId(6), Role::Data));
    let wrong = db.test_credential(&raw(5), SlotHint::default());
    assert!(matches!(wrong, Err(OpenError::WrongKey)));
    db.close().unwrap();
    assert_eq!(openers(&medium), [1, 2, 4, 6]);
}

#[test]
fn a_passphrase_is_changed_in_one_commit() {
    let medium = MemoryMedium::new();
    let phrase = |words| Passphrase::new(words).cost(CHEAP);
    let db = at(NOW).create_on(medium.clone(), &phrase("old words")).unwrap();
    write(&db, 7);
    let mut admin = db.admin(&phrase("old words")).unwrap();
    admin.replace(SlotId(1), &phrase("new words")).unwrap();
    assert_eq!(db.key_status().generation.0, 2);
    assert!(matches!(opens(&medium, &phrase("old words")), Err(OpenError::WrongKey)));
    assert_eq!(read(&opens(&medium, &phrase("new words")).unwrap()), 7);
}

#[test]
fn a_data_credential_administrates_nothing() {
    let (medium, db) = made();
    db.close().unwrap();
    let db = at(NOW).open_on(medium.clone(), &raw(2)).unwrap();
    let before = medium.to_bytes();
    for credential in [raw(2), raw(3), raw(9)] {
        assert!(matches!(db.admin(&credential), Err(KeyError::NotAdmin)));
    }
    assert!(medium.to_bytes() == before);
    // It reads and writes, and an admin credential beside it makes an admin session.
    write(&db, 8);
    db.admin(&raw(1)).unwrap().remove(SlotId(2)).unwrap();
    assert_eq!(slot_ids(&db), [1, 3, 4]);
}

#[test]
fn with_split_roles_administration_takes_both_credentials() {
    let medium = MemoryMedium::new();
    let db = at(NOW).create_split_on(medium.clone(), &raw(1), &raw(2)).unwrap();
    write(&db, 7);
    assert!(db.key_status().split_roles);
    db.close().unwrap();
    let before = medium.to_bytes();
    let admin_alone = at(NOW).open_on(medium.clone(), &raw(1));
    let Err(OpenError::Slot(SlotRefused::AdminOnly(SlotId(1)))) = admin_alone else {
        panic!("{admin_alone:?}");
    };
    assert!(medium.to_bytes() == before);
    let db = at(NOW).open_on(medium.clone(), &raw(2)).unwrap();
    assert!(matches!(db.admin(&raw(2)), Err(KeyError::NotAdmin)));
    let mut admin = db.admin(&raw(1)).unwrap();
    assert!(matches!(admin.remove(SlotId(2)), Err(KeyError::LastData)));
    let third = admin.add(&SlotSpec::data("third"), &raw(3)).unwrap();
    let fourth = admin.add(&SlotSpec::admin("fourth"), &raw(4)).unwrap();
    let _ = admin.revoke_data(SlotId(2)).unwrap();
    let keep: [(SlotId, &dyn Credential); 2] = [(third, &raw(3)), (fourth, &raw(4))];
    let _ = admin.revoke_admin(SlotId(1), &keep).unwrap();
    drop(admin);
    assert!(matches!(db.admin(&raw(1)), Err(KeyError::NotAdmin)));
    assert!(db.admin(&raw(4)).is_ok());
    db.close().unwrap();
    assert_eq!(read(&opens(&medium, &raw(3)).unwrap()), 7);
    assert!(matches!(opens(&medium, &raw(2)), Err(OpenError::WrongKey)));
    let admin_alone = opens(&medium, &raw(4));
    assert!(matches!(admin_alone, Err(OpenError::Slot(SlotRefused::AdminOnly(_)))));
}

/// Both copies of a header, each alone in the file, with the CRC as it is.
fn each_copy_alone(medium: &MemoryMedium) -> [MemoryMedium; 2] {
    [32_768..65_536, 0..32_768].map(|other: std::ops::Range<usize>| {
        let mut bytes = medium.to_bytes();
        bytes[other].fill(0);
        MemoryMedium::from_bytes(bytes)
    })
}

#[test]
fn a_revoked_data_slot_opens_neither_copy_and_the_others_need_no_credential() {
    let (medium, db) = made();
    let mut admin = db.admin(&raw(1)).unwrap();
    let revoked = admin.revoke_data(SlotId(2)).unwrap();
    assert_eq!((revoked.slot.id, revoked.dropped.len()), (SlotId(2), 0));
    assert!(revoked.needs_rotation, "whoever held the root key may have kept the data key");
    drop(admin);
    assert_eq!(openers(&medium), [1, 3, 4]);
    db.close().unwrap();
    assert_eq!(openers(&medium), [1, 3, 4]);
    for alone in each_copy_alone(&medium) {
        assert_eq!(openers(&alone), [1, 3, 4]);
    }
}

#[test]
fn a_revoked_admin_takes_with_him_every_slot_that_nobody_vouches_for() {
    let (medium, db) = made();
    let mut admin = db.admin(&raw(1)).unwrap();
    let keep: [(SlotId, &dyn Credential); 2] = [(SlotId(1), &raw(1)), (SlotId(3), &raw(3))];
    let revoked = admin.revoke_admin(SlotId(4), &keep).unwrap();
    assert_eq!(revoked.slot.label, "safe");
    let dropped: Vec<_> = revoked.dropped.iter().map(|slot| slot.id.0).collect();
    assert_eq!(dropped, [2]);
    // The session goes on with the new admin key.
    admin.relabel(SlotId(3), "kept").unwrap();
    drop(admin);
    assert!(matches!(db.admin(&raw(4)), Err(KeyError::NotAdmin)));
    db.close().unwrap();
    assert_eq!(openers(&medium), [1, 3]);
    for alone in each_copy_alone(&medium) {
        assert_eq!(openers(&alone), [1, 3]);
    }
}

#[test]
fn an_admin_can_revoke_himself_and_leave_another() {
    let (medium, db) = made();
    let mut admin = db.admin(&raw(1)).unwrap();
    let keep: [(SlotId, &dyn Credential); 1] = [(SlotId(4), &raw(4))];
    let _ = admin.revoke_admin(SlotId(1), &keep).unwrap();
    drop(admin);
    db.close().unwrap();
    assert_eq!(openers(&medium), [4]);
}

#[test]
fn a_new_root_key_changes_no_credential_and_no_page() {
    let (medium, db) = made();
    let before = medium.to_bytes();
    db.admin(&raw(1)).unwrap().rewrap_root_key().unwrap();
    let after = medium.to_bytes();
    assert_eq!(openers(&medium), [1, 2, 3, 4]);
    let changed = |page: &usize| before[page * 4096..][..4096] != after[page * 4096..][..4096];
    let pages: Vec<_> = (0..before.len() / 4096).filter(changed).collect();
    assert!(pages.iter().all(|page| *page < 18), "headers and a root record: {pages:?}");
}

#[test]
fn an_older_header_put_back_is_refused() {
    let (medium, db) = made();
    db.close().unwrap();
    let older = medium.to_bytes();
    let db = at(NOW).open_on(medium.clone(), &raw(1)).unwrap();
    let _ = db.admin(&raw(1)).unwrap().revoke_data(SlotId(2)).unwrap();
    db.close().unwrap();
    let newer = medium.to_bytes();
    for copies in [0..65_536, 0..32_768, 32_768..65_536_usize] {
        let mut bytes = newer.clone();
        bytes[copies.clone()].copy_from_slice(&older[copies.clone()]);
        let replayed = MemoryMedium::from_bytes(bytes);
        let revoked = opens(&replayed, &raw(2));
        if copies.len() == 65_536 {
            assert!(matches!(revoked, Err(OpenError::RolledBack { .. })), "{revoked:?}");
        } else {
            assert!(matches!(revoked, Err(OpenError::WrongKey)), "the newer copy decides");
        }
    }
}

#[test]
fn a_credential_expires_and_no_clock_turned_back_revives_it() {
    let (medium, db) = made();
    let mut admin = db.admin(&raw(1)).unwrap();
    admin.set_not_after(SlotId(2), Some(NOW + 10)).unwrap();
    let later = SlotSpec::data("later").not_after(NOW + 20);
    let five = admin.add(&later, &raw(5)).unwrap();
    drop(admin);
    db.close().unwrap();
    let open_at = |now, key: u8| {
        let copy = MemoryMedium::from_bytes(medium.to_bytes());
        at(now).open_on(copy, &raw(key)).map(drop)
    };
    let expired = |result: Result<(), OpenError>| match result {
        Err(OpenError::Slot(SlotRefused::Expired { slot, .. })) => slot.0,
        other => panic!("{other:?}"),
    };
    assert!(open_at(NOW + 10, 2).is_ok());
    assert_eq!(expired(open_at(NOW + 11, 2)), 2);
    let read_only = at(NOW + 11).open_read_only_on(medium.clone(), &raw(2)).map(drop);
    assert_eq!(expired(read_only), 2);
    assert!(open_at(NOW + 11, 3).is_ok(), "another slot");
    // A header commit remembers the time.
    let db = at(NOW + 15).open_on(medium.clone(), &raw(1)).unwrap();
    assert_eq!(db.key_status().due, [Due::SlotExpired(SlotId(2))]);
    let mut admin = db.admin(&raw(1)).unwrap();
    admin.relabel(SlotId(3), "x").unwrap();
    drop(admin);
    db.close().unwrap();
    assert_eq!(expired(open_at(NOW, 2)), 2, "though the clock stands before its date");
    assert!(open_at(NOW, 5).is_ok() && five == SlotId(5));
    // An admin credential that expired opens no session.
    let db = at(NOW + 15).open_on(medium.clone(), &raw(1)).unwrap();
    db.admin(&raw(1)).unwrap().set_not_after(SlotId(4), Some(NOW + 16)).unwrap();
    db.close().unwrap();
    let db = at(NOW + 17).open_on(medium, &raw(1)).unwrap();
    let refused = db.admin(&raw(4));
    let Err(KeyError::Open(OpenError::Slot(SlotRefused::Expired { .. }))) = refused else {
        panic!("{refused:?}");
    };
}

#[test]
fn the_policy_binds_every_later_session() {
    let (medium, db) = made();
    let mut admin = db.admin(&raw(1)).unwrap();
    let mut policy = admin.policy();
    policy.slots_min = 4;
    policy.argon2_memory_min_kib = 32 * 1024;
    policy.set_allowed(SlotKind::RawKey, false);
    policy.data_key_age_s = 86_400;
    admin.set_policy(&policy).unwrap();
    assert_eq!(admin.policy(), policy);
    drop(admin);
    db.close().unwrap();
    let db = at(NOW + 86_400).open_on(medium, &raw(4)).unwrap();
    assert_eq!(db.key_status().policy, policy);
    assert!(matches!(db.key_status().due[..], [Due::RotationByAge(_)]));
    let mut admin = db.admin(&raw(4)).unwrap();
    let refused = admin.add(&SlotSpec::data("x"), &raw(8));
    assert!(matches!(refused, Err(KeyError::KindNotAllowed)));
    let cheap = Passphrase::new("words").cost(CHEAP);
    let refused = admin.add(&SlotSpec::data("x"), &cheap);
    assert!(matches!(refused, Err(KeyError::KdfBelowPolicy { memory_min_kib: 32_768, .. })));
    assert!(matches!(admin.remove(SlotId(2)), Err(KeyError::TooFewSlots { min: 4 })));
    assert!(matches!(admin.revoke_data(SlotId(2)), Err(KeyError::TooFewSlots { min: 4 })));
    let dear = Passphrase::new("words").cost(KdfCost { memory_kib: 32 * 1024, ..CHEAP });
    admin.add(&SlotSpec::data("x"), &dear).unwrap();
    admin.remove(SlotId(2)).unwrap();
}

#[test]
fn bad_input_is_a_typed_error_and_nothing_changes() {
    let (medium, db) = made();
    let mut admin = db.admin(&raw(1)).unwrap();
    let spec = |label: &[u8]| SlotSpec::data(label);
    refused!(medium, db.admin(&raw(1)), KeyError::SessionActive);
    refused!(medium, db.admin(&raw(2)), KeyError::SessionActive);
    refused!(medium, admin.remove(SlotId(9)), KeyError::UnknownSlot(SlotId(9)));
    refused!(medium, admin.replace(SlotId(9), &raw(5)), KeyError::UnknownSlot(_));
    refused!(medium, admin.relabel(SlotId(0), "x"), KeyError::UnknownSlot(_));
    refused!(medium, admin.set_not_after(SlotId(9), None), KeyError::UnknownSlot(_));
    refused!(medium, admin.revoke_data(SlotId(9)), KeyError::UnknownSlot(_));
    refused!(medium, admin.revoke_admin(SlotId(9), &[]), KeyError::UnknownSlot(_));
    refused!(medium, admin.revoke_data(SlotId(4)), KeyError::IsAdminSlot(_));
    refused!(medium, admin.revoke_admin(SlotId(2), &[]), KeyError::IsDataSlot(_));
    refused!(medium, admin.revoke_admin(SlotId(4), &[]), KeyError::LastAdmin);
    for keep in [
        &[(SlotId(1), &raw(2) as &dyn Credential)][..],
        &[(SlotId(4), &raw(4))],
        &[(SlotId(1), &raw(1)), (SlotId(1), &raw(1))],
    ] {
        refused!(medium, admin.revoke_admin(SlotId(4), keep), KeyError::CannotKeep(_));
    }
    let keep: &[(SlotId, &dyn Credential)] = &[(SlotId(1), &raw(1)), (SlotId(8), &raw(8))];
    refused!(medium, admin.revoke_admin(SlotId(4), keep), KeyError::UnknownSlot(SlotId(8)));
    refused!(medium, admin.add(&spec(b"phone"), &raw(5)), KeyError::DuplicateLabel(SlotId(3)));
    refused!(medium, admin.relabel(SlotId(2), "phone"), KeyError::DuplicateLabel(SlotId(3)));
    let long = [b'x'; 33];
    refused!(medium, admin.add(&spec(&long), &raw(5)), KeyError::LabelTooLong { found: 33 });
    refused!(medium, admin.relabel(SlotId(2), long), KeyError::LabelTooLong { .. });
    refused!(medium, admin.add(&spec(b"\xC3\x28"), &raw(5)), KeyError::LabelNotText);
    refused!(medium, admin.relabel(SlotId(2), b"\xFF"), KeyError::LabelNotText);
    refused!(medium, admin.relabel(SlotId(2), "bell \x07"), KeyError::LabelNotText);
    let past = SlotSpec::data("x").not_after(NOW - 1);
    refused!(medium, admin.add(&past, &raw(5)), KeyError::AlreadyExpired { .. });
    refused!(medium, admin.set_not_after(SlotId(2), Some(0)), KeyError::AlreadyExpired { .. });
    let mut policy = admin.policy();
    policy.slots_min = 5;
    refused!(medium, admin.set_policy(&policy), KeyError::TooFewSlots { min: 5 });
    policy.slots_min = 13;
    refused!(medium, admin.set_policy(&policy), KeyError::BadPolicy(_));
    let empty = Passphrase::new("");
    refused!(medium, admin.add(&spec(b"x"), &empty), KeyError::Open(OpenError::EmptyPassphrase));
    admin.remove(SlotId(4)).unwrap();
    refused!(medium, admin.remove(SlotId(1)), KeyError::LastAdmin);
    refused!(medium, admin.set_not_after(SlotId(1), Some(NOW + 1)), KeyError::LastAdmin);
    for number in 4..=12 {
        admin.add(&spec(format!("slot {number}").as_bytes()), &raw(number)).unwrap();
    }
    refused!(medium, admin.add(&spec(b"thirteenth"), &raw(13)), KeyError::SlotsFull);
    drop(admin);
    assert!(db.admin(&raw(1)).is_ok(), "the seat is free again");
    db.close().unwrap();

    let db = at(NOW - 1).open_on(medium.clone(), &raw(1)).unwrap();
    let mut admin = db.admin(&raw(1)).unwrap();
    refused!(medium, admin.add(&spec(b"x"), &raw(5)), KeyError::ClockBehind { .. });
    refused!(medium, admin.replace(SlotId(2), &raw(5)), KeyError::ClockBehind { .. });
    let date = admin.set_not_after(SlotId(2), Some(NOW + 9));
    refused!(medium, date, KeyError::ClockBehind { .. });
    // What writes no date goes on: a wrong clock must not keep anybody from revoking.
    admin.rewrap_root_key().unwrap();
    drop(admin);
    db.close().unwrap();
}

#[test]
fn hints_that_fit_no_slot_are_said_so() {
    let (medium, db) = made();
    db.close().unwrap();
    let hinted = |hint: SlotHint, key: u8| {
        let copy = MemoryMedium::from_bytes(medium.to_bytes());
        at(NOW).hint(hint).open_on(copy, &raw(key)).map(drop)
    };
    assert!(hinted(SlotHint::label("laptop").unwrap(), 2).is_ok());
    assert!(hinted(SlotHint::slot(SlotId(2)), 2).is_ok());
    assert!(hinted(SlotHint::default().role(Role::Data), 2).is_ok());
    let other = hinted(SlotHint::label("phone").unwrap(), 2);
    assert!(matches!(other, Err(OpenError::WrongKey)), "{other:?}");
    for hint in [SlotHint::slot(SlotId(9)), SlotHint::slot(SlotId(2)).role(Role::Admin)] {
        let none = hinted(hint, 2);
        assert!(matches!(none, Err(OpenError::Slot(SlotRefused::NoSuchSlot))), "{none:?}");
    }
    assert!(matches!(SlotHint::label([b'x'; 33]), Err(KeyError::LabelTooLong { .. })));
}

#[test]
fn slots_change_while_a_writer_commits() {
    let disk = CrashMedium::new(5);
    let db = at(NOW).create_on(disk.clone(), &raw(1)).unwrap();
    write(&db, 0);
    let (committed, stop) = (AtomicU32::new(0), AtomicBool::new(false));
    let mut images = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                let next = committed.load(Ordering::Acquire) + 1;
                write(&db, next);
                committed.store(next, Ordering::Release);
            }
        });
        let mut admin = db.admin(&raw(1)).unwrap();
        for number in 0..60_u8 {
            let key = raw(number % 7 + 2);
            let slot = admin.add(&SlotSpec::data("guest"), &key).unwrap();
            let before = committed.load(Ordering::Acquire);
            let image = MemoryMedium::from_bytes(disk.durable_image());
            let crashed = at(NOW).open_on(image, &key).unwrap();
            assert!(read(&crashed) >= before, "a returned commit was lost");
            images += 1;
            drop(crashed);
            match number % 3 {
                0 => drop(admin.revoke_data(slot).unwrap()),
                1 => admin.remove(slot).unwrap(),
                _ => {
                    admin.rewrap_root_key().unwrap();
                    admin.remove(slot).unwrap();
                }
            }
        }
        stop.store(true, Ordering::Release);
    });
    let last = committed.into_inner();
    println!("figure: commits beside 140 header commits = {last}");
    println!("figure: images opened meanwhile = {images}");
    assert!(last > 20 && read(&db) == last);
    db.close().unwrap();
    let image = MemoryMedium::from_bytes(disk.image());
    assert_eq!(read(&at(NOW).open_on(image, &raw(1)).unwrap()), last);
}

#[test]
fn the_status_heals_and_tells() {
    let (medium, db) = made();
    db.close().unwrap();
    let mut bytes = medium.to_bytes();
    bytes[40_000] ^= 1;
    let db = at(NOW).open_on(MemoryMedium::from_bytes(bytes), &raw(1)).unwrap();
    let status = db.key_status();
    assert_eq!(status.copies, HeaderCopies::Healed);
    assert_eq!(status.epochs.len(), 1);
    assert!(status.epochs[0].sealed_pages > 0 && status.epochs[0].share == Some(1.0));
    let text = status.to_string();
    for part in ["healed at open", "slot 2: RawKey, data", "\"phone\"", "epoch 1: Active"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}
