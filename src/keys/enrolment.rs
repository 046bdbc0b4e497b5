//! One credential and one slot: making the slot, and finding the slot that a credential opens.
//! The only place that asks a [`Credential`] for a slot secret.

use std::io;

use zeroize::Zeroizing;

use super::credential::{Credential, NewSlot, Refusal, SlotFacts, SlotSecret, SlotView};
use super::slots;
use super::wrapping::{SLOT_ESCROW, SLOT_KEY, binding, wrap_fresh};
use super::{SlotHint, Terms};
use crate::crypto::derive::{self, Purpose};
use crate::crypto::mac;
use crate::crypto::wrap::WrappedKey;
use crate::error::{KeyError, OpenError, SlotRefused};
use crate::format::header::Header;
use crate::format::key_slot::{KeySlot, LABEL_SIZE, Role};
use crate::random;
use crate::secret::{Arena, SecretKey};
use crate::units::FileId;

/// A slot's two derived values.
struct SlotKeys {
    wrap: SecretKey,
    commitment: Zeroizing<[u8; 32]>,
}

fn slot_keys(
    arena: &Arena,
    secret: &SlotSecret,
    slot: &KeySlot,
    file_id: FileId,
) -> io::Result<SlotKeys> {
    let [fixed, salt, blob] = slot.binding(file_id);
    let parts = [secret.expose().as_slice(), &fixed, &salt, &blob];
    let wrap = derive::key(arena, Purpose::SlotWrap, &parts)?;
    Ok(SlotKeys { wrap, commitment: derive::bytes(Purpose::SlotCommitment, &parts) })
}

/// What a new slot is to be, whatever its credential.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) id: u32,
    pub(super) role: Role,
    pub(super) label: [u8; LABEL_SIZE],
    pub(super) created: u64,
    pub(super) not_after: u64,
}

/// What a new slot wraps, and what escrows its wrap key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contents<'a> {
    /// The admin key for an admin slot, the root key for a data slot.
    pub(super) key: &'a SecretKey,
    pub(super) escrow_key: &'a SecretKey,
}

/// Makes a slot for a credential: fresh salt, commitment, wrapped key and escrow.
///
/// # Errors
/// The policy of `header` doesn't allow it, the credential can't make a slot, or the system gave
/// no randomness or memory.
pub(super) fn enrol(
    arena: &Arena,
    header: &Header,
    provider: &dyn Credential,
    terms: &Terms,
    plan: Plan,
    contents: Contents<'_>,
) -> Result<KeySlot, KeyError> {
    slots::check_kind(header, provider.kind())?; // before anybody is asked
    terms.check_credential(provider)?;
    let Plan { id, role, label, created, not_after } = plan;
    let salt = random::array().map_err(OpenError::io("making a salt"))?;
    let facts = SlotFacts { file_id: header.file_id, id, label: &label, salt: &salt };
    let NewSlot { kdf, blob, secret } = provider.make(facts, terms)?;
    slots::check_kdf(header, kdf)?;
    let mut slot = KeySlot {
        id,
        kind: provider.kind(),
        role,
        kdf,
        salt,
        commitment: [0; 32],
        wrapped: WrappedKey::default(),
        escrow: WrappedKey::default(),
        label,
        created,
        not_after,
        blob,
    };
    fill(arena, header.file_id, &secret, contents, &mut slot)
        .map_err(OpenError::io("making the keys of a slot"))?;
    Ok(slot)
}

fn fill(
    arena: &Arena,
    file_id: FileId,
    secret: &SlotSecret,
    contents: Contents<'_>,
    slot: &mut KeySlot,
) -> io::Result<()> {
    let keys = slot_keys(arena, secret, slot, file_id)?;
    slot.commitment = *keys.commitment;
    let Contents { key, escrow_key } = contents;
    slot.wrapped = wrap_fresh(&keys.wrap, &binding(file_id, SLOT_KEY, slot.id), key)?;
    slot.escrow = wrap_fresh(escrow_key, &binding(file_id, SLOT_ESCROW, slot.id), &keys.wrap)?;
    Ok(())
}

/// The slot that a credential opens, and its wrap key.
///
/// # Errors
/// [`OpenError::WrongKey`] where no slot of its kind commits to it, [`SlotRefused::NoSuchSlot`]
/// where the hint leaves none to try, or what the provider says.
pub(super) fn find<'a>(
    arena: &Arena,
    file_id: FileId,
    all: impl Iterator<Item = &'a KeySlot>,
    provider: &dyn Credential,
    terms: &Terms,
) -> Result<(&'a KeySlot, SecretKey), OpenError> {
    terms.check_credential(provider)?;
    let (mut refused, mut tried) = (None, false);
    for slot in all.filter(|slot| slot.kind == provider.kind() && terms.hint.fits(slot)) {
        tried = true;
        let secret = match provider.slot_secret(SlotView::of(slot, file_id), terms) {
            Ok(secret) => secret,
            Err(Refusal::NotMine) => continue,
            // Another slot may be this credential's.
            Err(Refusal::GoOn(error)) => {
                refused.get_or_insert(error);
                continue;
            }
            Err(Refusal::Stop(error)) => return Err(error),
        };
        let keys = slot_keys(arena, &secret, slot, file_id)
            .map_err(OpenError::io("reserving key memory"))?;
        // The commitment first: AES-GCM-SIV alone could be made to open under several keys.
        if mac::equal(&keys.commitment, &slot.commitment) {
            return Ok((slot, keys.wrap));
        }
    }
    if !tried && terms.hint != SlotHint::default() {
        return Err(SlotRefused::NoSuchSlot.into());
    }
    Err(refused.unwrap_or(OpenError::WrongKey))
}
