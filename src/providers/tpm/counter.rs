//! A monotonic counter in a TPM as an anchor. The TPM sees to it that the counter never goes down,
//! also where its index is removed and defined again: a new counter begins above the highest that
//! any ever had.
//!
//! An index has no room for an identity, and its name would be the same after it was defined again.
//! So its policy, which nothing uses, is 32 random bytes: they are in the public area, the public
//! area is in the name, and the name is the identity.
//!
//! Every answer is authenticated by who knows the authorisation value: a session's HMAC.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tss_esapi::attributes::NvIndexAttributesBuilder;
use tss_esapi::constants::{NvIndexType, SessionType};
use tss_esapi::handles::{NvIndexHandle, NvIndexTpmHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::{NvAuth, Provision};
use tss_esapi::structures::{Digest, NvPublic, NvPublicBuilder};

use super::TIMEOUT;
use super::answer::Asked;
use super::connection::{Connection, Cover, auth_value, within};
use super::sealed::{NAME_LEN, Parent};
use super::tcti::Tcti;
use super::turn::Turn;
use crate::anchor::Anchor;
use crate::error::{AnchorFault, ProviderError};
use crate::random;
use crate::secret::SecretBytes;

/// A counter is a 64-bit number.
const COUNT_SIZE: u16 = 8;

/// Where a counter is or is to be: a TPM, an index in it, and the value that authorises counting.
#[derive(Clone)]
pub struct TpmCounter {
    tcti: Tcti,
    index: u32,
    auth: Arc<SecretBytes>,
    owner_auth: Arc<SecretBytes>,
    timeout: Duration,
}

/// An anchor that is a counter in a TPM: whoever puts the whole disk back to an older state can't
/// put the TPM back with it. One that is a virtual machine's is put back with its snapshot.
///
/// ```no_run
/// use std::sync::Arc;
/// use strongroom::providers::tpm::TpmCounter;
/// use strongroom::{AnchorPolicy, Builder, RawKey};
///
/// # let (key, counter_auth) = (RawKey::new([1; 32]), [2; 32]);
/// let counter = TpmCounter::new("device:/dev/tpmrm0".parse()?, 0x0150_0100, &counter_auth)?;
/// // Once:
/// let anchor = Arc::new(counter.create()?);
/// let db = Builder::new().open("notes.room", &key)?;
/// db.admin(&key)?.bind_anchor(anchor, AnchorPolicy::default())?;
/// db.close()?;
/// // From then on:
/// let db = Builder::new().anchor(Arc::new(counter.open()?)).open("notes.room", &key)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct TpmCounterAnchor {
    counter: TpmCounter,
    name: [u8; NAME_LEN],
}

impl TpmCounter {
    /// At an NV index, 0x01000000 to 0x01FFFFFF; 0x01500000 and up is nobody's by the TCG's
    /// registry of handles. `auth` is random, and kept where the application keeps its secrets:
    /// without it nobody counts, and no other TPM can pass for this one.
    ///
    /// # Errors
    /// [`AnchorFault::Denied`] for what is no index, [`AnchorFault::Unreachable`] without memory.
    pub fn new(tcti: Tcti, index: u32, auth: &[u8; 32]) -> Result<Self, AnchorFault> {
        if index >> 24 != 1 {
            return Err(AnchorFault::Denied(format!(
                "0x{index:08x} is no NV index; give one from 0x01000000 to 0x01ffffff"
            )));
        }
        if *auth == [0; 32] {
            return Err(AnchorFault::Denied(
                "an authorisation value of zeros is none to a TPM: anybody could count; draw 32 \
                 random bytes"
                    .to_owned(),
            ));
        }
        let (auth, owner_auth) = (keep(auth)?, keep(&[])?);
        Ok(Self { tcti, index, auth, owner_auth, timeout: TIMEOUT })
    }

    /// The authorisation value of the TPM's storage hierarchy, where its owner has set one: for
    /// [`TpmCounter::create`] and [`TpmCounter::remove`].
    ///
    /// # Errors
    /// [`AnchorFault::Unreachable`] without memory.
    pub fn owner_auth(mut self, value: impl AsRef<[u8]>) -> Result<Self, AnchorFault> {
        self.owner_auth = keep(value.as_ref())?;
        Ok(self)
    }

    /// How long the TPM may take for one question, 5 seconds unless set.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Makes the counter, and counts once: before that it can't be read. Where this was cut off,
    /// call it again; where it says then that there is a counter already, it was complete.
    ///
    /// # Errors
    /// [`AnchorFault::Denied`] where something is at the index already; or what the TPM says.
    pub fn create(&self) -> Result<TpmCounterAnchor, AnchorFault> {
        let index = self.index;
        let name = self.alone(move |connection, auth| {
            let handle = match connection.find(index) {
                Err(ProviderError::NoKey(_)) => connection.define(index, auth)?,
                found => match found? {
                    Found { written: false, handle, .. } => handle,
                    Found { written: true, .. } => {
                        return Err(ProviderError::Denied(format!(
                            "there is a counter at 0x{index:08x} already: open it, or remove it"
                        )));
                    }
                },
            };
            connection.increment(handle, auth)?;
            connection.value(handle, auth)?;
            Ok(connection.find(index)?.name)
        })?;
        Ok(TpmCounterAnchor { counter: self.clone(), name })
    }

    /// Opens the counter that [`TpmCounter::create`] made.
    ///
    /// # Errors
    /// [`AnchorFault::Damaged`] where there is none, [`AnchorFault::Denied`] where it is another
    /// program's or the authorisation value is wrong; or what the TPM says.
    pub fn open(&self) -> Result<TpmCounterAnchor, AnchorFault> {
        let index = self.index;
        let name = self.converse(move |connection, auth| {
            let Found { handle, name, .. } = connection.find(index)?;
            connection.value(handle, auth)?;
            Ok(name)
        })?;
        Ok(TpmCounterAnchor { counter: self.clone(), name })
    }

    /// Removes the counter. No file that is bound to it opens without
    /// [`Builder::accept_rollback`](crate::Builder::accept_rollback) after that. Once more does no
    /// harm.
    ///
    /// # Errors
    /// [`AnchorFault::Denied`] where what is at the index is another program's; or what the TPM
    /// says.
    pub fn remove(&self) -> Result<(), AnchorFault> {
        let index = self.index;
        self.alone(move |connection, _| match connection.find(index) {
            Err(ProviderError::NoKey(_)) => Ok(()),
            found => connection.undefine(found?.handle),
        })
    }

    fn converse<T: Send + 'static>(
        &self,
        conversation: impl FnOnce(&mut Connection, &[u8]) -> Result<T, ProviderError> + Send + 'static,
    ) -> Result<T, AnchorFault> {
        let Self { tcti, auth, owner_auth, index, .. } = self.clone();
        let answer = within(self.timeout, move || {
            let forked = |error: std::io::Error| ProviderError::Unavailable(error.to_string());
            let owner_auth = owner_auth.expose().map_err(forked)?;
            let auth = auth.expose().map_err(forked)?;
            conversation(&mut Connection::open(&tcti, owner_auth)?, auth)
        });
        answer.map_err(|error| fault(index, error))
    }

    /// With nobody else of this process adding to the counter meanwhile.
    fn alone<T: Send + 'static>(
        &self,
        conversation: impl FnOnce(&mut Connection, &[u8]) -> Result<T, ProviderError> + Send + 'static,
    ) -> Result<T, AnchorFault> {
        let turn = Turn::take(&self.tcti, self.index, self.timeout).ok_or_else(|| {
            let why = "an earlier question is still on its way to the TPM; if the TPM is gone for \
                       good, end this process";
            AnchorFault::Unreachable(why.to_owned())
        })?;
        self.converse(move |connection, auth| {
            let _until_answered = turn;
            conversation(connection, auth)
        })
    }
}

fn keep(bytes: &[u8]) -> Result<Arc<SecretBytes>, AnchorFault> {
    let kept = SecretBytes::copy_of(bytes).map(Arc::new);
    kept.map_err(|error| AnchorFault::Unreachable(format!("memory for its secrets: {error}")))
}

fn fault(index: u32, error: ProviderError) -> AnchorFault {
    match error {
        ProviderError::Unavailable(why) => AnchorFault::Unreachable(why),
        ProviderError::NoKey(why) => AnchorFault::Damaged(format!(
            "no counter at 0x{index:08x} of this TPM, {why}: the TPM was cleared, the counter was \
             removed, or it is another TPM"
        )),
        ProviderError::Denied(why) => AnchorFault::Denied(why),
        ProviderError::Damaged(why) => AnchorFault::Damaged(why),
        ProviderError::Wrong => AnchorFault::Denied(format!(
            "the authorisation value is not that of the counter at 0x{index:08x}"
        )),
        other => AnchorFault::Denied(other.to_string()),
    }
}

/// A counter's index, found in the TPM.
struct Found {
    handle: NvIndexHandle,
    name: [u8; NAME_LEN],
    written: bool,
}

/// What [`Connection::define`] makes, written or not.
fn is_counter(public: &NvPublic) -> bool {
    let has = public.attributes();
    let counter = has.index_type().is_ok_and(|kind| kind == NvIndexType::Counter);
    // `orderly` would lose counts with the power.
    let ours = has.auth_read() && has.auth_write() && has.no_da() && !has.orderly();
    let others = has.owner_write() || has.pp_write() || has.policy_write();
    counter && ours && !others && public.data_size() == usize::from(COUNT_SIZE)
}

impl Connection {
    fn find(&mut self, index: u32) -> Result<Found, ProviderError> {
        let handle = self.ask(Asked::Find, |context| {
            let handle = TpmHandle::NvIndex(NvIndexTpmHandle::new(index)?);
            context.tr_from_tpm_public(handle)
        })?;
        let (public, _) = self.ask(Asked::Find, |context| context.nv_read_public(handle.into()))?;
        let name = self.ask(Asked::Find, |context| context.tr_get_name(handle))?;
        let name = name.value().try_into().ok().filter(|_| is_counter(&public));
        let name = name.ok_or_else(|| {
            ProviderError::Denied(format!(
                "what is at 0x{index:08x} was not made here: another program's; use another index"
            ))
        })?;
        Ok(Found { handle: handle.into(), name, written: public.attributes().written() })
    }

    fn define(&mut self, index: u32, auth: &[u8]) -> Result<NvIndexHandle, ProviderError> {
        let attributes = NvIndexAttributesBuilder::new()
            .with_nv_index_type(NvIndexType::Counter)
            .with_auth_read(true)
            .with_auth_write(true)
            .with_no_da(true);
        let nonce: [u8; 32] = random::array()
            .map_err(|error| ProviderError::Unavailable(format!("no randomness: {error}")))?;
        let auth = auth_value(auth)?;
        // The value goes to the TPM encrypted.
        let primary = self.parent(Parent::Primary)?;
        self.in_session(Some(primary.handle), SessionType::Hmac, |connection, session| {
            connection.ask_in((session, Cover::Command), Asked::Own, |context| {
                let public = NvPublicBuilder::new()
                    .with_nv_index(NvIndexTpmHandle::new(index)?)
                    .with_index_name_algorithm(HashingAlgorithm::Sha256)
                    .with_index_attributes(attributes.build()?)
                    .with_index_auth_policy(Digest::try_from(nonce.as_slice())?)
                    .with_data_area_size(usize::from(COUNT_SIZE))
                    .build()?;
                context.nv_define_space(Provision::Owner, Some(auth), public)
            })
        })
    }

    fn undefine(&mut self, handle: NvIndexHandle) -> Result<(), ProviderError> {
        self.in_session(None, SessionType::Hmac, |connection, session| {
            connection.ask_in((session, Cover::Nothing), Asked::Own, |context| {
                context.nv_undefine_space(Provision::Owner, handle)
            })
        })
    }

    fn increment(&mut self, handle: NvIndexHandle, auth: &[u8]) -> Result<(), ProviderError> {
        let auth = auth_value(auth)?;
        self.in_session(None, SessionType::Hmac, |connection, session| {
            connection.ask_in((session, Cover::Nothing), Asked::Count, |context| {
                context.tr_set_auth(handle.into(), auth)?;
                context.nv_increment(NvAuth::NvIndex(handle), handle)
            })
        })
    }

    fn value(&mut self, handle: NvIndexHandle, auth: &[u8]) -> Result<u64, ProviderError> {
        let auth = auth_value(auth)?;
        let bytes = self.in_session(None, SessionType::Hmac, |connection, session| {
            connection.ask_in((session, Cover::Nothing), Asked::Count, |context| {
                context.tr_set_auth(handle.into(), auth)?;
                context.nv_read(NvAuth::NvIndex(handle), handle, COUNT_SIZE, 0)
            })
        })?;
        let bytes = bytes.value().try_into().map_err(|_| {
            ProviderError::Unavailable("it answered with a count of wrong length".to_owned())
        })?;
        Ok(u64::from_be_bytes(bytes))
    }

    /// The counter of this name.
    fn locate(&mut self, index: u32, name: [u8; NAME_LEN]) -> Result<NvIndexHandle, ProviderError> {
        let found = self.find(index)?;
        if found.name != name {
            return Err(ProviderError::Damaged(format!(
                "another counter stands at 0x{index:08x}, in the place of the one that was opened"
            )));
        }
        Ok(found.handle)
    }
}

impl Anchor for TpmCounterAnchor {
    fn identity(&self) -> Result<Vec<u8>, AnchorFault> {
        Ok([&b"tpm2:"[..], &self.name].concat())
    }

    fn read(&self) -> Result<u64, AnchorFault> {
        let (index, name) = (self.counter.index, self.name);
        self.counter.converse(move |connection, auth| {
            let handle = connection.locate(index, name)?;
            connection.value(handle, auth)
        })
    }

    fn advance(&self, to: u64) -> Result<(), AnchorFault> {
        let (index, name) = (self.counter.index, self.name);
        let stands_at = self.counter.alone(move |connection, auth| {
            let handle = connection.locate(index, name)?;
            let found = connection.value(handle, auth)?;
            if found.checked_add(1) != Some(to) {
                return Ok(Err(found));
            }
            connection.increment(handle, auth)?;
            // Another process may have added one between the two.
            connection.value(handle, auth).map(Ok)
        })?;
        match stands_at {
            Ok(now) if now == to => Ok(()),
            Ok(found) | Err(found) => Err(AnchorFault::OutOfStep { found, asked: to }),
        }
    }
}

impl fmt::Debug for TpmCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TpmCounter")
            .field("tcti", &self.tcti)
            .field("index", &format_args!("0x{:08x}", self.index))
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
