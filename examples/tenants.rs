//! One file a tenant, one key service for all of them, and a tenant who is erased by destroying his
//! key: his file, every copy of it and every backup are noise from then on, wherever they lie, and
//! nobody has to find them. The other tenants notice nothing.
//!
//!     cargo run --release --example tenants
//!
//! It proves what it says and fails otherwise. What has to hold for an erasure to be one:
//!
//! - the service's key is the only way in: no second key slot, which `Vault::erase` checks first;
//! - the service destroys the key for good, its own backups included;
//! - no process has the file open; what it would have in memory, it could go on reading.
//!
//! `KeyService` stands in for a service such as OpenBao's Transit engine, so that this runs
//! anywhere. `examples/remote_key_service.rs` shows what a provider says when a service is down.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aes_gcm_siv::aead::AeadInOut;
use aes_gcm_siv::aead::inout::InOutBuf;
use aes_gcm_siv::{Aes256GcmSiv, Key, KeyInit, Nonce, Tag};
use strongroom::backup::{self, Chain, RestoreOptions};
use strongroom::redb::{ReadableDatabase, TableDefinition};
use strongroom::{
    BackupError, Credential, Database, KeyProvider, OpenError, ProveOptions, ProviderError,
    ProviderSlot, SlotSecret, prove,
};
use zeroize::Zeroizing;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const INVOICES: TableDefinition<u64, &str> = TableDefinition::new("invoices");

// ---- What an application writes -----------------------------------------------------------------

/// All tenants' files, in one directory.
struct Vault {
    directory: PathBuf,
    service: Arc<KeyService>,
}

impl Vault {
    fn file_of(&self, tenant: &str) -> PathBuf {
        self.directory.join(format!("{tenant}.room"))
    }

    /// The service's key of a tenant, as a credential.
    fn key_of(&self, tenant: &str) -> Arc<TenantKey> {
        Arc::new(TenantKey { service: Arc::clone(&self.service), tenant: tenant.to_owned() })
    }

    /// A key at the service and a file under it.
    fn admit(&self, tenant: &str) -> Result<Database> {
        self.service.make_key(tenant)?;
        Ok(Database::create(self.file_of(tenant), self.key_of(tenant))?)
    }

    fn open(&self, tenant: &str) -> std::result::Result<Database, OpenError> {
        Database::open(self.file_of(tenant), self.key_of(tenant))
    }

    /// Erases a tenant. The file may be deleted afterwards; nothing depends on it.
    fn erase(&self, tenant: &str) -> Result<()> {
        let db = self.open(tenant)?;
        let slots = db.key_status().slots.len();
        db.close()?;
        if slots != 1 {
            return Err(format!("{tenant} has {slots} key slots: remove the others first").into());
        }
        self.service.destroy_key(tenant)
    }
}

/// One tenant's key, as the application reaches it.
struct TenantKey {
    service: Arc<KeyService>,
    tenant: String,
}

/// By hand, so that whatever the service is known by is not shown.
impl fmt::Debug for TenantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantKey").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

impl KeyProvider for TenantKey {
    fn name(&self) -> &str {
        "tenant-keys"
    }

    fn wrap_secret(
        &self,
        slot: &ProviderSlot,
        secret: &SlotSecret,
    ) -> std::result::Result<Vec<u8>, ProviderError> {
        self.service.seal(&self.tenant, &slot.associated_data(), secret.expose())
    }

    fn unwrap_secret(
        &self,
        slot: &ProviderSlot,
        blob: &[u8],
    ) -> std::result::Result<SlotSecret, ProviderError> {
        let plain = self.service.open(&self.tenant, &slot.associated_data(), blob)?;
        SlotSecret::from_bytes(&plain)
            .ok_or_else(|| ProviderError::Damaged("not 32 bytes".to_owned()))
    }
}

// ---- What it does -------------------------------------------------------------------------------

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let vault =
        Vault { directory: folder.path().to_owned(), service: Arc::new(KeyService::default()) };
    let tenants = ["alice", "bob", "carol"];
    for tenant in tenants {
        let db = vault.admit(tenant)?;
        let write = db.begin_write()?;
        write.open_table(INVOICES)?.insert(1, format!("what {tenant} owes").as_str())?;
        write.commit()?;
        db.close()?;
    }
    for tenant in tenants {
        println!("{tenant:>6}: {}", invoice(&vault.open(tenant)?)?);
    }

    // Another tenant's key, of the same service, opens nothing of his.
    let crossed = Database::open(vault.file_of("alice"), vault.key_of("carol"));
    println!(" carol's key on alice's file: {}", refusal(crossed)?);

    // What an erasure can't go and find: a copy and a backup, on other machines.
    let copy = folder.path().join("copy-of-bob.room");
    fs::copy(vault.file_of("bob"), &copy)?;
    let db = vault.open("bob")?;
    let backed_up = folder.path().join("bob.backup");
    backup::to_file(&db, None, &backed_up, &backup::Options::default())?;
    db.close()?;
    restore(&backed_up, &folder.path().join("restored.room"), &vault.key_of("bob"))?;

    vault.erase("bob")?;
    println!("   bob's file: {}", refusal(vault.open("bob"))?);
    println!("   a copy of it: {}", refusal(Database::open(&copy, vault.key_of("bob")))?);
    match restore(&backed_up, &folder.path().join("again.room"), &vault.key_of("bob")) {
        Err(BackupError::Open(OpenError::Provider(refused))) => println!("   a backup: {refused}"),
        other => return Err(format!("the backup of bob: {other:?}").into()),
    }
    // And there is nothing in it that could be read without a key.
    let proof = prove(&copy, None, &ProveOptions::new().pattern("what bob owes"))?;
    if !proof.holds() {
        return Err(format!("something in bob's file looks like plaintext:\n{proof}").into());
    }
    for tenant in ["alice", "carol"] {
        println!("{tenant:>6}: {}", invoice(&vault.open(tenant)?)?);
    }

    // A second slot would have been a second way in: then nothing is destroyed.
    let db = vault.open("carol")?;
    let code = strongroom::RecoveryCode::generate()?;
    let spec = strongroom::SlotSpec::data("in somebody's safe");
    db.admin(&vault.key_of("carol"))?.add(&spec, &code)?;
    db.close()?;
    match vault.erase("carol") {
        Err(refused) => println!(" carol: {refused}"),
        Ok(()) => return Err("carol was erased though a recovery code opens her file".into()),
    }
    println!("{:>6}: {}", "carol", invoice(&vault.open("carol")?)?);
    Ok(())
}

fn invoice(db: &Database) -> Result<String> {
    let table = db.begin_read()?.open_table(INVOICES)?;
    Ok(table.get(1)?.ok_or("the invoice is gone")?.value().to_owned())
}

fn restore(from: &Path, to: &Path, key: &dyn Credential) -> std::result::Result<(), BackupError> {
    backup::restore(Chain::of_files([from])?, to, key, &RestoreOptions::default()).map(drop)
}

/// What the provider said; an error if the file opened, or failed for another reason.
fn refusal(opened: std::result::Result<Database, OpenError>) -> Result<String> {
    match opened {
        Err(OpenError::Provider(refused)) => Ok(refused.to_string()),
        Err(other) => Err(other.into()),
        Ok(_) => Err("it opened".into()),
    }
}

// ---- The stand-in for the service ---------------------------------------------------------------

/// One key a tenant. A real service keeps them in its own hardware, and never hands one out.
#[derive(Default)]
struct KeyService {
    keys: Mutex<HashMap<String, Zeroizing<[u8; 32]>>>,
}

impl KeyService {
    fn make_key(&self, tenant: &str) -> Result<()> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut_slice())?;
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        match keys.insert(tenant.to_owned(), key) {
            None => Ok(()),
            Some(_) => Err(format!("{tenant} had a key already").into()),
        }
    }

    fn destroy_key(&self, tenant: &str) -> Result<()> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.remove(tenant).map(drop).ok_or_else(|| format!("{tenant} has no key").into())
    }

    fn cipher(&self, tenant: &str) -> std::result::Result<Aes256GcmSiv, ProviderError> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let key = keys.get(tenant);
        let destroyed = || ProviderError::Denied(format!("the key of {tenant} was destroyed"));
        Ok(Aes256GcmSiv::new(&Key::<Aes256GcmSiv>::from(**key.ok_or_else(destroyed)?)))
    }

    /// Nonce, tag, sealed bytes.
    fn seal(
        &self,
        tenant: &str,
        associated_data: &[u8],
        plain: &[u8],
    ) -> std::result::Result<Vec<u8>, ProviderError> {
        let mut nonce = [0; 12];
        let no_randomness = |_| ProviderError::Unavailable("no randomness".to_owned());
        getrandom::fill(&mut nonce).map_err(no_randomness)?;
        let mut sealed = plain.to_vec();
        let buffer = InOutBuf::from(sealed.as_mut_slice());
        let tag = self
            .cipher(tenant)?
            .encrypt_inout_detached(&Nonce::from(nonce), associated_data, buffer)
            .map_err(|_| ProviderError::Damaged("it can't be sealed".to_owned()))?;
        Ok([&nonce[..], &tag, &sealed].concat())
    }

    fn open(
        &self,
        tenant: &str,
        associated_data: &[u8],
        blob: &[u8],
    ) -> std::result::Result<Zeroizing<Vec<u8>>, ProviderError> {
        let other = || ProviderError::Denied(format!("not sealed with the key of {tenant}"));
        let (nonce, rest) = blob.split_first_chunk::<12>().ok_or_else(other)?;
        let (tag, sealed) = rest.split_first_chunk::<16>().ok_or_else(other)?;
        let mut plain = Zeroizing::new(sealed.to_vec());
        let (nonce, tag) = (Nonce::from(*nonce), Tag::from(*tag));
        let buffer = InOutBuf::from(plain.as_mut_slice());
        self.cipher(tenant)?
            .decrypt_inout_detached(&nonce, associated_data, buffer, &tag)
            .map_err(|_| other())?;
        Ok(plain)
    }
}
