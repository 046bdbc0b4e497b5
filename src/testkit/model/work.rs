//! The steps of a program, done to the database and to the model beside it. An error ends the
//! work; whether it was to be expected is for [`super::life`] to say.

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::sync::Arc;

use redb::{Durability, ReadTransaction, ReadableDatabase, TableError, WriteTransaction};

use super::content::{Content, TABLES, Tables, Value, key_bytes};
use super::life::Life;
use super::operations::OpenTables;
use super::program::{Kind, Step, Transaction};
use super::room::{NotOpened, Room};

/// Persistent savepoints at once, at most: each pins pages.
const SAVEPOINTS_MAX: usize = 3;

/// Why a step did not go through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// An error: right after a crash or a fault, wrong otherwise.
    Failed(String),
    /// Something that was never committed, or not any more: never right.
    WrongData(String),
}

impl Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(what) => f.write_str(what),
            Self::WrongData(what) => write!(f, "WRONG DATA: {what}"),
        }
    }
}

impl From<String> for Trouble {
    fn from(what: String) -> Self {
        Self::Failed(what)
    }
}

pub(super) fn said<E: Display>(what: &'static str) -> impl Fn(E) -> Trouble {
    move |error| Trouble::Failed(format!("{what}: {error}"))
}

impl<R: Room> Life<R> {
    fn redb(&self) -> Result<&redb::Database, Trouble> {
        self.db.as_ref().map(Room::redb).ok_or_else(no_database)
    }

    fn room(&mut self) -> Result<&mut R, Trouble> {
        self.db.as_mut().ok_or_else(no_database)
    }

    /// Does one step.
    ///
    /// # Errors
    /// What failed, or what differs from the model.
    pub fn step(&mut self, step: &Step) -> Result<(), Trouble> {
        self.note(step);
        match step {
            Step::Transaction(transaction) => self.transaction(transaction),
            Step::Look(rows) => self.look(rows),
            Step::ReadAll => {
                let read = self.redb()?.begin_read().map_err(said("begin_read"))?;
                compare(&read, &self.history.newest().tables)
            }
            Step::Hold => {
                let read = self.redb()?.begin_read().map_err(said("begin_read"))?;
                self.readers.push((read, Arc::clone(&self.history.newest().tables)));
                Ok(())
            }
            Step::CheckHeld => {
                self.readers.iter().try_for_each(|(read, tables)| compare(read, tables))
            }
            Step::Release => {
                self.readers.clear();
                Ok(())
            }
            Step::Compact => self.compact(),
            Step::Reopen => self.reopen(),
            Step::CheckIntegrity => self.check_integrity(),
            Step::ForgetSavepoints => self.forget_savepoints(),
            Step::Rotate(steps) => self.room()?.rotate(*steps).map_err(Trouble::Failed),
        }
    }

    fn compact(&mut self) -> Result<(), Trouble> {
        self.let_go();
        let pinned = !self.history.newest().savepoints.is_empty();
        match self.room()?.compact() {
            Ok(_) if pinned => Err(Trouble::Failed("compacted under a savepoint".to_owned())),
            Ok(_) => {
                // It commits durably before it moves anything.
                self.history.acknowledge();
                Ok(())
            }
            Err(_) if pinned && !self.crashed() => Ok(()),
            Err(error) => Err(Trouble::Failed(format!("compact: {error}"))),
        }
    }

    /// Closes cleanly: everything committed is durable then.
    ///
    /// # Errors
    /// What failed.
    pub fn close(&mut self) -> Result<(), Trouble> {
        self.let_go();
        let db = self.db.take().ok_or_else(no_database)?;
        db.close().map_err(said("close"))?;
        self.history.acknowledge();
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), Trouble> {
        self.close()?;
        match R::open(self.medium.clone(), self.settings) {
            Ok(db) => {
                self.db = Some(db);
                Ok(())
            }
            Err(NotOpened::CreationCut(error) | NotOpened::Failed(error)) => {
                Err(Trouble::Failed(format!("open after close: {error}")))
            }
        }
    }

    fn check_integrity(&mut self) -> Result<(), Trouble> {
        self.let_go();
        if !self.room()?.check_integrity()? {
            return Err(Trouble::Failed("integrity: not clean".to_owned()));
        }
        // redb flushes what was committed without durability before it looks.
        self.history.acknowledge();
        Ok(())
    }

    /// Reads some keys and compares: an open database must never show anything but its newest
    /// commit, crash or no crash.
    fn look(&self, rows: &[(usize, u32)]) -> Result<(), Trouble> {
        let newest = &self.history.newest().tables.rows;
        let read = self.redb()?.begin_read().map_err(said("begin_read"))?;
        for (number, key) in rows {
            let Some(definition) = TABLES.get(*number) else { continue };
            let found = match read.open_table(*definition) {
                Ok(table) => {
                    let row =
                        table.get(key_bytes(*number, *key).as_slice()).map_err(said("get"))?;
                    row.map(|row| Value::of(row.value()))
                }
                Err(TableError::TableDoesNotExist(_)) => None,
                Err(error) => return Err(said("open_table")(error)),
            };
            if found != newest.get(&(*number, *key)).copied() {
                return Err(Trouble::WrongData(format!("key {key} of table {number}")));
            }
        }
        Ok(())
    }

    fn transaction(&mut self, transaction: &Transaction) -> Result<(), Trouble> {
        let mut content = self.history.newest().clone();
        let mut write = self.redb()?.begin_write().map_err(said("begin_write"))?;
        if !transaction.durable {
            write.set_durability(Durability::None).map_err(said("set_durability"))?;
        }
        write.set_two_phase_commit(transaction.two_phase);
        write.set_quick_repair(transaction.quick_repair);
        self.savepoints(&mut write, &mut content, transaction)?;
        {
            let mut open = OpenTables::new(&write);
            let tables = Arc::make_mut(&mut content.tables);
            for op in &transaction.ops {
                open.apply(*op, tables)?;
            }
        }
        if transaction.abort {
            // A savepoint of an aborted transaction is not to be relied on.
            self.ephemeral.clear();
            return write.abort().map_err(said("abort"));
        }
        // From here on a crash may leave the new state, acknowledged or not.
        self.history.commit(content);
        write.commit().map_err(said("commit"))?;
        if transaction.durable {
            self.history.acknowledge();
        }
        Ok(())
    }

    /// Makes, restores and deletes savepoints, each only where redb allows it.
    fn savepoints(
        &mut self,
        write: &mut WriteTransaction,
        content: &mut Content,
        transaction: &Transaction,
    ) -> Result<(), Trouble> {
        let durable = transaction.durable;
        match transaction.make {
            Some(Kind::Persistent) if durable && content.savepoints.len() < SAVEPOINTS_MAX => {
                let number = write.persistent_savepoint().map_err(said("persistent_savepoint"))?;
                content.savepoints.insert(number, Arc::clone(&content.tables));
            }
            Some(Kind::Ephemeral) => {
                let savepoint = write.ephemeral_savepoint().map_err(said("ephemeral_savepoint"))?;
                self.ephemeral.push((savepoint, Arc::clone(&content.tables)));
            }
            _ => {}
        }
        match transaction.restore {
            Some((Kind::Persistent, nth)) if durable => {
                self.restore_persistent(write, content, nth)?;
            }
            // One that takes persistent savepoints back with it must be durable.
            Some((Kind::Ephemeral, nth)) if durable || content.savepoints.is_empty() => {
                self.restore_ephemeral(write, content, nth)?;
            }
            _ => {}
        }
        if durable
            && let Some(nth) = transaction.delete
            && let Some(number) = nth_round(content.savepoints.keys(), nth)
        {
            let number = *number;
            let there = write.delete_persistent_savepoint(number);
            if !there.map_err(said("delete_persistent_savepoint"))? {
                return Err(Trouble::WrongData(format!("savepoint {number} is gone")));
            }
            content.savepoints.remove(&number);
        }
        Ok(())
    }

    fn restore_persistent(
        &mut self,
        write: &mut WriteTransaction,
        content: &mut Content,
        nth: usize,
    ) -> Result<(), Trouble> {
        let Some((number, tables)) = nth_round(content.savepoints.iter(), nth) else {
            return Ok(());
        };
        let (number, tables) = (*number, Arc::clone(tables));
        let savepoint = write.get_persistent_savepoint(number);
        let savepoint = savepoint.map_err(said("get_persistent_savepoint"))?;
        write.restore_savepoint(&savepoint).map_err(said("restore_savepoint"))?;
        content.tables = tables;
        // What was made later is gone with it.
        content.savepoints.retain(|other, _| *other <= number);
        self.ephemeral.clear();
        if persistent(write)?.iter().eq(content.savepoints.keys()) {
            return Ok(());
        }
        Err(Trouble::WrongData("other savepoints are left after a restore".to_owned()))
    }

    fn restore_ephemeral(
        &mut self,
        write: &mut WriteTransaction,
        content: &mut Content,
        nth: usize,
    ) -> Result<(), Trouble> {
        let Some((savepoint, tables)) = nth_round(self.ephemeral.iter(), nth) else {
            return Ok(());
        };
        write.restore_savepoint(savepoint).map_err(said("restore_savepoint"))?;
        content.tables = Arc::clone(tables);
        self.ephemeral.clear();
        // Which of the persistent ones are older than this one, redb knows.
        let left = persistent(write)?;
        content.savepoints.retain(|number, _| left.contains(number));
        Ok(())
    }

    fn forget_savepoints(&mut self) -> Result<(), Trouble> {
        self.ephemeral.clear();
        let write = self.redb()?.begin_write().map_err(said("begin_write"))?;
        let mut content = self.history.newest().clone();
        for number in std::mem::take(&mut content.savepoints).into_keys() {
            write.delete_persistent_savepoint(number).map_err(said("delete_savepoint"))?;
        }
        self.history.commit(content);
        write.commit().map_err(said("commit"))?;
        self.history.acknowledge();
        Ok(())
    }
}

fn no_database() -> Trouble {
    Trouble::Failed("no database is open".to_owned())
}

fn persistent(write: &WriteTransaction) -> Result<BTreeSet<u64>, Trouble> {
    let left = write.list_persistent_savepoints().map_err(said("list_persistent_savepoints"))?;
    Ok(left.collect())
}

/// The `n`th of some, counting round.
fn nth_round<T>(mut items: impl ExactSizeIterator<Item = T>, nth: usize) -> Option<T> {
    items.nth(nth.checked_rem(items.len())?)
}

fn compare(read: &ReadTransaction, expected: &Tables) -> Result<(), Trouble> {
    let found = Tables::read(read)?;
    if found == *expected {
        return Ok(());
    }
    Err(Trouble::WrongData(found.difference(expected)))
}
