//! The tag-page cache: bounded memory for clean tag pages, dirty ones pinned until a sync has made
//! them durable, and so are those whose newest entries only the root record carries. Loading happens
//! outside the lock; what was loaded counts only if the group's row is still the one it was loaded
//! for.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};

use super::Store;
use crate::error::{Damage, StoreError};
use crate::format::clean_index::Row;
use crate::format::record::SealedRecord;
use crate::format::root_record::RootRecord;
use crate::format::tag_page::{Entry, TagPage};
use crate::layout::{self, PAGE_SIZE};
use crate::units::{CopyId, GroupNo, PageNo};

/// Clock steps that one load may take while many pages are pinned.
const CLOCK_STEPS_PER_LOAD: usize = 64;
/// Too small a cache would load a tag page for every page read.
const CACHED_PAGES_MIN: usize = 8;

#[derive(Debug)]
struct Cached {
    page: Box<TagPage>,
    /// In the snapshot of a sync that has not returned.
    syncing: bool,
    /// Used since the clock hand last passed.
    used: AtomicBool,
}

/// What happened to a tag page since the last snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Change {
    /// Entries of pages that redb wrote were published, and nothing else: a root record can carry
    /// them.
    Published,
    Other,
}

/// Tag pages by group, evicted by the clock algorithm.
#[derive(Debug)]
pub(super) struct TagCache {
    pages: HashMap<GroupNo, Cached>,
    clock: VecDeque<GroupNo>,
    /// Changed since the last snapshot, in file order.
    dirty: BTreeMap<GroupNo, Change>,
    /// Newer than any copy on the medium: the root record carries what they lack.
    late: BTreeSet<GroupNo>,
    limit: usize,
}

impl TagCache {
    pub(super) fn new(limit_bytes: usize) -> Self {
        let limit = (limit_bytes / PAGE_SIZE).max(CACHED_PAGES_MIN);
        Self {
            pages: HashMap::new(),
            clock: VecDeque::new(),
            dirty: BTreeMap::new(),
            late: BTreeSet::new(),
            limit,
        }
    }

    pub(super) fn get(&self, group: GroupNo) -> Option<&TagPage> {
        let cached = self.pages.get(&group)?;
        cached.used.store(true, Ordering::Relaxed);
        Some(&cached.page)
    }

    /// A cached page, to be changed: it is dirty from here on.
    pub(super) fn change(&mut self, group: GroupNo) -> Option<&mut TagPage> {
        let cached = self.pages.get_mut(&group)?;
        self.dirty.insert(group, Change::Other);
        Some(&mut cached.page)
    }

    /// A cached page, to publish entries in: it is dirty from here on.
    pub(super) fn publish_in(&mut self, group: GroupNo) -> Option<&mut TagPage> {
        let cached = self.pages.get_mut(&group)?;
        self.dirty.entry(group).or_insert(Change::Published);
        Some(&mut cached.page)
    }

    /// A tag page just loaded from the medium.
    fn insert_loaded(&mut self, group: GroupNo, page: Box<TagPage>) {
        self.insert(group, page);
        // A round at most, so that the page just loaded, used but once, outlasts it even where all
        // others are pinned.
        self.evict(CLOCK_STEPS_PER_LOAD.min(self.clock.len()));
    }

    /// A tag page that no medium holds yet.
    pub(super) fn insert_dirty(&mut self, group: GroupNo, page: Box<TagPage>) {
        self.insert(group, page);
        self.dirty.insert(group, Change::Other);
    }

    /// A tag page with entries that only the durable root record carries.
    pub(super) fn insert_late(&mut self, group: GroupNo, page: Box<TagPage>) {
        self.insert(group, page);
        self.late.insert(group);
    }

    fn insert(&mut self, group: GroupNo, page: Box<TagPage>) {
        let cached = Cached { page, syncing: false, used: AtomicBool::new(true) };
        if self.pages.insert(group, cached).is_none() {
            self.clock.push_back(group);
        }
    }

    // Some steps of the clock: dirty pages and pages of a running sync stay.
    fn evict(&mut self, steps: usize) {
        for _ in 0..steps {
            if self.pages.len() <= self.limit {
                return;
            }
            let Some(group) = self.clock.pop_front() else { return };
            match self.pages.get(&group) {
                None => {}
                Some(cached) if cached.syncing || self.is_pinned(group) => {
                    self.clock.push_back(group);
                }
                Some(cached) if cached.used.swap(false, Ordering::Relaxed) => {
                    self.clock.push_back(group);
                }
                Some(_) => {
                    self.pages.remove(&group);
                }
            }
        }
    }

    fn is_pinned(&self, group: GroupNo) -> bool {
        self.dirty.contains_key(&group) || self.late.contains(&group)
    }

    /// Forgets the groups from this one on: the file was cut there.
    pub(super) fn forget_from(&mut self, first: GroupNo) {
        self.pages.retain(|group, _| *group < first);
        self.clock.retain(|group| *group < first);
        self.dirty.split_off(&first);
        self.late.split_off(&first);
    }

    /// Tag pages that the next sync writes.
    pub(super) fn dirty_count(&self) -> u64 {
        (self.dirty.len() + self.late.len()) as u64
    }

    pub(super) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Whether root records carry entries that no tag page on the medium has.
    pub(super) fn has_late(&self) -> bool {
        !self.late.is_empty()
    }

    /// Every entry published since the last snapshot, by page. `None` where a tag page changed in
    /// any other way.
    pub(super) fn published(&self) -> Option<BTreeMap<PageNo, Entry>> {
        let mut published = BTreeMap::new();
        for (group, change) in &self.dirty {
            if *change == Change::Other {
                return None;
            }
            let page = &self.pages.get(group)?.page;
            published.extend(page.fresh_entries().map(|(p, e)| (layout::page_at(*group, p), *e)));
        }
        Some(published)
    }

    /// A copy of one dirty page, to be written; the root record carries what was published in all
    /// others. All of them are clean from here on, with no fresh page, and stay.
    pub(super) fn take_one(&mut self, witness: GroupNo) -> Vec<(GroupNo, Box<TagPage>)> {
        let mut taken = Vec::new();
        for group in std::mem::take(&mut self.dirty).into_keys() {
            let Some(cached) = self.pages.get_mut(&group) else { continue };
            if group == witness {
                taken.push((group, cached.page.clone()));
                cached.syncing = true;
                self.late.remove(&group);
            } else {
                self.late.insert(group);
            }
            cached.page.clear_fresh();
        }
        taken
    }

    /// Copies of all dirty and late pages, in the order in which they lie in the file. The cached
    /// ones are clean from here on, with no fresh page, but stay until [`TagCache::settle`].
    pub(super) fn take_dirty(&mut self) -> Vec<(GroupNo, Box<TagPage>)> {
        let mut groups = std::mem::take(&mut self.late);
        groups.extend(std::mem::take(&mut self.dirty).into_keys());
        let mut taken = Vec::with_capacity(groups.len());
        for group in groups {
            if let Some(cached) = self.pages.get_mut(&group) {
                taken.push((group, cached.page.clone()));
                cached.page.clear_fresh();
                cached.syncing = true;
            }
        }
        taken
    }

    /// A page of the snapshot is durable.
    pub(super) fn settle(&mut self, group: GroupNo) {
        if let Some(cached) = self.pages.get_mut(&group) {
            cached.syncing = false;
        }
    }

    /// After a sync: back to the limit.
    pub(super) fn trim(&mut self) {
        // Twice round: once to find out what was used, once to let go of what wasn't.
        self.evict(2 * self.clock.len());
    }
}

impl Store {
    /// Asks a group's tag page something, loading it where it isn't cached. `None` is asked of no
    /// page: the group has none, all of it is absent.
    pub(super) fn with_tag_page<T>(
        &self,
        group: GroupNo,
        mut ask: impl FnMut(&TagPage) -> T,
    ) -> Result<Option<T>, StoreError> {
        loop {
            let row = {
                let state = self.state();
                if group.0 >= state.groups {
                    return Ok(None);
                }
                if let Some(page) = state.cache.get(group) {
                    return Ok(Some(ask(page)));
                }
                state.row(group)
            };
            self.load_tag_page(group, row)?;
        }
    }

    /// The entries of a run of pages in one group.
    pub(super) fn entries(
        &self,
        group: GroupNo,
        first_place: usize,
        out: &mut [Entry],
    ) -> Result<(), StoreError> {
        let found = self.with_tag_page(group, |page| {
            for (place, entry) in (first_place..).zip(out.iter_mut()) {
                *entry = page.entry(place);
            }
        })?;
        if found.is_none() {
            out.fill(Entry::ABSENT);
        }
        Ok(())
    }

    /// Puts the late entries of the root record that was chosen into their tag pages, in memory.
    pub(super) fn take_late_entries(&self, root: &RootRecord) -> Result<(), StoreError> {
        let mut rest = root.late.as_slice();
        while let Some(first) = rest.first() {
            let (group, _) = layout::place_of(first.page);
            let of_group = rest.iter().take_while(|late| layout::place_of(late.page).0 == group);
            let (here, behind) = rest.split_at(of_group.count());
            let row = self.state().row(group).ok_or(Damage::TagPage {
                group,
                offset: layout::tag_page_start(group, CopyId::A),
            })?;
            let mut page = Box::new(self.read_tag_page(group, row)?);
            for late in here {
                page.put_fresh(layout::place_of(late.page).1, late.entry(root.epoch));
            }
            page.clear_fresh();
            self.state_mut().cache.insert_late(group, page);
            rest = behind;
        }
        Ok(())
    }

    // Reads a tag page and caches it, unless a sync replaced it meanwhile. Where its copy is damaged
    // and the twin is its equal, as in every group until it is written a second time, the twin will
    // do: it is the durable one from here on, so that the next sync overwrites the damaged copy.
    fn load_tag_page(&self, group: GroupNo, row: Option<Row>) -> Result<(), StoreError> {
        let Some(row) = row else {
            return Err(StoreError::Misuse("a group without a row and without a tag page"));
        };
        let twin = Row { copy: row.copy.other(), ..row };
        let loaded = match self.read_tag_page(group, row) {
            Ok(page) => Ok((page, row)),
            Err(error) => self.read_tag_page(group, twin).map(|page| (page, twin)).or(Err(error)),
        };
        let mut state = self.state_mut();
        if state.row(group) != Some(row) || state.cache.get(group).is_some() {
            return Ok(());
        }
        let (page, found) = loaded?;
        state.set_row(group, found);
        state.cache.insert_loaded(group, Box::new(page));
        Ok(())
    }

    pub(super) fn read_tag_page(&self, group: GroupNo, row: Row) -> Result<TagPage, StoreError> {
        let offset = layout::tag_page_start(group, row.copy);
        let damage = Damage::TagPage { group, offset };
        let mut record = SealedRecord::blank();
        self.medium.read_at(offset.0, record.bytes_mut()).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Damage::Truncated { offset }.into(),
            _ => StoreError::Io(error),
        })?;
        // Equal to what the digest vouched for, and only then worth opening.
        if record.tag() != row.tag {
            return Err(damage.into());
        }
        let keyring = self.keyring();
        let key = keyring.get(record.epoch()).ok_or(damage)?;
        let page = TagPage::open(&record, &key.tag_page, keyring.file_id(), group).ok_or(damage)?;
        if page.sync == row.sync { Ok(page) } else { Err(damage.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blank() -> Box<TagPage> {
        Box::new(TagPage::absent())
    }

    fn held(cache: &TagCache) -> Vec<u64> {
        let mut held: Vec<_> = cache.pages.keys().map(|group| group.0).collect();
        held.sort_unstable();
        held
    }

    #[test]
    fn what_was_used_stays_and_what_is_pinned_stays_whatever_comes() {
        let mut cache = TagCache::new(8 * PAGE_SIZE);
        (0..9).for_each(|group| cache.insert_loaded(GroupNo(group), blank()));
        assert_eq!(held(&cache), (0..9).collect::<Vec<_>>(), "all were used since the hand passed");
        assert!(cache.get(GroupNo(0)).is_some());
        cache.insert_loaded(GroupNo(9), blank());
        assert_eq!(held(&cache), [0, 3, 4, 5, 6, 7, 8, 9]);
        cache.insert_dirty(GroupNo(100), blank());
        cache.insert_late(GroupNo(101), blank());
        (10..60).for_each(|group| cache.insert_loaded(GroupNo(group), blank()));
        assert!(cache.get(GroupNo(100)).is_some() && cache.get(GroupNo(101)).is_some());
    }

    #[test]
    fn after_a_sync_the_cache_is_within_its_limit() {
        let mut cache = TagCache::new(0);
        (0..40).for_each(|group| cache.insert_dirty(GroupNo(group), blank()));
        assert_eq!(cache.take_dirty().len(), 40);
        cache.trim();
        assert_eq!(cache.pages.len(), 40, "on their way to the medium");
        (0..40).for_each(|group| cache.settle(GroupNo(group)));
        cache.trim();
        assert_eq!(cache.pages.len(), CACHED_PAGES_MIN);
    }

    #[test]
    fn groups_that_were_cut_off_are_forgotten_and_no_others() {
        let mut cache = TagCache::new(0);
        assert!(!cache.has_dirty() && !cache.has_late() && cache.dirty_count() == 0);
        (0..3).for_each(|group| cache.insert_dirty(GroupNo(group), blank()));
        (3..6).for_each(|group| cache.insert_late(GroupNo(group), blank()));
        assert!(cache.has_dirty() && cache.has_late() && cache.dirty_count() == 6);
        cache.forget_from(GroupNo(4));
        assert_eq!((held(&cache), cache.dirty_count()), (vec![0, 1, 2, 3], 4));
        assert_eq!(cache.clock, [0, 1, 2, 3].map(GroupNo));
        cache.forget_from(GroupNo(2));
        assert!(cache.has_dirty() && !cache.has_late() && cache.dirty_count() == 2);
        cache.forget_from(GroupNo(0));
        assert!(held(&cache).is_empty() && !cache.has_dirty());
    }
}
