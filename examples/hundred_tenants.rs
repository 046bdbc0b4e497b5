//! A hundred tenants, each with a file and a root key of his own, under one key service that has a
//! named key for each. A tenant is erased by destroying his key there: his file, every old copy of
//! it and every backup of its header open no more, wherever they are, and nobody else notices.
//!
//!     cargo run --release --example hundred_tenants
//!
//! `Keys` is what any service, HSM or token gives: a key by name, made and destroyed. Here it is a
//! map in memory, so that the example runs anywhere; `tests/provider_pkcs11/tenants.rs` runs the
//! same over a PKCS #11 token. Each file has the one slot, on purpose: a recovery slot would open
//! it after the erasure too. Where the service's loss must be survived, give each file a second
//! slot under a second service, and erase in both.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aes_gcm_siv::aead::AeadInOut;
use aes_gcm_siv::aead::inout::InOutBuf;
use aes_gcm_siv::{Aes256GcmSiv, Key, KeyInit, Nonce, Tag};
use strongroom::redb::{ReadableDatabase, TableDefinition};
use strongroom::{
    Builder, KeyProvider, OpenError, ProviderError, ProviderFailure, ProviderFault, ProviderSlot,
    SlotSecret,
};

const NOTES: TableDefinition<&str, &str> = TableDefinition::new("notes");

/// A service with a named key for each tenant.
pub trait Keys {
    /// Makes the tenant's key.
    fn make(&self, tenant: &str) -> Result<(), Box<dyn Error>>;
    /// The tenant's key, to open his file with.
    fn key(&self, tenant: &str) -> Result<Arc<dyn KeyProvider>, Box<dyn Error>>;
    /// Destroys it for good.
    fn destroy(&self, tenant: &str) -> Result<(), Box<dyn Error>>;
}

/// What the run came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Files that opened with their tenant's key and had his row, before the erasure.
    pub opened_before: usize,
    /// And after it.
    pub opened_after: usize,
    /// Attempts on the erased tenant's file, its old copy and its header backup, by his own key
    /// and by every other tenant's.
    pub attempts: usize,
    /// How many of them opened anything.
    pub attempts_that_opened: usize,
}

/// Gives everybody a file, erases one tenant, and looks at all of them.
pub fn run(keys: &dyn Keys, tenants: usize, folder: &Path) -> Result<Outcome, Box<dyn Error>> {
    let name = |tenant: usize| format!("tenant-{tenant:03}");
    let file = |tenant: usize| folder.join(format!("{}.room", name(tenant)));
    for tenant in 0..tenants {
        keys.make(&name(tenant))?;
        let db = builder().create(file(tenant), &keys.key(&name(tenant))?)?;
        let write = db.begin_write()?;
        write.open_table(NOTES)?.insert("name", name(tenant).as_str())?;
        write.commit()?;
        db.close()?;
    }
    let opened = || {
        let opens = |tenant: &usize| {
            let key = keys.key(&name(*tenant)).ok();
            key.is_some_and(|key| says_so(&file(*tenant), &key, &name(*tenant)))
        };
        (0..tenants).filter(opens).count()
    };
    let opened_before = opened();

    // The one to be erased, and what lies about of him: a stolen disk, a backup of the header.
    let erased = tenants / 2;
    let stolen = folder.join("stolen.room");
    fs::copy(file(erased), &stolen)?;
    let backup = {
        let db = builder().open(file(erased), &keys.key(&name(erased))?)?;
        let backup = db.header_backup()?;
        db.close()?;
        backup
    };
    keys.destroy(&name(erased))?;

    let (mut attempts, mut attempts_that_opened) = (0, 0);
    let mut attempt = |opened: bool| {
        attempts += 1;
        attempts_that_opened += usize::from(opened);
    };
    for tenant in 0..tenants {
        let key = keys.key(&name(tenant))?;
        for path in [file(erased), stolen.clone()] {
            let answer = builder().open(&path, &key).map(drop);
            if tenant == erased {
                gone(answer.as_ref().err())?;
            }
            attempt(answer.is_ok());
        }
        let copy = folder.join("copy.room");
        fs::copy(&stolen, &copy)?;
        let restored = builder().restore_header(&copy, &backup, &key, strongroom::TurnBack::Allow);
        attempt(restored.is_ok());
    }
    Ok(Outcome { opened_before, opened_after: opened(), attempts, attempts_that_opened })
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.cache_size(256 << 10);
    builder
}

fn says_so(path: &PathBuf, key: &Arc<dyn KeyProvider>, name: &str) -> bool {
    let read = || -> Result<bool, Box<dyn Error>> {
        let db = builder().open(path, key)?;
        let row = db.begin_read()?.open_table(NOTES)?.get("name")?;
        Ok(row.is_some_and(|row| row.value() == name))
    };
    read().unwrap_or(false)
}

/// The refusal has to say why: not a wrong key, but one that is no more.
fn gone(error: Option<&OpenError>) -> Result<(), Box<dyn Error>> {
    match error {
        Some(OpenError::Provider(ProviderFailure {
            fault: ProviderFault::Answered(ProviderError::NoKey(_)),
            ..
        })) => Ok(()),
        other => Err(format!("not refused as it should be: {other:?}").into()),
    }
}

#[allow(dead_code, reason = "the test that includes this file calls `run`")]
fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let outcome = run(&InMemory::default(), 100, folder.path())?;
    let Outcome { opened_before, opened_after, attempts, attempts_that_opened } = outcome;
    println!("tenants whose file opened:                      {opened_before}");
    println!("one key destroyed; tenants whose file opens:    {opened_after}");
    println!("attempts on the erased tenant's file and copies: {attempts}");
    println!("of these that opened:                           {attempts_that_opened}");
    let as_promised = (opened_before, opened_after, attempts_that_opened) == (100, 99, 0);
    if as_promised { Ok(()) } else { Err("not as promised".into()) }
}

// ---- The stand-in for the service ---------------------------------------------------------------

#[derive(Default)]
#[allow(dead_code, reason = "the test that includes this file has a real one")]
struct InMemory(Arc<Mutex<HashMap<String, Key<Aes256GcmSiv>>>>);

impl Keys for InMemory {
    fn make(&self, tenant: &str) -> Result<(), Box<dyn Error>> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(tenant.to_owned(), key.into());
        Ok(())
    }

    fn key(&self, tenant: &str) -> Result<Arc<dyn KeyProvider>, Box<dyn Error>> {
        Ok(Arc::new(NamedKey { keys: Arc::clone(&self.0), name: tenant.to_owned() }))
    }

    fn destroy(&self, tenant: &str) -> Result<(), Box<dyn Error>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
        Ok(())
    }
}

/// One key of the service.
struct NamedKey {
    keys: Arc<Mutex<HashMap<String, Key<Aes256GcmSiv>>>>,
    name: String,
}

impl fmt::Debug for NamedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NamedKey {:?}", self.name)
    }
}

impl NamedKey {
    fn cipher(&self) -> Result<Aes256GcmSiv, ProviderError> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let key = keys.get(&self.name).ok_or_else(|| {
            ProviderError::NoKey(format!("the service has no key {:?}", self.name))
        })?;
        Ok(Aes256GcmSiv::new(key))
    }
}

/// Blob: nonce (12), tag (16), sealed secret (32).
impl KeyProvider for NamedKey {
    fn name(&self) -> &str {
        "tenant-keys"
    }

    fn wrap_secret(
        &self,
        slot: &ProviderSlot,
        secret: &SlotSecret,
    ) -> Result<Vec<u8>, ProviderError> {
        let mut nonce = [0; 12];
        getrandom::fill(&mut nonce)
            .map_err(|error| ProviderError::Unavailable(error.to_string()))?;
        let mut sealed = *secret.expose();
        let tag = self
            .cipher()?
            .encrypt_inout_detached(
                &Nonce::from(nonce),
                &slot.associated_data(),
                InOutBuf::from(sealed.as_mut_slice()),
            )
            .map_err(|_| ProviderError::Unavailable("can't seal".to_owned()))?;
        Ok([&nonce[..], &tag, &sealed].concat())
    }

    fn unwrap_secret(&self, slot: &ProviderSlot, blob: &[u8]) -> Result<SlotSecret, ProviderError> {
        let cipher = self.cipher()?;
        let parts = || {
            let (nonce, rest) = blob.split_first_chunk::<12>()?;
            let (tag, sealed) = rest.split_first_chunk::<16>()?;
            Some((*nonce, *tag, <[u8; 32]>::try_from(sealed).ok()?))
        };
        let damaged = || ProviderError::Damaged("not what this key wrapped".to_owned());
        let (nonce, tag, mut plain) = parts().ok_or_else(damaged)?;
        let buffer = InOutBuf::from(plain.as_mut_slice());
        cipher
            .decrypt_inout_detached(
                &Nonce::from(nonce),
                &slot.associated_data(),
                buffer,
                &Tag::from(tag),
            )
            .map_err(|_| damaged())?;
        SlotSecret::from_bytes(&plain).ok_or_else(damaged)
    }
}
