//! Single pages of a surveyed file: opened under the current entry or under that of the other
//! copy, in place or from the journal of a rotation that was cut off.

use std::collections::{HashMap, HashSet};
use std::io;

use super::super::check::{GroupBuffer, Opener};
use super::super::journal;
use super::super::pages::open_in_place;
use super::super::state::Journal;
use super::Survey;
use super::choice::Chosen;
use crate::error::StoreError;
use crate::format::journal::Image;
use crate::format::tag_page::{Entry, EntryState};
use crate::keys::Keyring;
use crate::layout::{self, PAGE_SIZE, ROWS_PER_JOURNAL_PAGE};
use crate::medium::Medium;
use crate::units::{FileOffset, GroupNo, PageNo};

/// Which tag page a page is opened under.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Under {
    /// The state's: what opens is what the database holds.
    Current,
    /// The other copy: what opens is what the page held at an earlier sync, or at one that never
    /// finished.
    Twin,
}

/// What became of a look at a page.
#[derive(Debug)]
pub(crate) enum PageVerdict {
    /// It opened in place.
    Opened,
    /// The page in place doesn't open, an image in the journal of a rotation does.
    InJournal,
    /// Never written: it reads as zeros.
    Absent,
    /// Given up by an earlier recovery.
    Lost,
    /// The bytes in its place are not its.
    DoesNotOpen,
    /// The file ends before it does.
    Truncated,
    /// The medium reports an error.
    Unreadable(io::Error),
    /// No tag page is left to say what the page's bytes should be.
    NoTagPage,
}

/// The images of the two newest batches of a rotation that was cut off, by page.
pub(super) fn read_journal(
    medium: &dyn Medium,
    keyring: &Keyring,
    chosen: &Chosen,
) -> HashMap<PageNo, Vec<(Image, FileOffset)>> {
    let mut found: HashMap<_, Vec<_>> = HashMap::new();
    let Some(root) = chosen.state.as_ref().map(|state| &state.root) else { return found };
    let Some(journal) = Journal::of(root) else { return found };
    let newest = root.rotation.batch;
    for batch in [newest.saturating_sub(1), newest] {
        for page in 0..journal.half.index_pages() {
            // A page that isn't there ends the batch, as it does in a recovery.
            let index = journal::read_index(medium, keyring, journal, batch, page);
            let Ok(Some(images)) = index else { break };
            for (row, image) in (0..).zip(images) {
                let number = page.saturating_mul(ROWS_PER_JOURNAL_PAGE as u64).saturating_add(row);
                let at = journal.half.image_at(journal.start, batch, number);
                found.entry(image.page).or_default().push((image, at));
            }
        }
    }
    found
}

impl Survey {
    /// What a tag page says of a page. `None` where there is no such tag page. Pages beyond the
    /// groups are absent, unless the file is too short to tell.
    pub(crate) fn entry(&self, page: PageNo, under: Under) -> Option<Entry> {
        let (group, place) = layout::place_of(page);
        let named = self.state.as_ref().map(|state| state.root.groups);
        if named.is_some_and(|named| group.0 >= named) {
            return Some(Entry::ABSENT);
        }
        if group.0 >= self.groups {
            return None;
        }
        self.group(group).under(under).map(|tags| tags.entry(place))
    }

    /// Looks at one page, twice where the first look fails: the second time past the system's
    /// cache. `out` holds the page's plaintext where it opened, zeros where it is absent, and
    /// nothing of meaning otherwise. Page 0 is that of the state's root record.
    pub(crate) fn page(
        &self,
        page: PageNo,
        under: Under,
        out: &mut [u8; PAGE_SIZE],
    ) -> PageVerdict {
        if page == PageNo(0) {
            return self.page_zero(out);
        }
        match self.entry(page, under) {
            Some(entry) => self.page_under(page, &entry, out),
            None if layout::place_of(page).0.0 >= self.groups => PageVerdict::Truncated,
            None => PageVerdict::NoTagPage,
        }
    }

    /// The same, under an entry that is known already.
    pub(crate) fn page_under(
        &self,
        page: PageNo,
        entry: &Entry,
        out: &mut [u8; PAGE_SIZE],
    ) -> PageVerdict {
        match entry.state() {
            EntryState::Absent => {
                out.fill(0);
                return PageVerdict::Absent;
            }
            EntryState::Lost => return PageVerdict::Lost,
            EntryState::Sealed => {}
        }
        let first = self.look(page, entry, out);
        if matches!(first, PageVerdict::Opened) {
            return first;
        }
        let offset = layout::data_page_start(page);
        let _ = self.medium.drop_cache(offset.0, PAGE_SIZE as u64);
        match self.look(page, entry, out) {
            PageVerdict::Opened => PageVerdict::Opened,
            _ if self.open_from_journal(page, entry, out) => PageVerdict::InJournal,
            verdict => verdict,
        }
    }

    /// Looks at all pages of a group under one of its tag pages, read in one go where the medium
    /// can: tells of each what became of it, page 0 left out. `false` where there is no such tag
    /// page, and so nothing to tell.
    pub(crate) fn each_page(
        &self,
        group: GroupNo,
        under: Under,
        buffer: &mut GroupBuffer,
        mut found: impl FnMut(PageNo, &Entry, PageVerdict),
    ) -> bool {
        let tags = self.group(group);
        let Some(tags) = tags.under(under) else { return false };
        let mut opener = Opener::new(self.keyring());
        let whole = buffer.read(&*self.medium, group, tags).is_ok();
        for ((place, entry), bytes) in tags.entries().zip(buffer.pages()) {
            let page = layout::page_at(group, place);
            if page == PageNo(0) {
                continue;
            }
            let opened = whole && opener.open(page, entry, bytes);
            let verdict =
                if opened { PageVerdict::Opened } else { self.page_under(page, entry, bytes) };
            found(page, entry, verdict);
        }
        true
    }

    fn look(&self, page: PageNo, entry: &Entry, out: &mut [u8; PAGE_SIZE]) -> PageVerdict {
        match journal::read_or_eof(&*self.medium, layout::data_page_start(page), out) {
            Ok(true) if open_in_place(self.keyring(), page, entry, out) => PageVerdict::Opened,
            Ok(true) => PageVerdict::DoesNotOpen,
            Ok(false) => PageVerdict::Truncated,
            Err(StoreError::Io(error)) => PageVerdict::Unreadable(error),
            Err(error) => PageVerdict::Unreadable(error.into()),
        }
    }

    // As a recovery would: an image counts where the entry is what it replaces or what it brings.
    fn open_from_journal(&self, page: PageNo, entry: &Entry, out: &mut [u8; PAGE_SIZE]) -> bool {
        let images = self.journal.get(&page).map(Vec::as_slice).unwrap_or_default();
        images.iter().filter(|(image, _)| *entry == image.old || *entry == image.new).any(
            |(image, at)| {
                matches!(journal::read_or_eof(&*self.medium, *at, out), Ok(true))
                    && open_in_place(self.keyring(), page, &image.new, out)
            },
        )
    }

    /// Where pages of the rotation journal start that authenticate: index pages of the two newest
    /// batches, and images that open.
    pub(crate) fn journal_places(&self) -> HashSet<FileOffset> {
        let mut places = HashSet::new();
        let Some(root) = self.state.as_ref().map(|state| &state.root) else { return places };
        let Some(journal) = Journal::of(root) else { return places };
        let newest = root.rotation.batch;
        for batch in [newest.saturating_sub(1), newest] {
            for page in 0..journal.half.index_pages() {
                let index =
                    journal::read_index(&*self.medium, self.keyring(), journal, batch, page);
                let Ok(Some(_)) = index else { break };
                places.insert(journal.half.index_at(journal.start, batch, page));
            }
        }
        let mut bytes = [0; PAGE_SIZE];
        for (image, at) in self.journal.values().flatten() {
            if matches!(journal::read_or_eof(&*self.medium, *at, &mut bytes), Ok(true))
                && open_in_place(self.keyring(), image.page, &image.new, &mut bytes)
            {
                places.insert(*at);
            }
        }
        places
    }

    fn page_zero(&self, out: &mut [u8; PAGE_SIZE]) -> PageVerdict {
        let Some(state) = &self.state else { return PageVerdict::NoTagPage };
        out.fill(0);
        for (byte, kept) in out.iter_mut().zip(state.root.page_zero.iter()) {
            *byte = *kept;
        }
        PageVerdict::Opened
    }
}
