//! The peers behind the face of `benches/compare/engine.rs`.
//!
//! - `naive`: redb on blocks that are each sealed in place, as the harness's own straw man
//!   (`tests/backends/naive.rs`). It loses databases in a power cut and takes old blocks for new.
//! - `sqlcipher`: SQLite with AES-256-CBC and HMAC-SHA512 for each page, a raw key, WAL, synchronous
//!   full, one connection a reading thread with the whole cache each.
//! - `lmdb`: LMDB's own page encryption by heed3, with ChaCha20-Poly1305. No cache of its own that
//!   could be set.

use std::path::Path;

use strongroom::medium::FileMedium;
use strongroom::{Builder, RawKey, redb};

use crate::Outcome;
use crate::lmdb::Lmdb;
use crate::naive::NaiveBackend;
use crate::sqlcipher::SqlCipher;
use crate::store::Store;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Engine {
    Redb,
    Strongroom,
    Naive,
    SqlCipher,
    Lmdb,
}

pub(crate) enum Handle {
    Redb(redb::Database),
    Strongroom(strongroom::Database),
    SqlCipher(SqlCipher),
    Lmdb(Lmdb),
}

impl Engine {
    pub(crate) const ALL: &[Self] =
        &[Self::Redb, Self::Strongroom, Self::Naive, Self::SqlCipher, Self::Lmdb];
    /// What the others are divided by.
    pub(crate) const BASE: Self = Self::Redb;

    /// In figures, in the environment variable `ENGINES`, and behind the dot of files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Redb => "redb",
            Self::Strongroom => "strongroom",
            Self::Naive => "naive",
            Self::SqlCipher => "sqlcipher",
            Self::Lmdb => "lmdb",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|engine| engine.name() == name)
    }

    /// LMDB compacts only into another file, and has no cache of its own to make small.
    pub(crate) fn can(self, workload: &str) -> bool {
        let elsewhere = ["compaction", "compacted_size", "compacted_scan"];
        let cacheless = workload.starts_with("tenth_") || workload.starts_with("cold_");
        self != Self::Lmdb || !(elsewhere.contains(&workload) || cacheless)
    }

    pub(crate) fn create(self, path: &Path, cache_bytes: usize) -> Outcome<Handle> {
        Ok(match self {
            Self::Redb => Handle::Redb(redb_builder(cache_bytes).create(path)?),
            Self::Strongroom => {
                Handle::Strongroom(Builder::new().cache_size(cache_bytes).create(path, &key())?)
            }
            Self::Naive => {
                let backend = NaiveBackend::new(FileMedium::create_new(path)?);
                Handle::Redb(redb_builder(cache_bytes).create_with_backend(backend)?)
            }
            Self::SqlCipher => Handle::SqlCipher(SqlCipher::create(path, cache_bytes)?),
            Self::Lmdb => Handle::Lmdb(Lmdb::open(path)?),
        })
    }

    pub(crate) fn open(self, path: &Path, cache_bytes: usize) -> Outcome<Handle> {
        Ok(match self {
            Self::Redb => Handle::Redb(redb_builder(cache_bytes).open(path)?),
            Self::Strongroom => {
                Handle::Strongroom(Builder::new().cache_size(cache_bytes).open(path, &key())?)
            }
            Self::Naive => {
                let backend = NaiveBackend::new(FileMedium::open(path)?);
                Handle::Redb(redb_builder(cache_bytes).create_with_backend(backend)?)
            }
            Self::SqlCipher => Handle::SqlCipher(SqlCipher::open(path, cache_bytes)?),
            Self::Lmdb => Handle::Lmdb(Lmdb::open(path)?),
        })
    }
}

fn redb_builder(cache_bytes: usize) -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(cache_bytes);
    builder
}

impl Handle {
    pub(crate) fn store(&self) -> &dyn Store {
        match self {
            Self::Redb(db) => db,
            Self::Strongroom(db) => &**db,
            Self::SqlCipher(db) => db,
            Self::Lmdb(db) => db,
        }
    }

    /// Gives room back that nothing uses.
    pub(crate) fn compact(&mut self) -> Outcome {
        match self {
            Self::Redb(db) => drop(db.compact()?),
            Self::Strongroom(db) => drop(db.compact()?),
            Self::SqlCipher(db) => db.compact()?,
            Self::Lmdb(_) => return Err("LMDB compacts into another file only".into()),
        }
        Ok(())
    }

    /// Whether opening took the short way.
    pub(crate) fn opened_cleanly(&self) -> bool {
        match self {
            Self::Strongroom(db) => db.recovery().clean && !db.recovery().scanned,
            _ => true,
        }
    }

    pub(crate) fn close(self) -> Outcome {
        match self {
            Self::Redb(db) => Ok(db.close()?),
            Self::Strongroom(db) => Ok(db.close()?),
            Self::SqlCipher(db) => db.close(),
            Self::Lmdb(db) => db.close(),
        }
    }
}

/// No KDF: what is measured is the database.
fn key() -> RawKey {
    RawKey::new([0x5a; 32])
}
