//! Key providers that come with strongroom, each behind a feature of its name. Each is a
//! [`KeyProvider`](crate::KeyProvider) like one an application writes. Which protects against what,
//! and how each is set up, is in docs/providers.md.
//!
//! Floor 7. Of the house a provider uses the public seam, locked memory, randomness, the passphrase's
//! key derivation for a PIN, and the reading of bytes; no key of a file ever reaches one.

#[cfg(feature = "kms")]
pub mod kms;
#[cfg(feature = "pkcs11")]
pub mod pkcs11;
#[cfg(feature = "tpm")]
pub mod tpm;
