//! A plain redb file to be encrypted, or just decrypted: whether it is one, whether it is sound,
//! and its bytes. It is never written: where it was not closed cleanly, redb repairs a view of it,
//! and the view is what is copied.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use redb::{Builder, DatabaseError, StorageError};

use super::overlay::Overlay;
use crate::error::{ConvertError, OpenError};
use crate::format::header;
use crate::layout::{self, PAGE_BYTES, PAGE_SIZE, PAGE_ZERO_SIZE};
use crate::medium::{LockKind, Medium};

const REDB_MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";
const CACHE_BYTES: usize = 64 << 20;

/// A plain file, locked for as long as this is there.
#[derive(Debug)]
pub(super) struct Plain {
    medium: Arc<dyn Medium>,
    view: Overlay,
    /// It was not closed cleanly: the view is what redb's repair made of it.
    pub(super) repaired: bool,
}

impl Plain {
    /// Locks it and looks at it with redb.
    ///
    /// # Errors
    /// It is in use, not a redb file, of another format, or damaged.
    pub(super) fn open(medium: Arc<dyn Medium>) -> Result<Self, ConvertError> {
        let locked = medium.try_lock(LockKind::Exclusive);
        if !locked.map_err(ConvertError::io("locking the plain file"))? {
            return Err(ConvertError::SourceInUse);
        }
        let view = Overlay::over(Arc::clone(&medium)).map_err(reading())?;
        check_form(&view)?;
        let mut plain = Self { medium, view, repaired: false };
        match guarded(|| builder().open_read_only_with_backend(plain.view.clone())) {
            Ok(db) => db.close().map_err(refused)?,
            Err(Refused::Redb(DatabaseError::RepairAborted)) => plain.repair()?,
            Err(other) => return Err(other.into()),
        }
        Ok(plain)
    }

    fn repair(&mut self) -> Result<(), ConvertError> {
        let repair =
            || builder().create_with_backend(self.view.clone()).and_then(redb::Database::close);
        guarded(repair)?;
        self.repaired = true;
        check_form(&self.view)
    }

    /// Lets redb check every page of its trees; on a view of its own, since redb writes when it
    /// opens.
    pub(super) fn check(&self) -> Result<(), ConvertError> {
        if self.repaired {
            return Ok(()); // redb has read all of it, or trusted what a quick repair left
        }
        let view = Overlay::over(Arc::clone(&self.medium)).map_err(reading())?;
        let sound = guarded(|| {
            let mut db = builder().create_with_backend(view)?;
            db.check_integrity()
        })?;
        match sound {
            true => Ok(()),
            false => {
                Err(ConvertError::SourceDamaged { found: "its integrity check fails".to_owned() })
            }
        }
    }

    /// Bytes of the copy to be made.
    pub(super) fn len(&self) -> u64 {
        self.view.length()
    }

    /// Bytes of the file.
    pub(super) fn file_len(&self) -> Result<u64, ConvertError> {
        self.medium.len().map_err(reading())
    }

    /// Reads whole pages from `page` on.
    pub(super) fn read(&self, page: u64, out: &mut [u8]) -> Result<(), ConvertError> {
        self.view.fill(page.saturating_mul(PAGE_BYTES), out).map_err(reading())
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = self.medium.unlock();
    }
}

fn reading() -> impl FnOnce(std::io::Error) -> ConvertError {
    ConvertError::io("reading the plain file")
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

// What a strongroom store can hold: whole pages, and nothing but redb's header in page 0.
fn check_form(view: &Overlay) -> Result<(), ConvertError> {
    let len = view.length();
    let mut first = vec![0; PAGE_SIZE.min(usize::try_from(len).unwrap_or(PAGE_SIZE))];
    view.fill(0, &mut first).map_err(reading())?;
    if first.starts_with(&header::MAGIC) {
        return Err(ConvertError::AlreadyEncrypted);
    }
    let why = if first.is_empty() {
        "it is empty"
    } else if !first.starts_with(REDB_MAGIC) {
        "it doesn't begin as one"
    } else if !len.is_multiple_of(PAGE_BYTES) || !layout::is_addressable(len) {
        "its length is not whole pages of 4096 bytes"
    } else if first.iter().skip(PAGE_ZERO_SIZE).any(|byte| *byte != 0) {
        "there is more than a header in its first page"
    } else {
        return Ok(());
    };
    Err(ConvertError::NotPlainRedb { why })
}

/// What came of asking redb about bytes that nothing vouches for.
enum Refused {
    Redb(DatabaseError),
    Panicked,
}

// redb says that it may panic on a damaged file.
fn guarded<T>(ask: impl FnOnce() -> Result<T, DatabaseError>) -> Result<T, Refused> {
    match catch_unwind(AssertUnwindSafe(ask)) {
        Ok(result) => result.map_err(Refused::Redb),
        Err(_) => Err(Refused::Panicked),
    }
}

fn refused(error: DatabaseError) -> ConvertError {
    Refused::Redb(error).into()
}

impl From<Refused> for ConvertError {
    fn from(refused: Refused) -> Self {
        let damaged = |found: String| Self::SourceDamaged { found };
        match refused {
            Refused::Panicked => damaged("redb panics over it".to_owned()),
            Refused::Redb(DatabaseError::UpgradeRequired(found)) => Self::UpgradeRequired { found },
            Refused::Redb(DatabaseError::Storage(StorageError::Corrupted(found))) => damaged(found),
            Refused::Redb(DatabaseError::RepairAborted) => {
                damaged("it can't be repaired".to_owned())
            }
            Refused::Redb(other) => Self::Open(OpenError::from(other)),
        }
    }
}
