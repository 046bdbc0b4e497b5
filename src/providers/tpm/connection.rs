//! A conversation with a TPM, from opening the device to giving it back. One for each question: no
//! handle outlives it, so a TPM that was restarted in between, and a fork, are nothing special.
//!
//! Sessions are salted with a storage key, so that what is on the wire can't be read or altered by
//! who listens: the salt is encrypted to a key whose name the slot knows.

use std::str::FromStr;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use tss_esapi::Context;
use tss_esapi::attributes::{ObjectAttributesBuilder, SessionAttributesBuilder};
use tss_esapi::constants::{PropertyTag, SessionType};
use tss_esapi::handles::{KeyHandle, ObjectHandle, PersistentTpmHandle, SessionHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{
    Auth, EccPoint, EccScheme, Public, PublicBuilder, PublicEccParametersBuilder,
    SymmetricDefinition, SymmetricDefinitionObject,
};
use tss_esapi::tcti_ldr::TctiNameConf;

use super::answer::{Asked, meaning};
use super::sealed::{NAME_LEN, Parent};
use super::tcti::Tcti;
use crate::ProviderError;

/// Runs a conversation on a thread of its own. The TSS library waits for an answer for ever; the
/// thread that waits is left behind, and what it still hears is thrown away.
pub(super) fn within<T: Send + 'static>(
    timeout: Duration,
    conversation: impl FnOnce() -> Result<T, ProviderError> + Send + 'static,
) -> Result<T, ProviderError> {
    let (sender, receiver) = sync_channel(1);
    thread::Builder::new()
        .name("strongroom-tpm".to_owned())
        .spawn(move || {
            // Nobody may be waiting any more.
            let _ = sender.send(conversation());
        })
        .map_err(|error| ProviderError::Unavailable(format!("no thread: {error}")))?;
    receiver.recv_timeout(timeout).unwrap_or_else(|error| {
        Err(ProviderError::Unavailable(match error {
            RecvTimeoutError::Timeout => format!("no answer within {} ms", timeout.as_millis()),
            RecvTimeoutError::Disconnected => "the TSS library panicked".to_owned(),
        }))
    })
}

/// What a session encrypts: the first parameter of the command, of the answer, both or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cover {
    Nothing,
    Command,
    Answer,
    Both,
}

/// A loaded storage key.
#[derive(Clone, Copy, Debug)]
pub(super) struct StorageKey {
    pub(super) handle: KeyHandle,
    pub(super) name: [u8; NAME_LEN],
}

/// How the TPM stands with those who guess. What it says, no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct TpmLockout {
    /// Wrong attempts that it remembers, and unorderly shutdowns, which it counts like one.
    pub failed: u32,
    /// At so many it locks itself; zero is always.
    pub max: u32,
    /// After so much time it forgets one; zero is at once, so it never locks itself.
    pub recovery: Duration,
}

impl TpmLockout {
    /// Whether it refuses every attempt now.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.max == 0 || (self.failed >= self.max && !self.recovery.is_zero())
    }

    /// How long until it takes an attempt again, at most: it doesn't say when it last forgot one.
    /// `None` where only the holder of its lockout authorisation can unlock it.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let over = self.failed.saturating_sub(self.max).saturating_add(1);
        (self.max > 0 && !self.recovery.is_zero()).then(|| self.recovery.saturating_mul(over))
    }
}

/// A value as the TPM keeps it, without the zeros at its end. The library computes an HMAC over
/// what it is given.
pub(super) fn auth_value(bytes: &[u8]) -> Result<Auth, ProviderError> {
    let len = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
    let trimmed = bytes.get(..len).unwrap_or(bytes);
    Auth::try_from(trimmed).map_err(|error| {
        ProviderError::Denied(format!("no TPM takes an authorisation value so long: {error}"))
    })
}

/// The storage primary, and every key that is made beneath it: ECC P-256 with AES-128-CFB, as the
/// TCG's storage root key. A primary is computed from this: another template is another key.
pub(super) fn storage_template() -> tss_esapi::Result<Public> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_no_da(true)
        .with_restricted(true)
        .with_decrypt(true)
        .build()?;
    let parameters = PublicEccParametersBuilder::new_restricted_decryption_key(
        SymmetricDefinitionObject::AES_128_CFB,
        EccCurve::NistP256,
    )
    .with_ecc_scheme(EccScheme::Null)
    .build()?;
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_ecc_parameters(parameters)
        .with_ecc_unique_identifier(EccPoint::default())
        .build()
}

/// An open TPM. What was loaded in it is flushed when this is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    context: Context,
}

impl Connection {
    /// `owner_auth` is empty where the storage hierarchy has none.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`].
    pub(super) fn open(tcti: &Tcti, owner_auth: &[u8]) -> Result<Self, ProviderError> {
        let opened = TctiNameConf::from_str(tcti.as_str()).and_then(Context::new);
        let context = opened.map_err(|error| meaning(Asked::Reach, error))?;
        let mut connection = Self { context };
        let owner_auth = auth_value(owner_auth)?;
        connection
            .ask(Asked::Own, |context| context.tr_set_auth(ObjectHandle::Owner, owner_auth))?;
        Ok(connection)
    }

    /// One command, without a session.
    ///
    /// # Errors
    /// What the answer means.
    pub(super) fn ask<T>(
        &mut self,
        asked: Asked,
        command: impl FnOnce(&mut Context) -> tss_esapi::Result<T>,
    ) -> Result<T, ProviderError> {
        let answer = self.context.execute_without_session(command);
        answer.map_err(|error| match meaning(asked, error) {
            ProviderError::LockedOut { .. } => {
                let lockout = self.lockout().ok();
                ProviderError::LockedOut {
                    retry_after: lockout.and_then(|lockout| lockout.retry_after()),
                }
            }
            meant => meant,
        })
    }

    /// One command in a session.
    ///
    /// # Errors
    /// What the answer means.
    pub(super) fn ask_in<T>(
        &mut self,
        (session, cover): (AuthSession, Cover),
        asked: Asked,
        command: impl FnOnce(&mut Context) -> tss_esapi::Result<T>,
    ) -> Result<T, ProviderError> {
        self.ask(asked, |context| {
            let (attributes, mask) = SessionAttributesBuilder::new()
                .with_decrypt(matches!(cover, Cover::Command | Cover::Both))
                .with_encrypt(matches!(cover, Cover::Answer | Cover::Both))
                .build();
            context.tr_sess_set_attributes(session, attributes, mask)?;
            context.execute_with_session(Some(session), command)
        })
    }

    /// A session for these commands, salted if a key is given, and flushed after them: a TPM has
    /// room for three.
    ///
    /// # Errors
    /// What the answer means.
    pub(super) fn in_session<T>(
        &mut self,
        salt: Option<KeyHandle>,
        kind: SessionType,
        commands: impl FnOnce(&mut Self, AuthSession) -> Result<T, ProviderError>,
    ) -> Result<T, ProviderError> {
        let session = self.ask(Asked::Reach, |context| {
            let (cipher, hash) = (SymmetricDefinition::AES_128_CFB, HashingAlgorithm::Sha256);
            context.start_auth_session(salt, None, None, kind, cipher, hash)
        })?;
        let session =
            session.ok_or_else(|| ProviderError::Unavailable("it gave no session".to_owned()))?;
        let done = commands(self, session);
        let flushed = self.ask(Asked::Reach, |context| {
            context.flush_context(SessionHandle::from(session).into())
        });
        done.and_then(|value| flushed.map(|()| value))
    }

    /// The storage key that secrets are sealed under.
    ///
    /// # Errors
    /// [`ProviderError::NoKey`] where nothing is at its handle; or what the answer means.
    pub(super) fn parent(&mut self, parent: Parent) -> Result<StorageKey, ProviderError> {
        let handle = match parent {
            Parent::Primary => {
                let made = self.in_session(None, SessionType::Hmac, |connection, session| {
                    connection.ask_in((session, Cover::Nothing), Asked::Own, |context| {
                        let template = storage_template()?;
                        context.create_primary(Hierarchy::Owner, template, None, None, None, None)
                    })
                })?;
                made.key_handle
            }
            Parent::Key(handle) => KeyHandle::from(self.persistent(handle)?),
        };
        // Computed here from the public area, not taken from the TPM.
        let name = self.ask(Asked::Find, |context| context.tr_get_name(handle.into()))?;
        let name = name.value().try_into().map_err(|_| {
            ProviderError::NoKey("what is at the handle is no storage key".to_owned())
        })?;
        Ok(StorageKey { handle, name })
    }

    /// What is at a persistent handle.
    ///
    /// # Errors
    /// [`ProviderError::NoKey`] where it is nothing; or what the answer means.
    pub(super) fn persistent(&mut self, handle: u32) -> Result<ObjectHandle, ProviderError> {
        self.ask(Asked::Find, |context| {
            let handle = PersistentTpmHandle::new(handle)?;
            context.tr_from_tpm_public(TpmHandle::Persistent(handle))
        })
    }

    /// # Errors
    /// What the answer means.
    pub(super) fn lockout(&mut self) -> Result<TpmLockout, ProviderError> {
        let mut property = |tag| {
            let value = self.context.get_tpm_property(tag);
            value.map(Option::unwrap_or_default).map_err(|error| meaning(Asked::Reach, error))
        };
        Ok(TpmLockout {
            failed: property(PropertyTag::LockoutCounter)?,
            max: property(PropertyTag::MaxAuthFail)?,
            recovery: Duration::from_secs(property(PropertyTag::LockoutInterval)?.into()),
        })
    }

    /// Four letters.
    ///
    /// # Errors
    /// What the answer means.
    pub(super) fn manufacturer(&mut self) -> Result<String, ProviderError> {
        let value =
            self.ask(Asked::Reach, |context| context.get_tpm_property(PropertyTag::Manufacturer))?;
        let letters = value.unwrap_or_default().to_be_bytes();
        let letters = letters.iter().filter(|byte| byte.is_ascii_graphic());
        Ok(letters.map(|byte| char::from(*byte)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tss_esapi::traits::Marshall;

    #[test]
    fn the_time_of_a_lockout_is_the_most_that_it_can_be() {
        let hour = Duration::from_secs(3600);
        let at = |failed, max, recovery| TpmLockout { failed, max, recovery };
        for (lockout, locked, wait) in [
            (at(3, 3, hour), true, Some(hour)),
            (at(5, 3, hour), true, Some(3 * hour)),
            (at(2, 3, hour), false, Some(hour)),
            (at(3, 3, Duration::ZERO), false, None),
            (at(0, 0, hour), true, None),
            (at(u32::MAX, 1, Duration::MAX), true, Some(Duration::MAX)),
        ] {
            assert_eq!((lockout.is_locked(), lockout.retry_after()), (locked, wait), "{lockout:?}");
        }
    }

    #[test]
    fn an_authorisation_value_ends_before_its_zeros() {
        for (bytes, kept) in [(&[][..], &[][..]), (&[0, 0], &[]), (&[0, 1, 0], &[0, 1])] {
            assert_eq!(auth_value(bytes).unwrap().value(), kept);
        }
        assert!(matches!(auth_value(&[1; 65]), Err(ProviderError::Denied(_))));
    }

    /// A primary is computed from its template: no byte of it may ever change.
    #[test]
    fn the_storage_template_is_pinned() {
        let bytes = storage_template().unwrap().marshall().unwrap();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let fields = ["0023", "000b", "00030472", "0000", "0006", "0080", "0043"];
        assert_eq!(hex, fields.concat() + "0010" + "0003" + "0010" + "0000" + "0000");
    }

    #[test]
    fn a_conversation_that_hangs_or_panics_is_unavailable() {
        let limit = Duration::from_millis(20);
        let slow = within(limit, || {
            thread::sleep(Duration::from_millis(300));
            Ok(())
        });
        assert_eq!(slow, Err(ProviderError::Unavailable("no answer within 20 ms".to_owned())));
        let panicked = within::<()>(Duration::from_secs(5), || panic!("on purpose"));
        assert!(matches!(panicked, Err(ProviderError::Unavailable(why)) if why.contains("panic")));
        assert_eq!(within(Duration::from_secs(5), || Ok(7)), Ok(7));
    }
}
