//! What the store knows: the durable root, one row a group, and the state that the next sync will
//! make durable. Pure bookkeeping, under one lock, no I/O.

use std::collections::{BTreeMap, HashMap};

use super::tags::TagCache;
use crate::crypto::digest::{Digest, DigestKey};
use crate::format::clean_index::Row;
use crate::format::late_entry::{self, LATE_ENTRIES_MAX, LateEntry};
use crate::format::root_record::{RootRecord, RotationHint, Tail};
use crate::format::tag_page::{Entry, TagPage};
use crate::keys::Keyring;
use crate::layout::{self, JournalHalf, PAGE_BYTES, PAGE_ZERO_SIZE};
use crate::units::{CopyId, FileOffset, Generation, GroupNo, PageNo, SyncSeq};

type PageZeroBytes = [u8; PAGE_ZERO_SIZE];

/// The root record that a crash now would leave, and which copy it is.
#[derive(Debug)]
pub(super) struct Durable {
    pub(super) root: RootRecord,
    pub(super) copy: CopyId,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) durable: Durable,
    /// The durable tag page of every group that the durable root counts.
    pub(super) rows: Vec<Row>,
    pub(super) cache: TagCache,
    pub(super) logical_len: u64,
    /// Groups that have tag pages; those beyond are absent, whatever bytes lie there.
    pub(super) groups: u64,
    pub(super) page_zero: Box<[u8; PAGE_ZERO_SIZE]>,
    pub(super) generation: Generation,
    /// The anchor count that the next root record carries.
    pub(super) count: u64,
    /// Something besides tag pages changed since the durable root.
    pub(super) dirty: bool,
    /// The next sync writes all tag pages that differ from those on the medium.
    pub(super) tag_pages_due: bool,
    /// Late entries in a root record, at most.
    pub(super) late_max: usize,
    /// The length shrank: the file may be cut once that is durable.
    pub(super) cut_pending: bool,
    /// The rotation journal that every root record names from now on.
    pub(super) journal: Option<Journal>,
    /// Where a rotation stands, for the next open to go on.
    pub(super) rotation: RotationHint,
}

/// A rotation journal in the tail of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Journal {
    pub(super) start: FileOffset,
    pub(super) half: JournalHalf,
}

impl Journal {
    /// The journal that a root record names, if it names one.
    pub(super) fn of(root: &RootRecord) -> Option<Self> {
        let Tail::Journal { first: _, pages } = root.tail else { return None };
        let half = JournalHalf::of_journal(pages)?;
        Some(Self { start: layout::journal_start(root.logical_len), half })
    }

    fn tail(self) -> Tail {
        Tail::Journal { first: self.start.0 / PAGE_BYTES, pages: 2 * self.half.pages() }
    }
}

/// One tag page on its way to disk.
#[derive(Debug)]
pub(super) struct PendingTagPage {
    pub(super) group: GroupNo,
    pub(super) page: Box<TagPage>,
    /// Where it goes: the copy that is not the durable one, or both where none is durable yet.
    pub(super) copies: &'static [CopyId],
}

/// Which page 0 a root record carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PageZero {
    /// As redb last wrote it: in a sync that redb asked for.
    Current,
    /// As the durable root has it: in a sync of the store's own, which may fall between redb's
    /// header and redb's pages.
    AsDurable,
}

/// How a sync does without most of its tag pages.
#[derive(Debug)]
struct Late {
    /// The one that is written all the same; `None` where no page was published.
    witness: Option<GroupNo>,
    entries: Vec<LateEntry>,
}

/// A snapshot of everything the next root record will speak of.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) tag_pages: Vec<PendingTagPage>,
    /// The root to be, complete but for its digest, which wants the tags of the tag pages.
    pub(super) root: RootRecord,
    pub(super) copy: CopyId,
    pub(super) cut_pending: bool,
}

impl State {
    pub(super) fn new(root: RootRecord, copy: CopyId, rows: Vec<Row>, cache: TagCache) -> Self {
        Self {
            logical_len: root.logical_len,
            groups: root.groups,
            page_zero: root.page_zero.clone(),
            generation: root.generation,
            count: root.count,
            rotation: root.rotation,
            durable: Durable { root, copy },
            rows,
            cache,
            dirty: false,
            tag_pages_due: false,
            late_max: LATE_ENTRIES_MAX,
            cut_pending: false,
            journal: None,
        }
    }

    /// The durable row of a group.
    pub(super) fn row(&self, group: GroupNo) -> Option<Row> {
        usize::try_from(group.0).ok().and_then(|index| self.rows.get(index)).copied()
    }

    /// Names the other copy of a group's tag page, its equal, as the durable one.
    pub(super) fn set_row(&mut self, group: GroupNo, row: Row) {
        let place = usize::try_from(group.0).ok().and_then(|index| self.rows.get_mut(index));
        if let Some(place) = place {
            *place = row;
        }
    }

    /// Whether the durable root counts this group: then its durable copy must not be touched.
    fn is_durable(&self, group: GroupNo) -> bool {
        group.0 < self.durable.root.groups
    }

    /// Publishes a page that was written. `false` where its tag page must be loaded first.
    pub(super) fn publish(
        &mut self,
        group: GroupNo,
        first_place: usize,
        entries: &[Entry],
    ) -> bool {
        while self.groups <= group.0 {
            // Every group that the count passes gets a tag page, so that nothing older can wake
            // up there.
            self.cache.insert_dirty(GroupNo(self.groups), Box::new(TagPage::absent()));
            self.groups += 1;
        }
        let Some(page) = self.cache.publish_in(group) else { return false };
        for (place, entry) in (first_place..).zip(entries) {
            page.put_fresh(place, *entry);
        }
        true
    }

    /// Makes the pages of a group from `place` on absent. `false` where its tag page must be
    /// loaded first.
    pub(super) fn cut_group(&mut self, group: GroupNo, place: usize) -> bool {
        let Some(page) = self.cache.get(group) else { return false };
        if !page.is_absent_from(place)
            && let Some(page) = self.cache.change(group)
        {
            page.cut_from(place);
        }
        true
    }

    /// Makes one page absent. `false` where its tag page must be loaded first.
    pub(super) fn make_absent(&mut self, group: GroupNo, place: usize) -> bool {
        if group.0 >= self.groups {
            return true;
        }
        let Some(page) = self.cache.change(group) else { return false };
        page.make_absent(place);
        true
    }

    /// Puts a new seal in the place of `old`, if that is still the page's. `None` where its tag
    /// page must be loaded first.
    pub(super) fn reseal(
        &mut self,
        group: GroupNo,
        place: usize,
        old: &Entry,
        new: &Entry,
    ) -> Option<bool> {
        self.change_if(group, place, old, |page| page.reseal(place, *new))
    }

    /// Gives a page up, if it is still sealed as `old`. `None` where its tag page must be loaded
    /// first.
    pub(super) fn give_up(&mut self, group: GroupNo, place: usize, old: &Entry) -> Option<bool> {
        self.change_if(group, place, old, |page| page.mark_lost(place))
    }

    fn change_if(
        &mut self,
        group: GroupNo,
        place: usize,
        old: &Entry,
        change: impl FnOnce(&mut TagPage),
    ) -> Option<bool> {
        if group.0 >= self.groups {
            return Some(false);
        }
        if self.cache.get(group)?.entry(place) != *old {
            return Some(false);
        }
        self.cache.change(group).map(|page| {
            change(page);
            true
        })
    }

    /// Lets the next sync write a group's tag page again as it is. `false` where it must be loaded
    /// first.
    pub(super) fn touch(&mut self, group: GroupNo) -> bool {
        group.0 >= self.groups || self.cache.change(group).is_some()
    }

    /// Drops the groups from `groups` on. Rows stay: the durable root still counts them.
    pub(super) fn drop_groups_from(&mut self, groups: u64) {
        if groups < self.groups {
            self.cache.forget_from(GroupNo(groups));
            self.groups = groups;
            self.tag_pages_due = true;
        }
    }

    /// Whether a sync has anything to write.
    pub(super) fn needs_sync(&self) -> bool {
        self.dirty || self.cache.has_dirty()
    }

    /// Whether the durable root record carries entries that no tag page has.
    pub(super) fn has_late_entries(&self) -> bool {
        self.cache.has_late()
    }

    /// What the next sync writes of the tag pages, if it can do with one: that one, and the late
    /// entries of the root record for all others.
    fn late_entries(&self, keyring: &Keyring, page_zero: &PageZeroBytes) -> Option<Late> {
        if self.tag_pages_due || keyring.has_retired() {
            return None;
        }
        let epoch = keyring.active().epoch;
        let published = self.cache.published()?;
        let witness = late_entry::witness(published.keys(), &self.durable.root.late);
        let durable = &self.durable.root;
        let is_left = |page: &PageNo| Some(layout::place_of(*page).0) != witness;
        let mut late: BTreeMap<PageNo, LateEntry> = BTreeMap::new();
        for older in durable.late.iter().filter(|older| is_left(&older.page)) {
            let older = LateEntry::new(older.page, &older.entry(durable.epoch), false, epoch)?;
            late.insert(older.page, older);
        }
        for (page, entry) in published.iter().filter(|(page, _)| is_left(page)) {
            late.insert(*page, LateEntry::new(*page, entry, true, epoch)?);
            if late.len() > self.late_max {
                return None;
            }
        }
        let entries: Vec<_> = late.into_values().collect();
        late_entry::fit(entries.len(), page_zero).then_some(Late { witness, entries })
    }

    /// Takes what the next root will speak of. From here on, changes belong to the sync after it.
    pub(super) fn take_snapshot(
        &mut self,
        sealed_pages: u64,
        page_zero: PageZero,
        keyring: &Keyring,
    ) -> Snapshot {
        let sync = self.durable.root.sync.next();
        let page_zero = match page_zero {
            PageZero::Current => self.page_zero.clone(),
            PageZero::AsDurable => self.durable.root.page_zero.clone(),
        };
        let late = self.late_entries(keyring, &page_zero);
        self.tag_pages_due = false;
        let written = match &late {
            Some(Late { witness, .. }) => {
                witness.map_or_else(Vec::new, |witness| self.cache.take_one(witness))
            }
            None => self.cache.take_dirty(),
        };
        let mut tag_pages = Vec::new();
        for (group, mut page) in written {
            page.sync = sync;
            let copies: &[CopyId] = match self.row(group).filter(|_| self.is_durable(group)) {
                Some(Row { copy: CopyId::A, .. }) => &[CopyId::B],
                Some(Row { copy: CopyId::B, .. }) => &[CopyId::A],
                None => &CopyId::BOTH,
            };
            tag_pages.push(PendingTagPage { group, page, copies });
        }
        let durable = &self.durable.root;
        self.dirty = page_zero != self.page_zero;
        let rotating = keyring.has_retired();
        let root = RootRecord {
            epoch: keyring.active().epoch,
            clean: false,
            rotating,
            rotation: if rotating { self.rotation } else { RotationHint::default() },
            sync,
            generation: self.generation,
            logical_len: self.logical_len,
            groups: self.groups,
            sealed_pages,
            tail: self.journal.map_or(Tail::None, Journal::tail),
            late: late.map(|late| late.entries).unwrap_or_default(),
            count: self.count,
            counted_at: match self.count {
                0 => SyncSeq(0),
                count if count == durable.count => durable.counted_at,
                _ => sync,
            },
            page_zero,
            ..durable.clone()
        };
        Snapshot {
            tag_pages,
            root,
            copy: self.durable.copy.other(),
            cut_pending: std::mem::take(&mut self.cut_pending),
        }
    }

    /// Computes the snapshot's digest: from the durable one where one data key seals both roots,
    /// else from all rows.
    pub(super) fn complete_digest(
        &self,
        root: &mut RootRecord,
        new_rows: &[(GroupNo, Row)],
        key: &mut DigestKey,
    ) {
        if root.epoch == self.durable.root.epoch {
            self.change_digest(root, new_rows, key);
        } else {
            self.recompute_digest(root, new_rows, key);
        }
    }

    fn recompute_digest(
        &self,
        root: &mut RootRecord,
        new_rows: &[(GroupNo, Row)],
        key: &mut DigestKey,
    ) {
        let new_rows: HashMap<GroupNo, Row> = new_rows.iter().copied().collect();
        let mut digest = Digest::default();
        for group in (0..root.groups).map(GroupNo) {
            if let Some(row) = new_rows.get(&group).copied().or_else(|| self.row(group)) {
                key.toggle(&mut digest, group, row.sync, &row.tag);
            }
        }
        root.digest = digest;
    }

    // Adds the new rows and takes out what they replace or what a shrink dropped.
    fn change_digest(
        &self,
        root: &mut RootRecord,
        new_rows: &[(GroupNo, Row)],
        key: &mut DigestKey,
    ) {
        let mut digest = self.durable.root.digest;
        let mut toggle = |group, row: Row| key.toggle(&mut digest, group, row.sync, &row.tag);
        for (group, row) in new_rows {
            if let Some(old) = self.row(*group).filter(|_| self.is_durable(*group)) {
                toggle(*group, old);
            }
            toggle(*group, *row);
        }
        for group in root.groups..self.durable.root.groups {
            if let Some(old) = self.row(GroupNo(group)) {
                toggle(GroupNo(group), old);
            }
        }
        root.digest = digest;
    }

    /// The snapshot is durable: flips which copies are.
    pub(super) fn finish_sync(
        &mut self,
        root: RootRecord,
        copy: CopyId,
        new_rows: &[(GroupNo, Row)],
    ) {
        for (group, row) in new_rows {
            let Ok(index) = usize::try_from(group.0) else { continue };
            match self.rows.get_mut(index) {
                Some(place) => *place = *row,
                None => self.rows.push(*row),
            }
            self.cache.settle(*group);
        }
        self.rows.truncate(usize::try_from(root.groups).unwrap_or(usize::MAX));
        self.durable = Durable { root, copy };
    }
}
