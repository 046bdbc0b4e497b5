//! The new database: plain or encrypted, in a new file or in memory; and redb over it, first for an
//! image of all pages, then, where that is no good, anew.

use std::ops::Deref;
use std::path::PathBuf;

use redb::StorageBackend;

use super::plain::PlainBackend;
use crate::backend::EncryptedBackend;
use crate::builder::{Builder, NewFile};
use crate::database::Database;
use crate::error::{Error, OpenError, SalvageError};
use crate::keys::Credential;
use crate::medium::{FileMedium, Medium, MemoryMedium};

/// Where what is saved goes. Nothing is ever replaced: a name must be free, a medium empty.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SalvageTarget<'a> {
    /// A new plain redb database, **not encrypted**.
    Plain(PathBuf),
    /// A new strongroom database with a file id and keys of its own, which this credential opens.
    Encrypted(PathBuf, &'a dyn Credential),
    /// As [`SalvageTarget::Plain`], in memory.
    PlainMemory(MemoryMedium),
    /// As [`SalvageTarget::Encrypted`], in memory.
    EncryptedMemory(MemoryMedium, &'a dyn Credential),
}

/// Where the new database's bytes go.
enum Place {
    File(NewFile),
    Memory(MemoryMedium),
}

/// A target being filled.
pub(super) struct Target<'a> {
    place: Place,
    /// `None`: plain.
    key: Option<&'a dyn Credential>,
}

/// An open database of either kind.
pub(super) enum Opened {
    Plain(redb::Database),
    Encrypted(Box<Database>),
}

impl<'a> Target<'a> {
    /// Takes the name, or the medium.
    pub(super) fn begin(target: SalvageTarget<'a>) -> Result<Self, OpenError> {
        let file = |path: PathBuf| NewFile::beside(&path).map(|(file, _)| Place::File(file));
        let (place, key) = match target {
            SalvageTarget::Plain(path) => (file(path)?, None),
            SalvageTarget::Encrypted(path, key) => (file(path)?, Some(key)),
            SalvageTarget::PlainMemory(medium) => (Place::Memory(medium), None),
            SalvageTarget::EncryptedMemory(medium, key) => (Place::Memory(medium), Some(key)),
        };
        let target = Self { place, key };
        if target.len()? > 0 {
            return Err(OpenError::NotEmpty);
        }
        Ok(target)
    }

    fn file(file: &NewFile) -> Result<FileMedium, OpenError> {
        FileMedium::open(file.temporary()).map_err(OpenError::io("opening the new file"))
    }

    fn len(&self) -> Result<u64, OpenError> {
        let len = match &self.place {
            Place::File(file) => Self::file(file)?.len(),
            Place::Memory(medium) => medium.len(),
        };
        len.map_err(OpenError::io("measuring the new file"))
    }

    /// An empty database's pages, to be written as they come.
    pub(super) fn pages(&self) -> Result<Box<dyn StorageBackend>, OpenError> {
        Ok(match (&self.place, self.key) {
            (Place::File(file), None) => Box::new(PlainBackend(Self::file(file)?)),
            (Place::Memory(medium), None) => Box::new(PlainBackend(medium.clone())),
            (Place::File(file), Some(key)) => {
                Box::new(EncryptedBackend::create_on(Self::file(file)?, key)?)
            }
            (Place::Memory(medium), Some(key)) => {
                Box::new(EncryptedBackend::create_on(medium.clone(), key)?)
            }
        })
    }

    /// redb over an image, every page of whose trees it has checked and, if need be, repaired.
    pub(super) fn open_checked(&self) -> Result<Opened, OpenError> {
        let mut redb = redb::Builder::new();
        redb.set_check_integrity_on_open(true);
        let mut builder = Builder::new();
        builder.check_integrity_on_open(true).resume_rotation(false);
        Ok(match (&self.place, self.key) {
            (Place::File(file), None) => {
                Opened::Plain(redb.create_with_backend(PlainBackend(Self::file(file)?))?)
            }
            (Place::Memory(medium), None) => {
                Opened::Plain(redb.create_with_backend(PlainBackend(medium.clone()))?)
            }
            (Place::File(file), Some(key)) => {
                Opened::Encrypted(Box::new(builder.open_on(Self::file(file)?, key)?))
            }
            (Place::Memory(medium), Some(key)) => {
                Opened::Encrypted(Box::new(builder.open_on(medium.clone(), key)?))
            }
        })
    }

    /// redb over nothing: a new database.
    pub(super) fn create(&self) -> Result<Opened, OpenError> {
        self.clear()?;
        let redb = redb::Builder::new();
        let builder = Builder::new();
        Ok(match (&self.place, self.key) {
            (Place::File(file), None) => {
                Opened::Plain(redb.create_with_backend(PlainBackend(Self::file(file)?))?)
            }
            (Place::Memory(medium), None) => {
                Opened::Plain(redb.create_with_backend(PlainBackend(medium.clone()))?)
            }
            (Place::File(file), Some(key)) => {
                Opened::Encrypted(Box::new(builder.create_on(Self::file(file)?, key)?))
            }
            (Place::Memory(medium), Some(key)) => {
                Opened::Encrypted(Box::new(builder.create_on(medium.clone(), key)?))
            }
        })
    }

    /// Forgets what was written.
    pub(super) fn clear(&self) -> Result<(), OpenError> {
        let cleared = match &self.place {
            Place::File(file) => Self::file(file)?.set_len(0),
            Place::Memory(medium) => medium.set_len(0),
        };
        cleared.map_err(OpenError::io("emptying the new file"))
    }

    /// Gives the new database its name.
    pub(super) fn publish(self) -> Result<(), OpenError> {
        match self.place {
            Place::File(file) => {
                Self::file(&file)?.sync().map_err(OpenError::io("syncing the new file"))?;
                file.publish()
            }
            Place::Memory(_) => Ok(()),
        }
    }
}

impl Opened {
    /// Whether redb finds the database whole, without a repair.
    pub(super) fn check(&mut self) -> Result<bool, SalvageError> {
        match self {
            Self::Plain(db) => Ok(db.check_integrity().map_err(redb::Error::from)?),
            Self::Encrypted(db) => db.check_integrity().map_err(|error| match error {
                Error::Redb(error) => SalvageError::Redb(error),
                error => SalvageError::Target(OpenError::Corrupted(error.to_string())),
            }),
        }
    }

    /// Closes it.
    pub(super) fn close(self) -> Result<(), OpenError> {
        match self {
            Self::Plain(db) => Ok(db.close()?),
            Self::Encrypted(db) => db.close(),
        }
    }
}

impl Deref for Opened {
    type Target = redb::Database;

    fn deref(&self) -> &redb::Database {
        match self {
            Self::Plain(db) => db,
            Self::Encrypted(db) => db,
        }
    }
}
