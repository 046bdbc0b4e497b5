//! The map of a strongroom file as an attacker has it: without a key, which byte belongs to what.

use std::fmt;
use std::ops::Range;

use crate::layout::{self, HEADER_COPY_SIZE, PAGE_BYTES, PAGES_PER_GROUP, PREAMBLE_BYTES};
use crate::units::{CopyId, GroupNo, PageNo};

/// A part of a strongroom file, found by its place alone. The clean index lies where the data page
/// behind the last one would.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// A header copy, 32 KiB.
    Header(CopyId),
    /// A root record, one page.
    Root(CopyId),
    /// Two pages of zeros.
    Reserved,
    /// One copy of a group's tag page.
    TagPage(GroupNo, CopyId),
    /// A data page, or what lies in its place.
    DataPage(PageNo),
}

impl Part {
    /// The part that the byte at this offset belongs to.
    #[must_use]
    pub fn at(offset: u64) -> Self {
        let reserved = layout::root_start(CopyId::B).0 + PAGE_BYTES;
        if offset >= PREAMBLE_BYTES {
            return Self::in_a_group((offset - PREAMBLE_BYTES) / PAGE_BYTES);
        }
        if offset >= reserved {
            return Self::Reserved;
        }
        let starts = [
            (layout::root_start(CopyId::B), Self::Root(CopyId::B)),
            (layout::root_start(CopyId::A), Self::Root(CopyId::A)),
            (layout::header_start(CopyId::B), Self::Header(CopyId::B)),
        ];
        let found = starts.into_iter().find(|(start, _)| offset >= start.0);
        found.map_or(Self::Header(CopyId::A), |(_, part)| part)
    }

    fn in_a_group(page: u64) -> Self {
        let group = GroupNo(page / PAGES_PER_GROUP);
        match page % PAGES_PER_GROUP {
            0 => Self::TagPage(group, CopyId::A),
            1 => Self::TagPage(group, CopyId::B),
            place => {
                let place = usize::try_from(place - 2).unwrap_or(0);
                Self::DataPage(layout::page_at(group, place))
            }
        }
    }

    /// The bytes of the file that the part takes.
    #[must_use]
    pub fn bytes(self) -> Range<u64> {
        let (start, len) = match self {
            Self::Header(copy) => (layout::header_start(copy).0, HEADER_COPY_SIZE as u64),
            Self::Root(copy) => (layout::root_start(copy).0, PAGE_BYTES),
            Self::Reserved => {
                let start = layout::root_start(CopyId::B).0 + PAGE_BYTES;
                (start, PREAMBLE_BYTES - start)
            }
            Self::TagPage(group, copy) => (layout::tag_page_start(group, copy).0, PAGE_BYTES),
            Self::DataPage(page) => (layout::data_page_start(page).0, PAGE_BYTES),
        };
        start..start.saturating_add(len)
    }

    /// The same in pages of 4096 bytes of the file.
    #[must_use]
    pub fn file_pages(self) -> Range<u64> {
        let bytes = self.bytes();
        bytes.start / PAGE_BYTES..bytes.end / PAGE_BYTES
    }

    /// All parts of a file of so many bytes, in the order in which they lie.
    pub fn all_of(len: u64) -> impl Iterator<Item = Self> {
        let mut offset = 0;
        std::iter::from_fn(move || {
            let part = (offset < len).then(|| Self::at(offset))?;
            offset = part.bytes().end;
            Some(part)
        })
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(copy) => write!(f, "header, {copy}"),
            Self::Root(copy) => write!(f, "root record, {copy}"),
            Self::Reserved => f.write_str("reserved"),
            Self::TagPage(group, copy) => write!(f, "tag page of {group}, {copy}"),
            Self::DataPage(page) => write!(f, "data {page}"),
        }
    }
}
