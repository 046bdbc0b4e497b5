//! A key service over TLS: a key of the Transit engine of OpenBao or Vault wraps the slot's secret.
//! The key never leaves the service; the service never sees the file, its root key or its data.
//!
//! Each question to the service is a call of its own: the files (roots, client certificate, token)
//! are read, a connection is made, the service proves who it is, one request is sent and one answer
//! of bounded size read, all within one time-out. Nothing is kept between calls but how long the
//! token has to live, so there is nothing to restart when a certificate is replaced, nothing that
//! a fork could share, and no retry: what fails is reported.
//!
//! Set-up, what it protects against, and what happens when the service is slow, sealed or lost:
//! docs/providers/kms.md.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use ureq::http::Method;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::error::ProviderError;
use crate::events::tell;
use crate::keys::{KeyProvider, ProviderSlot, SlotSecret};

mod answer;
mod blob;
mod call;
mod certificate;
mod fault;
mod health;
mod options;
mod tls;
mod token;
mod transport;
mod trust;

pub use crate::error::TransitOptionsError;
pub use health::{KeyHealth, TokenHealth, TransitHealth};
pub use options::{Pin, TransitOptions};
pub use token::TokenFrom;

use answer::{Answer, Asked};
use blob::Ciphertext;
use call::Question;
use health::{Warned, system_time};
use tls::Tls;
use token::{Due, LastToken, Life, LifeKind, Token};

/// Key types that bind associated data.
const KEY_TYPES: [&str; 4] =
    ["aes256-gcm96", "aes128-gcm96", "chacha20-poly1305", "xchacha20-poly1305"];
/// A secret of 32 bytes in Base64.
const SECRET_LEN: usize = 44;

/// A key of a Transit engine, as a credential: `Arc::new(TransitKey::new(options)?)`.
///
/// A slot stores the key's name, and the service's ciphertext with the version of the key in it. A
/// slot of another key's name is not this one's, and the service is not asked about it. Raising the
/// key's minimum version revokes the slots of earlier versions; deleting the key, all of them.
///
/// How it fails: what can't be reached, is sealed, or can't prove who it is, is
/// [`ProviderError::Unavailable`]; a token without permission, a revoked version and a missing
/// client certificate are [`ProviderError::Denied`]; an absent key is [`ProviderError::NoKey`]; a
/// ciphertext that the key doesn't open is [`ProviderError::Damaged`]. No error holds a token or a
/// secret.
pub struct TransitKey {
    options: TransitOptions,
    token: Mutex<LastToken>,
    warned: Mutex<Warned>,
}

impl fmt::Debug for TransitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TransitOptions { url, mount, key, namespace, .. } = &self.options;
        f.debug_struct("TransitKey")
            .field("url", url)
            .field("namespace", namespace)
            .field("mount", mount)
            .field("key", key)
            .finish_non_exhaustive()
    }
}

impl KeyProvider for TransitKey {
    fn name(&self) -> &str {
        "transit"
    }

    fn wrap_secret(
        &self,
        slot: &ProviderSlot,
        secret: &SlotSecret,
    ) -> Result<Vec<u8>, ProviderError> {
        let token = self.ready_token()?;
        self.check_key(&token)?;
        let mut plain = Zeroizing::new([0; SECRET_LEN]);
        let plain =
            Base64::encode(secret.expose(), plain.as_mut_slice()).map_err(|_| no_base64())?;
        let bound = Base64::encode_string(&slot.associated_data());
        let body = json_of([("plaintext", plain), ("associated_data", &bound)]);
        let path = format!("{}/encrypt/{}", self.options.mount, self.options.key);
        let answer = self.ask(Method::POST, path, Some(body.as_bytes()), Some(&token))?;
        let json = answer.yes(self.asked(None), Some(&token))?;
        let ciphertext = json.text(&["data", "ciphertext"]).and_then(Ciphertext::parse);
        let ciphertext = ciphertext.ok_or_else(|| {
            ProviderError::Unavailable("an answer without a ciphertext of its form".to_owned())
        })?;
        let (key, version) = (&self.options.key, ciphertext.key_version);
        tell!(DEBUG, "the key service wrapped a secret", key = key, version = version);
        Ok(blob::join(key, ciphertext))
    }

    fn unwrap_secret(&self, slot: &ProviderSlot, blob: &[u8]) -> Result<SlotSecret, ProviderError> {
        let (key, ciphertext) = blob::split(blob).ok_or_else(|| {
            ProviderError::Damaged("not what this kind of provider stores".to_owned())
        })?;
        if key != self.options.key {
            return Err(ProviderError::NotMine);
        }
        let token = self.ready_token()?;
        let bound = Base64::encode_string(&slot.associated_data());
        let body = json_of([("ciphertext", ciphertext.text), ("associated_data", &bound)]);
        let path = format!("{}/decrypt/{key}", self.options.mount);
        let answer = self.ask(Method::POST, path, Some(body.as_bytes()), Some(&token))?;
        let json = answer.yes(self.asked(Some(ciphertext.key_version)), Some(&token))?;
        let mut secret = Zeroizing::new([0; SECRET_LEN]);
        let secret = json
            .text(&["data", "plaintext"])
            .and_then(|plain| Base64::decode(plain, secret.as_mut_slice()).ok())
            .and_then(SlotSecret::from_bytes);
        secret.ok_or_else(|| ProviderError::Damaged("what it holds is not 32 bytes".to_owned()))
    }
}

impl TransitKey {
    /// Checks the options. Nothing is read and nobody is asked yet.
    ///
    /// # Errors
    /// [`TransitOptionsError`]: what is wrong with them.
    pub fn new(options: TransitOptions) -> Result<Self, TransitOptionsError> {
        options.check()?;
        Ok(Self { options, token: Mutex::default(), warned: Mutex::default() })
    }

    /// Destroys the key in the service, all its versions: no slot wrapped with it, in whatever file
    /// or copy, ever opens again by it. `false` if there was no such key, so that an effacement that
    /// was interrupted can be repeated. The service refuses unless the key's `deletion_allowed` was
    /// set, which is left to whoever runs it; its own backups are beyond this.
    ///
    /// # Errors
    /// [`ProviderError`]; after [`ProviderError::Unavailable`] it is not known whether the key was
    /// destroyed, after any other it was not.
    pub fn efface(&self) -> Result<bool, ProviderError> {
        let token = self.ready_token()?;
        let answer = self.ask(Method::DELETE, self.key_path(), None, Some(&token))?;
        if answer.says_no_key() {
            return Ok(false);
        }
        answer.yes(self.asked(None), Some(&token)).map_err(|error| match error {
            ProviderError::NoKey(_) => ProviderError::Unavailable(format!(
                "status {}, which is not how the service says that a key is gone: it is not known \
                 whether {:?} was destroyed",
                answer.status, self.options.key
            )),
            other => other,
        })?;
        tell!(INFO, "a key was destroyed in the key service", key = self.options.key);
        Ok(true)
    }

    /// Renews the token if less than half of its time is left, as every call does before it uses
    /// it. For a service that opens a file seldom: call it now and then, or the token runs out in
    /// between. Returns what is left; `None` if the token never ends or may not be looked up.
    ///
    /// # Errors
    /// [`ProviderError`]: there is no token, or the service gives no answer.
    pub fn renew_token(&self) -> Result<Option<Duration>, ProviderError> {
        let token = self.ready_token()?;
        let life = locked(&self.token).life(&token);
        Ok(life.and_then(|life| life.left(Instant::now())))
    }

    /// Looks at everything and changes nothing: no token is renewed, nothing wrapped. Up to four
    /// calls, each within the time-out, and three of them a use of the token, where its uses are
    /// numbered.
    #[must_use]
    pub fn health(&self) -> TransitHealth {
        let mut health = TransitHealth::default();
        health.problem = self.look(&mut health).err();
        health
    }

    fn look(&self, health: &mut TransitHealth) -> Result<(), ProviderError> {
        if let Some(files) = &self.options.client {
            let dates = tls::client_dates(files)?;
            health.client_certificate_ends = dates.and_then(|it| system_time(it.not_after));
        }
        let tls = Tls::load(&self.options)?;
        let path = "sys/health".to_owned();
        let question = Question { method: Method::GET, path, body: None, token: None };
        let answer = call::ask(&self.options, &tls, &question);
        let shown = tls.shown.dates();
        health.service_certificate_ends = shown.and_then(|it| system_time(it.not_after));
        let json = answer?.json()?;
        health.reachable = true;
        health.sealed = json.flag(&["sealed"]);
        health.standby = json.flag(&["standby"]);
        health.version = json.text(&["version"]).map(str::to_owned);
        let token = self.options.token.read()?;
        let life = self.look_up(&token)?;
        let renewable = matches!(life.kind, LifeKind::Ends { renewable: true, .. });
        let known = life.kind != LifeKind::Unknown;
        health.token = known.then(|| TokenHealth { ttl: life.left(Instant::now()), renewable });
        self.look_at_permissions(&token, health)?;
        self.look_at_key(&token, health)
    }

    fn look_at_permissions(
        &self,
        token: &Token,
        health: &mut TransitHealth,
    ) -> Result<(), ProviderError> {
        let TransitOptions { mount, key, .. } = &self.options;
        let (wrap, unwrap) = (format!("{mount}/encrypt/{key}"), format!("{mount}/decrypt/{key}"));
        let body = format!("{{\"paths\":[\"{wrap}\",\"{unwrap}\"]}}");
        let path = "sys/capabilities-self".to_owned();
        let answer = self.ask(Method::POST, path, Some(body.as_bytes()), Some(token))?;
        if answer.status == 403 {
            return Err(answer::refusal(403, "", self.asked(None)));
        }
        let Ok(json) = answer.yes(self.asked(None), Some(token)) else { return Ok(()) };
        let may = |path: &str| json.list(&[path]).any(|may| ["root", "update"].contains(&may));
        health.may_wrap = Some(may(&wrap));
        health.may_unwrap = Some(may(&unwrap));
        Ok(())
    }

    fn look_at_key(&self, token: &Token, health: &mut TransitHealth) -> Result<(), ProviderError> {
        let answer = self.ask(Method::GET, self.key_path(), None, Some(token))?;
        if answer.status == 403 {
            return Ok(());
        }
        let json = answer.yes(self.asked(None), Some(token))?;
        let number = |name: &str| json.number(&["data", name]).unwrap_or(0);
        health.key = Some(KeyHealth {
            latest_version: number("latest_version"),
            min_decryption_version: number("min_decryption_version"),
            deletion_allowed: json.flag(&["data", "deletion_allowed"]).unwrap_or(false),
        });
        Ok(())
    }

    /// Before a new slot: the key must be there, since the service makes one where the token allows
    /// it and the name was misspelt; and it must bind what it is given to bind. A token that may
    /// not look is let through.
    fn check_key(&self, token: &Token) -> Result<(), ProviderError> {
        let answer = self.ask(Method::GET, self.key_path(), None, Some(token))?;
        if answer.status == 403 {
            return Ok(());
        }
        let json = answer.yes(self.asked(None), Some(token))?;
        let kind = json.text(&["data", "type"]).unwrap_or_default();
        if !KEY_TYPES.contains(&kind) || json.flag(&["data", "derived"]) == Some(true) {
            return Err(ProviderError::Denied(format!(
                "key {:?} is of type {kind:?} or derived, and can't bind a secret to its slot; \
                 make one of type aes256-gcm96",
                self.options.key
            )));
        }
        Ok(())
    }

    /// The token, renewed if it was due. That it couldn't be renewed is for the log: as long as it
    /// lives, it serves.
    fn ready_token(&self) -> Result<Token, ProviderError> {
        let token = self.options.token.read()?;
        if !self.options.keep_token {
            return Ok(token);
        }
        let known = locked(&self.token).life(&token);
        let due = known.map_or(Due::LookUp, |life| life.due(Instant::now()));
        let life = match (due, known) {
            (Due::LookUp, _) => self.look_up(&token)?,
            (_, Some(life)) => life,
            (_, None) => return Ok(token),
        };
        locked(&self.token).note(&token, life);
        if life.due(Instant::now()) == Due::Renew {
            match self.renew(&token) {
                Ok(life) => locked(&self.token).note(&token, life),
                Err(error) => {
                    tell!(WARN, "the key service's token can't be renewed", error = error)
                }
            }
        }
        Ok(token)
    }

    fn look_up(&self, token: &Token) -> Result<Life, ProviderError> {
        let told = Instant::now();
        let path = "auth/token/lookup-self".to_owned();
        let answer = self.ask(Method::GET, path, None, Some(token))?;
        if answer.status == 403 {
            // Unknown, expired, or not allowed to look at itself: the next call will tell.
            return Ok(Life { told, kind: LifeKind::Unknown });
        }
        let json = answer.yes(self.asked(None), Some(token))?;
        let seconds = |name: &str| {
            let seconds = json.number(&["data", name]).unwrap_or(0);
            Duration::from_secs(seconds)
        };
        let granted = seconds("creation_ttl").max(seconds("period"));
        let renewable = json.flag(&["data", "renewable"]).unwrap_or(false);
        let kind = match json.number(&["data", "ttl"]) {
            Some(0) if json.text(&["data", "expire_time"]).is_none() => LifeKind::Endless,
            left => life_kind(left, granted, renewable),
        };
        Ok(Life { told, kind })
    }

    fn renew(&self, token: &Token) -> Result<Life, ProviderError> {
        let told = Instant::now();
        let path = "auth/token/renew-self".to_owned();
        let answer = self.ask(Method::POST, path, Some(b"{}"), Some(token))?;
        let json = answer.yes(self.asked(None), Some(token))?;
        let lease = json.number(&["auth", "lease_duration"]);
        let granted = Duration::from_secs(lease.unwrap_or(0));
        let renewable = json.flag(&["auth", "renewable"]).unwrap_or(false);
        tell!(INFO, "the key service's token was renewed", ttl_s = granted.as_secs());
        Ok(Life { told, kind: life_kind(lease, granted, renewable) })
    }

    /// One call, and a look at the certificates that it was made with.
    fn ask(
        &self,
        method: Method,
        path: String,
        body: Option<&[u8]>,
        token: Option<&Token>,
    ) -> Result<Answer, ProviderError> {
        let tls = Tls::load(&self.options)?;
        let answer = call::ask(&self.options, &tls, &Question { method, path, body, token });
        let now = i64::try_from(Clock::default().now_s()).unwrap_or(i64::MAX);
        let ends = [("the key service's", tls.shown.dates()), ("the client's", tls.us.dates())];
        for (whose, dates) in ends {
            let warning = dates.and_then(|it| locked(&self.warned).about(whose, it.not_after, now));
            if let Some(warning) = warning {
                tell!(WARN, "a certificate ends", warning = warning);
            }
        }
        answer
    }

    fn key_path(&self) -> String {
        format!("{}/keys/{}", self.options.mount, self.options.key)
    }

    fn asked(&self, key_version: Option<u32>) -> Asked<'_> {
        Asked { mount: &self.options.mount, key: &self.options.key, key_version }
    }
}

// Seconds left; none, or none told, is no endless life but its last second.
fn life_kind(left: Option<u64>, granted: Duration, renewable: bool) -> LifeKind {
    match left.unwrap_or(0) {
        0 => LifeKind::Unknown,
        left => LifeKind::Ends { left: Duration::from_secs(left), granted, renewable },
    }
}

/// A JSON object of texts that need no escape: Base64, and ciphertexts that were looked at. Wiped
/// when dropped, and never grown, which would leave copies.
fn json_of(fields: [(&str, &str); 2]) -> Zeroizing<String> {
    let mut json = Zeroizing::new(String::with_capacity(4096));
    for (nth, (name, text)) in fields.into_iter().enumerate() {
        json.push_str(if nth == 0 { "{\"" } else { ",\"" });
        json.push_str(name);
        json.push_str("\":\"");
        json.push_str(text);
        json.push('"');
    }
    json.push('}');
    json
}

fn no_base64() -> ProviderError {
    ProviderError::Unavailable("a secret that is not 32 bytes".to_owned())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_told_is_no_endless_life() {
        let kind = |left| life_kind(left, Duration::from_secs(60), true);
        for unknown in [None, Some(0)] {
            assert!(matches!(kind(unknown), LifeKind::Unknown), "{unknown:?}");
        }
        assert!(matches!(kind(Some(9)), LifeKind::Ends { left, .. } if left.as_secs() == 9));
    }
}
