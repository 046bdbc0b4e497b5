//! The manifest of a backup: which state of which file it is, on which backups it stands, and
//! where the newest frame of each group lies, with its hash. One sealed message.

use super::{BackupId, BackupKind};
use crate::crypto::page::Cipher;
use crate::format::associated_data::{Place, associated_data};
use crate::format::clean_index::Row;
use crate::layout::{self, PAGE_BYTES, PAGE_ZERO_SIZE};
use crate::secret::SecretKey;
use crate::units::{CopyId, Epoch, FileId, Generation, SyncSeq};
use crate::wire::{Malformed, Reader, Writer};

/// Bytes in the clear at the front: epoch u32, nonce 12, tag 16.
pub(crate) const MANIFEST_HEAD_SIZE: usize = 32;
const FIXED_SIZE: usize = 144 + PAGE_ZERO_SIZE;
const ANCESTOR_SIZE: usize = 64;
const ROW_SIZE: usize = 80;

/// A backup that another one stands on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ancestor {
    pub(crate) id: BackupId,
    /// Of its manifest as it is sealed and of its trailer, which holds the hash of all the rest.
    pub(crate) digest: [u8; 32],
    pub(crate) sync: SyncSeq,
}

/// Where the newest frame of a group lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FrameRow {
    /// The group's tag page in the file when the backup was made. Compared as a whole: sequences
    /// alone repeat on another timeline.
    pub(crate) row: Row,
    /// The backup that holds the frame: its number in the chain, the full one being 0.
    pub(crate) holder: u32,
    /// Where the frame starts in it.
    pub(crate) offset: u64,
    /// Of the frame's bytes.
    pub(crate) hash: [u8; 32],
}

/// The fields of a manifest, authentic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Manifest {
    pub(crate) kind: BackupKind,
    pub(crate) file_id: FileId,
    pub(crate) id: BackupId,
    /// Seconds since 1970; for people.
    pub(crate) created: u64,
    /// The sync whose state it is.
    pub(crate) sync: SyncSeq,
    /// Of the header that the backup carries.
    pub(crate) generation: Generation,
    pub(crate) logical_len: u64,
    /// An upper bound of the pages sealed under the key that seals the manifest.
    pub(crate) sealed_pages: u64,
    /// The hash of everything before the manifest.
    pub(crate) content: [u8; 32],
    pub(crate) page_zero: Box<[u8; PAGE_ZERO_SIZE]>,
    /// The full backup first.
    pub(crate) ancestors: Vec<Ancestor>,
    /// One a group.
    pub(crate) rows: Vec<FrameRow>,
}

impl Manifest {
    /// version u16, kind u16, 4 reserved, file id 16, backup id 16, created u64, sync u64,
    /// generation u64, logical length u64, groups u64, sealed pages u64, 8 reserved, content hash
    /// 32, ancestors u32, 12 reserved, page zero 2048; then 64 an ancestor: id 16, digest 32, sync
    /// u64, 8 reserved; then 80 a group: sync u64, tag 16, copy u8, 3 reserved, holder u32, offset
    /// u64, hash 32, 8 reserved.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let size = FIXED_SIZE + ANCESTOR_SIZE * self.ancestors.len() + ROW_SIZE * self.rows.len();
        let mut bytes = vec![0; size];
        let mut writer = Writer::new(&mut bytes);
        writer.u16(super::BACKUP_VERSION);
        writer.u16(self.kind.id());
        writer.skip(4);
        writer.bytes(&self.file_id.0);
        writer.bytes(&self.id);
        writer.u64(self.created);
        writer.u64(self.sync.0);
        writer.u64(self.generation.0);
        writer.u64(self.logical_len);
        writer.u64(self.rows.len() as u64);
        writer.u64(self.sealed_pages);
        writer.skip(8);
        writer.bytes(&self.content);
        writer.u32(u32::try_from(self.ancestors.len()).unwrap_or(u32::MAX));
        writer.skip(12);
        writer.bytes(&*self.page_zero);
        for ancestor in &self.ancestors {
            writer.bytes(&ancestor.id);
            writer.bytes(&ancestor.digest);
            writer.u64(ancestor.sync.0);
            writer.skip(8);
        }
        for FrameRow { row, holder, offset, hash } in &self.rows {
            writer.u64(row.sync.0);
            writer.bytes(&row.tag);
            writer.u8(row.copy.index());
            writer.skip(3);
            writer.u32(*holder);
            writer.u64(*offset);
            writer.bytes(hash);
            writer.skip(8);
        }
        writer.finish();
        bytes
    }

    /// # Errors
    /// [`Malformed`], for bytes that no encoder writes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.u16()? != super::BACKUP_VERSION {
            return Err(Malformed("a manifest of another version"));
        }
        let kind = BackupKind::from_id(reader.u16()?)?;
        reader.zeros(4)?;
        let (file_id, id) = (FileId(reader.array()?), reader.array()?);
        let (created, sync) = (reader.u64()?, SyncSeq(reader.u64()?));
        let (generation, logical_len) = (Generation(reader.u64()?), reader.u64()?);
        let (groups, sealed_pages) = (reader.u64()?, reader.u64()?);
        reader.zeros(8)?;
        let content = reader.array()?;
        let ancestor_count = reader.u32()?;
        reader.zeros(12)?;
        let page_zero = Box::new(reader.array()?);
        // Nothing is allocated for what is not there.
        let mut ancestors = Vec::new();
        for _ in 0..ancestor_count {
            let (id, digest) = (reader.array()?, reader.array()?);
            ancestors.push(Ancestor { id, digest, sync: SyncSeq(reader.u64()?) });
            reader.zeros(8)?;
        }
        let mut rows = Vec::new();
        for _ in 0..groups {
            rows.push(decode_row(&mut reader, ancestor_count)?);
        }
        reader.finish()?;
        let manifest = Self {
            kind,
            file_id,
            id,
            created,
            sync,
            generation,
            logical_len,
            sealed_pages,
            content,
            page_zero,
            ancestors,
            rows,
        };
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), Malformed> {
        let full = self.kind == BackupKind::Full;
        if full != self.ancestors.is_empty() {
            return Err(Malformed("a full backup that stands on others, or another that doesn't"));
        }
        let pages = layout::pages_in(self.logical_len);
        if !self.logical_len.is_multiple_of(PAGE_BYTES)
            || !layout::is_addressable(self.logical_len)
            || self.rows.len() as u64 > layout::groups_for(pages)
        {
            return Err(Malformed(
                "a length that no file has, or more groups than it has room for",
            ));
        }
        Ok(())
    }

    /// Seals it as what stands at `at` in a backup. Epoch, nonce and tag stand in front.
    pub(crate) fn seal(&self, key: &SecretKey, nonce: [u8; 12], epoch: Epoch, at: u64) -> Vec<u8> {
        let plain = self.encode();
        let mut bytes = vec![0; MANIFEST_HEAD_SIZE];
        bytes.extend_from_slice(&plain);
        let place = Place::Manifest { at, len: bytes.len() as u64 };
        let associated_data = associated_data(self.file_id, epoch, place);
        let (head, body) = bytes.split_at_mut(MANIFEST_HEAD_SIZE);
        let tag = Cipher::new(key).seal_in_place(&nonce, &associated_data, body);
        let mut writer = Writer::new(head);
        writer.u32(epoch.0);
        writer.bytes(&nonce);
        writer.bytes(&tag);
        writer.finish();
        bytes
    }

    /// The epoch whose key seals a manifest.
    pub(crate) fn epoch_of(sealed: &[u8]) -> Result<Epoch, Malformed> {
        Ok(Epoch(Reader::new(sealed).u32()?))
    }

    /// Opens a manifest; `Ok(None)` where it isn't authentic.
    ///
    /// # Errors
    /// [`Malformed`], for authentic bytes that no encoder writes.
    pub(crate) fn open(
        sealed: &[u8],
        key: &SecretKey,
        file_id: FileId,
        at: u64,
    ) -> Result<Option<Self>, Malformed> {
        let mut reader = Reader::new(sealed);
        let epoch = Epoch(reader.u32()?);
        let (nonce, tag) = (reader.array()?, reader.array()?);
        let mut body = sealed.get(MANIFEST_HEAD_SIZE..).unwrap_or_default().to_vec();
        let place = Place::Manifest { at, len: sealed.len() as u64 };
        let associated_data = associated_data(file_id, epoch, place);
        match Cipher::new(key).open_in_place(&nonce, &associated_data, &tag, &mut body) {
            Ok(()) => Self::decode(&body).map(Some),
            Err(_) => Ok(None),
        }
    }
}

fn decode_row(reader: &mut Reader<'_>, ancestors: u32) -> Result<FrameRow, Malformed> {
    let (sync, tag) = (SyncSeq(reader.u64()?), reader.array()?);
    let copy = CopyId::from_index(reader.u8()?).ok_or(Malformed("an unknown copy"))?;
    reader.zeros(3)?;
    let (holder, offset, hash) = (reader.u32()?, reader.u64()?, reader.array()?);
    if holder > ancestors {
        return Err(Malformed("a frame in a backup that is not in the chain"));
    }
    reader.zeros(8)?;
    Ok(FrameRow { row: Row { sync, tag, copy }, holder, offset, hash })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::secret::Arena;
    use proptest::prelude::*;

    pub(crate) fn example() -> Manifest {
        let row = Row { sync: SyncSeq(5), tag: [6; 16], copy: CopyId::B };
        Manifest {
            kind: BackupKind::Incremental,
            file_id: FileId([1; 16]),
            id: [2; 16],
            created: 3,
            sync: SyncSeq(5),
            generation: Generation(4),
            logical_len: 200 * 4096,
            sealed_pages: 7,
            content: [8; 32],
            page_zero: Box::new([9; PAGE_ZERO_SIZE]),
            ancestors: vec![Ancestor { id: [10; 16], digest: [11; 32], sync: SyncSeq(4) }],
            rows: vec![
                FrameRow { row, holder: 0, offset: 64, hash: [12; 32] },
                FrameRow { row, holder: 1, offset: 65, hash: [13; 32] },
            ],
        }
    }

    #[test]
    fn a_manifest_opens_at_its_place_in_its_file_and_nowhere_else() {
        let key = Arena::new().unwrap().keep(&[1; 32].into()).unwrap();
        let sealed = example().seal(&key, [2; 12], Epoch(3), 1000);
        let open = |sealed: &[u8], file, at| Manifest::open(sealed, &key, FileId([file; 16]), at);
        assert_eq!(Manifest::epoch_of(&sealed), Ok(Epoch(3)));
        assert_eq!(open(&sealed, 1, 1000), Ok(Some(example())));
        assert_eq!(open(&sealed, 2, 1000), Ok(None));
        assert_eq!(open(&sealed, 1, 1001), Ok(None));
        assert_eq!(open(&sealed[..sealed.len() - 1], 1, 1000), Ok(None));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for change in [
            (|manifest| manifest.ancestors.clear()) as fn(&mut Manifest),
            |manifest| manifest.kind = BackupKind::Full,
            |manifest| manifest.logical_len += 1,
            |manifest| manifest.logical_len = 126 * 4096,
            |manifest| manifest.logical_len = u64::MAX - 4095,
            |manifest| manifest.rows[0].holder = 2,
        ] {
            let mut manifest = example();
            change(&mut manifest);
            assert!(Manifest::decode(&manifest.encode()).is_err(), "{manifest:?}");
        }
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(at in 0usize..2416, xor in 1u8..) {
            let mut bytes = example().encode();
            bytes[at] ^= xor;
            if let Ok(manifest) = Manifest::decode(&bytes) {
                prop_assert_eq!(manifest.encode(), bytes);
            }
        }

        #[test]
        fn any_bytes_decode_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
            let _ = Manifest::decode(&bytes);
        }
    }
}
