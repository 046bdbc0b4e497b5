//! What redb wrote and what is not on the medium yet. redb hands pages over one by one, in the
//! order of its cache; gathered, they are sealed together and go out in file order, in fewer and
//! longer writes. A page that waits here is read from here, as plaintext in memory like those in
//! redb's own cache. Bounded; written at the latest by the sync that covers it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use crate::layout::PAGE_SIZE;
use crate::units::PageNo;

/// Plaintext pages in file order.
pub(super) type Pages = BTreeMap<PageNo, Box<[u8; PAGE_SIZE]>>;

/// Pages that room is kept for from one flush to the next, 2 MiB: the allocator gives what is freed
/// back to the system, and every page of it is a fault when it is asked for again.
const KEPT_PAGES: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Gather {
    waiting: Pages,
    /// On their way to the medium: their entries are not published yet.
    leaving: Arc<Pages>,
    /// Room for pages to come. What stands in it is of no use.
    room: Vec<Box<[u8; PAGE_SIZE]>>,
}

impl Gather {
    /// How many pages are not on the medium.
    pub(super) fn len(&self) -> u64 {
        (self.waiting.len() + self.leaving.len()) as u64
    }

    /// How many pages wait for the next flush.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes pages from `first` on, in the place of older versions of them.
    pub(super) fn put(&mut self, first: PageNo, data: &[[u8; PAGE_SIZE]]) {
        for (page, bytes) in (first.0..).map(PageNo).zip(data) {
            match self.waiting.entry(page) {
                Entry::Occupied(mut older) => older.get_mut().copy_from_slice(bytes),
                Entry::Vacant(place) => match self.room.pop() {
                    None => {
                        place.insert(Box::new(*bytes));
                    }
                    Some(mut room) => {
                        room.copy_from_slice(bytes);
                        place.insert(room);
                    }
                },
            }
        }
    }

    /// Whether any page of a range is here.
    pub(super) fn has_any(&self, first: PageNo, pages: u64) -> bool {
        let range = first..PageNo(first.0.saturating_add(pages));
        self.waiting.range(range.clone()).next().is_some()
            || self.leaving.range(range).next().is_some()
    }

    /// The newest version of a page, where it is here.
    pub(super) fn get(&self, page: PageNo) -> Option<&[u8; PAGE_SIZE]> {
        self.waiting.get(&page).or_else(|| self.leaving.get(&page)).map(|bytes| &**bytes)
    }

    /// Forgets pages from `first` up to `end`: they were cut off, or a newer version goes out.
    pub(super) fn forget(&mut self, first: PageNo, end: PageNo) {
        let mut behind = self.waiting.split_off(&first);
        self.waiting.append(&mut behind.split_off(&end));
    }

    /// What is to be written next; it stays readable until [`Gather::arrived`].
    pub(super) fn leave(&mut self) -> Arc<Pages> {
        self.leaving = Arc::new(std::mem::take(&mut self.waiting));
        Arc::clone(&self.leaving)
    }

    /// The pages that left are on the medium, and their entries are published.
    pub(super) fn arrived(&mut self) {
        self.leaving = Arc::default();
    }

    /// Keeps some of the room that pages took up which have arrived.
    pub(super) fn keep_room(&mut self, pages: &mut impl Iterator<Item = Box<[u8; PAGE_SIZE]>>) {
        let wanted = KEPT_PAGES.saturating_sub(self.room.len());
        self.room.extend(pages.take(wanted));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_found_wherever_it_is() {
        let mut gather = Gather::default();
        gather.put(PageNo(7), &[[1; PAGE_SIZE], [2; PAGE_SIZE]]);
        let leaving = gather.leave();
        gather.put(PageNo(8), &[[3; PAGE_SIZE]]);
        assert_eq!(leaving.len(), 2);
        assert_eq!((gather.len(), gather.waiting()), (3, 1));
        let first = |page| gather.get(PageNo(page)).map(|bytes| bytes[0]);
        assert_eq!([first(6), first(7), first(8), first(9)], [None, Some(1), Some(3), None]);
        assert!(gather.has_any(PageNo(0), 8) && !gather.has_any(PageNo(0), 7));
        gather.arrived();
        assert_eq!(gather.get(PageNo(7)), None);
        assert_eq!(gather.get(PageNo(8)).map(|bytes| bytes[0]), Some(3));
    }

    #[test]
    fn room_is_kept_up_to_a_limit_and_what_stood_there_is_gone() {
        let mut gather = Gather::default();
        let pages = vec![[1; PAGE_SIZE]; KEPT_PAGES + 5];
        gather.put(PageNo(1), &pages);
        let leaving = gather.leave();
        gather.arrived();
        let mut pages = Arc::into_inner(leaving).unwrap().into_values();
        gather.keep_room(&mut pages);
        assert_eq!((gather.room.len(), pages.len()), (KEPT_PAGES, 5));
        gather.put(PageNo(9), &[[2; PAGE_SIZE]]);
        assert_eq!(gather.room.len(), KEPT_PAGES - 1);
        assert_eq!(gather.get(PageNo(9)), Some(&[2; PAGE_SIZE]));
    }

    #[test]
    fn pages_that_were_cut_off_are_forgotten_and_no_others() {
        let mut gather = Gather::default();
        gather.put(PageNo(1), &[[1; PAGE_SIZE]; 6]);
        gather.forget(PageNo(2), PageNo(4));
        let there: Vec<bool> = (0..8).map(|page| gather.get(PageNo(page)).is_some()).collect();
        assert_eq!(there, [false, true, false, false, true, true, true, false]);
    }
}
