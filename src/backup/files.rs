//! Backups in files: written as drafts, durable before they get their names.

use std::ffi::OsStr;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use super::chain::SUFFIX;
use super::{Options, Parent, Report, begin_draft, publish, writing};
use crate::database::Database;
use crate::error::BackupError;
use crate::medium::{Directory, Medium};

const WRITE_BYTES: usize = 1 << 20;

/// Writes to a medium front to back.
struct Appending {
    medium: Arc<dyn Medium>,
    at: u64,
}

impl Write for Appending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.medium.write_at(self.at, bytes)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.medium.sync()
    }
}

pub(super) fn write(
    db: &Database,
    parent: Option<&Parent>,
    directory: &dyn Directory,
    name: &OsStr,
    options: &Options<'_>,
) -> Result<Report, BackupError> {
    let (draft, medium) = begin_draft(directory, name)?;
    let mut out = BufWriter::with_capacity(WRITE_BYTES, Appending { medium, at: 0 });
    // It flushes at its end, which makes the file durable.
    let report = writing::write(db, parent, &mut out, options)?;
    drop(out);
    publish(draft, name)?;
    Ok(report)
}

pub(super) fn write_next(
    db: &Database,
    directory: &dyn Directory,
    options: &Options<'_>,
) -> Result<Report, BackupError> {
    let reading = || BackupError::io("reading the directory of backups");
    let names = directory.names().map_err(reading())?;
    let number_of =
        |name: &OsStr| -> Option<u32> { name.to_str()?.strip_suffix(SUFFIX)?.parse().ok() };
    let newest = names.iter().filter_map(|name| Some((number_of(name)?, name))).max();
    let (number, parent) = match newest {
        None => (0, None),
        Some((number, name)) => {
            let medium = directory.open(name, false).map_err(reading())?;
            let len = medium.len().map_err(reading())?;
            let mut stream = Reading { medium, at: 0, len };
            let parent = Parent::read(&mut stream, number as usize)?;
            (number.saturating_add(1), Some(parent))
        }
    };
    let name = format!("{number:06}{SUFFIX}");
    write(db, parent.as_ref(), directory, name.as_ref(), options)
}

/// Reads a medium.
struct Reading {
    medium: Arc<dyn Medium>,
    at: u64,
    len: u64,
}

impl io::Read for Reading {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let there = usize::try_from(self.len.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let len = there.min(out.len());
        self.medium.read_at(self.at, out.get_mut(..len).unwrap_or_default())?;
        self.at += len as u64;
        Ok(len)
    }
}

impl io::Seek for Reading {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        let at = match to {
            io::SeekFrom::Start(at) => Some(at),
            io::SeekFrom::End(by) => self.len.checked_add_signed(by),
            io::SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
