//! Runs of pages: how they are read, written and counted.

use super::sync::{RESERVE_MAX, RESERVE_MIN};
use super::*;

#[test]
fn neighbours_go_out_together() {
    let watched = Watched::default();
    let writes = Arc::clone(&watched.writes);
    let store = created(watched, 1);
    for page in [8, 3, 4, 5, 20, 6, 7, 21] {
        write(&store, page, 1);
    }
    writes.lock().unwrap().clear();
    store.sync().unwrap();
    let start = |page| layout::data_page_start(PageNo(page)).0;
    let data: Vec<_> =
        writes.lock().unwrap().iter().copied().filter(|(at, _)| *at >= start(1)).collect();
    let runs = [(3, 4), (7, 2), (20, 2)].map(|(page, pages)| (start(page), pages * PAGE_SIZE));
    assert_eq!(data, runs, "in file order, four pages a write at most");
}

#[test]
fn a_run_that_is_partly_gathered_is_read_as_it_was_last_written() {
    let store = created(MemoryMedium::new(), 1);
    (1..=4).for_each(|page| write(&store, page, 1));
    store.sync().unwrap();
    write(&store, 3, 2);
    let mut out = [0; 4 * PAGE_SIZE];
    store.read_pages(PageNo(1), &mut out).unwrap();
    assert_eq!([0, 1, 2, 3].map(|page| out[page * PAGE_SIZE]), [1, 1, 2, 1]);
}

#[test]
fn a_write_beyond_the_end_is_refused_long_or_short() {
    let store = created(MemoryMedium::new(), 1);
    for (first, pages) in [(126, 1), (125, 2), (100, 64)] {
        let refused = store.write_pages(PageNo(first), &vec![1; pages * PAGE_SIZE]);
        assert!(matches!(refused, Err(StoreError::Misuse(_))), "{first} {pages}: {refused:?}");
    }
    write(&store, 125, 1);
    store.write_pages(PageNo(62), &[1; 64 * PAGE_SIZE]).unwrap();
}

#[test]
fn seals_are_counted_with_their_tag_pages_and_the_reserve_follows_the_policy() {
    let mut store = created(MemoryMedium::new(), 200);
    write(&store, 199 * DATA_PAGES_PER_GROUP, 1);
    for (soft, reserve) in [(4096, RESERVE_MIN), (16_000, 1000), (1 << 40, RESERVE_MAX)] {
        let unlocked = store.unlocked.get_mut().unwrap();
        Arc::make_mut(unlocked).header.policy.sealed_pages_soft = soft;
        write(&store, 1, 1);
        store.sync().unwrap();
        let (sealed, bound) = (
            store.sealed_pages.load(Ordering::Relaxed),
            store.sealed_pages_bound.load(Ordering::Relaxed),
        );
        assert_eq!(bound, sealed - 1 + reserve, "the root record is within the reserve");
        let uncounted = RESERVE_MIN + layout::clean_index_pages(200);
        assert_eq!(store.state().durable.root.sealed_pages, bound + uncounted);
        // One page in group 3, then four across the end of group 4.
        for (first, pages, seals) in [(3 * DATA_PAGES_PER_GROUP + 9, 1, 2), (628, 4, 6)] {
            let before = store.sealed_pages.load(Ordering::Relaxed);
            store.write_pages(PageNo(first), &vec![1; pages * PAGE_SIZE]).unwrap();
            assert_eq!(store.sealed_pages.load(Ordering::Relaxed) - before, seals);
        }
    }
    let used = store.sealed_pages.load(Ordering::Relaxed);
    let unlocked = store.unlocked.get_mut().unwrap();
    Arc::make_mut(unlocked).header.policy.sealed_pages_hard = used + 2;
    write(&store, 1, 1);
    let refused = store.write_pages(PageNo(1), &[1; PAGE_SIZE]);
    assert!(matches!(refused, Err(StoreError::KeyUsedUp)), "{refused:?}");
}

#[test]
fn a_new_data_key_begins_with_what_waits_to_be_sealed_under_it() {
    let store = created(MemoryMedium::new(), 2);
    for round in [1, 2] {
        write(&store, 1, round);
        write(&store, 130, round);
        store.sync().unwrap();
    }
    let late = store.state().cache.dirty_count();
    assert_eq!(late, 1, "one tag page was the witness, the other one is owed");
    [2, 3, 4].iter().for_each(|page| write(&store, *page, 2));
    store.begin_rotation().unwrap();
    let sealed = store.sealed_pages.load(Ordering::Relaxed);
    assert_eq!(sealed, late + 2 * 3 + 1, "three pages, a tag page each, and the root record");
}
