//! The admin key: signs slots and policy, and keeps the escrows by which an administrator reaches
//! the root key and, with it, the wrap keys of all slots.

use std::io;

use super::root_key::RootKey;
use super::wrapping::{ROOT_ESCROW, binding, wrap_fresh};
use crate::crypto::derive::{self, Purpose};
use crate::crypto::mac;
use crate::crypto::page::NotAuthentic;
use crate::crypto::wrap::{self, WrappedKey};
use crate::format::header::Header;
use crate::secret::{Arena, SecretKey};
use crate::units::FileId;

/// The admin key and what it gives.
#[derive(Debug)]
pub(crate) struct AdminKey {
    pub(super) key: SecretKey,
    mac: SecretKey,
    root_escrow: SecretKey,
    file_id: FileId,
}

impl AdminKey {
    /// # Errors
    /// Key memory is full.
    pub(super) fn new(arena: &Arena, key: SecretKey, file_id: FileId) -> io::Result<Self> {
        let bytes = key.expose();
        let parts = [bytes.as_slice(), &file_id.0];
        Ok(Self {
            mac: derive::key(arena, Purpose::AdminMac, &parts)?,
            root_escrow: derive::key(arena, Purpose::RootEscrow, &parts)?,
            key,
            file_id,
        })
    }

    /// Vouches for slots and policy, as one change more.
    pub(super) fn sign(&self, header: &mut Header) {
        header.admin_mac = header.admin_mac(&self.mac);
    }

    /// Whether an administrator once signed these slots and this policy.
    pub(super) fn has_signed(&self, header: &Header) -> bool {
        mac::equal(&header.admin_mac(&self.mac), &header.admin_mac)
    }

    /// The root key for a combined admin slot.
    ///
    /// # Errors
    /// The system gave no randomness.
    pub(super) fn escrow_root(&self, root: &RootKey) -> io::Result<WrappedKey> {
        wrap_fresh(&self.root_escrow, &binding(self.file_id, ROOT_ESCROW, 0), &root.key)
    }

    /// The root key out of its escrow.
    ///
    /// # Errors
    /// `Ok(Err(_))` where the escrow was altered; `Err` where key memory is full.
    pub(super) fn open_root_escrow(
        &self,
        arena: &Arena,
        escrow: &WrappedKey,
    ) -> io::Result<Result<SecretKey, NotAuthentic>> {
        wrap::unwrap(arena, &self.root_escrow, &binding(self.file_id, ROOT_ESCROW, 0), escrow)
    }

    /// What wraps the slots' wrap keys: neither an admin nor a data credential alone gets there
    /// where roles are split.
    ///
    /// # Errors
    /// Key memory is full.
    pub(super) fn slot_escrow_key(&self, arena: &Arena, root: &RootKey) -> io::Result<SecretKey> {
        let (admin, root) = (self.key.expose(), root.key.expose());
        let parts = [admin.as_slice(), root.as_slice(), &self.file_id.0];
        derive::key(arena, Purpose::SlotEscrow, &parts)
    }
}
