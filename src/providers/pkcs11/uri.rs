//! PKCS #11 URIs (RFC 7512): which module, which token, which key. Parsed into what they say,
//! printed back in one order. A PIN is never taken from one: command lines, configuration files and
//! logs are full of URIs. What is not known is refused, since ignoring it would match more than was
//! meant.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

const SCHEME: &str = "pkcs11:";
/// The attributes of the path, in the order in which they are printed.
const PATH: [&str; 13] = [
    "library-manufacturer",
    "library-description",
    "library-version",
    "slot-manufacturer",
    "slot-description",
    "slot-id",
    "manufacturer",
    "model",
    "serial",
    "token",
    "object",
    "type",
    "id",
];
const QUERY: [&str; 2] = ["module-path", "pin-source"];
const TYPES: [&str; 5] = ["public", "private", "cert", "secret-key", "data"];

/// A PKCS #11 URI, such as
/// `pkcs11:token=vault;object=strongroom?module-path=/usr/lib/softhsm/libsofthsm2.so`.
///
/// ```
/// use strongroom::providers::pkcs11::Pkcs11Uri;
/// let uri: Pkcs11Uri = "pkcs11:object=notes;token=my%20token?pin-source=file:/run/pin".parse()?;
/// assert_eq!(uri.token(), Some("my token"));
/// assert_eq!(uri.to_string(), "pkcs11:token=my%20token;object=notes?pin-source=file:/run/pin");
/// # Ok::<(), strongroom::providers::pkcs11::UriError>(())
/// ```
///
/// All path attributes of RFC 7512 are known; of the query, `module-path` and `pin-source` with a
/// file. `pin-value` and a `pin-source` that runs a command are refused, and so is everything else.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pkcs11Uri {
    path: BTreeMap<&'static str, Vec<u8>>,
    query: BTreeMap<&'static str, Vec<u8>>,
}

/// What a token says of itself and of the slot that it is in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct TokenFacts {
    pub(super) label: String,
    pub(super) manufacturer: String,
    pub(super) model: String,
    pub(super) serial: String,
    pub(super) slot_id: u64,
    pub(super) slot_description: String,
    pub(super) slot_manufacturer: String,
}

impl Pkcs11Uri {
    // Everything but `id` was checked to be text when it was parsed.
    fn text(&self, name: &str) -> Option<&str> {
        let value = self.path.get(name).or_else(|| self.query.get(name))?;
        str::from_utf8(value).ok()
    }

    /// The token's label.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.text("token")
    }

    /// The key's label.
    #[must_use]
    pub fn object(&self) -> Option<&str> {
        self.text("object")
    }

    /// The key's id.
    #[must_use]
    pub fn id(&self) -> Option<&[u8]> {
        self.path.get("id").map(Vec::as_slice)
    }

    /// Where the module is: a shared library.
    #[must_use]
    pub fn module_path(&self) -> Option<PathBuf> {
        self.text("module-path").map(PathBuf::from)
    }

    /// The file that the PIN is in.
    #[must_use]
    pub fn pin_file(&self) -> Option<PathBuf> {
        self.text("pin-source").and_then(pin_file).map(PathBuf::from)
    }

    /// The type of object, if it says one: `secret-key` or `private` for a key of ours.
    pub(super) fn object_type(&self) -> Option<&str> {
        self.text("type")
    }

    /// Whether this is a token of those that the URI means.
    pub(super) fn fits_token(&self, token: &TokenFacts) -> bool {
        let slot_id = token.slot_id.to_string();
        [
            ("token", &token.label),
            ("manufacturer", &token.manufacturer),
            ("model", &token.model),
            ("serial", &token.serial),
            ("slot-id", &slot_id),
            ("slot-description", &token.slot_description),
            ("slot-manufacturer", &token.slot_manufacturer),
        ]
        .into_iter()
        .all(|(name, found)| self.text(name).is_none_or(|wanted| wanted == found))
    }

    /// Whether this is a library of those that the URI means.
    pub(super) fn fits_library(
        &self,
        manufacturer: &str,
        description: &str,
        version: &str,
    ) -> bool {
        [
            ("library-manufacturer", manufacturer),
            ("library-description", description),
            ("library-version", version),
        ]
        .into_iter()
        .all(|(name, found)| self.text(name).is_none_or(|wanted| wanted == found))
    }
}

/// The path in the value of a `pin-source`: `file:/run/pin`, `file:///run/pin` or `/run/pin`.
fn pin_file(value: &str) -> Option<&str> {
    let path = value.strip_prefix("file:").unwrap_or(value);
    let path = path.strip_prefix("//").unwrap_or(path);
    path.starts_with('/').then_some(path)
}

impl FromStr for Pkcs11Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let scheme = text.get(..SCHEME.len()).filter(|start| start.eq_ignore_ascii_case(SCHEME));
        let rest = text.get(scheme.ok_or(UriError::NotPkcs11)?.len()..).unwrap_or_default();
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let mut uri = Self::default();
        for attribute in path.split(';').filter(|_| !path.is_empty()) {
            let (name, value) = parse(attribute, &PATH, b"&")?;
            keep(&mut uri.path, name, value)?;
        }
        for attribute in query.into_iter().flat_map(|query| query.split('&')) {
            let (name, value) = parse(attribute, &QUERY, b"/?|")?;
            keep(&mut uri.query, name, value)?;
        }
        Ok(uri)
    }
}

fn keep(
    kept: &mut BTreeMap<&'static str, Vec<u8>>,
    name: &'static str,
    value: Vec<u8>,
) -> Result<(), UriError> {
    match kept.insert(name, value) {
        None => Ok(()),
        Some(_) => Err(UriError::Twice(name)),
    }
}

fn parse(
    attribute: &str,
    known: &[&'static str],
    reserved: &[u8],
) -> Result<(&'static str, Vec<u8>), UriError> {
    let (name, value) = attribute.split_once('=').ok_or(UriError::NoValue)?;
    // Before anything that might quote the value.
    if name == "pin-value" {
        return Err(UriError::PinInUri);
    }
    let unknown = || UriError::Unknown(name.to_owned());
    let name = known.iter().copied().find(|known| *known == name).ok_or_else(unknown)?;
    let value = decoded(value, reserved).ok_or(UriError::Escape(name))?;
    check(name, &value).map_err(|why| UriError::Value { name, why })?;
    Ok((name, value))
}

fn check(name: &str, value: &[u8]) -> Result<(), &'static str> {
    if name == "id" {
        return if value.is_empty() { Err("is empty") } else { Ok(()) };
    }
    let text = str::from_utf8(value).map_err(|_| "is not UTF-8")?;
    let number = |text: &str| text.parse::<u64>().is_ok();
    match name {
        _ if text.contains('\0') => Err("has a zero byte"),
        "slot-id" if !number(text) => Err("is not a number"),
        "library-version" if !text.split('.').all(number) => Err("is not of the form 2.6"),
        "type" if !TYPES.contains(&text) => {
            Err("is none of `public`, `private`, `cert`, `secret-key`, `data`")
        }
        "pin-source" if text.starts_with('|') => {
            Err("runs a command; name a file, or give the PIN in another way")
        }
        "pin-source" if pin_file(text).is_none() => Err("is not `file:` and an absolute path"),
        "module-path" if !text.starts_with('/') => Err("is not an absolute path"),
        _ => Ok(()),
    }
}

/// The characters that stand for themselves in any value: `unreserved` and `pk11-res-avail`.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:[]@!$'()*+,=".contains(&byte)
}

fn decoded(value: &str, reserved: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = value.bytes();
    let mut out = Vec::with_capacity(value.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => digit(bytes.next()?)? << 4 | digit(bytes.next()?)?,
            _ if is_plain(byte) || reserved.contains(&byte) => byte,
            _ => return None,
        });
    }
    Some(out)
}

impl fmt::Display for Pkcs11Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEME)?;
        let known = |names: &[&'static str], values: &BTreeMap<_, Vec<u8>>| {
            let value = |name| values.get(name).map(|value| (name, value.clone()));
            names.iter().copied().filter_map(value).collect::<Vec<_>>()
        };
        for (nth, (name, value)) in known(&PATH, &self.path).iter().enumerate() {
            write!(f, "{}{name}=", if nth == 0 { "" } else { ";" })?;
            // An id is bytes: no letter of it means anything.
            encoded(f, value, |byte| *name != "id" && (is_plain(byte) || byte == b'&'))?;
        }
        for (nth, (name, value)) in known(&QUERY, &self.query).iter().enumerate() {
            write!(f, "{}{name}=", if nth == 0 { "?" } else { "&" })?;
            encoded(f, value, |byte| is_plain(byte) || b"/|".contains(&byte))?;
        }
        Ok(())
    }
}

fn encoded(f: &mut fmt::Formatter<'_>, value: &[u8], plain: impl Fn(u8) -> bool) -> fmt::Result {
    value.iter().try_for_each(|byte| match plain(*byte) {
        true => write!(f, "{}", char::from(*byte)),
        false => write!(f, "%{byte:02X}"),
    })
}

/// Why a text is not a URI that strongroom takes. Shows names, never a value.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum UriError {
    /// It doesn't begin with `pkcs11:`.
    NotPkcs11,
    /// Something that is not `name=value`.
    NoValue,
    /// An attribute that is not known.
    Unknown(String),
    /// An attribute that is there twice.
    Twice(&'static str),
    /// A value with a character that must be written as `%` and two hexadecimal digits.
    Escape(&'static str),
    /// A value that the attribute can't have.
    Value {
        /// The attribute.
        name: &'static str,
        /// What is wrong.
        why: &'static str,
    },
    /// `pin-value`: a PIN does not belong where command lines and logs show it.
    PinInUri,
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PKCS #11 URI: ")?;
        match self {
            Self::NotPkcs11 => f.write_str("doesn't begin with `pkcs11:`"),
            Self::NoValue => f.write_str(
                "has something that is not `name=value`; separate with `;`, after the `?` with `&`",
            ),
            Self::Unknown(name) => write!(
                f,
                "doesn't know {name:?} there; before the `?`: {}; after it: {}",
                PATH.join(", "),
                QUERY.join(", ")
            ),
            Self::Twice(name) => write!(f, "has `{name}` twice"),
            Self::Escape(name) => write!(
                f,
                "`{name}` has a character that must be written as `%` and two hexadecimal digits"
            ),
            Self::Value { name, why } => write!(f, "`{name}` {why}"),
            Self::PinInUri => f.write_str(
                "has a `pin-value`: everybody who sees the command line, the configuration or a \
                 log would see the PIN, so it is not taken from there; use `pin-source=file:...`, \
                 or let the program ask. Change a PIN that was written so",
            ),
        }
    }
}

impl StdError for UriError {}

#[cfg(test)]
mod tests;
