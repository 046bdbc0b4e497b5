//! Floor 5: from a credential to the data keys (docs/keys.md). A credential gives a slot secret,
//! the slot secret unwraps the admin or root key, the root key vouches for the whole header and
//! unwraps the data keys. Nothing here reads or writes a file.

mod all_of;
mod credential;
pub(crate) mod epochs;
mod hierarchy;
mod key_file;
mod keyring;
mod passphrase;
mod provider;
mod raw_key;
mod recovery_code;
mod root_key;
mod terms;
mod wrapping;

pub use all_of::AllOf;
pub use credential::{Credential, SlotSecret};
pub use key_file::KeyFile;
pub use passphrase::{KdfLimits, Passphrase};
pub use provider::{KeyProvider, ProviderSlot};
pub use raw_key::RawKey;
pub use recovery_code::{RecoveryCode, Revealed};

pub(crate) use hierarchy::{Unlocked, create, unlock};
#[cfg(feature = "testkit")]
pub(crate) use keyring::DataKey;
pub(crate) use keyring::Keyring;
pub(crate) use terms::Terms;
