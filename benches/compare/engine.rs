//! The engines behind one face: plain redb, strongroom, and strongroom that reads its file through a
//! memory map; redb's own handle in each.

use std::path::Path;

use strongroom::{Builder, RawKey, redb};

use crate::Outcome;
use crate::store::Store;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Engine {
    Redb,
    Strongroom,
    Mapped,
}

pub(crate) enum Handle {
    Redb(redb::Database),
    Strongroom(strongroom::Database),
}

impl Engine {
    pub(crate) const ALL: &[Self] = &[Self::Redb, Self::Strongroom, Self::Mapped];
    /// What the others are divided by.
    pub(crate) const BASE: Self = Self::Redb;

    /// In figures, in the environment variable `ENGINES`, and behind the dot of files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Redb => "redb",
            Self::Strongroom => "strongroom",
            Self::Mapped => "mapped",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|engine| engine.name() == name)
    }

    /// Whether a workload can be done by it at all.
    pub(crate) fn can(self, _workload: &str) -> bool {
        true
    }

    fn builder(self, cache_bytes: usize) -> Builder {
        let mut builder = Builder::new();
        builder.cache_size(cache_bytes).memory_map(self == Self::Mapped);
        builder
    }

    pub(crate) fn create(self, path: &Path, cache_bytes: usize) -> Outcome<Handle> {
        Ok(match self {
            Self::Redb => {
                Handle::Redb(redb::Builder::new().set_cache_size(cache_bytes).create(path)?)
            }
            Self::Strongroom | Self::Mapped => {
                Handle::Strongroom(self.builder(cache_bytes).create(path, &key())?)
            }
        })
    }

    pub(crate) fn open(self, path: &Path, cache_bytes: usize) -> Outcome<Handle> {
        Ok(match self {
            Self::Redb => {
                Handle::Redb(redb::Builder::new().set_cache_size(cache_bytes).open(path)?)
            }
            Self::Strongroom | Self::Mapped => {
                Handle::Strongroom(self.builder(cache_bytes).open(path, &key())?)
            }
        })
    }
}

impl Handle {
    pub(crate) fn store(&self) -> &dyn Store {
        match self {
            Self::Redb(db) => db,
            Self::Strongroom(db) => &**db,
        }
    }

    /// Gives room back that nothing uses.
    pub(crate) fn compact(&mut self) -> Outcome {
        match self {
            Self::Redb(db) => db.compact()?,
            Self::Strongroom(db) => db.compact()?,
        };
        Ok(())
    }

    /// Whether opening took the short way: a clean close, and no scan of all tag pages.
    pub(crate) fn opened_cleanly(&self) -> bool {
        match self {
            Self::Redb(_) => true,
            Self::Strongroom(db) => db.recovery().clean && !db.recovery().scanned,
        }
    }

    pub(crate) fn close(self) -> Outcome {
        match self {
            Self::Redb(db) => Ok(db.close()?),
            Self::Strongroom(db) => Ok(db.close()?),
        }
    }
}

/// No KDF: what is measured is the database.
pub(crate) fn key() -> RawKey {
    RawKey::new([0x5a; 32])
}
