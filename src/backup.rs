//! Floor 10: backups of a database in use, and their restore (docs/backup.md; the bytes are in
//! docs/backup-format.md).
//!
//! A backup is one durable state: what the last durable commit left. Its pages are copied as they
//! are sealed in the file, so a backup is as secret as the file and opens with the same
//! credentials, those of its time. A full backup has every group, an incremental one the groups
//! whose tag page is another than in the backup it stands on. The newest manifest vouches for
//! every byte of the whole chain.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::builder::Builder;
use crate::database::Database;
use crate::drafts::{self, Draft};
use crate::error::{BackupError, OpenError};
use crate::keys::Credential;
use crate::medium::{Directory, FileDirectory};
use crate::units::{FileId, Generation, SyncSeq};

mod chain;
mod files;
mod parent;
mod restoring;
mod writing;

pub use crate::format::backup::BackupKind;
pub use chain::{Chain, Stream};
pub use parent::Parent;

/// How far a backup or a restore has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Groups of 504 KiB that are copied.
    pub done_groups: u64,
    /// Groups to be copied.
    pub total_groups: u64,
}

/// Told after each group.
pub type ProgressFn<'a> = &'a dyn Fn(Progress);

/// How a backup is made. Start from the default.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Memory for pages that a writer overwrites before they are copied; 256 MiB unless set. A
    /// backup that would need more fails with [`StoreError::Outrun`](crate::StoreError::Outrun),
    /// and the writer goes on.
    pub kept_bytes_max: u64,
    /// Goes on over pages that don't open: they are lost in the backup, and a restore fails if redb
    /// needs one of them. Otherwise [`BackupError::Unreadable`].
    pub allow_unreadable: bool,
    /// Told how far it has come. Must not wait for a key rotation, which waits for the backup.
    pub progress: Option<ProgressFn<'a>>,
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("kept_bytes_max", &self.kept_bytes_max)
            .field("allow_unreadable", &self.allow_unreadable)
            .finish_non_exhaustive()
    }
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self { kept_bytes_max: 256 << 20, allow_unreadable: false, progress: None }
    }
}

/// A backup that was made.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Its name.
    pub id: [u8; 16],
    /// Whether it stands for itself.
    pub kind: BackupKind,
    /// The database.
    pub file_id: FileId,
    /// The sync whose state it is.
    pub sync: SyncSeq,
    /// The header that it carries.
    pub generation: Generation,
    /// Its number in its chain, counted from 0.
    pub number: usize,
    /// Groups of the database.
    pub groups: u64,
    /// Groups that it holds.
    pub copied_groups: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Pages that don't open and are lost in it.
    pub unreadable_pages: u64,
    /// What an incremental backup on it needs of it: the manifest, to be kept where the backup
    /// itself went into a pipe.
    pub parent: Parent,
    /// How long it took.
    pub took: Duration,
}

/// Writes a full backup of an open database. Reads and writes go on beside it. It holds every
/// durable commit that returned before, and waits for no transaction.
///
/// ```
/// use strongroom::backup::{self, Chain};
/// use strongroom::redb::{ReadableDatabase, TableDefinition};
/// use strongroom::{Database, RawKey};
/// const NOTES: TableDefinition<&str, &str> = TableDefinition::new("notes");
///
/// # let directory = tempfile::tempdir().unwrap();
/// # let (path, copy) = (directory.path().join("notes.room"), directory.path().join("copy.room"));
/// # let key = || RawKey::new([7; 32]);
/// let db = Database::create(&path, key())?;
/// let note = |text: &str| -> Result<(), strongroom::Error> {
///     let write = db.begin_write()?;
///     write.open_table(NOTES)?.insert("a", text)?;
///     Ok(write.commit()?)
/// };
/// note("first")?;
/// let (mut full, mut more) = (Vec::new(), Vec::new());
/// let report = backup::snapshot(&db, &mut full, &Default::default())?;
/// note("second")?;
/// backup::incremental(&db, &report.parent, &mut more, &Default::default())?;
/// note("third")?;
///
/// let chain = Chain::of_bytes([full, more]);
/// backup::restore(chain, &copy, &key(), &Default::default())?;
/// let db = Database::open(&copy, key())?;
/// assert_eq!(db.begin_read()?.open_table(NOTES)?.get("a")?.unwrap().value(), "second");
/// # Ok::<(), strongroom::Error>(())
/// ```
///
/// # Errors
/// [`BackupError`]; what was written so far restores nothing.
pub fn snapshot(
    db: &Database,
    out: &mut dyn std::io::Write,
    options: &Options<'_>,
) -> Result<Report, BackupError> {
    writing::write(db, None, out, options)
}

/// Writes an incremental backup: the groups that changed since `parent`, which is the chain's
/// newest backup, as a restore will have it.
///
/// # Errors
/// As [`snapshot`]; [`BackupError::Foreign`] and [`BackupError::ParentKeyGone`].
pub fn incremental(
    db: &Database,
    parent: &Parent,
    out: &mut dyn std::io::Write,
    options: &Options<'_>,
) -> Result<Report, BackupError> {
    writing::write(db, Some(parent), out, options)
}

/// [`snapshot`] or, where there is a parent, [`incremental`], into a new file that only its owner
/// may read. The file appears under its name once it is whole and durable.
///
/// # Errors
/// As either; [`BackupError::TargetExists`].
pub fn to_file(
    db: &Database,
    parent: Option<&Parent>,
    path: impl AsRef<Path>,
    options: &Options<'_>,
) -> Result<Report, BackupError> {
    let (directory, name) = place_of(path.as_ref())?;
    files::write(db, parent, &directory, &name, options)
}

/// Makes the next backup of the chain that a directory of its own holds, as `000000.backup`,
/// `000001.backup` and so on: a full one in an empty directory, an incremental one otherwise.
///
/// # Errors
/// As [`to_file`].
pub fn to_directory(
    db: &Database,
    path: impl AsRef<Path>,
    options: &Options<'_>,
) -> Result<Report, BackupError> {
    let directory = FileDirectory::new(path.as_ref());
    files::write_next(db, &directory, options)
}

/// [`to_directory`] in a directory that a test made.
///
/// # Errors
/// As [`to_directory`].
#[cfg(feature = "testkit")]
pub fn to_directory_within(
    db: &Database,
    directory: &dyn Directory,
    options: &Options<'_>,
) -> Result<Report, BackupError> {
    files::write_next(db, directory, options)
}

/// Keys of its own for a restored database: another file id, another root key and data key.
#[derive(Clone, Copy)]
pub struct Rekey<'a> {
    /// Opens the restored database and administers it.
    pub key: &'a dyn Credential,
    /// Opens its data where roles are split: `key` only administers it then.
    pub data: Option<&'a dyn Credential>,
}

impl fmt::Debug for Rekey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rekey")
    }
}

/// How a chain is restored. Start from the default.
#[derive(Clone, Default)]
pub struct RestoreOptions<'a> {
    /// How the header of the backup is opened and the restored file is made.
    pub builder: Builder,
    /// Seals every page anew, in a file with keys of its own. Otherwise the restored file has the
    /// file id, keys and credentials of the backup.
    pub rekey: Option<Rekey<'a>>,
    /// Told how far it has come.
    pub progress: Option<ProgressFn<'a>>,
}

impl fmt::Debug for RestoreOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestoreOptions")
            .field("builder", &self.builder)
            .field("rekey", &self.rekey)
            .finish_non_exhaustive()
    }
}

/// A database that was restored.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Restored {
    /// The restored file's id: the backup's, or its own.
    pub file_id: FileId,
    /// The sync of the database whose state was restored.
    pub sync: SyncSeq,
    /// Backups of the chain.
    pub backups: usize,
    /// Bytes of the file.
    pub bytes: u64,
    /// Pages that were lost in the backup and that redb doesn't need.
    pub lost_pages: u64,
    /// How long it took.
    pub took: Duration,
}

/// Restores the state of the newest backup of a chain into a new file. Every byte of the chain is
/// checked, every page is read back and opened, redb repairs and checks what was put together, and
/// only then the file gets its name.
///
/// # Errors
/// [`BackupError`] says which backup of the chain is at fault. There is no file then.
pub fn restore(
    chain: Chain,
    target: impl AsRef<Path>,
    key: &dyn Credential,
    options: &RestoreOptions<'_>,
) -> Result<Restored, BackupError> {
    let (directory, name) = place_of(target.as_ref())?;
    restoring::run(chain, &directory, &name, key, options)
}

/// [`restore`] into a directory that a test made.
///
/// # Errors
/// As [`restore`].
#[cfg(feature = "testkit")]
pub fn restore_within(
    chain: Chain,
    directory: &dyn Directory,
    target: &str,
    key: &dyn Credential,
    options: &RestoreOptions<'_>,
) -> Result<Restored, BackupError> {
    restoring::run(chain, directory, target.as_ref(), key, options)
}

fn place_of(path: &Path) -> Result<(FileDirectory, std::ffi::OsString), BackupError> {
    FileDirectory::of(path).ok_or_else(|| OpenError::IsDirectory(path.to_owned()).into())
}

fn check_free(directory: &dyn Directory, name: &std::ffi::OsStr) -> Result<(), BackupError> {
    let names = directory.names().map_err(BackupError::io("looking at the directory"))?;
    match names.iter().any(|taken| taken == name) {
        true => Err(BackupError::TargetExists(name.into())),
        false => Ok(()),
    }
}

// A draft for a name that is free; what earlier ones left is removed.
fn begin_draft<'a>(
    directory: &'a dyn Directory,
    name: &std::ffi::OsStr,
) -> Result<(Draft<'a>, std::sync::Arc<dyn crate::medium::Medium>), BackupError> {
    let creating = || BackupError::io("creating the file");
    check_free(directory, name)?;
    drafts::remove_abandoned(directory, name).map_err(creating())?;
    Draft::begin(directory, name).map_err(creating())
}

fn publish(draft: Draft<'_>, name: &std::ffi::OsStr) -> Result<(), BackupError> {
    draft.publish().map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => BackupError::TargetExists(name.into()),
        _ => BackupError::io("giving the file its name")(error),
    })
}
