//! What the database of a program holds: three tables and a multimap, in the model and as they are
//! read. Values are kept as length and hash only.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::hash::Hasher;
use std::sync::Arc;

use redb::{
    MultimapTableDefinition, ReadTransaction, ReadableDatabase, ReadableMultimapTable,
    ReadableTable, TableDefinition, TableError,
};

use crate::testkit::SeededRandom;

/// The tables of every program. The second has long keys, the third holds the largest values.
pub const TABLES: [TableDefinition<&[u8], &[u8]>; 3] =
    [TableDefinition::new("small"), TableDefinition::new("long keys"), TableDefinition::new("big")];

/// The multimap of every program.
pub const PAIRS: MultimapTableDefinition<u32, u32> = MultimapTableDefinition::new("pairs");

/// A value as the model remembers it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Value {
    length: usize,
    hash: u64,
}

impl Value {
    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        Self { length: bytes.len(), hash: hasher.finish() }
    }
}

/// All that the tables hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tables {
    /// The rows of [`TABLES`]: (table, key) to value.
    pub rows: BTreeMap<(usize, u32), Value>,
    /// The rows of [`PAIRS`]: key and value.
    pub pairs: BTreeSet<(u32, u32)>,
}

/// One committed state.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Content {
    /// The rows.
    pub tables: Arc<Tables>,
    /// Persistent savepoints, with what restoring each gives back.
    pub savepoints: BTreeMap<u64, Arc<Tables>>,
}

/// The key's bytes, in the order of the numbers: long ones in table 1.
#[must_use]
pub fn key_bytes(table: usize, key: u32) -> Vec<u8> {
    let mut bytes = key.to_be_bytes().to_vec();
    if table == 1 {
        let padding = usize::try_from(key).unwrap_or(0).wrapping_mul(37) % 300;
        bytes.resize(padding.saturating_add(4), b'k');
    }
    bytes
}

/// The bytes of a value, as its seed has them.
pub(super) fn value_bytes(seed: u64, length: u32) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    SeededRandom::new(seed).fill(&mut bytes);
    bytes
}

fn said<E: Display>(what: &'static str) -> impl Fn(E) -> String {
    move |error| format!("{what}: {error}")
}

impl Tables {
    /// Reads everything that a read transaction sees.
    ///
    /// # Errors
    /// What could not be read, or a key that no program ever wrote.
    pub fn read(read: &ReadTransaction) -> Result<Self, String> {
        let mut tables = Self::default();
        for (number, definition) in TABLES.into_iter().enumerate() {
            let table = match read.open_table(definition) {
                Ok(table) => table,
                Err(TableError::TableDoesNotExist(_)) => continue,
                Err(error) => return Err(format!("open_table: {error}")),
            };
            for row in table.iter().map_err(said("iter"))? {
                let (key, value) = row.map_err(said("row"))?;
                let key_number = key.value().first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
                let key_number = key_number.unwrap_or(u32::MAX);
                if key.value() != key_bytes(number, key_number) {
                    return Err(format!("a key that was never written: {:?}", key.value()));
                }
                tables.rows.insert((number, key_number), Value::of(value.value()));
            }
        }
        let pairs = match read.open_multimap_table(PAIRS) {
            Ok(pairs) => pairs,
            Err(TableError::TableDoesNotExist(_)) => return Ok(tables),
            Err(error) => return Err(format!("open_multimap_table: {error}")),
        };
        for entry in pairs.iter().map_err(said("iter of pairs"))? {
            let (key, values) = entry.map_err(said("pairs of a key"))?;
            for value in values {
                tables.pairs.insert((key.value(), value.map_err(said("pair"))?.value()));
            }
        }
        Ok(tables)
    }

    /// Says how these differ from what was expected, shortly.
    #[must_use]
    pub fn difference(&self, expected: &Self) -> String {
        let wrong = expected.rows.iter().filter(|(key, value)| self.rows.get(key) != Some(value));
        let surplus = self.rows.keys().filter(|key| !expected.rows.contains_key(key));
        format!(
            "{} rows found, {} expected, {} missing or other, {} surplus, {} pairs of {} differ",
            self.rows.len(),
            expected.rows.len(),
            wrong.count(),
            surplus.count(),
            self.pairs.symmetric_difference(&expected.pairs).count(),
            expected.pairs.len(),
        )
    }
}

/// What a database holds, read in full: rows, and the numbers of its persistent savepoints.
#[derive(Debug)]
pub struct Observed {
    tables: Tables,
    savepoints: BTreeSet<u64>,
}

impl Observed {
    /// Reads everything there is.
    ///
    /// # Errors
    /// What could not be read.
    pub fn read(db: &redb::Database) -> Result<Self, String> {
        let tables = Tables::read(&db.begin_read().map_err(said("begin_read"))?)?;
        let write = db.begin_write().map_err(said("begin_write"))?;
        let savepoints = write.list_persistent_savepoints();
        let savepoints = savepoints.map_err(said("list_persistent_savepoints"))?.collect();
        write.abort().map_err(said("abort"))?;
        Ok(Self { tables, savepoints })
    }

    /// Whether this is exactly that state.
    #[must_use]
    pub fn is(&self, content: &Content) -> bool {
        self.tables == *content.tables && self.savepoints.iter().eq(content.savepoints.keys())
    }

    /// Says how this differs from a state, shortly.
    #[must_use]
    pub fn difference(&self, content: &Content) -> String {
        format!(
            "{}, savepoints {:?} against {:?}",
            self.tables.difference(&content.tables),
            self.savepoints,
            content.savepoints.keys().collect::<Vec<_>>()
        )
    }
}
