//! A backup (docs/backup-format.md): a head, frames of pages as they are sealed in the file, the
//! header, a sealed manifest that says what all of it is, and a trailer that finds the manifest.
//! Written front to back, so that it can go into a pipe.

use crate::units::FileId;
use crate::wire::{Malformed, Reader, Writer};

pub(crate) mod frame;
pub(crate) mod manifest;

/// Bytes of the head.
pub(crate) const HEAD_SIZE: usize = 64;
/// Bytes of the trailer.
pub(crate) const TRAILER_SIZE: usize = 128;
/// What a backup begins with.
pub(crate) const HEAD_MAGIC: [u8; 16] = *b"\x89STRONGROOM-BAK\n";
/// What a backup ends with, that is, what its trailer begins with.
pub(crate) const TRAILER_MAGIC: [u8; 16] = *b"STRONGROOM-BAK.\n";
/// The version of the backup format.
pub(crate) const BACKUP_VERSION: u16 = 1;

/// Sixteen random bytes that name one backup.
pub(crate) type BackupId = [u8; 16];

/// Whether a backup stands for itself or on others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BackupKind {
    /// All groups.
    Full,
    /// The groups that changed since another backup.
    Incremental,
}

impl BackupKind {
    fn id(self) -> u16 {
        match self {
            Self::Full => 0,
            Self::Incremental => 1,
        }
    }

    fn from_id(id: u16) -> Result<Self, Malformed> {
        match id {
            0 => Ok(Self::Full),
            1 => Ok(Self::Incremental),
            _ => Err(Malformed("an unknown kind of backup")),
        }
    }
}

/// The head: what anybody may know. The manifest says it again, sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(crate) kind: BackupKind,
    pub(crate) file_id: FileId,
    pub(crate) id: BackupId,
}

impl Head {
    /// magic 16, version u16, kind u16, 4 reserved, file id 16, backup id 16, 8 reserved.
    pub(crate) fn encode(&self) -> [u8; HEAD_SIZE] {
        let mut bytes = [0; HEAD_SIZE];
        let mut writer = Writer::new(&mut bytes);
        writer.bytes(&HEAD_MAGIC);
        writer.u16(BACKUP_VERSION);
        writer.u16(self.kind.id());
        writer.skip(4);
        writer.bytes(&self.file_id.0);
        writer.bytes(&self.id);
        writer.skip(8);
        writer.finish();
        bytes
    }

    /// # Errors
    /// [`Malformed`], for bytes that no encoder writes.
    pub(crate) fn decode(bytes: &[u8; HEAD_SIZE]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.array()? != HEAD_MAGIC {
            return Err(Malformed("it doesn't begin as a backup"));
        }
        if reader.u16()? != BACKUP_VERSION {
            return Err(Malformed("a version of the backup format that this program doesn't know"));
        }
        let kind = BackupKind::from_id(reader.u16()?)?;
        reader.zeros(4)?;
        let (file_id, id) = (FileId(reader.array()?), reader.array()?);
        reader.zeros(8)?;
        reader.finish()?;
        Ok(Self { kind, file_id, id })
    }
}

/// The trailer: where the manifest lies, and the hash of everything before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Trailer {
    /// Where the manifest starts: right behind the header copy.
    pub(crate) manifest_at: u64,
    /// Its bytes, the head of 32 included; the trailer follows it and ends the backup.
    pub(crate) manifest_len: u64,
    /// Of everything before the manifest.
    pub(crate) content: [u8; 32],
    pub(crate) file_id: FileId,
    pub(crate) id: BackupId,
}

impl Trailer {
    /// magic 16, version u16, 6 reserved, manifest offset u64, its length u64, content hash 32, file
    /// id 16, backup id 16, 24 reserved.
    pub(crate) fn encode(&self) -> [u8; TRAILER_SIZE] {
        let mut bytes = [0; TRAILER_SIZE];
        let mut writer = Writer::new(&mut bytes);
        writer.bytes(&TRAILER_MAGIC);
        writer.u16(BACKUP_VERSION);
        writer.skip(6);
        writer.u64(self.manifest_at);
        writer.u64(self.manifest_len);
        writer.bytes(&self.content);
        writer.bytes(&self.file_id.0);
        writer.bytes(&self.id);
        writer.skip(24);
        writer.finish();
        bytes
    }

    /// # Errors
    /// [`Malformed`], for bytes that no encoder writes.
    pub(crate) fn decode(bytes: &[u8; TRAILER_SIZE]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.array()? != TRAILER_MAGIC || reader.u16()? != BACKUP_VERSION {
            return Err(Malformed("it doesn't end as a backup"));
        }
        reader.zeros(6)?;
        let (manifest_at, manifest_len) = (reader.u64()?, reader.u64()?);
        let (content, file_id) = (reader.array()?, FileId(reader.array()?));
        let id = reader.array()?;
        reader.zeros(24)?;
        reader.finish()?;
        Ok(Self { manifest_at, manifest_len, content, file_id, id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_and_trailers_come_back_and_no_other_byte_is_taken() {
        let head = Head { kind: BackupKind::Incremental, file_id: FileId([1; 16]), id: [2; 16] };
        assert_eq!(Head::decode(&head.encode()), Ok(head));
        let full = Head { kind: BackupKind::Full, ..head };
        assert_eq!(Head::decode(&full.encode()), Ok(full));
        let file_id = FileId([7; 16]);
        let trailer =
            Trailer { manifest_at: 3, manifest_len: 4, content: [5; 32], file_id, id: [6; 16] };
        assert_eq!(Trailer::decode(&trailer.encode()), Ok(trailer));
        for at in 0..HEAD_SIZE {
            let mut bytes = head.encode();
            bytes[at] ^= 0x41;
            if let Ok(other) = Head::decode(&bytes) {
                assert!((24..56).contains(&at) && other.encode() == bytes, "{at}");
            }
        }
        for at in 0..TRAILER_SIZE {
            let mut bytes = trailer.encode();
            bytes[at] ^= 0x41;
            if let Ok(other) = Trailer::decode(&bytes) {
                assert!((24..104).contains(&at) && other.encode() == bytes, "{at}");
            }
        }
    }
}
