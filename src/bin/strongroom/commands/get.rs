//! `get`: one value.

use std::io::{IsTerminal, stdout};

use clap::Args;
use serde_json::json;

use crate::cells::{self, Cell};
use crate::failure::Failure;
use crate::open::ReadArgs;
use crate::output::{Output, plain};
use crate::records::{self, Encoding, EncodingArg};

/// Print the value of a key
///
/// Text is printed as it is, with a newline behind it; bytes that are no text as base64, or as
/// --encoding says. --raw prints the exact bytes and nothing else. On a terminal control characters
/// are escaped. Ends with code 7 where there is no such key.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom get notes.room notes today
  strongroom get photos.room photos 2026/11/25 --raw > photo.jpg")]
pub(crate) struct Get {
    #[command(flatten)]
    read: ReadArgs,
    /// The table
    table: String,
    /// The key
    key: String,
    #[command(flatten)]
    encoding: EncodingArg,
    /// The exact bytes, without a newline
    #[arg(long, conflicts_with = "json")]
    raw: bool,
}

impl Get {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        let encoding = self.encoding.encoding;
        let db = self.read.reading()?;
        let read = db.begin_read()?;
        let (types, table) = cells::read_table(&read, &self.table)?;
        let key = records::parse(&self.key, types.key, encoding)?;
        let Some(value) = table.get(&key)? else { return Err(no_key(&self.table)) };
        if self.raw {
            out.bytes(&records::raw(&value))?;
        } else {
            let json = json!({ "value": records::to_json(&value, encoding) });
            out.either(&json, shown(&value, encoding, stdout().is_terminal()))?;
        }
        drop((table, read));
        db.close()
    }
}

/// There is no such key; which one is nobody's business.
pub(crate) fn no_key(table: &str) -> Failure {
    Failure::not_found(format!("there is no such key in table {table:?}"))
        .hint("`strongroom scan FILE TABLE --keys` lists those there are")
}

fn shown(value: &Cell, encoding: Encoding, terminal: bool) -> String {
    match value {
        Cell::Text(text) if terminal => plain(text),
        Cell::Text(text) => text.clone(),
        Cell::Bytes(bytes) => match (encoding, str::from_utf8(bytes)) {
            (Encoding::Utf8, Ok(text)) if terminal => plain(text),
            (Encoding::Utf8, Ok(text)) => text.to_owned(),
            _ => records::human(value, encoding),
        },
        number => records::human(number, encoding),
    }
}
