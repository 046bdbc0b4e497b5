//! A disk without room for the journal: the rotation stops with a clear error, the database works
//! on, and with room again the rotation goes on where it was.
#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use strongroom::medium::{LockKind, Medium, MemoryMedium};
use strongroom::redb::{ReadableDatabase, ReadableTable, TableDefinition};
use strongroom::{Builder, Database, Epoch, RawKey, RotationError, RotationState, StoreError};

const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("table");

/// Memory in which no byte behind the limit can be written.
#[derive(Clone, Debug)]
struct Limited {
    memory: MemoryMedium,
    limit: Arc<AtomicU64>,
}

impl Medium for Limited {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.memory.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset + data.len() as u64 > self.limit.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.memory.write_at(offset, data)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.memory.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.memory.sync()
    }

    fn try_lock(&self, kind: LockKind) -> io::Result<bool> {
        self.memory.try_lock(kind)
    }

    fn unlock(&self) -> io::Result<()> {
        self.memory.unlock()
    }
}

fn put(db: &Database, keys: std::ops::Range<u64>, byte: u8) {
    let txn = db.begin_write().unwrap();
    for key in keys {
        txn.open_table(TABLE).unwrap().insert(key, &*vec![byte; 2000]).unwrap();
    }
    txn.commit().unwrap();
}

fn sum(db: &Database) -> u64 {
    let read = db.begin_read().unwrap();
    let table = read.open_table(TABLE).unwrap();
    let first = |row: &[u8]| u64::from(row.first().copied().unwrap_or(0));
    table.iter().unwrap().map(|row| first(row.unwrap().1.value())).sum()
}

#[test]
fn a_rotation_waits_for_room_and_the_database_works_on() {
    let memory = MemoryMedium::new();
    let limit = Arc::new(AtomicU64::new(u64::MAX));
    let medium = Limited { memory: memory.clone(), limit: Arc::clone(&limit) };
    let mut builder = Builder::new();
    builder.cache_size(64 << 10);
    let key = RawKey::new([5; 32]);
    let db = builder.create_on(medium.clone(), &key).unwrap();
    put(&db, 0..800, 1);
    // No room behind what is there.
    limit.store(memory.len().unwrap(), Ordering::Relaxed);
    let rotation = db.rotate().unwrap();
    let error = rotation.wait().unwrap_err();
    let RotationError::Store(cause) = &error else { panic!("{error}") };
    assert!(matches!(&**cause, StoreError::Io(io) if io.kind() == io::ErrorKind::StorageFull));
    assert_eq!(rotation.progress().state, RotationState::Failed);
    assert!(error.to_string().contains("paused"), "{error}");

    put(&db, 100..110, 3);
    assert_eq!(sum(&db), 800 + 20);
    rotation.resume();
    assert!(rotation.wait().is_err(), "still full");
    put(&db, 110..120, 3);

    limit.store(u64::MAX, Ordering::Relaxed);
    rotation.resume();
    assert_eq!(rotation.wait().unwrap().to, Epoch(2));
    assert_eq!(sum(&db), 800 + 40);
    db.close().unwrap();
    let db = builder.open_on(medium, &key).unwrap();
    assert!(db.rotation().is_none());
    assert_eq!(sum(&db), 800 + 40);
}
