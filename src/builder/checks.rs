//! What a [`Builder`] does about files besides opening them: verify.

use std::path::Path;
use std::sync::Arc;

use super::Builder;
use crate::error::OpenError;
use crate::keys::Credential;
use crate::medium::{self, Medium};
use crate::verify::{self, Report, VerifyOptions};

/// Verifies a file that is not open for writing: [`Builder::verify`] with the defaults.
///
/// ```
/// use strongroom::{Database, RawKey, VerifyOptions};
/// # let directory = tempfile::tempdir().unwrap();
/// # let path = directory.path().join("notes.room");
/// Database::create(&path, RawKey::new([7; 32]))?.close()?;
/// let report = strongroom::verify_file(&path, &RawKey::new([7; 32]), &VerifyOptions::new())?;
/// assert!(report.is_spotless(), "{report}");
/// # Ok::<(), strongroom::OpenError>(())
/// ```
///
/// # Errors
/// As [`Builder::verify`].
pub fn verify_file(
    path: impl AsRef<Path>,
    key: &dyn Credential,
    options: &VerifyOptions,
) -> Result<Report, OpenError> {
    Builder::new().verify(path, key, options)
}

/// Verifies a medium: [`Builder::verify_on`] with the defaults.
///
/// # Errors
/// As [`Builder::verify`].
pub fn verify_medium(
    medium: impl Medium,
    key: &dyn Credential,
    options: &VerifyOptions,
) -> Result<Report, OpenError> {
    Builder::new().verify_on(medium, key, options)
}

impl Builder {
    /// Looks at every byte that a database stands on: both header copies, both root records, both
    /// copies of every tag page, every data page, and redb's trees. The file is opened for reading
    /// and shared with other readers; nothing is changed, not even where the database was not
    /// closed cleanly: what a recovery would do is done in memory.
    ///
    /// Works on files that an open refuses, and says what is wrong with each place of them.
    ///
    /// # Errors
    /// What keeps everything from being looked at: there is no such file, it is in use, it has no
    /// header left, or the credential doesn't open it. What is wrong with the file is in the
    /// report.
    pub fn verify(
        &self,
        path: impl AsRef<Path>,
        key: &dyn Credential,
        options: &VerifyOptions,
    ) -> Result<Report, OpenError> {
        self.verify_on(medium::existing_read_only(path.as_ref())?, key, options)
    }

    /// [`Builder::verify`] of a medium; nothing is written to it, and it is never synced.
    ///
    /// # Errors
    /// As [`Builder::verify`].
    pub fn verify_on(
        &self,
        medium: impl Medium,
        key: &dyn Credential,
        options: &VerifyOptions,
    ) -> Result<Report, OpenError> {
        verify::verify_medium(Arc::new(medium), key, &self.options, options)
    }
}
