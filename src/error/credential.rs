//! What can be wrong with a credential or with what holds it: a provider, a recovery code, several
//! credentials together.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// What a [`KeyProvider`](crate::KeyProvider) answers when it gives no secret. The reasons are for
/// the user to read and go into logs: no secret belongs there.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ProviderError {
    /// The slot was made with another key, account or token of this kind of provider. The search
    /// goes on with the next slot.
    NotMine,
    /// The PIN, password or authorisation value is wrong. The provider is not asked again.
    Wrong,
    /// Too many wrong attempts. The provider is not asked again.
    LockedOut {
        /// How long until it can be tried again; `None` if somebody has to unlock it.
        retry_after: Option<Duration>,
    },
    /// The service or token can't be reached. The provider is not asked again.
    Unavailable(String),
    /// The service or token says no. Another slot may still open.
    Denied(String),
    /// The service or token answers, and its key is not there: destroyed, or this is not the token
    /// that has it. Another slot may still open.
    NoKey(String),
    /// What the slot holds for the provider was altered. Another slot may still open.
    Damaged(String),
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMine => f.write_str("the slot is another one's"),
            Self::Wrong => f.write_str(
                "wrong PIN or authorisation; it was tried once and is not tried again, since each \
                 attempt may count",
            ),
            Self::LockedOut { retry_after: Some(wait) } => {
                write!(f, "locked out after wrong attempts; try again in {} s", wait.as_secs())
            }
            Self::LockedOut { retry_after: None } => f.write_str(
                "locked out after wrong attempts until somebody unlocks it; use another slot",
            ),
            Self::Unavailable(why) => {
                write!(f, "can't be reached ({why}); try again later, or use another slot")
            }
            Self::Denied(why) => {
                write!(f, "says no ({why}); ask for permission there, or use another slot")
            }
            Self::NoKey(why) => write!(
                f,
                "has no such key ({why}); if it was destroyed it is gone for good: use another slot"
            ),
            Self::Damaged(why) => {
                write!(f, "can't read what the slot holds for it ({why}); use another slot")
            }
        }
    }
}

impl StdError for ProviderError {}

/// A provider that gave no secret, or no slot. The file is as it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProviderFailure {
    /// The provider's name.
    pub provider: String,
    /// The id of the slot that it was asked for.
    pub slot: u32,
    /// What went wrong.
    pub fault: ProviderFault,
}

/// How a provider failed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ProviderFault {
    /// It answered, with an error of its own.
    Answered(ProviderError),
    /// It didn't answer in time. The thread that it was asked on is left to itself.
    TimedOut {
        /// How long it was waited for.
        after: Duration,
    },
    /// It panicked.
    Panicked,
    /// The system gave no thread to ask it on.
    NoThread,
    /// Its name is not 1 to 32 lower-case ASCII letters, digits, `-`, `_` or `.`.
    BadName,
    /// What it wants to store doesn't fit a slot.
    BlobTooLong {
        /// Bytes that it wants to store.
        found: usize,
        /// Bytes that there is room for.
        max: usize,
    },
    /// It was given a secret to wrap, and unwrapped another one: the slot would never open.
    Unfaithful,
}

impl fmt::Display for ProviderFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key provider {:?}, slot {}: ", self.provider, self.slot)?;
        match &self.fault {
            ProviderFault::Answered(error) => write!(f, "{error}"),
            ProviderFault::TimedOut { after } => write!(
                f,
                "didn't answer within {} ms; see what it waits for, or raise \
                 `Builder::provider_timeout`",
                after.as_millis()
            ),
            ProviderFault::Panicked => f.write_str("panicked; that is a bug in the provider"),
            ProviderFault::NoThread => f.write_str("got no thread from the system; try again"),
            ProviderFault::BadName => f.write_str(
                "has no valid name: 1 to 32 lower-case ASCII letters, digits, '-', '_' or '.'",
            ),
            ProviderFault::BlobTooLong { found, max } => write!(
                f,
                "wants to store {found} bytes; a slot has room for {max} beside the provider's \
                 name: keep the rest with the provider"
            ),
            ProviderFault::Unfaithful => f.write_str(
                "unwrapped another secret than it had wrapped, so the slot would never open; that \
                 is a bug in the provider, or two keys behind one name",
            ),
        }
    }
}

impl StdError for ProviderFailure {}

/// What is wrong with a recovery code as it was typed. Groups count from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CodeError {
    /// A character that is in no recovery code.
    Letter {
        /// The group it is in, counting the letters before it.
        group: u8,
        /// The character.
        letter: char,
    },
    /// One group, set apart by spaces or dashes, has a letter too few or too many.
    GroupLength {
        /// Which one.
        group: u8,
        /// The letters it has; six are right.
        found: usize,
    },
    /// The whole code has too few or too many letters.
    Length {
        /// The letters it has; 66 are right.
        found: usize,
        /// The first group that doesn't fit its check letter: the mistake is likely here.
        first_wrong: Option<u8>,
    },
    /// Groups that don't fit their check letters.
    Groups(WrongGroups),
    /// Every group fits its check letter, but they don't belong together.
    Mixed,
}

/// Some of the 11 groups of a recovery code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WrongGroups(pub(crate) u16);

impl WrongGroups {
    /// Their numbers, from 1, in order.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..11).filter(move |group| self.0 >> group & 1 == 1).map(|group| group + 1)
    }
}

impl fmt::Display for CodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("recovery code: ")?;
        match self {
            Self::Letter { group, letter } => write!(
                f,
                "group {group} has {letter:?}, which is in no recovery code; compare that group"
            ),
            Self::GroupLength { group, found } => {
                write!(f, "group {group} has {found} letters, not 6; compare that group")
            }
            Self::Length { found, first_wrong: Some(group) } => {
                write!(f, "{found} letters, not 66; compare from group {group} on")
            }
            Self::Length { found, first_wrong: None } => {
                write!(f, "{found} letters, not 66; compare its length with what was written down")
            }
            Self::Groups(groups) => {
                f.write_str("typing mistake in group ")?;
                for (nth, group) in groups.iter().enumerate() {
                    write!(f, "{}{group}", if nth == 0 { "" } else { ", " })?;
                }
                f.write_str(" of 11; compare letter by letter")
            }
            Self::Mixed => f.write_str(
                "each group is well-formed, but they are not of one code; compare all of them",
            ),
        }
    }
}

impl StdError for CodeError {}

/// Why credentials can't be used together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AllOfError {
    /// More than four.
    TooMany {
        /// How many there are.
        found: usize,
    },
    /// A slot stores one KDF cost, so it can ask for one passphrase.
    TwoPassphrases,
    /// One of them is itself several together.
    Nested,
    /// What they want to store doesn't fit a slot.
    BlobTooLong {
        /// Bytes that they want to store.
        found: usize,
        /// Bytes that there is room for.
        max: usize,
    },
}

impl fmt::Display for AllOfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("several credentials together: ")?;
        match self {
            Self::TooMany { found } => write!(f, "{found} of them; a slot has room for 4"),
            Self::TwoPassphrases => f.write_str(
                "two passphrases; a slot has one KDF cost, so give one passphrase and, say, a key \
                 file",
            ),
            Self::Nested => {
                f.write_str("one of them is several together; name its parts side by side")
            }
            Self::BlobTooLong { found, max } => {
                write!(f, "they want to store {found} bytes; a slot has room for {max}")
            }
        }
    }
}

impl StdError for AllOfError {}
