//! `load`: records from JSON lines, in batches, each one durable commit.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, stdin};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use strongroom::Database;

use crate::cells::{self, Cell, TableTypes};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::open::OpenArgs;
use crate::output::{Output, count};
use crate::progress::Progress;
use crate::records;

/// A batch is committed once it holds so many bytes of keys and values.
const BATCH_BYTES: usize = 16 << 20;

/// Store records from JSON lines, as `strongroom dump` prints them
///
/// Each line is {"table": .., "key": .., "value": ..}, or {"table": .., "types": "KEY:VALUE"} for a
/// table to be made. Bytes are text, {"b64": ..} or {"hex": ..}. Records that are there are replaced.
///
/// Batches of lines are committed durably, one after the other. At a line that makes no sense it
/// stops and says which; the batches before it are stored, and loading the same lines again does
/// no harm.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom load notes.room notes.jsonl
  jq -c '{key: .id, value: .text}' export.json | strongroom load notes.room --table notes --create str:str")]
pub(crate) struct Load {
    #[command(flatten)]
    open: OpenArgs,
    /// The file with the lines; `-`, or none, reads standard input
    input: Option<PathBuf>,
    /// The table of lines that name none
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// Make tables that are not there, and whose types no line says, with these types
    #[arg(long, value_name = "TYPES")]
    create: Option<TableTypes>,
    /// Records in one commit
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    batch: u64,
}

enum Item {
    Make,
    Put(Cell, Cell),
}

/// What a line says: of which table, and what.
struct Line {
    table: String,
    item: Item,
}

struct Loading<'a> {
    db: &'a Database,
    create: Option<TableTypes>,
    default_table: Option<String>,
    types: HashMap<String, TableTypes>,
    batch: Vec<Line>,
    batch_bytes: usize,
    stored: u64,
    commits: u64,
}

impl Load {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        let (input, total) = self.input()?;
        let db = self.open.writing()?;
        let progress = out.progress("loading", if total > 0 { "bytes" } else { "records" });
        let mut loading = Loading {
            db: &db,
            create: self.create,
            default_table: self.table.clone(),
            types: HashMap::new(),
            batch: Vec::new(),
            batch_bytes: 0,
            stored: 0,
            commits: 0,
        };
        let loaded = loading.lines(input, self.batch, &progress, total);
        progress.end();
        let (stored, commits) = (loading.stored, loading.commits);
        db.close()?;
        loaded.map_err(|failure| but_stored(failure, stored))?;
        let json = json!({ "records": stored, "commits": commits });
        let (stored, commits) = (count(stored, "record"), count(commits, "commit"));
        out.done(&json, format_args!("loaded {stored} in {commits}"))
    }

    // With the bytes there are, 0 where nobody knows.
    fn input(&self) -> Result<(Box<dyn BufRead>, u64), Failure> {
        match self.input.as_deref().filter(|path| path.as_os_str() != "-") {
            None => Ok((Box::new(stdin().lock()), 0)),
            Some(path) => {
                let doing = || Failure::io(format!("opening {}", path.display()));
                let file = File::open(path).map_err(doing())?;
                let metadata = file.metadata().map_err(doing())?;
                let total = if metadata.is_file() { metadata.len() } else { 0 };
                Ok((Box::new(BufReader::with_capacity(1 << 16, file)), total))
            }
        }
    }
}

impl Loading<'_> {
    fn lines(
        &mut self,
        mut input: Box<dyn BufRead>,
        records_max: u64,
        progress: &Progress,
        total: u64,
    ) -> Result<(), Failure> {
        let (mut bytes, mut text) = (0, Vec::new());
        for number in 1_u64.. {
            text.clear();
            let read = (&mut input).take(u64::MAX).read_until(b'\n', &mut text);
            bytes += read.map_err(Failure::io("reading the lines"))? as u64;
            if text.is_empty() {
                break;
            }
            if !text.trim_ascii().is_empty() {
                self.line(&text).map_err(|failure| at_line(number, failure))?;
            }
            if self.batch.len() as u64 >= records_max || self.batch_bytes >= BATCH_BYTES {
                self.commit()?;
                progress.at(if total > 0 { bytes } else { self.stored }, total);
            }
        }
        self.commit()
    }

    fn line(&mut self, text: &[u8]) -> Result<(), Failure> {
        let not = |what: &str| Failure::new(Exit::Usage, what);
        let value: Value = serde_json::from_slice(text).map_err(|_| not("this is not JSON"))?;
        let object = value.as_object().ok_or_else(|| not("this is not a JSON object"))?;
        let table = match object.get("table") {
            Some(name) => name.as_str().ok_or_else(|| not("\"table\" is not a name"))?.to_owned(),
            None => self.default_table.clone().ok_or_else(|| {
                not("there is no \"table\"; --table names that of lines without one")
            })?,
        };
        if let Some(types) = object.get("types") {
            let types = types.as_str().and_then(|types| types.parse().ok());
            let types: TableTypes = types.ok_or_else(|| not("\"types\" makes no sense"))?;
            if self.types_of(&table, Some(types))? != types {
                return Err(Failure::refused(format!("table {table:?} is there, of other types")));
            }
            self.batch.push(Line { table, item: Item::Make });
            return Ok(());
        }
        let types = self.types_of(&table, self.create)?;
        let cell = |name: &str, cell_type: cells::CellType| {
            let value = object.get(name).ok_or_else(|| not(&format!("there is no {name:?}")))?;
            let cell = records::from_json(value, cell_type);
            cell.ok_or_else(|| not(&format!("{name:?} is no {}", cell_type.name())))
        };
        let (key, value) = (cell("key", types.key)?, cell("value", types.value)?);
        self.batch_bytes += key.size_bytes() + value.size_bytes();
        self.batch.push(Line { table, item: Item::Put(key, value) });
        Ok(())
    }

    fn types_of(&mut self, table: &str, create: Option<TableTypes>) -> Result<TableTypes, Failure> {
        if let Some(types) = self.types.get(table) {
            return Ok(*types);
        }
        // Only looked at: dropping it changes nothing.
        let write = self.db.begin_write().map_err(strongroom::Error::from)?;
        let types = cells::types_for_write(&write, table, create)?;
        self.types.insert(table.to_owned(), types);
        Ok(types)
    }

    fn commit(&mut self) -> Result<(), Failure> {
        let (batch, mut stored) = (std::mem::take(&mut self.batch), 0);
        self.batch_bytes = 0;
        if batch.is_empty() {
            return Ok(());
        }
        let write = self.db.begin_write().map_err(strongroom::Error::from)?;
        for run in batch.chunk_by(|one, next| one.table == next.table) {
            let Some(Line { table, .. }) = run.first() else { continue };
            let types = self.types_of_known(table)?;
            let mut open = cells::write_table(&write, table, types)?;
            for line in run {
                if let Item::Put(key, value) = &line.item {
                    open.put(key, value)?;
                    stored += 1;
                }
            }
        }
        write.commit().map_err(strongroom::Error::from)?;
        self.stored += stored;
        self.commits += 1;
        Ok(())
    }

    fn types_of_known(&self, table: &str) -> Result<TableTypes, Failure> {
        // Every line of a batch was looked at.
        let types = self.types.get(table).copied();
        types.ok_or_else(|| Failure::new(Exit::Other, "a table of unknown types"))
    }
}

fn but_stored(failure: Failure, stored: u64) -> Failure {
    match failure {
        Failure::Own { exit, what, hint } => Failure::Own {
            exit,
            what: format!("{what} ({} before it stored)", count(stored, "record")),
            hint: hint.or(Some("mend it and load the same lines again".to_owned())),
        },
        other => other,
    }
}

fn at_line(number: u64, failure: Failure) -> Failure {
    match failure {
        Failure::Own { exit, what, hint } => {
            Failure::Own { exit, what: format!("line {number}: {what}"), hint }
        }
        other => other,
    }
}
