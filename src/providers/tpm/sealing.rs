//! Sealing and unsealing of a few bytes: a keyed-hash object under a storage key, with an
//! authorisation value that the TPM counts wrong attempts at, and a policy over PCRs if asked.
//!
//! policy = PolicyAuthValue(PolicyPCR(zeros, SHA-256 of the PCRs)), TPM 2.0 part 3, 23.7 and 23.17.

use tss_esapi::attributes::ObjectAttributesBuilder;
use tss_esapi::constants::SessionType;
use tss_esapi::handles::{KeyHandle, ObjectHandle, PersistentTpmHandle};
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::dynamic_handles::Persistent;
use tss_esapi::interface_types::resource_handles::Provision;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{
    Digest, KeyedHashScheme, PcrSelectionList, PcrSlot, Private, Public, PublicBuilder,
    PublicKeyedHashParameters, SensitiveData,
};
use zeroize::Zeroizing;

use super::answer::Asked;
use super::connection::{Connection, Cover, StorageKey, auth_value, storage_template};
use super::sealed::{Parent, Pcrs};
use crate::error::ProviderError;

/// A sealed object, as the TPM gave it.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) policy: [u8; 32],
    pub(super) unique: [u8; 32],
    pub(super) private: Vec<u8>,
}

fn public(pcrs: Pcrs, policy: [u8; 32], unique: &[u8]) -> tss_esapi::Result<Public> {
    // With PCRs the authorisation value is good only together with them. `no_da` stays off: that
    // is what makes a short PIN worth something.
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_user_with_auth(pcrs.is_empty())
        .build()?;
    let policy = if pcrs.is_empty() { &[][..] } else { &policy[..] };
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::KeyedHash)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_auth_policy(Digest::try_from(policy)?)
        .with_keyed_hash_parameters(PublicKeyedHashParameters::new(KeyedHashScheme::Null))
        .with_keyed_hash_unique_identifier(Digest::try_from(unique)?)
        .build()
}

fn selection(pcrs: Pcrs) -> tss_esapi::Result<PcrSelectionList> {
    let slots: Vec<PcrSlot> = pcrs.bits().map(PcrSlot::try_from).collect::<Result<_, _>>()?;
    PcrSelectionList::builder().with_selection(HashingAlgorithm::Sha256, &slots).build()
}

fn digest(bytes: &[u8]) -> Result<[u8; 32], ProviderError> {
    let wrong = |_| ProviderError::Unavailable("it answered with a digest of wrong length".into());
    bytes.try_into().map_err(wrong)
}

fn has_one_value(mut lengths: impl Iterator<Item = usize>) -> bool {
    lengths.next() == Some(32) && lengths.next().is_none()
}

impl Connection {
    /// # Errors
    /// What the answers mean.
    pub(super) fn seal(
        &mut self,
        parent: StorageKey,
        pcrs: Pcrs,
        auth: &[u8],
        data: &[u8],
    ) -> Result<Object, ProviderError> {
        self.check_pcrs(pcrs)?;
        let policy = if pcrs.is_empty() { [0; 32] } else { self.policy_of_now(parent, pcrs)? };
        let auth = auth_value(auth)?;
        let salt = Some(parent.handle);
        let created = self.in_session(salt, SessionType::Hmac, |connection, session| {
            connection.ask_in((session, Cover::Both), Asked::Seal, |context| {
                let data = SensitiveData::try_from(data)?;
                let public = public(pcrs, policy, &[])?;
                context.create(parent.handle, public, Some(auth), Some(data), None, None)
            })
        })?;
        let Public::KeyedHash { unique, .. } = created.out_public else {
            return Err(ProviderError::Unavailable("it made something else".to_owned()));
        };
        let private = created.out_private.value().to_vec();
        Ok(Object { policy, unique: digest(unique.value())?, private })
    }

    /// # Errors
    /// [`ProviderError::Damaged`] for what is not a sealed object of this parent,
    /// [`ProviderError::Wrong`], [`ProviderError::LockedOut`], [`ProviderError::Denied`] where the
    /// PCRs are others; or what the answers mean.
    pub(super) fn unseal(
        &mut self,
        parent: StorageKey,
        pcrs: Pcrs,
        auth: &[u8],
        object: &Object,
    ) -> Result<Zeroizing<Vec<u8>>, ProviderError> {
        let auth = auth_value(auth)?;
        let salt = Some(parent.handle);
        let loaded = self.in_session(salt, SessionType::Hmac, |connection, session| {
            connection.ask_in((session, Cover::Command), Asked::Load, |context| {
                let private = Private::try_from(object.private.as_slice())?;
                let public = public(pcrs, object.policy, &object.unique)?;
                context.load(parent.handle, private, public)
            })
        })?;
        self.ask(Asked::Load, |context| context.tr_set_auth(loaded.into(), auth))?;
        let kind = if pcrs.is_empty() { SessionType::Hmac } else { SessionType::Policy };
        let data = self.in_session(salt, kind, |connection, session| {
            if !pcrs.is_empty() {
                connection.extend_policy(session, pcrs)?;
            }
            connection.ask_in((session, Cover::Answer), Asked::Unseal, |context| {
                context.unseal(loaded.into())
            })
        })?;
        Ok(Zeroizing::new(data.value().to_vec()))
    }

    // A TPM leaves PCRs that it doesn't have out of a policy without a word, the whole bank where it
    // isn't allocated: what is sealed would then open in any state.
    fn check_pcrs(&mut self, pcrs: Pcrs) -> Result<(), ProviderError> {
        for bit in pcrs.bits() {
            let read = self.ask(Asked::Seal, |context| {
                let slots = [PcrSlot::try_from(bit)?];
                let one = PcrSelectionList::builder()
                    .with_selection(HashingAlgorithm::Sha256, &slots)
                    .build()?;
                context.pcr_read(one).map(|(_, _, values)| values)
            })?;
            if !has_one_value(read.value().iter().map(|value| value.value().len())) {
                return Err(ProviderError::Denied(format!(
                    "it has no SHA-256 value for PCR {}: that bank is not allocated; allocate it in the \
                     firmware's settings, or do without PCRs",
                    bit.trailing_zeros()
                )));
            }
        }
        Ok(())
    }

    fn policy_of_now(&mut self, parent: StorageKey, pcrs: Pcrs) -> Result<[u8; 32], ProviderError> {
        let salt = Some(parent.handle);
        let policy = self.in_session(salt, SessionType::Trial, |connection, trial| {
            connection.extend_policy(trial, pcrs)?;
            connection.ask(Asked::Seal, |context| {
                context.policy_get_digest(PolicySession::try_from(trial)?)
            })
        })?;
        digest(policy.value())
    }

    fn extend_policy(&mut self, session: AuthSession, pcrs: Pcrs) -> Result<(), ProviderError> {
        self.ask(Asked::Seal, |context| {
            let session = PolicySession::try_from(session)?;
            // An empty digest: as the PCRs are now.
            context.policy_pcr(session, Digest::default(), selection(pcrs)?)?;
            context.policy_auth_value(session)
        })
    }

    /// Makes a random storage key beneath the primary and keeps it at a handle. Its private half is
    /// nowhere else: nothing brings it back once it is taken away there.
    ///
    /// # Errors
    /// [`ProviderError::Denied`] where something is at the handle; or what the answers mean.
    pub(super) fn generate_key(&mut self, handle: u32) -> Result<(), ProviderError> {
        let primary = self.parent(Parent::Primary)?;
        let salt = Some(primary.handle);
        let made: KeyHandle = self.in_session(salt, SessionType::Hmac, |connection, session| {
            connection.ask_in((session, Cover::Both), Asked::Seal, |context| {
                let template = storage_template()?;
                let key = context.create(primary.handle, template, None, None, None, None)?;
                context.load(primary.handle, key.out_private, key.out_public)
            })
        })?;
        self.evict(made.into(), handle)
    }

    /// Takes away the key at a handle; nothing happens where there is none.
    ///
    /// # Errors
    /// What the answers mean.
    pub(super) fn destroy_key(&mut self, handle: u32) -> Result<(), ProviderError> {
        let key = match self.persistent(handle) {
            Err(ProviderError::NoKey(_)) => return Ok(()),
            found => found?,
        };
        self.evict(key, handle)
    }

    /// Keeps a loaded key at a handle, or takes away the one that is there.
    fn evict(&mut self, key: ObjectHandle, handle: u32) -> Result<(), ProviderError> {
        self.in_session(None, SessionType::Hmac, |connection, session| {
            connection.ask_in((session, Cover::Nothing), Asked::Own, |context| {
                let handle = Persistent::Persistent(PersistentTpmHandle::new(handle)?);
                context.evict_control(Provision::Owner, key, handle)
            })
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pcr_is_there_if_one_digest_of_sha256_is_read() {
        for (lengths, there) in
            [(&[][..], false), (&[32], true), (&[20], false), (&[0], false), (&[32, 32], false)]
        {
            assert_eq!(has_one_value(lengths.iter().copied()), there, "{lengths:?}");
        }
    }
}
