//! Reading and writing runs of pages. A page goes out of place: sealed into a buffer of ours and
//! written, and only then is its entry published. A page comes in place: read into the caller's
//! buffer and opened there.

use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::Store;
use crate::crypto::page::Cipher;
use crate::error::{Damage, StoreError};
use crate::format::associated_data::{Place, associated_data};
use crate::format::tag_page::{Entry, EntryState};
use crate::keys::Keyring;
use crate::layout::{self, DATA_PAGES_PER_GROUP, ENTRIES_PER_TAG_PAGE, PAGE_SIZE, PAGE_ZERO_SIZE};
use crate::locks::RwLockReadGuard;
use crate::units::{GroupNo, PageNo};

/// Pages sealed into one buffer and written at once.
const PAGES_PER_WRITE: usize = 32;

/// A run of pages that lie in one group, and so one after another in the file.
#[derive(Clone, Copy)]
struct Run {
    group: GroupNo,
    place: usize,
    pages: usize,
}

impl Run {
    /// The first run of `pages` pages from `first`, at most `max` long.
    fn first_of(first: PageNo, pages: usize, max: usize) -> Self {
        let (group, place) = layout::place_of(first);
        Self { group, place, pages: pages.min(ENTRIES_PER_TAG_PAGE - place).min(max) }
    }

    fn page(&self, index: usize) -> PageNo {
        layout::page_at(self.group, self.place + index)
    }

    fn offset(&self) -> u64 {
        layout::data_page_start(self.page(0)).0
    }
}

// Page 0 is no data page, whatever stands in its place.
fn is_sealed(page: PageNo, entry: &Entry) -> bool {
    page != PageNo(0) && entry.state() == EntryState::Sealed
}

/// Opens a data page in place, if this entry is sealed and the bytes are its.
pub(super) fn open_in_place(
    keyring: &Keyring,
    page: PageNo,
    entry: &Entry,
    bytes: &mut [u8],
) -> bool {
    let Some(key) = keyring.get(entry.epoch).filter(|_| is_sealed(page, entry)) else {
        return false;
    };
    let associated_data = associated_data(keyring.file_id(), entry.epoch, Place::Page(page));
    let cipher = Cipher::new(&key.page);
    cipher.open_in_place(&entry.nonce, &associated_data, &entry.tag, bytes).is_ok()
}

impl Store {
    /// Reads whole pages from `first` on; `out` is whole pages long and inside the logical length.
    pub(crate) fn read_pages(&self, first: PageNo, out: &mut [u8]) -> Result<(), StoreError> {
        self.check_usable()?;
        self.note_activity();
        if self.watching.load(Ordering::Acquire) {
            self.guard().note_read(first, out.len() / PAGE_SIZE);
        }
        let (mut page, mut rest) = (first, out);
        while !rest.is_empty() {
            let run = Run::first_of(page, rest.len() / PAGE_SIZE, ENTRIES_PER_TAG_PAGE);
            let Some((head, tail)) = rest.split_at_mut_checked(run.pages * PAGE_SIZE) else {
                return Err(StoreError::Misuse("a read that is not whole pages"));
            };
            if run.pages == 1 {
                self.read_page(page, head)?;
            } else {
                self.read_run(run, head)?;
            }
            page = PageNo(page.0 + run.pages as u64);
            rest = tail;
        }
        Ok(())
    }

    fn read_run(&self, run: Run, out: &mut [u8]) -> Result<(), StoreError> {
        let mut entries = [Entry::ABSENT; ENTRIES_PER_TAG_PAGE];
        let entries = entries.get_mut(..run.pages).unwrap_or_default();
        self.entries(run.group, run.place, entries)?;
        let all_absent = entries.iter().all(|entry| entry.state() == EntryState::Absent);
        if all_absent && run.page(0) != PageNo(0) {
            out.fill(0);
            return Ok(());
        }
        // A run at the end of the file may be partly absent and lie beyond it: page by page then.
        let whole = self.medium.read_at(run.offset(), out);
        let chunks = out.as_chunks_mut::<PAGE_SIZE>().0;
        for (index, (entry, bytes)) in entries.iter().zip(chunks).enumerate() {
            let opened = whole.is_ok() && self.open_page(run.page(index), entry, bytes);
            if !opened {
                self.read_page(run.page(index), bytes)?;
            }
        }
        Ok(())
    }

    fn read_page(&self, page: PageNo, out: &mut [u8]) -> Result<(), StoreError> {
        if page == PageNo(0) {
            return self.read_page_zero(out);
        }
        let (group, place) = layout::place_of(page);
        let offset = layout::data_page_start(page);
        let mut entry = [Entry::ABSENT];
        self.entries(group, place, &mut entry)?;
        let mut no_rotation = None;
        loop {
            match entry[0].state() {
                EntryState::Absent => {
                    out.fill(0);
                    return Ok(());
                }
                EntryState::Lost => return Err(Damage::LostPage { page }.into()),
                EntryState::Sealed => {}
            }
            let read = self.medium.read_at(offset.0, out);
            if read.is_ok() && self.open_page(page, &entry[0], out) {
                return Ok(());
            }
            // The page may have been written between the two looks: then look again.
            let before = entry;
            self.entries(group, place, &mut entry)?;
            if entry != before {
                continue;
            }
            match read {
                Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                    return Err(error.into());
                }
                // Or a rotation is putting it in place: its new entry is there once this lock is.
                _ if no_rotation.is_none() && self.keyring().has_retired() => {
                    let lock = self.resizing.read().unwrap_or_else(PoisonError::into_inner);
                    no_rotation = Some(lock);
                    self.entries(group, place, &mut entry)?;
                }
                failed => return self.forgive(page, failed.is_err(), out),
            }
        }
    }

    fn read_page_zero(&self, out: &mut [u8]) -> Result<(), StoreError> {
        out.fill(0);
        if let Some((head, _)) = out.split_first_chunk_mut::<PAGE_ZERO_SIZE>() {
            *head = *self.state().page_zero;
        }
        Ok(())
    }

    /// Opens a page in place. An absent page is zeros; `false` is for the slow path to look into.
    pub(super) fn open_page(&self, page: PageNo, entry: &Entry, bytes: &mut [u8]) -> bool {
        if !is_sealed(page, entry) {
            return false;
        }
        let opened = open_in_place(&self.keyring(), page, entry, bytes);
        if self.forgiving.load(Ordering::Acquire) {
            return self.guard().settle(page, opened);
        }
        opened
    }

    // A page that doesn't open: torn by the crash that redb is recovering from, or damage.
    fn forgive(&self, page: PageNo, truncated: bool, out: &mut [u8]) -> Result<(), StoreError> {
        if self.guard().forgives(page) || self.holes.lenient_always() {
            out.fill(0);
            return Ok(());
        }
        let offset = layout::data_page_start(page);
        Err(if truncated { Damage::Truncated { offset } } else { Damage::Page { page, offset } }
            .into())
    }

    /// Writes whole pages from `first` on; `data` is whole pages long and inside the logical
    /// length. Page 0 goes through [`Store::write_page_zero`].
    ///
    /// # Errors
    /// After any failure, and until the next sync, a close leaves the file as a crash would: redb
    /// may have stopped between its header and its pages.
    pub(crate) fn write_pages(&self, first: PageNo, data: &[u8]) -> Result<(), StoreError> {
        self.note_activity();
        let written = self.write_checked(first, data);
        if written.is_err() {
            self.write_failed.store(true, Ordering::Release);
        }
        written
    }

    fn write_checked(&self, first: PageNo, data: &[u8]) -> Result<(), StoreError> {
        self.check_writable()?;
        if self.guard().is_held() {
            return Err(StoreError::Misuse("a page was written before recovery had ended"));
        }
        self.leave_clean_state()?;
        let _shared = self.count_and_share(first, (data.len() / PAGE_SIZE) as u64)?;
        // Asked again under the lock: a change of length or a close may have come between.
        self.check_usable()?;
        let end = first.0.saturating_add((data.len() / PAGE_SIZE) as u64);
        if end > layout::pages_in(self.state().logical_len) {
            return Err(StoreError::Misuse("a write beyond the end"));
        }
        let keyring = self.keyring();
        let (mut page, mut rest) = (first, data);
        while !rest.is_empty() {
            let run = Run::first_of(page, rest.len() / PAGE_SIZE, PAGES_PER_WRITE);
            let Some((head, tail)) = rest.split_at_checked(run.pages * PAGE_SIZE) else {
                return Err(StoreError::Misuse("a write that is not whole pages"));
            };
            self.write_run(&keyring, run, head)?;
            page = PageNo(page.0 + run.pages as u64);
            rest = tail;
        }
        Ok(())
    }

    fn write_run(&self, keyring: &Keyring, run: Run, data: &[u8]) -> Result<(), StoreError> {
        debug_assert!(run.page(0) != PageNo(0), "page 0 lives in the root record");
        let mut entries = [Entry::ABSENT; PAGES_PER_WRITE];
        let mut sealed = vec![0; data.len()];
        let key = keyring.active();
        let cipher = Cipher::new(&key.page);
        let pages = data.as_chunks::<PAGE_SIZE>().0.iter();
        let rooms = sealed.as_chunks_mut::<PAGE_SIZE>().0;
        for (index, ((plain, room), entry)) in pages.zip(rooms).zip(&mut entries).enumerate() {
            let nonce = self.nonces.next()?;
            let place = Place::Page(run.page(index));
            let associated_data = associated_data(keyring.file_id(), key.epoch, place);
            let tag = cipher.seal(&nonce, &associated_data, plain, room);
            *entry = Entry { epoch: key.epoch, nonce, tag };
        }
        let entries = entries.get(..run.pages).unwrap_or_default();
        if self.holes.publish_before_write() {
            self.publish(run, entries)?;
        }
        let written = self.medium.write_at(run.offset(), &sealed).map_err(StoreError::Io);
        // One page that fails keeps its old entry, and redb keeps its bytes: nothing is lost. Of
        // several, some may have landed under entries that were not published.
        if run.pages == 1 {
            written?
        } else {
            self.latch(written)?
        }
        self.publish(run, entries)
    }

    fn publish(&self, run: Run, entries: &[Entry]) -> Result<(), StoreError> {
        while !self.state_mut().publish(run.group, run.place, entries) {
            self.with_tag_page(run.group, |_| ())?;
        }
        Ok(())
    }

    /// Replaces part of the first 2048 bytes of page 0. They become durable with the next sync.
    pub(crate) fn write_page_zero(&self, offset: usize, data: &[u8]) -> Result<(), StoreError> {
        self.check_writable()?;
        let mut state = self.state_mut();
        let room = state.page_zero.get_mut(offset..).and_then(|room| room.get_mut(..data.len()));
        let Some(room) = room else {
            return Err(StoreError::Misuse("page 0 holds 2048 bytes"));
        };
        room.copy_from_slice(data);
        state.dirty = true;
        Ok(())
    }

    // The lock that writers share, with the pages counted for the key that is active under it.
    fn count_and_share(
        &self,
        first: PageNo,
        pages: u64,
    ) -> Result<RwLockReadGuard<'_, ()>, StoreError> {
        loop {
            let epoch = self.keyring().active().epoch;
            self.allow_sealing(first, pages)?;
            let shared = self.resizing.read().unwrap_or_else(PoisonError::into_inner);
            if self.keyring().active().epoch == epoch {
                return Ok(shared);
            }
        }
    }

    // Counts pages before they are sealed, so that a crash never under-counts, and with them the
    // tag pages they will dirty.
    fn allow_sealing(&self, first: PageNo, pages: u64) -> Result<(), StoreError> {
        let groups_after = layout::groups_for(first.0.saturating_add(pages));
        let tag_pages = groups_after - layout::place_of(first).0.0.min(self.state().groups);
        let cost = pages.saturating_add(tag_pages);
        let sealed = self.sealed_pages.load(Ordering::Acquire).saturating_add(cost);
        if sealed > self.unlocked().header.policy.sealed_pages_hard {
            return Err(StoreError::KeyUsedUp);
        }
        self.count_seals(cost)
    }

    /// Counts seals to come; a sync first, where the durable root record doesn't allow for them.
    pub(super) fn count_seals(&self, seals: u64) -> Result<(), StoreError> {
        let sealed = self.sealed_pages.fetch_add(seals, Ordering::AcqRel).saturating_add(seals);
        if sealed > self.sealed_pages_bound.load(Ordering::Acquire) {
            self.sync_on_its_own()?;
        }
        Ok(())
    }
}

const _: () = assert!(PAGES_PER_WRITE as u64 <= DATA_PAGES_PER_GROUP);
