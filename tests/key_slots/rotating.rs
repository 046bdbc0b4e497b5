//! A new root key, or a revocation, in the middle of a key rotation: the header then holds two data
//! keys, one of them retired, and pages of the file name both.

use std::time::{Duration, Instant};

use strongroom::redb::ReadableTable;
use strongroom::{Epoch, EpochInfo, EpochState};

use super::*;

const ROWS: TableDefinition<u64, &[u8]> = TableDefinition::new("rows");

/// The database of [`made`] with some hundred pages more, and a rotation begun and half done.
fn rotating() -> (MemoryMedium, Database) {
    let (medium, db) = made();
    let txn = db.begin_write().unwrap();
    for key in 0..600 {
        txn.open_table(ROWS).unwrap().insert(key, [5; 900].as_slice()).unwrap();
    }
    txn.commit().unwrap();
    db.close().unwrap();
    let db = half().open_on(medium.clone(), &raw(1)).unwrap();
    let mut steps = db.rotate_by_steps().unwrap();
    assert!(steps.step().unwrap().is_none(), "one batch of several");
    assert_eq!(db.active_epoch(), Epoch(2));
    (medium, db)
}

/// Leaves a rotation that is under way alone.
fn half() -> Builder {
    let mut builder = at(NOW);
    builder.rotation_batch(126).resume_rotation(false);
    builder
}

fn epochs(db: &Database) -> Vec<EpochInfo> {
    db.key_status().epochs
}

fn reads_all(db: &Database) -> bool {
    let transaction = db.begin_read().unwrap();
    let rows = transaction.open_table(ROWS).unwrap();
    let whole = rows.iter().unwrap().filter(|row| row.as_ref().unwrap().1.value() == [5; 900]);
    read(db) == 7 && whole.count() == 600
}

/// Reopens each header copy alone with each credential that still opens, then ends the rotation.
fn ends_as_it_should(medium: &MemoryMedium, before: &[EpochInfo], openers: &[u8]) {
    let states: Vec<_> = before.iter().map(|epoch| (epoch.epoch, epoch.state)).collect();
    assert_eq!(states, [(Epoch(1), EpochState::Retired), (Epoch(2), EpochState::Active)]);
    assert!(before[0].sealed_pages > 0, "a bound that the rewrap has to keep");
    for copy in each_copy_alone(medium) {
        for byte in 1..=6 {
            let copy = MemoryMedium::from_bytes(copy.to_bytes());
            match half().open_on(copy, &raw(byte)) {
                Ok(db) => {
                    assert!(openers.contains(&byte), "credential {byte} opens");
                    assert!(reads_all(&db));
                    // The share goes down as the rotation goes on; the header has no part in it.
                    let mut retired = epochs(&db)[0].clone();
                    retired.share = before[0].share;
                    assert_eq!(retired, before[0], "the retired key's record");
                    assert_eq!(epochs(&db)[1].created, before[1].created);
                }
                Err(error) => {
                    assert!(matches!(error, OpenError::WrongKey), "{error}");
                    assert!(!openers.contains(&byte), "credential {byte} opens nothing");
                }
            }
        }
    }
    let last = *openers.last().unwrap();
    let db = half().open_on(medium.clone(), &raw(last)).unwrap();
    let mut steps = db.rotate_by_steps().unwrap();
    let completion = loop {
        if let Some(completion) = steps.step().unwrap() {
            break completion;
        }
    };
    assert_eq!((completion.from, completion.to, completion.lost), (Epoch(1), Epoch(2), 0));
    assert_eq!(epochs(&db).iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(), [Epoch(2)]);
    db.close().unwrap();
    for byte in openers {
        let mut db = opens(medium, &raw(*byte)).unwrap();
        assert!(reads_all(&db) && db.check_integrity().unwrap());
    }
}

#[test]
fn a_new_root_key_wraps_retired_data_keys_too() {
    let (medium, db) = rotating();
    let before = epochs(&db);
    db.admin(&raw(1)).unwrap().rewrap_root_key().unwrap();
    assert!(reads_all(&db));
    db.close().unwrap();
    ends_as_it_should(&medium, &before, &[1, 2, 3, 4]);
}

#[test]
fn a_rotation_goes_on_beside_a_new_root_key() {
    // In one session: the steps hold on to nothing of the old root key.
    let (medium, db) = rotating();
    let mut steps = db.rotate_by_steps().unwrap();
    let mut number = 0;
    while steps.step().unwrap().is_none() {
        db.admin(&raw(1)).unwrap().rewrap_root_key().unwrap();
        number += 1;
    }
    assert!(number > 4, "{number}");
    assert_eq!(epochs(&db).len(), 1);
    db.close().unwrap();
    assert!(reads_all(&opens(&medium, &raw(2)).unwrap()));
}

#[test]
fn revocations_in_a_rotation_leave_it_to_be_ended_by_the_others() {
    let (medium, db) = rotating();
    let before = epochs(&db);
    let revoked = db.admin(&raw(1)).unwrap().revoke_data(SlotId(2)).unwrap();
    assert!(revoked.needs_rotation);
    db.close().unwrap();
    ends_as_it_should(&medium, &before, &[1, 3, 4]);

    let (medium, db) = rotating();
    let before = epochs(&db);
    let keep: [(SlotId, &dyn Credential); 2] = [(SlotId(1), &raw(1)), (SlotId(3), &raw(3))];
    let revoked = db.admin(&raw(1)).unwrap().revoke_admin(SlotId(4), &keep).unwrap();
    assert_eq!(revoked.dropped.len(), 1, "the laptop, whose credential nobody gave");
    db.close().unwrap();
    ends_as_it_should(&medium, &before, &[1, 3]);
}

#[test]
fn a_rotation_begins_by_itself_at_the_age_that_the_status_reports() {
    let (medium, db) = made();
    let age = db.key_status().policy.data_key_age_s;
    db.close().unwrap();
    let opened = |now| at(now).auto_rotate(true).open_on(medium.clone(), &raw(1)).unwrap();
    let db = opened(NOW + age - 1);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!((db.active_epoch(), db.key_status().due), (Epoch(1), vec![]));
    db.close().unwrap();
    let db = opened(NOW + age);
    let begun = Instant::now();
    while epochs(&db).len() != 1 || db.active_epoch() != Epoch(2) {
        assert!(begun.elapsed() < Duration::from_secs(20), "no rotation, or one without an end");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!((epochs(&db)[0].created, db.key_status().due), (NOW + age, vec![]));
}
