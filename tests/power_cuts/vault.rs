//! strongroom itself, as a database that the harness can crash.

use strongroom::testkit::CrashMedium;
use strongroom::{Builder, Database, OpenError, RawKey, redb};

use crate::room::{NotOpened, Room, Settings};

/// The credential of every test here; a raw key skips the KDF.
pub fn key() -> RawKey {
    RawKey::new([7; 32])
}

/// A builder for these settings.
pub fn builder(settings: Settings) -> Builder {
    let mut builder = Builder::new();
    builder.cache_size(settings.cache_bytes);
    if let Some(pages) = settings.seal_reserve {
        builder.seal_reserve(pages);
    }
    if let Some(hole) = settings.hole {
        builder.plant(hole);
    }
    builder
}

/// An encrypted database.
pub struct Vault(pub Database);

impl Room for Vault {
    const NAME: &'static str = "strongroom";
    const CREATION_IS_TYPED: bool = true;

    fn create(medium: CrashMedium, settings: Settings) -> Result<Self, String> {
        let created = builder(settings).create_on(medium, &key());
        created.map(Self).map_err(|error| error.to_string())
    }

    fn open(medium: CrashMedium, settings: Settings) -> Result<Self, NotOpened> {
        builder(settings).open_on(medium, &key()).map(Self).map_err(|error| match error {
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

    fn close(self) -> Result<(), String> {
        self.0.close().map_err(|error| error.to_string())
    }
}
