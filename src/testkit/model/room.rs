//! What a program needs of a database under test: strongroom, and redb on any backend that lies on
//! a crash medium, plain redb among them.

use std::fmt;
use std::io;
use std::marker::PhantomData;

use redb::StorageBackend;

use crate::holes::Hole;
use crate::medium::Medium;
use crate::testkit::CrashMedium;
use crate::{Builder, Database, OpenError, RawKey, RotationError, StoreError};

/// How a database is opened.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// redb's cache in bytes, small so that pages are evicted in the middle of transactions.
    pub cache_bytes: usize,
    /// The tag cache in bytes; the default where `None`.
    pub tag_cache_bytes: Option<usize>,
    /// Seals that a root record leaves room for: few, so that the store syncs by itself.
    pub seal_reserve: Option<u64>,
    /// Pages gathered before they are written; the default where `None`.
    pub gathered_pages: Option<usize>,
    /// Late entries in a root record; the default where `None`.
    pub late_entries: Option<usize>,
    /// A mistake to plant.
    pub hole: Option<Hole>,
}

/// Why an open failed.
#[derive(Debug)]
pub enum NotOpened {
    /// It says that creation was cut off, which it may say only if that is so.
    CreationCut(String),
    /// Anything else.
    Failed(String),
}

/// A database that can be crashed.
pub trait Room: Sized {
    /// For figures.
    const NAME: &'static str;
    /// Whether open tells a cut-off creation from a lost database.
    const CREATION_IS_TYPED: bool;
    /// Makes a new one.
    ///
    /// # Errors
    /// What failed, in words.
    fn create(medium: CrashMedium, settings: Settings) -> Result<Self, String>;
    /// Opens what is there.
    ///
    /// # Errors
    /// What failed.
    fn open(medium: CrashMedium, settings: Settings) -> Result<Self, NotOpened>;
    /// For transactions.
    fn redb(&self) -> &redb::Database;
    /// Compacts.
    ///
    /// # Errors
    /// What failed, in words.
    fn compact(&mut self) -> Result<bool, String>;
    /// Checks; true where nothing was wrong.
    ///
    /// # Errors
    /// What failed, in words.
    fn check_integrity(&mut self) -> Result<bool, String>;
    /// Takes steps of a key rotation, where there are keys.
    ///
    /// # Errors
    /// What failed, in words.
    fn rotate(&mut self, steps: u64) -> Result<(), String> {
        let _ = steps;
        Ok(())
    }
    /// Closes cleanly.
    ///
    /// # Errors
    /// What failed, in words.
    fn close(self) -> Result<(), String>;
}

/// strongroom, with a raw key, which skips the KDF.
#[derive(Debug)]
pub struct Vault(pub Database);

impl Vault {
    /// The credential of every vault.
    #[must_use]
    pub fn key() -> RawKey {
        RawKey::new([7; 32])
    }

    /// A builder for these settings.
    #[must_use]
    pub fn builder(settings: Settings) -> Builder {
        let mut builder = Builder::new();
        builder.cache_size(settings.cache_bytes);
        // Steps of a rotation are taken by the program, small ones.
        builder.resume_rotation(false).rotation_batch(126);
        if let Some(bytes) = settings.tag_cache_bytes {
            builder.tag_cache_size(bytes);
        }
        if let Some(pages) = settings.seal_reserve {
            builder.seal_reserve(pages);
        }
        if let Some(pages) = settings.gathered_pages {
            builder.gathered_pages(pages);
        }
        if let Some(entries) = settings.late_entries {
            builder.late_entries(entries);
        }
        if let Some(hole) = settings.hole {
            builder.plant(hole);
        }
        builder
    }
}

impl Room for Vault {
    const NAME: &'static str = "strongroom";
    const CREATION_IS_TYPED: bool = true;

    fn create(medium: CrashMedium, settings: Settings) -> Result<Self, String> {
        let created = Self::builder(settings).create_on(medium, &Self::key());
        created.map(Self).map_err(|error| error.to_string())
    }

    fn open(medium: CrashMedium, settings: Settings) -> Result<Self, NotOpened> {
        let opened = Self::builder(settings).open_on(medium, &Self::key());
        opened.map(Self).map_err(|error| match error {
            OpenError::HeaderLost | OpenError::Empty => NotOpened::CreationCut(error.to_string()),
            other => NotOpened::Failed(format!("{other} ({other:?})")),
        })
    }

    fn redb(&self) -> &redb::Database {
        &self.0
    }

    fn compact(&mut self) -> Result<bool, String> {
        self.0.compact().map_err(|error| error.to_string())
    }

    fn check_integrity(&mut self) -> Result<bool, String> {
        self.0.check_integrity().map_err(|error| error.to_string())
    }

    // Without redb's walk debris can't be told from damage: then it is given up here, and a page
    // that redb needs is missed at the next read.
    fn rotate(&mut self, steps: u64) -> Result<(), String> {
        let mut rotation = self.0.rotate_by_steps().map_err(|error| error.to_string())?;
        for _ in 0..steps {
            match rotation.step() {
                Ok(Some(_)) => break,
                Ok(None) => {}
                Err(RotationError::Store(error))
                    if matches!(*error, StoreError::Unreadable { .. }) =>
                {
                    rotation.give_up_unreadable();
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    fn close(self) -> Result<(), String> {
        self.0.close().map_err(|error| error.to_string())
    }
}

/// A backend of redb that lies on a crash medium: to point the same harness at another layout.
pub trait CrashBackend: StorageBackend {
    /// For figures.
    const NAME: &'static str;
    /// On this medium.
    fn over(medium: CrashMedium) -> Self;
}

/// redb straight on the medium: what a crash does to it is the yardstick.
#[derive(Debug)]
pub struct PlainBackend(CrashMedium);

impl CrashBackend for PlainBackend {
    const NAME: &'static str = "plain_redb";

    fn over(medium: CrashMedium) -> Self {
        Self(medium)
    }
}

impl StorageBackend for PlainBackend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }
}

/// Plain redb.
pub type Plain = RedbOn<PlainBackend>;

/// redb on some backend.
pub struct RedbOn<B> {
    db: redb::Database,
    backend: PhantomData<fn() -> B>,
}

impl<B: CrashBackend> fmt::Debug for RedbOn<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedbOn").field(&B::NAME).finish()
    }
}

impl<B: CrashBackend> Room for RedbOn<B> {
    const NAME: &'static str = B::NAME;
    const CREATION_IS_TYPED: bool = false;

    fn create(medium: CrashMedium, settings: Settings) -> Result<Self, String> {
        let mut builder = redb::Builder::new();
        builder.set_cache_size(settings.cache_bytes);
        let db = builder.create_with_backend(B::over(medium)).map_err(|error| error.to_string())?;
        Ok(Self { db, backend: PhantomData })
    }

    fn open(medium: CrashMedium, settings: Settings) -> Result<Self, NotOpened> {
        Self::create(medium, settings).map_err(NotOpened::Failed)
    }

    fn redb(&self) -> &redb::Database {
        &self.db
    }

    fn compact(&mut self) -> Result<bool, String> {
        self.db.compact().map_err(|error| error.to_string())
    }

    fn check_integrity(&mut self) -> Result<bool, String> {
        self.db.check_integrity().map_err(|error| error.to_string())
    }

    fn close(self) -> Result<(), String> {
        self.db.close().map_err(|error| error.to_string())
    }
}
