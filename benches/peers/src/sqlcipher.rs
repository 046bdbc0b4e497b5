//! SQLCipher: a table without rowids for small records, one by number for large values.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use crate::Outcome;
use crate::records::{LargeValue, add, add_pages, key, scatter, value};
use crate::store::{Picks, Store};

/// As many as there are reading threads.
const CONNECTIONS: usize = 4;

/// Connections that nobody uses right now; the one used last is used next.
pub(crate) struct SqlCipher(Mutex<Vec<Connection>>);

fn connect(path: &Path, cache_bytes: usize) -> Outcome<Connection> {
    // Each connection has a lock of its own here: SQLite need not lock.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // A raw key, no KDF.
    connection.execute_batch(&format!("PRAGMA key = \"x'{}'\";", "5a".repeat(32)))?;
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -{};",
        (cache_bytes >> 10).max(1)
    ))?;
    connection.set_prepared_statement_cache_capacity(16);
    Ok(connection)
}

pub(crate) fn version() -> Outcome<String> {
    let connection = Connection::open_in_memory()?;
    connection.execute_batch("PRAGMA key = 'any';")?;
    let cipher: Option<String> =
        connection.query_row("PRAGMA cipher_version", [], |row| row.get(0)).optional()?;
    Ok(cipher.ok_or("this SQLite does not encrypt")?)
}

impl SqlCipher {
    pub(crate) fn create(path: &Path, cache_bytes: usize) -> Outcome<Self> {
        let db = Self::open(path, cache_bytes)?;
        db.with(|connection| {
            Ok(connection.execute_batch(
                "CREATE TABLE records (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
                 CREATE TABLE large (number INTEGER PRIMARY KEY, value BLOB NOT NULL);",
            )?)
        })?;
        Ok(db)
    }

    pub(crate) fn open(path: &Path, cache_bytes: usize) -> Outcome<Self> {
        let connections = (0..CONNECTIONS).map(|_| connect(path, cache_bytes));
        let db = Self(Mutex::new(connections.collect::<Outcome<_>>()?));
        // What an open is worth shows at the first page.
        db.with(|connection| {
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
            Ok(())
        })?;
        Ok(db)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Connection) -> Outcome<T>) -> Outcome<T> {
        let idle = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut connection = idle().pop().ok_or("more threads than connections")?;
        let done = work(&mut connection);
        idle().push(connection);
        done
    }

    pub(crate) fn compact(&self) -> Outcome {
        self.with(|connection| Ok(connection.execute_batch("VACUUM;")?))
    }

    pub(crate) fn close(self) -> Outcome {
        let connections = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        connections
            .into_iter()
            .try_for_each(|connection| Ok(connection.close().map_err(|e| e.1)?))
    }
}

fn scan(connection: &Connection) -> Outcome<u64> {
    let mut select = connection.prepare_cached("SELECT value FROM records ORDER BY key")?;
    let (mut rows, mut checksum) = (select.query([])?, 0);
    while let Some(row) = rows.next()? {
        checksum = add(checksum, row.get_ref(0)?.as_blob()?);
    }
    Ok(checksum)
}

impl Store for SqlCipher {
    fn insert(&self, first: u64, count: u64) -> Outcome<u64> {
        self.with(|connection| {
            let transaction = connection.transaction()?;
            {
                let mut insert =
                    transaction.prepare_cached("INSERT INTO records VALUES (?1, ?2)")?;
                for record in first..first + count {
                    insert.execute((key(record).as_slice(), value(record).as_slice()))?;
                }
            }
            transaction.commit()?;
            Ok(count)
        })
    }

    fn reads(&self, picks: Picks) -> Outcome<u64> {
        self.with(|connection| {
            let transaction = connection.transaction()?;
            let mut select =
                transaction.prepare_cached("SELECT value FROM records WHERE key = ?1")?;
            let mut checksum = 0;
            for read in 0..picks.count {
                let record = scatter(read.wrapping_add(picks.seed)) % picks.records;
                let mut rows = select.query([key(record).as_slice()])?;
                let row = rows.next()?.ok_or_else(|| format!("record {record} is gone"))?;
                checksum = add(checksum, row.get_ref(0)?.as_blob()?);
            }
            Ok(checksum)
        })
    }

    fn ranges(&self, picks: Picks, length: usize) -> Outcome<u64> {
        self.with(|connection| {
            let transaction = connection.transaction()?;
            let mut select = transaction.prepare_cached(
                "SELECT value FROM records WHERE key >= ?1 ORDER BY key LIMIT ?2",
            )?;
            let mut checksum = 0;
            for read in 0..picks.count {
                let record = scatter(read.wrapping_add(picks.seed)) % picks.records;
                let mut rows = select.query((key(record).as_slice(), length as i64))?;
                while let Some(row) = rows.next()? {
                    checksum = add(checksum, row.get_ref(0)?.as_blob()?);
                }
            }
            Ok(checksum)
        })
    }

    fn scan(&self) -> Outcome<u64> {
        self.with(|connection| scan(connection))
    }

    fn remove_half(&self, records: u64) -> Outcome<u64> {
        self.with(|connection| {
            let transaction = connection.transaction()?;
            {
                let mut delete =
                    transaction.prepare_cached("DELETE FROM records WHERE key = ?1")?;
                for record in (0..records).step_by(2) {
                    if delete.execute([key(record).as_slice()])? != 1 {
                        return Err(format!("record {record} is gone").into());
                    }
                }
            }
            let left: i64 =
                transaction.query_row("SELECT count(*) FROM records", [], |row| row.get(0))?;
            transaction.commit()?;
            Ok(u64::try_from(left)?)
        })
    }

    fn put_values(&self, size: usize, first: u64, count: u64) -> Outcome<u64> {
        let mut value = LargeValue::new(size);
        self.with(|connection| {
            let transaction = connection.transaction()?;
            {
                let mut insert = transaction.prepare_cached("INSERT INTO large VALUES (?1, ?2)")?;
                for number in first..first + count {
                    insert.execute((i64::try_from(number)?, value.number(number)))?;
                }
            }
            transaction.commit()?;
            Ok(count)
        })
    }

    fn read_values(&self, first: u64, count: u64) -> Outcome<u64> {
        self.with(|connection| {
            let transaction = connection.transaction()?;
            let mut select =
                transaction.prepare_cached("SELECT value FROM large WHERE number = ?1")?;
            let mut checksum = 0;
            for number in first..first + count {
                let mut rows = select.query([i64::try_from(number)?])?;
                let row = rows.next()?.ok_or_else(|| format!("value {number} is gone"))?;
                checksum = add_pages(checksum, row.get_ref(0)?.as_blob()?);
            }
            Ok(checksum)
        })
    }

    fn warm(&self) -> Outcome {
        let mut connections = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        connections.iter_mut().try_for_each(|connection| scan(connection).map(drop))
    }
}
