//! A directory as what file names lie in: the few calls that give a new file its name in one step,
//! so that a simulator can cut the power between any two of them. What is assumed: a name that is
//! given, taken or moved is durable once [`Directory::sync`] has returned, and before that may or
//! may not be, each by itself.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{FileMedium, Medium};

/// Which file a name leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The file system.
    pub device: u64,
    /// The file on it.
    pub file: u64,
    /// How many names it has.
    pub names: u64,
}

/// Where files have names: a directory of the file system, or a simulated one.
pub trait Directory: fmt::Debug + Send + Sync {
    /// Creates a file that must not exist yet, readable and writable by its owner only.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`], or whatever the storage reports.
    fn create_new(&self, name: &OsStr) -> io::Result<Arc<dyn Medium>>;

    /// Opens a file, for writing if asked.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], or whatever the storage reports.
    fn open(&self, name: &OsStr, writable: bool) -> io::Result<Arc<dyn Medium>>;

    /// Which file a name leads to.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], or whatever the storage reports.
    fn identity(&self, name: &OsStr) -> io::Result<Identity>;

    /// All names, in no order.
    ///
    /// # Errors
    /// Whatever the storage reports.
    fn names(&self) -> io::Result<Vec<OsString>>;

    /// Gives a file a second name.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] where the name is taken, or whatever the storage reports.
    fn link(&self, name: &OsStr, new: &OsStr) -> io::Result<()>;

    /// Moves a file to another name, in one step; what had that name before has lost it.
    ///
    /// # Errors
    /// Whatever the storage reports.
    fn rename(&self, name: &OsStr, new: &OsStr) -> io::Result<()>;

    /// Takes a name away.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], or whatever the storage reports.
    fn remove(&self, name: &OsStr) -> io::Result<()>;

    /// Makes the names durable as they are now.
    ///
    /// # Errors
    /// Whatever the storage reports.
    fn sync(&self) -> io::Result<()>;
}

/// A directory of the file system.
#[derive(Clone, Debug)]
pub(crate) struct FileDirectory {
    path: PathBuf,
}

impl FileDirectory {
    pub(crate) fn new(path: &Path) -> Self {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        Self { path: path.to_owned() }
    }

    /// The directory that holds a file of this path, and its name there; `None` for a path that
    /// names no file.
    pub(crate) fn of(path: &Path) -> Option<(Self, OsString)> {
        let name = path.file_name()?.to_owned();
        Some((Self::new(path.parent().unwrap_or(Path::new("."))), name))
    }

    pub(crate) fn path_of(&self, name: &OsStr) -> PathBuf {
        self.path.join(name)
    }
}

impl Directory for FileDirectory {
    fn create_new(&self, name: &OsStr) -> io::Result<Arc<dyn Medium>> {
        Ok(Arc::new(FileMedium::create_new(self.path_of(name))?))
    }

    fn open(&self, name: &OsStr, writable: bool) -> io::Result<Arc<dyn Medium>> {
        let path = self.path_of(name);
        Ok(Arc::new(match writable {
            true => FileMedium::open(path)?,
            false => FileMedium::open_read_only(path)?,
        }))
    }

    fn identity(&self, name: &OsStr) -> io::Result<Identity> {
        let found = fs::metadata(self.path_of(name))?;
        if !found.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        Ok(Identity { device: found.dev(), file: found.ino(), names: found.nlink() })
    }

    fn names(&self) -> io::Result<Vec<OsString>> {
        fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn link(&self, name: &OsStr, new: &OsStr) -> io::Result<()> {
        fs::hard_link(self.path_of(name), self.path_of(new))
    }

    fn rename(&self, name: &OsStr, new: &OsStr) -> io::Result<()> {
        fs::rename(self.path_of(name), self.path_of(new))
    }

    fn remove(&self, name: &OsStr) -> io::Result<()> {
        fs::remove_file(self.path_of(name))
    }

    fn sync(&self) -> io::Result<()> {
        fs::File::open(&self.path)?.sync_all()
    }
}
