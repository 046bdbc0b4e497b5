//! One thing that is wrong, and where.

use std::fmt;
use std::io;

use crate::layout;
use crate::store::{HeaderCopyState, RootCopyState, TagCopyState};
use crate::units::{CopyId, FileOffset, Generation, GroupNo, PageNo, SyncSeq};

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Severity {
    /// A crash explains it, whatever it was, and the next open for writing mends it.
    Leftover,
    /// No data is gone: a second copy, an unused page or a cache is damaged.
    Spare,
    /// Data can't be read, or the database does not open.
    Damage,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Leftover => "leftover",
            Self::Spare => "spare",
            Self::Damage => "DAMAGE",
        })
    }
}

/// What a finding is about, in the order of the file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[non_exhaustive]
pub enum Where {
    /// A header copy.
    Header(CopyId),
    /// A root record.
    Root(CopyId),
    /// A page of the file that is to be zeros.
    Reserved(u64),
    /// The state as a whole: header, root records and tag pages taken together.
    State,
    /// A copy of a group's tag page.
    TagPage(GroupNo, CopyId),
    /// A data page.
    Page(PageNo),
    /// The clean index.
    CleanIndex,
    /// redb's trees.
    Trees,
}

impl Where {
    /// Where in the file it lies; `None` for what lies in many places.
    #[must_use]
    pub fn offset(&self) -> Option<FileOffset> {
        match self {
            Self::Header(copy) => Some(layout::header_start(*copy)),
            Self::Root(copy) => Some(layout::root_start(*copy)),
            Self::Reserved(page) => Some(layout::reserved_start(*page)),
            Self::TagPage(group, copy) => Some(layout::tag_page_start(*group, *copy)),
            Self::Page(page) => Some(layout::data_page_start(*page)),
            Self::State | Self::CleanIndex | Self::Trees => None,
        }
    }

    /// The group it lies in, if it lies in one.
    #[must_use]
    pub fn group(&self) -> Option<GroupNo> {
        match self {
            Self::TagPage(group, _) => Some(*group),
            Self::Page(page) => Some(layout::place_of(*page).0),
            _ => None,
        }
    }
}

impl fmt::Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(copy) => write!(f, "header, {copy}"),
            Self::Root(copy) => write!(f, "root record, {copy}"),
            Self::Reserved(page) => write!(f, "reserved page {page} of the file"),
            Self::State => f.write_str("state"),
            Self::TagPage(group, copy) => write!(f, "tag page of {group}, {copy}"),
            Self::Page(page) => write!(f, "{page}, {}", layout::place_of(*page).0),
            Self::CleanIndex => f.write_str("clean index"),
            Self::Trees => f.write_str("redb's trees"),
        }?;
        match self.offset() {
            Some(offset) => write!(f, ", at {offset}"),
            None => Ok(()),
        }
    }
}

/// What is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Flaw {
    /// It doesn't authenticate: altered, replayed, torn or rotten.
    DoesNotOpen,
    /// As [`Flaw::DoesNotOpen`], and a crash explains it: it was being written last.
    MayBeTorn,
    /// As [`Flaw::DoesNotOpen`], of a page that redb doesn't use: debris of a crash, or damage that
    /// hurts nothing.
    Unused,
    /// The file ends before it does.
    Truncated,
    /// The storage reports an error.
    Unreadable(io::ErrorKind),
    /// A header whose checksum doesn't fit: torn or rotten.
    Torn,
    /// Zeros stand where it should be.
    Blank,
    /// Something else stands there.
    Foreign,
    /// A header of a format that this version doesn't know.
    Unsupported,
    /// Authentic, but its fields make no sense.
    Malformed(&'static str),
    /// A header that is whole, but not under this file's root key: forged, or of a time when the
    /// file had another one.
    NotVerified(Generation),
    /// A header older than its twin.
    OlderHeader(Generation),
    /// A header newer than its twin, which this credential doesn't open.
    NewerHeader(Generation),
    /// A header as new as its twin that says something else.
    Differs,
    /// A root record that is not the one that an orderly close leaves beside its twin.
    OtherRoot(SyncSeq),
    /// An authentic tag page of a sync that never finished, or that somebody put there.
    Stray(SyncSeq),
    /// An older tag page where the state's should be: none of the group's pages can be read.
    OlderTagPage(SyncSeq),
    /// Bytes that are to be zeros are not.
    NotZeros,
    /// A newer state was passed over: not all of it became durable before a crash, or part of it was
    /// altered since.
    PassedOver(SyncSeq),
    /// It doesn't add up to the root record, or isn't there: an open has to read all tag pages.
    Unusable,
    /// An open refuses the file, for this reason.
    Refused(String),
    /// redb says so of its trees.
    Inconsistent(String),
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DoesNotOpen => {
                f.write_str("does not authenticate: altered, replayed, torn or rotten")
            }
            Self::MayBeTorn => f.write_str(
                "does not authenticate; it was being written last, so a crash may have torn it",
            ),
            Self::Unused => f.write_str(
                "does not authenticate; redb does not use it: debris of a crash, or damage that \
                 hurts nothing",
            ),
            Self::Truncated => f.write_str("the file ends before it does"),
            Self::Unreadable(kind) => write!(f, "can't be read: {kind}"),
            Self::Torn => f.write_str("its checksum does not fit: torn or rotten"),
            Self::Blank => f.write_str("zeros"),
            Self::Foreign => f.write_str("something else stands there"),
            Self::Unsupported => f.write_str("of a format that this version does not know"),
            Self::Malformed(why) => write!(f, "authentic, but makes no sense: {why}"),
            Self::NotVerified(generation) => write!(
                f,
                "whole, but not under this file's root key ({generation}): forged, or of a time \
                 when the file had another one"
            ),
            Self::OlderHeader(generation) => write!(f, "older than its twin: {generation}"),
            Self::NewerHeader(generation) => {
                write!(f, "newer than its twin ({generation}), and the credential doesn't open it")
            }
            Self::Differs => f.write_str("as new as its twin, and says something else"),
            Self::OtherRoot(sync) => write!(f, "of {sync}, and not what a close leaves"),
            Self::Stray(sync) => write!(
                f,
                "authentic, of {sync}, and not of this state: left by a sync that never finished, \
                 or put there"
            ),
            Self::OlderTagPage(sync) => {
                write!(f, "an older one ({sync}) was put back in place of the state's")
            }
            Self::NotZeros => f.write_str("holds something, and should be zeros"),
            Self::PassedOver(sync) => write!(
                f,
                "{sync} is not all there, by a crash or because part of it was altered: the state \
                 is that of the sync before"
            ),
            Self::Unusable => f.write_str("not there, or does not add up: an open reads more"),
            Self::Refused(why) | Self::Inconsistent(why) => f.write_str(why),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub at: Where,
    /// What is wrong with it.
    pub flaw: Flaw,
}

impl Finding {
    pub(super) fn new(severity: Severity, at: Where, flaw: Flaw) -> Self {
        Self { severity, at, flaw }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8} {}: {}", self.severity, self.at, self.flaw)
    }
}

/// What is to be said of a header copy. `clean` says that the file was closed cleanly: then no
/// crash explains anything.
pub(super) fn of_header(copy: CopyId, state: HeaderCopyState, clean: bool) -> Option<Finding> {
    let crash = if clean { Severity::Spare } else { Severity::Leftover };
    let (severity, flaw) = match state {
        HeaderCopyState::Whole(_) => return None,
        HeaderCopyState::Older(generation) => (crash, Flaw::OlderHeader(generation)),
        HeaderCopyState::Torn => (crash, Flaw::Torn),
        HeaderCopyState::Newer(generation) => (Severity::Spare, Flaw::NewerHeader(generation)),
        HeaderCopyState::Differs(_) => (Severity::Spare, Flaw::Differs),
        HeaderCopyState::NotVerified(generation) => {
            (Severity::Spare, Flaw::NotVerified(generation))
        }
        // A creation that was cut off between the two.
        HeaderCopyState::Blank => (crash, Flaw::Blank),
        HeaderCopyState::Malformed(why) => (Severity::Spare, Flaw::Malformed(why)),
        HeaderCopyState::Unsupported => (Severity::Spare, Flaw::Unsupported),
        HeaderCopyState::Foreign => (Severity::Spare, Flaw::Foreign),
        HeaderCopyState::Unreadable(kind) => (Severity::Spare, Flaw::Unreadable(kind)),
    };
    Some(Finding::new(severity, Where::Header(copy), flaw))
}

/// What is to be said of a root record that doesn't open. `alone` says that the other one doesn't
/// either: a sync and a close write one at a time, so a crash tears one at most.
pub(super) fn of_root(copy: CopyId, state: &RootCopyState, alone: bool) -> Option<Finding> {
    let (severity, flaw) = match state {
        RootCopyState::Opened(_) => return None,
        RootCopyState::DoesNotOpen if alone => (Severity::Damage, Flaw::DoesNotOpen),
        RootCopyState::DoesNotOpen => (Severity::Leftover, Flaw::MayBeTorn),
        RootCopyState::Malformed(why) => (Severity::Damage, Flaw::Malformed(why)),
        RootCopyState::Truncated => (Severity::Damage, Flaw::Truncated),
        RootCopyState::Unreadable(kind) => (Severity::Damage, Flaw::Unreadable(*kind)),
    };
    Some(Finding::new(severity, Where::Root(copy), flaw))
}

/// What is to be said of the two copies of a tag page, of which the state names one; nothing where
/// that one or its equal is there, and the other one is older.
pub(super) fn of_tag_pages(
    group: GroupNo,
    named: Option<CopyId>,
    copies: &[TagCopyState; 2],
    clean: bool,
) -> Vec<Finding> {
    let lost = !copies.contains(&TagCopyState::Current);
    let severity = match (lost, clean) {
        (true, _) => Severity::Damage,
        (false, true) => Severity::Spare,
        (false, false) => Severity::Leftover,
    };
    let mut findings = Vec::new();
    for (copy, state) in CopyId::BOTH.into_iter().zip(copies) {
        let flaw = match state {
            TagCopyState::Current => continue,
            TagCopyState::Older(sync) if lost && named == Some(copy) => Flaw::OlderTagPage(*sync),
            TagCopyState::Older(_) => continue,
            TagCopyState::Stray(sync) => Flaw::Stray(*sync),
            TagCopyState::DoesNotOpen => Flaw::DoesNotOpen,
            TagCopyState::Truncated => Flaw::Truncated,
            TagCopyState::Unreadable(kind) => Flaw::Unreadable(*kind),
        };
        let severity = match state {
            TagCopyState::Unreadable(_) => severity.max(Severity::Spare),
            _ => severity,
        };
        findings.push(Finding::new(severity, Where::TagPage(group, copy), flaw));
    }
    findings
}
