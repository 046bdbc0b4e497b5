//! Floor 1: what can go wrong, as plain data. Three questions, three enums: what is wrong with the
//! bytes ([`Damage`]), why did an open or create fail ([`OpenError`]), why did a call on the open
//! store fail ([`StoreError`]). [`Error`] is their sum with redb's, for functions that use `?`.
//!
//! Wrong key, not a strongroom file, unsupported, damaged, rolled back, in use and I/O are kept
//! apart, because each asks for something else to be done.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::units::Generation;

mod anchor;
mod backup;
mod convert;
mod credential;
mod damage;
mod key;
mod rotation;
mod salvage;
#[cfg(feature = "kms")]
mod transit;

pub use anchor::{AnchorError, AnchorFault, TokenError};
pub use backup::BackupError;
pub use convert::ConvertError;
pub use credential::{
    AllOfError, CodeError, ProviderError, ProviderFailure, ProviderFault, WrongGroups,
};
pub use damage::Damage;
pub use key::{KeyError, SlotRefused};
pub use rotation::RotationError;
pub use salvage::SalvageError;
#[cfg(feature = "kms")]
pub use transit::TransitOptionsError;

/// Why a call on an open store failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// The medium reported an error.
    Io(io::Error),
    /// The bytes are not what was written.
    Damage(Damage),
    /// An earlier write or sync failed; what is durable is known again after a reopen.
    Latched,
    /// The data key reached its use limit: rotate it. Reading, closing and rotating still work.
    KeyUsedUp,
    /// Pages that an old data key sealed and that don't open, so that a rotation can't seal them
    /// anew and can't let the key go.
    Unreadable {
        /// How many.
        pages: u64,
    },
    /// A backup could not keep up with a writer: it had to keep so many bytes in memory of pages that
    /// were overwritten before it came to copy them.
    Outrun {
        /// Bytes kept.
        kept_bytes: u64,
    },
    /// A call that the format can't carry out.
    Misuse(&'static str),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Damage(damage) => write!(f, "{damage}"),
            Self::Latched => f.write_str(
                "an earlier write or sync failed, so nothing more is written; close the database \
                 and open it again, it comes back at its last durable commit",
            ),
            Self::KeyUsedUp => f.write_str(
                "the data key has sealed as many pages as its policy allows: open the database \
                 again and rotate the key (`Database::rotate`); reading still works",
            ),
            Self::Unreadable { pages } => write!(
                f,
                "{pages} pages that the old data key sealed don't open, by damage or because a \
                 crash left them so: open the database once with \
                 `Builder::check_integrity_on_open`, which finds out which of them are unused, or \
                 give them up with `Rotation::give_up_unreadable`"
            ),
            Self::Outrun { kept_bytes } => write!(
                f,
                "the backup can't keep up with the writer: {kept_bytes} bytes were overwritten, or \
                 cut off, before they were copied; take it at a quieter time, write it to a faster \
                 place, or allow it more memory (`Options::kept_bytes_max`)"
            ),
            Self::Misuse(what) => f.write_str(what),
        }
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Damage(damage) => Some(damage),
            Self::Latched
            | Self::KeyUsedUp
            | Self::Unreadable { .. }
            | Self::Outrun { .. }
            | Self::Misuse(_) => None,
        }
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match Damage::find_in(&error) {
            Some(damage) => Self::Damage(damage),
            None => Self::Io(error),
        }
    }
}

impl From<Damage> for StoreError {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Io(error) => error,
            StoreError::Damage(damage) => damage.into(),
            StoreError::Misuse(_) => Self::new(io::ErrorKind::InvalidInput, error),
            StoreError::Latched
            | StoreError::KeyUsedUp
            | StoreError::Unreadable { .. }
            | StoreError::Outrun { .. } => Self::other(error),
        }
    }
}

/// Why a database could not be created, opened or closed. The file is left as it was.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no file, or to create one in no directory, of this name. Opening never creates.
    NotFound(PathBuf),
    /// The name is taken. Creating never replaces anything.
    AlreadyExists(PathBuf),
    /// The name is a directory's.
    IsDirectory(PathBuf),
    /// The file is on a read-only file system, or may not be written.
    ReadOnly(PathBuf),
    /// Another handle, here or in another process, has the database open.
    AlreadyOpen,
    /// The medium has no whole-storage lock.
    CannotLock,
    /// The file or medium is empty: neither a strongroom database nor anything else.
    Empty,
    /// The medium to create on already holds bytes.
    NotEmpty,
    /// A plain redb database, not encrypted.
    PlainRedb,
    /// Something else altogether.
    NotStrongroom,
    /// A format that this version doesn't know.
    UnsupportedVersion {
        /// The major version that the file states.
        found: u16,
    },
    /// Features of the format that this version doesn't know.
    UnsupportedFeatures {
        /// The unknown bits.
        bits: u64,
    },
    /// Both header copies are unreadable: without a header no key opens anything.
    HeaderLost,
    /// No key slot of the file opens with this credential.
    WrongKey,
    /// A credential that may be right, refused for what its slot says.
    Slot(SlotRefused),
    /// An empty passphrase.
    EmptyPassphrase,
    /// There is no key file of this name.
    KeyFileNotFound(PathBuf),
    /// A key file that is neither 32 bytes nor 64 hexadecimal digits.
    KeyFileLength {
        /// The bytes it has.
        found: u64,
    },
    /// The file asks for more key-derivation work than the caller allows.
    KdfTooExpensive {
        /// Memory asked for, in KiB.
        memory_kib: u32,
        /// Passes asked for.
        passes: u32,
        /// Lanes asked for.
        lanes: u32,
    },
    /// The KDF parameters for a new slot are below the floor.
    KdfTooCheap,
    /// A key provider gave no secret.
    Provider(ProviderFailure),
    /// A recovery code was not typed as it was written down.
    RecoveryCode(CodeError),
    /// Credentials that can't be used together.
    AllOf(AllOfError),
    /// Locked key memory was required, and the system gave none.
    MemoryNotLocked {
        /// The process's limit on locked memory, `None` if unlimited or unknown.
        limit_bytes: Option<u64>,
    },
    /// The header is older than the root record knows it to be: an old header was put back.
    RolledBack {
        /// The generation found.
        found: Generation,
        /// The generation that the root record names.
        expected: Generation,
    },
    /// The file and its anchor don't go together: it was put back to an older state, the anchor was
    /// not given, is another one, or can't be reached.
    Anchor(AnchorError),
    /// The file is not at or behind the state of the checkpoint token, or of another file.
    Token(TokenError),
    /// A read-only open of a database that was not closed cleanly.
    NeedsRecovery,
    /// The repair callback stopped the repair.
    RepairAborted,
    /// The bytes are not what was written.
    Damaged(Damage),
    /// redb found the database logically damaged.
    Corrupted(String),
    /// A transaction is still alive.
    TransactionInProgress,
    /// The store failed.
    Store(StoreError),
    /// Input or output failed.
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Another error of redb.
    Redb(Box<redb::Error>),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(path) => write!(
                f,
                "there is no {}; `create` makes a new database in an existing directory, `open` \
                 never makes one",
                path.display()
            ),
            Self::AlreadyExists(path) => write!(
                f,
                "{} exists; `create` never replaces a file: open it, or choose another name",
                path.display()
            ),
            Self::IsDirectory(path) => {
                write!(f, "{} is a directory; name a file in it", path.display())
            }
            Self::ReadOnly(path) => write!(
                f,
                "{} can't be opened as asked (read-only file system, or permissions of the file or \
                 its directory); open it read-only, or mend the permissions",
                path.display()
            ),
            Self::AlreadyOpen => f.write_str(
                "the database is open elsewhere, in this process or another one; close it there \
                 first",
            ),
            Self::CannotLock => f.write_str(
                "the medium can't be locked, so a second open could destroy the database; use a \
                 local file system, or `Builder::allow_unlocked` if you exclude second opens \
                 yourself",
            ),
            Self::Empty => f.write_str(
                "the file is empty, not a database; if nothing belongs there, delete it and \
                 create the database",
            ),
            Self::NotEmpty => {
                f.write_str("the medium already holds bytes; `create_on` wants an empty one")
            }
            Self::PlainRedb => f.write_str(
                "this is a plain, unencrypted redb database; encrypt it with \
                 `strongroom::convert::encrypt`",
            ),
            Self::NotStrongroom => f.write_str(
                "this is not a strongroom database; check the path, or restore a backup if it once \
                 was one",
            ),
            Self::UnsupportedVersion { found } => write!(
                f,
                "the file has format version {found}; this program knows version 1: use a newer \
                 one"
            ),
            Self::UnsupportedFeatures { bits } => write!(
                f,
                "the file needs features this program doesn't have (bits {bits:#x}): use a newer \
                 one"
            ),
            Self::HeaderLost => f.write_str(
                "both copies of the header are unreadable, and with them every wrapped key: no \
                 credential opens anything without them. Only a header backup helps \
                 (`Builder::restore_header`), or a backup of the file; a file whose very creation \
                 was cut off looks like this too, and never held anything",
            ),
            Self::WrongKey => f.write_str(
                "no key slot opens with this credential: wrong key or passphrase, or the wrong \
                 file; nothing was changed",
            ),
            Self::Slot(refused) => write!(f, "{refused}"),
            Self::EmptyPassphrase => f.write_str("the passphrase is empty; choose one"),
            Self::KeyFileNotFound(path) => write!(
                f,
                "there is no key file {}; check the path, or look on the medium it is kept on",
                path.display()
            ),
            Self::KeyFileLength { found } => write!(
                f,
                "a key file holds exactly 32 random bytes, or 64 hexadecimal digits; this one has \
                 {found} bytes"
            ),
            Self::KdfTooExpensive { memory_kib, passes, lanes } => write!(
                f,
                "the file asks for Argon2id with {memory_kib} KiB, {passes} passes, {lanes} \
                 lanes, above the limit; if you trust it, raise `Builder::kdf_limits`"
            ),
            Self::KdfTooCheap => f.write_str(
                "Argon2id below 19 MiB and 2 passes is too cheap to guess; raise the parameters",
            ),
            Self::Provider(failure) => write!(f, "{failure}"),
            Self::RecoveryCode(error) => write!(f, "{error}"),
            Self::AllOf(error) => write!(f, "{error}"),
            Self::MemoryNotLocked { limit_bytes } => write!(
                f,
                "key memory can't be locked (RLIMIT_MEMLOCK in bytes: {}); raise the limit, or \
                 allow `LockMemory::Prefer`",
                limit_bytes.map_or("not set".to_owned(), |bytes| bytes.to_string())
            ),
            Self::RolledBack { found, expected } => write!(
                f,
                "the header is of {found} but the database has seen {expected}: an older header \
                 was put back; restore the newer one (`Builder::restore_header`)"
            ),
            Self::Anchor(error) => write!(f, "{error}"),
            Self::Token(error) => write!(f, "{error}"),
            Self::NeedsRecovery => f.write_str(
                "the database was not closed cleanly and a read-only open changes nothing: open \
                 it for writing once",
            ),
            Self::RepairAborted => f.write_str("the repair callback stopped the repair"),
            Self::Damaged(damage) => write!(f, "the file is damaged: {damage}"),
            Self::Corrupted(what) => write!(f, "redb found the database damaged: {what}"),
            Self::TransactionInProgress => {
                f.write_str("a transaction is still alive; finish it first")
            }
            Self::Store(error) => write!(f, "{error}"),
            Self::Io { doing, source } => write!(f, "{doing}: {source}"),
            Self::Redb(error) => write!(f, "{error}"),
        }
    }
}

impl StdError for OpenError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Damaged(damage) => Some(damage),
            Self::Store(error) => Some(error),
            Self::Io { source, .. } => Some(source),
            Self::Redb(error) => Some(error),
            Self::Provider(failure) => Some(failure),
            Self::RecoveryCode(error) => Some(error),
            Self::AllOf(error) => Some(error),
            Self::Anchor(error) => Some(error),
            Self::Token(error) => Some(error),
            _ => None,
        }
    }
}

impl OpenError {
    /// Wraps an I/O error with what was being done; damage inside it is named as such.
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| match Damage::find_in(&source) {
            Some(damage) => Self::Damaged(damage),
            None => Self::Io { doing, source },
        }
    }
}

impl From<CodeError> for OpenError {
    fn from(error: CodeError) -> Self {
        Self::RecoveryCode(error)
    }
}

impl From<Damage> for OpenError {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Damage(damage) => Self::Damaged(damage),
            StoreError::Io(source) => Self::io("reading or writing the database")(source),
            other => Self::Store(other),
        }
    }
}

impl From<redb::DatabaseError> for OpenError {
    fn from(error: redb::DatabaseError) -> Self {
        match error {
            redb::DatabaseError::DatabaseAlreadyOpen => Self::AlreadyOpen,
            redb::DatabaseError::RepairAborted => Self::RepairAborted,
            redb::DatabaseError::TransactionInProgress => Self::TransactionInProgress,
            redb::DatabaseError::Storage(redb::StorageError::Corrupted(what)) => {
                Self::Corrupted(what)
            }
            redb::DatabaseError::Storage(redb::StorageError::Io(source)) => store_error(source),
            other => Self::Redb(Box::new(other.into())),
        }
    }
}

// An error of ours that went through redb as an `io::Error`.
fn store_error(source: io::Error) -> OpenError {
    match source.downcast::<StoreError>() {
        Ok(error) => OpenError::Store(error),
        Err(source) => OpenError::io("reading or writing the database")(source),
    }
}

/// Everything that can go wrong, for functions that use `?` on strongroom's and redb's calls.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Create, open or close failed.
    Open(OpenError),
    /// The bytes of the file are not what was written.
    Damage(Damage),
    /// The store failed.
    Store(StoreError),
    /// An operation on key slots, policy or the header failed.
    Key(KeyError),
    /// A key rotation stopped.
    Rotation(RotationError),
    /// A file was not encrypted or decrypted.
    Convert(ConvertError),
    /// A backup was not made, or not restored.
    Backup(BackupError),
    /// redb's own errors.
    Redb(Box<redb::Error>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => write!(f, "{error}"),
            Self::Damage(damage) => write!(f, "{damage}"),
            Self::Store(error) => write!(f, "{error}"),
            Self::Key(error) => write!(f, "{error}"),
            Self::Rotation(error) => write!(f, "{error}"),
            Self::Convert(error) => write!(f, "{error}"),
            Self::Backup(error) => write!(f, "{error}"),
            Self::Redb(error) => write!(f, "{error}"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Open(error) => error.source(),
            Self::Damage(_) => None,
            Self::Store(error) => error.source(),
            Self::Key(error) => error.source(),
            Self::Rotation(error) => error.source(),
            Self::Convert(error) => error.source(),
            Self::Backup(error) => error.source(),
            Self::Redb(error) => error.source(),
        }
    }
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Damaged(damage) => Self::Damage(damage),
            OpenError::Store(error) => Self::Store(error),
            other => Self::Open(other),
        }
    }
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Open(error) => error.into(),
            KeyError::Store(error) => Self::Store(error),
            other => Self::Key(other),
        }
    }
}

impl From<redb::Error> for Error {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(source) => match Damage::find_in(&source) {
                Some(damage) => Self::Damage(damage),
                None => match source.downcast::<StoreError>() {
                    Ok(error) => Self::Store(error),
                    Err(source) => Self::Redb(Box::new(redb::Error::Io(source))),
                },
            },
            other => Self::Redb(Box::new(other)),
        }
    }
}

macro_rules! from_redb {
    ($($error:ident),*) => {
        $(impl From<redb::$error> for Error {
            fn from(error: redb::$error) -> Self {
                redb::Error::from(error).into()
            }
        })*
    };
}

from_redb!(
    StorageError,
    TableError,
    TransactionError,
    CommitError,
    SavepointError,
    CompactionError,
    DatabaseError,
    SetDurabilityError
);
