//! A look at an open store while readers and the writer go on: header copies, root records, both
//! copies of every tag page, every data page. Reads only.
//!
//! Everything may change under it. So a first look takes no lock, and what it finds wrong is looked
//! at again while nothing of the kind is on its way: header commits, syncs, page writes wait for
//! that one read. A page that is being overwritten in place by a write that redb has not been told
//! is over is no damage.

use std::sync::PoisonError;

use super::Store;
use super::debris::PageSet;
use super::header;
use super::pages::{Opener, open_in_place};
use super::roots;
use super::survey::groups::{scan_copy, state_of};
use super::survey::headers::judge;
use super::survey::{HeaderCopyState, PageVerdict, RootCopyState, TagCopyState};
use crate::error::{Damage, OpenError, StoreError};
use crate::format::tag_page::{Entry, EntryState, TagPage};
use crate::layout::{self, ENTRIES_PER_TAG_PAGE, PAGE_SIZE};
use crate::medium::Medium;
use crate::units::{CopyId, GroupNo, PageNo, SyncSeq};

/// Room for the data pages of one group.
#[derive(Debug)]
pub(crate) struct GroupBuffer(Box<[[u8; PAGE_SIZE]; ENTRIES_PER_TAG_PAGE]>);

impl GroupBuffer {
    pub(crate) fn new() -> Self {
        Self(Box::new([[0; PAGE_SIZE]; ENTRIES_PER_TAG_PAGE]))
    }

    /// The pages, by place.
    pub(super) fn pages(&mut self) -> impl Iterator<Item = &mut [u8; PAGE_SIZE]> {
        self.0.iter_mut()
    }

    /// Reads the ciphertexts from the first sealed page to the last in one go.
    pub(super) fn read(
        &mut self,
        medium: &dyn Medium,
        group: GroupNo,
        tags: &TagPage,
    ) -> std::io::Result<()> {
        let sealed = |(place, entry): (usize, &Entry)| {
            (entry.state() == EntryState::Sealed).then_some(place)
        };
        let mut places = tags.entries().filter_map(sealed);
        let Some(first) = places.next() else { return Ok(()) };
        let last = places.last().unwrap_or(first);
        let room = self.0.get_mut(first..=last).unwrap_or_default().as_flattened_mut();
        medium.read_at(layout::data_page_start(layout::page_at(group, first)).0, room)
    }
}

/// What an open store is at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LiveState {
    /// The newest durable sync.
    pub(crate) sync: SyncSeq,
    /// Of the current state, which may be ahead of the durable one.
    pub(crate) groups: u64,
    pub(crate) pages: u64,
}

impl Store {
    pub(crate) fn live_state(&self) -> LiveState {
        let state = self.state();
        LiveState {
            sync: state.durable.root.sync,
            groups: state.groups,
            pages: layout::pages_in(state.logical_len),
        }
    }

    /// Bytes of the medium.
    ///
    /// # Errors
    /// The medium's.
    pub(crate) fn file_len(&self) -> Result<u64, StoreError> {
        Ok(self.medium.len()?)
    }

    /// Both header copies, A first.
    ///
    /// # Errors
    /// The store can't be used any more.
    pub(crate) fn check_headers(&self) -> Result<[HeaderCopyState; 2], StoreError> {
        let look = || {
            let unlocked = self.unlocked();
            CopyId::BOTH.map(|copy| judge(header::look(&*self.medium, copy), &unlocked))
        };
        let whole = |found: &[HeaderCopyState; 2]| {
            found.iter().all(|copy| matches!(copy, HeaderCopyState::Whole(_)))
        };
        self.check_usable()?;
        let found = look();
        if whole(&found) {
            return Ok(found);
        }
        let _no_commit = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_usable()?;
        Ok(look())
    }

    /// Both root records, A first, and whether the durable one stands in the file as it is known
    /// here.
    ///
    /// # Errors
    /// The store can't be used any more.
    pub(crate) fn check_roots(&self) -> Result<([RootCopyState; 2], bool), StoreError> {
        let _no_sync = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_usable()?;
        let found = CopyId::BOTH.map(|copy| self.check_root(copy));
        let (durable, copy) = {
            let state = self.state();
            (state.durable.root.clone(), state.durable.copy)
        };
        let [a, b] = &found;
        let standing = if copy == CopyId::A { a } else { b };
        let is_known = standing.opened() == Some(&durable);
        Ok((found, is_known))
    }

    fn check_root(&self, copy: CopyId) -> RootCopyState {
        match roots::read(&*self.medium, &self.keyring(), copy) {
            Ok(Some(root)) => RootCopyState::Opened(Box::new(root)),
            Ok(None) => RootCopyState::DoesNotOpen,
            Err(OpenError::Damaged(Damage::Root { why, .. })) => RootCopyState::Malformed(why),
            Err(OpenError::Io { source, .. }) => RootCopyState::Unreadable(source.kind()),
            Err(_) => RootCopyState::DoesNotOpen,
        }
    }

    /// The copy of a group's tag page that the durable state names, and what both are beside it, A
    /// first; `None` where that state has no such group.
    ///
    /// # Errors
    /// The store can't be used any more.
    pub(crate) fn check_tag_pages(
        &self,
        group: GroupNo,
    ) -> Result<Option<(CopyId, [TagCopyState; 2])>, StoreError> {
        let look = || {
            let row = {
                let state = self.state();
                state.row(group).filter(|_| group.0 < state.durable.root.groups)
            }?;
            let keyring = self.keyring();
            let copy = |copy| state_of(scan_copy(&*self.medium, &keyring, group, copy), Some(row));
            Some((row.copy, CopyId::BOTH.map(copy)))
        };
        let good = |found: &[TagCopyState; 2]| {
            let well = |copy| matches!(copy, &TagCopyState::Current | &TagCopyState::Older(_));
            found.contains(&TagCopyState::Current) && found.iter().all(well)
        };
        self.check_usable()?;
        match look() {
            Some(found) if good(&found.1) => return Ok(Some(found)),
            _ => {}
        }
        let _no_sync = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_usable()?;
        Ok(look())
    }

    /// Looks at all pages of a group as they are now: tells of each what became of it, page 0 left
    /// out. `false` where the group's tag page doesn't open.
    ///
    /// # Errors
    /// The store can't be used any more.
    pub(crate) fn check_pages(
        &self,
        group: GroupNo,
        buffer: &mut GroupBuffer,
        mut found: impl FnMut(PageNo, &Entry, PageVerdict),
    ) -> Result<bool, StoreError> {
        self.check_usable()?;
        let tags = match self.with_tag_page(group, TagPage::clone) {
            Ok(Some(tags)) => tags,
            Ok(None) => TagPage::absent(),
            Err(StoreError::Damage(_) | StoreError::Io(_)) => return Ok(false),
            Err(error) => return Err(error),
        };
        let keyring = self.keyring();
        let mut opener = Opener::new(&keyring);
        let whole = buffer.read(&*self.medium, group, &tags).is_ok();
        for ((place, entry), bytes) in tags.entries().zip(buffer.pages()) {
            let page = layout::page_at(group, place);
            if page == PageNo(0) {
                continue;
            }
            if whole && opener.open(page, entry, bytes) {
                found(page, entry, PageVerdict::Opened);
                continue;
            }
            match entry.state() {
                EntryState::Absent => found(page, entry, PageVerdict::Absent),
                EntryState::Lost => found(page, entry, PageVerdict::Lost),
                EntryState::Sealed => {
                    let (entry, verdict) = self.look_again(page, bytes)?;
                    found(page, &entry, verdict);
                }
            }
        }
        Ok(true)
    }

    // While no page write and no step of a rotation is on its way.
    fn look_again(
        &self,
        page: PageNo,
        bytes: &mut [u8; PAGE_SIZE],
    ) -> Result<(Entry, PageVerdict), StoreError> {
        let (group, place) = layout::place_of(page);
        let _alone = self.resizing.write().unwrap_or_else(PoisonError::into_inner);
        self.check_usable()?;
        let mut entry = [Entry::ABSENT];
        match self.entries(group, place, &mut entry) {
            Ok(()) => {}
            Err(StoreError::Damage(_) | StoreError::Io(_)) => {
                return Ok((Entry::ABSENT, PageVerdict::NoTagPage));
            }
            Err(error) => return Err(error),
        }
        let [entry] = entry;
        let verdict = match entry.state() {
            EntryState::Absent => PageVerdict::Absent,
            EntryState::Lost => PageVerdict::Lost,
            EntryState::Sealed => {
                let offset = layout::data_page_start(page);
                // From the storage itself, should a cache have gone bad.
                let _ = self.medium.drop_cache(offset.0, PAGE_SIZE as u64);
                match self.read_or_eof(offset, bytes) {
                    Ok(true) if open_in_place(&self.keyring(), page, &entry, bytes) => {
                        PageVerdict::Opened
                    }
                    Ok(true) => PageVerdict::DoesNotOpen,
                    Ok(false) => PageVerdict::Truncated,
                    Err(error) => PageVerdict::Unreadable(error.into()),
                }
            }
        };
        Ok((entry, verdict))
    }
}

/// Whether a set of pages holds this one.
pub(crate) fn holds(set: &PageSet, page: PageNo) -> bool {
    let (group, place) = layout::place_of(page);
    set.get(&group).is_some_and(|pages| pages >> place & 1 == 1)
}

/// Adds a page to a set.
pub(crate) fn put(set: &mut PageSet, page: PageNo) {
    let (group, place) = layout::place_of(page);
    *set.entry(group).or_default() |= 1 << place;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_into_it_and_nothing_else() {
        let mut set = PageSet::new();
        let put_in = [1, 7, 125, 126, 300].map(PageNo);
        put_in.iter().chain(&put_in).for_each(|page| put(&mut set, *page));
        let held: Vec<_> = (0..400).map(PageNo).filter(|page| holds(&set, *page)).collect();
        assert_eq!(held, put_in);
    }
}
