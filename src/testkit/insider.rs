//! An attacker who has the key: edits what is sealed and seals it again. No promise holds against
//! such a one but that bytes never cause a panic, a hang or an absurd allocation; the point is to
//! reach the code behind the authentication, which random edits never do.

use crate::crypto::digest::DigestKey;
use crate::crypto::mac;
use crate::error::OpenError;
use crate::format::associated_data::Place;
use crate::format::header::{HeaderBytes, UnverifiedHeader};
use crate::format::record::{Body, SealedRecord};
use crate::format::root_record::RootRecord;
use crate::format::tag_page::TagPage;
use crate::keys::{self, Credential, DataKey, Terms, Unlocked};
use crate::layout::{self, HEADER_COPY_SIZE, PAGE_SIZE};
use crate::random;
use crate::secret::SecretKey;
use crate::units::{CopyId, GroupNo};

/// The keys of one file, in hands that they should not be in.
///
/// ```
/// use strongroom::testkit::Insider;
/// use strongroom::{Builder, CopyId, RawKey, medium::MemoryMedium};
///
/// let (key, medium) = (RawKey::new([7; 32]), MemoryMedium::new());
/// Builder::new().create_on(medium.clone(), &key)?.close()?;
/// let mut image = medium.to_bytes();
/// let insider = Insider::new(&image, &key)?;
/// for copy in CopyId::BOTH {
///     assert!(insider.edit_root(&mut image, copy, |body| body.fill(0xff)));
/// }
/// assert!(Builder::new().open_on(MemoryMedium::from_bytes(image), &key).is_err());
/// # Ok::<(), strongroom::OpenError>(())
/// ```
#[derive(Debug)]
pub struct Insider {
    unlocked: Unlocked,
}

fn header_copy(image: &[u8], copy: CopyId) -> Option<Box<HeaderBytes>> {
    let start = usize::try_from(layout::header_start(copy).0).ok()?;
    let found = image.get(start..)?.first_chunk::<HEADER_COPY_SIZE>()?;
    Some(Box::new(*found))
}

fn record_at(image: &[u8], offset: u64) -> Option<SealedRecord> {
    let start = usize::try_from(offset).ok()?;
    let mut record = SealedRecord::blank();
    *record.bytes_mut() = *image.get(start..)?.first_chunk::<PAGE_SIZE>()?;
    Some(record)
}

fn put(image: &mut [u8], offset: u64, bytes: &[u8]) -> Option<()> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(bytes.len())?;
    image.get_mut(start..end)?.copy_from_slice(bytes);
    Some(())
}

impl Insider {
    /// Unlocks a file's first header copy.
    ///
    /// # Errors
    /// [`OpenError`], as opening it would give.
    pub fn new(image: &[u8], key: &dyn Credential) -> Result<Self, OpenError> {
        let bytes = header_copy(image, CopyId::A).ok_or(OpenError::HeaderLost)?;
        let header = UnverifiedHeader::decode(&bytes, CopyId::A);
        let header = header.map_err(|_| OpenError::HeaderLost)?;
        Ok(Self { unlocked: keys::unlock(&header, key, &Terms::default())? })
    }

    fn key(&self) -> &DataKey {
        self.unlocked.keyring.active()
    }

    fn open(&self, record: &SealedRecord, key: &SecretKey, place: Place) -> Option<Body> {
        record.open(key, self.unlocked.keyring.file_id(), place).ok()
    }

    fn seal(&self, body: Body, key: &SecretKey, place: Place) -> Option<SealedRecord> {
        let nonce = random::array().ok()?;
        Some(body.seal(key, nonce, self.unlocked.keyring.file_id(), self.key().epoch, place))
    }

    /// Changes the fields of a root record. `false` where there is none that opens.
    pub fn edit_root(&self, image: &mut [u8], copy: CopyId, edit: impl FnOnce(&mut [u8])) -> bool {
        self.root(image, copy, edit).is_some()
    }

    fn root(&self, image: &mut [u8], copy: CopyId, edit: impl FnOnce(&mut [u8])) -> Option<()> {
        let (offset, place) = (layout::root_start(copy).0, Place::Root(copy));
        let mut body = self.open(&record_at(image, offset)?, &self.key().root_record, place)?;
        edit(body.bytes_mut());
        let record = self.seal(body, &self.key().root_record, place)?;
        put(image, offset, record.bytes())
    }

    /// Changes the fields of a tag page, and puts the digest right in every root record that
    /// counts it. `false` where there is none that opens. On a file that was closed cleanly, the
    /// clean index gives it away all the same.
    pub fn edit_tag_page(
        &self,
        image: &mut [u8],
        group: GroupNo,
        copy: CopyId,
        edit: impl FnOnce(&mut [u8]),
    ) -> bool {
        self.tag_page(image, group, copy, edit).is_some()
    }

    fn tag_page(
        &self,
        image: &mut [u8],
        group: GroupNo,
        copy: CopyId,
        edit: impl FnOnce(&mut [u8]),
    ) -> Option<()> {
        let (offset, place) = (layout::tag_page_start(group, copy).0, Place::TagPage(group));
        let old = record_at(image, offset)?;
        let mut body = self.open(&old, &self.key().tag_page, place)?;
        let before = TagPage::decode(&body).ok()?.sync;
        edit(body.bytes_mut());
        let after = TagPage::decode(&body).map_or(before, |page| page.sync);
        let new = self.seal(body, &self.key().tag_page, place)?;
        put(image, offset, new.bytes())?;
        for copy in CopyId::BOTH {
            self.root(image, copy, |bytes| {
                let mut body = Body::blank();
                body.bytes_mut().copy_from_slice(bytes);
                let Ok(mut root) = RootRecord::decode(&body, self.key().epoch) else { return };
                let mut digest =
                    DigestKey::new(&self.key().digest, self.unlocked.keyring.file_id());
                digest.toggle(&mut root.digest, group, before, &old.tag());
                digest.toggle(&mut root.digest, group, after, &new.tag());
                bytes.copy_from_slice(root.encode().bytes());
            });
        }
        Some(())
    }

    /// Changes the fields of a header copy; its MAC and CRC are put right. `false` where the file
    /// is too short.
    pub fn edit_header(
        &self,
        image: &mut [u8],
        copy: CopyId,
        edit: impl FnOnce(&mut [u8]),
    ) -> bool {
        let Some(mut bytes) = header_copy(image, copy) else { return false };
        let Some((fields, rest)) = bytes.split_at_mut_checked(UnverifiedHeader::MAC_AT) else {
            return false;
        };
        edit(fields);
        let tag = mac::tag(&self.unlocked.root.data_mac, &[fields]);
        for (place, byte) in rest.iter_mut().zip(tag) {
            *place = byte;
        }
        let Some((covered, crc)) = bytes.split_last_chunk_mut::<4>() else { return false };
        *crc = UnverifiedHeader::crc(covered);
        put(image, layout::header_start(copy).0, &*bytes).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::medium::MemoryMedium;
    use crate::{Builder, RawKey};
    use redb::{ReadableDatabase, TableDefinition};

    const TABLE: TableDefinition<u64, u64> = TableDefinition::new("t");

    /// A file as a crash leaves it after one commit, and what opening an edited one says.
    fn image() -> Vec<u8> {
        let medium = MemoryMedium::new();
        let db = Builder::new().create_on(medium.clone(), &key()).unwrap();
        let write = db.begin_write().unwrap();
        write.open_table(TABLE).unwrap().insert(1, 2).unwrap();
        write.commit().unwrap();
        medium.to_bytes()
    }

    fn key() -> RawKey {
        RawKey::new([7; 32])
    }

    fn opens(image: Vec<u8>) -> Result<u64, OpenError> {
        let db = Builder::new().open_on(MemoryMedium::from_bytes(image), &key())?;
        let read = db.begin_read().unwrap();
        Ok(read.open_table(TABLE).unwrap().get(1).unwrap().unwrap().value())
    }

    #[test]
    fn what_is_sealed_again_unchanged_opens() {
        let mut image = image();
        let insider = Insider::new(&image, &key()).unwrap();
        let before = image.clone();
        for copy in CopyId::BOTH {
            assert!(insider.edit_header(&mut image, copy, |_| ()));
            assert!(insider.edit_root(&mut image, copy, |_| ()));
        }
        assert_ne!(image, before);
        assert_eq!(opens(image.clone()).unwrap(), 2);
        // Only the copy that the newest root counts: the other one's digest would be off.
        let opened: Vec<_> = CopyId::BOTH
            .into_iter()
            .filter(|copy| {
                let mut image = image.clone();
                let edited = insider.edit_tag_page(&mut image, GroupNo(0), *copy, |_| ());
                edited && opens(image).is_ok()
            })
            .collect();
        assert!(!opened.is_empty(), "no tag page can be sealed again");
    }

    #[test]
    fn an_edit_is_seen_by_the_code_behind_the_seal() {
        let original = image();
        let insider = Insider::new(&original, &key()).unwrap();
        let mut image = original.clone();
        for copy in CopyId::BOTH {
            insider.edit_root(&mut image, copy, |body| body.fill(0xff));
        }
        let error = opens(image).unwrap_err();
        assert!(matches!(error, OpenError::Damaged(crate::Damage::Root { .. })), "{error:?}");
        // A header's second of creation, at byte 72: nobody but the MAC minds.
        let mut image = original.clone();
        assert!(insider.edit_header(&mut image, CopyId::A, |bytes| bytes[72] ^= 1));
        assert_eq!(opens(image).unwrap(), 2);
        // Its copy number, at byte 56: no header of this file is left.
        let mut image = original;
        for copy in CopyId::BOTH {
            assert!(insider.edit_header(&mut image, copy, |bytes| bytes[56] = 9));
        }
        assert!(matches!(opens(image).unwrap_err(), OpenError::HeaderLost));
    }
}
