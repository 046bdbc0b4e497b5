//! `dump`: all tables as JSON lines.

use std::ops::ControlFlow;

use clap::Args;
use strongroom::redb::{MultimapTableHandle, ReadTransaction, TableHandle};

use crate::cells::{self, Span};
use crate::failure::Failure;
use crate::open::ReadArgs;
use crate::output::Output;
use crate::records::{self, Encoding};

/// Print all tables as JSON lines, for `strongroom load`
///
/// One consistent snapshot. Before the records of each table stands a line with its types. What is
/// printed is PLAINTEXT: `strongroom backup` makes a sealed copy instead.
///
/// A file with tables that can't be read here is refused, so that no dump is short by accident;
/// --skip-unreadable leaves them out and names them on standard error.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom dump notes.room > notes.jsonl
  strongroom dump old.room | strongroom load new.room - --passphrase-fd 3 3< passphrase.txt

Lines:
  {\"table\":\"notes\",\"types\":\"str:bytes\"}
  {\"key\":\"today\",\"table\":\"notes\",\"value\":\"rain\"}
  {\"key\":\"photo\",\"table\":\"notes\",\"value\":{\"b64\":\"/9j/4A==\"}}")]
pub(crate) struct Dump {
    #[command(flatten)]
    read: ReadArgs,
    /// Only this table; may be given more than once
    #[arg(long, value_name = "NAME")]
    table: Vec<String>,
    /// Leave out tables that can't be read here
    #[arg(long)]
    skip_unreadable: bool,
    /// How bytes are written: those that are text as text, or all as base64 or hex
    #[arg(long, value_name = "HOW", default_value = "utf8")]
    encoding: Encoding,
}

impl Dump {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        let db = self.read.reading()?;
        let read = db.begin_read()?;
        let names = self.names(&read, out)?;
        let (progress, mut done) = (out.progress("dumping", "records"), 0);
        for name in &names {
            let (types, table) = cells::read_table(&read, name)?;
            out.json(&records::header_json(name, types))?;
            table.walk(&Span::all(), &mut |key, value| {
                out.json(&records::record_json(name, &key, &value, self.encoding))?;
                done += 1;
                if done % 1024 == 0 {
                    progress.at(done, 0);
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        progress.end();
        drop(read);
        db.close()
    }

    // Looked at before anything is printed.
    fn names(&self, read: &ReadTransaction, out: &Output) -> Result<Vec<String>, Failure> {
        let mut all = self.table.clone();
        if all.is_empty() {
            all.extend(read.list_tables()?.map(|table| table.name().to_owned()));
            all.extend(read.list_multimap_tables()?.map(|table| table.name().to_owned()));
            all.sort();
        }
        let mut names = Vec::new();
        for name in all {
            match cells::look(read, &name)?.readable(&name) {
                Ok(_) => names.push(name),
                Err(failure) if self.skip_unreadable => {
                    out.warn(format_args!("left out: {}", failure.what().unwrap_or_default()));
                }
                Err(failure) => {
                    return Err(failure.hint("--skip-unreadable dumps the other tables"));
                }
            }
        }
        Ok(names)
    }
}
