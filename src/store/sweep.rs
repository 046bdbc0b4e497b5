//! The sweep of a key rotation (docs/rotation.md): seals anew what older data keys sealed, makes
//! both copies of every record new, wipes what no entry names, and proves by reading the file that
//! nothing is left. One step a call; who calls when is `rotation`'s business, a floor above.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::Store;
use super::journal::Batch;
use super::sync::RESERVE_MAX;
use crate::crypto::page::Cipher;
use crate::error::StoreError;
use crate::format::completion::Completion;
use crate::format::journal::Image;
use crate::format::record::SealedRecord;
use crate::format::root_record::RotationHint;
use crate::format::tag_page::{Entry, EntryState, TagPage};
use crate::keys::{Due, Keyring, epochs};
use crate::layout::{self, ENTRIES_PER_TAG_PAGE, PAGE_SIZE};
use crate::units::{CopyId, Epoch, GroupNo, PageNo};

/// Groups that a batch looks at, at most: where nothing is to be done, it is over in a moment.
const GROUPS_PER_BATCH: u64 = 256;

impl Store {
    /// Makes a new data key the active one: durable in both header copies and named by a root
    /// record before this returns.
    pub(crate) fn begin_rotation(&self) -> Result<(), StoreError> {
        let sealed_pages = self.sealed_pages_at_most();
        let now = self.terms().clock.now_s();
        self.commit_header(|unlocked| epochs::begin(unlocked, sealed_pages, now))
    }

    /// A bound of what the active key has sealed when another one takes its place.
    pub(super) fn sealed_pages_at_most(&self) -> u64 {
        let sealed_pages = self.state().durable.root.sealed_pages;
        // Syncs on their way may allow for more until the new key is active.
        sealed_pages.saturating_add(RESERVE_MAX)
    }

    /// The epochs that are to go; empty where no rotation is due.
    pub(crate) fn retired_epochs(&self) -> Vec<Epoch> {
        self.keyring().retired_epochs()
    }

    /// Whether the active data key has reached the age or the use at which its policy wants another
    /// one. By the later of this machine's clock and the latest time that the header has seen.
    pub(crate) fn is_rotation_due(&self) -> bool {
        let by_age_or_use =
            |due: &Due| matches!(due, Due::RotationByAge(_) | Due::RotationByUse(_));
        self.key_status().due.iter().any(by_age_or_use)
    }

    /// How many pages each epoch has sealed of those that entries name now. Reads all tag pages.
    pub(crate) fn pages_by_epoch(&self) -> Result<HashMap<Epoch, u64>, StoreError> {
        let mut pages = HashMap::new();
        for group in (0..self.groups()).map(GroupNo) {
            self.with_tag_page(group, |page| {
                let sealed = page.entries().filter(|(_, e)| e.state() == EntryState::Sealed);
                sealed.for_each(|(_, entry)| *pages.entry(entry.epoch).or_default() += 1);
            })?;
        }
        Ok(pages)
    }

    /// The epoch that seals everything new.
    pub(crate) fn active_epoch(&self) -> Epoch {
        self.keyring().active().epoch
    }

    /// Groups that the logical length has room for.
    pub(crate) fn groups(&self) -> u64 {
        layout::groups_for(layout::pages_in(self.state().logical_len))
    }

    /// Groups that the current length or the durable one has room for.
    pub(crate) fn groups_on_disk(&self) -> u64 {
        let durable = layout::pages_in(self.state().durable.root.logical_len);
        self.groups().max(layout::groups_for(durable))
    }

    /// Pages of the logical length.
    pub(crate) fn pages(&self) -> u64 {
        layout::pages_in(self.state().logical_len)
    }

    /// Where the sweep of an earlier session got to.
    pub(crate) fn swept_to(&self) -> GroupNo {
        let rotation = self.state().rotation;
        let known = rotation.to == self.active_epoch();
        GroupNo(if known { rotation.next_group } else { 0 })
    }

    /// Pages sealed anew and pages given up by this rotation, earlier sessions included.
    pub(crate) fn swept_pages(&self) -> (u64, u64) {
        let rotation = self.state().rotation;
        (rotation.resealed, rotation.lost)
    }

    /// Whether the store can still be worked on.
    pub(crate) fn is_usable(&self) -> bool {
        self.check_usable().is_ok()
    }

    /// Whether it was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether an earlier failure keeps it from being written.
    pub(crate) fn is_latched(&self) -> bool {
        self.latched.load(Ordering::Acquire)
    }

    /// Whether redb asked for anything since the last call, so that a rotation knows when to give
    /// way.
    pub(crate) fn take_activity(&self) -> bool {
        self.active.swap(false, Ordering::Relaxed)
    }

    /// Seals anew, in memory, what older keys sealed from group `first` on: up to 4 MiB, and not
    /// farther than a look takes a moment. Pages that don't open are given up, or else counted.
    pub(crate) fn prepare_batch(&self, first: GroupNo, give_up: bool) -> Result<Batch, StoreError> {
        self.check_writable()?;
        let keyring = self.keyring();
        let cipher = Cipher::new(&keyring.active().page);
        let mut batch = Batch { next_group: first, ..Batch::default() };
        let end = self.groups().min(first.0.saturating_add(GROUPS_PER_BATCH));
        while batch.next_group.0 < end {
            self.check_usable()?; // a close waits for nothing it could read
            let stale = self.stale_entries(batch.next_group, &keyring)?;
            if batch.images.len() + stale.len() > self.batch_pages {
                break;
            }
            self.prepare_group(&keyring, &cipher, &stale, give_up, &mut batch)?;
            batch.next_group.0 += 1;
        }
        Ok(batch)
    }

    fn stale_entries(
        &self,
        group: GroupNo,
        keyring: &Keyring,
    ) -> Result<Vec<(PageNo, Entry)>, StoreError> {
        let active = keyring.active().epoch;
        let stale = self.with_tag_page(group, |page| {
            page.entries()
                .filter(|(_, entry)| is_stale(entry, active))
                .map(|(place, entry)| (layout::page_at(group, place), *entry))
                .collect()
        })?;
        Ok(stale.unwrap_or_default())
    }

    fn prepare_group(
        &self,
        keyring: &Keyring,
        cipher: &Cipher,
        stale: &[(PageNo, Entry)],
        give_up: bool,
        batch: &mut Batch,
    ) -> Result<(), StoreError> {
        let (Some((first, _)), Some((last, _))) = (stale.first(), stale.last()) else {
            return Ok(());
        };
        self.count_seals(stale.len() as u64 + 1)?;
        let run = usize::try_from(last.0 - first.0).unwrap_or(0) + 1;
        let mut bytes = vec![[0; PAGE_SIZE]; run.min(ENTRIES_PER_TAG_PAGE)];
        // Where the file ends within the run, the pages are read one by one.
        let whole = self.read_or_eof(layout::data_page_start(*first), bytes.as_flattened_mut())?;
        for (page, entry) in stale {
            let index = usize::try_from(page.0 - first.0).unwrap_or(usize::MAX);
            let Some(bytes) = bytes.get_mut(index) else { continue };
            let opened = whole && self.open_page(*page, entry, bytes);
            if opened || self.open_once_more(*page, entry, bytes)? {
                let new = Entry { epoch: keyring.active().epoch, ..Entry::ABSENT };
                let mut image = Image { page: *page, old: *entry, new };
                self.seal_again(cipher, &mut image, bytes, keyring.file_id())?;
                batch.images.push(image);
                batch.pages.push(*bytes);
            } else if self.is_entry(*page, entry)? {
                match give_up {
                    true => batch.unreadable.push((*page, *entry)),
                    false => batch.unreadable_count += 1,
                }
            }
        }
        Ok(())
    }

    // From the storage itself, should a cache have gone bad.
    fn open_once_more(
        &self,
        page: PageNo,
        entry: &Entry,
        bytes: &mut [u8; PAGE_SIZE],
    ) -> Result<bool, StoreError> {
        let offset = layout::data_page_start(page);
        self.medium.drop_cache(offset.0, PAGE_SIZE as u64)?;
        Ok(self.read_or_eof(offset, bytes)? && self.open_page(page, entry, bytes))
    }

    fn is_entry(&self, page: PageNo, entry: &Entry) -> Result<bool, StoreError> {
        let (group, place) = layout::place_of(page);
        let mut current = [Entry::ABSENT];
        self.entries(group, place, &mut current)?;
        Ok(current == [*entry])
    }

    /// One step: journals `next`, puts the batch that the step before journaled in place, and makes
    /// both durable with one `fsync`.
    ///
    /// # Errors
    /// Where only the journal could not be written, as on a full disk, the database goes on and the
    /// step can be tried again with a batch made anew. Anything else latches.
    pub(crate) fn exchange(&self, next: Option<Batch>) -> Result<(), StoreError> {
        self.check_writable()?;
        let mut sweep = self.sweep.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_usable()?; // a close may have come between
        self.leave_clean_state()?;
        let mut next = next.filter(|batch| !batch.is_empty());
        self.name_rotation();
        let journaled = next.as_mut().map_or(Ok(()), |batch| self.journal_batch(batch));
        if journaled.is_err() {
            next = None;
            self.check_usable()?; // a failed sync latches: nothing is written after it
        }
        let had_ready = sweep.ready.is_some();
        if let Some(ready) = sweep.ready.take() {
            self.latch(self.put_in_place(&ready))?;
        }
        if had_ready || next.is_some() {
            // Also where nothing is dirty: a sync of redb's may have taken it all and be on its
            // way.
            self.sync_on_its_own()?;
        }
        sweep.ready = next;
        if journaled.is_err() {
            // A full disk gets back what was written of a journal.
            self.end_journal(&mut sweep)?;
            self.cut_file()?;
        }
        journaled
    }

    // The hint of another rotation is none for this one.
    fn name_rotation(&self) {
        let keyring = self.keyring();
        let from = keyring.retired_epochs().into_iter().max().unwrap_or_default();
        let to = keyring.active().epoch;
        let mut state = self.state_mut();
        if (state.rotation.from, state.rotation.to) != (from, to) {
            let batch = state.rotation.batch;
            state.rotation = RotationHint { from, to, batch, ..RotationHint::default() };
            state.dirty = true;
        }
    }

    /// Ends the sweep: no journal, and both root records written anew.
    pub(crate) fn end_sweep(&self) -> Result<(), StoreError> {
        let mut sweep = self.sweep.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_usable()?;
        self.end_journal(&mut sweep)?;
        for _ in CopyId::BOTH {
            self.state_mut().dirty = true;
            self.sync_on_its_own()?;
        }
        // The journal's room, too, goes back to the file system.
        self.cut_file()
    }

    /// Writes the tag pages of some groups again where one of their two copies is not of the active
    /// epoch alone. Returns how many: none, where the file was read and nothing was found.
    pub(crate) fn refresh_tag_pages(&self, groups: Range<u64>) -> Result<u64, StoreError> {
        self.check_writable()?;
        let stale = self.groups_with_stale_copies(groups)?;
        self.count_seals(stale.len() as u64)?;
        for group in &stale {
            while !self.state_mut().touch(*group) {
                self.with_tag_page(*group, |_| ())?;
            }
        }
        if !stale.is_empty() {
            self.sync_on_its_own()?;
        }
        Ok(stale.len() as u64)
    }

    // While no sync writes tag pages.
    fn groups_with_stale_copies(
        &self,
        groups: Range<u64>,
    ) -> Result<BTreeSet<GroupNo>, StoreError> {
        let _no_sync = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        let keyring = self.keyring();
        let durable = self.state().durable.root.groups;
        let mut stale = BTreeSet::new();
        for group in groups.map(GroupNo).filter(|group| group.0 < durable) {
            for copy in CopyId::BOTH {
                let mut record = SealedRecord::blank();
                let there =
                    self.read_or_eof(layout::tag_page_start(group, copy), record.bytes_mut())?;
                if !there || !is_new(&record, &keyring, group) {
                    stale.insert(group);
                }
            }
        }
        Ok(stale)
    }

    /// Overwrites with zeros what lies in the places of pages that neither the durable state nor
    /// the current one has, in some groups: older keys may have sealed it. Made durable by the next
    /// sync.
    pub(crate) fn wipe_unused(&self, groups: Range<u64>) -> Result<(), StoreError> {
        self.check_writable()?;
        self.leave_clean_state()?;
        for group in groups.map(GroupNo) {
            let _no_sync = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
            let _alone = self.resizing.write().unwrap_or_else(PoisonError::into_inner);
            self.check_usable()?;
            self.wipe_group(group)?;
        }
        Ok(())
    }

    fn wipe_group(&self, group: GroupNo) -> Result<(), StoreError> {
        let mut unused = [true; ENTRIES_PER_TAG_PAGE];
        let mut keep_used = |page: &TagPage| {
            for ((_, entry), unused) in page.entries().zip(&mut unused) {
                *unused &= entry.state() != EntryState::Sealed;
            }
        };
        self.with_tag_page(group, &mut keep_used)?;
        let (durable, row) = {
            let state = self.state();
            (group.0 < state.durable.root.groups, state.row(group))
        };
        if let Some(row) = row.filter(|_| durable) {
            keep_used(&self.read_tag_page(group, row)?);
        } else if group.0 >= self.state().groups {
            for copy in CopyId::BOTH {
                self.wipe_page(layout::tag_page_start(group, copy))?;
            }
        }
        for (place, _) in unused.iter().enumerate().filter(|(_, unused)| **unused) {
            self.wipe_page(layout::data_page_start(layout::page_at(group, place)))?;
        }
        Ok(())
    }

    fn wipe_page(&self, offset: crate::units::FileOffset) -> Result<(), StoreError> {
        let mut bytes = [0; PAGE_SIZE];
        if self.read_or_eof(offset, &mut bytes)? && bytes.iter().any(|byte| *byte != 0) {
            self.medium.write_at(offset.0, &[0; PAGE_SIZE])?;
        }
        Ok(())
    }

    /// Whether both root records are sealed under the active key.
    pub(crate) fn root_records_are_new(&self) -> Result<bool, StoreError> {
        let _no_sync = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        let active = self.active_epoch();
        for copy in CopyId::BOTH {
            let mut record = SealedRecord::blank();
            self.medium.read_at(layout::root_start(copy).0, record.bytes_mut())?;
            if record.epoch() != active {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes the retired data keys, which nothing names any more, from both header copies and
    /// from memory, and writes the rotation down.
    pub(crate) fn end_rotation(&self, epochs: &[Epoch]) -> Result<Completion, StoreError> {
        // What is being copied may be sealed under them.
        let _no_picture = self.keys_stay.write().unwrap_or_else(PoisonError::into_inner);
        let (pages, lost) = self.swept_pages();
        let mut completion = None;
        self.commit_header(|unlocked| {
            let begun = unlocked.header.epochs.last().map_or(0, |record| record.created);
            let done = completion.insert(Completion {
                from: epochs.iter().copied().max().unwrap_or_default(),
                to: unlocked.keyring.active().epoch,
                begun,
                ended: self.terms().clock.now_s(),
                pages,
                lost,
            });
            epochs::end(unlocked, epochs, *done)
        })?;
        self.state_mut().rotation = RotationHint::default();
        completion.ok_or(StoreError::Misuse("a header commit that was not asked for its header"))
    }
}

fn is_stale(entry: &Entry, active: Epoch) -> bool {
    entry.state() == EntryState::Sealed && entry.epoch != active
}

fn is_new(record: &SealedRecord, keyring: &Keyring, group: GroupNo) -> bool {
    let active = keyring.active();
    record.epoch() == active.epoch
        && TagPage::open(record, &active.tag_page, keyring.file_id(), group)
            .is_some_and(|page| page.entries().all(|(_, entry)| !is_stale(entry, active.epoch)))
}
