//! Why a key rotation stopped.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use super::{Error, OpenError, StoreError};

/// Why a rotation did not reach its end.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RotationError {
    /// It was cancelled; both data keys stay, and `Database::rotate` goes on with it.
    Cancelled,
    /// The database was closed; the next open goes on with it.
    Closed,
    /// The store failed. After a full disk in the journal, a read error and
    /// [`StoreError::Unreadable`] the database works on, and [`crate::Rotation::resume`] tries
    /// again; after any other failure it must be opened again.
    Store(Arc<StoreError>),
}

impl fmt::Display for RotationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str(
                "the rotation was cancelled; both data keys stay readable, and `rotate` goes on \
                 where it was",
            ),
            Self::Closed => f.write_str(
                "the database was closed before the rotation ended; it goes on when the database \
                 is opened again",
            ),
            Self::Store(error) => write!(f, "the rotation is paused: {error}"),
        }
    }
}

impl StdError for RotationError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Store(error) => Some(&**error),
            Self::Cancelled | Self::Closed => None,
        }
    }
}

impl From<StoreError> for RotationError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl From<RotationError> for Error {
    fn from(error: RotationError) -> Self {
        Self::Rotation(error)
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        OpenError::from(error).into()
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        OpenError::io("asking the system")(error).into()
    }
}
