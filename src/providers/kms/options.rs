//! Where the key service is, which key is meant, whom to believe, and who is asking. What is said
//! here is checked once, before anybody is asked: every path of a request is made of these names.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use rustls::pki_types::ServerName;
use ureq::http::Uri;

use super::token::TokenFrom;
use crate::error::TransitOptionsError;

/// How long one call may take, all of it: name lookup, handshake, request and answer.
const TIMEOUT: Duration = Duration::from_secs(5);
const NAME_LEN_MAX: usize = 128;

/// The SHA-256 of what the service must show in the handshake, written `spki:` or `cert:` and 64
/// hexadecimal digits, with or without colons between the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pin {
    /// Of the public key (SubjectPublicKeyInfo, DER). It outlives a renewal with the same key.
    PublicKey([u8; 32]),
    /// Of the whole certificate (DER): the fingerprint that `openssl x509 -fingerprint -sha256`
    /// shows.
    Certificate([u8; 32]),
}

impl FromStr for Pin {
    type Err = TransitOptionsError;

    fn from_str(text: &str) -> Result<Self, TransitOptionsError> {
        let (kind, digits) = text.split_once(':').ok_or(TransitOptionsError::Pin)?;
        let digits: Vec<u8> = digits
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()
            .ok_or(TransitOptionsError::Pin)?;
        let bytes: Vec<u8> = digits
            .chunks(2)
            .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
            .collect();
        let hash = match <[u8; 32]>::try_from(bytes) {
            Ok(hash) if digits.len() == 64 => hash,
            _ => return Err(TransitOptionsError::Pin),
        };
        match kind {
            "spki" => Ok(Self::PublicKey(hash)),
            "cert" => Ok(Self::Certificate(hash)),
            _ => Err(TransitOptionsError::Pin),
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, hash) = match self {
            Self::PublicKey(hash) => ("spki", hash),
            Self::Certificate(hash) => ("cert", hash),
        };
        write!(f, "{kind}:")?;
        hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How to reach a key of a Transit engine, for [`TransitKey::new`](super::TransitKey::new).
///
/// ```
/// use strongroom::providers::kms::{TokenFrom, TransitKey, TransitOptions};
///
/// let token = TokenFrom::File("/run/bao/token".into());
/// let mut options = TransitOptions::new("https://bao.example:8200", "notes", token);
/// options.roots_file("/etc/notes/bao-ca.pem");
/// options.client_certificate("/etc/notes/client.pem", "/etc/notes/client.key");
/// let key = TransitKey::new(options)?;
/// # Ok::<(), strongroom::providers::kms::TransitOptionsError>(())
/// ```
///
/// Every file is read at each call: replace it, and the next call uses the new one.
#[derive(Clone, Debug)]
pub struct TransitOptions {
    pub(super) url: String,
    pub(super) key: String,
    pub(super) token: TokenFrom,
    pub(super) mount: String,
    pub(super) namespace: Option<String>,
    pub(super) roots: Option<PathBuf>,
    pub(super) pins: Vec<Pin>,
    pub(super) client: Option<ClientFiles>,
    pub(super) timeout: Duration,
    pub(super) allow_tls12: bool,
    pub(super) keep_token: bool,
}

/// The files of a client certificate and its private key, PEM.
#[derive(Clone, Debug)]
pub(super) struct ClientFiles {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl TransitOptions {
    /// The service at `url`, which must be `https`; the key of this name in the mount `transit`;
    /// and where the token is found. Roots or a pin are still wanted.
    #[must_use]
    pub fn new(url: &str, key: &str, token: TokenFrom) -> Self {
        Self {
            url: url.trim_end_matches('/').to_owned(),
            key: key.to_owned(),
            token,
            mount: "transit".to_owned(),
            namespace: None,
            roots: None,
            pins: Vec::new(),
            client: None,
            timeout: TIMEOUT,
            allow_tls12: false,
            keep_token: true,
        }
    }

    /// A PEM file with the certificates of the authorities that may vouch for the service. It must
    /// then show a certificate for the address's host name that leads to one of them. The system's
    /// roots are never used.
    pub fn roots_file(&mut self, path: impl AsRef<Path>) -> &mut Self {
        self.roots = Some(path.as_ref().to_owned());
        self
    }

    /// What the service's certificate must be; with several pins, any one of them. Without roots
    /// the pin is all that counts besides the certificate's dates: neither its name nor who signed
    /// it is looked at. With roots both are wanted.
    pub fn pin(&mut self, pin: Pin) -> &mut Self {
        self.pins.push(pin);
        self
    }

    /// The PEM files of a client certificate (with its chain) and of its private key, for a service
    /// that asks for one. Both may be one file, which can then be replaced in one step.
    pub fn client_certificate(
        &mut self,
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> &mut Self {
        let (certificate, key) = (certificate.as_ref().to_owned(), key.as_ref().to_owned());
        self.client = Some(ClientFiles { certificate, key });
        self
    }

    /// Where the Transit engine is mounted; `transit` unless set.
    pub fn mount(&mut self, path: &str) -> &mut Self {
        path.trim_matches('/').clone_into(&mut self.mount);
        self
    }

    /// The namespace that mount and token belong to; none unless set.
    pub fn namespace(&mut self, path: &str) -> &mut Self {
        self.namespace = Some(path.trim_matches('/').to_owned());
        self
    }

    /// How long one call may take, from the name lookup to the last byte of the answer; 5 seconds
    /// unless set. An open makes one or two calls for each slot, and making a slot up to five:
    /// [`Builder::provider_timeout`](crate::Builder::provider_timeout) is over all of one question.
    pub fn timeout(&mut self, timeout: Duration) -> &mut Self {
        self.timeout = timeout;
        self
    }

    /// Also takes TLS 1.2. Without it a service that speaks nothing newer is refused.
    pub fn allow_tls12(&mut self) -> &mut Self {
        self.allow_tls12 = true;
        self
    }

    /// Leaves the token alone: it is neither looked up nor renewed. For tokens that somebody else
    /// renews, an agent say, and for those that may be used only so often.
    pub fn leave_token_alone(&mut self) -> &mut Self {
        self.keep_token = false;
        self
    }

    /// What can be told without asking anybody.
    pub(super) fn check(&self) -> Result<(), TransitOptionsError> {
        check_url(&self.url).map_err(|why| TransitOptionsError::Url { why })?;
        let name =
            |which, good| if good { Ok(()) } else { Err(TransitOptionsError::Name { which }) };
        name("key", is_name(&self.key))?;
        name("mount", self.mount.split('/').all(is_name) && self.mount.len() <= NAME_LEN_MAX)?;
        let namespace = self.namespace.as_deref().unwrap_or("n");
        name("namespace", namespace.split('/').all(is_name) && namespace.len() <= NAME_LEN_MAX)?;
        if self.roots.is_none() && self.pins.is_empty() {
            return Err(TransitOptionsError::NoTrust);
        }
        if self.timeout.is_zero() {
            return Err(TransitOptionsError::NoTime);
        }
        Ok(())
    }
}

/// Whether a key, or one part of a mount's or namespace's path, can stand in a request as it is.
pub(super) fn is_name(name: &str) -> bool {
    (1..=NAME_LEN_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && name.bytes().any(|byte| byte != b'.')
}

fn check_url(url: &str) -> Result<(), &'static str> {
    if url.contains(['#', '?', '@']) {
        return Err("has a user, a query or a fragment");
    }
    let uri: Uri = url.parse().map_err(|_| "can't be read")?;
    if uri.scheme_str() != Some("https") {
        return Err("is not https, and nothing else is spoken");
    }
    let host = uri.host().ok_or("names no host")?;
    ServerName::try_from(host.trim_matches(['[', ']'])).map_err(|_| "names no valid host")?;
    let path = uri.path().trim_start_matches('/');
    if !path.is_empty() && !path.split('/').all(is_name) {
        return Err("has a path that is none");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(url: &str, key: &str) -> TransitOptions {
        let mut options = TransitOptions::new(url, key, TokenFrom::Environment("T".to_owned()));
        options.roots_file("ca.pem");
        options
    }

    #[test]
    fn only_https_addresses_with_nothing_hidden_in_them_are_taken() {
        for url in [
            "https://bao.example",
            "https://bao.example:8200/",
            "https://127.0.0.1:8200",
            "https://[::1]:8200",
            "https://gate.example/bao/eu",
        ] {
            assert_eq!(options(url, "k").check(), Ok(()), "{url}");
        }
        for url in [
            "http://127.0.0.1:8200",
            "bao.example:8200",
            "https://",
            "https://user@bao.example",
            "https://bao.example?x=1",
            "https://bao.example#x",
            "https://bao.example/../x",
            "https://bao.example/a b",
            "ftp://bao.example",
            "unix:/run/bao",
            "",
        ] {
            let error = options(url, "k").check();
            assert!(matches!(error, Err(TransitOptionsError::Url { .. })), "{url}: {error:?}");
        }
    }

    #[test]
    fn no_name_can_leave_its_place_in_a_path() {
        for key in ["a", "notes-2026", "tenant_7.eu", "x..y"] {
            assert_eq!(options("https://h", key).check(), Ok(()), "{key}");
        }
        for key in ["", ".", "..", "a/b", "a?b", "a%2f", "a\"b", "a b", "\u{e4}", &"x".repeat(129)]
        {
            let error = options("https://h", key).check();
            assert_eq!(error, Err(TransitOptionsError::Name { which: "key" }), "{key}");
        }
        for (path, good) in [("kv/transit", true), ("/eu/", true), ("a//b", false), ("..", false)] {
            let (mut mount, mut namespace) = (options("https://h", "k"), options("https://h", "k"));
            mount.mount(path);
            namespace.namespace(path);
            assert_eq!(mount.check().is_ok(), good, "{path}");
            assert_eq!(namespace.check().is_ok(), good, "{path}");
        }
    }

    #[test]
    fn nobody_is_trusted_unless_said_and_no_call_is_without_end() {
        let token = TokenFrom::Environment("T".to_owned());
        let bare = TransitOptions::new("https://h", "k", token);
        assert_eq!(bare.check(), Err(TransitOptionsError::NoTrust));
        let mut pinned = bare.clone();
        pinned.pin(Pin::PublicKey([0; 32]));
        assert_eq!(pinned.check(), Ok(()));
        pinned.timeout(Duration::ZERO);
        assert_eq!(pinned.check(), Err(TransitOptionsError::NoTime));
    }

    #[test]
    fn pins_are_read_as_they_are_shown() {
        let pin = Pin::PublicKey(std::array::from_fn(|nth| u8::try_from(nth * 7).unwrap()));
        assert_eq!(pin.to_string().parse(), Ok(pin));
        let colons = format!("cert:{}", ["AB"; 32].join(":"));
        assert_eq!(colons.parse(), Ok(Pin::Certificate([0xAB; 32])));
        let (short, long) =
            (format!("cert:{}", "a".repeat(63)), format!("cert:{}", "a".repeat(66)));
        for text in ["", "spki", "spki:", "spki:zz", "sha1:00", &*short, &*long] {
            assert_eq!(text.parse::<Pin>(), Err(TransitOptionsError::Pin), "{text}");
        }
    }
}
