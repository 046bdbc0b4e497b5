//! A sealed record page: 32 bytes of head in the clear, 4064 bytes sealed. Tag pages, root records
//! and pages of the clean index all look like this from outside.

use super::associated_data::{Place, associated_data};
use crate::crypto::page::{Cipher, NotAuthentic};
use crate::layout::PAGE_SIZE;
use crate::secret::SecretKey;
use crate::units::{Epoch, FileId};

/// Bytes in the clear at the front: epoch u32, nonce 12, tag 16.
pub(crate) const HEAD_SIZE: usize = 32;

/// A record page as it lies in the file: nothing in it is to be believed before it is opened.
#[derive(Clone)]
pub(crate) struct SealedRecord(Box<[u8; PAGE_SIZE]>);

/// The sealed part of a record, authentic.
pub(crate) struct Body(Box<[u8; PAGE_SIZE]>);

impl SealedRecord {
    /// Room to read a record page into.
    pub(crate) fn blank() -> Self {
        Self(Box::new([0; PAGE_SIZE]))
    }

    pub(crate) fn bytes(&self) -> &[u8; PAGE_SIZE] {
        &self.0
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8; PAGE_SIZE] {
        &mut self.0
    }

    /// The epoch that claims to have sealed it.
    pub(crate) fn epoch(&self) -> Epoch {
        let (epoch, _) = self.0.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
        Epoch(u32::from_le_bytes(*epoch))
    }

    /// Its tag: what the digest and the clean index know a tag page by.
    pub(crate) fn tag(&self) -> [u8; 16] {
        let mut tag = [0; 16];
        tag.copy_from_slice(&self.bytes()[16..32]);
        tag
    }

    fn nonce(&self) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce.copy_from_slice(&self.bytes()[4..16]);
        nonce
    }

    /// Opens the record with the key of its epoch, as what stands at `place`.
    ///
    /// # Errors
    /// [`NotAuthentic`].
    pub(crate) fn open(
        &self,
        key: &SecretKey,
        file_id: FileId,
        place: Place,
    ) -> Result<Body, NotAuthentic> {
        let mut page = self.0.clone();
        let associated_data = associated_data(file_id, self.epoch(), place);
        let (nonce, tag) = (self.nonce(), self.tag());
        let bytes: &mut [u8; PAGE_SIZE] = &mut page;
        let body = &mut bytes[HEAD_SIZE..];
        Cipher::new(key).open_in_place(&nonce, &associated_data, &tag, body)?;
        Ok(Body(page))
    }
}

impl Body {
    /// Zeroed room for a record's fields.
    pub(crate) fn blank() -> Self {
        Self(Box::new([0; PAGE_SIZE]))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        let page: &[u8; PAGE_SIZE] = &self.0;
        &page[HEAD_SIZE..]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        let page: &mut [u8; PAGE_SIZE] = &mut self.0;
        &mut page[HEAD_SIZE..]
    }

    /// Seals the record in place: the plain fields are gone afterwards.
    pub(crate) fn seal(
        self,
        key: &SecretKey,
        nonce: [u8; 12],
        file_id: FileId,
        epoch: Epoch,
        place: Place,
    ) -> SealedRecord {
        let mut boxed = self.0;
        let page: &mut [u8; PAGE_SIZE] = &mut boxed;
        let associated_data = associated_data(file_id, epoch, place);
        let tag = Cipher::new(key).seal_in_place(&nonce, &associated_data, &mut page[HEAD_SIZE..]);
        page[..4].copy_from_slice(&epoch.0.to_le_bytes());
        page[4..16].copy_from_slice(&nonce);
        page[16..32].copy_from_slice(&tag);
        SealedRecord(boxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Arena;
    use crate::units::GroupNo;
    use zeroize::Zeroizing;

    #[test]
    fn a_record_opens_only_at_its_place_and_in_its_file() {
        let key = Arena::new().unwrap().keep(&Zeroizing::new([1; 32])).unwrap();
        let (file, place) = (FileId([2; 16]), Place::TagPage(GroupNo(3)));
        let mut body = Body::blank();
        body.bytes_mut()[7] = 9;
        let sealed = body.seal(&key, [4; 12], file, Epoch(5), place);
        assert_eq!(sealed.epoch(), Epoch(5));
        assert_eq!(sealed.open(&key, file, place).map(|body| body.bytes()[7]), Ok(9));
        let elsewhere = Place::TagPage(GroupNo(4));
        assert_eq!(sealed.open(&key, file, elsewhere).map(drop), Err(NotAuthentic));
        assert_eq!(sealed.open(&key, FileId([3; 16]), place).map(drop), Err(NotAuthentic));
        assert_eq!(sealed.open(&key, file, Place::IndexFrom(3)).map(drop), Err(NotAuthentic));
    }
}
