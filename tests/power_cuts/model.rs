//! What a database must hold: the content after each commit, in order, and which of these states
//! a crash may leave. Values are kept as length and hash only.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::sync::Arc;

use redb::{ReadableDatabase, ReadableTable, TableDefinition, TableError};
use strongroom::redb;
use strongroom::testkit::SeededRandom;

/// The tables of the workload. The second has long keys, the third holds the largest values.
pub const TABLES: [TableDefinition<&[u8], &[u8]>; 3] =
    [TableDefinition::new("small"), TableDefinition::new("long keys"), TableDefinition::new("big")];

/// A value as the model remembers it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Value {
    length: usize,
    hash: u64,
}

impl Value {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        Self { length: bytes.len(), hash: hasher.finish() }
    }
}

/// All tables: (table, key) to value.
pub type Tables = BTreeMap<(usize, u32), Value>;

/// One committed state.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Content {
    /// The rows.
    pub tables: Arc<Tables>,
    /// Persistent savepoints, with what restoring each gives back.
    pub savepoints: BTreeMap<u64, Arc<Tables>>,
}

/// The key's bytes: long ones in table 1.
pub fn key_bytes(table: usize, key: u32) -> Vec<u8> {
    let mut bytes = key.to_be_bytes().to_vec();
    if table == 1 {
        bytes.resize(4 + (key as usize * 37) % 300, b'k');
    }
    bytes
}

/// Random bytes of a length.
pub fn value_bytes(random: &mut SeededRandom, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes
}

/// What a database holds, read in full: rows, and the numbers of its persistent savepoints.
#[derive(Debug)]
pub struct Observed {
    tables: Tables,
    savepoints: Vec<u64>,
    stray: bool,
}

impl Observed {
    /// Reads everything there is.
    pub fn read(db: &redb::Database) -> Result<Self, String> {
        let mut observed = Self { tables: Tables::new(), savepoints: Vec::new(), stray: false };
        let read = db.begin_read().map_err(|error| format!("begin_read: {error}"))?;
        for (number, definition) in TABLES.iter().enumerate() {
            let table = match read.open_table(*definition) {
                Ok(table) => table,
                Err(TableError::TableDoesNotExist(_)) => continue,
                Err(error) => return Err(format!("open_table: {error}")),
            };
            for row in table.iter().map_err(|error| format!("iter: {error}"))? {
                let (key, value) = row.map_err(|error| format!("row: {error}"))?;
                let number_of_key =
                    key.value().first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
                let key_number = number_of_key.unwrap_or(u32::MAX);
                observed.stray |= key.value() != key_bytes(number, key_number);
                observed.tables.insert((number, key_number), Value::of(value.value()));
            }
        }
        drop(read);
        let write = db.begin_write().map_err(|error| format!("begin_write: {error}"))?;
        observed.savepoints = write
            .list_persistent_savepoints()
            .map_err(|error| format!("list_persistent_savepoints: {error}"))?
            .collect();
        observed.savepoints.sort_unstable();
        write.abort().map_err(|error| format!("abort: {error}"))?;
        Ok(observed)
    }

    /// Whether this is exactly that state.
    pub fn is(&self, content: &Content) -> bool {
        !self.stray
            && self.tables == *content.tables
            && self.savepoints.iter().eq(content.savepoints.keys())
    }

    /// Says how this differs from a state, shortly.
    pub fn difference(&self, content: &Content) -> String {
        let wrong =
            content.tables.iter().filter(|(key, value)| self.tables.get(key) != Some(value));
        let surplus = self.tables.keys().filter(|key| !content.tables.contains_key(key));
        format!(
            "{} rows found, {} expected, {} missing or other, {} surplus, savepoints {:?} against {:?}",
            self.tables.len(),
            content.tables.len(),
            wrong.count(),
            surplus.count(),
            self.savepoints,
            content.savepoints.keys().collect::<Vec<_>>()
        )
    }
}

/// Which state was found after a crash.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// One that the rules allow.
    Allowed,
    /// An older one: returned commits are gone.
    Older(usize),
    /// None that was ever committed.
    None,
}

/// Every committed state from the first on.
#[derive(Debug)]
pub struct History {
    states: Vec<Content>,
    durable: usize,
}

impl History {
    /// Of an empty database.
    pub fn new() -> Self {
        Self { states: vec![Content::default()], durable: 0 }
    }

    /// The newest state, durable or not.
    pub fn newest(&self) -> &Content {
        self.states.last().expect("a history never gets empty")
    }

    /// A commit that may be found after a crash, but need not.
    pub fn commit(&mut self, content: Content) {
        self.states.push(content);
    }

    /// Everything up to now was acknowledged as durable.
    pub fn acknowledge(&mut self) {
        self.durable = self.states.len() - 1;
    }

    /// How many states are at stake: committed but not acknowledged.
    pub fn uncertain(&self) -> usize {
        self.states.len() - 1 - self.durable
    }

    /// Judges what was found. An allowed state becomes the newest one, durable by being seen.
    pub fn find(&mut self, observed: &Observed) -> Found {
        let allowed = (self.durable..self.states.len()).rev();
        let place =
            allowed.chain((0..self.durable).rev()).find(|at| observed.is(&self.states[*at]));
        match place {
            Some(at) if at >= self.durable => {
                self.states.truncate(at + 1);
                self.durable = at;
                Found::Allowed
            }
            Some(at) => Found::Older(self.durable - at),
            None => Found::None,
        }
    }
}
