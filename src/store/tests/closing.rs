//! What a clean close leaves: a clean index and two roots that say exactly what is there.

use super::*;
use crate::format::root_record::Tail;

#[test]
fn a_clean_index_of_several_pages_is_believed() {
    let memory = MemoryMedium::new();
    let store = created(memory.clone(), 300);
    let last = 299 * DATA_PAGES_PER_GROUP + 3;
    write(&store, 5, 1);
    write(&store, last, 2);
    store.close().unwrap();
    let store = reopened_on(&memory);
    assert!(store.recovery().clean && !store.recovery().scanned);
    assert_eq!(store.state().rows.len(), 300);
    assert_eq!((read(&store, 5).unwrap(), read(&store, last).unwrap()), (1, 2));
}

#[test]
fn a_file_without_a_group_needs_no_clean_index() {
    let memory = MemoryMedium::new();
    created(memory.clone(), 1).close().unwrap();
    let store = reopened_on(&memory);
    assert!(store.recovery().clean && !store.recovery().scanned);
    assert_eq!(store.state().durable.root.tail, Tail::None);
}

#[test]
fn a_clean_root_counts_exactly_and_the_file_ends_behind_the_index() {
    let memory = MemoryMedium::new();
    let store = created(memory.clone(), 3);
    write(&store, 300, 1);
    store.sync().unwrap();
    store.set_len(20 * PAGE_BYTES).unwrap();
    write(&store, 7, 1);
    store.close().unwrap();
    let sealed = store.sealed_pages.load(Ordering::Relaxed);
    let root = reopened_on(&memory).state().durable.root.clone();
    assert_eq!(root.sealed_pages, sealed + 2, "with the two roots, and nothing kept in reserve");
    let end = layout::clean_index_start(20 * PAGE_BYTES).0 + PAGE_BYTES;
    assert_eq!((memory.len().unwrap(), reopened_on(&memory).file_len().unwrap()), (end, end));
}

#[test]
fn a_clean_file_that_was_only_read_is_left_as_it_is() {
    let memory = MemoryMedium::new();
    let store = created(memory.clone(), 1);
    write(&store, 1, 1);
    store.close().unwrap();
    let clean = memory.to_bytes();
    let store = reopened_on(&memory);
    assert_eq!(read(&store, 1).unwrap(), 1);
    store.close().unwrap();
    assert!(memory.to_bytes() == clean);
}
