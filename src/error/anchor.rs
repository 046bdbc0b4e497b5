//! What can be wrong between a file and its anchor, and between a file and a checkpoint token.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use super::{KeyError, OpenError};
use crate::units::{FileId, SyncSeq};

/// What an [`Anchor`](crate::Anchor) answers when it does not do as it was asked. The reasons are
/// for the user to read and go into logs.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AnchorFault {
    /// It can't be reached. It may or may not have done what it was asked; it is asked again.
    Unreachable(String),
    /// It says no.
    Denied(String),
    /// What it remembers is damaged.
    Damaged(String),
    /// It stands at another count than one below what it was told to advance to: nothing was
    /// changed.
    OutOfStep {
        /// Where it stands.
        found: u64,
        /// What it was told to advance to.
        asked: u64,
    },
    /// It did not answer in time. The thread that it was asked on is left to itself.
    TimedOut {
        /// How long it was waited for.
        after: Duration,
    },
    /// It panicked.
    Panicked,
    /// The system gave no thread to ask it on.
    NoThread,
}

impl AnchorFault {
    /// Whether it may have advanced all the same.
    pub(crate) fn is_unclear(&self) -> bool {
        !matches!(self, Self::OutOfStep { .. } | Self::NoThread)
    }
}

impl fmt::Display for AnchorFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => {
                write!(f, "the anchor can't be reached ({why}); make it reachable and try again")
            }
            Self::Denied(why) => {
                write!(f, "the anchor says no ({why}); ask for permission there, then try again")
            }
            Self::Damaged(why) => write!(
                f,
                "the anchor has lost what it remembers ({why}): nothing can tell any more whether \
                 the file was put back; if you know that it was not, take it with \
                 `Builder::accept_rollback` and a new anchor"
            ),
            Self::OutOfStep { found, asked } => write!(
                f,
                "the anchor stands at {found} and was to advance to {asked}: somebody else \
                 advances it, another file or a second copy of this one, or it was reset; give \
                 each file an anchor of its own"
            ),
            Self::TimedOut { after } => write!(
                f,
                "the anchor didn't answer within {} ms; see what it waits for, or raise \
                 `Builder::anchor_timeout`",
                after.as_millis()
            ),
            Self::Panicked => f.write_str("the anchor panicked; that is a bug in it"),
            Self::NoThread => {
                f.write_str("the anchor got no thread from the system to be asked on; try again")
            }
        }
    }
}

impl StdError for AnchorFault {}

/// Why a file and an anchor don't go together. Nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AnchorError {
    /// The file is bound to an anchor, and none was given.
    Required,
    /// An anchor was given, and the file is bound to none: it is of before it was bound, or of
    /// after it was unbound, or never was.
    NotBound,
    /// The file is bound to another anchor than the one that was given.
    WrongAnchor,
    /// The file is bound already.
    AlreadyBound,
    /// The file is older than the anchor remembers: an older state was put back.
    RolledBack {
        /// The count in the file.
        found: u64,
        /// The anchor's count.
        expected: u64,
    },
    /// The anchor is older than the file remembers: it was reset, or put back itself.
    AnchorReset {
        /// The anchor's count.
        found: u64,
        /// The count in the file, which the anchor had acknowledged all but the last one of.
        expected: u64,
    },
    /// The anchor did not do as it was asked.
    Fault(AnchorFault),
    /// What is in the file is durable, but the anchor has not acknowledged its count: until it has,
    /// an older state can be put back unnoticed.
    Behind {
        /// The count in the file.
        count: u64,
        /// The last one that the anchor acknowledged.
        acknowledged: u64,
        /// Why, if it was asked and failed.
        fault: Option<AnchorFault>,
    },
    /// `accept_rollback` of a file that its anchor vouches for.
    NothingToAccept,
    /// `accept_rollback` without [`Builder::anchor`](crate::Builder::anchor).
    NoAnchor,
    /// A policy that makes no sense.
    BadPolicy(&'static str),
}

impl fmt::Display for AnchorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Required => f.write_str(
                "the file is bound to an anchor, which tells whether it was put back to an older \
                 state: give it with `Builder::anchor`",
            ),
            Self::NotBound => f.write_str(
                "an anchor was given but the file is not bound to one: it may have been put back \
                 to a state from before it was bound. If it never was, open it without an anchor \
                 and bind it with `AdminSession::bind_anchor`",
            ),
            Self::WrongAnchor => f.write_str(
                "the file is bound to another anchor than this one; give the right one. If that is \
                 lost, an administrator can take the file as it is with `Builder::accept_rollback` \
                 and this one",
            ),
            Self::AlreadyBound => f.write_str(
                "the file is bound to an anchor already; unbind it first with \
                 `AdminSession::unbind_anchor`",
            ),
            Self::RolledBack { found, expected } => write!(
                f,
                "the file was put back to an older state: it says {found}, its anchor has seen \
                 {expected}. Find the newest file. If this one is all there is, an administrator \
                 can take it with `Builder::accept_rollback`. (An anchor that serves two files \
                 looks like this too.)"
            ),
            Self::AnchorReset { found, expected } => write!(
                f,
                "the anchor was reset or put back: it stands at {found}, the file has been at \
                 {expected}; give the right anchor. If it is lost, an administrator can take the \
                 file as it is with `Builder::accept_rollback`"
            ),
            Self::Fault(fault) => write!(f, "{fault}"),
            Self::Behind { count, acknowledged, fault } => {
                write!(
                    f,
                    "everything is durable and closed, but the anchor stands at {acknowledged} and \
                     the file at {count}: until the next open with the anchor, an older state that \
                     is put back is not noticed"
                )?;
                fault.as_ref().map_or(Ok(()), |fault| write!(f, "; {fault}"))
            }
            Self::NothingToAccept => {
                f.write_str("the anchor vouches for this file: open it as always")
            }
            Self::NoAnchor => f.write_str(
                "taking a rolled-back file needs the anchor that it is to be bound to: give one \
                 with `Builder::anchor`",
            ),
            Self::BadPolicy(why) => write!(f, "this anchor policy makes no sense: {why}"),
        }
    }
}

impl StdError for AnchorError {}

impl From<AnchorFault> for AnchorError {
    fn from(fault: AnchorFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<AnchorError> for OpenError {
    fn from(error: AnchorError) -> Self {
        Self::Anchor(error)
    }
}

impl From<AnchorError> for KeyError {
    fn from(error: AnchorError) -> Self {
        Self::Open(error.into())
    }
}

/// Why a file is not at or behind the state that a
/// [`CheckpointToken`](crate::CheckpointToken) names, or a text is no token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TokenError {
    /// The token is of another file.
    OtherFile {
        /// The file's id.
        found: FileId,
        /// The token's.
        expected: FileId,
    },
    /// The file is older than the token.
    RolledBack {
        /// The sync whose state the file has.
        found: SyncSeq,
        /// The sync that the token names.
        expected: SyncSeq,
    },
    /// The file is of the same sync as the token and of other content: it went another way from an
    /// older state.
    Forked {
        /// The sync.
        sync: SyncSeq,
    },
    /// The text is not a token.
    Malformed(&'static str),
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherFile { found, expected } => write!(
                f,
                "the checkpoint token is of another file ({expected}, this one is {found}); check \
                 the path"
            ),
            Self::RolledBack { found, expected } => write!(
                f,
                "the file was put back to an older state: it is of {found}, the checkpoint token \
                 of {expected}; find the newest file"
            ),
            Self::Forked { sync } => write!(
                f,
                "the file has other content at {sync} than the checkpoint token says: an older \
                 state was put back and written on; find the right file"
            ),
            Self::Malformed(why) => write!(f, "this is not a checkpoint token: {why}"),
        }
    }
}

impl StdError for TokenError {}

impl From<TokenError> for OpenError {
    fn from(error: TokenError) -> Self {
        Self::Token(error)
    }
}
