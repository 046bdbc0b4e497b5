//! A picture of the store: one durable state, copied group by group while redb reads and writes.
//!
//! Page 0 is the durable root record's, all other pages are as they are at the moment the picture
//! is taken. redb overwrites nothing that its durable commit can reach, so at that moment all of
//! that commit is there. Later it may be overwritten: redb frees the pages of its own bookkeeping
//! as soon as the next commit is durable, whoever reads. So whoever is about to overwrite or cut a
//! page of a group that was not copied yet keeps its old bytes for the picture first, once a page.
//!
//! A data key can't go while a picture is being copied: its pages may be sealed under it.
//!
//! Locks: the kept pages have a mutex of their own, taken under `resizing` and before `state`.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::Store;
use super::state::PageZero;
use crate::error::StoreError;
use crate::format::backup::frame::GroupPages;
use crate::format::clean_index::Row;
use crate::format::root_record::RootRecord;
use crate::format::tag_page::{Entry, EntryState};
use crate::keys::Unlocked;
use crate::layout::{self, ENTRIES_PER_TAG_PAGE, PAGE_BYTES, PAGE_SIZE};
use crate::locks::{MutexGuard, RwLockReadGuard};
use crate::units::{GroupNo, PageNo};

/// A page as it was when the picture was taken.
#[derive(Debug)]
struct Kept {
    place: usize,
    entry: Entry,
    bytes: Box<[u8; PAGE_SIZE]>,
}

/// What is kept of one group.
#[derive(Debug, Default)]
struct KeptGroup {
    /// Bit i: page i was overwritten or cut since the picture was taken.
    changed: u128,
    pages: Vec<Kept>,
}

/// What a picture needs to know of the pages that change while it is copied.
#[derive(Debug)]
pub(super) struct Keeping {
    /// By group, whether it is still to be copied.
    due: Vec<bool>,
    /// No group before this one is due, in file order.
    next: usize,
    /// Groups of which pages are kept: copied first, so that little has to be.
    urgent: VecDeque<GroupNo>,
    kept: HashMap<GroupNo, KeptGroup>,
    kept_bytes: u64,
    kept_bytes_max: u64,
    /// A page could not be kept: the picture is spoilt.
    failed: Option<StoreError>,
}

impl Keeping {
    fn is_due(&self, group: GroupNo) -> bool {
        usize::try_from(group.0).ok().and_then(|index| self.due.get(index)).copied() == Some(true)
    }

    fn fail(&mut self, error: StoreError) {
        self.failed.get_or_insert(error);
        self.due.clear();
        self.urgent.clear();
        self.kept.clear();
    }
}

/// A state that is being copied. There is one at a time.
pub(crate) struct Picture<'store> {
    store: &'store Store,
    /// The root record of the state; its page 0 is the picture's.
    pub(crate) root: RootRecord,
    /// The tag pages that it names.
    pub(crate) rows: Vec<Row>,
    _no_key_goes: RwLockReadGuard<'store, ()>,
}

impl Drop for Picture<'_> {
    fn drop(&mut self) {
        self.store.picturing.store(false, Ordering::Release);
        *self.store.keeping() = None;
    }
}

impl Store {
    /// The keys that open what backups of now and of before are sealed under.
    pub(crate) fn keyring_for_backup(&self) -> std::sync::Arc<crate::keys::Keyring> {
        self.keyring()
    }

    fn keeping(&self) -> MutexGuard<'_, Option<Keeping>> {
        self.keeping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a picture of the durable state. `wanted` says of each group, by its tag page, whether
    /// it will be copied. Pages that change meanwhile are kept in memory, up to so many bytes.
    ///
    /// # Errors
    /// The store can't be used, or another picture is being copied.
    pub(crate) fn take_picture(
        &self,
        wanted: impl Fn(GroupNo, &Row) -> bool,
        kept_bytes_max: u64,
    ) -> Result<Picture<'_>, StoreError> {
        self.check_usable()?;
        let under_way = StoreError::Misuse(
            "a backup of this database is under way already; wait for it to end",
        );
        if self.picturing.load(Ordering::Acquire) {
            // Before it waits behind a rotation that waits for the other one.
            return Err(under_way);
        }
        let no_key_goes = self.keys_stay.read().unwrap_or_else(PoisonError::into_inner);
        let _no_sync = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_usable()?; // a close may have come between
        self.write_late_tag_pages()?;
        // No page is on its way, and none is overwritten before this returns.
        let _alone = self.resizing.write().unwrap_or_else(PoisonError::into_inner);
        let mut keeping = self.keeping();
        if keeping.is_some() {
            return Err(under_way);
        }
        let (root, rows) = {
            let state = self.state();
            (state.durable.root.clone(), state.rows.clone())
        };
        let due = (0..).map(GroupNo).zip(&rows).map(|(group, row)| wanted(group, row)).collect();
        *keeping = Some(Keeping {
            due,
            next: 0,
            urgent: VecDeque::new(),
            kept: HashMap::new(),
            kept_bytes: 0,
            kept_bytes_max,
            failed: None,
        });
        self.picturing.store(true, Ordering::Release);
        Ok(Picture { store: self, root, rows, _no_key_goes: no_key_goes })
    }

    // So that the tag pages tell what changed since an earlier backup. The caller holds `syncing`.
    fn write_late_tag_pages(&self) -> Result<(), StoreError> {
        if !self.state().has_late_entries() {
            return Ok(());
        }
        self.state_mut().tag_pages_due = true;
        self.sync_snapshot(PageZero::AsDurable)
    }

    /// Keeps pages of a group that are about to be overwritten or cut, if a picture wants them. The
    /// caller holds `resizing`. A failure spoils the picture, never the write.
    pub(super) fn keep_for_picture(&self, group: GroupNo, places: Range<usize>) {
        if !self.picturing.load(Ordering::Acquire) {
            return;
        }
        let mut keeping = self.keeping();
        let Some(keeping) = keeping.as_mut().filter(|keeping| keeping.is_due(group)) else {
            return;
        };
        for place in places {
            let kept = keeping.kept.entry(group).or_default();
            if kept.changed >> place & 1 == 1 {
                continue;
            }
            kept.changed |= 1 << place;
            match self.read_to_keep(group, place) {
                Err(error) => return keeping.fail(error),
                Ok(None) => {}
                Ok(Some(page)) => {
                    if kept.pages.is_empty() {
                        keeping.urgent.push_back(group);
                    }
                    kept.pages.push(page);
                    keeping.kept_bytes += PAGE_BYTES;
                }
            }
            if keeping.kept_bytes > keeping.kept_bytes_max {
                let kept_bytes = keeping.kept_bytes;
                return keeping.fail(StoreError::Outrun { kept_bytes });
            }
        }
    }

    fn read_to_keep(&self, group: GroupNo, place: usize) -> Result<Option<Kept>, StoreError> {
        let mut entry = [Entry::ABSENT];
        self.entries(group, place, &mut entry)?;
        let [entry] = entry;
        if entry.state() != EntryState::Sealed {
            return Ok(None);
        }
        let mut bytes = Box::new([0; PAGE_SIZE]);
        let page = layout::page_at(group, place);
        // Where the file has no such bytes the page is as unreadable then as it is now.
        let there = self.read_or_eof(layout::data_page_start(page), bytes.as_mut_slice())?;
        Ok(there.then_some(Kept { place, entry, bytes }))
    }

    /// The same for all pages from `first` on, which a smaller length is about to cut.
    pub(super) fn keep_cut_pages(&self, first: PageNo) {
        if !self.picturing.load(Ordering::Acquire) {
            return;
        }
        let (first_group, place) = layout::place_of(first);
        let groups = self.state().groups;
        let mut from = place;
        for group in (first_group.0..groups).map(GroupNo) {
            self.keep_for_picture(group, from..ENTRIES_PER_TAG_PAGE);
            from = 0;
        }
    }
}

impl Picture<'_> {
    /// The tag page of a group in the picture.
    pub(crate) fn row(&self, group: GroupNo) -> Option<Row> {
        usize::try_from(group.0).ok().and_then(|index| self.rows.get(index)).copied()
    }

    /// The group to be copied next; `None` once all that are wanted were.
    pub(crate) fn next_group(&self) -> Option<GroupNo> {
        let mut keeping = self.store.keeping();
        let keeping = keeping.as_mut()?;
        while let Some(group) = keeping.urgent.pop_front() {
            if keeping.is_due(group) {
                return Some(group);
            }
        }
        let rest = keeping.due.get(keeping.next..)?;
        keeping.next += rest.iter().position(|due| *due)?;
        Some(GroupNo(keeping.next as u64))
    }

    /// Copies a group: entries and the ciphertexts that open under them. A page that doesn't open
    /// is *lost* in the copy; returns those.
    ///
    /// # Errors
    /// A read failed, or the writer changed more than could be kept.
    pub(crate) fn copy_group(
        &self,
        group: GroupNo,
        out: &mut GroupPages,
    ) -> Result<Vec<PageNo>, StoreError> {
        self.store.check_usable()?;
        let places = self.places_of(group);
        let mut before = [Entry::ABSENT; ENTRIES_PER_TAG_PAGE];
        self.store.entries(group, 0, &mut before)?;
        let start = layout::data_page_start(layout::page_at(group, 0));
        let run = out.pages.get_mut(..places).unwrap_or_default().as_flattened_mut();
        let whole = self.store.read_or_eof(start, run)?;
        out.group = group;
        self.settle(group, places, &before, whole, out)?;
        let mut lost = Vec::new();
        for place in 0..places {
            let page = layout::page_at(group, place);
            if !self.opens(page, place, out)? {
                lost.push(page);
            }
        }
        Ok(lost)
    }

    // Places of a group that lie within the logical length.
    fn places_of(&self, group: GroupNo) -> usize {
        let before = group.0.saturating_mul(layout::DATA_PAGES_PER_GROUP);
        let pages = layout::pages_in(self.root.logical_len).saturating_sub(before);
        usize::try_from(pages).unwrap_or(usize::MAX).min(ENTRIES_PER_TAG_PAGE)
    }

    // What was read counts where nothing was written meanwhile; what was written over was kept;
    // what a rotation sealed anew meanwhile is read again. While no page is on its way.
    fn settle(
        &self,
        group: GroupNo,
        places: usize,
        before: &[Entry; ENTRIES_PER_TAG_PAGE],
        whole: bool,
        out: &mut GroupPages,
    ) -> Result<(), StoreError> {
        let _alone = self.store.resizing.write().unwrap_or_else(PoisonError::into_inner);
        let mut keeping = self.store.keeping();
        let keeping = keeping.as_mut().ok_or(StoreError::Misuse("a picture that was let go"))?;
        if let Some(failed) = keeping.failed.take() {
            return Err(failed);
        }
        if let Some(due) = usize::try_from(group.0).ok().and_then(|at| keeping.due.get_mut(at)) {
            *due = false;
        }
        let kept = keeping.kept.remove(&group).unwrap_or_default();
        keeping.kept_bytes -= PAGE_BYTES * kept.pages.len() as u64;
        out.entries = [Entry::ABSENT; ENTRIES_PER_TAG_PAGE];
        let now = out.entries.get_mut(..places).unwrap_or_default();
        self.store.entries(group, 0, now)?;
        let now = out.entries;
        for (place, page) in out.pages.iter_mut().enumerate().take(places) {
            let is_as_read = whole && now.get(place) == before.get(place);
            let is_sealed = now.get(place).is_some_and(|e| e.state() == EntryState::Sealed);
            if is_sealed && !is_as_read {
                let offset = layout::data_page_start(layout::page_at(group, place));
                self.store.read_or_eof(offset, page)?;
            }
        }
        for Kept { place, entry, bytes } in kept.pages {
            if let (Some(now), Some(page)) = (out.entries.get_mut(place), out.pages.get_mut(place))
                && place < places
            {
                (*now, *page) = (entry, *bytes);
            }
        }
        Ok(())
    }

    // Whether a page of the copy opens, if it is a sealed one; it is lost there if not.
    fn opens(&self, page: PageNo, place: usize, out: &mut GroupPages) -> Result<bool, StoreError> {
        let (Some(entry), Some(bytes)) = (out.entries.get_mut(place), out.pages.get_mut(place))
        else {
            return Ok(true);
        };
        if entry.state() != EntryState::Sealed {
            return Ok(true);
        }
        if self.store.open_page(page, entry, &mut bytes.clone()) {
            return Ok(true);
        }
        // From the storage itself, should a cache have gone bad.
        let offset = layout::data_page_start(page);
        self.store.medium.drop_cache(offset.0, PAGE_BYTES)?;
        let mut again = [0; PAGE_SIZE];
        if self.store.read_or_eof(offset, &mut again)? {
            *bytes = again;
            if self.store.open_page(page, entry, &mut again) {
                return Ok(true);
            }
        }
        *entry = Entry::LOST;
        Ok(false)
    }

    /// The header and keys that open everything that was copied, and the pages sealed under the
    /// active one so far. Once all groups were copied.
    ///
    /// # Errors
    /// The writer changed more than could be kept.
    pub(crate) fn finish(&self) -> Result<(Unlocked, u64), StoreError> {
        self.store.check_usable()?;
        if let Some(failed) = self.store.keeping().as_mut().and_then(|kept| kept.failed.take()) {
            return Err(failed);
        }
        let unlocked = self.store.unlocked();
        Ok(((*unlocked).clone(), self.store.sealed_pages.load(Ordering::Acquire)))
    }
}
