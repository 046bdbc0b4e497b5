//! What can be wrong with how a key service is to be reached, found before it is asked anything.

use std::error::Error as StdError;
use std::fmt;

/// Options that no [`TransitKey`](crate::providers::kms::TransitKey) can be made of. Nothing was
/// read and nobody was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TransitOptionsError {
    /// The address is not `https://host`, `https://host:port` or one of them with a path.
    Url {
        /// What is wrong with it.
        why: &'static str,
    },
    /// A name has characters that the service's paths can't hold, or is too long.
    Name {
        /// Which one: `key`, `mount` or `namespace`.
        which: &'static str,
    },
    /// Neither roots nor a pin: nothing would tell the service from anybody else.
    NoTrust,
    /// A time-out of zero.
    NoTime,
    /// A pin is not `spki:` or `cert:` and the 64 hexadecimal digits of a SHA-256.
    Pin,
}

impl fmt::Display for TransitOptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("key service: ")?;
        match self {
            Self::Url { why } => {
                write!(f, "the address {why}; give https://host:port, without user or query")
            }
            Self::Name { which } => write!(
                f,
                "the {which} name is not 1 to 128 letters, digits, '_', '-' or '.' (and '/' in \
                 between, but for keys)"
            ),
            Self::NoTrust => f.write_str(
                "neither roots nor a pin; give the file of the authority's certificate \
                 (`roots_file`) or a pin (`pin`): the system's roots are never used",
            ),
            Self::NoTime => f.write_str("a time-out of zero; give some seconds"),
            Self::Pin => f.write_str(
                "a pin is spki: or cert: and the 64 hexadecimal digits of a SHA-256, of the public \
                 key or of the whole certificate",
            ),
        }
    }
}

impl StdError for TransitOptionsError {}
