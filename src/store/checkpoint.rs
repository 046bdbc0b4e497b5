//! The checkpoint token of the durable state.

use super::Store;
use crate::error::StoreError;
use crate::format::checkpoint::CheckpointToken;

impl Store {
    /// # Errors
    /// The store can't be used, or has made nothing durable that it knows of.
    pub(crate) fn checkpoint_token(&self) -> Result<CheckpointToken, StoreError> {
        self.check_usable()?;
        let root = self.state().durable.root.clone();
        let keyring = self.keyring();
        let no_key = StoreError::Misuse("a root record under a data key that is gone");
        let key = keyring.get(root.epoch).ok_or(no_key)?;
        Ok(CheckpointToken::of(&root, &key.digest))
    }
}
