//! Why a verb failed: an error of the library, or one of the command line itself.

use std::io;
use std::path::Path;

use strongroom::redb;
use strongroom::{
    AnchorFault, BackupError, ConvertError, KeyError, OpenError, RotationError, SalvageError,
    TokenError,
};

use crate::exit::{self, Exit};
use crate::wording;

/// Why a verb failed. Never holds a key or a value.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The library says so.
    Room(Box<strongroom::Error>),
    /// A salvage gave up.
    Salvage(Box<SalvageError>),
    /// The command line says so: what happened, and what to do next.
    Own { exit: Exit, what: String, hint: Option<String> },
    /// The verb has printed all there is to say; only the exit code is left.
    Verdict(Exit),
    /// Nobody reads what is printed any more, as in `strongroom dump F | head`.
    OutputClosed,
}

impl Failure {
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self::Own { exit, what: what.into(), hint: None }
    }

    /// The arguments don't make sense together.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// There is no such table, key, slot or file.
    pub(crate) fn not_found(what: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, what)
    }

    /// It can't be done as things stand.
    pub(crate) fn refused(what: impl Into<String>) -> Self {
        Self::new(Exit::Refused, what)
    }

    /// The name is taken.
    pub(crate) fn exists(path: &Path) -> Self {
        let what = format!("{} exists, and nothing is ever replaced", path.display());
        Self::new(Exit::Exists, what).hint("choose another name")
    }

    /// Input or output failed, with what was being done.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |error| Self::new(exit::of_io(error.kind()), format!("{doing}: {error}"))
    }

    /// Writing to standard output failed.
    pub(crate) fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::io("writing to standard output")(error),
        }
    }

    /// Says what to do next.
    pub(crate) fn hint(self, next: impl Into<String>) -> Self {
        match self {
            Self::Own { exit, what, .. } => Self::Own { exit, what, hint: Some(next.into()) },
            other => other,
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Room(error) => exit::of(error),
            Self::Salvage(error) => exit::of_salvage(error),
            Self::Own { exit, .. } | Self::Verdict(exit) => *exit,
            Self::OutputClosed => Exit::OutputClosed,
        }
    }

    /// What happened, for people; `None` where all is said.
    pub(crate) fn what(&self) -> Option<String> {
        match self {
            Self::Room(error) => Some(wording::in_our_words(&error.to_string())),
            Self::Salvage(error) => Some(wording::in_our_words(&error.to_string())),
            Self::Own { what, .. } => Some(what.clone()),
            Self::Verdict(_) | Self::OutputClosed => None,
        }
    }

    /// What to do next, where the text doesn't say so by itself.
    pub(crate) fn next(&self) -> Option<&str> {
        match self {
            Self::Room(error) => wording::next(error),
            Self::Own { hint, .. } => hint.as_deref(),
            Self::Salvage(_) | Self::Verdict(_) | Self::OutputClosed => None,
        }
    }
}

impl From<strongroom::Error> for Failure {
    fn from(error: strongroom::Error) -> Self {
        Self::Room(Box::new(error))
    }
}

impl From<SalvageError> for Failure {
    fn from(error: SalvageError) -> Self {
        Self::Salvage(Box::new(error))
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        OpenError::from(error).into()
    }
}

impl From<AnchorFault> for Failure {
    fn from(fault: AnchorFault) -> Self {
        OpenError::from(strongroom::AnchorError::from(fault)).into()
    }
}

macro_rules! by_the_library {
    ($($error:ty),*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                strongroom::Error::from(error).into()
            }
        })*
    };
}

by_the_library!(
    OpenError,
    KeyError,
    RotationError,
    ConvertError,
    BackupError,
    redb::Error,
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError,
    redb::CompactionError,
    redb::DatabaseError
);
