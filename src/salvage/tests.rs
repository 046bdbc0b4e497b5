//! The reader of redb's trees against redb itself, on plain databases, page by page; and what becomes
//! of panics.
#![allow(clippy::cast_possible_truncation, reason = "numbers of tests are small")]

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use redb::{
    Key, MultimapTableDefinition, ReadableDatabase, ReadableMultimapTable, ReadableTable,
    ReadableTableMetadata, StorageBackend, TableDefinition, TypeName, Value,
};

use super::definition::Definition;
use super::node::{Node, Widths};
use super::plain::PlainBackend;
use super::super_header::SuperHeader;
use super::walk::{Loss, Pages, Walk};
use super::{SalvageHow, SalvageOptions, SalvageStage, SalvageTarget, SavedAs};
use super::{dump, tables, xxh3};
use crate::backend::EncryptedBackend;
use crate::builder::Builder;
use crate::keys::RawKey;
use crate::layout::{PAGE_SIZE, PAGE_ZERO_SIZE};
use crate::medium::MemoryMedium;
use crate::units::PageNo;

const WORDS: TableDefinition<'_, &str, u64> = TableDefinition::new("words");
const NUMBERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("numbers");
const PAIRS: TableDefinition<'_, (u32, &str), Option<u16>> = TableDefinition::new("pairs");
const MINE: TableDefinition<'_, Backwards, [u8; 3]> = TableDefinition::new("mine");
const EMPTY: TableDefinition<'_, i64, ()> = TableDefinition::new("empty");
const TAGS: MultimapTableDefinition<'_, &str, u32> = MultimapTableDefinition::new("tags");

/// A type of an application's, whose order nobody else knows.
#[derive(Debug)]
struct Backwards;

impl Value for Backwards {
    type SelfType<'a> = u32;
    type AsBytes<'a> = [u8; 4];

    fn fixed_width() -> Option<usize> {
        Some(4)
    }

    fn from_bytes<'a>(data: &'a [u8]) -> u32
    where
        Self: 'a,
    {
        u32::from_le_bytes(data.try_into().unwrap())
    }

    fn as_bytes<'a, 'b: 'a>(value: &'a u32) -> [u8; 4]
    where
        Self: 'b,
    {
        value.to_le_bytes()
    }

    fn type_name() -> TypeName {
        TypeName::new("tests::Backwards")
    }
}

impl Key for Backwards {
    fn compare(a: &[u8], b: &[u8]) -> std::cmp::Ordering {
        Self::from_bytes(b).cmp(&Self::from_bytes(a))
    }
}

type Rows = BTreeMap<(String, Vec<u8>, Vec<u8>), ()>;

fn plain(medium: &MemoryMedium) -> redb::Database {
    redb::Builder::new().create_with_backend(PlainBackend(medium.clone())).unwrap()
}

// Tables of many shapes: fixed and varying widths, large values, values inline and in trees.
fn filled(rows: u32) -> MemoryMedium {
    let medium = MemoryMedium::new();
    let db = plain(&medium);
    for part in 0..4 {
        let write = db.begin_write().unwrap();
        {
            let mut words = write.open_table(WORDS).unwrap();
            let mut numbers = write.open_table(NUMBERS).unwrap();
            let mut pairs = write.open_table(PAIRS).unwrap();
            let mut mine = write.open_table(MINE).unwrap();
            let mut tags = write.open_multimap_table(TAGS).unwrap();
            write.open_table(EMPTY).unwrap();
            for row in (0..rows).filter(|row| row % 4 == part) {
                let word = format!("word {}", row.wrapping_mul(0x9E37_79B1));
                words.insert(word.as_str(), u64::from(row)).unwrap();
                let len = if row % 50 == 0 { 9_000 } else { row as usize % 90 };
                numbers.insert(u64::from(row) << 20, vec![row as u8; len].as_slice()).unwrap();
                let value = (row % 3 > 0).then_some(row as u16);
                pairs.insert((row % 7, word.as_str()), value).unwrap();
                mine.insert(row, [row as u8; 3]).unwrap();
                tags.insert(["few", "many"][usize::from(row % 9 > 0)], row).unwrap();
                tags.insert(word.as_str(), row).unwrap();
            }
        }
        write.commit().unwrap();
    }
    drop(db);
    medium
}

/// The pages of a plain database, some of them lost.
#[derive(Default)]
struct PlainPages {
    bytes: Vec<u8>,
    lost: BTreeSet<u64>,
    reads: Cell<u64>,
}

impl PlainPages {
    fn of(medium: &MemoryMedium) -> Self {
        Self { bytes: medium.to_bytes(), ..Self::default() }
    }

    fn header(&self) -> SuperHeader {
        let page_zero: &[u8; PAGE_ZERO_SIZE] = self.bytes.first_chunk().unwrap();
        SuperHeader::decode(page_zero).unwrap()
    }

    fn all_rows(&self) -> (Vec<Definition>, Rows, Vec<super::walk::LostNode>) {
        let header = self.header();
        let mut walk = Walk::new(self, header.geometry);
        let listed = tables::list(&mut walk, &header.primary.unwrap());
        let mut rows = Rows::new();
        for table in &listed.tables {
            tables::rows(&mut walk, table, |key, value| {
                let row = (table.name.clone(), key.to_vec(), value.to_vec());
                assert!(rows.insert(row, ()).is_none(), "a row came twice");
                Ok::<(), ()>(())
            })
            .unwrap();
        }
        (listed.tables, rows, walk.lost)
    }
}

impl Pages for PlainPages {
    fn read(&self, page: PageNo, out: &mut [u8; PAGE_SIZE]) -> bool {
        self.reads.set(self.reads.get() + 1);
        let bytes = self.bytes.as_chunks::<PAGE_SIZE>().0;
        let found = bytes.get(page.0 as usize).filter(|_| !self.lost.contains(&page.0));
        found.inspect(|found| out.copy_from_slice(*found)).is_some()
    }

    fn end(&self) -> u64 {
        (self.bytes.len() / PAGE_SIZE) as u64
    }
}

#[test]
fn every_row_of_a_whole_database_is_found_and_every_checksum_fits() {
    let medium = filled(3_000);
    let (tables, rows, lost) = PlainPages::of(&medium).all_rows();
    assert_eq!(lost, []);
    for table in &tables {
        let found = rows.keys().filter(|(name, _, _)| *name == table.name).count();
        assert_eq!(found as u64, table.rows, "{}", table.name);
    }
    let db = plain(&medium);
    let read = db.begin_read().unwrap();
    let mut expected = Rows::new();
    let mut add = |name: &str, key: &[u8], value: &[u8]| {
        expected.insert((name.to_owned(), key.to_vec(), value.to_vec()), ());
    };
    for row in read.open_table(WORDS).unwrap().iter().unwrap() {
        let (key, value) = row.unwrap();
        add("words", key.value().as_bytes(), &value.value().to_le_bytes());
    }
    for row in read.open_table(NUMBERS).unwrap().iter().unwrap() {
        let (key, value) = row.unwrap();
        add("numbers", &key.value().to_le_bytes(), value.value());
    }
    for row in read.open_table(PAIRS).unwrap().iter().unwrap() {
        let (key, value) = row.unwrap();
        let key = <(u32, &str)>::as_bytes(&key.value()).clone();
        add("pairs", &key, Option::<u16>::as_bytes(&value.value()).as_ref());
    }
    for row in read.open_table(MINE).unwrap().iter().unwrap() {
        let (key, value) = row.unwrap();
        add("mine", &key.value().to_le_bytes(), &value.value());
    }
    for row in read.open_multimap_table(TAGS).unwrap().iter().unwrap() {
        let (key, values) = row.unwrap();
        for value in values {
            add("tags", key.value().as_bytes(), &value.unwrap().value().to_le_bytes());
        }
    }
    assert!(rows == expected, "{} rows, {} expected", rows.len(), expected.len());
    assert_eq!(tables.len(), 6);
}

#[test]
fn a_lost_page_costs_what_lies_below_it_and_nothing_else() {
    let medium = filled(1_000);
    let mut pages = PlainPages::of(&medium);
    let (_, all, _) = pages.all_rows();
    let mut costs = BTreeSet::new();
    for page in 1..pages.end() {
        pages.lost = BTreeSet::from([page]);
        let (_, rows, lost) = pages.all_rows();
        assert!(rows.keys().all(|row| all.contains_key(row)));
        assert_eq!(rows.len() < all.len(), !lost.is_empty(), "page {page}");
        assert!(lost.iter().all(|lost| lost.loss == Loss::Unreadable && lost.pages > 0));
        costs.insert(all.len() - rows.len());
    }
    assert!(costs.contains(&0) && costs.contains(&all.len()), "free pages and the root: {costs:?}");
    assert!(costs.len() > 20, "{costs:?}");
}

#[test]
fn what_is_lost_behind_the_last_value_of_a_large_leaf_costs_nothing() {
    let medium = MemoryMedium::new();
    let db = plain(&medium);
    let write = db.begin_write().unwrap();
    write.open_table(NUMBERS).unwrap().insert(1, &[7; 9_000][..]).unwrap();
    write.commit().unwrap();
    drop(db);
    let mut pages = PlainPages::of(&medium);
    let (tables, _, _) = pages.all_rows();
    let leaf = pages.header().geometry.pages(tables[0].root.unwrap().at).unwrap();
    assert_eq!(leaf.end - leaf.start, 4, "9,016 bytes in use of 16,384");
    for (page, rows) in leaf.zip([0, 0, 0, 1]) {
        pages.lost = BTreeSet::from([page]);
        assert_eq!(pages.all_rows().1.len(), rows);
    }
}

#[test]
fn a_page_of_another_time_is_passed_over_and_no_bytes_lead_astray() {
    let medium = filled(1_000);
    let whole = PlainPages::of(&medium);
    let (_, all, _) = whole.all_rows();
    let mut random = 1_u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % below
    };
    let mut other_time = 0;
    for _ in 0..400 {
        let mut pages = PlainPages { bytes: whole.bytes.clone(), ..PlainPages::default() };
        let (page, with) = (1 + next(pages.end() - 1), 1 + next(pages.end() - 1));
        let (page, with) = (page as usize * PAGE_SIZE, with as usize * PAGE_SIZE);
        match next(3) {
            0 => pages.bytes.copy_within(with..with + PAGE_SIZE, page),
            1 => pages.bytes[page + next(4096) as usize] ^= 1 << next(8),
            _ => (0..next(64)).for_each(|at| pages.bytes[page + at as usize] = next(5) as u8),
        }
        let (_, rows, lost) = pages.all_rows();
        assert!(rows.keys().all(|row| all.contains_key(row)));
        assert!(lost.iter().all(|lost| lost.loss == Loss::OtherTime));
        other_time += lost.len();
    }
    assert!(other_time > 50, "{other_time}");
}

#[test]
fn a_forged_tree_that_turns_back_on_itself_ends() {
    // Somebody who has the keys forges a branch that points to itself: with checksums that don't
    // fit it ends at once. So make the walk believe it: a page whose children are one leaf.
    let medium = filled(400);
    let pages = PlainPages::of(&medium);
    let header = pages.header();
    let mut walk = Walk::new(&pages, header.geometry);
    let root = header.primary.unwrap().tables.unwrap();
    let visits = Cell::new(0);
    let go = |walk: &mut Walk<'_>| {
        walk.leaves(root, Widths::default(), |_, _| {
            visits.set(visits.get() + 1);
            Ok::<(), ()>(())
        })
    };
    go(&mut walk).unwrap();
    let first = visits.get();
    go(&mut walk).unwrap();
    assert_eq!(visits.get(), first, "no page is visited twice");
    assert!(walk.lost.iter().all(|lost| lost.loss == Loss::Astray) && !walk.lost.is_empty());
}

#[test]
fn tables_are_made_anew_under_their_own_types_and_orders() {
    let medium = filled(3_000);
    let pages = PlainPages::of(&medium);
    let (all_tables, all, _) = pages.all_rows();
    let header = pages.header();
    let saved = MemoryMedium::new();
    let db = plain(&saved);
    let mut walk = Walk::new(&pages, header.geometry);
    for table in &all_tables {
        let count = dump::table(&db, &mut walk, table, &mut |_| Ok(())).unwrap();
        assert_eq!(count, Some(table.rows), "{}", table.name);
    }
    drop(db);
    let (tables, rows, lost) = PlainPages::of(&saved).all_rows();
    assert!(rows == all && lost.is_empty());
    assert_eq!(tables.len(), all_tables.len());
    for (old, new) in all_tables.iter().zip(&tables) {
        assert_eq!((&old.key, &old.value, old.widths), (&new.key, &new.value, new.widths));
    }
    // redb opens them under their types, and finds every key in their order.
    let mut db = plain(&saved);
    assert!(db.check_integrity().unwrap());
    check_filled(&db, 3_000);
    let write = db.begin_write().unwrap();
    write.open_table(MINE).unwrap().insert(5_000_000, [1; 3]).unwrap();
    write.open_table(WORDS).unwrap().insert("a new word", 1).unwrap();
    write.open_multimap_table(TAGS).unwrap().insert("many", 1_000_000).unwrap();
    write.commit().unwrap();
    assert!(db.check_integrity().unwrap());
}

fn check_filled(db: &redb::Database, rows: u32) {
    let read = db.begin_read().unwrap();
    assert!(read.open_table(EMPTY).unwrap().is_empty().unwrap());
    let words = read.open_table(WORDS).unwrap();
    let pairs = read.open_table(PAIRS).unwrap();
    let mine = read.open_table(MINE).unwrap();
    let tags = read.open_multimap_table(TAGS).unwrap();
    for row in 0..rows {
        let word = format!("word {}", row.wrapping_mul(0x9E37_79B1));
        assert_eq!(words.get(word.as_str()).unwrap().unwrap().value(), u64::from(row));
        assert!(pairs.get((row % 7, word.as_str())).unwrap().is_some());
        assert_eq!(mine.get(row).unwrap().unwrap().value(), [row as u8; 3]);
        assert_eq!(tags.get(word.as_str()).unwrap().len(), 1);
    }
    let many: Vec<u32> = tags.get("many").unwrap().map(|v| v.unwrap().value()).collect();
    assert!(many.is_sorted() && many.len() > 2_000);
}

#[test]
fn checksums_of_pages_of_every_length_fit() {
    let medium = MemoryMedium::new();
    let db = plain(&medium);
    let write = db.begin_write().unwrap();
    let add_fixed = |name: &str, add: &dyn Fn(&str)| add(name);
    macro_rules! fixed {
        ($($width:literal)*) => {$(
            add_fixed(concat!("fixed ", $width), &|name| {
                let table = TableDefinition::<[u8; $width], ()>::new(name);
                write.open_table(table).unwrap().insert([7; $width], ()).unwrap();
            });
        )*};
    }
    fixed!(0 1 2 3 4 5 6 7 8);
    let longest = 2_500;
    for len in 0..longest {
        let name = format!("varying {len}");
        let table = TableDefinition::<&[u8], &[u8]>::new(&name);
        let value: Vec<u8> = (0..len).map(|at| (at * 31 + len) as u8).collect();
        write.open_table(table).unwrap().insert(&[][..], value.as_slice()).unwrap();
    }
    write.commit().unwrap();
    drop(db);
    let (tables, rows, lost) = PlainPages::of(&medium).all_rows();
    assert_eq!((tables.len(), rows.len(), lost), (9 + longest, 9 + longest, vec![]));
}

// A table definition that redb panics over, in a file whose seals and checksums all fit: the class
// of a type that no redb knows.
fn with_unknown_class() -> MemoryMedium {
    let medium = MemoryMedium::new();
    let key = RawKey::new([7; 32]);
    let db = Builder::new().create_on(medium.clone(), &key).unwrap();
    let write = db.begin_write().unwrap();
    write.open_table(WORDS).unwrap().insert("one", 1).unwrap();
    write.open_table(NUMBERS).unwrap().insert(1, &b"one"[..]).unwrap();
    write.commit().unwrap();
    db.close().unwrap();
    let backend = EncryptedBackend::open_on(medium.clone(), &key).unwrap();
    let (mut zero, mut leaf) = ([0; PAGE_SIZE], [0; PAGE_SIZE]);
    backend.read(0, &mut zero).unwrap();
    let header = SuperHeader::decode(zero.first_chunk().unwrap()).unwrap();
    let root = header.primary.unwrap().tables.unwrap();
    let at = header.geometry.pages(root.at).unwrap().start * PAGE_SIZE as u64;
    backend.read(at, &mut leaf).unwrap();
    let types = b"\x01&str\x01u64";
    let found = leaf.windows(types.len()).position(|window| window == types).unwrap();
    leaf[found + 5] = 9;
    backend.write(at, &leaf).unwrap();
    let used = Node::decode(&leaf, Widths::default()).unwrap().used();
    let slot = 64 + 128 * usize::from(zero[9] & 1);
    let root_checksum = xxh3::checksum(&leaf[..used]).unwrap();
    zero[slot + 16..slot + 32].copy_from_slice(&root_checksum.to_le_bytes());
    let slot_checksum = xxh3::checksum(&zero[slot..slot + 112]).unwrap();
    zero[slot + 112..slot + 128].copy_from_slice(&slot_checksum.to_le_bytes());
    backend.write(0, &zero[..320]).unwrap();
    backend.sync_data().unwrap();
    backend.close().unwrap();
    medium
}

#[test]
fn a_panic_of_redb_is_contained_and_the_rest_is_saved() {
    let medium = with_unknown_class();
    let saved = MemoryMedium::new();
    let target = SalvageTarget::PlainMemory(saved.clone());
    let key = RawKey::new([7; 32]);
    let report = Builder::new().salvage_on(medium, &key, target, SalvageOptions::new()).unwrap();
    let why = report.no_image.clone().unwrap();
    assert!(why.starts_with("redb panicked"), "{why}");
    assert_eq!((report.tables_recorded, report.tables_unknown, report.tables_lost), (2, 1, 0));
    assert!(!report.is_complete() && report.saved_as == SavedAs::Tables);
    let db = plain(&saved);
    let numbers = db.begin_read().unwrap().open_table(NUMBERS).unwrap();
    assert_eq!(numbers.get(1).unwrap().unwrap().value(), b"one");
}

#[test]
fn a_panic_of_the_callback_is_the_callers() {
    let medium = MemoryMedium::new();
    let key = RawKey::new([7; 32]);
    let db = Builder::new().create_on(medium.clone(), &key).unwrap();
    db.close().unwrap();
    let stages = [SalvageStage::ReadingPages, SalvageStage::Checking];
    for stage in stages {
        let options = SalvageOptions::new().how(SalvageHow::Tables).progress(move |progress| {
            assert!(progress.stage != stage, "the caller's own");
            std::ops::ControlFlow::Continue(())
        });
        let target = SalvageTarget::PlainMemory(MemoryMedium::new());
        let salvage = || Builder::new().salvage_on(medium.clone(), &key, target, options);
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(salvage));
        assert!(super::message(&*panic.unwrap_err()).contains("the caller's own"));
    }
}
