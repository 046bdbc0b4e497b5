//! A new file beside a database: a header's backup, the end of a chain.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::failure::Failure;

/// Writes a file that its owner alone may read: whole and durable, or not there.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let doing = || Failure::io(format!("writing {}", path.display()));
    let mut file =
        File::options().write(true).create_new(true).mode(0o600).open(path).map_err(doing())?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| File::open(parent.unwrap_or(Path::new(".")))?.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written.map_err(doing())
}
