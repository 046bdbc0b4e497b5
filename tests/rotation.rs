//! Key rotation while the database is in use: it ends, nothing names the old key, and readers, the
//! writer and long-lived read transactions see nothing of it.
#![cfg(feature = "testkit")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper that fails is a test")]

use std::collections::BTreeMap;

use strongroom::medium::MemoryMedium;
use strongroom::redb::{ReadableDatabase, ReadableTable, TableDefinition};
use strongroom::{Builder, Database, Epoch, RawKey, RotationState};

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
