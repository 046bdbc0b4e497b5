//! The store's own rules, below redb: what is counted, what is latched, which copy is written.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::error::Damage;
use crate::keys::RawKey;
use crate::layout::{DATA_PAGES_PER_GROUP, PAGE_SIZE};
use crate::medium::MemoryMedium;
use crate::units::{GroupNo, SyncSeq};

mod closing;
mod crowded;
mod exchange;
mod planting;
mod restoring;
mod runs;

fn key() -> RawKey {
    RawKey::new([7; 32])
}

/// Memory that counts sealed pages on their way out, lists writes, and can be told to fail.
#[derive(Debug, Default)]
struct Watched {
    memory: MemoryMedium,
    sealed: Arc<AtomicU64>,
    /// Offset and length of each.
    writes: Arc<Mutex<Vec<(u64, usize)>>>,
    fail_writes: Arc<AtomicBool>,
    fail_syncs: Arc<AtomicBool>,
}

impl Medium for Watched {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.memory.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.fail_writes.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.writes.lock().unwrap().push((offset, data.len()));
        if offset >= layout::root_start(CopyId::A).0 {
            self.sealed.fetch_add((data.len() / PAGE_SIZE) as u64, Ordering::Relaxed);
        }
        self.memory.write_at(offset, data)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.memory.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        if self.fail_syncs.load(Ordering::Relaxed) {
            return Err(io::Error::other("the disk is gone"));
        }
        self.memory.sync()
    }

    fn try_lock(&self, kind: LockKind) -> io::Result<bool> {
        self.memory.try_lock(kind)
    }

    fn unlock(&self) -> io::Result<()> {
        self.memory.unlock()
    }
}

fn created(medium: impl Medium, groups: u64) -> Store {
    let store = create(Arc::new(medium), &key(), None, &Options::default()).unwrap();
    store.finish_creation().unwrap();
    store.set_len(groups * DATA_PAGES_PER_GROUP * PAGE_BYTES).unwrap();
    store
}

fn write(store: &Store, page: u64, byte: u8) {
    store.write_pages(PageNo(page), &[byte; PAGE_SIZE]).unwrap();
}

fn read(store: &Store, page: u64) -> Result<u8, StoreError> {
    let mut out = [0; PAGE_SIZE];
    store.read_pages(PageNo(page), &mut out)?;
    assert!(out.iter().all(|byte| *byte == out[0]));
    Ok(out[0])
}

fn reopened(bytes: Vec<u8>) -> Store {
    reopened_on(&MemoryMedium::from_bytes(bytes))
}

fn reopened_on(medium: &MemoryMedium) -> Store {
    let store =
        open(Arc::new(medium.clone()), &key(), &Options::default(), &Witness::default()).unwrap();
    store.end_guard_strictly().unwrap();
    store
}

#[test]
fn the_durable_bound_is_never_below_what_was_sealed() {
    let watched = Watched::default();
    let sealed = Arc::clone(&watched.sealed);
    let mut store = created(watched, 40);
    store.seal_reserve = Some(40);
    store.sync_on_its_own().unwrap();
    for round in 0..1500 {
        let first = PageNo(1 + round * 37 % 4900);
        store.write_pages(first, &[1; 16 * PAGE_SIZE]).unwrap();
        // Cut inside a group that holds something, and come back.
        store.set_len((first.0 + 8) * PAGE_BYTES).unwrap();
        store.set_len(40 * DATA_PAGES_PER_GROUP * PAGE_BYTES).unwrap();
        let bound = store.state().durable.root.sealed_pages;
        let sealed = sealed.load(Ordering::Relaxed);
        assert!(bound >= sealed, "round {round}: {sealed} sealed, {bound} promised");
    }
    assert!(store.state().durable.root.sync.0 > 10, "the reserve made it sync by itself");
}

#[test]
fn at_the_hard_limit_data_pages_are_refused_and_everything_else_goes_on() {
    let memory = MemoryMedium::new();
    let mut store = created(memory.clone(), 1);
    write(&store, 1, 1);
    let used = store.sealed_pages.load(Ordering::Relaxed);
    let unlocked = store.unlocked.get_mut().unwrap();
    Arc::make_mut(unlocked).header.policy.sealed_pages_hard = used + 4;
    write(&store, 1, 2);
    let refused = store.write_pages(PageNo(2), &[3; 8 * PAGE_SIZE]);
    assert!(matches!(refused, Err(StoreError::KeyUsedUp)), "{refused:?}");
    store.sync().unwrap();
    assert_eq!(read(&store, 1).unwrap(), 2);
    store.close().unwrap();
    assert_eq!(read(&reopened(memory.to_bytes()), 1).unwrap(), 2);
}

#[test]
fn a_failed_sync_latches_for_good() {
    let watched = Watched::default();
    let fail = Arc::clone(&watched.fail_syncs);
    let store = created(watched, 1);
    write(&store, 1, 1);
    fail.store(true, Ordering::Relaxed);
    assert!(matches!(store.sync(), Err(StoreError::Io(_))));
    fail.store(false, Ordering::Relaxed);
    assert!(matches!(store.sync(), Err(StoreError::Latched)));
    assert!(matches!(store.write_pages(PageNo(1), &[2; PAGE_SIZE]), Err(StoreError::Latched)));
    assert!(matches!(store.set_len(8192), Err(StoreError::Latched)));
    assert!(matches!(read(&store, 1), Err(StoreError::Latched)));
}

#[test]
fn a_gathered_page_is_read_before_it_is_written_and_fails_at_the_sync_that_covers_it() {
    let watched = Watched::default();
    let fail = Arc::clone(&watched.fail_writes);
    let store = created(watched, 1);
    write(&store, 1, 1);
    store.sync().unwrap();
    fail.store(true, Ordering::Relaxed);
    write(&store, 1, 2);
    assert_eq!(read(&store, 1).unwrap(), 2);
    assert!(matches!(store.sync(), Err(StoreError::Io(_))));
    fail.store(false, Ordering::Relaxed);
    assert!(matches!(store.sync(), Err(StoreError::Latched)));
    assert!(matches!(read(&store, 1), Err(StoreError::Latched)));
}

#[test]
fn a_sync_of_the_stores_own_leaves_gathered_pages_where_they_are() {
    let memory = MemoryMedium::new();
    let store = created(memory.clone(), 1);
    write(&store, 1, 1);
    store.sync().unwrap();
    write(&store, 1, 2);
    store.sync_on_its_own().unwrap();
    assert_eq!(read(&store, 1).unwrap(), 2);
    assert_eq!(read(&reopened(memory.to_bytes()), 1).unwrap(), 1);
    store.close().unwrap();
    assert_eq!(read(&reopened(memory.to_bytes()), 1).unwrap(), 2);
}

#[test]
fn a_small_commit_writes_its_pages_a_root_and_one_tag_page() {
    let memory = MemoryMedium::new();
    let store = created(memory.clone(), 3);
    let of_group = |group, page| group * DATA_PAGES_PER_GROUP + page;
    (0..3).for_each(|group| write(&store, of_group(group, 7), 1));
    store.sync().unwrap();
    let tag_pages = |image: &[u8]| -> Vec<Vec<u8>> {
        let start = |group| layout::tag_page_start(GroupNo(group), CopyId::A).0;
        let starts = (0..3).map(|group| usize::try_from(start(group)).unwrap());
        starts.map(|start| image[start..start + 2 * PAGE_SIZE].to_vec()).collect()
    };
    for round in 2..20 {
        let before = tag_pages(&memory.to_bytes());
        write(&store, of_group(0, 7), round);
        write(&store, of_group(1, 7), round);
        write(&store, of_group(2, u64::from(round)), round);
        store.sync().unwrap();
        let after = tag_pages(&memory.to_bytes());
        let changed = (0..3).filter(|group| before[*group] != after[*group]).count();
        assert_eq!(changed, 1, "round {round}");
        let crashed = reopened(memory.to_bytes());
        for (page, byte) in [(of_group(0, 7), round), (of_group(1, 7), round), (of_group(2, 2), 2)]
        {
            assert_eq!(read(&crashed, page).unwrap(), byte);
        }
    }
    assert!(!store.state().durable.root.late.is_empty());
    // Too many for a root record: then the tag pages of all of them.
    (10..120).for_each(|page| write(&store, of_group(0, page), 77));
    (10..120).for_each(|page| write(&store, of_group(1, page), 78));
    store.sync().unwrap();
    assert!(store.state().durable.root.late.is_empty());
    let crashed = reopened(memory.to_bytes());
    for (page, byte) in [(of_group(0, 7), 19), (of_group(1, 119), 78), (of_group(2, 2), 2)] {
        assert_eq!(read(&crashed, page).unwrap(), byte);
    }
    write(&store, of_group(0, 7), 99);
    write(&store, of_group(1, 7), 99);
    store.close().unwrap();
    let clean = reopened(memory.to_bytes());
    assert!(clean.recovery().clean);
    assert_eq!(read(&clean, of_group(1, 7)).unwrap(), 99);
}

#[test]
fn a_long_run_takes_the_place_of_what_was_gathered() {
    let memory = MemoryMedium::new();
    let store = created(memory.clone(), 1);
    write(&store, 1, 1);
    write(&store, 40, 1);
    store.write_pages(PageNo(1), &[7; 39 * PAGE_SIZE]).unwrap();
    store.sync().unwrap();
    let later = reopened(memory.to_bytes());
    assert_eq!([1, 39, 40].map(|page| read(&later, page).unwrap()), [7, 7, 1]);
}

#[test]
fn a_long_run_read_by_several_threads_is_whole_and_names_the_page_that_is_not() {
    let memory = MemoryMedium::new();
    let store = created(memory.clone(), 6);
    let pages = 5 * DATA_PAGES_PER_GROUP;
    (1..pages).for_each(|page| write(&store, page, u8::try_from(page % 251).unwrap()));
    store.sync().unwrap();
    let run = |store: &Store| {
        let mut out = vec![[0; PAGE_SIZE]; usize::try_from(pages - 1).unwrap()];
        store.read_pages(PageNo(1), out.as_flattened_mut()).map(|()| out)
    };
    let right = |page: u64, bytes: &[u8; PAGE_SIZE]| {
        bytes.iter().all(|byte| u64::from(*byte) == page % 251)
    };
    assert!((1..).zip(&run(&store).unwrap()).all(|(page, bytes)| right(page, bytes)));
    store.close().unwrap();
    for damaged in [2, 300, pages - 1] {
        let mut bytes = memory.to_bytes();
        bytes[usize::try_from(layout::data_page_start(PageNo(damaged)).0).unwrap() + 9] ^= 1;
        match run(&reopened(bytes)) {
            Err(StoreError::Damage(Damage::Page { page, .. })) => assert_eq!(page.0, damaged),
            other => panic!("{:?}", other.map(|_| ())),
        }
    }
}

#[test]
fn gathered_pages_beyond_a_cut_are_forgotten() {
    let memory = MemoryMedium::new();
    let store = created(memory.clone(), 1);
    write(&store, 9, 1);
    store.set_len(5 * PAGE_BYTES).unwrap();
    store.set_len(20 * PAGE_BYTES).unwrap();
    assert_eq!(read(&store, 9).unwrap(), 0);
    store.sync().unwrap();
    assert_eq!(read(&reopened(memory.to_bytes()), 9).unwrap(), 0);
}

#[test]
fn a_group_dropped_and_regrown_before_a_sync_leaves_its_durable_copy_alone() {
    let memory = MemoryMedium::new();
    let store = created(memory.clone(), 2);
    let (kept, other) = (DATA_PAGES_PER_GROUP + 5, DATA_PAGES_PER_GROUP + 9);
    write(&store, kept, 1);
    store.sync().unwrap();
    store.set_len(DATA_PAGES_PER_GROUP * PAGE_BYTES).unwrap();
    store.set_len(2 * DATA_PAGES_PER_GROUP * PAGE_BYTES).unwrap();
    assert_eq!(read(&store, kept).unwrap(), 0, "regrown pages are zeros");
    write(&store, other, 2);
    let crashed = reopened(memory.to_bytes());
    assert_eq!(read(&crashed, kept).unwrap(), 1, "nothing was durable of the shrink");
    assert_eq!(read(&crashed, other).unwrap(), 0);
    store.sync().unwrap();
    let later = reopened(memory.to_bytes());
    assert_eq!((read(&later, kept).unwrap(), read(&later, other).unwrap()), (0, 2));
}

#[test]
fn a_shrink_is_cut_from_the_file_only_once_it_is_durable() {
    let memory = MemoryMedium::new();
    let store = created(memory.clone(), 3);
    write(&store, 3 * DATA_PAGES_PER_GROUP - 1, 1);
    store.sync().unwrap();
    let full = memory.len().unwrap();
    store.set_len(4 * PAGE_BYTES).unwrap();
    assert_eq!(memory.len().unwrap(), full);
    store.sync().unwrap();
    assert_eq!(memory.len().unwrap(), layout::data_end(4 * PAGE_BYTES).0);
}

#[test]
fn nothing_but_roots_is_written_while_the_newest_root_is_clean() {
    let memory = MemoryMedium::new();
    let store = created(memory.clone(), 2);
    write(&store, 1, 1);
    write(&store, DATA_PAGES_PER_GROUP, 1);
    store.close().unwrap();
    let store =
        open(Arc::new(memory.clone()), &key(), &Options::default(), &Witness::default()).unwrap();
    store.end_guard_strictly().unwrap();
    assert!(store.state().durable.root.clean);
    store.set_len(2 * PAGE_BYTES).unwrap();
    assert!(!store.state().durable.root.clean, "a sync said so before the change");
}

/// A group with one page, closed, opened, changed, closed: both files, of one length.
fn two_states() -> [Vec<u8>; 2] {
    let memory = MemoryMedium::new();
    let store = created(memory.clone(), 1);
    write(&store, 1, 1);
    store.close().unwrap();
    let older = memory.to_bytes();
    let store = reopened_on(&memory);
    write(&store, 1, 2);
    store.close().unwrap();
    let newer = memory.to_bytes();
    assert_eq!(older.len(), newer.len());
    [older, newer]
}

fn put_back(newer: &mut [u8], older: &[u8], page_at: u64) {
    let range = usize::try_from(page_at).unwrap()..usize::try_from(page_at).unwrap() + PAGE_SIZE;
    newer[range.clone()].copy_from_slice(&older[range]);
}

#[test]
fn an_older_clean_index_is_not_believed() {
    let [older, newer] = two_states();
    let index = layout::clean_index_start(DATA_PAGES_PER_GROUP * PAGE_BYTES).0;
    let mut replayed = newer.clone();
    put_back(&mut replayed, &older, index);
    let store = reopened(replayed.clone());
    assert!(store.recovery().scanned, "the index doesn't add up to the digest");
    assert_eq!(read(&store, 1).unwrap(), 2);

    // With the older page beside it, the older tag page is still in the file to vouch for it.
    put_back(&mut replayed, &older, layout::data_page_start(PageNo(1)).0);
    let damage = read(&reopened(replayed), 1);
    assert!(matches!(damage, Err(StoreError::Damage(Damage::Page { .. }))), "{damage:?}");
}

#[test]
fn older_pages_tag_pages_and_roots_are_noticed() {
    let [older, newer] = two_states();
    let (group, page) = (GroupNo(0), layout::data_page_start(PageNo(1)).0);
    let tag_pages = CopyId::BOTH.map(|copy| layout::tag_page_start(group, copy).0);
    let roots = CopyId::BOTH.map(|copy| layout::root_start(copy).0);
    let try_open = |replay: &[u64]| {
        let mut bytes = newer.clone();
        replay.iter().for_each(|at| put_back(&mut bytes, &older, *at));
        let medium = Arc::new(MemoryMedium::from_bytes(bytes));
        let store = open(medium, &key(), &Options::default(), &Witness::default())
            .map_err(|error| error.to_string())?;
        store.end_guard_strictly().map_err(|error| error.to_string())?;
        read(&store, 1).map_err(|error| error.to_string())
    };
    assert!(try_open(&[page]).is_err(), "a page");
    assert!(try_open(&tag_pages).is_err(), "both tag pages");
    assert!(try_open(&[page, tag_pages[0], tag_pages[1]]).is_err(), "a page and its tag pages");
    assert!(try_open(&roots).is_err(), "both roots");
    for root in roots {
        // The other one is newer and decides.
        assert_eq!(try_open(&[root]), Ok(2), "one root");
    }
    // Every page that changed, roots included, is the whole older state: only something outside
    // the file could tell. The older tag page is still in its copy, and need not be put back.
    assert_eq!(try_open(&[page, roots[0], roots[1]]), Ok(1));
}

/// A group that was written once has two equal tag pages: either will do, and the next sync does
/// not overwrite the one that is left.
#[test]
fn a_damaged_tag_page_with_an_equal_twin_loses_nothing() {
    let memory = MemoryMedium::new();
    let store = created(memory.clone(), 1);
    write(&store, 1, 1);
    store.close().unwrap();
    let at = |copy| layout::tag_page_start(GroupNo(0), copy).0;
    for damaged in CopyId::BOTH {
        let copy = MemoryMedium::from_bytes(memory.to_bytes());
        copy.write_at(at(damaged) + 100, &[0xEE; 8]).unwrap();
        let store = reopened_on(&copy);
        assert_eq!(read(&store, 1).unwrap(), 1);
        assert!(!store.recovery().scanned, "by the clean index");
        let twin_of = |bytes: &[u8]| {
            let start = usize::try_from(at(damaged.other())).unwrap();
            bytes[start..start + PAGE_SIZE].to_vec()
        };
        let before = twin_of(&copy.to_bytes());
        write(&store, 2, 2);
        store.sync().unwrap();
        assert!(twin_of(&copy.to_bytes()) == before, "the durable copy was overwritten");
        let crashed = reopened(copy.to_bytes());
        assert_eq!((read(&crashed, 1).unwrap(), read(&crashed, 2).unwrap()), (1, 2));
        assert_eq!(crashed.recovery().erased_tag_pages, 0, "the sync wrote the damaged copy anew");
    }
}

#[test]
fn a_small_cache_reads_everything_and_stays_small() {
    let options = Options { tag_cache_bytes: 0, ..Options::default() };
    let store = create(Arc::new(MemoryMedium::new()), &key(), None, &options).unwrap();
    store.finish_creation().unwrap();
    store.set_len(60 * DATA_PAGES_PER_GROUP * PAGE_BYTES).unwrap();
    for group in 0..60 {
        write(&store, group * DATA_PAGES_PER_GROUP + 7, u8::try_from(group).unwrap());
    }
    store.sync().unwrap();
    for group in (0..60).rev() {
        let byte = read(&store, group * DATA_PAGES_PER_GROUP + 7).unwrap();
        assert_eq!(u64::from(byte), group);
    }
    let cached = (0..60).filter(|group| store.state().cache.get(GroupNo(*group)).is_some()).count();
    assert!(cached <= 8, "{cached} tag pages cached");

    // With more of them pinned than the cache may hold, others are still loaded and read.
    for group in 0..20 {
        write(&store, group * DATA_PAGES_PER_GROUP + 7, 77);
    }
    for group in 20..60 {
        let byte = read(&store, group * DATA_PAGES_PER_GROUP + 7).unwrap();
        assert_eq!(u64::from(byte), group);
    }
}

#[test]
fn a_header_commit_is_named_by_both_copies_and_by_the_root() {
    let memory = MemoryMedium::new();
    let store = created(memory.clone(), 1);
    write(&store, 1, 1);
    store.close().unwrap();
    let store = reopened_on(&memory);
    let generation = store.unlocked().header.generation;
    let bumped = |unlocked: &Unlocked| -> Result<Unlocked, StoreError> {
        let mut next = unlocked.clone();
        next.header.clock_high_water += 7;
        Ok(next)
    };
    store.commit_header(bumped).unwrap();
    assert_eq!(store.state().durable.root.generation.0, generation.0 + 1);
    assert_eq!(read(&store, 1).unwrap(), 1);
    let crashed = reopened(memory.to_bytes());
    assert_eq!(crashed.unlocked().header, store.unlocked().header);
    assert!(!crashed.recovery().healed_header);
    let refused =
        store.commit_header(|_| Err::<Unlocked, _>(StoreError::Misuse("no"))).unwrap_err();
    assert!(matches!(refused, StoreError::Misuse("no")));
    assert_eq!(store.unlocked().header.generation.0, generation.0 + 1);
    store.close().unwrap();
    assert!(store.commit_header(bumped).is_err(), "closed");
}

/// A root record of the newest generation under a retired key, by somebody who kept it.
#[test]
fn a_root_record_under_a_retired_key_is_refused_once_it_is_late() {
    use crate::format::associated_data::Place;
    use crate::format::root_record::Tail;
    let memory = MemoryMedium::new();
    let store = created(memory.clone(), 1);
    write(&store, 1, 1);
    store.sync().unwrap();
    let kept = store.keyring();
    store.begin_rotation().unwrap();
    let mut root = store.state().durable.root.clone();
    let active = root.epoch;
    (root.epoch, root.sync, root.tail) =
        (kept.active().epoch, SyncSeq(root.sync.0 + 9), Tail::None);
    assert_ne!(root.epoch, active);
    drop(store);
    let record = root.encode().seal(
        &kept.active().root_record,
        [9; 12],
        kept.file_id(),
        root.epoch,
        Place::Root(CopyId::A),
    );
    let forged = MemoryMedium::from_bytes(memory.to_bytes());
    forged.write_at(layout::root_start(CopyId::A).0, record.bytes()).unwrap();
    let opened = open(Arc::new(forged), &key(), &Options::default(), &Witness::default());
    assert!(matches!(opened, Err(OpenError::Damaged(_))), "{opened:?}");
    assert!(open(Arc::new(memory), &key(), &Options::default(), &Witness::default()).is_ok());
}
