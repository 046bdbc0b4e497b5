//! The seam between strongroom and whatever holds a key. A provider turns a credential into a slot
//! secret and never sees the root key: commitment, binding and wrapping are the same for all.

use std::fmt;

use zeroize::Zeroizing;

use super::passphrase::KdfLimits;
use crate::error::OpenError;
use crate::format::key_slot::{Kdf, KeySlot, SlotKind};

/// 32 bytes that only the holder of a credential can come up with for one slot.
pub(crate) type SlotSecret = Zeroizing<[u8; 32]>;

/// A credential: something that can make a key slot and open it again.
///
/// Implemented by [`RawKey`](crate::RawKey), [`KeyFile`](crate::KeyFile) and
/// [`Passphrase`](crate::Passphrase). Sealed for now: the seam opens to applications once slots,
/// roles and timeouts are settled.
pub trait Credential: fmt::Debug + Send + Sync + Sealed {}

/// What a provider does; private until the trait opens to applications.
pub trait Sealed {
    /// The kind of slot this credential makes and opens.
    #[doc(hidden)]
    fn kind(&self) -> SlotKind;

    /// How much work a new slot's secret shall cost.
    #[doc(hidden)]
    fn choose_kdf(&self, limits: &KdfLimits) -> Result<NewSlot, OpenError>;

    /// The secret of a slot of this provider's kind.
    #[doc(hidden)]
    fn slot_secret(&self, slot: SlotView<'_>, limits: &KdfLimits) -> Result<Secret, OpenError>;
}

/// What a provider decides about a new slot.
#[derive(Debug)]
pub struct NewSlot {
    pub(crate) kdf: Kdf,
    pub(crate) blob: Vec<u8>,
}

/// What a provider may see of a slot, not yet authentic.
#[derive(Clone, Copy, Debug)]
pub struct SlotView<'a> {
    pub(crate) slot: &'a KeySlot,
}

/// A slot secret on its way; shows no byte.
pub struct Secret(pub(crate) SlotSecret);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
