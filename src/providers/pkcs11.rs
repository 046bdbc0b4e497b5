//! A PKCS #11 token as a key provider: an HSM, a smart card, a USB token, SoftHSM. The token holds
//! a key that never leaves it; a slot's secret is wrapped and unwrapped inside it. Set-up and what
//! it protects against are in docs/providers/pkcs11.md, the bytes of a slot in `wrapping`.
//!
//! Invariants: a PIN is tried once and never again after it was refused; no login outlives a call;
//! no call is waited for longer than its time; nothing is called in a forked child.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use crate::error::ProviderError;
use crate::keys::{KeyProvider, ProviderSlot, SlotSecret};

mod error;
mod key;
mod module;
mod pin;
mod token;
mod uri;
mod wrapping;

pub use error::Pkcs11Error;
pub use key::KeyKind;
pub use pin::Pin;
pub use token::{PinHealth, TokenReport};
pub use uri::{Pkcs11Uri, UriError};
pub use wrapping::Wrapping;

use module::Module;
use pin::PinKeeper;
use token::{Found, LoggedIn};
use wrapping::{Blob, Offers};

/// How long one call may take unless it is said otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A smart card may take that long to make an RSA key.
const GENERATE_TIMEOUT: Duration = Duration::from_secs(120);

/// A key in a PKCS #11 token. Put it into an [`Arc`], and it is a credential:
///
/// ```no_run
/// use std::sync::Arc;
/// use strongroom::Database;
/// use strongroom::providers::pkcs11::{Pin, Pkcs11Provider};
///
/// let uri = "pkcs11:token=vault;object=notes?module-path=/usr/lib/softhsm/libsofthsm2.so";
/// let token = Pkcs11Provider::new(uri.parse()?)?.pin(Pin::read("/run/secrets/pin")?);
/// token.generate_key()?;
/// let db = Database::create("notes.room", Arc::new(token))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A clone shares what became of the PIN. Every call opens a session of its own, logs in, and logs
/// out; where the application itself is logged in to the token, it stays so, and the PIN given here
/// is not looked at by the token.
#[derive(Clone)]
pub struct Pkcs11Provider {
    uri: Pkcs11Uri,
    module: PathBuf,
    pin: Arc<PinKeeper>,
    wrapping: Option<Wrapping>,
    timeout: Duration,
    last_try: bool,
}

/// What [`Pkcs11Provider::probe`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Probe {
    /// The token.
    pub token: TokenReport,
    /// What the key is.
    pub kind: KeyKind,
    /// The key's label.
    pub label: String,
    /// The key's id.
    pub id: Vec<u8>,
    /// Whether the token would let the key out, wrapped by another key.
    pub extractable: bool,
    /// How a new slot's secret would be wrapped.
    pub wrapping: Wrapping,
}

impl Pkcs11Provider {
    /// The key that a URI names: `object` or `id` for the key, `module-path` for the module, and
    /// what is needed to tell the token from others. The PIN is read from its `pin-source`, if it
    /// has one. Nothing is loaded or asked yet.
    ///
    /// # Errors
    /// [`Pkcs11Error::Incomplete`].
    pub fn new(uri: Pkcs11Uri) -> Result<Self, Pkcs11Error> {
        let module = uri
            .module_path()
            .ok_or(Pkcs11Error::Incomplete("names no module; add `?module-path=` to it"))?;
        if uri.object().is_none() && uri.id().is_none() {
            return Err(Pkcs11Error::Incomplete("names no key; add `object=` or `id=` to it"));
        }
        let pin = uri.pin_file().map_or_else(PinKeeper::none, PinKeeper::file);
        let pin = Arc::new(pin);
        Ok(Self { uri, module, pin, wrapping: None, timeout: TIMEOUT, last_try: false })
    }

    /// Logs in with this PIN, in place of what the URI says. Without any, a reader with keys of its
    /// own is asked, if it is one.
    #[must_use]
    pub fn pin(mut self, pin: Pin) -> Self {
        self.pin = Arc::new(PinKeeper::kept(pin));
        self
    }

    /// Asks for the PIN when it is first needed and the token is there, and keeps it in locked
    /// memory from then on. The time that it takes does not count against
    /// [`Pkcs11Provider::timeout`]; when a file is opened it does against
    /// [`Builder::provider_timeout`](crate::Builder::provider_timeout).
    #[must_use]
    pub fn ask_pin(mut self, ask: impl FnOnce() -> io::Result<Pin> + Send + 'static) -> Self {
        self.pin = Arc::new(PinKeeper::ask(ask));
        self
    }

    /// Wraps new secrets in this way and no other. What is stored is unwrapped as it was wrapped.
    #[must_use]
    pub fn wrapping(mut self, wrapping: Wrapping) -> Self {
        self.wrapping = Some(wrapping);
        self
    }

    /// How long one call to the token may take, 5 seconds unless set. A reader at which a person
    /// types the PIN needs more.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whether the PIN is also tried where the token says that one more wrong one locks it. Not
    /// unless set.
    #[must_use]
    pub fn allow_last_try(mut self, allow: bool) -> Self {
        self.last_try = allow;
        self
    }

    /// The URI.
    #[must_use]
    pub fn uri(&self) -> &Pkcs11Uri {
        &self.uri
    }

    /// Makes the key in the token: AES-256, or RSA of 3072 bits where the token can wrap by RSA
    /// only, or that was asked for. It is kept, private, sensitive and not extractable, and has a
    /// random id unless the URI gives one. May take two minutes.
    ///
    /// # Errors
    /// [`Pkcs11Error::KeyExists`]: nothing was made. Or what the token says.
    pub fn generate_key(&self) -> Result<KeyKind, Pkcs11Error> {
        let timeout = self.timeout.max(GENERATE_TIMEOUT);
        self.logging_in(timeout, |me, token, offers| {
            let kind = offers.kind_of_new_key(me.wrapping);
            let entered = me.log_in(&token, true)?;
            key::generate(&entered.session, &me.uri, kind)?;
            Ok(kind)
        })
    }

    /// Destroys the key in the token: for ever, unless the token has a backup of its own. Every
    /// slot of every file that it wrapped opens no more, in old copies and backups too. Returns how
    /// many objects it was: none where there was no such key, so that it can be done again.
    ///
    /// strongroom never does this by itself: one key may hold many files. Remove the slot from the
    /// file first ([`AdminSession::remove`](crate::AdminSession::remove)), and see that another one
    /// opens it.
    ///
    /// # Errors
    /// [`Pkcs11Error::KeyAmbiguous`]: nothing was destroyed. Or what the token says.
    pub fn efface(&self) -> Result<usize, Pkcs11Error> {
        self.logging_in(self.timeout, |me, token, _| {
            let entered = me.log_in(&token, true)?;
            key::destroy(&entered.session, &me.uri)
        })
    }

    /// Looks at the token without logging in: whether it is there, and how its PIN is doing.
    ///
    /// # Errors
    /// [`Pkcs11Error::Module`], [`Pkcs11Error::TokenAbsent`], or what the token says.
    pub fn token(&self) -> Result<TokenReport, Pkcs11Error> {
        self.with_token(self.timeout, |_, token, _| Ok(token.report))
    }

    /// Logs in, looks for the key, and sees how it would wrap; changes nothing, wraps nothing. A
    /// wrong PIN counts.
    ///
    /// # Errors
    /// What stands in the way of the next open or the next slot.
    pub fn probe(&self) -> Result<Probe, Pkcs11Error> {
        self.logging_in(self.timeout, |me, token, offers| {
            let entered = me.log_in(&token, false)?;
            let found = me.key(&entered, me.wrapping)?;
            found.facts.check(found.kind)?;
            let wrapping = offers.choose(found.kind, me.wrapping)?;
            drop(entered);
            let extractable = found.facts.extractable;
            let (kind, label, id) = (found.kind, found.facts.label, found.id);
            Ok(Probe { token: token.report, kind, label, id, extractable, wrapping })
        })
    }

    fn log_in(&self, token: &Found<'_>, writable: bool) -> Result<LoggedIn, Pkcs11Error> {
        token.log_in(&self.pin, self.last_try, writable)
    }

    fn key(&self, entered: &LoggedIn, way: Option<Wrapping>) -> Result<key::Key, Pkcs11Error> {
        key::find(&entered.session, &self.uri, way.map(Wrapping::key_kind))
    }

    /// A call that logs in. Where somebody has to be asked for the PIN, the token is looked for
    /// first, and no clock runs while he types.
    fn logging_in<T: Send + 'static>(
        &self,
        timeout: Duration,
        call: impl FnOnce(&Self, Found<'_>, Offers) -> Result<T, Pkcs11Error> + Send + 'static,
    ) -> Result<T, Pkcs11Error> {
        module::check_not_forked()?;
        if self.pin.is_to_be_asked() {
            if self.token()?.pin == PinHealth::Locked {
                return Err(Pkcs11Error::PinLocked);
            }
            drop(self.pin.take()?);
        }
        self.with_token(timeout, call)
    }

    /// One call: on a thread of its own, with the module to itself, the token found.
    fn with_token<T: Send + 'static>(
        &self,
        timeout: Duration,
        call: impl FnOnce(&Self, Found<'_>, Offers) -> Result<T, Pkcs11Error> + Send + 'static,
    ) -> Result<T, Pkcs11Error> {
        module::check_not_forked()?;
        self.pin.check_not_refused()?;
        let me = self.clone();
        module::timed(timeout, move |left| {
            let module = Module::get(&me.module)?;
            let turn = module.enter(left)?;
            // Somebody may have tried it while we waited for our turn.
            me.pin.check_not_refused()?;
            let context = turn.context()?;
            let token = Found::by(&me.uri, context)?;
            let offers = Offers::of(context, token.slot)?;
            call(&me, token, offers)
        })
    }
}

impl KeyProvider for Pkcs11Provider {
    fn name(&self) -> &str {
        "pkcs11"
    }

    fn wrap_secret(
        &self,
        slot: &ProviderSlot,
        secret: &SlotSecret,
    ) -> Result<Vec<u8>, ProviderError> {
        let binding = slot.associated_data();
        // Wiped with the thread, also where nobody waits for it any more.
        let secret = SlotSecret::from_bytes(secret.expose())
            .ok_or_else(|| ProviderError::Damaged("not 32 bytes".to_owned()))?;
        let wrapped = self.logging_in(self.timeout, move |me, token, offers| {
            let entered = me.log_in(&token, false)?;
            let key = me.key(&entered, me.wrapping)?;
            key.facts.check(key.kind)?;
            let way = offers.choose(key.kind, me.wrapping)?;
            wrapping::wrap(&entered.session, &key, way, &binding, &secret)
        });
        Ok(wrapped?)
    }

    fn unwrap_secret(&self, slot: &ProviderSlot, blob: &[u8]) -> Result<SlotSecret, ProviderError> {
        let binding = slot.associated_data();
        // Before the token is troubled.
        Blob::decode(blob)?;
        let blob = blob.to_vec();
        let secret = self.logging_in(self.timeout, move |me, token, _| {
            let blob = Blob::decode(&blob)?;
            let entered = me.log_in(&token, false)?;
            let key = me.key(&entered, Some(blob.way))?;
            wrapping::unwrap(&entered.session, &key, &blob, &binding)
        });
        Ok(secret?)
    }
}

impl fmt::Debug for Pkcs11Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pkcs11Provider")
            .field("uri", &self.uri.to_string())
            .field("pin", &self.pin)
            .finish_non_exhaustive()
    }
}
