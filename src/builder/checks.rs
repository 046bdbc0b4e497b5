//! What a [`Builder`] does about files besides opening them: verify, inspect, prove.

use std::path::Path;
use std::sync::Arc;

use super::Builder;
use crate::error::OpenError;
use crate::inspect::{self, Inspection};
use crate::keys::Credential;
use crate::medium::{self, Medium};
use crate::prove::{self, Proof, ProveOptions};
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

/// What a file says of itself to somebody without a key: format version, file id, generations, key
/// slots with their kinds, labels and costs, data keys by number, sizes. Nothing of it is
/// authenticated, and nothing of it is secret. Works beside a writer.
///
/// ```
/// use strongroom::{Database, RawKey, SlotKind};
/// # let directory = tempfile::tempdir().unwrap();
/// # let path = directory.path().join("notes.room");
/// Database::create(&path, RawKey::new([7; 32]))?.close()?;
/// let inspection = strongroom::inspect(&path)?;
/// assert_eq!(inspection.header().unwrap().slots[0].kind, SlotKind::RawKey);
/// # Ok::<(), strongroom::OpenError>(())
/// ```
///
/// # Errors
/// [`OpenError::NotFound`], [`OpenError::Empty`], [`OpenError::PlainRedb`],
/// [`OpenError::NotStrongroom`], or what reading it met with.
pub fn inspect(path: impl AsRef<Path>) -> Result<Inspection, OpenError> {
    inspect_medium(medium::existing_read_only(path.as_ref())?)
}

/// [`inspect`] of a medium.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_medium(medium: impl Medium) -> Result<Inspection, OpenError> {
    let medium: Arc<dyn Medium> = Arc::new(medium);
    inspect::inspect(&medium)
}

/// Scans every byte of a file for plaintext: [`Builder::prove`] with the defaults.
///
/// ```
/// use strongroom::{Database, ProveOptions, RawKey};
/// # let directory = tempfile::tempdir().unwrap();
/// # let path = directory.path().join("notes.room");
/// let key = RawKey::new([7; 32]);
/// Database::create(&path, RawKey::new([7; 32]))?.close()?;
/// let options = ProveOptions::new().pattern("a word that was stored");
/// let (without, with) =
///     (strongroom::prove(&path, None, &options)?, strongroom::prove(&path, Some(&key), &options)?);
/// assert!(without.holds() && with.holds(), "{with}");
/// # Ok::<(), strongroom::OpenError>(())
/// ```
///
/// # Errors
/// As [`Builder::prove`].
pub fn prove(
    path: impl AsRef<Path>,
    key: Option<&dyn Credential>,
    options: &ProveOptions,
) -> Result<Proof, OpenError> {
    Builder::new().prove(path, key, options)
}

/// [`prove`] of a medium.
///
/// # Errors
/// As [`Builder::prove`].
pub fn prove_medium(
    medium: impl Medium,
    key: Option<&dyn Credential>,
    options: &ProveOptions,
) -> Result<Proof, OpenError> {
    Builder::new().prove_on(medium, key, options)
}

impl Builder {
    /// Scans every byte of a file that is not open for writing and says, with figures, that nothing
    /// in it is plaintext: no page that doesn't look random, redb's magic nowhere, none of the
    /// caller's patterns. With a key also which pages authenticate. Changes nothing.
    ///
    /// Without a key any file will do, one that is no database too.
    ///
    /// # Errors
    /// There is no such file, it is in use, empty or can't be read, or the credential doesn't open
    /// it. What looks like plaintext is in the proof.
    pub fn prove(
        &self,
        path: impl AsRef<Path>,
        key: Option<&dyn Credential>,
        options: &ProveOptions,
    ) -> Result<Proof, OpenError> {
        self.prove_on(medium::existing_read_only(path.as_ref())?, key, options)
    }

    /// [`Builder::prove`] of a medium.
    ///
    /// # Errors
    /// As [`Builder::prove`].
    pub fn prove_on(
        &self,
        medium: impl Medium,
        key: Option<&dyn Credential>,
        options: &ProveOptions,
    ) -> Result<Proof, OpenError> {
        prove::prove(Arc::new(medium), key, &self.options, options)
    }

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
