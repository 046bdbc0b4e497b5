//! Making a new store (docs/format.md, "Create"). Everything else is durable before a header is
//! written: so a creation that was cut off has no header at all, or is an empty database that
//! opens and gets its second header copy back.

use std::sync::{Arc, PoisonError};

use super::guard::Guard;
use super::state::{PageZero, State};
use super::tags::TagCache;
use super::{LockedMedium, Options, Store};
use crate::crypto::digest::Digest;
use crate::error::{OpenError, StoreError};
use crate::format::root_record::{RootRecord, RotationHint, Tail};
use crate::keys::{self, Credential, Unlocked};
use crate::layout::PAGE_ZERO_SIZE;
use crate::medium::{LockKind, Medium};
use crate::units::{CopyId, SyncSeq};

/// Makes a store on an empty medium, with roles split where there is a credential for the data
/// alone, under a guard until [`Store::finish_creation`]. Nothing is written before that.
///
/// # Errors
/// [`OpenError::NotEmpty`], or whatever keeps the key hierarchy from being made.
pub(crate) fn create(
    medium: Arc<dyn Medium>,
    provider: &dyn Credential,
    data: Option<&dyn Credential>,
    options: &Options,
) -> Result<Store, OpenError> {
    let medium = LockedMedium::lock(medium, LockKind::Exclusive, options.allow_unlocked)?;
    if !medium.is_empty().map_err(OpenError::io("measuring the medium"))? {
        return Err(OpenError::NotEmpty);
    }
    let unlocked = keys::create(provider, data, &options.terms)?;
    // No sync has happened: the first will be number 1, in copy A.
    let root = blank_root(&unlocked);
    let cache = TagCache::new(options.tag_cache_bytes);
    let state = State::new(root, CopyId::B, Vec::new(), cache);
    Ok(Store::new(medium, unlocked, options, Guard::for_creation(), state))
}

pub(super) fn blank_root(unlocked: &Unlocked) -> RootRecord {
    RootRecord {
        epoch: unlocked.keyring.active().epoch,
        clean: false,
        rotating: false,
        file_id: unlocked.header.file_id,
        sync: SyncSeq(0),
        generation: unlocked.header.generation,
        logical_len: 0,
        groups: 0,
        sealed_pages: 0,
        digest: Digest::default(),
        tail: Tail::None,
        rotation: RotationHint::default(),
        late: Vec::new(),
        count: 0,
        counted_at: SyncSeq(0),
        page_zero: Box::new([0; PAGE_ZERO_SIZE]),
    }
}

impl Store {
    /// Writes what redb made: both roots, header B, one `fsync`, header A, one `fsync`.
    ///
    /// # Errors
    /// Any failure leaves a creation that was cut off.
    pub(crate) fn finish_creation(&self) -> Result<(), StoreError> {
        self.take_guard();
        let _one_at_a_time = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        self.latch(self.write_creation())
    }

    fn write_creation(&self) -> Result<(), StoreError> {
        if self.holes.create_unordered() {
            self.write_header(CopyId::A)?;
            self.write_header(CopyId::B)?;
            self.medium.sync()?;
        }
        // Two syncs that differ in number only: each root record copy holds the new database, and
        // nothing of it is durable without the header that both are sealed under.
        self.sync_snapshot(PageZero::Current)?;
        self.medium.reached("create: after root A");
        self.sync_snapshot(PageZero::Current)?;
        self.medium.reached("create: after root B");
        self.write_header(CopyId::B)?;
        self.medium.reached("create: after header B");
        self.medium.sync()?;
        self.write_header(CopyId::A)?;
        self.medium.reached("create: after header A");
        self.medium.sync()?;
        Ok(())
    }
}
