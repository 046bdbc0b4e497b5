//! Why nothing, or not all that could be, was saved from a damaged file.

use std::error::Error as StdError;
use std::fmt;

use super::OpenError;

/// Why a salvage gave up. The damaged file is as it was, and no new file is left behind.
#[derive(Debug)]
#[non_exhaustive]
pub enum SalvageError {
    /// The damaged file can't be read at all: its name, its lock, both its headers, or the
    /// credential.
    Source(OpenError),
    /// The new file can't be made: its name is taken, its directory is not there, the disk is full.
    Target(OpenError),
    /// No root record leads to a tree of tables and no page holds an older definition of one, so no
    /// page can be told what table it is of.
    NothingLeft,
    /// redb failed while the new database was written.
    Redb(Box<redb::Error>),
    /// redb panicked while it wrote the new database.
    Panicked(String),
    /// The progress callback stopped it.
    Stopped,
}

impl fmt::Display for SalvageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => write!(f, "the damaged file: {error}"),
            Self::Target(error) => write!(f, "the new file: {error}"),
            Self::NothingLeft => f.write_str(
                "no root record leads to redb's tables (both are lost, or the tables' own root page \
                 is), and no older definition of a table was found: no page can be told what table \
                 it is of; restore a backup",
            ),
            Self::Redb(error) => write!(f, "writing what was saved: {error}"),
            Self::Panicked(what) => write!(f, "redb panicked over what was saved: {what}"),
            Self::Stopped => f.write_str("the progress callback stopped the salvage"),
        }
    }
}

impl StdError for SalvageError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Source(error) | Self::Target(error) => Some(error),
            Self::Redb(error) => Some(error),
            Self::NothingLeft | Self::Panicked(_) | Self::Stopped => None,
        }
    }
}

impl From<redb::Error> for SalvageError {
    fn from(error: redb::Error) -> Self {
        Self::Redb(Box::new(error))
    }
}
