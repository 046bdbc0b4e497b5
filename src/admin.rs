//! Floor 7: the administrator's session on an open store: the one way to change key slots and
//! policy. Thin: each call is one header commit of what `keys` makes of the header; one session at
//! a time.

use std::fmt;

use std::sync::Arc;
use std::time::Duration;

use crate::anchor::{ANCHOR_TIMEOUT, Anchor, AskedAnchor};
use crate::error::{KeyError, StoreError};
use crate::format::anchor_binding::AnchorPolicy;
use crate::format::policy::Policy;
use crate::keys::{AdminKey, Change, Credential, Revoked, SlotHint, SlotInfo, SlotSpec, Unlocked};
use crate::store::{AdminSeat, AnchorStatus, Store};
use crate::units::SlotId;

/// May change key slots and policy until it is dropped ([`Database::admin`]). Each call that
/// changes something is one durable header commit: after a crash the old table or the new one,
/// never a mix; an error that isn't [`KeyError::Store`] changed nothing.
///
/// Reads and writes of the database go on meanwhile.
///
/// [`Database::admin`]: crate::Database::admin
pub struct AdminSession<'db> {
    store: &'db Store,
    key: AdminKey,
    anchor_timeout: Duration,
    _seat: AdminSeat<'db>,
}

impl fmt::Debug for AdminSession<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminSession").finish_non_exhaustive()
    }
}

impl<'db> AdminSession<'db> {
    /// # Errors
    /// [`KeyError::SessionActive`], [`KeyError::NotAdmin`], or as an open says it.
    pub(crate) fn start(
        store: &'db Store,
        credential: &dyn Credential,
        hint: SlotHint,
    ) -> Result<Self, KeyError> {
        let seat = store.take_admin_seat()?;
        let key = store.unlock_admin(credential, hint)?;
        Ok(Self { store, key, anchor_timeout: ANCHOR_TIMEOUT, _seat: seat })
    }

    // One header commit; what else came of the change is handed out once it is durable.
    fn commit<T>(
        &self,
        change: impl FnOnce(Change<'_>) -> Result<(Unlocked, T), KeyError>,
    ) -> Result<T, KeyError> {
        let mut result = None;
        self.store.commit_header(|unlocked| {
            let terms = self.store.terms();
            let (next, made) = change(Change { unlocked, admin: &self.key, terms })?;
            result = Some(made);
            Ok::<_, KeyError>(next)
        })?;
        // It returned, so the change was made.
        result.ok_or(KeyError::Store(StoreError::Misuse("a header commit without a change")))
    }

    /// The key slots, in the order of the table.
    #[must_use]
    pub fn slots(&self) -> Vec<SlotInfo> {
        self.store.slots()
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.store.policy()
    }

    /// Gives a credential a slot of its own and returns its number.
    ///
    /// # Errors
    /// [`KeyError::SlotsFull`], [`KeyError::DuplicateLabel`], [`KeyError::LabelTooLong`],
    /// [`KeyError::LabelNotText`], [`KeyError::KindNotAllowed`], [`KeyError::KdfBelowPolicy`],
    /// [`KeyError::AlreadyExpired`], [`KeyError::ClockBehind`], or what the credential says.
    pub fn add(
        &mut self,
        spec: &SlotSpec,
        credential: &dyn Credential,
    ) -> Result<SlotId, KeyError> {
        self.commit(|change| change.add(spec, credential))
    }

    /// Puts another credential in a slot's place, in one commit: a changed passphrase, or another
    /// KDF cost for the same one. Role, label and date stay; the number is a new one, which is
    /// returned. The old credential still opens old copies of the file, and its holder may have
    /// kept the keys: where he is not trusted, revoke.
    ///
    /// # Errors
    /// [`KeyError::UnknownSlot`], or as [`AdminSession::add`].
    pub fn replace(
        &mut self,
        slot: SlotId,
        credential: &dyn Credential,
    ) -> Result<SlotId, KeyError> {
        self.commit(|change| change.replace(slot, credential))
    }

    /// Takes a slot away, and does no more: enough for a credential that nobody else has known.
    /// Where somebody has, use [`AdminSession::revoke_data`] or [`AdminSession::revoke_admin`].
    ///
    /// # Errors
    /// [`KeyError::UnknownSlot`], [`KeyError::LastAdmin`], [`KeyError::LastData`],
    /// [`KeyError::TooFewSlots`].
    pub fn remove(&mut self, slot: SlotId) -> Result<(), KeyError> {
        self.commit(|change| Ok((change.remove(slot)?, ())))
    }

    /// Gives a slot another label.
    ///
    /// # Errors
    /// [`KeyError::UnknownSlot`], [`KeyError::DuplicateLabel`], [`KeyError::LabelTooLong`],
    /// [`KeyError::LabelNotText`].
    pub fn relabel(&mut self, slot: SlotId, label: impl AsRef<[u8]>) -> Result<(), KeyError> {
        self.commit(|change| Ok((change.relabel(slot, label.as_ref())?, ())))
    }

    /// Sets the last second, Unix time, at which a slot's credential is accepted; `None` is never.
    /// One admin slot without a date always stays, and with split roles one data slot, so that no
    /// clock locks everybody out.
    ///
    /// # Errors
    /// [`KeyError::UnknownSlot`], [`KeyError::AlreadyExpired`], [`KeyError::LastAdmin`].
    pub fn set_not_after(
        &mut self,
        slot: SlotId,
        unix_seconds: Option<u64>,
    ) -> Result<(), KeyError> {
        self.commit(|change| Ok((change.set_not_after(slot, unix_seconds)?, ())))
    }

    /// Lays down another policy for all sessions to come. Slots that are there stay.
    ///
    /// # Errors
    /// [`KeyError::BadPolicy`], [`KeyError::TooFewSlots`].
    pub fn set_policy(&mut self, policy: &Policy) -> Result<(), KeyError> {
        self.commit(|change| Ok((change.set_policy(policy)?, ())))
    }

    /// Takes a data slot away and changes the root key: what its holder kept of the old one opens
    /// no header from now on. All other slots stay as they are, their credentials are not needed.
    /// He may have kept the data keys too: see [`Revoked::needs_rotation`].
    ///
    /// # Errors
    /// [`KeyError::UnknownSlot`], [`KeyError::IsAdminSlot`], [`KeyError::LastData`],
    /// [`KeyError::TooFewSlots`].
    pub fn revoke_data(&mut self, slot: SlotId) -> Result<Revoked, KeyError> {
        self.commit(|change| change.revoke_data(slot))
    }

    /// Takes an admin slot away and changes the admin key and the root key. Its holder could open
    /// every other slot of an old copy of the header, so only those slots stay whose credentials
    /// are given in `keep` (this session's own is not among them by itself); all others are
    /// dropped. They are made anew: a passphrase is calibrated again unless it is given with
    /// [`Passphrase::cost`](crate::Passphrase::cost). While credentials are asked, no rotation
    /// begins or ends. See [`Revoked::needs_rotation`].
    ///
    /// # Errors
    /// [`KeyError::UnknownSlot`], [`KeyError::IsDataSlot`], [`KeyError::CannotKeep`],
    /// [`KeyError::LastAdmin`], [`KeyError::LastData`], [`KeyError::TooFewSlots`], what the policy
    /// says of new slots ([`KeyError::KindNotAllowed`], [`KeyError::KdfBelowPolicy`]), or what a
    /// credential says.
    pub fn revoke_admin(
        &mut self,
        slot: SlotId,
        keep: &[(SlotId, &dyn Credential)],
    ) -> Result<Revoked, KeyError> {
        let (key, revoked) = self.commit(|change| {
            let (next, key, revoked) = change.revoke_admin(slot, keep)?;
            Ok((next, (key, revoked)))
        })?;
        self.key = key;
        Ok(revoked)
    }

    /// Binds the file to an anchor: from here on every open takes it
    /// ([`Builder::anchor`](crate::Builder::anchor)), and a file that was put back to an older state
    /// is refused. One anchor serves one file.
    ///
    /// The anchor answers before anything is changed. Should it fail after that, the file is bound
    /// and [`AnchorStatus::is_level`] is false: it is asked again at the next commits. After a
    /// crash the file is bound, or it is not.
    ///
    /// # Errors
    /// [`AnchorError`](crate::AnchorError) in [`KeyError::Open`]: bound already, a policy that never
    /// counts, or the anchor does not answer.
    pub fn bind_anchor(
        &mut self,
        anchor: Arc<dyn Anchor>,
        policy: AnchorPolicy,
    ) -> Result<AnchorStatus, KeyError> {
        let offer = self.store.offer(AskedAnchor { anchor, timeout: self.anchor_timeout })?;
        self.store.bind_anchor(&self.key, &offer, policy)?;
        self.store
            .anchor_status()
            .ok_or(KeyError::Store(StoreError::Misuse("a bind that bound not")))
    }

    /// Changes when the count of a bound file goes up.
    ///
    /// # Errors
    /// [`AnchorError`](crate::AnchorError) in [`KeyError::Open`]: not bound, or a policy that never
    /// counts.
    pub fn set_anchor_policy(&mut self, policy: AnchorPolicy) -> Result<(), KeyError> {
        self.store.rebind(&self.key, Some(policy))
    }

    /// Lets go of the anchor. From here on the file opens without it, and with it no more; a state
    /// that is put back is not noticed. The anchor stays where it stands.
    ///
    /// # Errors
    /// [`AnchorError`](crate::AnchorError) in [`KeyError::Open`]: not bound.
    pub fn unbind_anchor(&mut self) -> Result<(), KeyError> {
        self.store.rebind(&self.key, None)
    }

    /// How long the anchor may take for one answer, 30 seconds unless set, in
    /// [`AdminSession::bind_anchor`] and until the database is closed.
    pub fn anchor_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.anchor_timeout = timeout;
        self
    }

    /// Changes the root key and wraps every data key and slot anew, in one commit that costs the
    /// same for any size of file. No credential changes.
    ///
    /// # Errors
    /// Damage, if an escrow doesn't open.
    pub fn rewrap_root_key(&mut self) -> Result<(), KeyError> {
        self.commit(|change| Ok((change.rewrap_root_key()?, ())))
    }
}
