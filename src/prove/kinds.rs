//! What each page of the file is: by its place alone, and with a key by what the root record says.

use std::collections::HashSet;
use std::fmt;

use crate::format::root_record::Tail;
use crate::layout::{self, PAGE_BYTES, PAGES_PER_GROUP};
use crate::store::Survey;
use crate::units::{CopyId, FileOffset, GroupNo, PageNo};

/// What a page of the file is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[non_exhaustive]
pub enum PageKind {
    /// Part of a header copy: fields in the clear by design, wrapped keys, MACs.
    Header,
    /// A root record.
    Root,
    /// Zeros between the root records and the first group.
    Reserved,
    /// A copy of a tag page.
    TagPage,
    /// A data page, or the place of one that was never written.
    Data,
    /// The place of logical page 0, which lives in the root record.
    Unused,
    /// The clean index.
    CleanIndex,
    /// The journal of a key rotation.
    Journal,
    /// Behind everything that the root record speaks of.
    Beyond,
}

impl fmt::Display for PageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Header => "header",
            Self::Root => "root record",
            Self::Reserved => "reserved",
            Self::TagPage => "tag page",
            Self::Data => "data page",
            Self::Unused => "place of page 0",
            Self::CleanIndex => "clean index",
            Self::Journal => "rotation journal",
            Self::Beyond => "beyond the end",
        })
    }
}

/// A page of the file with what it is a copy or place of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Header(CopyId),
    Root(CopyId),
    Reserved,
    TagPage(GroupNo, CopyId),
    Data(PageNo),
    Unused,
    CleanIndex,
    Journal,
    Beyond,
}

impl Place {
    pub(super) fn kind(self) -> PageKind {
        match self {
            Self::Header(_) => PageKind::Header,
            Self::Root(_) => PageKind::Root,
            Self::Reserved => PageKind::Reserved,
            Self::TagPage(..) => PageKind::TagPage,
            Self::Data(_) => PageKind::Data,
            Self::Unused => PageKind::Unused,
            Self::CleanIndex => PageKind::CleanIndex,
            Self::Journal => PageKind::Journal,
            Self::Beyond => PageKind::Beyond,
        }
    }

    /// By its place alone.
    fn by_offset(offset: FileOffset) -> Self {
        if let Some(rest) = offset.0.checked_sub(layout::PREAMBLE_BYTES) {
            let page = rest / PAGE_BYTES;
            let group = GroupNo(page / PAGES_PER_GROUP);
            return match (group, page % PAGES_PER_GROUP) {
                (group, 0) => Self::TagPage(group, CopyId::A),
                (group, 1) => Self::TagPage(group, CopyId::B),
                (GroupNo(0), 2) => Self::Unused,
                (group, place) => {
                    let place = usize::try_from(place.saturating_sub(2)).unwrap_or(0);
                    Self::Data(layout::page_at(group, place))
                }
            };
        }
        let root = |copy| layout::root_start(copy) == offset;
        match CopyId::BOTH.into_iter().find(|copy| root(*copy)) {
            Some(copy) => Self::Root(copy),
            None if offset < layout::header_start(CopyId::B) => Self::Header(CopyId::A),
            None if offset < layout::root_start(CopyId::A) => Self::Header(CopyId::B),
            None => Self::Reserved,
        }
    }
}

/// The map of one file.
#[derive(Debug)]
pub(super) struct Map {
    /// Where everything ends that the state speaks of, its tail left out.
    end: FileOffset,
    tail: Tail,
    /// Pages of the journal that authenticate.
    pub(super) journal: HashSet<FileOffset>,
}

impl Map {
    /// The map as a root record draws it; by places alone where there is no key or no root record.
    pub(super) fn of(survey: Option<&Survey>) -> Self {
        let root = survey.and_then(Survey::state).map(|state| &state.root);
        Self {
            end: root.map_or(FileOffset(u64::MAX), |root| layout::data_end(root.logical_len)),
            tail: root.map_or(Tail::None, |root| root.tail),
            journal: survey.map(Survey::journal_places).unwrap_or_default(),
        }
    }

    pub(super) fn place(&self, offset: FileOffset) -> Place {
        let page = offset.0 / PAGE_BYTES;
        let within = |first: u64, pages: u64| page.checked_sub(first).is_some_and(|at| at < pages);
        match self.tail {
            Tail::CleanIndex { first, pages } if within(first, pages) => return Place::CleanIndex,
            Tail::Journal { first, pages } if within(first, pages) => return Place::Journal,
            _ => {}
        }
        if offset >= self.end { Place::Beyond } else { Place::by_offset(offset) }
    }
}
