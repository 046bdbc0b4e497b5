//! Writes the rows of a table into a fresh database, under the types that the table had, in
//! transactions of a few megabytes.

use super::definition::Definition;
use super::raw::{InUse, Types};
use super::tables;
use super::walk::Walk;
use crate::error::SalvageError;

/// Bytes of rows in one transaction.
const BATCH_BYTES: usize = 8 << 20;

/// Rows on their way into the fresh database.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Where each key and each value ends.
    ends: Vec<(usize, usize)>,
}

impl Batch {
    fn push(&mut self, key: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.ends.push((key_end, self.bytes.len()));
    }

    fn is_full(&self) -> bool {
        self.bytes.len() + 16 * self.ends.len() >= BATCH_BYTES
    }

    fn rows(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |(key_end, value_end)| {
            let key = self.bytes.get(start..*key_end).unwrap_or_default();
            start = *value_end;
            (key, self.bytes.get(*key_end..*value_end).unwrap_or_default())
        })
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// A table being written.
struct Dump<'a> {
    db: &'a redb::Database,
    table: &'a Definition,
    types: InUse,
    saved: u64,
}

impl Dump<'_> {
    fn write(&mut self, batch: &Batch) -> Result<(), redb::Error> {
        let write = self.db.begin_write()?;
        if self.table.multimap {
            let mut table = write.open_multimap_table(self.types.multimap(&self.table.name))?;
            for (key, value) in batch.rows() {
                self.types.note(key, value);
                self.saved += u64::from(!table.insert(key, value)?);
            }
        } else {
            let mut table = write.open_table(self.types.table(&self.table.name))?;
            for (key, value) in batch.rows() {
                self.types.note(key, value);
                self.saved += u64::from(table.insert(key, value)?.is_none());
            }
        }
        write.commit()?;
        Ok(())
    }
}

/// Makes the table anew in `db` with every row that the walk reaches, and says how many those are;
/// `None` where redb's API won't have a table of these types. `tick` is told how many there are
/// after each transaction.
///
/// # Errors
/// What redb says, or what `tick` says.
pub(super) fn table(
    db: &redb::Database,
    walk: &mut Walk<'_>,
    table: &Definition,
    tick: &mut dyn FnMut(u64) -> Result<(), SalvageError>,
) -> Result<Option<u64>, SalvageError> {
    let Some(types) = Types::of(table) else { return Ok(None) };
    let mut dump = Dump { db, table, types: types.in_use(), saved: 0 };
    let mut batch = Batch::default();
    tables::rows(walk, table, |key, value| {
        batch.push(key, value);
        if !batch.is_full() {
            return Ok(());
        }
        dump.write(&batch)?;
        batch.clear();
        tick(dump.saved)
    })?;
    // Also where no row is left: the table was there.
    dump.write(&batch)?;
    tick(dump.saved)?;
    Ok(Some(dump.saved))
}
