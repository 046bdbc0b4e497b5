//! The rotation journal (docs/rotation.md): a page that is to be overwritten in place lies in the
//! tail of the file first, made durable by the sync before. Two halves alternate, so that one
//! `fsync` makes a batch in place and the next one's journal durable together.
//!
//! An image is bound to the entry it replaces and to the one it brings: applying it can't put a
//! stale page back, whatever journal it comes from. A half is written again only after a sync that
//! followed its batch in place.

use std::sync::PoisonError;

use super::Store;
use super::state::Journal;
use super::sync::LatchOnUnwind;
use crate::crypto::page::Cipher;
use crate::error::StoreError;
use crate::format::associated_data::{Place, associated_data};
use crate::format::journal::{self, Image};
use crate::format::record::SealedRecord;
use crate::format::root_record::RootRecord;
use crate::format::tag_page::Entry;
use crate::keys::Keyring;
use crate::layout::{self, JournalHalf, PAGE_SIZE, ROWS_PER_JOURNAL_PAGE};
use crate::medium::Medium;
use crate::units::{FileId, FileOffset, GroupNo, PageNo};

/// Pages in a batch at most: 8 groups, 4 MiB.
pub(super) const BATCH_PAGES_MAX: usize = 1008;

/// Pages sealed anew in memory, in file order.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(super) images: Vec<Image>,
    /// The ciphertexts, one an image.
    pub(super) pages: Vec<[u8; PAGE_SIZE]>,
    /// Pages to be given up: they don't open although their entry didn't change.
    pub(super) unreadable: Vec<(PageNo, Entry)>,
    /// Pages that don't open and that nobody said to give up.
    pub(super) unreadable_count: u64,
    /// The first group that is not in it.
    pub(super) next_group: GroupNo,
}

impl Batch {
    /// The first group behind this batch.
    pub(crate) fn next_group(&self) -> GroupNo {
        self.next_group
    }

    /// Pages of its groups that don't open and stay as they are.
    pub(crate) fn unreadable_count(&self) -> u64 {
        self.unreadable_count
    }

    /// Bytes of pages that were sealed anew.
    pub(crate) fn bytes(&self) -> u64 {
        self.pages.as_flattened().len() as u64
    }

    /// Whether there is nothing to be done for any page of its groups.
    pub(crate) fn is_empty(&self) -> bool {
        self.images.is_empty() && self.unreadable.is_empty()
    }
}

/// What is journaled, durable, and not yet in place.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    pub(super) ready: Option<Batch>,
}

/// The rows of an index page of a batch. `None` where it is not of this batch, or torn: the batch
/// was never in place then.
///
/// # Errors
/// The medium's.
pub(super) fn read_index(
    medium: &dyn Medium,
    keyring: &Keyring,
    journal: Journal,
    batch: u64,
    page: u64,
) -> Result<Option<Vec<Image>>, StoreError> {
    let mut record = SealedRecord::blank();
    let at = journal.half.index_at(journal.start, batch, page);
    if !read_or_eof(medium, at, record.bytes_mut())? {
        return Ok(None);
    }
    let place = Place::JournalIndex { batch, page };
    let body = keyring
        .get(record.epoch())
        .and_then(|key| record.open(&key.journal, keyring.file_id(), place).ok());
    Ok(body
        .and_then(|body| journal::decode(&body).ok())
        .filter(|(number, _)| *number == batch)
        .map(|(_, images)| images))
}

/// `false` where the file ends before; other errors are the medium's.
pub(super) fn read_or_eof(
    medium: &dyn Medium,
    offset: FileOffset,
    out: &mut [u8],
) -> Result<bool, StoreError> {
    match medium.read_at(offset.0, out) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl Store {
    /// Writes a batch to its half of the journal. The next sync makes it durable; before that
    /// nothing of it may go in place. The caller holds `sweep`, so that no length changes.
    ///
    /// # Errors
    /// A write failed, such as on a full disk: nothing is lost, and nothing latches.
    pub(super) fn journal_batch(&self, batch: &mut Batch) -> Result<(), StoreError> {
        let placed = self.state().journal;
        let journal = match placed {
            Some(journal) => journal,
            None => self.place_journal()?,
        };
        self.retain_current(batch)?;
        self.count_seals(batch.images.len().div_ceil(ROWS_PER_JOURNAL_PAGE) as u64)?;
        let number = self.state().rotation.batch.saturating_add(1);
        self.write_half(journal, number, batch)?;
        self.medium.reached("rotation: after journal");
        let mut state = self.state_mut();
        state.journal = Some(journal);
        state.rotation.batch = number;
        state.dirty = true;
        Ok(())
    }

    // Behind everything that the durable root or the next one speaks of: a sync first, after which
    // both have one length and no cut is on its way.
    fn place_journal(&self) -> Result<Journal, StoreError> {
        self.sync_on_its_own()?;
        let len = self.state().logical_len;
        let images = layout::pages_in(len).clamp(1, self.batch_pages as u64);
        Ok(Journal { start: layout::journal_start(len), half: JournalHalf::for_images(images) })
    }

    // A shrink since the batch was made may have dropped pages of it.
    fn retain_current(&self, batch: &mut Batch) -> Result<(), StoreError> {
        let images = std::mem::take(&mut batch.images);
        let pages = std::mem::take(&mut batch.pages);
        for (image, page) in images.into_iter().zip(pages) {
            let (group, place) = layout::place_of(image.page);
            let mut entry = [Entry::ABSENT];
            self.entries(group, place, &mut entry)?;
            if entry == [image.old] {
                batch.images.push(image);
                batch.pages.push(page);
            }
        }
        Ok(())
    }

    fn write_half(&self, journal: Journal, number: u64, batch: &Batch) -> Result<(), StoreError> {
        let Journal { start, half } = journal;
        if batch.images.len() as u64 > half.images() {
            return Err(StoreError::Misuse("a batch larger than the journal's half"));
        }
        let keyring = self.keyring();
        let key = keyring.active();
        for (page, images) in (0..).zip(batch.images.chunks(ROWS_PER_JOURNAL_PAGE)) {
            let record = journal::encode(number, images).seal(
                &key.journal,
                self.nonces.next()?,
                keyring.file_id(),
                key.epoch,
                Place::JournalIndex { batch: number, page },
            );
            self.medium.write_at(half.index_at(start, number, page).0, record.bytes())?;
        }
        if !batch.pages.is_empty() {
            let images = half.image_at(start, number, 0);
            self.medium.write_at(images.0, batch.pages.as_flattened())?;
        }
        Ok(())
    }

    /// Gives the journal up, so that its room may be used: what is in it goes in place and is made
    /// durable, then a root record that names no journal. The caller holds `sweep`.
    ///
    /// A batch could as well be thrown away. Then a rotation would get nowhere beside an
    /// application that grows the file between any two steps.
    pub(super) fn end_journal(&self, sweep: &mut Sweep) -> Result<(), StoreError> {
        self.finish_batch(sweep)?;
        if self.forget_journal() { self.sync_on_its_own() } else { Ok(()) }
    }

    // Puts the batch that is ready in place, durable, under a root record that still names the
    // journal: the pages may be torn in the sync that makes them durable.
    fn finish_batch(&self, sweep: &mut Sweep) -> Result<(), StoreError> {
        let Some(ready) = sweep.ready.take() else { return Ok(()) };
        self.latch(self.put_in_place(&ready))?;
        self.sync_on_its_own()
    }

    /// The next root record names no journal; whether this one does.
    pub(super) fn forget_journal(&self) -> bool {
        let mut state = self.state_mut();
        let there = state.journal.take().is_some();
        state.dirty |= there;
        there
    }

    /// After a crash: puts the images of the journal that a root record names in the place of pages
    /// that were torn while they were overwritten. Returns how many, durable.
    ///
    /// # Errors
    /// A read, a write or the sync failed; doing it again does no harm.
    pub(super) fn apply_journal(&self, root: &RootRecord) -> Result<u64, StoreError> {
        let Some(journal) = Journal::of(root) else { return Ok(0) };
        let half = journal.half;
        // Until a root record without it is durable, its room is not to be used.
        self.state_mut().journal = Some(journal);
        let newest = root.rotation.batch;
        let mut applied = 0;
        for batch in [newest.saturating_sub(1), newest] {
            for page in 0..half.index_pages() {
                let index = read_index(&*self.medium, &self.keyring(), journal, batch, page)?;
                let Some(images) = index else { break };
                for (row, image) in (0..).zip(&images) {
                    let number = page * ROWS_PER_JOURNAL_PAGE as u64 + row;
                    let at = half.image_at(journal.start, batch, number);
                    applied += u64::from(self.apply_image(image, at)?);
                }
            }
        }
        if applied > 0 {
            self.medium.sync()?;
            self.medium.reached("recovery: after journal");
        }
        Ok(applied)
    }

    // Applied only where the page doesn't open as its entry says, and where the image is what the
    // entry says or what replaces it.
    fn apply_image(&self, image: &Image, at: FileOffset) -> Result<bool, StoreError> {
        let (group, place) = layout::place_of(image.page);
        let mut entry = [Entry::ABSENT];
        self.entries(group, place, &mut entry)?;
        let [entry] = entry;
        if entry != image.old && entry != image.new {
            return Ok(false);
        }
        let mut bytes = [0; PAGE_SIZE];
        let home = layout::data_page_start(image.page);
        let readable = self.read_or_eof(home, &mut bytes)?;
        if readable && self.open_page(image.page, &entry, &mut bytes) {
            return Ok(false);
        }
        if !self.read_or_eof(at, &mut bytes)? {
            return Ok(false);
        }
        let sealed = bytes;
        if !self.open_page(image.page, &image.new, &mut bytes) {
            return Ok(false);
        }
        self.medium.write_at(home.0, &sealed)?;
        while self.state_mut().reseal(group, place, &entry, &image.new).is_none() {
            self.with_tag_page(group, |_| ())?;
        }
        Ok(true)
    }

    /// [`read_or_eof`] of this store's medium.
    pub(super) fn read_or_eof(
        &self,
        offset: FileOffset,
        out: &mut [u8],
    ) -> Result<bool, StoreError> {
        read_or_eof(&*self.medium, offset, out)
    }

    /// Overwrites pages by a batch that is durable in the journal, a group at a time, and publishes
    /// their new entries: a page that redb wrote meanwhile, or cut, is left alone. Counts the pages
    /// for the next root record.
    ///
    /// # Errors
    /// A write failed: what is in place is known again only after a reopen, so the caller latches.
    pub(super) fn put_in_place(&self, batch: &Batch) -> Result<(), StoreError> {
        // A panic of the medium halfway is a failure like any other.
        let _unwinding = LatchOnUnwind::new(&self.latched);
        let (mut resealed, mut lost) = (0, 0);
        let mut rest = batch.images.as_slice();
        let mut pages = batch.pages.as_slice();
        while let Some(first) = rest.first() {
            let (group, _) = layout::place_of(first.page);
            let run = rest.iter().take_while(|image| layout::place_of(image.page).0 == group);
            let (images, others) = rest.split_at(run.count());
            let (sealed, other_pages) = pages.split_at_checked(images.len()).unwrap_or_default();
            resealed += self.put_group_in_place(group, images, sealed)?;
            (rest, pages) = (others, other_pages);
        }
        for (page, entry) in &batch.unreadable {
            let (group, place) = layout::place_of(*page);
            let _no_writer = self.resizing.write().unwrap_or_else(PoisonError::into_inner);
            if self.may_open(*page, entry) {
                continue;
            }
            lost += u64::from(loop {
                if let Some(given_up) = self.state_mut().give_up(group, place, entry) {
                    break given_up;
                }
                self.with_tag_page(group, |_| ())?;
            });
        }
        self.medium.reached("rotation: after in place");
        let mut state = self.state_mut();
        state.rotation.resealed = state.rotation.resealed.saturating_add(resealed);
        state.rotation.lost = state.rotation.lost.saturating_add(lost);
        state.rotation.next_group = batch.next_group.0;
        state.dirty = true;
        Ok(())
    }

    // Alone: no page is on its way, and readers that meet the new bytes under the old entry wait.
    fn put_group_in_place(
        &self,
        group: GroupNo,
        images: &[Image],
        sealed: &[[u8; PAGE_SIZE]],
    ) -> Result<u64, StoreError> {
        self.with_tag_page(group, |_| ())?;
        let _alone = self.resizing.write().unwrap_or_else(PoisonError::into_inner);
        let mut entries = [Entry::ABSENT; layout::ENTRIES_PER_TAG_PAGE];
        self.entries(group, 0, &mut entries)?;
        let is_current = |image: &Image| {
            entries.get(layout::place_of(image.page).1).is_some_and(|entry| *entry == image.old)
        };
        let mut at = 0;
        let mut resealed = 0;
        while let Some(first) = images.get(at) {
            let rest = images.get(at..).unwrap_or_default();
            let run = rest
                .iter()
                .zip(first.page.0..)
                .take_while(|(image, page)| image.page.0 == *page && is_current(image))
                .count();
            if run > 0 {
                let bytes = sealed.get(at..at + run).unwrap_or_default().as_flattened();
                self.medium.write_at(layout::data_page_start(first.page).0, bytes)?;
                for image in rest.iter().take(run) {
                    let place = layout::place_of(image.page).1;
                    while self.state_mut().reseal(group, place, &image.old, &image.new).is_none() {
                        self.with_tag_page(group, |_| ())?;
                    }
                }
                resealed += run as u64;
            }
            at += run.max(1);
        }
        Ok(resealed)
    }

    /// Seals a page anew in place, under the active key; what it holds is its plaintext.
    pub(super) fn seal_again(
        &self,
        cipher: &Cipher,
        image: &mut Image,
        bytes: &mut [u8; PAGE_SIZE],
        file_id: FileId,
    ) -> Result<(), StoreError> {
        let nonce = self.nonces.next()?;
        let associated_data = associated_data(file_id, image.new.epoch, Place::Page(image.page));
        let tag = cipher.seal_in_place(&nonce, &associated_data, bytes);
        (image.new.nonce, image.new.tag) = (nonce, tag);
        Ok(())
    }
}
