//! Which rows can be saved, found out without the salvage's own reader: redb reads each row of the
//! undamaged database with no cache, and the pages that it asks for are the row's path, from the
//! tree of tables down to the leaf. A row is *savable* if no page of its path is damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Bound;
use std::sync::{Arc, Mutex};

use strongroom::redb::{
    self, BackendError, Key, MultimapTableDefinition, ReadableDatabase, StorageBackend,
    TableDefinition, Value,
};

use super::room::{NOTES, NUMBERS, PAGE, PLACES, Room, Row, Rows, TAGS, plaintext};

/// A plain database in memory that notes which pages are read.
#[derive(Clone, Debug)]
struct Noting {
    bytes: Arc<Mutex<Vec<u8>>>,
    read: Arc<Mutex<BTreeSet<u64>>>,
}

impl StorageBackend for Noting {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = offset as usize;
        out.copy_from_slice(&self.bytes.lock().unwrap()[start..start + out.len()]);
        let pages = start / PAGE..(start + out.len()).div_ceil(PAGE);
        self.read.lock().unwrap().extend(pages.map(|page| page as u64));
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes.lock().unwrap().resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let start = offset as usize;
        self.bytes.lock().unwrap()[start..start + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
}

/// The path of each row of a database.
pub struct Paths(BTreeMap<Row, BTreeSet<u64>>);

impl Paths {
    pub fn of(room: &Room) -> Self {
        let backend =
            Noting { bytes: Arc::new(Mutex::new(plaintext(&room.image))), read: Arc::default() };
        let read = Arc::clone(&backend.read);
        let mut builder = redb::Builder::new();
        let db = builder.set_cache_size(0).create_with_backend(backend).unwrap();
        let mut paths = BTreeMap::new();
        for row in room.last() {
            read.lock().unwrap().clear();
            look_up(&db, row);
            let path: BTreeSet<u64> =
                read.lock().unwrap().iter().copied().filter(|page| *page > 0).collect();
            assert!(path.len() >= 3, "table tree, branch, leaf: {path:?} of {row:?}");
            paths.insert(row.clone(), path);
        }
        Self(paths)
    }

    /// The rows whose path leads through none of these pages.
    pub fn savable(&self, damaged: &BTreeSet<u64>) -> Rows {
        let sound = self.0.iter().filter(|(_, path)| path.is_disjoint(damaged));
        sound.map(|(row, _)| row.clone()).collect()
    }

    /// Pages on every row's path: the root of the tree of tables, at least.
    pub fn on_every_path(&self) -> BTreeSet<u64> {
        let mut paths = self.0.values();
        let first = paths.next().unwrap().clone();
        paths.fold(first, |common, path| common.intersection(path).copied().collect())
    }

    /// Pages on any row's path.
    pub fn pages_in_use(&self) -> usize {
        self.0.values().flatten().collect::<BTreeSet<_>>().len()
    }
}

fn look_up(db: &redb::Database, (table, key, value): &Row) {
    let read = db.begin_read().unwrap();
    match *table {
        "notes" => get(&read, NOTES, key, value),
        "numbers" => get(&read, NUMBERS, key, value),
        "places" => get(&read, PLACES, key, value),
        _ => get_multi(&read, TAGS, key, value),
    }
}

fn get<K: Key + 'static, V: Value + 'static>(
    read: &redb::ReadTransaction,
    table: TableDefinition<'_, K, V>,
    key: &[u8],
    value: &[u8],
) {
    let table = read.open_table(table).unwrap();
    let found = table.get(K::from_bytes(key)).unwrap().unwrap();
    assert_eq!(V::as_bytes(&found.value()).as_ref(), value);
}

fn get_multi<K: Key + 'static, V: Key + 'static>(
    read: &redb::ReadTransaction,
    table: MultimapTableDefinition<'_, K, V>,
    key: &[u8],
    value: &[u8],
) {
    let table = read.open_multimap_table(table).unwrap();
    let mut values = table.get(K::from_bytes(key)).unwrap();
    assert!(values.any(|found| V::as_bytes(&found.unwrap().value()).as_ref() == value));
}
