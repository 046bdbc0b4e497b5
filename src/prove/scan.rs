//! The scan: every page of the file, several threads, 512 KiB at a time.

use std::collections::BTreeMap;
use std::io;

use super::entropy;
use super::kinds::{Map, PageKind, Place};
use super::{KindCount, ProveOptions, Suspect, Suspicion};
use crate::crew;
use crate::error::OpenError;
use crate::layout::{self, GROUP_BYTES, PAGE_SIZE, PREAMBLE_BYTES};
use crate::medium::Medium;
use crate::store::{GroupBuffer, PageVerdict, RootCopyState, Survey, TagCopyState, Under};
use crate::units::{CopyId, FileOffset, GroupNo, PageNo};

/// What every redb file begins with.
const REDB_MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// The file that is scanned.
pub(super) struct Scan<'a> {
    pub(super) medium: &'a dyn Medium,
    pub(super) len: u64,
    pub(super) survey: Option<&'a Survey>,
    pub(super) map: Map,
    /// Whether a header copy is one, and so in the clear by design.
    pub(super) headers: [bool; 2],
    pub(super) options: &'a ProveOptions,
}

/// What the scan found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) kinds: BTreeMap<PageKind, KindCount>,
    pub(super) suspects: Vec<Suspect>,
    pub(super) suspects_total: u64,
    pub(super) lowest_bits: Option<f64>,
    /// Sum of the entropies of the pages measured.
    pub(super) bits_sum: f64,
    pub(super) measured: u64,
}

impl Found {
    fn suspect(&mut self, suspect: Suspect, max: usize) {
        self.suspects_total += 1;
        if self.suspects.len() < max {
            self.suspects.push(suspect);
        }
    }

    fn merge(&mut self, other: Self) {
        for (kind, count) in other.kinds {
            let ours = self.kinds.entry(kind).or_default();
            ours.pages += count.pages;
            ours.zeros += count.zeros;
            ours.authenticated += count.authenticated;
            ours.random += count.random;
            ours.suspicious += count.suspicious;
        }
        self.suspects.extend(other.suspects);
        self.suspects_total += other.suspects_total;
        let lowest = [self.lowest_bits, other.lowest_bits].into_iter().flatten();
        self.lowest_bits = lowest.reduce(f64::min);
        self.bits_sum += other.bits_sum;
        self.measured += other.measured;
    }
}

impl Scan<'_> {
    /// Scans all of the file.
    ///
    /// # Errors
    /// The medium can't be read.
    pub(super) fn run(&self) -> Result<Found, OpenError> {
        // The first piece is all before the first group; then a group each.
        let pieces = layout::groups_in(self.len).saturating_add(1);
        let found = crew::share(pieces, self.options.threads, |next| {
            let (mut found, mut buffer) = (Found::default(), GroupBuffer::new());
            while let Some(piece) = next() {
                self.piece(piece, &mut buffer, &mut found)?;
            }
            Ok::<_, OpenError>(found)
        })?;
        let mut all = Found::default();
        found.into_iter().for_each(|found| all.merge(found));
        all.suspects.sort_by_key(|suspect| suspect.offset);
        all.suspects.truncate(self.options.suspects_max);
        Ok(all)
    }

    fn piece(
        &self,
        piece: u64,
        buffer: &mut GroupBuffer,
        found: &mut Found,
    ) -> Result<(), OpenError> {
        let (start, end) = match piece.checked_sub(1) {
            None => (0, PREAMBLE_BYTES),
            Some(group) => {
                let start = group.saturating_mul(GROUP_BYTES).saturating_add(PREAMBLE_BYTES);
                (start, start.saturating_add(GROUP_BYTES))
            }
        };
        let end = end.min(self.len);
        // A pattern may begin here and end in the next piece.
        let longest = self.patterns().map(<[u8]>::len).max().unwrap_or(1);
        let until = end.saturating_add(longest.saturating_sub(1) as u64).min(self.len);
        let room = usize::try_from(until.saturating_sub(start)).unwrap_or(0);
        let mut bytes = vec![0; room];
        self.medium.read_at(start, &mut bytes).map_err(OpenError::io("reading the file"))?;
        self.search(start, end, &bytes, found);
        let opened = piece.checked_sub(1).map(|group| self.opened(GroupNo(group), buffer));
        let own = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
        let pages = bytes.get(..own).unwrap_or_default().chunks(PAGE_SIZE);
        for (page, offset) in pages.zip((start..).step_by(PAGE_SIZE)) {
            self.page(FileOffset(offset), page, opened.flatten().unwrap_or(0), found);
        }
        Ok(())
    }

    fn patterns(&self) -> impl Iterator<Item = &[u8]> {
        let given = self.options.patterns.iter().map(Vec::as_slice);
        std::iter::once(REDB_MAGIC).chain(given)
    }

    // Everywhere, in headers too, and across the borders of pages; all patterns in one pass.
    fn search(&self, start: u64, end: u64, bytes: &[u8], found: &mut Found) {
        let mut begins = [false; 256];
        for first in self.patterns().filter_map(<[u8]>::first) {
            if let Some(begins) = begins.get_mut(usize::from(*first)) {
                *begins = true;
            }
        }
        let begins = |byte: u8| begins.get(usize::from(byte)).copied().unwrap_or(false);
        for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| begins(**byte)) {
            let offset = FileOffset(start.saturating_add(at as u64));
            let rest = bytes.get(at..).unwrap_or_default();
            if offset.0 >= end {
                break;
            }
            for (number, _) in
                self.patterns().enumerate().filter(|(_, pattern)| rest.starts_with(pattern))
            {
                let what = match number.checked_sub(1) {
                    None => Suspicion::RedbMagic,
                    Some(number) => Suspicion::Pattern(number),
                };
                let kind = self.map.place(offset).kind();
                found.suspect(Suspect { offset, kind, what }, self.options.suspects_max);
            }
        }
    }

    // Data pages of a group that open, bit i for place i.
    fn opened(&self, group: GroupNo, buffer: &mut GroupBuffer) -> Option<u128> {
        let survey = self.survey.filter(|survey| group.0 < survey.groups())?;
        let mut opened = 0;
        survey.each_page(group, Under::Current, buffer, |page, _, verdict| {
            let (_, place) = layout::place_of(page);
            opened |= u128::from(matches!(verdict, PageVerdict::Opened)) << place;
        });
        Some(opened)
    }

    fn page(&self, offset: FileOffset, bytes: &[u8], opened: u128, found: &mut Found) {
        let place = self.map.place(offset);
        let kind = place.kind();
        let count = found.kinds.entry(kind).or_default();
        count.pages += 1;
        if bytes.iter().all(|byte| *byte == 0) {
            count.zeros += 1;
            return;
        }
        if let Place::Header(copy) = place
            && self.headers.get(usize::from(copy.index())) == Some(&true)
        {
            // Only the key that MACs all of it makes it authentic.
            let whole = self.survey.is_some_and(|survey| survey.is_whole_header(copy));
            count.authenticated += u64::from(whole);
            count.random += u64::from(!whole);
            return;
        }
        let (bits, suspicious) = entropy::look(bytes);
        let short = bytes.len() < PAGE_SIZE;
        let authentic = self.is_authentic(place, offset, opened);
        match (authentic, suspicious && !short) {
            (true, _) => count.authenticated += 1,
            (false, false) => count.random += 1,
            (false, true) => count.suspicious += 1,
        }
        if !short {
            found.measured += 1;
            found.bits_sum += bits;
            found.lowest_bits = Some(found.lowest_bits.map_or(bits, |lowest| lowest.min(bits)));
        }
        if suspicious && !short {
            let what = Suspicion::Entropy(bits);
            found.suspect(Suspect { offset, kind, what }, self.options.suspects_max);
        }
    }

    fn is_authentic(&self, place: Place, offset: FileOffset, opened: u128) -> bool {
        let Some(survey) = self.survey else { return false };
        match place {
            Place::Root(copy) => {
                let [a, b] = survey.roots();
                let root = if copy == CopyId::A { a } else { b };
                matches!(root, RootCopyState::Opened(_))
            }
            Place::TagPage(group, copy) => {
                let [a, b] = survey.tag_copies(group);
                let state = if copy == CopyId::A { a } else { b };
                let opens = |state| {
                    matches!(
                        state,
                        TagCopyState::Current | TagCopyState::Older(_) | TagCopyState::Stray(_)
                    )
                };
                group.0 < survey.groups() && opens(state)
            }
            Place::Data(page) => page != PageNo(0) && opened >> layout::place_of(page).1 & 1 == 1,
            Place::CleanIndex => {
                survey.state().is_some_and(|state| state.clean_index == Some(true))
            }
            Place::Journal => self.map.journal.contains(&offset),
            Place::Header(_) | Place::Reserved | Place::Unused | Place::Beyond => false,
        }
    }
}

/// Why a pattern is refused.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] where it is so short that random bytes would hold it.
pub(super) fn check_pattern(pattern: &[u8], min: usize) -> Result<(), OpenError> {
    if pattern.len() >= min {
        return Ok(());
    }
    let why = format!("a pattern of {} bytes: random bytes hold it too", pattern.len());
    let source = io::Error::new(io::ErrorKind::InvalidInput, why);
    Err(OpenError::Io { doing: "looking for a pattern", source })
}
