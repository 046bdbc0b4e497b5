//! Why an operation on key slots, policy or the header failed. Nothing was changed then, unless
//! the error is the store's own: a failed write latches it, and the next open finds the old header
//! or the new one.

use std::error::Error as StdError;
use std::fmt;

use super::{OpenError, StoreError};
use crate::units::{FileId, Generation, SlotId};

/// Why a credential that may well be right is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SlotRefused {
    /// The slot's not-after date has passed.
    Expired {
        /// The slot that the credential opens.
        slot: SlotId,
        /// Its last second, Unix time.
        not_after: u64,
        /// The time it was compared with: the clock's, or the latest that the header remembers.
        now: u64,
    },
    /// No slot of the credential's kind has the label, id or role that the hint names. No key
    /// derivation was run.
    NoSuchSlot,
    /// An admin slot of a file with split roles: it doesn't give the data.
    AdminOnly(SlotId),
}

impl fmt::Display for SlotRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired { slot, not_after, now } => write!(
                f,
                "{slot} expired: its last second was {not_after}, it is {now} (Unix time); use \
                 another credential, or let an administrator set another date"
            ),
            Self::NoSuchSlot => f.write_str(
                "no key slot of this kind fits the hint; check the label or slot number, or open \
                 without a hint",
            ),
            Self::AdminOnly(slot) => write!(
                f,
                "{slot} is an admin slot and this file keeps roles apart: open it with a data \
                 credential, then call `Database::admin` with this one"
            ),
        }
    }
}

impl From<SlotRefused> for OpenError {
    fn from(refused: SlotRefused) -> Self {
        Self::Slot(refused)
    }
}

/// Why slots, policy or the header could not be changed.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyError {
    /// The credential, the file or the medium: as an open would say it.
    Open(OpenError),
    /// The store: latched, closed, read-only, or a failed write.
    Store(StoreError),
    /// No admin slot opens with this credential.
    NotAdmin,
    /// Another admin session of this database is alive.
    SessionActive,
    /// The file has no slot of this number.
    UnknownSlot(SlotId),
    /// All twelve slots are taken.
    SlotsFull,
    /// No admin slot that never expires would be left.
    LastAdmin,
    /// Roles are split and no data slot would be left.
    LastData,
    /// Fewer slots would be left than the policy asks for.
    TooFewSlots {
        /// The policy's least number.
        min: u16,
    },
    /// Another slot has this label.
    DuplicateLabel(SlotId),
    /// A label has 32 bytes at most.
    LabelTooLong {
        /// The bytes it has.
        found: usize,
    },
    /// A label is UTF-8 without control characters.
    LabelNotText,
    /// The policy doesn't allow new slots of this kind.
    KindNotAllowed,
    /// The policy asks for more key-derivation work in a new slot.
    KdfBelowPolicy {
        /// The policy's least memory, KiB.
        memory_min_kib: u32,
        /// The policy's least number of passes.
        passes_min: u32,
    },
    /// The clock stands before the file was made: dates can't be judged.
    ClockBehind {
        /// What it shows, Unix seconds.
        now: u64,
        /// When the file was made.
        created: u64,
    },
    /// A not-after date that has passed.
    AlreadyExpired {
        /// The date, Unix seconds.
        not_after: u64,
        /// The time it was compared with.
        now: u64,
    },
    /// Values that make no sense.
    BadPolicy(&'static str),
    /// `revoke_data` of an admin slot: its holder could open the escrow of an old header copy, so
    /// the slots to keep need their credentials. Use `revoke_admin`.
    IsAdminSlot(SlotId),
    /// `revoke_admin` of a data slot: `revoke_data` needs no other credential.
    IsDataSlot(SlotId),
    /// A credential given to keep a slot doesn't open that slot, or the slot is named twice or is
    /// the one to be revoked.
    CannotKeep(SlotId),
    /// Not a header backup.
    NotABackup(&'static str),
    /// A header of another file.
    ForeignHeader {
        /// The backup's file id.
        found: FileId,
        /// The file's.
        expected: FileId,
    },
    /// The header is older than what the file has seen, or the file may hold a newer one.
    WouldTurnBack {
        /// The generation to be put back.
        found: Generation,
        /// The newest one that the file shows.
        newest: Generation,
        /// What shows it.
        why: &'static str,
    },
    /// No root record of the file opens with the keys of this header: it is of another time.
    NoRootOpens,
    /// The newest header copy opens with this credential: there is nothing to recover.
    HeaderIntact,
    /// There is no second header copy to recover from.
    NoOtherCopy,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => write!(f, "{error}"),
            Self::Store(error) => write!(f, "{error}"),
            Self::NotAdmin => f.write_str(
                "no admin slot opens with this credential; a data credential reads and writes, but \
                 doesn't change slots or policy",
            ),
            Self::SessionActive => {
                f.write_str("another admin session of this database is alive; drop it first")
            }
            Self::UnknownSlot(slot) => {
                write!(f, "there is no {slot}; `Database::key_status` lists those there are")
            }
            Self::SlotsFull => f.write_str("all 12 key slots are taken; remove one first"),
            Self::LastAdmin => f.write_str(
                "no admin slot that never expires would be left, and nobody could change slots \
                 again; add another one first",
            ),
            Self::LastData => f.write_str(
                "no data slot would be left, and with split roles nobody could open the data; add \
                 another one first",
            ),
            Self::TooFewSlots { min } => {
                write!(f, "the policy wants at least {min} key slots; add another one first")
            }
            Self::DuplicateLabel(slot) => {
                write!(f, "{slot} has this label already; labels tell slots apart: choose another")
            }
            Self::LabelTooLong { found } => {
                write!(f, "a label has at most 32 bytes of UTF-8; this one has {found}")
            }
            Self::LabelNotText => f.write_str("a label is UTF-8 without control characters"),
            Self::KindNotAllowed => {
                f.write_str("the policy allows no new slot of this kind; use another credential")
            }
            Self::KdfBelowPolicy { memory_min_kib, passes_min } => write!(
                f,
                "the policy wants Argon2id with at least {memory_min_kib} KiB and {passes_min} \
                 passes in a new slot"
            ),
            Self::ClockBehind { now, created } => write!(
                f,
                "the clock shows {now}, but the file was made at {created} (Unix time); set the \
                 clock"
            ),
            Self::AlreadyExpired { not_after, now } => write!(
                f,
                "a credential that is good until {not_after} would have expired: it is {now} (Unix \
                 time)"
            ),
            Self::BadPolicy(why) => write!(f, "this policy makes no sense: {why}"),
            Self::IsAdminSlot(slot) => write!(
                f,
                "{slot} is an admin slot, whose holder could open every other slot of an old copy \
                 of the header; use `revoke_admin` with the credentials of the slots to keep"
            ),
            Self::IsDataSlot(slot) => {
                write!(f, "{slot} is a data slot: `revoke_data` needs no other credential")
            }
            Self::CannotKeep(slot) => write!(
                f,
                "{slot} can't be kept: the credential given for it doesn't open it, or it is named \
                 twice, or it is the one to be revoked"
            ),
            Self::NotABackup(why) => write!(f, "this is not a header backup: {why}"),
            Self::ForeignHeader { found, expected } => write!(
                f,
                "this header belongs to another file (file id {found}, this file's is {expected})"
            ),
            Self::WouldTurnBack { found, newest, why } => write!(
                f,
                "this would turn the header back to {found}, with the slots and keys of that time: \
                 {why} ({newest}); if that is what you want, allow it with `TurnBack::Allow`"
            ),
            Self::NoRootOpens => f.write_str(
                "no root record of the file opens with the keys of this header: it is from before \
                 a key rotation, or both root records are damaged; restore a backup of the file",
            ),
            Self::HeaderIntact => f.write_str(
                "the newest header copy opens with this credential: there is nothing to recover",
            ),
            Self::NoOtherCopy => f.write_str(
                "there is no second header copy that could be used; restore a header backup",
            ),
        }
    }
}

impl StdError for KeyError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Open(error) => error.source(),
            Self::Store(error) => error.source(),
            _ => None,
        }
    }
}

impl From<OpenError> for KeyError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Store(error) => Self::Store(error),
            other => Self::Open(other),
        }
    }
}

impl From<StoreError> for KeyError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
