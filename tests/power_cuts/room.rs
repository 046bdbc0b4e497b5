//! What the harness needs of a database under test, and plain redb as the first of them.

use strongroom::redb;
use strongroom::testkit::{CrashMedium, Hole};

/// How a database is opened.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// redb's cache, small so that pages are evicted in the middle of transactions.
    pub cache_bytes: usize,
    /// Seals that a root record leaves room for: few, so that the store syncs by itself.
    pub seal_reserve: Option<u64>,
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

/// A database that the harness can crash.
pub trait Room: Sized {
    /// For figures.
    const NAME: &'static str;
    /// Whether open tells a cut-off creation from a lost database.
    const CREATION_IS_TYPED: bool;
    /// Makes a new one.
    fn create(medium: CrashMedium, settings: Settings) -> Result<Self, String>;
    /// Opens what is there.
    fn open(medium: CrashMedium, settings: Settings) -> Result<Self, NotOpened>;
    /// For transactions.
    fn redb(&self) -> &redb::Database;
    /// Compacts.
    fn compact(&mut self) -> Result<bool, String>;
    /// Checks; true where nothing was wrong.
    fn check_integrity(&mut self) -> Result<bool, String>;
    /// Closes cleanly.
    fn close(self) -> Result<(), String>;
}

/// Plain redb.
pub struct Plain(redb::Database);

/// Opens redb on any backend; makes a database where the backend is empty.
pub fn redb_on(
    backend: impl redb::StorageBackend,
    settings: Settings,
) -> Result<redb::Database, String> {
    redb::Builder::new()
        .set_cache_size(settings.cache_bytes)
        .create_with_backend(backend)
        .map_err(|error| error.to_string())
}

macro_rules! redb_room {
    ($room:ident, $name:literal, $backend:path) => {
        impl Room for $room {
            const NAME: &'static str = $name;
            const CREATION_IS_TYPED: bool = false;

            fn create(medium: CrashMedium, settings: Settings) -> Result<Self, String> {
                redb_on($backend(medium), settings).map($room)
            }

            fn open(medium: CrashMedium, settings: Settings) -> Result<Self, NotOpened> {
                redb_on($backend(medium), settings).map($room).map_err(NotOpened::Failed)
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

            fn close(self) -> Result<(), String> {
                self.0.close().map_err(|error| error.to_string())
            }
        }
    };
}

redb_room!(Plain, "plain_redb", crate::plain::PlainBackend);

/// redb on [`crate::naive::NaiveBackend`].
pub struct Naive(redb::Database);

redb_room!(Naive, "naive", crate::naive::NaiveBackend::new);
