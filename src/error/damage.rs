//! What can be wrong with the bytes of a file: the variants tell apart what was edited, replayed,
//! cut or lost, as far as the format can tell, and name the place.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use crate::units::{CopyId, FileOffset, Generation, GroupNo, PageNo, SyncSeq};

/// What is wrong with the bytes of a file: edited, swapped, replayed, torn or lost. Reached the
/// user as it is from our own calls, and inside `redb::StorageError::Io` (kind `InvalidData`) from
/// redb's; [`Damage::find_in`] digs it out, and [`Error::from`](crate::Error) does so by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Damage {
    /// A data page's ciphertext doesn't belong to its tag entry.
    Page {
        /// The page as redb numbers them.
        page: PageNo,
        /// Where its 4096 bytes lie in the file.
        offset: FileOffset,
    },
    /// A page that an earlier recovery had to give up.
    LostPage {
        /// The page as redb numbers them.
        page: PageNo,
    },
    /// A tag page is missing, edited, or not the one that the root record's digest names.
    TagPage {
        /// The group whose 126 pages it holds the tags of.
        group: GroupNo,
        /// Where the tag page lies in the file.
        offset: FileOffset,
    },
    /// The file is shorter than the root record says.
    Truncated {
        /// From where on bytes are missing: the file's end, or the page that was asked for.
        offset: FileOffset,
    },
    /// Neither root record opens.
    BothRoots,
    /// Two root records claim one sync and differ, or an otherwise authentic root record makes no
    /// sense.
    Root {
        /// Which copy.
        copy: CopyId,
        /// What about it.
        why: &'static str,
    },
    /// The newest tag pages don't add up to the digest of the root record: an old page, group or
    /// root record was put back, or one is gone.
    Digest {
        /// The sync that the newest root record names.
        sync: SyncSeq,
    },
    /// The key hierarchy doesn't authenticate although the credential is right.
    Header {
        /// Which copy.
        copy: CopyId,
        /// What about it.
        why: &'static str,
    },
    /// The header names a later change of keys than the root record knows of.
    HeaderAhead {
        /// The header's generation.
        header: Generation,
        /// The root record's.
        root: Generation,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Page { page, offset } => write!(
                f,
                "{page} at {offset} was altered, replayed or lost: its bytes don't match its \
                 authenticated tag"
            ),
            Self::LostPage { page } => {
                write!(f, "{page} was lost in an earlier recovery; its content is gone")
            }
            Self::TagPage { group, offset } => {
                write!(f, "the tag page of {group} at {offset} was altered, replayed or lost")
            }
            Self::Truncated { offset } => {
                write!(f, "bytes are missing from {offset} on: the file was truncated")
            }
            Self::BothRoots => f.write_str(
                "neither root record opens: both were altered or overwritten; restore a backup",
            ),
            Self::Root { copy, why } => write!(f, "root record, {copy}: {why}"),
            Self::Digest { sync } => write!(
                f,
                "the tag pages don't add up to the root record of {sync}: part of the file was \
                 put back to an older state, altered or lost"
            ),
            Self::Header { copy, why } => write!(f, "header, {copy}: {why}"),
            Self::HeaderAhead { header, root } => write!(
                f,
                "the header ({header}) is further ahead of the root record ({root}) than a crash \
                 explains: header and body are from different times"
            ),
        }
    }
}

impl StdError for Damage {}

impl Damage {
    /// The damage inside an error that redb handed through, if that is what it was.
    #[must_use]
    pub fn find_in(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref::<Self>().copied()
    }
}

impl From<Damage> for io::Error {
    fn from(damage: Damage) -> Self {
        Self::new(io::ErrorKind::InvalidData, damage)
    }
}
