//! Existing files by name: what opens one as a medium, and what is said where it can't.

use std::io;
use std::path::Path;

use super::FileMedium;
use crate::error::OpenError;

/// An existing file, for reading and writing.
///
/// # Errors
/// [`OpenError::NotFound`] and its like; nothing is created.
pub(crate) fn existing(path: &Path) -> Result<FileMedium, OpenError> {
    refuse_special_file(path)?;
    FileMedium::open(path).map_err(|error| file_error(path, error))
}

/// An existing file, for reading.
///
/// # Errors
/// As [`existing`].
pub(crate) fn existing_read_only(path: &Path) -> Result<FileMedium, OpenError> {
    refuse_special_file(path)?;
    FileMedium::open_read_only(path).map_err(|error| file_error(path, error))
}

fn refuse_special_file(path: &Path) -> Result<(), OpenError> {
    use std::os::unix::fs::FileTypeExt;
    match path.metadata() {
        Ok(metadata) if metadata.is_dir() => Err(OpenError::IsDirectory(path.to_owned())),
        // Opening a pipe would wait for somebody to write to it.
        Ok(metadata) if metadata.file_type().is_fifo() => Err(OpenError::NotStrongroom),
        _ => Ok(()),
    }
}

/// What the system's answer means for a file of this name.
pub(crate) fn file_error(path: &Path, error: io::Error) -> OpenError {
    match error.kind() {
        io::ErrorKind::NotFound => OpenError::NotFound(path.to_owned()),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            OpenError::ReadOnly(path.to_owned())
        }
        io::ErrorKind::IsADirectory => OpenError::IsDirectory(path.to_owned()),
        _ => OpenError::io("opening the file")(error),
    }
}
