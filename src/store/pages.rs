//! Reading runs of pages: into the caller's buffer, and opened there. What was written and is not
//! on the medium yet comes from where it is gathered (`writes`).

use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::Store;
use crate::crew;
use crate::crypto::page::Cipher;
use crate::error::{Damage, StoreError};
use crate::events::tell;
use crate::format::associated_data::{Place, associated_data};
use crate::format::tag_page::{Entry, EntryState};
use crate::keys::Keyring;
use crate::layout::{self, ENTRIES_PER_TAG_PAGE, PAGE_SIZE, PAGE_ZERO_SIZE};
use crate::locks::Mutex;
use crate::units::{Epoch, GroupNo, PageNo};

/// A run of pages that lie in one group, and so one after another in the file.
#[derive(Clone, Copy)]
pub(super) struct Run {
    pub(super) group: GroupNo,
    pub(super) place: usize,
    pub(super) pages: usize,
}

impl Run {
    /// The first run of `pages` pages from `first`, at most `max` long.
    pub(super) fn first_of(first: PageNo, pages: usize, max: usize) -> Self {
        let (group, place) = layout::place_of(first);
        Self { group, place, pages: pages.min(ENTRIES_PER_TAG_PAGE - place).min(max) }
    }

    fn page(&self, index: usize) -> PageNo {
        layout::page_at(self.group, self.place + index)
    }

    pub(super) fn offset(&self) -> u64 {
        layout::data_page_start(self.page(0)).0
    }
}

// Page 0 is no data page, whatever stands in its place.
fn is_sealed(page: PageNo, entry: &Entry) -> bool {
    page != PageNo(0) && entry.state() == EntryState::Sealed
}

/// Pages that are opened or sealed by several threads, each not much fewer than half of these:
/// starting a thread costs about as much as opening 40 pages.
const PAGES_PER_THREAD: usize = 64;

// Tests that replay a schedule, or look for interleavings, have no runs this long.
pub(super) fn threads_for(pages: usize) -> usize {
    if pages < 2 * PAGES_PER_THREAD || cfg!(strongroom_shuttle) {
        return 1;
    }
    crew::cores().min(pages / PAGES_PER_THREAD)
}

/// Opens page after page, with one key schedule as long as they are of one epoch.
pub(super) struct Opener<'a> {
    keyring: &'a Keyring,
    cipher: Option<(Epoch, Cipher)>,
}

impl<'a> Opener<'a> {
    pub(super) fn new(keyring: &'a Keyring) -> Self {
        Self { keyring, cipher: None }
    }

    /// As [`open_in_place`].
    pub(super) fn open(&mut self, page: PageNo, entry: &Entry, bytes: &mut [u8]) -> bool {
        if !is_sealed(page, entry) {
            return false;
        }
        let kept = self.cipher.take().filter(|(epoch, _)| *epoch == entry.epoch);
        let new = || Some((entry.epoch, Cipher::new(&self.keyring.get(entry.epoch)?.page)));
        let Some((epoch, cipher)) = kept.or_else(new) else { return false };
        let associated_data = associated_data(self.keyring.file_id(), epoch, Place::Page(page));
        let opened = cipher.open_in_place(&entry.nonce, &associated_data, &entry.tag, bytes);
        self.cipher = Some((epoch, cipher));
        opened.is_ok()
    }
}

/// Opens a data page in place, if this entry is sealed and the bytes are its.
pub(super) fn open_in_place(
    keyring: &Keyring,
    page: PageNo,
    entry: &Entry,
    bytes: &mut [u8],
) -> bool {
    Opener::new(keyring).open(page, entry, bytes)
}

impl Store {
    /// Reads whole pages from `first` on; `out` is whole pages long and inside the logical length.
    pub(crate) fn read_pages(&self, first: PageNo, out: &mut [u8]) -> Result<(), StoreError> {
        self.check_usable()?;
        self.note_activity();
        if self.watching.load(Ordering::Acquire) {
            self.guard().note_read(first, out.len() / PAGE_SIZE);
        }
        let read = self.read_in_parts(first, out);
        if let Err(StoreError::Damage(damage)) = &read {
            tell!(ERROR, "damage was met, or somebody changed the file", damage = damage);
        }
        read
    }

    fn read_in_parts(&self, first: PageNo, out: &mut [u8]) -> Result<(), StoreError> {
        let pages = out.len() / PAGE_SIZE;
        let threads = threads_for(pages);
        if threads == 1 || self.forgiving.load(Ordering::Acquire) {
            return self.read_range(first, out);
        }
        // Each opens a part; which pages are read and what they say is the same.
        let part = pages.div_ceil(threads);
        let parts = out.chunks_mut(part * PAGE_SIZE).zip((first.0..).step_by(part));
        let parts: Vec<_> = parts.map(Mutex::new).collect();
        crew::share(parts.len() as u64, threads, |next| {
            while let Some(number) = next() {
                let Some(part) = usize::try_from(number).ok().and_then(|at| parts.get(at)) else {
                    break;
                };
                let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
                let (out, page) = &mut *part;
                self.read_range(PageNo(*page), out)?;
            }
            Ok(())
        })
        .map(|_| ())
    }

    fn read_range(&self, first: PageNo, out: &mut [u8]) -> Result<(), StoreError> {
        let (mut page, mut rest) = (first, out);
        while !rest.is_empty() {
            let run = Run::first_of(page, rest.len() / PAGE_SIZE, ENTRIES_PER_TAG_PAGE);
            let Some((head, tail)) = rest.split_at_mut_checked(run.pages * PAGE_SIZE) else {
                return Err(StoreError::Misuse("a read that is not whole pages"));
            };
            if run.pages == 1 {
                self.read_page(page, head)?;
            } else if self.is_gathered(page, run.pages as u64) {
                for (page, out) in (page.0..).map(PageNo).zip(head.chunks_mut(PAGE_SIZE)) {
                    self.read_page(page, out)?;
                }
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
        let keyring = self.keyring();
        let mut opener = Opener::new(&keyring);
        for (index, (entry, bytes)) in entries.iter().zip(chunks).enumerate() {
            let page = run.page(index);
            let opened = whole.is_ok() && self.decide(page, opener.open(page, entry, bytes));
            if !opened {
                self.read_page(page, bytes)?;
            }
        }
        Ok(())
    }

    fn read_page(&self, page: PageNo, out: &mut [u8]) -> Result<(), StoreError> {
        if page == PageNo(0) {
            return self.read_page_zero(out);
        }
        if self.read_gathered(page, out) {
            return Ok(());
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
            if self.read_gathered(page, out) {
                return Ok(());
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
        self.decide(page, opened)
    }

    // While redb repairs, the first read of a page decides for all later ones.
    fn decide(&self, page: PageNo, opened: bool) -> bool {
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
}
