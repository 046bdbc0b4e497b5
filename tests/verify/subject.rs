//! The database that is verified: a few groups, small and large rows, free pages, a history.

use std::collections::BTreeMap;

use strongroom::medium::{Medium, MemoryMedium};
use strongroom::redb::{self, ReadableDatabase, ReadableTable, TableDefinition};
use strongroom::testkit::{FileHistory, Part, RecordingMedium};
use strongroom::{Builder, Error, RawKey, Report, VerifyOptions, verify_medium};

pub const NOTES: TableDefinition<u32, &[u8]> = TableDefinition::new("notes");
pub const PAGE: usize = 4096;

pub type Content = BTreeMap<u32, Vec<u8>>;

pub fn key() -> RawKey {
    RawKey::new([0x56; 32])
}

pub fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.cache_size(256 * 1024);
    builder
}

pub fn put(db: &redb::Database, rows: impl IntoIterator<Item = u32>, len: usize) {
    let txn = db.begin_write().unwrap();
    {
        let mut table = txn.open_table(NOTES).unwrap();
        for row in rows {
            table.insert(row, &*vec![row as u8; len]).unwrap();
        }
    }
    txn.commit().unwrap();
}

pub fn remove(db: &redb::Database, rows: impl IntoIterator<Item = u32>) {
    let txn = db.begin_write().unwrap();
    {
        let mut table = txn.open_table(NOTES).unwrap();
        for row in rows {
            table.remove(row).unwrap();
        }
    }
    txn.commit().unwrap();
}

/// Some commits: small rows, rows of several pages, and rows that go again.
pub fn fill(db: &redb::Database) {
    put(db, 0..200, 300);
    put(db, 1000..1020, 40_000);
    put(db, 200..210, 3000);
    remove(db, 1000..1010);
    put(db, 5..8, 200);
}

pub fn content(db: &impl ReadableDatabase) -> Result<Content, Error> {
    let mut content = Content::new();
    let table = match db.begin_read()?.open_table(NOTES) {
        // The state right after creation, put back in whole.
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(content),
        table => table?,
    };
    for entry in table.iter()?.take(10_000) {
        let (key, value) = entry?;
        content.insert(key.value(), value.value().to_vec());
    }
    Ok(content)
}

/// The file after each sync; the last state is the closed one if asked for.
pub fn history(closed: bool) -> FileHistory {
    let disk = RecordingMedium::new(MemoryMedium::new());
    let db = builder().create_on(disk.clone(), &key()).unwrap();
    fill(&db);
    if closed {
        db.close().unwrap();
    } else {
        let image = disk.history();
        std::mem::forget(db); // as a process that was killed leaves it
        return image;
    }
    disk.history()
}

pub fn closed_file() -> Vec<u8> {
    let history = history(true);
    history.image(history.last())
}

pub fn verify_bytes(file: &[u8]) -> Report {
    verify_on(MemoryMedium::from_bytes(file.to_vec()))
}

pub fn verify_on(medium: impl Medium) -> Report {
    verify_medium(medium, &key(), &VerifyOptions::new().threads(2)).unwrap()
}

/// Whether the database opens for writing, redb finds it whole, and all of it can be read.
pub fn reads_whole(file: &[u8]) -> Result<Content, Error> {
    let mut db = builder().open_on(MemoryMedium::from_bytes(file.to_vec()), &key())?;
    let found = content(&*db)?;
    if !db.check_integrity()? {
        return Err(std::io::Error::other("redb repaired something").into());
    }
    Ok(found)
}

pub fn flip(file: &mut [u8], part: Part, within: u64) {
    file[(part.bytes().start + within) as usize] ^= 0x10;
}
