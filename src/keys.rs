//! Floor 5: from a credential to the data keys (docs/keys.md). A credential gives a slot secret,
//! the slot secret unwraps the admin or root key, the root key vouches for the whole header and
//! unwraps the data keys. Nothing here reads or writes a file: a change of slots, policy or keys
//! takes what is unlocked and gives what a header commit is to make durable.

mod admin_key;
mod all_of;
mod change;
mod credential;
mod enrolment;
pub(crate) mod epochs;
mod hierarchy;
mod hint;
mod key_file;
mod keyring;
mod passphrase;
mod provider;
mod raw_key;
mod recovery_code;
mod revoke;
mod root_key;
mod slots;
mod status;
mod terms;
mod wrapping;

pub use all_of::AllOf;
pub use credential::{Credential, SlotSecret};
pub use hint::SlotHint;
pub use key_file::KeyFile;
pub use passphrase::{KdfLimits, Passphrase};
pub use provider::{KeyProvider, ProviderSlot};
pub use raw_key::RawKey;
pub use recovery_code::{RecoveryCode, Revealed};
pub use revoke::Revoked;
pub use slots::{SlotInfo, SlotSpec};
pub use status::{Due, EpochInfo, HeaderCopies, KeyStatus};

pub(crate) use admin_key::AdminKey;
pub(crate) use change::Change;
pub(crate) use hierarchy::{Unlocked, create, opens, unlock, unlock_admin};
#[cfg(feature = "testkit")]
pub(crate) use keyring::DataKey;
pub(crate) use keyring::Keyring;
#[cfg(feature = "testkit")]
pub(crate) use passphrase::kdf_runs;
#[cfg(feature = "tpm")]
pub(crate) use passphrase::{PIN_COST, pin_value};
pub(crate) use slots::list as list_slots;
pub(crate) use terms::Terms;

#[cfg(test)]
mod tests;
