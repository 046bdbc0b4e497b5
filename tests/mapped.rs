//! A database that is read through a memory map holds what one read through the file holds: beside
//! growth, shrinking, reopening and readers on other threads.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "test code: a panic is a failed test"
)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use strongroom::redb::{ReadableDatabase, ReadableTable, TableDefinition};
use strongroom::{Builder, Database, RawKey};

const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("t");

fn key() -> RawKey {
    RawKey::new([5; 32])
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.memory_map(true).cache_size(64 << 10);
    builder
}

fn value(row: u64, round: u64) -> Vec<u8> {
    let len = if row.is_multiple_of(97) { 700_000 } else { 900 + row as usize % 2000 };
    vec![(row * 7 + round) as u8; len]
}

fn write(db: &Database, rows: impl Iterator<Item = u64>, round: u64) {
    let txn = db.begin_write().unwrap();
    {
        let mut table = txn.open_table(TABLE).unwrap();
        for row in rows {
            table.insert(row, value(row, round).as_slice()).unwrap();
        }
    }
    txn.commit().unwrap();
}

fn check(db: &impl ReadableDatabase, rounds: &BTreeMap<u64, u64>) {
    let txn = db.begin_read().unwrap();
    let table = txn.open_table(TABLE).unwrap();
    let mut rows = 0;
    for (row, found) in table.iter().unwrap().map(Result::unwrap).map(|(k, v)| (k.value(), v)) {
        assert!(found.value() == value(row, rounds[&row]), "row {row}");
        rows += 1;
    }
    assert_eq!(rows, rounds.len());
}

#[test]
fn a_mapped_database_holds_what_was_written_while_it_grows_shrinks_and_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mapped.room");
    let mut db = builder().create(&path, &key()).unwrap();
    let mut rounds = BTreeMap::new();
    for round in 0..4 {
        let rows = || (0..1500).filter(move |row| (row + round) % 3 == 0 || round == 0);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) && !rounds.is_empty() {
                        check(&*db, &rounds);
                    }
                });
            }
            // Aborted: the readers keep to what is committed.
            let txn = db.begin_write().unwrap();
            txn.open_table(TABLE).unwrap().insert(1, [9; 500_000].as_slice()).unwrap();
            txn.abort().unwrap();
            over.store(true, Ordering::Relaxed);
        });
        write(&db, rows(), round);
        rounds.extend(rows().map(|row| (row, round)));
        check(&*db, &rounds);
        let txn = db.begin_write().unwrap();
        txn.open_table(TABLE).unwrap().retain(|row, _| row % 5 != 0).unwrap();
        txn.commit().unwrap();
        rounds.retain(|row, _| row % 5 != 0);
        db.compact().unwrap();
        check(&*db, &rounds);
        db.close().unwrap();
        let reader = builder().open_read_only(&path, &key()).unwrap();
        check(&*reader, &rounds);
        reader.close().unwrap();
        db = builder().open(&path, &key()).unwrap();
    }
    db.close().unwrap();
    let db = Database::open(&path, key()).unwrap();
    check(&*db, &rounds);
}
