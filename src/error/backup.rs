//! Why a backup was not made, or not restored.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::PathBuf;

use super::{Damage, Error, OpenError, StoreError};
use crate::units::{FileId, PageNo};

/// Why a backup was not made, or not restored: no file stands under its name then. Backups of a
/// chain are counted from 0, the full one.
#[derive(Debug)]
#[non_exhaustive]
pub enum BackupError {
    /// The name is taken. Neither a backup nor a restore replaces a file.
    TargetExists(PathBuf),
    /// There is no backup to restore, or to go on from.
    NoBackup,
    /// These bytes are not a backup.
    NotABackup {
        /// Which of the chain.
        number: usize,
        /// What about it.
        why: &'static str,
    },
    /// A backup has no end: it was cut off while it was made, or later.
    Unfinished {
        /// Which of the chain.
        number: usize,
    },
    /// A backup is not as it was made.
    Altered {
        /// Which of the chain.
        number: usize,
        /// What doesn't fit.
        what: &'static str,
    },
    /// A backup of the chain is not there.
    Missing {
        /// Its number in the chain.
        number: usize,
        /// Its name.
        id: [u8; 16],
    },
    /// A backup of the chain stands at another's place.
    OutOfOrder {
        /// Where it stands.
        number: usize,
        /// Where it belongs; `None` where the last one of the chain is not the newest.
        belongs: Option<usize>,
    },
    /// A backup of the same database that the newest one doesn't stand on: older, or of another
    /// chain.
    NotOfChain {
        /// Where it stands.
        number: usize,
        /// Its name.
        found: [u8; 16],
        /// The name of the one that belongs there, if one does.
        expected: Option<[u8; 16]>,
    },
    /// A backup of another database.
    Foreign {
        /// Where it stands.
        number: usize,
        /// The database it is of.
        found: FileId,
        /// The database of the chain, or the one to be backed up.
        expected: FileId,
    },
    /// The backup to go on from was sealed under a data key that is gone since a key rotation ended.
    ParentKeyGone,
    /// Pages of the database don't open.
    Unreadable {
        /// How many.
        pages: u64,
        /// The first of them.
        first: PageNo,
    },
    /// redb's integrity check of the restored database failed.
    CheckFailed,
    /// The database or the restored file failed.
    Open(OpenError),
    /// Input or output failed.
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

fn hex(id: &[u8; 16]) -> String {
    FileId(*id).to_string()
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TargetExists(path) => {
                write!(f, "{} exists, and nothing is replaced: choose another name", path.display())
            }
            Self::NoBackup => f.write_str("there is no backup: name the full one first"),
            Self::NotABackup { number, why } => {
                write!(f, "backup {number} of the chain is none: {why}; check the path")
            }
            Self::Unfinished { number } => write!(
                f,
                "backup {number} of the chain has no end: it was cut off while it was made, or \
                 later; use another copy, or restore the chain up to the one before"
            ),
            Self::Altered { number, what } => write!(
                f,
                "backup {number} of the chain was altered or damaged: {what}; use another copy"
            ),
            Self::Missing { number, id } => write!(
                f,
                "backup {number} of the chain, {}, is missing; without it only the chain up to the \
                 one before can be restored",
                hex(id)
            ),
            Self::OutOfOrder { number, belongs: Some(belongs) } => write!(
                f,
                "the backup that stands at number {number} belongs at number {belongs}: name them \
                 in the order in which they were made, the full one first"
            ),
            Self::OutOfOrder { number, belongs: None } => write!(
                f,
                "the backup at number {number} was made after the last one of the chain: name them \
                 in the order in which they were made, the newest last"
            ),
            Self::NotOfChain { number, found, expected: Some(expected) } => write!(
                f,
                "at number {number} the chain has {}, but the backup there is {}: an older one, or \
                 of another chain",
                hex(expected),
                hex(found)
            ),
            Self::NotOfChain { number, found, expected: None } => write!(
                f,
                "the newest backup doesn't stand on the one at number {number}, {}: leave it out, or \
                 check which chain is meant",
                hex(found)
            ),
            Self::Foreign { number, found, expected } => {
                write!(f, "backup {number} is of another database: {found}, not {expected}")
            }
            Self::ParentKeyGone => f.write_str(
                "the backup to go on from was sealed under a data key that is gone since a key \
                 rotation ended, which changed every page: make a full backup",
            ),
            Self::Unreadable { pages, first } => write!(
                f,
                "{pages} pages of the database don't open, the first is {first}: damage, or unused \
                 pages that a crash left so; open it once with \
                 `Builder::check_integrity_on_open`, which tells the two apart, or allow it \
                 (`Options::allow_unreadable`): a restore then says whether they were in use"
            ),
            Self::CheckFailed => f.write_str(
                "redb's integrity check of the restored database failed, so it was not put in \
                 place; restore an older state",
            ),
            Self::Open(error) => write!(f, "{error}"),
            Self::Io { doing, source } => write!(f, "{doing}: {source}"),
        }
    }
}

impl StdError for BackupError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Open(error) => error.source(),
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl BackupError {
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}

impl From<OpenError> for BackupError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl From<StoreError> for BackupError {
    fn from(error: StoreError) -> Self {
        Self::Open(error.into())
    }
}

impl From<Damage> for BackupError {
    fn from(damage: Damage) -> Self {
        Self::Open(damage.into())
    }
}

impl From<BackupError> for Error {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Open(error) => error.into(),
            other => Self::Backup(other),
        }
    }
}
