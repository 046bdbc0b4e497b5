//! What reaches the disk, exactly: writes, bytes and syncs of a commit, of a run of commits, of a
//! close and of an open, counted on a medium in memory (docs/performance.md, "What a sync writes").
//! A change of these numbers is a change of what every commit costs: it belongs into that table.
//!
//! ```text
//! cargo test --release --features testkit --test sync_cost -- --nocapture
//! SYNC_COST_RECORDS=250000 cargo test --release --features testkit --test sync_cost
//! ```
#![cfg(feature = "testkit")]
#![allow(unreachable_pub, reason = "the modules of a test have no outside")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a helper that fails is a test that fails"
)]

use std::io;
use std::sync::{Arc, Mutex};

use strongroom::medium::{LockKind, Medium, MemoryMedium};
use strongroom::redb::{self, StorageBackend, TableDefinition};
use strongroom::{Builder, EncryptedBackend, RawKey};

#[path = "backends/plain.rs"]
mod plain;

use plain::PlainBackend;

const PAGE: u64 = 4096;
/// Pages of a group in logical addresses, and in the file.
const GROUP: u64 = 126;
const GROUPS: u64 = 200;
/// Logical pages at first. The last group is not full, so that the clean index, right behind the last
/// page, lies where data pages do and is counted with them.
const PAGES: u64 = GROUPS * GROUP - 10;
/// The header copies, the root records and two pages that nothing uses.
const PREAMBLE: u64 = 20;

/// Where a write falls: (header, root, tag page, data page and whatever lies among them).
fn place(offset: u64) -> usize {
    match offset / PAGE {
        0..16 => 0,
        16..PREAMBLE => 1,
        page if (page - PREAMBLE) % 128 < 2 => 2,
        _ => 3,
    }
}

/// What was asked of a medium.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Cost {
    /// In the header, to root records, to tag pages, to data pages and behind them.
    writes: [u64; 4],
    bytes: u64,
    syncs: u64,
    resizes: u64,
    read_bytes: u64,
}

impl Cost {
    fn all_writes(&self) -> u64 {
        self.writes.iter().sum()
    }
}

/// Counts what passes through to memory.
#[derive(Clone, Debug, Default)]
struct CountingMedium {
    memory: MemoryMedium,
    cost: Arc<Mutex<Cost>>,
}

impl CountingMedium {
    fn note(&self, change: impl FnOnce(&mut Cost)) {
        change(&mut self.cost.lock().unwrap());
    }

    /// What was asked since the last look.
    fn take(&self) -> Cost {
        std::mem::take(&mut self.cost.lock().unwrap())
    }
}

impl Medium for CountingMedium {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.note(|cost| cost.read_bytes += out.len() as u64);
        self.memory.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.note(|cost| {
            cost.writes[place(offset)] += 1;
            cost.bytes += data.len() as u64;
        });
        self.memory.write_at(offset, data)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.note(|cost| cost.resizes += 1);
        self.memory.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.note(|cost| cost.syncs += 1);
        self.memory.sync()
    }

    fn try_lock(&self, kind: LockKind) -> io::Result<bool> {
        self.memory.try_lock(kind)
    }

    fn unlock(&self) -> io::Result<()> {
        self.memory.unlock()
    }
}

fn key() -> RawKey {
    RawKey::new([0x21; 32])
}

/// A store of 200 groups, every tag page durable, and nothing waiting. A page of every group was
/// written, and the last page.
struct Bench {
    medium: CountingMedium,
    store: EncryptedBackend,
}

impl Bench {
    fn new() -> Self {
        let medium = CountingMedium::default();
        let store = EncryptedBackend::create_on(medium.clone(), &key()).unwrap();
        store.set_len(PAGES * PAGE).unwrap();
        let bench = Self { medium, store };
        bench.commit((0..GROUPS).map(|group| group * GROUP + 1).chain([PAGES - 1]), 0);
        bench
    }

    /// Writes some pages one by one, as redb does from its cache, then its header, then syncs.
    fn commit(&self, pages: impl IntoIterator<Item = u64>, number: u64) -> Cost {
        self.medium.take();
        for page in pages {
            self.store.write(page * PAGE, &[number as u8; PAGE as usize]).unwrap();
        }
        self.store.write(0, &[number as u8; 320]).unwrap();
        self.store.sync_data().unwrap();
        self.medium.take()
    }

    /// A page in each of `count` groups from `first` on.
    fn scattered(&self, first: u64, count: u64, number: u64) -> Cost {
        self.commit((first..first + count).map(|group| group * GROUP + 7), number)
    }
}

/// So many data pages one by one, tag pages and one root record, and one sync.
fn one_by_one(data_pages: u64, tag_pages: u64) -> Cost {
    Cost {
        writes: [0, 1, tag_pages, data_pages],
        bytes: (data_pages + tag_pages + 1) * PAGE,
        syncs: 1,
        ..Cost::default()
    }
}

#[track_caller]
fn expect(name: &str, cost: Cost, expected: Cost) {
    println!(
        "figure: sync_cost_{name} = {} writes {:?} of {} bytes, {} syncs, {} resizes, {} bytes read",
        cost.all_writes(),
        cost.writes,
        cost.bytes,
        cost.syncs,
        cost.resizes,
        cost.read_bytes
    );
    assert_eq!(cost, expected, "{name}");
}

#[test]
fn a_commit_of_one_page_writes_it_its_tag_page_and_a_root_record() {
    let bench = Bench::new();
    expect("one_page", bench.scattered(50, 1, 1), one_by_one(1, 1));
    expect("the_same_page", bench.scattered(50, 1, 2), one_by_one(1, 1));
    expect("header_alone", bench.commit([], 3), one_by_one(0, 0));
    bench.store.sync_data().unwrap();
    expect("nothing", bench.medium.take(), Cost { syncs: 1, ..Cost::default() });
}

#[test]
fn pages_in_up_to_106_groups_need_one_tag_page() {
    for (pages, tag_pages) in [(7, 1), (57, 1), (106, 1), (107, 107), (200, 200)] {
        let bench = Bench::new();
        let name = format!("scattered_{pages}");
        expect(&name, bench.scattered(0, pages, 1), one_by_one(pages, tag_pages));
    }
}

#[test]
fn small_commits_share_a_sync_with_tag_pages() {
    let bench = Bench::new();
    // Eight pages each, each in another group, seven of them late: fifteen commits are 105 late
    // entries.
    for number in 0..15 {
        assert_eq!(bench.scattered(number * 8, 8, 1), one_by_one(8, 1), "commit {number}");
    }
    expect("small_commit", bench.scattered(120, 1, 1), one_by_one(1, 1));
    expect("small_commit_that_fills_up", bench.scattered(121, 8, 1), one_by_one(8, 113));
    expect("small_commit_after_that", bench.scattered(129, 8, 1), one_by_one(8, 1));
    // The same pages again and again never fill it up.
    for number in 0..500 {
        assert_eq!(bench.scattered(20, 8, number), one_by_one(8, 1), "commit {number}");
    }
}

#[test]
fn a_commit_of_a_thousand_neighbours_writes_runs() {
    // From the first place of group 10: eight groups, the last of them to its place 118.
    let first = 10 * GROUP;
    let expected = |data_writes| Cost {
        writes: [0, 1, 8, data_writes],
        bytes: (1000 + 8 + 1) * PAGE,
        syncs: 1,
        ..Cost::default()
    };
    // One by one, gathered: a write for four pages, and one more at each of the four ends of a group
    // that fall into the middle of four.
    let bench = Bench::new();
    expect("thousand_pages", bench.commit(first..first + 1000, 1), expected(254));
    // Backwards is the same: what is gathered goes out in the order of the file.
    let bench = Bench::new();
    assert_eq!(bench.commit((first..first + 1000).rev(), 1), expected(254));
    // In one call, as redb writes a large value: 32 pages a write.
    let bench = Bench::new();
    bench.medium.take();
    bench.store.write(first * PAGE, &vec![1; 1000 * PAGE as usize]).unwrap();
    bench.store.sync_data().unwrap();
    expect("thousand_pages_in_one_call", bench.medium.take(), expected(32));
}

#[test]
fn a_new_group_gets_both_copies_of_its_tag_page() {
    let bench = Bench::new();
    bench.store.set_len((GROUPS + 3) * GROUP * PAGE).unwrap();
    // The last group's page: the two groups before it get tag pages as well.
    let cost = bench.commit([(GROUPS + 2) * GROUP], 1);
    expect("three_new_groups", Cost { resizes: 0, ..cost }, one_by_one(1, 2 * 3));
}

#[test]
fn a_close_syncs_twice_and_once_more_where_something_waits() {
    // Two pages of the clean index for 200 groups, and both root records.
    let clean = Cost { writes: [0, 2, 0, 2], bytes: 4 * PAGE, syncs: 2, ..Cost::default() };
    let bench = Bench::new();
    bench.medium.take();
    bench.store.close().unwrap();
    let cost = bench.medium.take();
    expect("close", cost, clean);

    let bench = Bench::new();
    bench.scattered(0, 9, 1);
    bench.store.close().unwrap();
    let waiting =
        Cost { writes: [0, 3, 8, 2], bytes: (8 + 1 + 4) * PAGE, syncs: 3, ..Cost::default() };
    expect("close_with_late_entries", bench.medium.take(), waiting);
}

#[test]
fn an_open_syncs_once_and_reads_the_preamble_and_the_index() {
    let bench = Bench::new();
    bench.store.close().unwrap();
    let medium = bench.medium;
    medium.take();
    let store = EncryptedBackend::open_on(medium.clone(), &key()).unwrap();
    // Both header copies, both root records, two index pages.
    let expected = Cost { syncs: 1, read_bytes: (16 + 2 + 2) * PAGE, ..Cost::default() };
    expect("open", medium.take(), expected);

    // The first write leaves the clean state: a root record and a sync of its own.
    store.write(7 * PAGE, &[1; PAGE as usize]).unwrap();
    store.sync_data().unwrap();
    let first = Cost {
        writes: [0, 2, 1, 1],
        bytes: 4 * PAGE,
        syncs: 2,
        read_bytes: PAGE,
        ..Cost::default()
    };
    expect("first_commit", medium.take(), first);
}

const RECORDS: TableDefinition<u64, &[u8]> = TableDefinition::new("records");

/// Records before the commits that are counted: with more of them, a commit's pages lie in more
/// groups.
const RECORDS_BEFORE: u64 = 20_000;
const COMMITS: u64 = 100;

fn records_before() -> u64 {
    std::env::var("SYNC_COST_RECORDS").map_or(RECORDS_BEFORE, |text| text.parse().unwrap())
}

/// Durable commits of one record each, at random places: what a hundred of them cost.
fn hundred_commits(db: &redb::Database, medium: &CountingMedium) -> Cost {
    let (records, record) = (records_before(), [1; 150]);
    let txn = db.begin_write().unwrap();
    {
        let mut table = txn.open_table(RECORDS).unwrap();
        for number in 0..records {
            table.insert(number, record.as_slice()).unwrap();
        }
    }
    txn.commit().unwrap();
    medium.take();
    for commit in 0..COMMITS {
        let txn = db.begin_write().unwrap();
        let number = commit * 7_919_317 % records;
        txn.open_table(RECORDS).unwrap().insert(number, record.as_slice()).unwrap();
        txn.commit().unwrap();
    }
    medium.take()
}

#[test]
fn a_commit_of_redb_costs_little_more_than_without_encryption() {
    let medium = CountingMedium::default();
    let db = redb::Builder::new().create_with_backend(PlainBackend(medium.clone())).unwrap();
    let plain = hundred_commits(&db, &medium);
    let medium = CountingMedium::default();
    let db = Builder::new().create_on(medium.clone(), &key()).unwrap();
    let sealed = hundred_commits(&db, &medium);
    for (name, cost) in [("redb", plain), ("strongroom", sealed)] {
        let each = |count: u64| count as f64 / COMMITS as f64;
        println!(
            "figure: sync_cost_record_{name} = {:.2} writes of {:.0} bytes in {:.2} syncs",
            each(cost.all_writes()),
            each(cost.bytes),
            each(cost.syncs)
        );
    }
    println!("figure: sync_cost_record_parts = {:?} in {COMMITS} commits", sealed.writes);
    assert_eq!(sealed.syncs, plain.syncs);
    // redb's pages, a root record in the place of its header, and tag pages.
    let tag_pages = sealed.writes[2];
    assert_eq!(sealed.bytes, plain.bytes - COMMITS * 320 + (COMMITS + tag_pages) * PAGE);
    assert!(sealed.writes[3] + COMMITS <= plain.all_writes(), "neighbours go out together");
    let most = if records_before() == RECORDS_BEFORE { 150 } else { 4 * COMMITS };
    assert!((COMMITS..=most).contains(&tag_pages), "{tag_pages} tag pages in {COMMITS} commits");
}
