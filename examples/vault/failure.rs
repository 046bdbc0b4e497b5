//! What the program says when it gives up. Errors of redb pass through [`strongroom::Error`],
//! which finds our own error inside them.

use std::fmt;
use std::io;
use std::path::Path;

use strongroom::{OpenError, redb};

#[derive(Debug)]
pub(crate) enum Failure {
    Said(String),
    Database(strongroom::Error),
    /// Standard output was closed.
    OutputClosed,
}

impl Failure {
    pub(crate) fn said(what: impl Into<String>) -> Self {
        Self::Said(what.into())
    }

    /// An error of the operating system about a path.
    pub(crate) fn io(doing: &str, path: &Path, error: &io::Error) -> Self {
        Self::Said(format!("{doing} {}: {error}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Said(what) => f.write_str(what),
            Self::Database(error) => write!(f, "{error}"),
            Self::OutputClosed => f.write_str("standard output was closed"),
        }
    }
}

macro_rules! from_database {
    ($($error:ty),*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::Database(error.into())
            }
        })*
    };
}

from_database!(
    strongroom::Error,
    OpenError,
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError
);
