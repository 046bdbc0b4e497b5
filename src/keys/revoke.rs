//! Taking keys back: a new root key, and a new admin key where an admin slot goes. One header
//! commit, whatever the size of the file: data keys are random, so they are wrapped anew and no
//! page changes.
//!
//! The slots that stay get the new root key through their escrowed wrap keys, without their
//! credentials. Not where an administrator goes: he could have opened that escrow, and could open
//! it in an old copy of the header for ever. Then every slot that stays is made anew with its
//! credential, and the others are dropped.

use std::sync::Arc;

use super::admin_key::AdminKey;
use super::change::{Change, no_memory, signed};
use super::credential::Credential;
use super::enrolment::{self, Contents, Plan};
use super::root_key::RootKey;
use super::slots::{self, SlotInfo};
use super::wrapping::{SLOT_ESCROW, SLOT_KEY, binding, random_key, wrap_fresh};
use super::{SlotHint, Terms, Unlocked};
use crate::crypto::wrap;
use crate::error::{Damage, KeyError, OpenError};
use crate::format::header::{Header, SLOTS};
use crate::format::key_slot::{KeySlot, Role};
use crate::secret::Arena;
use crate::units::{CopyId, SlotId};

/// What a revocation did, and what it leaves to do.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "the revoked holder may still know the data keys: rotation is needed for new data"]
#[non_exhaustive]
pub struct Revoked {
    /// The slot that was revoked, as it was.
    pub slot: SlotInfo,
    /// Other slots that had to go, because nobody gave their credentials.
    pub dropped: Vec<SlotInfo>,
    /// Whoever held the credential may have kept the data keys. Until the data key is replaced by
    /// one made after the revocation ([`Database::rotate_anew`](crate::Database::rotate_anew)), he
    /// can read, in a copy of the file, data that is written from now on. What he could read before
    /// stays readable to him whatever is done.
    pub needs_rotation: bool,
}

impl Change<'_> {
    /// A new root key, with all data keys and slots wrapped anew. Nobody is revoked.
    ///
    /// # Errors
    /// An escrow or a wrapped key was altered, or the system gave no randomness or memory.
    pub(crate) fn rewrap_root_key(&self) -> Result<Unlocked, KeyError> {
        let (header, _) = self.begin()?;
        self.with_new_root(header)
    }

    /// Takes a data slot away, and gives everybody else a new root key.
    ///
    /// # Errors
    /// [`KeyError::IsAdminSlot`], the rules of the table, or as [`Change::rewrap_root_key`].
    pub(crate) fn revoke_data(&self, id: SlotId) -> Result<(Unlocked, Revoked), KeyError> {
        let (mut header, now) = self.begin()?;
        let slot = slots::find(&header, id)?;
        if slot.role == Role::Admin {
            return Err(KeyError::IsAdminSlot(id));
        }
        let slot = SlotInfo::of(slot, now);
        *slots::place_of(&mut header, id)? = None;
        let unlocked = self.with_new_root(header)?;
        Ok((unlocked, Revoked { slot, dropped: Vec::new(), needs_rotation: true }))
    }

    /// Takes an admin slot away; new admin and root key. Of the others, those in `keep` stay, made
    /// anew with the credentials given, under their numbers and labels.
    ///
    /// # Errors
    /// [`KeyError::IsDataSlot`], [`KeyError::CannotKeep`], the rules of the table, or as the
    /// providers say.
    pub(crate) fn revoke_admin(
        &self,
        id: SlotId,
        keep: &[(SlotId, &dyn Credential)],
    ) -> Result<(Unlocked, AdminKey, Revoked), KeyError> {
        let (mut header, now) = self.begin()?;
        let slot = slots::find(&header, id)?;
        if slot.role == Role::Data {
            return Err(KeyError::IsDataSlot(id));
        }
        let slot = SlotInfo::of(slot, now);
        self.check_keep(&header, id, keep)?;
        let old = std::mem::replace(&mut header.slots, [const { None }; SLOTS]);
        let dropped =
            |slot: &&KeySlot| slot.id != id.0 && !keep.iter().any(|(kept, _)| kept.0 == slot.id);
        let dropped = old.iter().flatten().filter(dropped);
        let dropped = dropped.map(|slot| SlotInfo::of(slot, now)).collect();

        let Unlocked { arena, .. } = self.unlocked;
        let (admin, root) = new_keys(arena, &header)?;
        let escrow_key = admin.slot_escrow_key(arena, &root).map_err(no_memory())?;
        for (place, slot) in old.iter().enumerate() {
            let Some(slot) = slot else { continue };
            let Some((_, provider)) = keep.iter().find(|(id, _)| id.0 == slot.id) else { continue };
            let KeySlot { id, role, label, not_after, .. } = *slot;
            let plan = Plan { id, role, label, created: now, not_after };
            let key = if role == Role::Admin { &admin.key } else { &root.key };
            let contents = Contents { key, escrow_key: &escrow_key };
            let slot = enrolment::enrol(arena, &header, *provider, self.terms, plan, contents)?;
            if let Some(place) = header.slots.get_mut(place) {
                *place = Some(slot);
            }
        }
        let unlocked = self.under(header, root, &admin)?;
        Ok((unlocked, admin, Revoked { slot, dropped, needs_rotation: true }))
    }

    // Each credential must open its slot now: one that doesn't is a mistake, and would lock
    // somebody out.
    fn check_keep(
        &self,
        header: &Header,
        revoked: SlotId,
        keep: &[(SlotId, &dyn Credential)],
    ) -> Result<(), KeyError> {
        let Unlocked { arena, .. } = self.unlocked;
        for (number, (id, provider)) in keep.iter().enumerate() {
            let slot = slots::find(header, *id)?;
            let twice = keep.iter().take(number).any(|(earlier, _)| earlier == id);
            if *id == revoked || twice {
                return Err(KeyError::CannotKeep(*id));
            }
            let terms = Terms { hint: SlotHint::slot(*id), ..*self.terms };
            let one = std::iter::once(slot);
            match enrolment::find(arena, header.file_id, one, *provider, &terms) {
                Ok(_) => {}
                Err(OpenError::WrongKey | OpenError::Slot(_)) => {
                    return Err(KeyError::CannotKeep(*id));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn with_new_root(&self, mut header: Header) -> Result<Unlocked, KeyError> {
        let Unlocked { arena, root: old_root, .. } = self.unlocked;
        let file_id = header.file_id;
        let root = random_key(arena)
            .and_then(|key| RootKey::new(arena, key, file_id))
            .map_err(OpenError::io("making a root key"))?;
        let old_escrow = self.admin.slot_escrow_key(arena, old_root).map_err(no_memory())?;
        let new_escrow = self.admin.slot_escrow_key(arena, &root).map_err(no_memory())?;
        for slot in header.slots.iter_mut().flatten() {
            let escrow_binding = binding(file_id, SLOT_ESCROW, slot.id);
            let wrap_key = wrap::unwrap(arena, &old_escrow, &escrow_binding, &slot.escrow)
                .map_err(no_memory())?
                .map_err(|_| damaged("a slot's escrow was altered"))?;
            let wrapping = OpenError::io("wrapping the root key");
            if slot.role == Role::Data {
                let slot_binding = binding(file_id, SLOT_KEY, slot.id);
                slot.wrapped = wrap_fresh(&wrap_key, &slot_binding, &root.key).map_err(wrapping)?;
            }
            slot.escrow = wrap_fresh(&new_escrow, &escrow_binding, &wrap_key)
                .map_err(OpenError::io("wrapping a slot's key"))?;
        }
        self.under(header, root, self.admin)
    }

    // Everything else that hangs on the root key, wrapped anew; then the signature.
    fn under(
        &self,
        mut header: Header,
        root: RootKey,
        admin: &AdminKey,
    ) -> Result<Unlocked, KeyError> {
        let Unlocked { arena, root: old_root, .. } = self.unlocked;
        for record in &mut header.epochs {
            *record = root.rewrap_data_key(arena, old_root, record, header.file_id)?;
        }
        if header.combined_roles {
            let escrow = admin.escrow_root(&root);
            header.root_escrow = Some(escrow.map_err(OpenError::io("wrapping the root key"))?);
        }
        let header = signed(header, admin)?;
        Ok(Unlocked { header, root: Arc::new(root), ..self.unlocked.clone() })
    }
}

fn new_keys(arena: &Arena, header: &Header) -> Result<(AdminKey, RootKey), KeyError> {
    let file_id = header.file_id;
    let admin = random_key(arena).and_then(|key| AdminKey::new(arena, key, file_id));
    let root = random_key(arena).and_then(|key| RootKey::new(arena, key, file_id));
    let failed = || OpenError::io("making an admin and a root key");
    Ok((admin.map_err(failed())?, root.map_err(failed())?))
}

fn damaged(why: &'static str) -> OpenError {
    OpenError::Damaged(Damage::Header { copy: CopyId::A, why })
}
