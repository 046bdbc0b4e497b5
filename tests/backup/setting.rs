//! What the tests of backups work with: a database with a model beside it, backups in memory, and
//! restores into a simulated directory.

use std::collections::BTreeMap;

use strongroom::backup::{self, Chain, Options, Parent, Report, RestoreOptions};
use strongroom::medium::{Directory, MemoryMedium};
use strongroom::redb::{ReadableDatabase, ReadableTable, TableDefinition};
use strongroom::testkit::{CrashDirectory, SeededRandom};
use strongroom::{BackupError, Builder, Database, RawKey};

pub const ROWS: TableDefinition<u64, &[u8]> = TableDefinition::new("rows");

pub type Content = BTreeMap<u64, Vec<u8>>;

pub fn key() -> RawKey {
    RawKey::new([7; 32])
}

pub fn asked(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

pub fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.cache_size(256 << 10);
    builder
}

pub fn new_db() -> (MemoryMedium, Database) {
    let medium = MemoryMedium::new();
    let db = builder().create_on(medium.clone(), &key()).unwrap();
    let txn = db.begin_write().unwrap();
    txn.open_table(ROWS).unwrap();
    txn.commit().unwrap();
    (medium, db)
}

/// A transaction of some random changes, to the model as well.
pub fn change(db: &Database, model: &mut Content, random: &mut SeededRandom, rows: u64) {
    let txn = db.begin_write().unwrap();
    {
        let mut table = txn.open_table(ROWS).unwrap();
        for _ in 0..rows {
            let row = random.below(400);
            if random.chance(0.3) {
                table.remove(row).unwrap();
                model.remove(&row);
            } else {
                let byte = u8::try_from(random.below(256)).unwrap();
                let value = vec![byte; usize::try_from(random.between(1, 6000)).unwrap()];
                table.insert(row, &value[..]).unwrap();
                model.insert(row, value);
            }
        }
    }
    txn.commit().unwrap();
}

pub fn content(db: &Database) -> Content {
    let table = db.begin_read().unwrap().open_table(ROWS).unwrap();
    let rows = table.iter().unwrap().map(|row| row.unwrap());
    rows.map(|(key, value)| (key.value(), value.value().to_vec())).collect()
}

pub fn full(db: &Database) -> (Vec<u8>, Report) {
    let mut bytes = Vec::new();
    let report = backup::snapshot(db, &mut bytes, &Options::default()).unwrap();
    assert_eq!(bytes.len() as u64, report.bytes);
    (bytes, report)
}

pub fn more(db: &Database, parent: &Parent) -> (Vec<u8>, Report) {
    let mut bytes = Vec::new();
    let report = backup::incremental(db, parent, &mut bytes, &Options::default()).unwrap();
    (bytes, report)
}

pub fn restored(chain: &[Vec<u8>]) -> Result<Vec<u8>, BackupError> {
    restored_with(chain, &key(), &RestoreOptions { builder: builder(), ..Default::default() })
}

pub fn restored_with(
    chain: &[Vec<u8>],
    key: &RawKey,
    options: &RestoreOptions<'_>,
) -> Result<Vec<u8>, BackupError> {
    let directory = CrashDirectory::new();
    let chain = Chain::of_bytes(chain.iter().cloned());
    let result = backup::restore_within(chain, &directory, "copy", key, options);
    let names = directory.names().unwrap();
    match result {
        Ok(_) => {
            assert_eq!(names, ["copy"]);
            Ok(directory.image("copy").unwrap())
        }
        Err(error) => {
            assert!(names.is_empty(), "{error} left {names:?}");
            Err(error)
        }
    }
}

/// Opens, closed cleanly and nothing to repair; everything in it authenticates and is in order.
pub fn check(image: Vec<u8>, key: &RawKey, expected: &Content) {
    let medium = MemoryMedium::from_bytes(image);
    let mut db = builder().open_on(medium, key).unwrap();
    let recovery = db.recovery();
    assert!(recovery.clean && !recovery.scanned && recovery.lost_pages == 0, "{recovery:?}");
    assert!(db.check_integrity().unwrap());
    assert!(content(&db) == *expected, "another content");
    // And it can be worked on.
    let mut model = expected.clone();
    change(&db, &mut model, &mut SeededRandom::new(1), 20);
    assert!(content(&db) == model);
    db.close().unwrap();
}

/// Each commit writes its number into every row, so that a mix of two commits shows.
pub fn write_number(db: &Database, number: u64, rows: u64, size: usize) {
    let txn = db.begin_write().unwrap();
    {
        let mut table = txn.open_table(ROWS).unwrap();
        let value = number.to_le_bytes().repeat(size / 8);
        for row in 0..rows {
            table.insert(row, &value[..]).unwrap();
        }
        // Makes redb's own bookkeeping move.
        let mut other = txn.open_table(TableDefinition::<u64, u64>::new("other")).unwrap();
        for row in 0..number % 50 {
            other.insert(row * number, number).unwrap();
        }
        other.retain(|key, _| key % 3 == number % 3).unwrap();
    }
    txn.commit().unwrap();
}

pub fn number_in(db: &Database, rows: u64) -> u64 {
    let found = content(db);
    assert_eq!(found.len() as u64, rows);
    let numbers: Vec<u64> = found
        .values()
        .flat_map(|value| value.chunks(8).map(|n| u64::from_le_bytes(n.try_into().unwrap())))
        .collect();
    assert!(numbers.iter().all(|number| *number == numbers[0]), "a mix of commits");
    numbers[0]
}
