//! Floor 10: a plain redb file to an encrypted one, and back (docs/convert.md). What an encrypted
//! file holds, byte for byte and page for page, is a redb file: so a conversion copies pages and
//! knows nothing of tables.
//!
//! A copy is made beside its target under a name of its own, made durable, read back and compared
//! page by page with its source, opened with redb, and only then gets its name, in one step. The
//! source is locked meanwhile and never written.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::builder::Builder;
use crate::crew;
use crate::drafts::{self, Draft};
use crate::error::{ConvertError, OpenError};
use crate::keys::Credential;
use crate::layout;
use crate::medium::{self, Directory, FileDirectory, Identity};

mod decrypting;
mod encrypting;
mod overlay;
mod plain;
mod sweep;

/// What a conversion is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Copying pages.
    Copying,
    /// Reading the copy back and comparing it with its source.
    Verifying,
}

/// How far a conversion has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// What it is at.
    pub phase: Phase,
    /// Bytes of this phase that are done.
    pub done_bytes: u64,
    /// Bytes of this phase in all.
    pub total_bytes: u64,
}

/// Called by the threads that copy, one at a time.
pub type ProgressFn<'a> = &'a (dyn Fn(Progress) + Sync);

/// How to convert. Start from the default.
#[derive(Clone)]
pub struct Options<'a> {
    /// How the encrypted file is made or opened: hints, KDF limits, memory locking.
    pub builder: Builder,
    /// A second credential, to split roles: the one that the function takes then administers the
    /// new encrypted file and opens no data, this one opens data. Of no use in decrypting.
    pub data: Option<&'a dyn Credential>,
    /// Says what would be done, and does nothing.
    pub dry_run: bool,
    /// Lets redb check every page of its trees: in the plain file before it is encrypted, in the
    /// decrypted copy before it gets its name. On unless told otherwise.
    pub check: bool,
    /// Threads that copy and compare; 0, the default, is as many as there are processors, at most
    /// four.
    pub threads: usize,
    /// Told how far it has come.
    pub progress: Option<ProgressFn<'a>>,
}

impl std::fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("dry_run", &self.dry_run)
            .field("check", &self.check)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            builder: Builder::new(),
            data: None,
            dry_run: false,
            check: true,
            threads: 0,
            progress: None,
        }
    }
}

const THREADS_MAX: usize = 4;

impl Options<'_> {
    fn threads(&self) -> usize {
        match self.threads {
            0 => crew::cores().min(THREADS_MAX),
            threads => threads,
        }
    }
}

/// What a conversion did, or in a dry run would do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Bytes of the source file.
    pub source_bytes: u64,
    /// Bytes of the target file.
    pub target_bytes: u64,
    /// Bytes of the redb database in both.
    pub database_bytes: u64,
    /// The plain file had not been closed cleanly: redb repaired the copy, not the file.
    pub repaired: bool,
    /// Pages that an earlier crash had left unreadable and that redb doesn't use: zeros in the
    /// decrypted file.
    pub lost_pages: u64,
    /// Unfinished files of earlier conversions to this target that were removed, or in a dry run
    /// would be.
    pub abandoned: Vec<PathBuf>,
    /// Nothing was done.
    pub dry_run: bool,
    /// How long it took.
    pub took: Duration,
}

/// Encrypts a plain, closed redb file into a new file; the plain one stays as it is.
///
/// ```
/// use strongroom::convert::{self, Options};
/// use strongroom::redb::{self, ReadableDatabase, TableDefinition};
/// use strongroom::{Database, RawKey};
/// const NOTES: TableDefinition<&str, &str> = TableDefinition::new("notes");
///
/// # let directory = tempfile::tempdir().unwrap();
/// # let (plain, room) = (directory.path().join("notes.redb"), directory.path().join("notes.room"));
/// # let key = RawKey::new([7; 32]);
/// let db = redb::Database::create(&plain)?;
/// let write = db.begin_write()?;
/// write.open_table(NOTES)?.insert("a", "b")?;
/// write.commit()?;
/// drop(db);
///
/// convert::encrypt(&plain, &room, &key, &Options::default())?;
///
/// let db = Database::open(&room, key)?;
/// assert_eq!(db.begin_read()?.open_table(NOTES)?.get("a")?.unwrap().value(), "b");
/// # Ok::<(), strongroom::Error>(())
/// ```
///
/// # Errors
/// [`ConvertError`] says what is wrong and what to do. There is no target then, and the source is
/// as it was.
pub fn encrypt(
    plain: impl AsRef<Path>,
    room: impl AsRef<Path>,
    key: &dyn Credential,
    options: &Options<'_>,
) -> Result<Report, ConvertError> {
    at(plain.as_ref(), Some(room.as_ref()), |task| encrypting::run(task, key, options))
}

/// Encrypts a plain, closed redb file in its own place: an encrypted copy is made beside it, which
/// at the end takes its name, in one step. Before that the plain file is as it was; after it, its
/// bytes are free room on the device, where they may be found for long: overwriting them is not in
/// the power of a program.
///
/// # Errors
/// As [`encrypt`], and [`ConvertError::OtherNames`].
pub fn encrypt_in_place(
    file: impl AsRef<Path>,
    key: &dyn Credential,
    options: &Options<'_>,
) -> Result<Report, ConvertError> {
    at(file.as_ref(), None, |task| encrypting::run(task, key, options))
}

/// Decrypts a cleanly closed database into a new, plain redb file.
///
/// # Errors
/// As [`encrypt`]; [`OpenError::NeedsRecovery`] where the database was not closed cleanly.
pub fn decrypt(
    room: impl AsRef<Path>,
    plain: impl AsRef<Path>,
    key: &dyn Credential,
    options: &Options<'_>,
) -> Result<Report, ConvertError> {
    at(room.as_ref(), Some(plain.as_ref()), |task| decrypting::run(task, key, options))
}

/// Decrypts a cleanly closed database in its own place.
///
/// # Errors
/// As [`decrypt`], and [`ConvertError::OtherNames`].
pub fn decrypt_in_place(
    file: impl AsRef<Path>,
    key: &dyn Credential,
    options: &Options<'_>,
) -> Result<Report, ConvertError> {
    at(file.as_ref(), None, |task| decrypting::run(task, key, options))
}

/// [`encrypt`] and [`encrypt_in_place`] within a directory that a test made.
///
/// # Errors
/// As [`encrypt`].
#[cfg(feature = "testkit")]
pub fn encrypt_within(
    directory: &dyn Directory,
    (source, target): (&str, &str),
    key: &dyn Credential,
    options: &Options<'_>,
) -> Result<Report, ConvertError> {
    encrypting::run(&Task::within(directory, source, target), key, options)
}

/// [`decrypt`] and [`decrypt_in_place`] within a directory that a test made.
///
/// # Errors
/// As [`decrypt`].
#[cfg(feature = "testkit")]
pub fn decrypt_within(
    directory: &dyn Directory,
    (source, target): (&str, &str),
    key: &dyn Credential,
    options: &Options<'_>,
) -> Result<Report, ConvertError> {
    decrypting::run(&Task::within(directory, source, target), key, options)
}

/// A file to be converted, and the name of what comes out.
#[derive(Debug)]
struct Task<'a> {
    from: &'a dyn Directory,
    source: OsString,
    to: &'a dyn Directory,
    target: OsString,
    /// What the target is called in errors and reports.
    target_path: PathBuf,
    in_place: bool,
}

// In place where there is no target. A symbolic link is followed first, so that what it leads to is
// replaced, not the link.
fn at(
    source: &Path,
    target: Option<&Path>,
    convert: impl FnOnce(&Task<'_>) -> Result<Report, ConvertError>,
) -> Result<Report, ConvertError> {
    let found = source.canonicalize().map_err(|error| missing(source, error))?;
    let (from, name) = directory_of(&found)?;
    let (to, target_name) = directory_of(target.unwrap_or(&found))?;
    convert(&Task {
        from: &from,
        source: name,
        to: &to,
        target_path: to.path_of(&target_name),
        target: target_name,
        in_place: target.is_none(),
    })
}

fn directory_of(path: &Path) -> Result<(FileDirectory, OsString), ConvertError> {
    FileDirectory::of(path).ok_or_else(|| OpenError::IsDirectory(path.to_owned()).into())
}

fn missing(path: &Path, error: std::io::Error) -> ConvertError {
    match error.kind() {
        std::io::ErrorKind::NotFound => OpenError::NotFound(path.to_owned()).into(),
        _ => ConvertError::io("looking for the file")(error),
    }
}

impl<'a> Task<'a> {
    #[cfg(feature = "testkit")]
    fn within(directory: &'a dyn Directory, source: &str, target: &str) -> Self {
        Self {
            from: directory,
            source: source.into(),
            to: directory,
            target: target.into(),
            target_path: target.into(),
            in_place: source == target,
        }
    }

    // Before anything is opened: whether the name is free or, in place, may be taken over.
    fn check_names(&self) -> Result<Identity, ConvertError> {
        let source = self.from.identity(&self.source);
        let source = source.map_err(|error| missing(Path::new(&self.source), error))?;
        if self.in_place && source.names > 1 {
            return Err(ConvertError::OtherNames { names: source.names });
        }
        let looking = ConvertError::io("looking at the target's directory");
        let taken = !self.in_place && self.to.names().map_err(looking)?.contains(&self.target);
        if taken {
            return Err(ConvertError::TargetExists(self.target_path.clone()));
        }
        Ok(source)
    }

    fn open_source(&self) -> Result<Arc<dyn medium::Medium>, ConvertError> {
        let opened = self.from.open(&self.source, false);
        opened.map_err(ConvertError::io("opening the source"))
    }

    fn abandoned(&self, dry_run: bool) -> Result<Vec<PathBuf>, ConvertError> {
        let look = if dry_run { drafts::abandoned } else { drafts::remove_abandoned };
        let names = look(self.to, &self.target)
            .map_err(ConvertError::io("removing what an earlier conversion left"))?;
        let path_of = |name: &OsString| self.target_path.with_file_name(name);
        Ok(names.iter().map(path_of).collect())
    }

    fn begin(&self) -> Result<(Draft<'a>, Arc<dyn medium::Medium>), ConvertError> {
        Draft::begin(self.to, &self.target).map_err(ConvertError::io("creating the copy"))
    }

    // The copy is durable and verified: it gets its name.
    fn settle(&self, draft: Draft<'_>, source: Identity) -> Result<(), ConvertError> {
        let naming = ConvertError::io("giving the copy its name");
        if !self.in_place {
            return draft.publish().map_err(|error| match error.kind() {
                std::io::ErrorKind::AlreadyExists => {
                    ConvertError::TargetExists(self.target_path.clone())
                }
                _ => naming(error),
            });
        }
        match self.from.identity(&self.source) {
            Ok(now) if now == source => draft.replace().map_err(naming),
            Ok(now) if (now.device, now.file) == (source.device, source.file) => {
                Err(ConvertError::OtherNames { names: now.names })
            }
            _ => Err(ConvertError::SourceReplaced),
        }
    }
}

// Bytes of an encrypted file that holds this many logical ones, closed.
fn encrypted_len(logical_bytes: u64) -> u64 {
    let groups = layout::groups_for(layout::pages_in(logical_bytes));
    let index = layout::clean_index_pages(groups).saturating_mul(layout::PAGE_BYTES);
    layout::data_end(logical_bytes).0.saturating_add(index)
}

fn finished(report: Report, begun: Instant) -> Report {
    Report { took: begun.elapsed(), ..report }
}
