//! Debris: free pages that a crash left unreadable (docs/past-failures.md, H8). They were being
//! overwritten, so that they no longer fit their durable entries. redb never reads them, but what
//! reads all pages would report them as damage, and a key rotation could never end.
//!
//! They are given up at the end of a recovery: reading one is an error, as it was before. Only
//! pages that are known to be unused: those that redb's walk over all its trees did not read, and
//! those that the last sync wrote and that no walk had to find whole.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use super::Store;
use crate::error::StoreError;
use crate::format::tag_page::{Entry, EntryState};
use crate::layout::{self, ENTRIES_PER_TAG_PAGE, PAGE_SIZE};
use crate::units::{GroupNo, PageNo};

/// Pages by group, bit i for place i.
pub(crate) type PageSet = HashMap<GroupNo, u128>;

/// The pages of a group that may be debris: all but those that a walk has read, or only those that
/// the last sync wrote where there was no walk.
fn suspects(group: GroupNo, fresh: &PageSet, walked: Option<&PageSet>) -> u128 {
    let of = |set: &PageSet| set.get(&group).copied().unwrap_or(0);
    match walked {
        Some(walked) => !of(walked),
        None => of(fresh),
    }
}

impl Store {
    /// Gives up what doesn't open of the pages that may be debris. `fresh` is what the last sync
    /// wrote, `walked` what redb read while it walked all its trees, if it did. Returns how many.
    ///
    /// # Errors
    /// A tag page could not be read. A data page that can't be read is left alone: that is no sign
    /// of debris.
    pub(super) fn give_up_debris(
        &self,
        fresh: &PageSet,
        walked: Option<&PageSet>,
    ) -> Result<u64, StoreError> {
        let mut lost = 0;
        let groups = self.state().groups;
        for group in (0..groups).map(GroupNo) {
            let suspects = suspects(group, fresh, walked);
            if suspects == 0 {
                continue;
            }
            let lost_here = self.give_up_in(group, suspects)?;
            if lost_here > 0 {
                self.sealed_pages.fetch_add(1, Ordering::AcqRel); // its tag page
                lost += lost_here;
            }
        }
        Ok(lost)
    }

    fn give_up_in(&self, group: GroupNo, suspects: u128) -> Result<u64, StoreError> {
        let mut entries = [Entry::ABSENT; ENTRIES_PER_TAG_PAGE];
        self.entries(group, 0, &mut entries)?;
        let mut lost = 0;
        for (place, entry) in entries.iter().enumerate() {
            let suspect = suspects >> place & 1 == 1 && entry.state() == EntryState::Sealed;
            let page = layout::page_at(group, place);
            if suspect && !self.may_open(page, entry) {
                while self.state_mut().give_up(group, place, entry).is_none() {
                    self.with_tag_page(group, |_| ())?;
                }
                lost += 1;
            }
        }
        Ok(lost)
    }

    /// Whether a page opens, or can't be asked: at the first try or, read from the storage itself,
    /// at the second.
    pub(super) fn may_open(&self, page: PageNo, entry: &Entry) -> bool {
        let mut bytes = [0; PAGE_SIZE];
        let offset = layout::data_page_start(page);
        match self.read_or_eof(offset, &mut bytes) {
            Ok(true) if self.open_page(page, entry, &mut bytes) => return true,
            Ok(_) => {}
            Err(_) => return true,
        }
        let _ = self.medium.drop_cache(offset.0, PAGE_SIZE as u64);
        match self.read_or_eof(offset, &mut bytes) {
            Ok(there) => there && self.open_page(page, entry, &mut bytes),
            Err(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_walk_read_is_no_debris_and_without_one_only_the_last_sync_is_suspect() {
        let set = |group, pages| PageSet::from([(GroupNo(group), pages)]);
        assert_eq!(suspects(GroupNo(1), &set(1, 0b11), None), 0b11);
        assert_eq!(suspects(GroupNo(2), &set(1, 0b11), None), 0);
        assert_eq!(suspects(GroupNo(1), &set(1, 0b11), Some(&set(1, 0b110))), !0b110);
        assert_eq!(suspects(GroupNo(2), &set(1, 0b11), Some(&set(1, 0b110))), u128::MAX);
    }
}
