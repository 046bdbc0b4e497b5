//! The root key: MACs the header, wraps the data keys. Data keys are random, so a change of the
//! root key re-wraps them and touches no page.

use std::io;

use super::keyring::{DataKey, Keyring};
use super::wrapping::{DATA_KEY, binding, wrap_fresh};
use crate::crypto::derive::{self, Purpose};
use crate::crypto::wrap;
use crate::error::{Damage, OpenError};
use crate::format::header::{EpochRecord, EpochState, Header};
use crate::secret::{Arena, SecretKey};
use crate::units::{CopyId, Epoch, FileId};

/// The root key and what it gives.
#[derive(Debug)]
pub(crate) struct RootKey {
    pub(super) key: SecretKey,
    /// MACs a whole header copy.
    pub(crate) data_mac: SecretKey,
    /// Wraps the data keys.
    keyring_wrap: SecretKey,
}

impl RootKey {
    /// # Errors
    /// Key memory is full.
    pub(super) fn new(arena: &Arena, key: SecretKey, file_id: FileId) -> io::Result<Self> {
        let bytes = key.expose();
        let parts = [bytes.as_slice(), &file_id.0];
        Ok(Self {
            data_mac: derive::key(arena, Purpose::DataMac, &parts)?,
            keyring_wrap: derive::key(arena, Purpose::KeyringWrap, &parts)?,
            key,
        })
    }

    /// The record of a new, active data key, made at `now` (Unix seconds).
    ///
    /// # Errors
    /// The system gave no randomness.
    pub(super) fn wrap_data_key(
        &self,
        data_key: &SecretKey,
        file_id: FileId,
        epoch: Epoch,
        now: u64,
    ) -> io::Result<EpochRecord> {
        let binding = binding(file_id, DATA_KEY, epoch.0);
        Ok(EpochRecord {
            epoch,
            state: EpochState::Active,
            created: now,
            retired: 0,
            sealed_pages: 0,
            wrapped: wrap_fresh(&self.keyring_wrap, &binding, data_key)?,
            check: check_value(data_key, file_id, epoch),
        })
    }

    /// A data key as its record has it.
    ///
    /// # Errors
    /// Damage in header copy `copy`; or key memory is full.
    pub(super) fn unwrap_data_key(
        &self,
        arena: &Arena,
        record: &EpochRecord,
        file_id: FileId,
        copy: CopyId,
    ) -> Result<SecretKey, OpenError> {
        let damaged = |why| OpenError::Damaged(Damage::Header { copy, why });
        let binding = binding(file_id, DATA_KEY, record.epoch.0);
        let data_key = wrap::unwrap(arena, &self.keyring_wrap, &binding, &record.wrapped)
            .map_err(OpenError::io("reserving key memory"))?
            .map_err(|_| damaged("a wrapped data key was altered"))?;
        if check_value(&data_key, file_id, record.epoch) != record.check {
            return Err(damaged("a data key fails its check value"));
        }
        Ok(data_key)
    }

    /// The same record under this root key instead of `old`: no page changes with it.
    ///
    /// # Errors
    /// As [`RootKey::unwrap_data_key`], or the system gave no randomness.
    pub(super) fn rewrap_data_key(
        &self,
        arena: &Arena,
        old: &Self,
        record: &EpochRecord,
        file_id: FileId,
    ) -> Result<EpochRecord, OpenError> {
        let data_key = old.unwrap_data_key(arena, record, file_id, CopyId::A)?;
        let binding = binding(file_id, DATA_KEY, record.epoch.0);
        let wrapped = wrap_fresh(&self.keyring_wrap, &binding, &data_key)
            .map_err(OpenError::io("wrapping a data key"))?;
        Ok(EpochRecord { wrapped, ..record.clone() })
    }

    /// All data keys of a believed header.
    ///
    /// # Errors
    /// As [`RootKey::unwrap_data_key`].
    pub(super) fn unlock_keyring(
        &self,
        arena: &Arena,
        header: &Header,
        copy: CopyId,
    ) -> Result<Keyring, OpenError> {
        let file_id = header.file_id;
        let (mut active, mut retired) = (None, Vec::new());
        for record in &header.epochs {
            let data_key = self.unwrap_data_key(arena, record, file_id, copy)?;
            let key = DataKey::split(arena, &data_key, file_id, record.epoch)
                .map_err(OpenError::io("reserving key memory"))?;
            match record.state {
                EpochState::Active => active = Some(key),
                EpochState::Retired | EpochState::Compromised => retired.push(key.into()),
            }
        }
        let none_active = Damage::Header { copy, why: "it has no active data key" };
        Ok(Keyring::new(file_id, active.ok_or(none_active)?, retired))
    }
}

/// 16 bytes in the clear that tell a wrong data key from a right one.
fn check_value(data_key: &SecretKey, file_id: FileId, epoch: Epoch) -> [u8; 16] {
    let (key, epoch) = (data_key.expose(), epoch.0.to_le_bytes());
    let bytes = derive::bytes(Purpose::DataKeyCheck, &[key.as_slice(), &file_id.0, &epoch]);
    let mut check = [0; 16];
    let key: &[u8; 32] = &bytes;
    check.copy_from_slice(&key[..16]);
    check
}
