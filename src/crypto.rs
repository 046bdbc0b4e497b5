//! Floor 3: the primitives with strongroom's conventions, and the only room that sees
//! `aes_gcm_siv`, `aws_lc_rs` and `blake3`. No I/O and no policy: bytes and keys in, bytes and keys out.
//!
//! There is no choice of cipher: the format version is the cipher suite. [`page`] is the one place
//! that picks between implementations of the same AES-256-GCM-SIV bytes.

pub(crate) mod derive;
pub(crate) mod digest;
pub(crate) mod hash;
pub(crate) mod mac;
pub(crate) mod page;
pub(crate) mod wrap;
