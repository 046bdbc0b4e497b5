//! AWS-LC through `aws-lc-rs`, which wipes its key schedule itself.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};

use super::NotAuthentic;

#[derive(Debug)]
pub(super) struct AwsLc(LessSafeKey);

impl AwsLc {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        match UnboundKey::new(&AES_256_GCM_SIV, key) {
            Ok(key) => Self(LessSafeKey::new(key)),
            Err(_) => unreachable!("the key has the algorithm's length"),
        }
    }

    pub(super) fn seal(
        &self,
        nonce: &[u8; 12],
        associated_data: &[u8],
        plain: &[u8],
        out: &mut [u8],
    ) -> [u8; 16] {
        out.copy_from_slice(plain);
        self.seal_in_place(nonce, associated_data, out)
    }

    pub(super) fn seal_in_place(
        &self,
        nonce: &[u8; 12],
        associated_data: &[u8],
        buffer: &mut [u8],
    ) -> [u8; 16] {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let associated_data = Aad::from(associated_data);
        let tag = self.0.seal_in_place_separate_tag(nonce, associated_data, buffer);
        match tag.map(|tag| tag.as_ref().try_into()) {
            Ok(Ok(tag)) => tag,
            _ => unreachable!("pages and keys are shorter than 2^36 bytes, a tag has 16"),
        }
    }

    pub(super) fn open_into(
        &self,
        nonce: &[u8; 12],
        associated_data: &[u8],
        tag: &[u8; 16],
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<(), NotAuthentic> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let associated_data = Aad::from(associated_data);
        let opened = self.0.open_separate_gather(nonce, associated_data, sealed, tag, out);
        opened.map_err(|_| {
            out.fill(0);
            NotAuthentic
        })
    }

    pub(super) fn open_in_place(
        &self,
        nonce: &[u8; 12],
        associated_data: &[u8],
        tag: &[u8; 16],
        buffer: &mut [u8],
    ) -> Result<(), NotAuthentic> {
        let sealed = buffer.to_vec();
        self.open_into(nonce, associated_data, tag, &sealed, buffer)
    }
}
