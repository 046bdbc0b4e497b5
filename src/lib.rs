//! An embedded, encrypted key-value store: [redb](https://docs.rs/redb) on a storage backend that
//! seals every page with AES-256-GCM-SIV and survives power loss.

pub mod error;
mod crypto;
mod layout;
pub mod medium;
mod random;
mod secret;
#[cfg(feature = "testkit")]
pub mod testkit;
mod units;
mod wire;

pub use redb;
