//! What there is to store: the regular files below some directories, in the order of their names.
//! A path in the vault is the directory's own name and the path below it, with slashes.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::report::Tally;

/// A file to store.
#[derive(Debug)]
pub(crate) struct Found {
    /// Its path in the vault.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) metadata: Metadata,
}

/// The directories, under the names that they have in a vault.
#[derive(Debug)]
pub(crate) struct Roots {
    named: Vec<(String, PathBuf)>,
}

impl Roots {
    /// # Errors
    /// One of them is missing, not a directory, or has no name of its own.
    pub(crate) fn new(directories: &[PathBuf]) -> Result<Self, Failure> {
        let mut named = Vec::new();
        let mut seen = HashSet::new();
        for directory in directories {
            let path = fs::canonicalize(directory)
                .map_err(|error| Failure::io("the directory", directory, &error))?;
            if !path.is_dir() {
                return Err(Failure::said(format!("{} is not a directory", directory.display())));
            }
            let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
                Failure::said(format!("{} has no UTF-8 name to store it by", path.display()))
            })?;
            if !seen.insert(name.to_owned()) {
                return Err(Failure::said(format!(
                    "two directories are called {name}: store them in two vaults"
                )));
            }
            named.push((name.to_owned(), path));
        }
        Ok(Self { named })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// Whether a path in a vault belongs to one of these directories.
    pub(crate) fn contain(&self, name: &str) -> bool {
        let first = name.split('/').next();
        self.named.iter().any(|(root, _)| Some(root.as_str()) == first)
    }

    /// All regular files. Whatever can't be stored goes to the tally.
    pub(crate) fn files(&self, apart_from: &[&Path], skipped: &mut Tally) -> Vec<Found> {
        let apart_from: Vec<_> = apart_from.iter().filter_map(|path| identity(path)).collect();
        let mut files = Vec::new();
        let mut open: Vec<_> = self.named.iter().rev().cloned().collect();
        while let Some((name, path)) = open.pop() {
            let entries = match read_directory(&path, &name, skipped) {
                Ok(entries) => entries,
                Err(error) => {
                    skipped.add(&name, error);
                    continue;
                }
            };
            let mut below = Vec::new();
            for (name, path) in entries {
                match fs::symlink_metadata(&path) {
                    Err(error) => skipped.add(&name, error),
                    Ok(metadata) if metadata.is_symlink() => skipped.add(&name, "a symbolic link"),
                    Ok(metadata) if metadata.is_dir() => below.push((name, path)),
                    Ok(metadata) if !metadata.is_file() => skipped.add(&name, "not a regular file"),
                    Ok(metadata) if apart_from.contains(&(metadata.dev(), metadata.ino())) => {
                        skipped.add(&name, "the vault itself, or its key");
                    }
                    Ok(metadata) => files.push(Found { name, path, metadata }),
                }
            }
            open.extend(below.into_iter().rev());
        }
        files
    }
}

type Named = (String, PathBuf);

fn read_directory(
    path: &Path,
    name: &str,
    skipped: &mut Tally,
) -> Result<Vec<Named>, std::io::Error> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        match entry.file_name().to_str() {
            Some(last) => entries.push((format!("{name}/{last}"), entry.path())),
            None => skipped
                .add(&format!("{name}/{}", entry.file_name().display()), "its name is not UTF-8"),
        }
    }
    entries.sort();
    Ok(entries)
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}
