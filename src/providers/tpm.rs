//! A TPM 2.0 as a key provider, and its counter as an anchor (docs/providers/tpm.md). The slot's
//! secret is sealed in a keyed-hash object that only this TPM opens, for who knows the PIN, and, if
//! asked, in the state that the machine was started in. The sealed object lies in the slot; in the
//! TPM lies nothing, or one storage key that can be destroyed.
//!
//! Secret and slot are sealed together, so that a blob moved to another slot is noticed by the
//! TPM's own cipher. A PIN is tried once: one provider never tries it on the same blob again. The
//! salted session is only as good as the key that it is salted with: its name is compared with the
//! slot's before anything is sent, from the first contact on; that one, at an enrolment, is taken on
//! trust (docs/providers/tpm.md).

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use zeroize::Zeroizing;

use self::connection::{Connection, within};
use self::sealed::{Parent, Pcrs, Sealed};
use self::sealing::Object;
use crate::error::{OpenError, ProviderError};
use crate::format::key_slot::KdfCost;
use crate::keys::{KeyProvider, PIN_COST, ProviderSlot, SlotSecret, pin_value};
use crate::random;
use crate::secret::SecretBytes;

mod answer;
mod connection;
mod counter;
mod sealed;
mod sealing;
mod tcti;
mod turn;

pub use connection::TpmLockout;
pub use counter::{TpmCounter, TpmCounterAnchor};
pub use tcti::{Tcti, TctiError};

/// How long a TPM may take for one question unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);
/// More blobs than a file has slots.
const REFUSED_MAX: usize = 16;

/// A key provider on a TPM 2.0, for the holder of a PIN. In an [`Arc`] it is a credential:
///
/// ```no_run
/// use std::sync::Arc;
/// use strongroom::Database;
/// use strongroom::providers::tpm::TpmProvider;
///
/// let tpm = TpmProvider::new("device:/dev/tpmrm0".parse()?, "4711");
/// let db = Database::open("notes.room", Arc::new(tpm))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A file with a TPM's slot needs a second slot of another kind: a TPM dies with its board, forgets
/// when it is cleared, and locks itself.
pub struct TpmProvider {
    tcti: Tcti,
    pin: io::Result<SecretBytes>,
    owner_auth: io::Result<Arc<SecretBytes>>,
    parent: Result<Parent, ProviderError>,
    pcrs: Result<Pcrs, ProviderError>,
    cost: KdfCost,
    timeout: Duration,
    /// Blobs that the PIN is wrong for: it will not be right the next time.
    refused: Mutex<Vec<Vec<u8>>>,
}

/// What a TPM says of itself, and what a provider finds in it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TpmHealth {
    /// Up to four letters: `INTC`, `IFX`, `IBM` (which is what a software TPM says).
    pub manufacturer: String,
    /// How it stands with wrong attempts.
    pub lockout: TpmLockout,
    /// The name of the storage key that slots are sealed under, in hexadecimal: what the messages
    /// of this provider call a key by.
    pub key_name: String,
}

impl TpmProvider {
    /// On this TPM, with this PIN: any bytes but none. They are copied into locked memory; the
    /// caller's copy is the caller's to wipe. The TPM is not asked yet.
    #[must_use]
    pub fn new(tcti: Tcti, pin: impl AsRef<[u8]>) -> Self {
        Self {
            tcti,
            pin: SecretBytes::copy_of(pin.as_ref()),
            owner_auth: SecretBytes::copy_of(&[]).map(Arc::new),
            parent: Ok(Parent::Primary),
            pcrs: Ok(Pcrs::default()),
            cost: PIN_COST,
            timeout: TIMEOUT,
            refused: Mutex::default(),
        }
    }

    /// For new slots: they open only while these PCRs of the SHA-256 bank are as they are when the
    /// slot is made. Register 7 is the firmware's Secure Boot policy. Numbers are 0 to 23; another
    /// one is an error when a slot is made.
    #[must_use]
    pub fn pcrs(mut self, numbers: &[u8]) -> Self {
        self.pcrs = Pcrs::new(numbers)
            .ok_or_else(|| ProviderError::Denied("PCRs are numbered from 0 to 23".to_owned()));
        self
    }

    /// Uses the storage key at this persistent handle, 0x81000000 to 0x817FFFFF, in place of the
    /// storage primary: [`TpmProvider::generate_key`] makes it, [`TpmProvider::efface`] destroys it and
    /// every slot under it. Slots under other keys are not this provider's.
    #[must_use]
    pub fn key_at(mut self, handle: u32) -> Self {
        self.parent = match Parent::HANDLES.contains(&handle) {
            true => Ok(Parent::Key(handle)),
            false => Err(ProviderError::Denied(format!(
                "0x{handle:08x} is no persistent handle of an owner's; give one from 0x81000000 \
                 to 0x817fffff"
            ))),
        };
        self
    }

    /// The authorisation value of the TPM's storage hierarchy, where its owner has set one.
    #[must_use]
    pub fn owner_auth(mut self, value: impl AsRef<[u8]>) -> Self {
        self.owner_auth = SecretBytes::copy_of(value.as_ref()).map(Arc::new);
        self
    }

    /// For new slots: what deriving the authorisation value from the PIN costs, 64 MiB and 3 passes
    /// unless set; at least 19 MiB, 2 passes, 1 lane. Opening uses the cost stored in the slot, up
    /// to the default of [`KdfLimits`](crate::KdfLimits).
    #[must_use]
    pub fn cost(mut self, cost: KdfCost) -> Self {
        self.cost = cost;
        self
    }

    /// How long the TPM may take for one question, 5 seconds unless set. The derivation from the
    /// PIN is not in it.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Makes the key for [`TpmProvider::key_at`], random, and keeps it in the TPM: it is nowhere
    /// else. Where this was cut off the key is there or not, see [`TpmProvider::probe`]; no slot is
    /// under it yet.
    ///
    /// # Errors
    /// [`ProviderError::Denied`] without [`TpmProvider::key_at`], or where something is at the
    /// handle already; or what the TPM says.
    pub fn generate_key(&self) -> Result<(), ProviderError> {
        let handle = self.key_handle()?;
        self.converse(move |connection| connection.generate_key(handle))
    }

    /// Destroys the key at [`TpmProvider::key_at`]: no slot that was made under it opens again, on
    /// this TPM or any, whoever has an old copy of the file and the PIN. Remove the slots first, and
    /// efface after that has returned. Once more does no harm.
    ///
    /// A slot under the storage primary can't be effaced: whoever has an old copy of the file, the
    /// PIN and the machine opens that copy, until the TPM is cleared.
    ///
    /// # Errors
    /// [`ProviderError::Denied`] without [`TpmProvider::key_at`]; or what the TPM says.
    pub fn efface(&self) -> Result<(), ProviderError> {
        let handle = self.key_handle()?;
        self.converse(move |connection| connection.destroy_key(handle))
    }

    /// Asks the TPM how it is and whether the key is there. Tries no PIN, changes nothing.
    ///
    /// # Errors
    /// [`ProviderError::NoKey`] where nothing is at the handle; or what the TPM says.
    pub fn probe(&self) -> Result<TpmHealth, ProviderError> {
        let parent = self.parent.clone()?;
        self.converse(move |connection| {
            let manufacturer = connection.manufacturer()?;
            let lockout = connection.lockout()?;
            let key_name = hex(&connection.parent(parent)?.name);
            Ok(TpmHealth { manufacturer, lockout, key_name })
        })
    }

    fn key_handle(&self) -> Result<u32, ProviderError> {
        match self.parent.clone()? {
            Parent::Key(handle) => Ok(handle),
            Parent::Primary => Err(ProviderError::Denied(
                "the storage primary is computed from the TPM's seed: it can't be made or \
                 destroyed; use a key of its own with `key_at`"
                    .to_owned(),
            )),
        }
    }

    fn refused(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn converse<T: Send + 'static>(
        &self,
        conversation: impl FnOnce(&mut Connection) -> Result<T, ProviderError> + Send + 'static,
    ) -> Result<T, ProviderError> {
        let tcti = self.tcti.clone();
        let owner_auth = self.owner_auth.as_ref().map_err(no_memory)?.clone();
        within(self.timeout, move || {
            let owner_auth = owner_auth.expose().map_err(|error| no_memory(&error))?;
            conversation(&mut Connection::open(&tcti, owner_auth)?)
        })
    }

    fn authorisation(
        &self,
        salt: &[u8; 32],
        cost: KdfCost,
        bad_cost: fn(String) -> ProviderError,
    ) -> Result<Zeroizing<[u8; 32]>, ProviderError> {
        let pin = self.pin.as_ref().map_err(no_memory)?;
        let pin = match pin.expose().map_err(|error| no_memory(&error))? {
            [] => return Err(ProviderError::Denied("the PIN is empty".to_owned())),
            pin => pin,
        };
        pin_value(pin, salt, cost).map_err(|error| {
            let why = format!("deriving from the PIN: {error}");
            match error {
                OpenError::KdfTooCheap | OpenError::KdfTooExpensive { .. } => bad_cost(why),
                _ => ProviderError::Unavailable(why),
            }
        })
    }
}

fn no_memory(error: &io::Error) -> ProviderError {
    ProviderError::Unavailable(format!("memory for its secrets: {error}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is sealed: the slot's secret, then what it is bound to.
fn join(secret: &SlotSecret, slot: &ProviderSlot) -> Zeroizing<Vec<u8>> {
    Zeroizing::new([secret.expose().as_slice(), &slot.associated_data()].concat())
}

fn split(data: &[u8], slot: &ProviderSlot) -> Result<SlotSecret, ProviderError> {
    let parts = data.split_at_checked(32);
    let secret = parts.filter(|(_, bound)| *bound == slot.associated_data());
    secret.and_then(|(secret, _)| SlotSecret::from_bytes(secret)).ok_or_else(|| {
        ProviderError::Damaged("it was sealed for another slot or another file".to_owned())
    })
}

impl KeyProvider for TpmProvider {
    fn name(&self) -> &str {
        "tpm2"
    }

    fn wrap_secret(
        &self,
        slot: &ProviderSlot,
        secret: &SlotSecret,
    ) -> Result<Vec<u8>, ProviderError> {
        let (parent, pcrs, cost) = (self.parent.clone()?, self.pcrs.clone()?, self.cost);
        let salt = random::array().map_err(|error| no_memory(&error))?;
        let auth = self.authorisation(&salt, cost, ProviderError::Denied)?;
        let data = join(secret, slot);
        let (parent_name, object) = self.converse(move |connection| {
            let key = connection.parent(parent)?;
            Ok((key.name, connection.seal(key, pcrs, auth.as_slice(), &data)?))
        })?;
        let Object { policy, unique, private } = object;
        Ok(Sealed { cost, salt, parent, parent_name, pcrs, policy, unique, private }.encode())
    }

    fn unwrap_secret(&self, slot: &ProviderSlot, blob: &[u8]) -> Result<SlotSecret, ProviderError> {
        let sealed =
            Sealed::decode(blob).map_err(|malformed| ProviderError::Damaged(malformed.0.into()))?;
        let Sealed { cost, salt, parent, parent_name, pcrs, policy, unique, private } = sealed;
        if parent != self.parent.clone()? {
            return Err(ProviderError::NotMine);
        }
        if self.refused().iter().any(|refused| refused == blob) {
            return Err(ProviderError::Wrong);
        }
        let auth = self.authorisation(&salt, cost, ProviderError::Damaged)?;
        let object = Object { policy, unique, private };
        let data = self.converse(move |connection| {
            let key = connection.parent(parent).map_err(|error| absent(parent, error))?;
            if key.name != parent_name {
                return Err(another(parent, &parent_name, &key.name));
            }
            connection.unseal(key, pcrs, auth.as_slice(), &object)
        });
        if data == Err(ProviderError::Wrong) {
            let mut refused = self.refused();
            refused.truncate(REFUSED_MAX - 1);
            refused.insert(0, blob.to_vec());
        }
        split(&data?, slot)
    }
}

fn absent(parent: Parent, error: ProviderError) -> ProviderError {
    match error {
        ProviderError::NoKey(_) => ProviderError::NoKey(format!(
            "{parent}, which the slot was sealed under, is not in this TPM: it was destroyed, the \
             TPM was cleared, or it is another one; a recovery slot opens the file"
        )),
        other => other,
    }
}

fn another(parent: Parent, expected: &[u8], found: &[u8]) -> ProviderError {
    ProviderError::NoKey(format!(
        "the slot was sealed by another TPM, or by this one before it was cleared: {parent} had \
         the name {} then, and has {} now; a recovery slot opens the file",
        hex(expected),
        hex(found)
    ))
}

impl fmt::Debug for TpmProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TpmProvider")
            .field("tcti", &self.tcti)
            .field("parent", &self.parent)
            .field("pcrs", &self.pcrs)
            .field("cost", &self.cost)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
