//! Floor 8: the handle. Thin: redb's own handle, kept so that nobody can swap a plain database in,
//! and the few calls that redb wants by value or by unique reference.

use std::ops::Deref;
use std::sync::Arc;

use crate::admin::AdminSession;
use crate::anchor::AskedAnchor;
use crate::error::{AnchorError, Error, KeyError, OpenError, RotationError};
use crate::format::checkpoint::CheckpointToken;
use crate::keys::{AdminKey, Credential, KeyStatus, SlotHint, SlotInfo};
use crate::rotation::{Rotation, RotationSeat};
use crate::store::{AnchorStatus, Recovered, Recovery, Store};
use crate::units::Epoch;
use crate::verify::{self, Report, VerifyOptions};

/// An open, encrypted database. Dereferences to [`redb::Database`]: transactions, tables and
/// errors are redb's own.
///
/// Dropping it closes it, as redb's does, and ignores errors; [`Database::close`] returns them.
///
/// ```
/// use strongroom::{Database, Passphrase, redb::{ReadableDatabase, TableDefinition}};
/// const NOTES: TableDefinition<&str, &str> = TableDefinition::new("notes");
/// # let directory = tempfile::tempdir().unwrap();
/// # let path = directory.path().join("notes.room");
/// # let cost = strongroom::KdfCost { memory_kib: 19 * 1024, passes: 2, lanes: 1 };
/// # let passphrase = Passphrase::new("correct horse").cost(cost);
/// # #[cfg(any())]
/// let passphrase = Passphrase::new("correct horse");
///
/// let db = Database::create(&path, passphrase)?;
/// let write = db.begin_write()?;
/// write.open_table(NOTES)?.insert("a", "b")?;
/// write.commit()?;
/// db.close()?;
///
/// let db = Database::open(&path, Passphrase::new("correct horse"))?;
/// let read = db.begin_read()?;
/// assert_eq!(read.open_table(NOTES)?.get("a")?.unwrap().value(), "b");
/// # Ok::<(), strongroom::Error>(())
/// ```
#[derive(Debug)]
pub struct Database {
    db: redb::Database,
    store: Arc<Store>,
    recovered: Recovered,
    rotation: RotationSeat,
}

impl Deref for Database {
    type Target = redb::Database;

    fn deref(&self) -> &redb::Database {
        &self.db
    }
}

impl Database {
    pub(crate) fn new(db: redb::Database, store: Arc<Store>, recovered: Recovered) -> Self {
        Self { db, store, recovered, rotation: RotationSeat::default() }
    }

    /// Moves pages to the front of the file and cuts it; `true` if that made it smaller. See
    /// [`redb::Database::compact`].
    ///
    /// # Errors
    /// A transaction or savepoint is alive, or the store failed.
    pub fn compact(&mut self) -> Result<bool, Error> {
        Ok(self.db.compact()?)
    }

    /// Lets redb check every page of its trees, each of which must authenticate to be read; `true`
    /// if all is well, `false` if redb repaired something. See
    /// [`redb::Database::check_integrity`].
    ///
    /// # Errors
    /// A transaction is alive, or the database is damaged.
    pub fn check_integrity(&mut self) -> Result<bool, Error> {
        Ok(self.db.check_integrity().map_err(OpenError::from)?)
    }

    /// Looks at every byte that the database stands on while readers and the writer go on: both
    /// header copies, both root records, both copies of every tag page, and every data page, each
    /// of which must authenticate. Changes nothing. redb's own check of its trees is not part of
    /// it: [`Database::check_integrity`], or [`verify_file`](crate::verify_file) after a close.
    ///
    /// ```
    /// use strongroom::{Database, RawKey, VerifyOptions};
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("notes.room");
    /// let db = Database::create(&path, RawKey::new([7; 32]))?;
    /// let report = db.verify(&VerifyOptions::new())?;
    /// assert!(report.is_spotless(), "{report}");
    /// # Ok::<(), strongroom::Error>(())
    /// ```
    ///
    /// # Errors
    /// The store can't be used any more. What is wrong with the file is in the report.
    pub fn verify(&self, options: &VerifyOptions) -> Result<Report, Error> {
        Ok(verify::verify_store(&self.store, options)?)
    }

    /// Closes the database: everything durable, the file cut to size and marked as cleanly closed.
    ///
    /// # Errors
    /// [`OpenError::TransactionInProgress`] while a write transaction is alive, which then closes
    /// the database when it ends. [`AnchorError::Behind`] where the file is bound to an anchor that
    /// has not acknowledged its count: all is durable and closed, and the next open with the anchor
    /// catches up. After any other error the next open recovers.
    pub fn close(self) -> Result<(), OpenError> {
        let Self { db, store, rotation, .. } = self;
        db.close()?;
        // The worker holds keys: it is gone before this returns. A fork's child never had it.
        if !store.is_elsewhere() {
            rotation.wait_for_worker();
        }
        match store.anchor_status().filter(|status| !status.is_level()) {
            None => Ok(()),
            Some(AnchorStatus { count, acknowledged, fault, .. }) => {
                Err(AnchorError::Behind { count, acknowledged, fault }.into())
            }
        }
    }

    /// How the file stands to the anchor that it is bound to; `None` where it is bound to none. Asks
    /// the anchor nothing.
    #[must_use]
    pub fn anchor_status(&self) -> Option<AnchorStatus> {
        self.store.anchor_status()
    }

    /// Names the last durable state, for an application that keeps it somewhere else and gives it to
    /// [`Builder::at_least`](crate::Builder::at_least) at the next open. Whatever commit had
    /// returned before the call is in it.
    ///
    /// A file of a lower sync is refused then, and one of the same sync with other content. One
    /// that was put back and then written on beyond that sync can't be told from the right one:
    /// take a token after each session that matters, or bind the file to an anchor.
    ///
    /// ```
    /// use strongroom::{Builder, CheckpointToken, RawKey, medium::MemoryMedium};
    /// let (key, disk) = (RawKey::new([7; 32]), MemoryMedium::new());
    /// let db = Builder::new().create_on(disk.clone(), &key)?;
    /// db.begin_write()?.commit()?;
    /// let old_copy = disk.to_bytes();
    /// db.begin_write()?.commit()?;
    /// let kept: String = db.checkpoint_token()?.to_string();
    /// db.close()?;
    ///
    /// let token: CheckpointToken = kept.parse()?;
    /// Builder::new().at_least(token).open_on(disk, &key)?;
    /// let put_back = MemoryMedium::from_bytes(old_copy);
    /// assert!(Builder::new().at_least(token).open_on(put_back, &key).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The store can't be used any more.
    pub fn checkpoint_token(&self) -> Result<CheckpointToken, Error> {
        Ok(self.store.checkpoint_token()?)
    }

    /// Binds the file as it is to an anchor that does not vouch for it. Returns where that stood.
    pub(crate) fn accept_rollback(
        &self,
        admin: &AdminKey,
        anchor: AskedAnchor,
    ) -> Result<u64, KeyError> {
        let offer = self.store.offer(anchor)?;
        self.store.accept_rollback(admin, &offer)?;
        Ok(offer.count())
    }

    /// Replaces the data key while the database is in use: everything new is sealed under the new
    /// one from here on, a worker seals everything else anew, proves that nothing names the old
    /// one, and removes it. Readers and the writer go on. Returns once the new key is durable.
    ///
    /// Where a rotation is under way already, or was cancelled or interrupted, this goes on with
    /// it.
    ///
    /// # Errors
    /// The new key could not be made durable, or the system gave no thread.
    pub fn rotate(&self) -> Result<Rotation, RotationError> {
        self.rotation.rotate(&self.store)
    }

    /// As [`Database::rotate`], with a data key made now in any case: for after a revocation, whose
    /// subject may know the key of a rotation that was under way. That one's handle says
    /// [`RotationError::Cancelled`]; its pages are swept by this one.
    ///
    /// # Errors
    /// As [`Database::rotate`]; [`crate::StoreError::Misuse`] where the header holds 32 data keys
    /// already.
    pub fn rotate_anew(&self) -> Result<Rotation, RotationError> {
        self.rotation.rotate_anew(&self.store)
    }

    /// The rotation that is under way in this process, if one is.
    pub fn rotation(&self) -> Option<Rotation> {
        self.rotation.running()
    }

    /// Goes on with a rotation that an earlier session began, and watches for one to become due.
    /// Where the system gives no thread for it, the database is open all the same, and
    /// [`Database::rotate`] says so.
    pub(crate) fn tend_keys(&self, resume: bool, auto: bool) {
        if resume {
            let _ = self.rotation.resume(&self.store);
        }
        if auto {
            let _ = self.rotation.watch(&self.store);
        }
    }

    /// The rotation that is due, to be taken step by step on the calling thread, for tests that
    /// want every step where they can see it; begins one where none is due. Not beside a worker.
    ///
    /// # Errors
    /// The new key could not be made durable.
    #[cfg(feature = "testkit")]
    pub fn rotate_by_steps(&self) -> Result<crate::rotation::RotationSteps, RotationError> {
        crate::rotation::RotationSteps::begin(&self.store)
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The epoch that seals everything new.
    pub fn active_epoch(&self) -> Epoch {
        self.store.active_epoch()
    }

    /// What opening this database found and did: whether it had been closed cleanly, what a crash
    /// had left, what was healed.
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        let mut recovery = *self.store.recovery();
        recovery.torn_pages = self.recovered.torn_pages;
        recovery.lost_pages = self.recovered.lost_pages;
        recovery
    }

    /// Whether the memory that holds the keys is locked against swapping. It isn't where
    /// `RLIMIT_MEMLOCK` leaves no room.
    #[must_use]
    pub fn key_memory_is_locked(&self) -> bool {
        self.store.key_memory_is_locked()
    }

    /// The header's slots, data keys and policy, and what the policy wants done. No secret.
    #[must_use]
    pub fn key_status(&self) -> KeyStatus {
        self.store.key_status_with_shares()
    }

    /// Begins an administrator's session, which may change key slots and policy. There is one at a
    /// time; reads and writes go on beside it.
    ///
    /// ```
    /// use strongroom::{Database, RawKey, SlotSpec};
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("notes.room");
    /// # let (mine, yours) = ([7; 32], [8; 32]);
    /// let db = Database::create(&path, RawKey::new(mine))?;
    /// let mut admin = db.admin(&RawKey::new(mine))?;
    /// let slot = admin.add(&SlotSpec::data("your laptop"), &RawKey::new(yours))?;
    /// let revoked = admin.revoke_data(slot)?;
    /// assert!(revoked.needs_rotation);
    /// drop(admin);
    /// db.close()?;
    /// # Ok::<(), strongroom::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`KeyError::NotAdmin`], [`KeyError::SessionActive`], or as an open says it.
    pub fn admin(&self, credential: &dyn Credential) -> Result<AdminSession<'_>, KeyError> {
        self.admin_hinted(credential, SlotHint::default())
    }

    /// [`Database::admin`] with what is known of the credential's slot.
    ///
    /// # Errors
    /// As [`Database::admin`].
    pub fn admin_hinted(
        &self,
        credential: &dyn Credential,
        hint: SlotHint,
    ) -> Result<AdminSession<'_>, KeyError> {
        AdminSession::start(&self.store, credential, hint)
    }

    /// The slot that a credential opens, expired or not: to test a credential before relying on
    /// it.
    ///
    /// # Errors
    /// [`OpenError::WrongKey`] where it opens none.
    pub fn test_credential(
        &self,
        credential: &dyn Credential,
        hint: SlotHint,
    ) -> Result<SlotInfo, OpenError> {
        self.store.slot_of(credential, hint)
    }

    /// A copy of the header, 32,768 bytes, sealed as it stands in the file: it opens with the
    /// credentials of now, for ever. Keep it away from the file; without a header no credential
    /// opens anything. Take a new one after each change of slots or keys, and destroy the old
    /// ones: [`Builder::restore_header`](crate::Builder::restore_header) refuses them, but whoever
    /// holds a revoked credential does not need to ask.
    ///
    /// # Errors
    /// The store can't be used any more.
    pub fn header_backup(&self) -> Result<Vec<u8>, KeyError> {
        Ok(self.store.header_backup()?)
    }
}

/// An open, encrypted database that can't be changed. Dereferences to
/// [`redb::ReadOnlyDatabase`].
pub struct ReadOnlyDatabase {
    db: redb::ReadOnlyDatabase,
    store: Arc<Store>,
}

impl std::fmt::Debug for ReadOnlyDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadOnlyDatabase").finish_non_exhaustive()
    }
}

impl Deref for ReadOnlyDatabase {
    type Target = redb::ReadOnlyDatabase;

    fn deref(&self) -> &redb::ReadOnlyDatabase {
        &self.db
    }
}

impl ReadOnlyDatabase {
    pub(crate) fn new(db: redb::ReadOnlyDatabase, store: Arc<Store>) -> Self {
        Self { db, store }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The header's slots, data keys and policy, and what the policy wants done. No secret.
    #[must_use]
    pub fn key_status(&self) -> KeyStatus {
        self.store.key_status()
    }

    /// What opening found: a file that was closed cleanly, since no other opens for reading only.
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        *self.store.recovery()
    }

    /// How the file stands to the anchor that it is bound to; `None` where it is bound to none.
    #[must_use]
    pub fn anchor_status(&self) -> Option<AnchorStatus> {
        self.store.anchor_status()
    }

    /// Names the state that is open: see [`Database::checkpoint_token`].
    ///
    /// # Errors
    /// The store can't be used any more.
    pub fn checkpoint_token(&self) -> Result<CheckpointToken, Error> {
        Ok(self.store.checkpoint_token()?)
    }

    /// The slot that a credential opens, expired or not: see [`Database::test_credential`].
    ///
    /// # Errors
    /// [`OpenError::WrongKey`] where it opens none.
    pub fn test_credential(
        &self,
        credential: &dyn Credential,
        hint: SlotHint,
    ) -> Result<SlotInfo, OpenError> {
        self.store.slot_of(credential, hint)
    }

    /// A copy of the header: see [`Database::header_backup`].
    ///
    /// # Errors
    /// The store can't be used any more.
    pub fn header_backup(&self) -> Result<Vec<u8>, KeyError> {
        Ok(self.store.header_backup()?)
    }

    /// [`Database::verify`] of a database that is open for reading only.
    ///
    /// # Errors
    /// As there.
    pub fn verify(&self, options: &VerifyOptions) -> Result<Report, Error> {
        Ok(verify::verify_store(&self.store, options)?)
    }

    /// Closes the database and gives the lock back; reads still alive fail from then on.
    ///
    /// # Errors
    /// Whatever the medium reports.
    pub fn close(self) -> Result<(), OpenError> {
        Ok(self.db.close()?)
    }
}
