//! One file into the database: a batch of rows a transaction, and with it how far the file was read.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use blake3::Hasher;
use strongroom::Database;
use strongroom::redb::{ReadableDatabase, TableDefinition, TableError};

use crate::Result;
use crate::csv::Records;
use crate::progress::Progress;

/// File and number of the row to its fields; row 0 is the head.
pub(crate) const ROWS: TableDefinition<(&str, u64), Vec<&str>> = TableDefinition::new("rows");
/// File to bytes and rows that are imported, and a hash of those bytes.
const IMPORTED: TableDefinition<&str, (u64, u64, &[u8; 32])> = TableDefinition::new("imported");

/// Rows a transaction: large enough that its sync costs little beside them.
pub(crate) const BATCH_ROWS: usize = 5000;

/// What an import did.
pub(crate) struct Imported {
    /// Rows of the file that are in the database now.
    pub(crate) rows: u64,
    /// Rows that this run added.
    pub(crate) new_rows: u64,
}

/// Imports what of a file isn't imported yet. A file that has grown since is gone on with; one that
/// changed before its end is refused. `go_on` is asked before each batch, with its number.
pub(crate) fn file(
    db: &Database,
    path: &Path,
    batch_rows: usize,
    go_on: impl Fn(u64) -> bool,
) -> Result<Imported> {
    let name = path.to_str().ok_or("the file's name is not UTF-8")?;
    let (offset, rows_before, hash) = imported(db, name)?;
    let mut source = BufReader::new(File::open(path)?);
    let total = source.get_ref().metadata()?.len();
    let mut hasher = hash_of(&mut source, offset)?;
    if *hasher.finalize().as_bytes() != hash {
        let changed = format!("{name} changed within the {offset} bytes that are imported already");
        return Err(changed.into());
    }
    let mut records = Records::at(source, offset);
    let mut progress = Progress::new(name, offset, total);
    let (mut rows, mut batches, mut at_end) = (rows_before, 0, false);
    while !at_end && go_on(batches) {
        let write = db.begin_write()?;
        {
            let mut table = write.open_table(ROWS)?;
            for _ in 0..batch_rows {
                let Some(fields) = records.next()? else {
                    at_end = true;
                    break;
                };
                hasher.update(records.raw());
                let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
                table.insert((name, rows), fields)?;
                rows += 1;
            }
            let hash = hasher.finalize();
            write.open_table(IMPORTED)?.insert(name, (records.offset, rows, hash.as_bytes()))?;
        }
        write.commit()?; // rows and how far: both or neither
        batches += 1;
        progress.at(records.offset);
    }
    Ok(Imported { rows, new_rows: rows - rows_before })
}

/// Bytes and rows of a file that are imported, and the bytes' hash.
fn imported(db: &Database, name: &str) -> Result<(u64, u64, [u8; 32])> {
    let nothing = (0, 0, *Hasher::new().finalize().as_bytes());
    let table = match db.begin_read()?.open_table(IMPORTED) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(nothing),
        other => other?,
    };
    let found = table.get(name)?.map(|row| {
        let (bytes, rows, hash) = row.value();
        (bytes, rows, *hash)
    });
    Ok(found.unwrap_or(nothing))
}

/// Reads so many bytes; the reader stands behind them.
fn hash_of(source: &mut impl Read, bytes: u64) -> Result<Hasher> {
    let mut hasher = Hasher::new();
    hasher.update_reader(source.take(bytes))?;
    Ok(hasher)
}
