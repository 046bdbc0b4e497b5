//! Wrapping keys with keys: AES-256-GCM-SIV over 32 bytes, bound to what the wrapped key is.

use std::io;

use zeroize::Zeroizing;

use super::page::{Cipher, NotAuthentic};
use crate::secret::{Arena, SecretKey};

/// A wrapped 32-byte key as it stands in the header: 60 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct WrappedKey {
    pub(crate) nonce: [u8; 12],
    pub(crate) ciphertext: [u8; 32],
    pub(crate) tag: [u8; 16],
}

/// wrap[wrapping key, nonce](binding, key).
pub(crate) fn wrap(
    wrapping: &SecretKey,
    nonce: [u8; 12],
    binding: &[u8],
    key: &SecretKey,
) -> WrappedKey {
    let mut ciphertext = *key.expose();
    let tag = Cipher::new(wrapping).seal_in_place(&nonce, binding, &mut ciphertext);
    WrappedKey { nonce, ciphertext, tag }
}

/// unwrap[wrapping key](binding, wrapped) -> key.
///
/// # Errors
/// `Ok(Err(NotAuthentic))` where the wrapped key is not this one's; `Err` where key memory is full.
pub(crate) fn unwrap(
    arena: &Arena,
    wrapping: &SecretKey,
    binding: &[u8],
    wrapped: &WrappedKey,
) -> io::Result<Result<SecretKey, NotAuthentic>> {
    let mut key = Zeroizing::new(wrapped.ciphertext);
    let opened = Cipher::new(wrapping).open_in_place(
        &wrapped.nonce,
        binding,
        &wrapped.tag,
        key.as_mut_slice(),
    );
    match opened {
        Ok(()) => arena.keep(&key).map(Ok),
        Err(error) => Ok(Err(error)),
    }
}
