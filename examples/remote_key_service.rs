//! A key provider of one's own: a database whose key lives in a remote key management service.
//!
//!     cargo run --release --example remote_key_service
//!
//! `KmsKey` is what an application writes: a name, how to wrap 32 bytes, how to unwrap them, and
//! which of the service's answers means what. Everything else is strongroom's: the slot secret is
//! random, the service never sees another key, a hang and a panic are errors, and nothing is
//! changed by a failed open.
//!
//! `Service` stands in for the service, so that the example runs anywhere: an object in this
//! process instead of HTTPS to another machine, with the answers that such a service gives. It can
//! be down, slow, refuse, and forget a key. Replace its two calls by those of your client.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use aes_gcm_siv::aead::AeadInOut;
use aes_gcm_siv::aead::inout::InOutBuf;
use aes_gcm_siv::{Aes256GcmSiv, Key, KeyInit, Nonce, Tag};
use strongroom::redb::{ReadableDatabase, TableDefinition};
use strongroom::{
    Builder, Database, KeyProvider, OpenError, ProviderError, ProviderSlot, SlotSecret,
};
use zeroize::Zeroizing;

const NOTES: TableDefinition<&str, &str> = TableDefinition::new("notes");

// ---- What an application writes -----------------------------------------------------------------

/// One key of the service, as this application reaches it.
struct KmsKey {
    service: Arc<Service>,
    /// Which key to wrap new slots with. The service says in each ciphertext which key it was.
    key_name: String,
    /// What the service knows the application by.
    token: Zeroizing<String>,
}

/// By hand, so that the token is not shown.
impl fmt::Debug for KmsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KmsKey").field("key_name", &self.key_name).finish_non_exhaustive()
    }
}

impl KeyProvider for KmsKey {
    // Written into every slot: never change it, and let no other kind of provider have it.
    fn name(&self) -> &str {
        "example-kms"
    }

    fn wrap_secret(
        &self,
        slot: &ProviderSlot,
        secret: &SlotSecret,
    ) -> Result<Vec<u8>, ProviderError> {
        // The associated data makes the ciphertext good for this slot of this file only.
        self.service
            .encrypt(&self.token, &self.key_name, &slot.associated_data(), secret.expose())
            .map_err(what_it_means)
    }

    fn unwrap_secret(&self, slot: &ProviderSlot, blob: &[u8]) -> Result<SlotSecret, ProviderError> {
        let plain = self
            .service
            .decrypt(&self.token, &slot.associated_data(), blob)
            .map_err(what_it_means)?;
        SlotSecret::from_bytes(&plain)
            .ok_or_else(|| ProviderError::Damaged("not 32 bytes".to_owned()))
    }
}

/// The one thing to think about: which answer of the service is which error. `NotMine`, `Denied`
/// and `Damaged` let strongroom try the file's other slots; the rest ends the search, because an
/// attempt may count or the next one would fail in the same way.
fn what_it_means(answer: Answer) -> ProviderError {
    match answer {
        Answer::Unreachable => ProviderError::Unavailable("connection refused".to_owned()),
        Answer::Unauthorised => ProviderError::Wrong,
        Answer::TooManyAttempts { wait } => ProviderError::LockedOut { retry_after: Some(wait) },
        Answer::Forbidden(why) => ProviderError::Denied(why),
        Answer::NoSuchKey => ProviderError::NotMine,
        Answer::BadCiphertext => ProviderError::Damaged("the service can't decrypt it".to_owned()),
    }
}

// ---- What it does to a database -----------------------------------------------------------------

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("notes.room");
    let service = Arc::new(Service::with_key("notes-2026", "the application's token"));
    let key = |token: &str| {
        Arc::new(KmsKey {
            service: Arc::clone(&service),
            key_name: "notes-2026".to_owned(),
            token: Zeroizing::new(token.to_owned()),
        })
    };
    let good = key("the application's token");

    let db = Database::create(&path, Arc::clone(&good))?;
    let write = db.begin_write()?;
    write.open_table(NOTES)?.insert("a", "kept by the service's key")?;
    write.commit()?;
    db.close()?;
    let db = Database::open(&path, Arc::clone(&good))?;
    let note = db.begin_read()?.open_table(NOTES)?.get("a")?.map(|note| note.value().to_owned());
    println!("the service is up:      {}", note.unwrap_or_default());
    db.close()?;

    // A short time-out for the example; 30 seconds unless set.
    let mut builder = Builder::new();
    builder.provider_timeout(Duration::from_millis(250));
    let open = |key: &Arc<KmsKey>| match builder.open(&path, key) {
        Ok(_) => "it opened".to_owned(),
        Err(OpenError::Provider(failure)) => failure.to_string(),
        Err(error) => format!("another error: {error}"),
    };
    service.set(State::Down);
    println!("the service is down:    {}", open(&good));
    service.set(State::Slow(Duration::from_secs(2)));
    println!("the service is stuck:   {}", open(&good));
    service.set(State::Slow(Duration::from_millis(50)));
    println!("the service is slow:    {}", open(&good));
    service.set(State::KeyDisabled);
    println!("the key is disabled:    {}", open(&good));
    service.set(State::Up);
    println!("the token is wrong:     {}", open(&key("somebody else's")));
    service.set(State::LockedOut(Duration::from_secs(900)));
    println!("too many wrong ones:    {}", open(&good));
    service.set(State::Up);
    println!("the service is back:    {}", open(&good));
    Ok(())
}

// ---- The stand-in for the service ---------------------------------------------------------------

/// How the service is doing.
#[derive(Clone)]
enum State {
    Up,
    Down,
    Slow(Duration),
    KeyDisabled,
    LockedOut(Duration),
}

/// What such a service answers: a status code and some JSON, in real life.
enum Answer {
    Unreachable,
    Unauthorised,
    TooManyAttempts { wait: Duration },
    Forbidden(String),
    NoSuchKey,
    BadCiphertext,
}

struct Service {
    keys: HashMap<String, Key<Aes256GcmSiv>>,
    token: String,
    state: Mutex<State>,
}

impl Service {
    fn with_key(name: &str, token: &str) -> Self {
        // A fixed key keeps the example short. The real one never leaves the service.
        let keys = HashMap::from([(name.to_owned(), Key::<Aes256GcmSiv>::from([0x42; 32]))]);
        Self { keys, token: token.to_owned(), state: Mutex::new(State::Up) }
    }

    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    fn admit(&self, token: &str) -> Result<(), Answer> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match state {
            State::Down => return Err(Answer::Unreachable),
            State::Slow(time) => thread::sleep(time),
            State::KeyDisabled => return Err(Answer::Forbidden("key is disabled".to_owned())),
            State::LockedOut(wait) => return Err(Answer::TooManyAttempts { wait }),
            State::Up => {}
        }
        if token == self.token { Ok(()) } else { Err(Answer::Unauthorised) }
    }

    /// Ciphertext: length of the key's name, the name, nonce, tag, sealed bytes.
    fn encrypt(
        &self,
        token: &str,
        key: &str,
        associated_data: &[u8],
        plain: &[u8],
    ) -> Result<Vec<u8>, Answer> {
        self.admit(token)?;
        let cipher = Aes256GcmSiv::new(self.keys.get(key).ok_or(Answer::NoSuchKey)?);
        let mut nonce = [0; 12];
        getrandom::fill(&mut nonce).map_err(|_| Answer::Unreachable)?;
        let mut sealed = plain.to_vec();
        let tag = cipher
            .encrypt_inout_detached(
                &Nonce::from(nonce),
                associated_data,
                InOutBuf::from(sealed.as_mut_slice()),
            )
            .map_err(|_| Answer::BadCiphertext)?;
        let name_len = u8::try_from(key.len()).map_err(|_| Answer::NoSuchKey)?;
        Ok([&[name_len], key.as_bytes(), &nonce, &tag, &sealed].concat())
    }

    fn decrypt(
        &self,
        token: &str,
        associated_data: &[u8],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Answer> {
        self.admit(token)?;
        let (name, nonce, tag, sealed) = parts(ciphertext).ok_or(Answer::BadCiphertext)?;
        let cipher = Aes256GcmSiv::new(self.keys.get(name).ok_or(Answer::NoSuchKey)?);
        let mut plain = Zeroizing::new(sealed.to_vec());
        let buffer = InOutBuf::from(plain.as_mut_slice());
        cipher
            .decrypt_inout_detached(&Nonce::from(nonce), associated_data, buffer, &Tag::from(tag))
            .map_err(|_| Answer::BadCiphertext)?;
        Ok(plain)
    }
}

/// Name of the key, nonce, tag, sealed bytes.
type Parts<'a> = (&'a str, [u8; 12], [u8; 16], &'a [u8]);

fn parts(ciphertext: &[u8]) -> Option<Parts<'_>> {
    let (name_len, rest) = ciphertext.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*name_len))?;
    let (nonce, rest) = rest.split_first_chunk()?;
    let (tag, sealed) = rest.split_first_chunk()?;
    Some((str::from_utf8(name).ok()?, *nonce, *tag, sealed))
}
