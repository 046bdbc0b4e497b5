//! The process that something was made in, asked on every page: a fork handler counts, so that no
//! system call is needed to know. A child made around the C library, by a bare `clone`, is not
//! counted; key memory is not mapped there either, so touching it faults and nothing is read.

use std::{fmt, io};

/// Made in one process; knows in any other that it is a fork's child.
#[derive(Clone)]
pub(crate) struct Origin(forkguard::Guard);

impl Origin {
    /// This process.
    ///
    /// # Errors
    /// The system takes no fork handler.
    pub(crate) fn here() -> io::Result<Self> {
        Ok(Self(forkguard::Guard::try_new().map_err(io::Error::other)?))
    }

    /// Whether this process is a fork of the one it was made in.
    #[inline]
    pub(crate) fn is_forked_child(&self) -> bool {
        // Asking changes a guard: it says it once.
        self.0.clone().detected_fork()
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Origin")
    }
}
