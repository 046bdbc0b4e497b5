//! The guard: while redb opens (docs/format.md, "Open", 7), its syncs are held back and, after an
//! unclean shutdown, exactly the pages that the last sync may have torn read as zeros. Owned by
//! `Builder` through [`Store::end_recovery`]; a bare backend never has one.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use super::Store;
use super::debris::PageSet;
use crate::error::StoreError;
use crate::layout;
use crate::units::PageNo;

/// What is held back, and what is forgiven.
#[derive(Debug, Default)]
pub(super) struct Guard {
    held: bool,
    creating: bool,
    /// By group, the pages (bit i: place i) that may be torn.
    forgiven: PageSet,
    /// By group, the pages that the last sync wrote.
    fresh: PageSet,
    /// By group, the pages that redb read.
    read: PageSet,
    /// Those that redb was given as zeros.
    zeroed: BTreeSet<PageNo>,
}

impl Guard {
    /// No guard: every page is strict and every sync is carried out.
    pub(super) fn off() -> Self {
        Self::default()
    }

    /// Syncs are held back; these pages may be torn.
    pub(super) fn recovering(forgiven: PageSet, fresh: PageSet) -> Self {
        Self { held: true, forgiven, fresh, ..Self::default() }
    }

    /// Syncs are held back while redb makes its first pages; it may set the length.
    pub(super) fn for_creation() -> Self {
        Self { held: true, creating: true, ..Self::default() }
    }

    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    pub(super) fn creating(&self) -> bool {
        self.creating
    }

    /// Writes down that redb read `pages` pages from `first` on.
    pub(super) fn note_read(&mut self, first: PageNo, pages: usize) {
        for page in (first.0..).take(pages).map(PageNo) {
            let (group, place) = layout::place_of(page);
            *self.read.entry(group).or_default() |= 1 << place;
        }
    }

    /// Whether some page may still be torn.
    pub(super) fn is_forgiving(&self) -> bool {
        self.forgiven.values().any(|fresh| *fresh != 0)
    }

    /// What the first read of a page found out holds for all later ones: a page that opened is
    /// whole, and one that redb was given as zeros stays zeros. Returns whether this read counts as
    /// opened.
    ///
    /// Else a medium that shows other bytes the second time would hand zeros to code of redb's that
    /// relies on pages it has checked.
    pub(super) fn settle(&mut self, page: PageNo, opened: bool) -> bool {
        if self.zeroed.contains(&page) {
            return false;
        }
        let (group, place) = layout::place_of(page);
        if opened && let Some(fresh) = self.forgiven.get_mut(&group) {
            *fresh &= !(1 << place);
        }
        opened
    }

    /// Whether a page that doesn't open is to read as zeros; remembers it if so.
    pub(super) fn forgives(&mut self, page: PageNo) -> bool {
        let (group, place) = layout::place_of(page);
        let forgiven = self.forgiven.get(&group).is_some_and(|fresh| fresh >> place & 1 == 1);
        if forgiven {
            self.zeroed.insert(page);
        }
        forgiven
    }
}

/// What the end of a recovery found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Recovered {
    /// Torn pages that redb was given as zeros.
    pub(crate) torn_pages: u64,
    /// Pages given up as debris.
    pub(crate) lost_pages: u64,
}

impl Store {
    /// Ends the guard before redb has seen the store, for a bare backend: no page is forgiven.
    ///
    /// # Errors
    /// Healing failed.
    pub(crate) fn end_guard_strictly(&self) -> Result<(), StoreError> {
        self.take_guard();
        self.latch(self.heal_header())
    }

    pub(super) fn take_guard(&self) -> Guard {
        let guard = std::mem::replace(&mut *self.guard(), Guard::off());
        self.forgiving.store(false, Ordering::Release);
        self.watching.store(false, Ordering::Release);
        guard
    }

    /// Ends the guard once redb has opened: from here on every page is strict, for good. One
    /// ordinary sync carries what redb repaired, then stale header copies are healed. `walked` says
    /// that redb walked all its trees.
    ///
    /// Those pages become absent in the same sync. redb read each of them as zeros and then either
    /// gave up the commit that held it, so that it is free, or found the commit whole: its
    /// checksums leave out the unused end of a large leaf, and a page torn there must stay
    /// readable.
    ///
    /// # Errors
    /// A read, the sync or the healing failed: the store is latched, so that nothing half mended is
    /// marked clean, and the next open recovers again.
    pub(crate) fn end_recovery(&self, walked: bool) -> Result<Recovered, StoreError> {
        self.latch(self.make_recovery_durable(walked))
    }

    fn make_recovery_durable(&self, walked: bool) -> Result<Recovered, StoreError> {
        let Guard { zeroed, fresh, read, .. } = self.take_guard();
        self.sealed_pages.fetch_add(zeroed.len() as u64, Ordering::AcqRel); // their tag pages
        let kept = if self.holes.zeroed_pages_stay() { 0 } else { zeroed.len() };
        for page in zeroed.iter().take(kept) {
            let (group, place) = layout::place_of(*page);
            while !self.state_mut().make_absent(group, place) {
                self.with_tag_page(group, |_| ())?;
            }
        }
        let lost_pages = self.give_up_debris(&fresh, walked.then_some(&read))?;
        self.forget_journal();
        // First, so that nothing is sealed under a data key that only one header copy has.
        self.heal_header()?;
        self.sync_recovered()?;
        Ok(Recovered { torn_pages: zeroed.len() as u64, lost_pages })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::GroupNo;

    #[test]
    fn the_first_read_of_a_page_decides_for_the_later_ones() {
        let (whole, torn, old) = (PageNo(1), PageNo(2), PageNo(3));
        let mut guard = Guard::recovering(PageSet::from([(GroupNo(0), 0b110)]), PageSet::new());
        assert!(guard.is_forgiving());
        assert!(guard.settle(whole, true) && !guard.forgives(whole), "whole from now on");
        assert!(!guard.settle(torn, false) && guard.forgives(torn));
        assert!(!guard.settle(torn, true) && guard.forgives(torn), "zeros from now on");
        assert!(!guard.settle(old, false) && !guard.forgives(old), "never forgiven");
        assert_eq!(guard.zeroed, BTreeSet::from([torn]));
    }

    #[test]
    fn what_redb_read_is_written_down() {
        let mut guard = Guard::for_creation();
        assert!(guard.is_held() && guard.creating() && !guard.is_forgiving());
        guard.note_read(PageNo(125), 3);
        guard.note_read(PageNo(7), 1);
        guard.note_read(PageNo(7), 1);
        let expected = PageSet::from([(GroupNo(0), 1 << 125 | 1 << 7), (GroupNo(1), 0b11)]);
        assert_eq!(guard.read, expected);
        assert!(!Guard::off().is_held() && !Guard::off().creating());
        let recovering = Guard::recovering(PageSet::new(), expected.clone());
        assert!(recovering.is_held() && !recovering.creating() && recovering.fresh == expected);
    }
}
