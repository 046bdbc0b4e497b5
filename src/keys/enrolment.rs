//! A new slot, up to its secret: what a credential wants stored, in the slot that will hold it.
//! Commitment and wrapped keys come from the hierarchy.

use super::credential::{Credential, NewSlot, SlotFacts, SlotSecret};
use super::terms::Terms;
use crate::crypto::wrap::WrappedKey;
use crate::error::OpenError;
use crate::format::key_slot::{KeySlot, Role};
use crate::random;
use crate::units::FileId;

/// A slot made with `credential` at `now` (Unix seconds), and its secret. Commitment, wrapped key
/// and escrow are blank.
///
/// # Errors
/// The credential can't make a slot, or the system gave no randomness.
pub(super) fn new_slot(
    credential: &dyn Credential,
    file_id: FileId,
    (id, role, label): (u32, Role, [u8; 32]),
    now: u64,
    terms: &Terms,
) -> Result<(KeySlot, SlotSecret), OpenError> {
    let salt = random::array().map_err(OpenError::io("making a salt"))?;
    let facts = SlotFacts { file_id, id, label: &label, salt: &salt };
    let NewSlot { kdf, blob, secret } = credential.make(facts, terms)?;
    let blank = WrappedKey::default();
    let slot = KeySlot {
        id,
        kind: credential.kind(),
        role,
        kdf,
        salt,
        commitment: [0; 32],
        wrapped: blank,
        escrow: blank,
        label,
        created: now,
        not_after: 0,
        blob,
    };
    Ok((slot, secret))
}
