//! A copy of every page that can be read, and what redb makes of it.

use redb::{MultimapTableHandle, ReadableDatabase, ReadableTableMetadata, TableHandle};

use super::definition::Definition;
use super::source::Source;
use super::target::{Opened, Target};
use super::walk::Pages;
use crate::error::{OpenError, SalvageError};
use crate::format::root_record::RootRecord;
use crate::layout::{PAGE_BYTES, PAGE_SIZE};
use crate::units::PageNo;

/// Pages written at once.
const PAGES_PER_WRITE: usize = 64;

/// Writes the image: page 0 of the root record, every other page that reads, zeros for the
/// rest.
///
/// # Errors
/// The target's, or what `tick` says, which is told how many pages are done.
pub(super) fn write(
    source: &Source<'_>,
    root: &RootRecord,
    target: &Target<'_>,
    tick: &mut dyn FnMut(u64) -> Result<(), SalvageError>,
) -> Result<(), SalvageError> {
    let doing = |error| SalvageError::Target(OpenError::io("writing the image")(error));
    let backend = target.pages().map_err(SalvageError::Target)?;
    backend.set_len(root.logical_len).map_err(doing)?;
    let (mut first, end) = (1, source.end());
    let mut run = vec![0; PAGES_PER_WRITE * PAGE_SIZE];
    while first < end {
        let mut count = 0;
        for (page, room) in (first..end).zip(run.as_chunks_mut::<PAGE_SIZE>().0) {
            if !source.read(PageNo(page), room) {
                room.fill(0);
            }
            count += 1;
        }
        let written = run.get(..count * PAGE_SIZE).unwrap_or_default();
        if written.iter().any(|byte| *byte != 0) {
            backend.write(first * PAGE_BYTES, written).map_err(doing)?;
        }
        first += count as u64;
        tick(first)?;
    }
    backend.write(0, &*root.page_zero).map_err(doing)?;
    backend.sync_data().map_err(doing)?;
    backend.close().map_err(doing)
}

/// Whether the image is the database: redb checked every page of its trees and found the tables
/// that the walk found, with as many rows. Else why not.
pub(super) fn judge(target: &Target<'_>, tables: &[Definition]) -> Result<Opened, String> {
    let opened = target.open_checked().map_err(|error| error.to_string())?;
    let found = tables_of(&opened).map_err(|error| error.to_string())?;
    let mut expected: Vec<_> =
        tables.iter().map(|table| (table.name.clone(), table.rows)).collect();
    expected.sort();
    if found == expected {
        return Ok(opened);
    }
    Err("redb went back to another commit than the one that can be saved".to_owned())
}

fn tables_of(db: &redb::Database) -> Result<Vec<(String, u64)>, redb::Error> {
    let read = db.begin_read()?;
    let mut found = Vec::new();
    for table in read.list_tables()? {
        let name = table.name().to_owned();
        found.push((name, read.open_untyped_table(table)?.len()?));
    }
    for table in read.list_multimap_tables()? {
        let name = table.name().to_owned();
        found.push((name, read.open_untyped_multimap_table(table)?.len()?));
    }
    found.sort();
    Ok(found)
}
