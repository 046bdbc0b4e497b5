//! A store made of another one's pages: what it counts, and what is read back.

use super::transplant::{Origin, new_keys, transplant};
use super::*;
use crate::format::backup::frame::GroupPages;
use crate::format::tag_page::Entry;
use crate::layout::ENTRIES_PER_TAG_PAGE;

/// A group as it stands in a store's file.
fn group_of(store: &Store, image: &[u8], group: u64) -> GroupPages {
    let mut out = GroupPages::blank();
    out.group = GroupNo(group);
    store.entries(out.group, 0, &mut out.entries).unwrap();
    let start = layout::data_page_start(layout::page_at(out.group, 0)).0;
    let bytes = image.iter().skip(usize::try_from(start).unwrap());
    out.pages.as_flattened_mut().iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    out
}

#[test]
fn planted_pages_are_counted_sealed_anew_and_read_back() {
    let from = MemoryMedium::new();
    let source = created(from.clone(), 2);
    for page in [1, 2, 3, 7, 125, 126, 251] {
        write(&source, page, 5);
    }
    source.sync().unwrap();
    let image = from.to_bytes();
    let options = Options::default();
    let unlocked = new_keys(&key(), None, &options).unwrap();
    let logical_len = source.state().logical_len;
    let page_zero = source.state().page_zero.clone();
    let origin = Origin { sync: SyncSeq(9), logical_len, page_zero, sealed_pages: 40 };
    let to = MemoryMedium::new();
    let store = transplant(Arc::new(to.clone()), unlocked, &options, &origin).unwrap();
    let sealed = || store.sealed_pages.load(Ordering::Relaxed);
    let mut first = group_of(&source, &image, 0);
    first.entries[50] = Entry::LOST;
    first.entries[51] = Entry::LOST;
    store.plant_group(&mut first, Some(&source.keyring())).unwrap();
    assert_eq!(sealed(), 40 + 1 + 5, "the tag page and five pages");
    let mut second = group_of(&source, &image, 1);
    assert_eq!(second.pages.len(), ENTRIES_PER_TAG_PAGE);
    store.plant_group(&mut second, Some(&source.keyring())).unwrap();
    assert_eq!(sealed(), 46 + 1 + 2);
    assert_eq!(store.read_all_back().unwrap(), 2, "lost ones");
    for page in [3, 125, 251] {
        let at = layout::data_page_start(PageNo(page)).0 + 100;
        let mut byte = [0];
        to.read_at(at, &mut byte).unwrap();
        to.write_at(at, &[byte[0] ^ 1]).unwrap();
        let damaged = store.read_all_back();
        let Err(StoreError::Damage(Damage::Page { page: named, .. })) = damaged else {
            panic!("{page}: {damaged:?}")
        };
        assert_eq!(named, PageNo(page));
        to.write_at(at, &byte).unwrap();
    }
}
