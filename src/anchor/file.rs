//! An anchor in a file of its own: on another disk, a stick, a share that whoever reaches the
//! database does not. The file is opened for each question, so that a medium may be taken away and
//! come back.
//!
//! Two records (`record.rs`), the first durable before the second is written. A torn one is mended
//! from the other by the next advance; where neither can be read, or they contradict each other, it
//! is damage, and nothing is ever made up.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::Anchor;
use super::record::{self, Choice, RECORD_SIZE, Record, STARTS};
use crate::error::AnchorFault;
use crate::medium::{FileMedium, LockKind, Medium};
use crate::random;

/// How often a file that somebody else holds locked is tried again, and how long between.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(10);
const LENGTH: u64 = STARTS[1] + RECORD_SIZE as u64;

/// A counter in a small file: put it on another medium than the database, where whoever can put the
/// database back can't put this back with it. On the same disk it only notices a database that
/// was restored alone.
#[derive(Clone, Debug)]
pub struct FileAnchor {
    place: Place,
    identity: [u8; 16],
}

#[derive(Clone, Debug)]
enum Place {
    Path(PathBuf),
    Medium(Arc<dyn Medium>),
}

impl FileAnchor {
    /// Makes one that stands at 0, in a new file, readable and writable by its owner only, durable
    /// with its name before this returns.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`], or whatever else the system reports. Where it was cut off,
    /// the file that is left is no anchor: delete it.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let identity = write_new(&FileMedium::create_new(path)?)?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(Self { place: Place::Path(path.to_owned()), identity })
    }

    /// Opens one that was made before.
    ///
    /// # Errors
    /// [`AnchorFault::Unreachable`], [`AnchorFault::Damaged`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, AnchorFault> {
        let mut anchor = Self { place: Place::Path(path.as_ref().to_owned()), identity: [0; 16] };
        anchor.identity = anchor.load()?.identity;
        Ok(anchor)
    }

    /// [`FileAnchor::create`] on an empty medium.
    ///
    /// # Errors
    /// Whatever the medium reports.
    pub fn create_on(medium: impl Medium) -> io::Result<Self> {
        let identity = write_new(&medium)?;
        Ok(Self { place: Place::Medium(Arc::new(medium)), identity })
    }

    /// [`FileAnchor::open`] on a medium.
    ///
    /// # Errors
    /// As [`FileAnchor::open`].
    pub fn open_on(medium: impl Medium) -> Result<Self, AnchorFault> {
        let mut anchor = Self { place: Place::Medium(Arc::new(medium)), identity: [0; 16] };
        anchor.identity = anchor.load()?.identity;
        Ok(anchor)
    }

    fn load(&self) -> Result<Record, AnchorFault> {
        self.locked(LockKind::Shared, |medium| read(medium).map(|choice| choice.record))
    }

    fn load_own(&self, medium: &dyn Medium) -> Result<Choice, AnchorFault> {
        let choice = read(medium)?;
        if choice.record.identity != self.identity {
            return Err(AnchorFault::Damaged("another anchor stands in its place".to_owned()));
        }
        Ok(choice)
    }

    fn locked<T>(
        &self,
        kind: LockKind,
        call: impl FnOnce(&dyn Medium) -> Result<T, AnchorFault>,
    ) -> Result<T, AnchorFault> {
        let medium: Arc<dyn Medium> = match &self.place {
            Place::Medium(medium) => Arc::clone(medium),
            Place::Path(path) => Arc::new(FileMedium::open(path).map_err(unreachable)?),
        };
        let mut tries = 0;
        while !medium.try_lock(kind).map_err(unreachable)? {
            tries += 1;
            if tries == LOCK_TRIES {
                return Err(AnchorFault::Unreachable("somebody else holds it".to_owned()));
            }
            thread::sleep(LOCK_PAUSE);
        }
        let result = call(&*medium);
        medium.unlock().map_err(unreachable)?;
        result
    }
}

fn unreachable(error: io::Error) -> AnchorFault {
    AnchorFault::Unreachable(error.to_string())
}

// After a failed `fsync` a cache may show what never became durable: read from the medium itself.
fn read(medium: &dyn Medium) -> Result<Choice, AnchorFault> {
    medium.drop_cache(0, 0).map_err(unreachable)?;
    if medium.len().map_err(unreachable)? < LENGTH {
        let why = "it is too short; where its creation was cut off and no file is bound to it, \
                   delete it and make another";
        return Err(AnchorFault::Damaged(why.to_owned()));
    }
    let [first, second] = STARTS.map(|start| {
        let mut bytes = [0; RECORD_SIZE];
        medium.read_at(start, &mut bytes).map(|()| Record::decode(&bytes))
    });
    let choice = record::choose(first.map_err(unreachable)?, second.map_err(unreachable)?);
    choice.map_err(|malformed| AnchorFault::Damaged(malformed.0.to_owned()))
}

// The first record durable before the second is touched.
fn write(medium: &dyn Medium, record: &Record) -> io::Result<()> {
    for start in STARTS {
        medium.write_at(start, &record.encode())?;
        medium.sync()?;
    }
    Ok(())
}

fn write_new(medium: &dyn Medium) -> io::Result<[u8; 16]> {
    if !medium.is_empty()? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let identity = random::array()?;
    write(medium, &Record { identity, count: 0 })?;
    Ok(identity)
}

impl Anchor for FileAnchor {
    fn identity(&self) -> Result<Vec<u8>, AnchorFault> {
        Ok([&b"file:"[..], &self.identity].concat())
    }

    fn read(&self) -> Result<u64, AnchorFault> {
        self.locked(LockKind::Shared, |medium| {
            self.load_own(medium).map(|choice| choice.record.count)
        })
    }

    fn advance(&self, to: u64) -> Result<(), AnchorFault> {
        self.locked(LockKind::Exclusive, |medium| {
            let Choice { record, unequal } = self.load_own(medium)?;
            if unequal {
                // Alike again first: a crash in what follows may tear the other one.
                mend(medium, &record).map_err(unreachable)?;
            }
            if record.count.checked_add(1) != Some(to) {
                return Err(AnchorFault::OutOfStep { found: record.count, asked: to });
            }
            write(medium, &Record { count: to, ..record }).map_err(unreachable)
        })
    }
}

// Only the record that is not as it should be is written.
fn mend(medium: &dyn Medium, record: &Record) -> io::Result<()> {
    for start in STARTS {
        let mut bytes = [0; RECORD_SIZE];
        medium.read_at(start, &mut bytes)?;
        if bytes != record.encode() {
            medium.write_at(start, &record.encode())?;
            medium.sync()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
