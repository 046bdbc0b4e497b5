//! The process that something was made in, asked on every page: a fork handler counts, so that no
//! system call is needed to know. A child made around it, by `_Fork` or a bare `clone`, is not
//! counted; key memory is not mapped there either. Where a system call is nothing beside the rest,
//! before anything goes to the file and before memory is wiped, process ids are compared as well.

use std::{fmt, io, process};

/// Made in one process; knows in any other that it is a fork's child.
#[derive(Clone)]
pub(crate) struct Origin {
    forks: forkguard::Guard,
    process: u32,
}

impl Origin {
    /// This process.
    ///
    /// # Errors
    /// The system takes no fork handler.
    pub(crate) fn here() -> io::Result<Self> {
        let forks = forkguard::Guard::try_new().map_err(io::Error::other)?;
        Ok(Self { forks, process: process::id() })
    }

    /// Whether this process is a fork of the one it was made in.
    #[inline]
    pub(crate) fn is_forked_child(&self) -> bool {
        // Asking changes a guard: it says it once.
        self.forks.clone().detected_fork()
    }

    /// The same, also where the fork went around the handler: a system call.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.is_forked_child() || self.process != process::id()
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Origin")
    }
}
