//! Why a conversion between a plain redb file and an encrypted one failed.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::PathBuf;

use super::{Damage, Error, OpenError, StoreError};
use crate::units::PageNo;

/// Why a file was not encrypted or decrypted. The source is as it was, and there is no target.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConvertError {
    /// The name is taken. A conversion never replaces a file, but in place its own source.
    TargetExists(PathBuf),
    /// The plain file is open elsewhere.
    SourceInUse,
    /// The file to encrypt is a strongroom database already.
    AlreadyEncrypted,
    /// The file to encrypt is not one that redb 4.6 wrote.
    NotPlainRedb {
        /// What about it.
        why: &'static str,
    },
    /// A plain redb file in the format of an older redb.
    UpgradeRequired {
        /// The version of redb's format.
        found: u8,
    },
    /// redb finds the plain file damaged.
    SourceDamaged {
        /// What redb says.
        found: String,
    },
    /// A file to be converted in place has other names, which would keep its old content.
    OtherNames {
        /// How many names it has.
        names: u64,
    },
    /// Somebody gave the source's name to another file while it was being converted in place.
    SourceReplaced,
    /// The finished copy reads back otherwise than it was written.
    ReadBack {
        /// The first page that differs.
        page: PageNo,
    },
    /// The encrypted database could not be made or opened.
    Open(OpenError),
    /// Input or output failed.
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl fmt::Display for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TargetExists(path) => write!(
                f,
                "{} exists, and a conversion replaces nothing: choose another name, or convert in \
                 place",
                path.display()
            ),
            Self::SourceInUse => f.write_str(
                "the plain file is open elsewhere, in this process or another one; close it there \
                 first",
            ),
            Self::AlreadyEncrypted => f.write_str("this is an encrypted database already"),
            Self::NotPlainRedb { why } => {
                write!(f, "this is not a plain database of redb 4.6: {why}; check the path")
            }
            Self::UpgradeRequired { found } => write!(
                f,
                "the plain file has version {found} of redb's file format, which redb 4.6 doesn't \
                 read: upgrade it with redb 2.6 (`Database::upgrade`), then convert it"
            ),
            Self::SourceDamaged { found } => write!(
                f,
                "redb finds the plain file damaged: {found}; restore a backup of it, a conversion \
                 would carry the damage on"
            ),
            Self::OtherNames { names } => write!(
                f,
                "the file has {names} names, of which {} would keep the old content: remove the \
                 others, or convert into a new file",
                names.saturating_sub(1)
            ),
            Self::SourceReplaced => f.write_str(
                "another file was given the source's name while it was being converted; the \
                 other file was left alone: begin anew",
            ),
            Self::ReadBack { page } => write!(
                f,
                "the copy reads back otherwise than it was written, first in {page}: the disk or \
                 the memory of this machine can't be trusted; the source was left alone"
            ),
            Self::Open(error) => write!(f, "{error}"),
            Self::Io { doing, source } => write!(f, "{doing}: {source}"),
        }
    }
}

impl StdError for ConvertError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Open(error) => error.source(),
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl ConvertError {
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}

impl From<OpenError> for ConvertError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl From<StoreError> for ConvertError {
    fn from(error: StoreError) -> Self {
        Self::Open(error.into())
    }
}

impl From<Damage> for ConvertError {
    fn from(damage: Damage) -> Self {
        Self::Open(damage.into())
    }
}

impl From<ConvertError> for Error {
    fn from(error: ConvertError) -> Self {
        match error {
            ConvertError::Open(error) => error.into(),
            other => Self::Convert(other),
        }
    }
}
