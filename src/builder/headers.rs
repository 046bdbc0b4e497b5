//! What a [`Builder`] does about keys besides opening: hints, split roles, and putting a header
//! back.

use std::path::Path;
use std::sync::Arc;

use super::Builder;
use crate::backend::EncryptedBackend;
use crate::database::Database;
use crate::error::{KeyError, OpenError};
use crate::keys::{Credential, SlotHint};
use crate::medium::{self, Medium};
use crate::store::{self, HeaderRestored, Recovered, TurnBack};

impl Builder {
    /// What is known of the slot that the credential opens: a passphrase is then tried on that slot
    /// alone, at the cost of one key derivation, not on all twelve.
    pub fn hint(&mut self, hint: SlotHint) -> &mut Self {
        self.options.terms.hint = hint;
        self
    }

    /// A clock that stands still at this Unix time, so that tests see credentials expire.
    #[cfg(feature = "testkit")]
    pub fn clock_at(&mut self, unix_seconds: u64) -> &mut Self {
        self.options.terms.clock = crate::clock::Clock::standing_at(unix_seconds);
        self
    }

    /// Creates a database with split roles in a new file, as [`Builder::create`]: `admin` changes
    /// slots and policy but opens no data, `data` opens data but changes no slots. The database is
    /// open with `data` afterwards; administration takes both, [`Database::admin`] on a database
    /// that a data credential opened.
    ///
    /// # Errors
    /// As [`Builder::create`].
    pub fn create_split(
        &self,
        path: impl AsRef<Path>,
        admin: &dyn Credential,
        data: &dyn Credential,
    ) -> Result<Database, OpenError> {
        self.create_file(path.as_ref(), admin, Some(data))
    }

    /// [`Builder::create_split`] on an empty medium.
    ///
    /// # Errors
    /// As [`Builder::create_on`].
    pub fn create_split_on(
        &self,
        medium: impl Medium,
        admin: &dyn Credential,
        data: &dyn Credential,
    ) -> Result<Database, OpenError> {
        self.create_with(Arc::new(medium), admin, Some(data))
    }

    pub(super) fn create_with(
        &self,
        medium: Arc<dyn Medium>,
        key: &dyn Credential,
        data: Option<&dyn Credential>,
    ) -> Result<Database, OpenError> {
        let store = Arc::new(store::create(medium, key, data, &self.options)?);
        let backend = EncryptedBackend::over(Arc::clone(&store));
        let db = self.redb().create_with_backend(backend)?;
        store.finish_creation()?;
        let db = Database::new(db, store, Recovered::default());
        db.tend_keys(self.resume_rotation, self.auto_rotate);
        Ok(db)
    }

    /// Puts a header backup ([`Database::header_backup`]) back into a file that is not open, with a
    /// credential that opens the backup. For a file whose header is lost or damaged.
    ///
    /// A backup that is older than what the file has seen is refused: with it would come back the
    /// slots and keys of its time. [`TurnBack::Allow`] accepts it; slots added since are gone then,
    /// removed ones are back.
    ///
    /// # Errors
    /// [`KeyError::NotABackup`], [`KeyError::ForeignHeader`], [`KeyError::WouldTurnBack`],
    /// [`KeyError::NoRootOpens`], or what an open says. The file is left as it was.
    pub fn restore_header(
        &self,
        path: impl AsRef<Path>,
        backup: &[u8],
        key: &dyn Credential,
        turn_back: TurnBack,
    ) -> Result<HeaderRestored, KeyError> {
        self.restore_header_on(medium::existing(path.as_ref())?, backup, key, turn_back)
    }

    /// [`Builder::restore_header`] on a medium.
    ///
    /// # Errors
    /// As [`Builder::restore_header`].
    pub fn restore_header_on(
        &self,
        medium: impl Medium,
        backup: &[u8],
        key: &dyn Credential,
        turn_back: TurnBack,
    ) -> Result<HeaderRestored, KeyError> {
        store::restore(Arc::new(medium), backup, key, &self.options, turn_back)
    }

    /// Goes back to the other header copy of a file that is not open, where the newest one can't
    /// be used: forged, or damaged under a right CRC. An open never does so by itself.
    ///
    /// # Errors
    /// [`KeyError::HeaderIntact`], [`KeyError::NoOtherCopy`], [`KeyError::WouldTurnBack`],
    /// [`KeyError::NoRootOpens`], or what an open says. The file is left as it was.
    pub fn recover_header(
        &self,
        path: impl AsRef<Path>,
        key: &dyn Credential,
        turn_back: TurnBack,
    ) -> Result<HeaderRestored, KeyError> {
        self.recover_header_on(medium::existing(path.as_ref())?, key, turn_back)
    }

    /// [`Builder::recover_header`] on a medium.
    ///
    /// # Errors
    /// As [`Builder::recover_header`].
    pub fn recover_header_on(
        &self,
        medium: impl Medium,
        key: &dyn Credential,
        turn_back: TurnBack,
    ) -> Result<HeaderRestored, KeyError> {
        store::recover(Arc::new(medium), key, &self.options, turn_back)
    }
}
