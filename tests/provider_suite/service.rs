//! A key service in this process that behaves as a good one does: named keys, a password, and every
//! misfortune that the suite knows. Not a stand-in for any of the real ones: those have worlds of
//! their own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aes_gcm_siv::aead::AeadInOut;
use aes_gcm_siv::aead::inout::InOutBuf;
use aes_gcm_siv::{Aes256GcmSiv, KeyInit, Nonce, Tag};
use strongroom::{Credential, KeyProvider, ProviderError, ProviderSlot, SlotSecret};

use super::suite::{Case, World};

#[derive(Default)]
struct Service {
    /// Key, and the number it was made under.
    keys: HashMap<String, ([u8; 32], u32)>,
    made: u32,
    up: bool,
    delay: Duration,
    revoked: bool,
}

impl Service {
    fn generate_key(&mut self, name: &str) {
        self.made += 1;
        let mut key = [0; 32];
        getrandom::fill(&mut key).unwrap();
        self.keys.insert(name.to_owned(), (key, self.made));
    }
}

struct NamedKey {
    service: Arc<Mutex<Service>>,
    key_name: &'static str,
    password: &'static str,
}

impl std::fmt::Debug for NamedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NamedKey {}", self.key_name)
    }
}

impl NamedKey {
    /// The key and its number.
    fn ask(&self) -> Result<([u8; 32], u32), ProviderError> {
        let service = self.service.lock().unwrap();
        let delay = service.delay;
        drop(service);
        std::thread::sleep(delay);
        let service = self.service.lock().unwrap();
        if !service.up {
            return Err(ProviderError::Unavailable("connection refused".to_owned()));
        }
        if self.password != "the password" {
            return Err(ProviderError::Wrong);
        }
        if service.revoked {
            return Err(ProviderError::Denied("the key is disabled".to_owned()));
        }
        let key = service.keys.get(self.key_name).copied();
        key.ok_or_else(|| ProviderError::NoKey(format!("no key {:?}", self.key_name)))
    }
}

/// Blob: number of the key u32, nonce (12), tag (16), sealed secret.
impl KeyProvider for NamedKey {
    fn name(&self) -> &str {
        "suite-service"
    }

    fn wrap_secret(
        &self,
        slot: &ProviderSlot,
        secret: &SlotSecret,
    ) -> Result<Vec<u8>, ProviderError> {
        let (key, number) = self.ask()?;
        let mut nonce = [0; 12];
        getrandom::fill(&mut nonce).unwrap();
        let mut sealed = secret.expose().to_vec();
        let tag = Aes256GcmSiv::new(&key.into())
            .encrypt_inout_detached(
                &Nonce::from(nonce),
                &slot.associated_data(),
                InOutBuf::from(sealed.as_mut_slice()),
            )
            .unwrap();
        Ok([&number.to_le_bytes()[..], &nonce, &tag, &sealed].concat())
    }

    fn unwrap_secret(&self, slot: &ProviderSlot, blob: &[u8]) -> Result<SlotSecret, ProviderError> {
        let (key, number) = self.ask()?;
        let damaged = || ProviderError::Damaged("not what this service wrapped".to_owned());
        let (wrapped_under, rest) = blob.split_first_chunk::<4>().ok_or_else(damaged)?;
        let (nonce, rest) = rest.split_first_chunk::<12>().ok_or_else(damaged)?;
        let (tag, sealed) = rest.split_first_chunk::<16>().ok_or_else(damaged)?;
        if u32::from_le_bytes(*wrapped_under) != number {
            return Err(ProviderError::NotMine);
        }
        let mut plain = sealed.to_vec();
        Aes256GcmSiv::new(&key.into())
            .decrypt_inout_detached(
                &Nonce::from(*nonce),
                &slot.associated_data(),
                InOutBuf::from(plain.as_mut_slice()),
                &Tag::from(*tag),
            )
            .map_err(|_| damaged())?;
        SlotSecret::from_bytes(&plain).ok_or_else(damaged)
    }
}

pub struct ServiceWorld(Arc<Mutex<Service>>);

impl ServiceWorld {
    pub fn new() -> Self {
        let mut service = Service { up: true, ..Service::default() };
        ["right", "other"].iter().for_each(|name| service.generate_key(name));
        Self(Arc::new(Mutex::new(service)))
    }

    fn key(&self, key_name: &'static str, password: &'static str) -> Box<dyn Credential> {
        let service = Arc::clone(&self.0);
        Box::new(Arc::new(NamedKey { service, key_name, password }))
    }

    fn set(&self, change: impl FnOnce(&mut Service)) {
        change(&mut self.0.lock().unwrap());
    }
}

impl World for ServiceWorld {
    fn name(&self) -> String {
        "key service in this process".to_owned()
    }

    fn credential(&self) -> Box<dyn Credential> {
        self.key("right", "the password")
    }

    fn other_key(&self) -> Box<dyn Credential> {
        self.key("other", "the password")
    }

    fn wrong(&self) -> Case<Box<dyn Credential>> {
        Ok(self.key("right", "another password"))
    }

    fn replace_key(&self) -> Case<()> {
        self.set(|service| service.generate_key("right"));
        Ok(())
    }

    fn stop(&self) -> Case<()> {
        self.set(|service| service.up = false);
        Ok(())
    }

    fn start(&self) {
        self.set(|service| service.up = true);
    }

    fn slow(&self, by: Duration) -> Case<()> {
        self.set(|service| service.delay = by);
        Ok(())
    }

    fn revoke(&self) -> Case<()> {
        self.set(|service| service.revoked = true);
        Ok(())
    }

    fn destroy(&self) -> Case<()> {
        self.set(|service| {
            service.keys.remove("right");
        });
        Ok(())
    }
}
