//! The database that gets damaged: its tables, what each commit of it held, where its pages lie,
//! and a medium that refuses to be written to.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use strongroom::medium::{CacheDrop, LockKind, Medium, MemoryMedium};
use strongroom::redb::{
    self, MultimapTableDefinition, ReadableDatabase, ReadableMultimapTable, ReadableTable,
    StorageBackend, TableDefinition, TableError, Value,
};
use strongroom::testkit::SeededRandom;
use strongroom::{Builder, Database, EncryptedBackend, RawKey};

pub const PAGE: usize = 4096;
pub const NOTES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("notes");
pub const NUMBERS: TableDefinition<'_, u64, u64> = TableDefinition::new("numbers");
pub const PLACES: TableDefinition<'_, (u32, &str), Option<u16>> = TableDefinition::new("places");
pub const TAGS: MultimapTableDefinition<'_, u64, &str> = MultimapTableDefinition::new("tags");

pub const TABLES: [&str; 4] = ["notes", "numbers", "places", "tags"];

/// Table, key, value.
pub type Row = (&'static str, Vec<u8>, Vec<u8>);
pub type Rows = BTreeSet<Row>;

pub fn key() -> RawKey {
    RawKey::new([7; 32])
}

/// A database closed cleanly, and what it held after each commit, the last one last.
pub struct Room {
    pub image: Vec<u8>,
    /// The file as it was before it was closed.
    pub unclean: Vec<u8>,
    pub states: Vec<Rows>,
}

impl Room {
    /// A database of about `rows` rows, made in five commits that each change some of the rows of
    /// the ones before.
    pub fn of(rows: u64) -> Self {
        let medium = MemoryMedium::new();
        let db = Builder::new().create_on(medium.clone(), &key()).unwrap();
        let mut states = vec![Rows::new()];
        for commit in 0..5 {
            write_some(&db, rows, commit);
            states.push(all_rows(&db));
        }
        let unclean = medium.to_bytes();
        db.close().unwrap();
        Self { image: medium.to_bytes(), unclean, states }
    }

    pub fn last(&self) -> &Rows {
        self.states.last().unwrap()
    }

    /// Whether these rows were, table by table, in one commit; where `whole`, all in one and the same.
    pub fn has_held(&self, rows: &Rows, whole: bool) -> bool {
        let held = |rows: &Rows| self.states.iter().any(|state| rows.is_subset(state));
        let table = |name| rows.iter().filter(|row| row.0 == name).cloned().collect::<Rows>();
        let tables = TABLES.map(table);
        assert_eq!(tables.iter().map(Rows::len).sum::<usize>(), rows.len());
        if whole { held(rows) } else { tables.iter().all(held) }
    }

    /// Pages of the logical length, page 0 included.
    pub fn pages(&self) -> u64 {
        (plaintext(&self.image).len() / PAGE) as u64
    }

    /// The file with a byte of each of these pages changed.
    pub fn damaged(&self, pages: &BTreeSet<u64>) -> Vec<u8> {
        let mut image = self.image.clone();
        pages.iter().for_each(|page| image[offset_of(*page) + 1234] ^= 0x10);
        image
    }

    /// So many different pages but page 0.
    pub fn draw_pages(&self, random: &mut SeededRandom, count: usize) -> BTreeSet<u64> {
        let pages = self.pages();
        let mut drawn = BTreeSet::new();
        while drawn.len() < count {
            drawn.insert(random.between(1, pages - 1));
        }
        drawn
    }
}

fn write_some(db: &Database, rows: u64, commit: u64) {
    let write = db.begin_write().unwrap();
    {
        let mut notes = write.open_table(NOTES).unwrap();
        let mut numbers = write.open_table(NUMBERS).unwrap();
        let mut places = write.open_table(PLACES).unwrap();
        let mut tags = write.open_multimap_table(TAGS).unwrap();
        for row in (0..rows).filter(|row| row % 5 == commit || row % 97 == commit) {
            let name = format!("note {:05}", row * 7919 % 100_000);
            let len = if row % 211 == 0 { 10_000 } else { row as usize % 380 };
            let value = vec![(row + commit) as u8; len];
            notes.insert(name.as_str(), value.as_slice()).unwrap();
            numbers.insert(row * 3, row + (commit << 32)).unwrap();
            let at = (row % 4 > 0).then_some(row as u16);
            places.insert((row as u32 % 50, name.as_str()), at).unwrap();
            tags.insert(row / 3, name.as_str()).unwrap();
        }
    }
    write.commit().unwrap();
}

/// Where a page's ciphertext lies in the file (docs/format.md, "Map of the file").
pub fn offset_of(page: u64) -> usize {
    (20 + 128 * (page / 126) + 2 + page % 126) as usize * PAGE
}

/// Where a copy of a group's tag page lies.
pub fn tag_page_at(group: u64, copy: u64) -> usize {
    (20 + 128 * group + copy) as usize * PAGE
}

/// Where a root record lies.
pub fn root_at(copy: usize) -> usize {
    (16 + copy) * PAGE
}

/// Where a header copy starts.
pub fn header_at(copy: usize) -> usize {
    copy * 8 * PAGE
}

/// What redb sees of a file, byte for byte, read by the store and not by a salvage.
pub fn plaintext(image: &[u8]) -> Vec<u8> {
    let medium = MemoryMedium::from_bytes(image.to_vec());
    let backend = EncryptedBackend::open_on(medium, &key()).unwrap();
    let mut bytes = vec![0; backend.len().unwrap() as usize];
    backend.read(0, &mut bytes).unwrap();
    bytes
}

fn table<T>(opened: Result<T, TableError>) -> Option<T> {
    match opened {
        Err(TableError::TableDoesNotExist(_)) => None,
        opened => Some(opened.unwrap()),
    }
}

/// Everything that a database holds, read through redb.
pub fn all_rows(db: &redb::Database) -> Rows {
    let (read, mut rows) = (db.begin_read().unwrap(), Rows::new());
    for row in table(read.open_table(NOTES)).iter().flat_map(|table| table.iter().unwrap()) {
        let (key, value) = row.unwrap();
        rows.insert(("notes", key.value().into(), value.value().into()));
    }
    for row in table(read.open_table(NUMBERS)).iter().flat_map(|table| table.iter().unwrap()) {
        let (key, value) = row.unwrap();
        let (key, value) = (key.value().to_le_bytes(), value.value().to_le_bytes());
        rows.insert(("numbers", key.into(), value.into()));
    }
    for row in table(read.open_table(PLACES)).iter().flat_map(|table| table.iter().unwrap()) {
        let (key, value) = row.unwrap();
        let key = <(u32, &str)>::as_bytes(&key.value()).clone();
        rows.insert(("places", key, Option::<u16>::as_bytes(&value.value()).clone()));
    }
    let tags = table(read.open_multimap_table(TAGS));
    for row in tags.iter().flat_map(|table| table.iter().unwrap()) {
        let (key, values) = row.unwrap();
        for value in values {
            let value = value.unwrap().value().as_bytes().to_vec();
            rows.insert(("tags", key.value().to_le_bytes().into(), value));
        }
    }
    rows
}

/// A medium to read from; a write, a sync or a change of length is counted and refused.
#[derive(Clone, Debug)]
pub struct NoWrites {
    bytes: MemoryMedium,
    pub refused: Arc<AtomicU64>,
}

impl NoWrites {
    pub fn over(image: Vec<u8>) -> Self {
        Self { bytes: MemoryMedium::from_bytes(image), refused: Arc::default() }
    }

    fn refuse<T>(&self) -> io::Result<T> {
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

impl Medium for NoWrites {
    fn len(&self) -> io::Result<u64> {
        self.bytes.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.bytes.read_at(offset, out)
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        self.refuse()
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        self.refuse()
    }

    fn sync(&self) -> io::Result<()> {
        self.refuse()
    }

    fn try_lock(&self, kind: LockKind) -> io::Result<bool> {
        assert_eq!(kind, LockKind::Shared, "a salvage reads beside other readers");
        self.bytes.try_lock(kind)
    }

    fn unlock(&self) -> io::Result<()> {
        self.bytes.unlock()
    }

    fn drop_cache(&self, offset: u64, len: u64) -> io::Result<CacheDrop> {
        self.bytes.drop_cache(offset, len)
    }
}
