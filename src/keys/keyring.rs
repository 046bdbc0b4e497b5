//! The unlocked data keys, by epoch, each split into one subkey a purpose.

use std::io;
use std::sync::Arc;

use crate::crypto::derive::{self, Purpose};
use crate::secret::{Arena, SecretKey};
use crate::units::{Epoch, FileId};

/// The subkeys of one data key.
#[derive(Debug)]
pub(crate) struct DataKey {
    pub(crate) epoch: Epoch,
    pub(crate) page: SecretKey,
    pub(crate) tag_page: SecretKey,
    pub(crate) root_record: SecretKey,
    pub(crate) clean_index: SecretKey,
    pub(crate) digest: SecretKey,
    pub(crate) journal: SecretKey,
    pub(crate) backup: SecretKey,
}

impl DataKey {
    /// # Errors
    /// Key memory is full.
    pub(crate) fn split(
        arena: &Arena,
        data_key: &SecretKey,
        file_id: FileId,
        epoch: Epoch,
    ) -> io::Result<Self> {
        let (bytes, epoch_bytes) = (data_key.expose(), epoch.0.to_le_bytes());
        let subkey =
            |purpose| derive::key(arena, purpose, &[bytes.as_slice(), &file_id.0, &epoch_bytes]);
        Ok(Self {
            epoch,
            page: subkey(Purpose::Page)?,
            tag_page: subkey(Purpose::TagPage)?,
            root_record: subkey(Purpose::RootRecord)?,
            clean_index: subkey(Purpose::CleanIndex)?,
            digest: subkey(Purpose::Digest)?,
            journal: subkey(Purpose::Journal)?,
            backup: subkey(Purpose::Backup)?,
        })
    }
}

/// The data keys of an open file. Never empty: one is active.
#[derive(Debug)]
pub(crate) struct Keyring {
    file_id: FileId,
    active: Arc<DataKey>,
    retired: Vec<Arc<DataKey>>,
}

impl Keyring {
    pub(crate) fn new(file_id: FileId, active: DataKey, retired: Vec<Arc<DataKey>>) -> Self {
        Self { file_id, active: Arc::new(active), retired }
    }

    pub(crate) fn file_id(&self) -> FileId {
        self.file_id
    }

    /// This keyring with a new active key; the one before is retired.
    pub(super) fn with_new(&self, active: DataKey) -> Self {
        let mut retired = self.retired.clone();
        retired.push(Arc::clone(&self.active));
        Self { file_id: self.file_id, active: Arc::new(active), retired }
    }

    /// This keyring without the retired keys of these epochs.
    pub(super) fn without(&self, epochs: &[Epoch]) -> Self {
        let mut retired = self.retired.clone();
        retired.retain(|key| !epochs.contains(&key.epoch));
        Self { file_id: self.file_id, active: Arc::clone(&self.active), retired }
    }

    /// Whether pages may name another key than the active one.
    pub(crate) fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    /// The epochs that pages may name besides the active one.
    pub(crate) fn retired_epochs(&self) -> Vec<Epoch> {
        self.retired.iter().map(|key| key.epoch).collect()
    }

    /// The key that seals everything new.
    pub(crate) fn active(&self) -> &DataKey {
        &self.active
    }

    /// The key of an epoch that pages may name; `None` is damage.
    pub(crate) fn get(&self, epoch: Epoch) -> Option<&DataKey> {
        if self.active.epoch == epoch {
            return Some(&self.active);
        }
        self.retired.iter().find(|key| key.epoch == epoch).map(Arc::as_ref)
    }
}
