//! The two engines behind one face: redb's own handle either way.

use std::path::{Path, PathBuf};

use strongroom::{Builder, RawKey, redb};

use crate::Outcome;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Engine {
    Redb,
    Strongroom,
}

pub(crate) enum Handle {
    Redb(redb::Database),
    Strongroom(strongroom::Database),
}

impl Engine {
    /// Who goes first takes turns.
    pub(crate) fn both(round: usize) -> [Self; 2] {
        if round.is_multiple_of(2) {
            [Self::Redb, Self::Strongroom]
        } else {
            [Self::Strongroom, Self::Redb]
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Redb => "redb",
            Self::Strongroom => "strongroom",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Redb, Self::Strongroom].into_iter().find(|engine| engine.name() == name)
    }

    pub(crate) fn path(self, directory: &Path, stem: &str) -> PathBuf {
        directory.join(format!("{stem}.{}", self.name()))
    }

    pub(crate) fn create(self, path: &Path, cache_bytes: usize) -> Outcome<Handle> {
        Ok(match self {
            Self::Redb => {
                Handle::Redb(redb::Builder::new().set_cache_size(cache_bytes).create(path)?)
            }
            Self::Strongroom => {
                Handle::Strongroom(Builder::new().cache_size(cache_bytes).create(path, &key())?)
            }
        })
    }

    pub(crate) fn open(self, path: &Path, cache_bytes: usize) -> Outcome<Handle> {
        Ok(match self {
            Self::Redb => {
                Handle::Redb(redb::Builder::new().set_cache_size(cache_bytes).open(path)?)
            }
            Self::Strongroom => {
                Handle::Strongroom(Builder::new().cache_size(cache_bytes).open(path, &key())?)
            }
        })
    }
}

impl Handle {
    pub(crate) fn db(&self) -> &redb::Database {
        match self {
            Self::Redb(db) => db,
            Self::Strongroom(db) => db,
        }
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
