//! What the commands of the shell do, in a transaction of their own or in one that was begun.

use std::ops::ControlFlow;

use strongroom::Database;
use strongroom::redb::{MultimapTableHandle, ReadableDatabase, TableHandle, WriteTransaction};

use super::history::History;
use crate::cells::{self, Cell, ReadCells, Span, TableTypes};
use crate::commands::get::no_key;
use crate::failure::Failure;
use crate::output::{Output, plain};
use crate::records::{self, Encoding};

pub(super) const HELP: &str = "\
Commands:
  tables                        names and types
  get TABLE KEY                 print a value
  scan TABLE [PREFIX]           print records in order
  put TABLE KEY VALUE [TYPES]   store a value; TYPES, such as str:str, makes the table
  del TABLE KEY                 delete a record
  begin                         begin a transaction
  commit                        store all of it, durably
  abort                         store nothing of it
  history                       this session's lines, without values
  help, quit

Quote words with blanks in them: put notes today 'rain and wind'";

pub(super) enum Step {
    GoOn,
    Quit,
}

pub(super) struct Session<'a> {
    db: &'a Database,
    write: Option<WriteTransaction>,
    encoding: Encoding,
}

impl<'a> Session<'a> {
    pub(super) fn new(db: &'a Database, encoding: Encoding) -> Self {
        Self { db, write: None, encoding }
    }

    pub(super) fn in_transaction(&self) -> bool {
        self.write.is_some()
    }

    /// Whether there was a transaction to abort.
    pub(super) fn abort(&mut self) -> Result<bool, Failure> {
        let Some(write) = self.write.take() else { return Ok(false) };
        write.abort()?;
        Ok(true)
    }

    pub(super) fn step(
        &mut self,
        words: &[String],
        history: &History,
        out: &mut Output,
    ) -> Result<Step, Failure> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            [] => {}
            ["quit" | "exit"] => return Ok(Step::Quit),
            ["help"] => out.line(HELP)?,
            ["history"] => history.lines().iter().try_for_each(|line| out.line(plain(line)))?,
            ["tables"] => self.tables(out)?,
            ["get", table, key] => self.get(table, key, out)?,
            ["scan", table] => self.scan(table, None, out)?,
            ["scan", table, prefix] => self.scan(table, Some(prefix), out)?,
            ["put", table, key, value] => self.put(table, key, value, None)?,
            ["put", table, key, value, types] => {
                self.put(table, key, value, Some(types.parse().map_err(Failure::usage)?))?;
            }
            ["del", table, key] => self.del(table, key)?,
            ["begin"] => self.begin()?,
            ["commit"] => match self.write.take() {
                Some(write) => write.commit()?,
                None => return Err(no_transaction()),
            },
            ["abort"] => {
                if !self.abort()? {
                    return Err(no_transaction());
                }
            }
            _ => {
                let usage = Failure::usage("this is no command, or has too few or too many words");
                return Err(usage.hint("`help` lists the commands; quote words with blanks"));
            }
        }
        Ok(Step::GoOn)
    }

    fn begin(&mut self) -> Result<(), Failure> {
        if self.write.is_some() {
            return Err(Failure::refused("a transaction was begun already")
                .hint("`commit` or `abort` it first"));
        }
        self.write = Some(self.db.begin_write()?);
        Ok(())
    }

    fn tables(&self, out: &mut Output) -> Result<(), Failure> {
        let names: Vec<String> = match &self.write {
            Some(write) => {
                let tables = write.list_tables()?.map(|table| table.name().to_owned());
                let multimaps = write.list_multimap_tables()?.map(|table| table.name().to_owned());
                tables.chain(multimaps).collect()
            }
            None => {
                let read = self.db.begin_read()?;
                let tables = read.list_tables()?.map(|table| table.name().to_owned());
                let multimaps = read.list_multimap_tables()?.map(|table| table.name().to_owned());
                tables.chain(multimaps).collect()
            }
        };
        for name in names {
            let look = match &self.write {
                Some(write) => cells::look_in_write(write, &name)?,
                None => cells::look(&self.db.begin_read()?, &name)?,
            };
            let name = plain(&name).replace('\n', "\\n");
            match look.types() {
                Some(types) => out.line(format_args!("{name}: {types}"))?,
                None => out.line(format_args!("{name}: not readable here"))?,
            }
        }
        Ok(())
    }

    // As the transaction sees it, if one was begun.
    fn reading<T>(
        &self,
        table: &str,
        read: impl FnOnce(TableTypes, &dyn ReadCells) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        match &self.write {
            Some(write) => {
                let types = cells::look_in_write(write, table)?.readable(table)?;
                let cells = cells::write_table(write, table, types)?;
                read(types, &*cells)
            }
            None => {
                let snapshot = self.db.begin_read()?;
                let (types, cells) = cells::read_table(&snapshot, table)?;
                read(types, &*cells)
            }
        }
    }

    // In a transaction of its own, unless one was begun.
    fn writing<T>(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        match &self.write {
            Some(write) => change(write),
            None => {
                let write = self.db.begin_write()?;
                let changed = change(&write)?;
                write.commit()?;
                Ok(changed)
            }
        }
    }

    fn get(&self, table: &str, key: &str, out: &mut Output) -> Result<(), Failure> {
        let value = self.reading(table, |types, cells| {
            cells.get(&records::parse(key, types.key, self.encoding)?)
        })?;
        let value = value.ok_or_else(|| no_key(table))?;
        self.show(table, None, &value, out)
    }

    fn show(
        &self,
        table: &str,
        key: Option<&Cell>,
        value: &Cell,
        out: &mut Output,
    ) -> Result<(), Failure> {
        match (key, out.is_json()) {
            (Some(key), true) => out.json(&records::record_json(table, key, value, self.encoding)),
            (None, true) => out.json(&records::to_json(value, self.encoding)),
            (Some(key), false) => out.line(format_args!(
                "{}\t{}",
                records::human(key, self.encoding),
                records::human(value, self.encoding)
            )),
            (None, false) => out.line(records::human(value, self.encoding)),
        }
    }

    fn scan(&self, table: &str, prefix: Option<&str>, out: &mut Output) -> Result<(), Failure> {
        self.reading(table, |types, cells| {
            let span = match prefix {
                Some(text) => Span::beginning(records::parse(text, types.key, self.encoding)?)?,
                None => Span::all(),
            };
            cells.walk(&span, &mut |key, value| {
                self.show(table, Some(&key), &value, out)?;
                Ok(ControlFlow::Continue(()))
            })
        })
    }

    fn put(
        &self,
        table: &str,
        key: &str,
        value: &str,
        create: Option<TableTypes>,
    ) -> Result<(), Failure> {
        self.writing(|write| {
            let types =
                cells::types_for_write(write, table, create).map_err(|failure| match create {
                    Some(_) => failure,
                    None => failure.hint("add its types to make it: put TABLE KEY VALUE str:str"),
                })?;
            let key = records::parse(key, types.key, self.encoding)?;
            let value = records::parse(value, types.value, self.encoding)?;
            cells::write_table(write, table, types)?.put(&key, &value)?;
            Ok(())
        })
    }

    fn del(&self, table: &str, key: &str) -> Result<(), Failure> {
        self.writing(|write| {
            let types = cells::look_in_write(write, table)?.readable(table)?;
            let key = records::parse(key, types.key, self.encoding)?;
            match cells::write_table(write, table, types)?.del(&key)? {
                true => Ok(()),
                false => Err(no_key(table)),
            }
        })
    }
}

fn no_transaction() -> Failure {
    Failure::refused("no transaction was begun").hint("`begin` begins one")
}
