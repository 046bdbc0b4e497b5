//! Changes of slots and policy by an administrator: what is unlocked in, what the next header
//! commit is to make durable out. Each is one commit, so a crash leaves the old table or the new
//! one. The rules of the table are in `slots`.

use super::admin_key::AdminKey;
use super::credential::Credential;
use super::enrolment::{self, Contents, Plan};
use super::slots::{self, SlotSpec};
use super::{Terms, Unlocked};
use crate::error::{KeyError, OpenError};
use crate::format::anchor_binding::AnchorBinding;
use crate::format::header::Header;
use crate::format::key_slot::{KeySlot, Role};
use crate::format::policy::Policy;
use crate::units::SlotId;

/// An administrator at work on what is unlocked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<'a> {
    pub(crate) unlocked: &'a Unlocked,
    pub(crate) admin: &'a AdminKey,
    pub(crate) terms: &'a Terms,
}

impl Change<'_> {
    /// Adds a slot for a credential.
    ///
    /// # Errors
    /// [`KeyError`] by the rules of the table, the policy, or as the provider says.
    pub(crate) fn add(
        &self,
        spec: &SlotSpec,
        provider: &dyn Credential,
    ) -> Result<(Unlocked, SlotId), KeyError> {
        self.check_clock()?;
        let (mut header, now) = self.begin()?;
        slots::free_place(&mut header)?; // before a key derivation is paid for
        let label = slots::label_bytes(&spec.label)?;
        slots::check_label(&header, &label, None)?;
        let not_after = slots::check_date(spec.not_after, now)?;
        let id = slots::take_id(&mut header);
        let plan = Plan { id, role: spec.role, label, created: now, not_after };
        let slot = self.enrol(&header, plan, provider)?;
        *slots::free_place(&mut header)? = Some(slot);
        Ok((self.finish(header)?, SlotId(id)))
    }

    /// Puts another credential in a slot's place: role, label and date stay, the number is new.
    ///
    /// # Errors
    /// As [`Change::add`].
    pub(crate) fn replace(
        &self,
        id: SlotId,
        provider: &dyn Credential,
    ) -> Result<(Unlocked, SlotId), KeyError> {
        self.check_clock()?;
        let (mut header, now) = self.begin()?;
        let KeySlot { role, label, not_after, .. } = *slots::find(&header, id)?;
        slots::check_date(Some(not_after).filter(|date| *date != 0), now)?;
        let new_id = slots::take_id(&mut header);
        let plan = Plan { id: new_id, role, label, created: now, not_after };
        let slot = self.enrol(&header, plan, provider)?;
        *slots::place_of(&mut header, id)? = Some(slot);
        Ok((self.finish(header)?, SlotId(new_id)))
    }

    /// Takes a slot away, and nothing else: its holder may have kept the keys behind it.
    ///
    /// # Errors
    /// [`KeyError::UnknownSlot`], [`KeyError::LastAdmin`], [`KeyError::LastData`],
    /// [`KeyError::TooFewSlots`].
    pub(crate) fn remove(&self, id: SlotId) -> Result<Unlocked, KeyError> {
        let (mut header, _) = self.begin()?;
        *slots::place_of(&mut header, id)? = None;
        self.finish(header)
    }

    /// Gives a slot another label.
    ///
    /// # Errors
    /// [`KeyError::UnknownSlot`], or what is wrong with the label.
    pub(crate) fn relabel(&self, id: SlotId, label: &[u8]) -> Result<Unlocked, KeyError> {
        let (mut header, _) = self.begin()?;
        let label = slots::label_bytes(label)?;
        slots::find(&header, id)?;
        slots::check_label(&header, &label, Some(id))?;
        if let Some(slot) = slots::place_of(&mut header, id)? {
            slot.label = label;
        }
        self.finish(header)
    }

    /// Gives a slot another last second, or none.
    ///
    /// # Errors
    /// [`KeyError::UnknownSlot`], [`KeyError::AlreadyExpired`], [`KeyError::LastAdmin`].
    pub(crate) fn set_not_after(
        &self,
        id: SlotId,
        not_after: Option<u64>,
    ) -> Result<Unlocked, KeyError> {
        self.check_clock()?;
        let (mut header, now) = self.begin()?;
        let not_after = slots::check_date(not_after, now)?;
        if let Some(slot) = slots::place_of(&mut header, id)? {
            slot.not_after = not_after;
        }
        self.finish(header)
    }

    /// Lays down another policy.
    ///
    /// # Errors
    /// [`KeyError::BadPolicy`], or [`KeyError::TooFewSlots`] where there are fewer than it asks.
    pub(crate) fn set_policy(&self, policy: &Policy) -> Result<Unlocked, KeyError> {
        let (mut header, _) = self.begin()?;
        policy.check().map_err(KeyError::BadPolicy)?;
        header.policy = *policy;
        self.finish(header)
    }

    /// Binds the file to an anchor, changes its policy, or unbinds it.
    ///
    /// # Errors
    /// As the rules of the table say it.
    pub(crate) fn set_anchor(&self, anchor: Option<AnchorBinding>) -> Result<Unlocked, KeyError> {
        let (mut header, _) = self.begin()?;
        header.anchor = anchor;
        self.finish(header)
    }

    /// The header to change, and the time.
    pub(super) fn begin(&self) -> Result<(Header, u64), KeyError> {
        let mut header = self.unlocked.header.clone();
        let now = slots::judged_time(&header, self.terms.clock.now_s());
        header.clock_high_water = now;
        Ok((header, now))
    }

    // Only where a date is written: a clock behind must not keep anybody from revoking.
    fn check_clock(&self) -> Result<(), KeyError> {
        slots::check_clock(&self.unlocked.header, self.terms.clock.now_s())
    }

    /// A slot under the keys as they are.
    fn enrol(
        &self,
        header: &Header,
        plan: Plan,
        provider: &dyn Credential,
    ) -> Result<KeySlot, KeyError> {
        let Unlocked { arena, root, .. } = self.unlocked;
        let escrow_key = self.admin.slot_escrow_key(arena, root).map_err(no_memory())?;
        let key = match plan.role {
            Role::Admin => &self.admin.key,
            Role::Data => &root.key,
        };
        let contents = Contents { key, escrow_key: &escrow_key };
        enrolment::enrol(arena, header, provider, self.terms, plan, contents)
    }

    fn finish(&self, header: Header) -> Result<Unlocked, KeyError> {
        Ok(Unlocked { header: signed(header, self.admin)?, ..self.unlocked.clone() })
    }
}

pub(super) fn no_memory() -> impl FnOnce(std::io::Error) -> OpenError {
    OpenError::io("reserving key memory")
}

/// The last step of every change: the rules of the table, one admin generation more, the
/// signature.
pub(super) fn signed(mut header: Header, admin: &AdminKey) -> Result<Header, KeyError> {
    slots::check_table(&header)?;
    header.admin_generation = header.admin_generation.saturating_add(1);
    admin.sign(&mut header);
    Ok(header)
}
