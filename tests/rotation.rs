//! Key rotation while the database is in use: it ends, nothing names the old key, and readers, the
//! writer and long-lived read transactions see nothing of it.
#![cfg(feature = "testkit")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a helper that fails is a test that fails, and sizes are small"
)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use strongroom::medium::MemoryMedium;
use strongroom::redb::{ReadableDatabase, ReadableTable, TableDefinition};
use strongroom::testkit::OldKey;
use strongroom::{
    Builder, Database, Due, Epoch, Error, OpenError, Policy, RawKey, RotationError, RotationState,
    SlotSpec, StoreError, Throttle,
};

const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("table");

fn key() -> RawKey {
    RawKey::new([3; 32])
}

fn filled(medium: &MemoryMedium, records: u64) -> Database {
    let db = Builder::new().create_on(medium.clone(), &key()).unwrap();
    put(&db, 0..records, 1);
    db
}

fn put(db: &Database, keys: std::ops::Range<u64>, byte: u8) {
    let txn = db.begin_write().unwrap();
    {
        let mut table = txn.open_table(TABLE).unwrap();
        for key in keys {
            table.insert(key, &*vec![byte; 900]).unwrap();
        }
    }
    txn.commit().unwrap();
}

fn content(db: &Database) -> BTreeMap<u64, Vec<u8>> {
    let read = db.begin_read().unwrap();
    let table = read.open_table(TABLE).unwrap();
    let rows = table.iter().unwrap().map(Result::unwrap);
    rows.map(|(key, value)| (key.value(), value.value().to_vec())).collect()
}

#[test]
fn a_rotation_ends_and_the_content_stays() {
    let medium = MemoryMedium::new();
    let db = filled(&medium, 3000);
    let before = content(&db);
    let rotation = db.rotate().unwrap();
    let completion = rotation.wait().unwrap();
    assert_eq!((completion.from, completion.to), (Epoch(1), Epoch(2)));
    assert!(completion.pages > 500 && completion.lost == 0, "{completion:?}");
    assert_eq!(rotation.progress().state, RotationState::Finished);
    assert_eq!(db.active_epoch(), Epoch(2));
    assert!(db.rotation().is_none());
    assert_eq!(content(&db), before);
    db.close().unwrap();
    let db = Builder::new().cache_size(0).open_on(medium.clone(), &key()).unwrap();
    assert!(db.recovery().clean && db.rotation().is_none());
    assert_eq!(content(&db), before);
    put(&db, 10..20, 2);
    assert_eq!(db.rotate().unwrap().wait().unwrap().to, Epoch(3));
    let changed = content(&db);
    db.close().unwrap();
    let mut db = Builder::new().cache_size(0).open_on(medium, &key()).unwrap();
    assert_eq!(content(&db), changed);
    assert!(db.check_integrity().unwrap());
}

/// A file with a past: pages overwritten, freed, cut off and grown again, and every state of it.
fn with_a_past(medium: &MemoryMedium) -> (Database, Vec<Vec<u8>>) {
    let mut db = filled(medium, 1200);
    let mut images = vec![medium.to_bytes()];
    for round in 0..4 {
        put(&db, round * 300..round * 300 + 200, 9);
        let txn = db.begin_write().unwrap();
        txn.open_table(TABLE).unwrap().retain(|key, _| key % 5 != round).unwrap();
        txn.commit().unwrap();
        images.push(medium.to_bytes());
        db.compact().unwrap();
        images.push(medium.to_bytes());
        put(&db, 5000..5400 + 100 * round, 7);
        images.push(medium.to_bytes());
    }
    (db, images)
}

#[test]
fn the_old_key_opens_nothing_of_the_file_once_a_rotation_has_ended() {
    let medium = MemoryMedium::new();
    let (db, mut images) = with_a_past(&medium);
    let old = OldKey::keep(&db);
    let before = old.opens(&medium.to_bytes(), &images).len();
    let mut steps = db.rotate_by_steps().unwrap();
    let mut number = 0;
    let completion = loop {
        if let Some(completion) = steps.step().unwrap() {
            break completion;
        }
        images.push(medium.to_bytes());
        number += 1;
        if number < 4 {
            put(&db, 100 * number..100 * number + 50, 8);
        }
    };
    let after = old.opens(&medium.to_bytes(), &images);
    println!("figure: pages and records that the old key opened before the rotation = {before}");
    println!("figure: pages and records that it opens afterwards = {}", after.len());
    println!("figure: pages that the rotation sealed anew = {}", completion.pages);
    assert!(before > 300, "{before}");
    assert!(after.is_empty(), "{after:?}");
    let kept = content(&db);
    db.close().unwrap();
    assert!(old.opens(&medium.to_bytes(), &images).is_empty());
    let db = Builder::new().open_on(medium, &key()).unwrap();
    assert_eq!(content(&db), kept);
}

#[test]
fn what_was_there_before_a_rotation_is_refused_when_it_is_put_back() {
    let medium = MemoryMedium::new();
    let db = filled(&medium, 300);
    let expected = content(&db);
    db.close().unwrap();
    let before = medium.to_bytes();
    let db = Builder::new().open_on(medium.clone(), &key()).unwrap();
    db.rotate().unwrap().wait().unwrap();
    db.close().unwrap();
    let after = medium.to_bytes();
    let page =
        |bytes: &[u8], page: usize| bytes.get(page * 4096..(page + 1) * 4096).map(<[u8]>::to_vec);
    let (mut refused, mut current) = (0, 0);
    let headers = [(0, 8), (8, 8), (0, 16)];
    let pages = (16..after.len() / 4096).map(|page| (page, 1));
    for (first, count) in headers.into_iter().chain(pages) {
        let mut replayed = after.clone();
        for number in first..first + count {
            let Some(old) = page(&before, number) else { continue };
            replayed[number * 4096..(number + 1) * 4096].copy_from_slice(&old);
        }
        if replayed == after {
            continue;
        }
        let medium = MemoryMedium::from_bytes(replayed);
        let found = Builder::new().cache_size(0).open_on(medium, &key()).map_err(Error::from);
        match found.and_then(|db| read_all(&db)) {
            Ok(found) => {
                assert_eq!(found, expected, "page {first}: what it reads is the current state");
                current += 1;
            }
            Err(_) => refused += 1,
        }
    }
    println!("figure: parts of the file before the rotation put back, refused = {refused}");
    println!("figure: the same, healed or never read = {current}");
    assert!(refused > 50);
}

fn read_all(db: &Database) -> Result<BTreeMap<u64, Vec<u8>>, Error> {
    let mut found = BTreeMap::new();
    for row in db.begin_read()?.open_table(TABLE)?.iter()? {
        let (key, value) = row?;
        found.insert(key.value(), value.value().to_vec());
    }
    Ok(found)
}

#[test]
fn a_rotation_is_paused_resumed_cancelled_and_goes_on_after_a_reopen() {
    let medium = MemoryMedium::new();
    let db = filled(&medium, 4000);
    let before = content(&db);
    let rotation = db.rotate().unwrap();
    rotation.pause();
    assert_eq!(db.rotate().unwrap().progress().to, Epoch(2), "the one under way");
    while rotation.progress().state == RotationState::Running {
        std::thread::yield_now();
    }
    if rotation.progress().state == RotationState::Paused {
        let paused = rotation.progress();
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(rotation.progress().pages_done, paused.pages_done);
        rotation.cancel();
        assert!(matches!(rotation.wait(), Err(RotationError::Cancelled)));
        assert!(rotation.wait().unwrap_err().to_string().contains("`rotate` goes on"));
    }
    assert_eq!(content(&db), before);
    db.close().unwrap();
    let by_hand = Builder::new().resume_rotation(false).open_on(medium.clone(), &key()).unwrap();
    assert!(by_hand.rotation().is_none());
    assert_eq!((content(&by_hand), by_hand.active_epoch()), (before.clone(), Epoch(2)));
    by_hand.close().unwrap();
    let db = Builder::new().open_on(medium, &key()).unwrap();
    if let Some(rotation) = db.rotation() {
        assert_eq!(rotation.wait().unwrap().to, Epoch(2), "no third key was made");
    }
    assert_eq!((content(&db), db.active_epoch()), (before, Epoch(2)));
    db.close().unwrap();
}

#[test]
fn a_close_in_a_rotation_pauses_it_and_leaves_a_clean_file() {
    let medium = MemoryMedium::new();
    let db = filled(&medium, 4000);
    let before = content(&db);
    let rotation = db.rotate().unwrap();
    rotation.throttle(Throttle::BytesPerSecond(1 << 20));
    db.close().unwrap();
    assert!(matches!(rotation.wait(), Err(RotationError::Closed)));
    assert_eq!(rotation.progress().state, RotationState::Closed);
    let db = Builder::new().resume_rotation(false).open_on(medium.clone(), &key()).unwrap();
    assert!(db.recovery().clean);
    assert_eq!(content(&db), before);
    db.rotate().unwrap().wait().unwrap();
    assert_eq!(content(&db), before);
}

#[test]
fn ten_rotations_in_a_row_under_load() {
    let medium = MemoryMedium::new();
    let mut builder = Builder::new();
    builder.cache_size(256 << 10).rotation_batch(126);
    let db = builder.create_on(medium.clone(), &key()).unwrap();
    put(&db, 0..1500, 1);
    let stop = AtomicBool::new(false);
    let (reads, commits) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let old_read = db.begin_read().unwrap();
        for reader in 0..4_u64 {
            let (db, stop, reads) = (&db, &stop, &reads);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let read = db.begin_read().unwrap();
                    let table = read.open_table(TABLE).unwrap();
                    for key in (reader..1500).step_by(7) {
                        let value = table.get(key).unwrap().unwrap();
                        let bytes = value.value();
                        assert!(bytes.iter().all(|byte| *byte == bytes[0]), "a torn read");
                        reads.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let (writer_db, stop_writing, commits) = (&db, &stop, &commits);
        scope.spawn(move || {
            let mut round = 0_u64;
            while !stop_writing.load(Ordering::Relaxed) {
                round += 1;
                let first = round * 37 % 1400;
                put(writer_db, first..first + 20, (round % 250) as u8 + 1);
                std::thread::sleep(Duration::from_millis(2));
                if round.is_multiple_of(40) {
                    put(writer_db, 10_000 + round..10_200 + round, 5);
                }
                commits.fetch_add(1, Ordering::Relaxed);
            }
        });
        for number in 2..12 {
            let rotation = db.rotate().unwrap();
            rotation.throttle(Throttle::Share(0.5));
            assert_eq!(rotation.wait().unwrap().to, Epoch(number));
        }
        let table = old_read.open_table(TABLE).unwrap();
        assert!(table.iter().unwrap().all(|row| row.unwrap().1.value() == [1; 900]));
        stop.store(true, Ordering::Relaxed);
    });
    println!("figure: reads during ten rotations = {}", reads.into_inner());
    println!("figure: commits during ten rotations = {}", commits.into_inner());
    let kept = content(&db);
    db.close().unwrap();
    let mut db = Builder::new().open_on(medium, &key()).unwrap();
    assert_eq!(content(&db), kept);
    assert!(db.check_integrity().unwrap());
}

#[test]
fn a_used_up_key_still_reads_and_is_rotated() {
    let medium = MemoryMedium::new();
    let db = filled(&medium, 200);
    let mut admin = db.admin(&key()).unwrap();
    let mut limits = admin.policy();
    // The least that a policy may say.
    (limits.sealed_pages_soft, limits.sealed_pages_hard) = (4096, 4096);
    admin.set_policy(&limits).unwrap();
    drop(admin);
    let refused = (0..100).find_map(|round| {
        let txn = db.begin_write().unwrap();
        for key in 0..200 {
            let row = txn.open_table(TABLE).unwrap().insert(key, &*vec![round; 900]).map(drop);
            if let Err(error) = row {
                return Some(Error::from(error));
            }
        }
        txn.commit().err().map(Error::from)
    });
    let refused = refused.expect("the limit is reached");
    assert!(matches!(refused, Error::Store(StoreError::KeyUsedUp)), "{refused:?}");
    drop(db);
    let db = Builder::new().open_on(medium, &key()).unwrap();
    assert!(db.key_status().due.contains(&Due::RotationByUse(Epoch(1))));
    assert_eq!(content(&db).len(), 200, "reading works");
    db.rotate().unwrap().wait().unwrap();
    put(&db, 0..50, 77);
    assert_eq!(content(&db)[&0], [77; 900]);
    let status = db.key_status();
    assert_eq!(status.rotations.len(), 1);
    assert_eq!(status.rotations[0].to, Epoch(2));
}

#[test]
fn a_policy_that_is_due_rotates_by_itself_and_shares_are_told() {
    let medium = MemoryMedium::new();
    let db = filled(&medium, 300);
    let mut policy = Policy::default();
    policy.sealed_pages_soft = 4096;
    (0..20).for_each(|round| put(&db, 0..900, round));
    db.admin(&key()).unwrap().set_policy(&policy).unwrap();
    db.close().unwrap();
    let db = Builder::new().auto_rotate(true).open_on(medium.clone(), &key()).unwrap();
    let begun = std::time::Instant::now();
    while db.key_status().rotations.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", db.key_status());
        std::thread::sleep(Duration::from_millis(10));
    }
    db.close().unwrap();
    let db = Builder::new().resume_rotation(false).open_on(medium, &key()).unwrap();
    let mut steps = db.rotate_by_steps().unwrap();
    steps.step().unwrap();
    put(&db, 0..100, 5);
    let shares: Vec<_> = db.key_status().epochs.iter().map(|epoch| epoch.share.unwrap()).collect();
    assert_eq!(shares.len(), 2);
    assert!(shares.iter().all(|share| *share > 0.01), "{shares:?}");
    assert!((shares[0] + shares[1] - 1.0).abs() < 1e-9, "{shares:?}");
}

#[test]
fn after_a_full_revocation_the_old_holder_opens_nothing_that_is_written_later() {
    let medium = MemoryMedium::new();
    let db = filled(&medium, 400);
    let theirs = RawKey::new([8; 32]);
    let slot = db.admin(&key()).unwrap().add(&SlotSpec::data("theirs"), &theirs).unwrap();
    db.close().unwrap();
    // They open it, keep the key of a rotation that is under way, and every image.
    let holder = Builder::new().resume_rotation(false).open_on(medium.clone(), &theirs).unwrap();
    holder.rotate_by_steps().unwrap().step().unwrap();
    let kept = OldKey::keep(&holder);
    let images = vec![medium.to_bytes()];
    holder.close().unwrap();
    assert!(!kept.opens(&images[0], &images).is_empty());

    let db = Builder::new().open_on(medium.clone(), &key()).unwrap();
    let revoked = db.admin(&key()).unwrap().revoke_data(slot).unwrap();
    assert!(revoked.needs_rotation);
    let completion = db.rotate_anew().unwrap().wait().unwrap();
    assert_eq!(completion.to, Epoch(3), "not the key that they know");
    put(&db, 0..100, 9);
    let expected = content(&db);
    db.close().unwrap();
    assert!(kept.opens(&medium.to_bytes(), &images).is_empty());
    for copy in 0..2 {
        let mut image = medium.to_bytes();
        image[(1 - copy) * 8 * 4096..(2 - copy) * 8 * 4096].fill(0);
        let refused = Builder::new().open_on(MemoryMedium::from_bytes(image), &theirs);
        assert!(matches!(refused.err().unwrap(), OpenError::WrongKey));
    }
    let db = Builder::new().open_on(medium, &key()).unwrap();
    assert_eq!(content(&db), expected);
}
