//! A file that appears under its name once it is complete and durable, and never replaces another.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::OpenError;
use crate::medium::{self, FileMedium};
use crate::random;

/// A file that is being built under a temporary name beside its own: `NAME.<16 digits>.creating`.
/// Dropping it removes that name.
#[derive(Debug)]
pub(crate) struct NewFile {
    path: PathBuf,
    temporary: PathBuf,
}

impl NewFile {
    /// Begins a file, readable and writable by its owner only.
    ///
    /// # Errors
    /// [`OpenError::AlreadyExists`] where the name is taken; what the directory says.
    pub(crate) fn beside(path: &Path) -> Result<(Self, FileMedium), OpenError> {
        if path.symlink_metadata().is_ok() {
            return Err(taken(path));
        }
        let temporary = temporary_beside(path)?;
        let medium =
            FileMedium::create_new(&temporary).map_err(|error| create_error(path, error))?;
        Ok((Self { path: path.to_owned(), temporary }, medium))
    }

    /// The name that the file has until it is published.
    pub(crate) fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Gives the file, complete and durable, its name.
    ///
    /// # Errors
    /// [`OpenError::AlreadyExists`] where the name was taken meanwhile.
    pub(crate) fn publish(self) -> Result<(), OpenError> {
        let Self { path, temporary } = &self;
        // A second name for the finished file; unlike a rename, it fails where the name is taken.
        fs::hard_link(temporary, path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => taken(path),
            _ => OpenError::io(
                "giving the new file its name, for which the file system needs hard links",
            )(error),
        })?;
        fs::remove_file(temporary)
            .and_then(|()| sync_directory_of(path))
            .map_err(OpenError::io("making the new file's name durable"))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // Whatever happened, the temporary name goes; the file has its own by now, or failed.
        let _ = fs::remove_file(&self.temporary);
    }
}

fn taken(path: &Path) -> OpenError {
    if path.is_dir() {
        OpenError::IsDirectory(path.to_owned())
    } else {
        OpenError::AlreadyExists(path.to_owned())
    }
}

fn create_error(path: &Path, error: io::Error) -> OpenError {
    match error.kind() {
        io::ErrorKind::NotFound => {
            OpenError::NotFound(directory_of(path).unwrap_or(path).to_owned())
        }
        _ => medium::file_error(path, error),
    }
}

// Beside the file, so that both names are of one file system, and of a name nobody else has.
fn temporary_beside(path: &Path) -> Result<PathBuf, OpenError> {
    let random: [u8; 8] = random::array().map_err(OpenError::io("choosing a temporary name"))?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}.creating", u64::from_le_bytes(random)));
    Ok(path.with_file_name(name))
}

fn directory_of(path: &Path) -> Option<&Path> {
    path.parent().filter(|parent| !parent.as_os_str().is_empty())
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    fs::File::open(directory_of(path).unwrap_or(Path::new(".")))?.sync_all()
}
