//! What unlocks a slot, as the hierarchy sees it: a credential makes what a new slot stores, and
//! gives the slot's secret again later. It never sees the admin or root key: commitment, binding
//! and wrapping are the same for all kinds.

use std::fmt;

use zeroize::Zeroizing;

use super::terms::Terms;
use crate::error::OpenError;
use crate::format::key_slot::{Kdf, KeySlot, SlotKind};
use crate::random;
use crate::units::FileId;

/// A credential: something that can make a key slot and open it again.
///
/// [`RawKey`](crate::RawKey), [`KeyFile`](crate::KeyFile), [`Passphrase`](crate::Passphrase),
/// [`RecoveryCode`](crate::RecoveryCode), [`AllOf`](crate::AllOf), and every
/// `Arc` of a [`KeyProvider`](crate::KeyProvider), which is the trait for applications to
/// implement; this one is sealed.
pub trait Credential: fmt::Debug + Send + Sync + Sealed {}

/// What a credential does; out of reach for applications.
pub trait Sealed {
    /// The kind of slot this credential makes and opens.
    #[doc(hidden)]
    fn kind(&self) -> SlotKind;

    /// What a new slot stores, and its secret.
    #[doc(hidden)]
    fn make(&self, facts: SlotFacts<'_>, terms: &Terms) -> Result<NewSlot, OpenError>;

    /// The secret of a slot of this credential's kind. Whether it is the right one is told by the
    /// slot's commitment.
    #[doc(hidden)]
    fn slot_secret(&self, slot: SlotView<'_>, terms: &Terms) -> Result<SlotSecret, Refusal>;

    /// Whether the memory that holds the credential is locked against swapping, as far as it is
    /// strongroom's memory.
    #[doc(hidden)]
    fn is_locked(&self) -> bool;
}

/// 32 bytes that only the holder of a credential can come up with for one slot. On the heap, so
/// that moving it leaves no copy; wiped when dropped.
pub struct SlotSecret(Box<Zeroizing<[u8; 32]>>);

impl SlotSecret {
    /// Copies the secret; `None` where it is not 32 bytes. The caller's copy is the caller's to
    /// wipe.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 32] = bytes.try_into().ok()?;
        let mut secret = Box::new(Zeroizing::new([0; 32]));
        secret.copy_from_slice(bytes);
        Some(Self(secret))
    }

    /// The bytes, for a provider to wrap.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    pub(super) fn random() -> std::io::Result<Self> {
        let mut secret = Box::new(Zeroizing::new([0; 32]));
        random::fill(secret.as_mut_slice())?;
        Ok(Self(secret))
    }
}

impl From<Zeroizing<[u8; 32]>> for SlotSecret {
    fn from(bytes: Zeroizing<[u8; 32]>) -> Self {
        let mut secret = Box::new(Zeroizing::new([0; 32]));
        secret.copy_from_slice(bytes.as_slice());
        Self(secret)
    }
}

impl fmt::Debug for SlotSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SlotSecret")
    }
}

/// What is settled about a slot before a credential is asked for anything.
#[derive(Clone, Copy, Debug)]
pub struct SlotFacts<'a> {
    pub(crate) file_id: FileId,
    pub(crate) id: u32,
    pub(crate) label: &'a [u8; 32],
    pub(crate) salt: &'a [u8; 32],
}

/// What a credential puts into a new slot, and the secret that goes with it.
#[derive(Debug)]
pub struct NewSlot {
    pub(crate) kdf: Kdf,
    pub(crate) blob: Vec<u8>,
    pub(crate) secret: SlotSecret,
}

/// What a credential sees of a slot. Nothing in it is authentic yet.
#[derive(Clone, Copy, Debug)]
pub struct SlotView<'a> {
    pub(crate) facts: SlotFacts<'a>,
    pub(crate) kdf: Kdf,
    pub(crate) blob: &'a [u8],
}

impl<'a> SlotView<'a> {
    pub(crate) fn of(slot: &'a KeySlot, file_id: FileId) -> Self {
        let facts = SlotFacts { file_id, id: slot.id, label: &slot.label, salt: &slot.salt };
        Self { facts, kdf: slot.kdf, blob: &slot.blob }
    }
}

/// Why a credential gives no secret for a slot, by what is to be done about the others.
#[derive(Debug)]
pub enum Refusal {
    /// The slot belongs to another credential: look further, nothing is wrong.
    NotMine,
    /// This slot can't be opened, another one may: look further, and say why if none can.
    GoOn(OpenError),
    /// Asking again would do harm, or waste time: an attempt at a PIN counts, a dead service stays
    /// dead.
    Stop(OpenError),
}

impl From<OpenError> for Refusal {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::KdfTooExpensive { .. } | OpenError::KdfTooCheap => Self::GoOn(error),
            error => Self::Stop(error),
        }
    }
}
