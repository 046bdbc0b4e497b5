//! Random work on a database, with the model beside it: transactions of all sizes and kinds,
//! savepoints, compaction, clean reopens. An error ends the work; whether it was to be expected
//! is for the caller to say.

use std::sync::Arc;

use strongroom::redb::{Durability, ReadableDatabase, Savepoint, TableError, WriteTransaction};
use strongroom::testkit::{CrashMedium, SeededRandom};

use crate::model::{self, Content, History, TABLES, Tables, Value};
use crate::room::{NotOpened, Room, Settings};

/// What the work of one seed looks like.
#[derive(Clone, Copy, Debug)]
pub struct Taste {
    keys: u32,
    largest_value: u64,
    two_phase: f64,
    quick_repair: f64,
    non_durable: f64,
    removes: f64,
}

impl Taste {
    /// Drawn from the seed.
    pub fn draw(random: &mut SeededRandom) -> Self {
        let mut one_of = |from: &[f64]| *random.pick(from).unwrap();
        Self {
            two_phase: one_of(&[0.0, 0.2, 0.5, 1.0]),
            quick_repair: one_of(&[0.0, 0.0, 0.2, 1.0]),
            non_durable: one_of(&[0.0, 0.25, 0.6]),
            removes: one_of(&[0.1, 0.35, 0.5]),
            keys: one_of(&[20.0, 100.0, 400.0, 1500.0]) as u32,
            largest_value: one_of(&[100.0, 2000.0, 20_000.0]) as u64,
        }
    }
}

/// A database at work.
pub struct Work<'a, R: Room> {
    /// The database; `None` only while it is being reopened.
    pub db: Option<R>,
    /// The machine it lies on.
    pub medium: &'a CrashMedium,
    /// What it must hold.
    pub history: &'a mut History,
    /// What happens.
    pub random: &'a mut SeededRandom,
    /// Which kind of work.
    pub taste: Taste,
    /// How it is opened.
    pub settings: Settings,
    /// What was done, for a replay.
    pub trace: &'a mut Vec<String>,
    /// An ephemeral savepoint, with what restoring it gives back.
    pub held: Option<(Savepoint, Arc<Tables>)>,
}

fn said(what: &str) -> impl Fn(&dyn std::fmt::Display) -> String + '_ {
    move |error| format!("{what}: {error}")
}

macro_rules! attempt {
    ($what:literal, $call:expr) => {
        $call.map_err(|error| said($what)(&error))?
    };
}

impl<R: Room> Work<'_, R> {
    fn db(&mut self) -> Result<&mut R, String> {
        self.db.as_mut().ok_or_else(|| "no database open".to_owned())
    }

    /// Remembers what was done.
    pub fn note(&mut self, what: String) {
        self.trace.push(format!("op {}: {what}", self.medium.operations()));
    }

    /// One random step.
    pub fn step(&mut self) -> Result<(), String> {
        match self.random.below(100) {
            0..=3 => self.compact(),
            4..=9 => self.reopen(),
            10..=11 => self.check_integrity(),
            12..=19 => self.look(),
            _ => self.transaction(),
        }
    }

    fn compact(&mut self) -> Result<(), String> {
        self.held = None;
        let pinned = !self.history.newest().savepoints.is_empty();
        self.note(format!("compact, pinned {pinned}"));
        match self.db()?.compact() {
            Ok(_) => {
                // It commits durably before it moves anything.
                self.history.acknowledge();
                Ok(())
            }
            Err(_) if pinned && !self.medium.is_off() && !self.medium.sync_failed() => Ok(()),
            Err(error) => Err(format!("compact: {error}")),
        }
    }

    /// Closes and opens again.
    pub fn reopen(&mut self) -> Result<(), String> {
        self.note("close".to_owned());
        self.held = None;
        let db = self.db.take().ok_or("no database open")?;
        db.close().map_err(|error| format!("close: {error}"))?;
        self.history.acknowledge();
        self.note("open after close".to_owned());
        match R::open(self.medium.clone(), self.settings) {
            Ok(db) => self.db = Some(db),
            Err(NotOpened::CreationCut(error)) | Err(NotOpened::Failed(error)) => {
                return Err(format!("open after close: {error}"));
            }
        }
        Ok(())
    }

    fn check_integrity(&mut self) -> Result<(), String> {
        self.note("check integrity".to_owned());
        self.held = None;
        if self.db()?.check_integrity()? { Ok(()) } else { Err("integrity: not clean".into()) }
    }

    /// Reads some keys and compares: an open database must never show anything but its newest
    /// commit, crash or no crash.
    fn look(&mut self) -> Result<(), String> {
        let newest = Arc::clone(&self.history.newest().tables);
        let keys = self.taste.keys;
        let picks: Vec<(usize, u32)> = (0..10)
            .map(|_| (self.random.below(3) as usize, self.random.below(keys.into()) as u32))
            .collect();
        let read = attempt!("begin_read", self.db()?.redb().begin_read());
        for (number, key) in picks {
            let expected = newest.get(&(number, key)).copied();
            let found = match read.open_table(TABLES[number]) {
                Ok(table) => {
                    let bytes = model::key_bytes(number, key);
                    attempt!("get", table.get(bytes.as_slice())).map(|row| Value::of(row.value()))
                }
                Err(TableError::TableDoesNotExist(_)) => None,
                Err(error) => return Err(said("open_table")(&error)),
            };
            if found != expected {
                return Err(format!("WRONG DATA: key {key} of table {number} while open"));
            }
        }
        Ok(())
    }

    fn transaction(&mut self) -> Result<(), String> {
        let random = &mut *self.random;
        let durable = !random.chance(self.taste.non_durable);
        let two_phase = random.chance(self.taste.two_phase);
        let quick_repair = random.chance(self.taste.quick_repair);
        let abort = random.chance(0.08);
        let mut content = self.history.newest().clone();
        let mut write = attempt!("begin_write", self.db()?.redb().begin_write());
        if !durable {
            attempt!("set_durability", write.set_durability(Durability::None));
        }
        write.set_two_phase_commit(two_phase);
        write.set_quick_repair(quick_repair);
        let savepoints = self.savepoints(&mut write, &mut content, durable)?;
        let rows = match self.random.below(10) {
            0..=3 => 1,
            4..=7 => self.random.between(2, 20),
            _ => self.random.between(20, 300),
        };
        // Now and then a transaction that empties the tables, so that the file shrinks.
        let removes = if self.random.chance(0.1) { 0.95 } else { self.taste.removes };
        self.rows(&write, &mut content, rows, removes)?;
        self.note(format!(
            "transaction of {rows} rows{savepoints}{}{}{}{}",
            if durable { "" } else { ", not durable" },
            if two_phase { ", two-phase" } else { "" },
            if quick_repair { ", quick repair" } else { "" },
            if abort { ", aborted" } else { "" },
        ));
        if abort {
            attempt!("abort", write.abort());
            self.held = None;
            return Ok(());
        }
        // From here on a crash may leave the new state, acknowledged or not.
        self.history.commit(content);
        attempt!("commit", write.commit());
        if durable {
            self.history.acknowledge();
        }
        Ok(())
    }

    /// Creates, restores or deletes savepoints, seldom; says what it did.
    fn savepoints(
        &mut self,
        write: &mut WriteTransaction,
        content: &mut Content,
        durable: bool,
    ) -> Result<&'static str, String> {
        let numbers: Vec<u64> = content.savepoints.keys().copied().collect();
        let chosen = self.random.pick(&numbers).copied();
        let what = match (self.random.below(40), chosen) {
            (0, _) if durable && numbers.len() < 3 => {
                let number = attempt!("persistent_savepoint", write.persistent_savepoint());
                content.savepoints.insert(number, Arc::clone(&content.tables));
                ", savepoint made"
            }
            (1, Some(number)) if durable => {
                let savepoint = attempt!("get_savepoint", write.get_persistent_savepoint(number));
                attempt!("restore_savepoint", write.restore_savepoint(&savepoint));
                content.tables = Arc::clone(&content.savepoints[&number]);
                content.savepoints.retain(|other, _| *other <= number);
                self.held = None;
                ", savepoint restored"
            }
            (2..=4, Some(number)) if durable => {
                attempt!("delete_savepoint", write.delete_persistent_savepoint(number));
                content.savepoints.remove(&number);
                ", savepoint deleted"
            }
            (5, _) if numbers.is_empty() => {
                let savepoint = attempt!("ephemeral_savepoint", write.ephemeral_savepoint());
                self.held = Some((savepoint, Arc::clone(&content.tables)));
                ", ephemeral savepoint made"
            }
            (6..=15, _) if numbers.is_empty() && self.held.is_some() => {
                let Some((savepoint, tables)) = self.held.take() else { return Ok("") };
                attempt!("restore_ephemeral", write.restore_savepoint(&savepoint));
                content.tables = tables;
                ", ephemeral savepoint restored"
            }
            _ => "",
        };
        Ok(what)
    }

    /// One durable transaction that inserts this many rows.
    pub fn fill(&mut self, rows: u64) -> Result<(), String> {
        self.fill_with(rows, false)
    }

    /// The same, perhaps with quick repair, after which redb opens without looking at any page.
    pub fn fill_with(&mut self, rows: u64, quick_repair: bool) -> Result<(), String> {
        self.note(format!("filling with {rows} rows, quick repair {quick_repair}"));
        let mut content = self.history.newest().clone();
        let mut write = attempt!("begin_write", self.db()?.redb().begin_write());
        write.set_quick_repair(quick_repair);
        self.rows(&write, &mut content, rows, 0.0)?;
        self.history.commit(content);
        attempt!("commit", write.commit());
        self.history.acknowledge();
        Ok(())
    }

    /// One durable transaction of a single row whose leaf takes eight pages and fills five: redb's
    /// checksum of a leaf ends with its last value and doesn't cover the pages behind it.
    pub fn put_large(&mut self) -> Result<(), String> {
        self.note("one large row".to_owned());
        let mut content = self.history.newest().clone();
        let write = attempt!("begin_write", self.db()?.redb().begin_write());
        let key = self.random.below(self.taste.keys.into()) as u32;
        let value = model::value_bytes(self.random, 17_000);
        {
            let mut table = attempt!("open_table", write.open_table(TABLES[2]));
            let bytes = model::key_bytes(2, key);
            attempt!("insert", table.insert(bytes.as_slice(), value.as_slice()));
        }
        Arc::make_mut(&mut content.tables).insert((2, key), Value::of(&value));
        self.history.commit(content);
        attempt!("commit", write.commit());
        self.history.acknowledge();
        Ok(())
    }

    fn rows(
        &mut self,
        write: &WriteTransaction,
        content: &mut Content,
        rows: u64,
        removes: f64,
    ) -> Result<(), String> {
        let random = &mut *self.random;
        let tables = Arc::make_mut(&mut content.tables);
        let mut open = Vec::new();
        for definition in TABLES {
            open.push(attempt!("open_table", write.open_table(definition)));
        }
        for _ in 0..rows {
            let number = random.below(3) as usize;
            let key = random.below(self.taste.keys.into()) as u32;
            let bytes = model::key_bytes(number, key);
            if random.chance(removes) {
                attempt!("remove", open[number].remove(bytes.as_slice()));
                tables.remove(&(number, key));
            } else {
                let largest = if number == 2 { self.taste.largest_value } else { 200 };
                let length = random.skewed_below(largest + 1) as usize;
                let value = model::value_bytes(random, length);
                attempt!("insert", open[number].insert(bytes.as_slice(), value.as_slice()));
                tables.insert((number, key), Value::of(&value));
            }
        }
        Ok(())
    }
}
