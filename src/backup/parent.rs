//! The end of a backup, from its manifest on: all that an incremental backup needs of it, and all
//! that tells it from another one.

use std::fmt;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::crypto::hash;
use crate::error::BackupError;
use crate::format::backup::manifest::{Ancestor, MANIFEST_HEAD_SIZE, Manifest};
use crate::format::backup::{TRAILER_SIZE, Trailer};
use crate::keys::Keyring;
use crate::units::FileId;

/// A backup to go on from.
#[derive(Clone, PartialEq, Eq)]
pub struct Parent {
    /// As it is sealed.
    manifest: Vec<u8>,
    pub(super) trailer: Trailer,
}

impl fmt::Debug for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parent({})", FileId(self.trailer.id))
    }
}

impl Parent {
    pub(super) fn new(manifest: Vec<u8>, trailer: Trailer) -> Self {
        Self { manifest, trailer }
    }

    /// Of a backup in a file, of which it reads the end.
    ///
    /// # Errors
    /// [`BackupError::NotABackup`], [`BackupError::Unfinished`] or the system's.
    pub fn of_file(path: impl AsRef<Path>) -> Result<Self, BackupError> {
        let opened = std::fs::File::open(path);
        Self::read(&mut opened.map_err(BackupError::io("opening the backup"))?, 0)
    }

    /// What [`Parent::to_bytes`] gave, or a whole backup.
    ///
    /// # Errors
    /// As [`Parent::of_file`].
    pub fn of_bytes(bytes: &[u8]) -> Result<Self, BackupError> {
        Self::read(&mut std::io::Cursor::new(bytes), 0)
    }

    /// The end of the backup: sealed, and of use in [`incremental`](super::incremental) alone.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.manifest[..], &self.trailer.encode()].concat()
    }

    pub(super) fn read(
        stream: &mut (impl Read + Seek + ?Sized),
        number: usize,
    ) -> Result<Self, BackupError> {
        let reading = || BackupError::io("reading the backup");
        let unfinished = BackupError::Unfinished { number };
        let len = stream.seek(SeekFrom::End(0)).map_err(reading())?;
        let Some(end) = len.checked_sub(TRAILER_SIZE as u64) else { return Err(unfinished) };
        let mut trailer = [0; TRAILER_SIZE];
        stream.seek(SeekFrom::Start(end)).map_err(reading())?;
        stream.read_exact(&mut trailer).map_err(reading())?;
        let Ok(trailer) = Trailer::decode(&trailer) else { return Err(unfinished) };
        let start = end.checked_sub(trailer.manifest_len);
        let (Some(start), Ok(manifest_len)) = (start, usize::try_from(trailer.manifest_len)) else {
            return Err(unfinished);
        };
        if manifest_len < MANIFEST_HEAD_SIZE {
            return Err(unfinished);
        }
        let mut manifest = vec![0; manifest_len];
        stream.seek(SeekFrom::Start(start)).map_err(reading())?;
        stream.read_exact(&mut manifest).map_err(reading())?;
        Ok(Self { manifest, trailer })
    }

    /// What its children know it by: covers its every byte, since the trailer has the hash of what
    /// is before the manifest.
    pub(super) fn digest(&self) -> [u8; 32] {
        hash::of(&[&self.manifest, &self.trailer.encode()])
    }

    /// Its manifest; `None` where its key is not on the keyring.
    ///
    /// # Errors
    /// [`BackupError::Altered`].
    pub(super) fn open(
        &self,
        keyring: &Keyring,
        number: usize,
    ) -> Result<Option<Manifest>, BackupError> {
        let Trailer { manifest_at, content, file_id, id, .. } = self.trailer;
        if file_id != keyring.file_id() {
            let expected = keyring.file_id();
            return Err(BackupError::Foreign { number, found: file_id, expected });
        }
        let altered = |what| BackupError::Altered { number, what };
        let epoch = Manifest::epoch_of(&self.manifest).map_err(|malformed| altered(malformed.0))?;
        let Some(key) = keyring.get(epoch) else { return Ok(None) };
        let manifest = Manifest::open(&self.manifest, &key.backup, keyring.file_id(), manifest_at)
            .map_err(|malformed| altered(malformed.0))?
            .ok_or(altered("its manifest is not authentic"))?;
        if manifest.file_id != keyring.file_id() || (manifest.content, manifest.id) != (content, id)
        {
            return Err(altered("its trailer is not its manifest's"));
        }
        Ok(Some(manifest))
    }

    /// As a child's manifest names it.
    pub(super) fn as_ancestor(&self, manifest: &Manifest) -> Ancestor {
        Ancestor { id: self.trailer.id, digest: self.digest(), sync: manifest.sync }
    }
}
