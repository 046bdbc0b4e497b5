//! Opening the vault's database.

use std::io;
use std::path::Path;

use strongroom::redb::{ReadTransaction, ReadableDatabase};
use strongroom::{Builder, Credential, Database, OpenError, ReadOnlyDatabase};

use crate::failure::Failure;
use crate::report;

/// redb's page cache: a few large values at a time, not the whole vault.
const CACHE_BYTES: usize = 256 << 20;

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.cache_size(CACHE_BYTES);
    builder
}

pub(crate) fn create(path: &Path, key: &dyn Credential) -> Result<Database, Failure> {
    builder().create(path, key).map_err(|error| match error {
        OpenError::AlreadyExists(path) => exists(&path),
        error => failure(path, error),
    })
}

pub(crate) fn exists(path: &Path) -> Failure {
    Failure::said(format!(
        "{} exists; name a new file, or add to that vault with --add",
        path.display()
    ))
}

/// Opens for reading and writing, after a crash as well; says what a crash had left.
pub(crate) fn open(path: &Path, key: &dyn Credential) -> Result<Database, Failure> {
    let db = builder().open(path, key).map_err(|error| failure(path, error))?;
    let recovery = db.recovery();
    if !recovery.clean {
        report::note(&format!(
            "the vault was not closed cleanly; it is back at its last durable commit \
             (sync {}, {} stale tag pages erased, {} torn pages rolled back)",
            recovery.sync.0, recovery.erased_tag_pages, recovery.torn_pages
        ));
    }
    Ok(db)
}

/// A vault to read: opened read-only, unless it has to be recovered first.
#[derive(Debug)]
pub(crate) enum Readable {
    Clean(ReadOnlyDatabase),
    Recovered(Database),
}

impl Readable {
    pub(crate) fn open(path: &Path, key: &dyn Credential) -> Result<Self, Failure> {
        match builder().open_read_only(path, key) {
            Ok(db) => Ok(Self::Clean(db)),
            Err(OpenError::NeedsRecovery) => open(path, key).map(Self::Recovered),
            Err(error) => Err(failure(path, error)),
        }
    }

    pub(crate) fn begin_read(&self) -> Result<ReadTransaction, Failure> {
        match self {
            Self::Clean(db) => Ok(db.begin_read()?),
            Self::Recovered(db) => Ok(db.begin_read()?),
        }
    }

    pub(crate) fn close(self) -> Result<(), Failure> {
        match self {
            Self::Clean(db) => Ok(db.close()?),
            Self::Recovered(db) => Ok(db.close()?),
        }
    }
}

/// Said before anybody looks for the key of a vault that isn't there.
pub(crate) fn must_exist(path: &Path) -> Result<(), Failure> {
    match path.metadata() {
        Ok(metadata) if metadata.is_dir() => {
            Err(failure(path, OpenError::IsDirectory(path.to_owned())))
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Failure::said(format!(
            "there is no vault {}; `vault store` makes one",
            path.display()
        ))),
        Err(error) => Err(Failure::io("opening", path, &error)),
    }
}

fn failure(path: &Path, error: OpenError) -> Failure {
    match error {
        // These name the path by themselves.
        OpenError::ReadOnly(_) | OpenError::IsDirectory(_) => Failure::Database(error.into()),
        error => Failure::said(format!("{}: {error}", path.display())),
    }
}
