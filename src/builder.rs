//! Floor 9: how a database is created and opened: the credential, redb's knobs, ours, and the
//! guard around redb's own recovery. Nothing of the format is decided here.

use std::cell::Cell;
use std::fmt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use redb::RepairSession;

use crate::backend::EncryptedBackend;
use crate::database::{Database, ReadOnlyDatabase};
use crate::error::OpenError;
use crate::events::tell;
use crate::keys::{Credential, KdfLimits};
use crate::medium::{self, FileMedium, MappedMedium, Medium};
use crate::secret::LockMemory;
use crate::store::{self, Options, Recovery, Store};

mod anchors;
mod checks;
mod headers;
mod new_file;

pub(crate) use new_file::NewFile;

pub use checks::{inspect, inspect_medium, prove, prove_medium, verify_file, verify_medium};

pub use anchors::RollbackAccepted;

use anchors::Outside;

type RepairCallback = Rc<dyn Fn(&mut RepairSession)>;

/// Configures and opens a [`Database`]: redb's knobs beside strongroom's.
///
/// ```
/// use strongroom::{Builder, RawKey, medium::MemoryMedium};
/// let key = RawKey::new([7; 32]);
/// let db = Builder::new().cache_size(16 << 20).create_on(MemoryMedium::new(), &key)?;
/// # Ok::<(), strongroom::OpenError>(())
/// ```
#[derive(Clone)]
pub struct Builder {
    options: Options,
    cache_size: Option<usize>,
    check_integrity_on_open: bool,
    repair_callback: Option<RepairCallback>,
    resume_rotation: bool,
    auto_rotate: bool,
    memory_map: bool,
    outside: Outside,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("options", &self.options)
            .field("cache_size", &self.cache_size)
            .field("check_integrity_on_open", &self.check_integrity_on_open)
            .finish_non_exhaustive()
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// The defaults: redb's (1 GiB of page cache) and 64 MiB of tag-page cache.
    #[must_use]
    pub fn new() -> Self {
        Self {
            options: Options::default(),
            cache_size: None,
            check_integrity_on_open: false,
            repair_callback: None,
            resume_rotation: true,
            auto_rotate: false,
            memory_map: false,
            outside: Outside::default(),
        }
    }

    /// redb's page cache in bytes, plaintext pages; see [`redb::Builder::set_cache_size`].
    pub fn cache_size(&mut self, bytes: usize) -> &mut Self {
        self.cache_size = Some(bytes);
        self
    }

    /// Memory for clean tag pages in bytes, 64 MiB unless set: enough for 8 GiB of data. Tag pages
    /// that a transaction changed are kept on top of it until the next sync. Besides, 32 bytes are
    /// kept for each 504 KiB of data.
    pub fn tag_cache_size(&mut self, bytes: usize) -> &mut Self {
        self.options.tag_cache_bytes = bytes;
        self
    }

    /// Lets redb check every page of its trees whenever the database is opened for writing; see
    /// [`redb::Builder::set_check_integrity_on_open`].
    pub fn check_integrity_on_open(&mut self, enabled: bool) -> &mut Self {
        self.check_integrity_on_open = enabled;
        self
    }

    /// Called while redb repairs a database that was not closed cleanly, with its progress; may
    /// abort. See [`redb::Builder::set_repair_callback`].
    pub fn repair_callback(
        &mut self,
        callback: impl Fn(&mut RepairSession) + 'static,
    ) -> &mut Self {
        self.repair_callback = Some(Rc::new(callback));
        self
    }

    /// Whether opening goes on with a key rotation that was interrupted; it does unless told
    /// otherwise. `Database::rotate` goes on with it by hand.
    pub fn resume_rotation(&mut self, resume: bool) -> &mut Self {
        self.resume_rotation = resume;
        self
    }

    /// Whether a rotation begins by itself when the data key is due by the policy in the header
    /// (90 days or 2^40 pages unless changed), at open and as long as the database is open. Off
    /// unless told otherwise. Header backups made before a rotation lack its key: make a new one
    /// after each ([`Database::key_status`] lists them).
    pub fn auto_rotate(&mut self, auto: bool) -> &mut Self {
        self.auto_rotate = auto;
        self
    }

    /// The most key-derivation work that a file may ask for before it is opened.
    pub fn kdf_limits(&mut self, limits: KdfLimits) -> &mut Self {
        self.options.terms.kdf_limits = limits;
        self
    }

    /// How long a [`KeyProvider`](crate::KeyProvider) may take for one answer, 30 seconds unless
    /// set. Past it, opening or creating fails with nothing changed. Making a slot asks three
    /// questions, opening one for each slot of the provider's name.
    pub fn provider_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.options.terms.provider_timeout = timeout;
        self
    }

    /// Whether key memory must be locked against swapping; [`LockMemory::Prefer`] unless set.
    /// [`LockMemory::Require`] covers the database's keys and the memory in which the credential
    /// is kept, not what a key provider holds, nor stacks and redb's cache.
    pub fn lock_memory(&mut self, lock: LockMemory) -> &mut Self {
        self.options.terms.lock_memory = lock;
        self
    }

    /// Reads files through a memory map ([`MappedMedium`]): pages that the system has cached come
    /// without a system call each. Off unless told otherwise, because a file that another program
    /// cuts short, or a disk that fails to read, then ends the process with a signal instead of an
    /// error. docs/performance.md says what it brings.
    pub fn memory_map(&mut self, map: bool) -> &mut Self {
        self.memory_map = map;
        self
    }

    /// Accepts a medium that can't be locked. Two opens at once then destroy the database: the
    /// caller must exclude them.
    pub fn allow_unlocked(&mut self, allow: bool) -> &mut Self {
        self.options.allow_unlocked = allow;
        self
    }

    /// Puts back a hole of an earlier design, for the crash harness to find.
    #[cfg(feature = "testkit")]
    pub fn plant(&mut self, hole: crate::holes::Hole) -> &mut Self {
        self.options.holes = crate::holes::Holes::plant(hole);
        self
    }

    /// How many pages may be sealed before the store syncs by itself, so that tests get there.
    #[cfg(feature = "testkit")]
    pub fn seal_reserve(&mut self, pages: u64) -> &mut Self {
        self.options.seal_reserve = Some(pages);
        self
    }

    /// How many pages a step of a key rotation journals at most, so that tests get many steps out
    /// of a small file.
    #[cfg(feature = "testkit")]
    pub fn rotation_batch(&mut self, pages: usize) -> &mut Self {
        self.options.batch_pages = pages;
        self
    }

    /// How many pages are gathered before they are written, so that tests see pages go out one by
    /// one (0) or in many small batches.
    #[cfg(feature = "testkit")]
    pub fn gathered_pages(&mut self, pages: usize) -> &mut Self {
        self.options.gathered_pages = pages;
        self
    }

    /// How many entries a root record may carry for tag pages that are written later, so that tests
    /// see tag pages in every sync (0) or in many.
    #[cfg(feature = "testkit")]
    pub fn late_entries(&mut self, entries: usize) -> &mut Self {
        self.options.late_entries = entries;
        self
    }

    // redb tells its repair callback whenever it walks all its trees, and it has walked them when
    // it has opened: in a repair, and in an integrity check on open.
    fn watched_redb(&self) -> (redb::Builder, Rc<Cell<bool>>) {
        let mut builder = self.redb();
        let walked = Rc::new(Cell::new(false));
        let (seen, callback) = (Rc::clone(&walked), self.repair_callback.clone());
        builder.set_repair_callback(move |session| {
            seen.set(true);
            if let Some(callback) = &callback {
                callback(session);
            }
        });
        (builder, walked)
    }

    /// The bare backend of an existing database, strict at all times, with this builder's tag
    /// cache, seal reserve and planted hole.
    ///
    /// # Errors
    /// As [`Builder::open`].
    #[cfg(feature = "testkit")]
    pub fn open_backend_on(
        &self,
        medium: impl Medium,
        key: &dyn Credential,
    ) -> Result<EncryptedBackend, OpenError> {
        EncryptedBackend::open_with(medium, key, &self.options)
    }

    /// How a store is opened that no redb runs on.
    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    fn redb(&self) -> redb::Builder {
        let mut builder = redb::Builder::new();
        if let Some(bytes) = self.cache_size {
            builder.set_cache_size(bytes);
        }
        builder.set_check_integrity_on_open(self.check_integrity_on_open);
        builder
    }

    /// Creates a database in a new file, readable and writable by its owner only. The file appears
    /// under its name once it is complete and durable; a process that is killed before that may
    /// leave `NAME.<16 digits>.creating` beside it, which holds nothing and can be deleted.
    ///
    /// # Errors
    /// [`OpenError::AlreadyExists`] where there is a file of this name; nothing is ever replaced.
    pub fn create(
        &self,
        path: impl AsRef<Path>,
        key: &dyn Credential,
    ) -> Result<Database, OpenError> {
        self.create_file(path.as_ref(), key, None)
    }

    fn create_file(
        &self,
        path: &Path,
        key: &dyn Credential,
        data: Option<&dyn Credential>,
    ) -> Result<Database, OpenError> {
        let (file, medium) = NewFile::beside(path)?;
        let db = self.create_with(self.as_asked(medium), key, data)?;
        file.publish()?;
        Ok(db)
    }

    // Read through a memory map or not.
    fn as_asked(&self, file: FileMedium) -> Arc<dyn Medium> {
        if self.memory_map { Arc::new(MappedMedium::new(file)) } else { Arc::new(file) }
    }

    /// Opens an existing database for reading and writing, after a crash as well.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong and what to do; the file is left as it was.
    pub fn open(
        &self,
        path: impl AsRef<Path>,
        key: &dyn Credential,
    ) -> Result<Database, OpenError> {
        self.open_shared(self.as_asked(medium::existing(path.as_ref())?), key)
    }

    /// Opens an existing, cleanly closed database for reading only; changes nothing, and shares
    /// the file with other readers.
    ///
    /// # Errors
    /// [`OpenError::NeedsRecovery`] where it was not closed cleanly.
    pub fn open_read_only(
        &self,
        path: impl AsRef<Path>,
        key: &dyn Credential,
    ) -> Result<ReadOnlyDatabase, OpenError> {
        let file = medium::existing_read_only(path.as_ref())?;
        self.open_shared_read_only(self.as_asked(file), key)
    }

    /// Creates a database on an empty medium.
    ///
    /// # Errors
    /// [`OpenError::NotEmpty`] where it holds bytes.
    pub fn create_on(
        &self,
        medium: impl Medium,
        key: &dyn Credential,
    ) -> Result<Database, OpenError> {
        self.create_with(Arc::new(medium), key, None)
    }

    /// Opens an existing database on a medium.
    ///
    /// # Errors
    /// As [`Builder::open`].
    pub fn open_on(
        &self,
        medium: impl Medium,
        key: &dyn Credential,
    ) -> Result<Database, OpenError> {
        self.open_shared(Arc::new(medium), key)
    }

    pub(crate) fn open_shared(
        &self,
        medium: Arc<dyn Medium>,
        key: &dyn Credential,
    ) -> Result<Database, OpenError> {
        let opened = self.open_told(medium, key);
        match &opened {
            Ok(db) => tell_of(&db.recovery()),
            Err(error) => tell!(WARN, "not opened", error = error),
        }
        opened
    }

    fn open_told(
        &self,
        medium: Arc<dyn Medium>,
        key: &dyn Credential,
    ) -> Result<Database, OpenError> {
        let witness = self.outside.witness();
        let store = store::open(medium, key, &self.options, &witness)?;
        let db = self.open_over(Arc::new(store))?;
        db.tend_keys(self.resume_rotation, self.auto_rotate);
        Ok(db)
    }

    // redb's open, and the end of the recovery that it is a part of.
    fn open_over(&self, store: Arc<Store>) -> Result<Database, OpenError> {
        let backend = EncryptedBackend::over(Arc::clone(&store));
        let (redb, walked) = self.watched_redb();
        let db = redb.create_with_backend(backend)?;
        let recovered = store.end_recovery(walked.get())?;
        Ok(Database::new(db, store, recovered))
    }

    /// Opens an existing, cleanly closed database on a medium for reading only.
    ///
    /// # Errors
    /// As [`Builder::open_read_only`].
    pub fn open_read_only_on(
        &self,
        medium: impl Medium,
        key: &dyn Credential,
    ) -> Result<ReadOnlyDatabase, OpenError> {
        self.open_shared_read_only(Arc::new(medium), key)
    }

    pub(crate) fn open_shared_read_only(
        &self,
        medium: Arc<dyn Medium>,
        key: &dyn Credential,
    ) -> Result<ReadOnlyDatabase, OpenError> {
        let witness = self.outside.witness();
        let store = Arc::new(store::open_read_only(medium, key, &self.options, &witness)?);
        let backend = EncryptedBackend::over(Arc::clone(&store));
        let db = self.redb().open_read_only_with_backend(backend).map_err(|error| match error {
            // redb's word for "the last writer did not finish": nothing was aborted here.
            redb::DatabaseError::RepairAborted => OpenError::NeedsRecovery,
            other => other.into(),
        })?;
        Ok(ReadOnlyDatabase::new(db, store))
    }
}

/// The short way in: a [`Builder`] with the defaults.
impl Database {
    /// Creates a database in a new file; [`Builder::create`] with the defaults.
    ///
    /// # Errors
    /// [`OpenError::AlreadyExists`] where there is a file of this name; nothing is ever replaced.
    pub fn create(path: impl AsRef<Path>, key: impl Credential) -> Result<Self, OpenError> {
        Builder::new().create(path, &key)
    }

    /// Opens an existing database; [`Builder::open`] with the defaults.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong and what to do; the file is left as it was.
    pub fn open(path: impl AsRef<Path>, key: impl Credential) -> Result<Self, OpenError> {
        Builder::new().open(path, &key)
    }

    /// Opens an existing database for reading only; [`Builder::open_read_only`] with the defaults.
    ///
    /// # Errors
    /// [`OpenError::NeedsRecovery`] where it was not closed cleanly.
    pub fn open_read_only(
        path: impl AsRef<Path>,
        key: impl Credential,
    ) -> Result<ReadOnlyDatabase, OpenError> {
        Builder::new().open_read_only(path, &key)
    }

    /// [`Builder::new`].
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }
}

fn tell_of(recovery: &Recovery) {
    let Recovery { clean, sync, recovered_from, torn_pages, lost_pages, .. } = *recovery;
    if clean {
        tell!(INFO, "opened", sync = sync);
    } else {
        tell!(
            WARN,
            "opened after a crash",
            sync = sync,
            passed_over = recovered_from,
            pages_read_as_zeros = torn_pages,
            pages_given_up = lost_pages,
            pages_from_the_journal = recovery.journaled_pages,
        );
    }
    if recovery.healed_header || recovery.healed_root || recovery.erased_tag_pages > 0 {
        tell!(
            WARN,
            "second copies were written anew",
            header = recovery.healed_header,
            root_record = recovery.healed_root,
            tag_pages = recovery.erased_tag_pages,
        );
    }
}
