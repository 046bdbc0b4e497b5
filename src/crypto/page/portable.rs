//! The crate `aes-gcm-siv`: runs everywhere, and is what the other implementations are held to.

use aes_gcm_siv::aead::inout::InOutBuf;
use aes_gcm_siv::aead::{AeadInOut, KeyInit};
use aes_gcm_siv::{Aes256GcmSiv, Nonce, Tag};

use super::NotAuthentic;

#[derive(Debug)]
pub(super) struct Portable(Aes256GcmSiv);

impl Portable {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self(Aes256GcmSiv::new(key.into()))
    }

    pub(super) fn seal(
        &self,
        nonce: &[u8; 12],
        associated_data: &[u8],
        plain: &[u8],
        out: &mut [u8],
    ) -> [u8; 16] {
        let Ok(buffer) = InOutBuf::new(plain, out) else { unreachable_length() };
        self.seal_buffer(nonce, associated_data, buffer)
    }

    pub(super) fn seal_in_place(
        &self,
        nonce: &[u8; 12],
        associated_data: &[u8],
        buffer: &mut [u8],
    ) -> [u8; 16] {
        self.seal_buffer(nonce, associated_data, buffer.into())
    }

    fn seal_buffer(
        &self,
        nonce: &[u8; 12],
        associated_data: &[u8],
        buffer: InOutBuf<'_, '_, u8>,
    ) -> [u8; 16] {
        match self.0.encrypt_inout_detached(&Nonce::from(*nonce), associated_data, buffer) {
            Ok(tag) => tag.into(),
            Err(_) => unreachable_length(),
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
        let Ok(buffer) = InOutBuf::new(sealed, &mut *out) else { unreachable_length() };
        let (nonce, tag) = (Nonce::from(*nonce), Tag::from(*tag));
        let opened = self.0.decrypt_inout_detached(&nonce, associated_data, buffer, &tag);
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
        let (nonce, tag) = (Nonce::from(*nonce), Tag::from(*tag));
        let inout = InOutBuf::from(&mut *buffer);
        let opened = self.0.decrypt_inout_detached(&nonce, associated_data, inout, &tag);
        opened.map_err(|_| {
            buffer.fill(0);
            NotAuthentic
        })
    }
}

// RFC 8452 limits a message to 2^36 bytes and both buffers are of one length: every caller passes
// pages or keys.
fn unreachable_length() -> ! {
    unreachable!("pages and keys are shorter than 2^36 bytes, and buffers match")
}
