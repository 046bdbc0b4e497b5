//! `put`: one record.

use std::io::{Read, stdin};
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cells::{self, Cell, CellType, TableTypes};
use crate::failure::Failure;
use crate::open::OpenArgs;
use crate::output::Output;
use crate::records::{self, EncodingArg};

/// Store a value under a key, durably
///
/// Replaces the value that was there. The value is an argument, which other users of the machine
/// can see while the command runs; `-` reads it from standard input, --value-file from a file, both
/// to the last byte. A table that is not there is made only with --create.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom put notes.room notes today 'rain' --create str:str
  printf 'a secret' | strongroom put notes.room notes secret -
  strongroom put photos.room photos 2026/11/25 --value-file photo.jpg --create str:bytes")]
pub(crate) struct Put {
    #[command(flatten)]
    open: OpenArgs,
    /// The table
    table: String,
    /// The key
    key: String,
    /// The value; `-` reads standard input
    #[arg(required_unless_present = "value_file", conflicts_with = "value_file")]
    value: Option<String>,
    /// A file that holds the value
    #[arg(long, value_name = "FILE")]
    value_file: Option<PathBuf>,
    /// Make the table with these types if it is not there: KEY:VALUE, each of bytes, str, u64, u32
    #[arg(long, value_name = "TYPES")]
    create: Option<TableTypes>,
    #[command(flatten)]
    encoding: EncodingArg,
}

impl Put {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        let db = self.open.writing()?;
        let write = db.begin_write().map_err(strongroom::Error::from)?;
        let types = cells::types_for_write(&write, &self.table, self.create)?;
        let key = records::parse(&self.key, types.key, self.encoding.encoding)?;
        let value = self.value(types.value)?;
        let replaced = cells::write_table(&write, &self.table, types)?.put(&key, &value)?;
        write.commit().map_err(strongroom::Error::from)?;
        db.close()?;
        let what = if replaced { "replaced" } else { "stored" };
        out.done(&json!({ "replaced": replaced }), what)
    }

    fn value(&self, value: CellType) -> Result<Cell, Failure> {
        match (&self.value_file, self.value.as_deref()) {
            (Some(path), _) => {
                let doing = format!("reading {}", path.display());
                records::from_bytes(std::fs::read(path).map_err(Failure::io(doing))?, value)
            }
            (None, Some("-")) => {
                let mut bytes = Vec::new();
                let read = stdin().lock().read_to_end(&mut bytes);
                read.map_err(Failure::io("reading standard input"))?;
                records::from_bytes(bytes, value)
            }
            (None, Some(text)) => records::parse(text, value, self.encoding.encoding),
            (None, None) => Err(Failure::usage("there is no value")),
        }
    }
}
