//! `scan`: records in order.

use std::ops::{Bound, ControlFlow};

use clap::Args;
use serde_json::json;

use crate::cells::{self, Span, TableTypes};
use crate::failure::Failure;
use crate::open::ReadArgs;
use crate::output::Output;
use crate::records::{self, EncodingArg};

/// Print the records of a table in the order of their keys
///
/// For people one record a line, key, tab, value, with control characters escaped. With --json one
/// object a line, as `strongroom load` takes them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom scan notes.room notes
  strongroom scan photos.room photos --prefix 2026/11/ --keys
  strongroom scan notes.room notes --reverse --limit 10 --json")]
pub(crate) struct Scan {
    #[command(flatten)]
    read: ReadArgs,
    /// The table
    table: String,
    /// Only keys that begin like this (bytes and str)
    #[arg(long, value_name = "KEY", conflicts_with_all = ["from", "to"])]
    prefix: Option<String>,
    /// From this key on
    #[arg(long, value_name = "KEY")]
    from: Option<String>,
    /// Up to this key, and not it
    #[arg(long, value_name = "KEY")]
    to: Option<String>,
    /// So many records at most
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// From the last key to the first
    #[arg(long)]
    reverse: bool,
    /// Keys only
    #[arg(long)]
    keys: bool,
    /// Only say how many there are
    #[arg(long, conflicts_with = "keys")]
    count: bool,
    #[command(flatten)]
    encoding: EncodingArg,
}

impl Scan {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        let encoding = self.encoding.encoding;
        let db = self.read.reading()?;
        let read = db.begin_read()?;
        let (types, table) = cells::read_table(&read, &self.table)?;
        let span = self.span(types)?;
        let whole = self.prefix.is_none() && self.from.is_none() && self.to.is_none();
        if self.count && whole && self.limit.is_none() {
            let records = table.len()?;
            return out.either(&json!({ "records": records }), records);
        }
        let (mut found, limit) = (0, self.limit.unwrap_or(u64::MAX));
        table.walk(&span, &mut |key, value| {
            if found == limit {
                return Ok(ControlFlow::Break(()));
            }
            found += 1;
            match (self.count, self.keys, out.is_json()) {
                (true, ..) => {}
                (_, true, true) => out.json(&json!({
                    "table": self.table, "key": records::to_json(&key, encoding),
                }))?,
                (_, true, false) => out.line(records::human(&key, encoding))?,
                (_, false, true) => {
                    out.json(&records::record_json(&self.table, &key, &value, encoding))?;
                }
                (_, false, false) => out.line(format_args!(
                    "{}\t{}",
                    records::human(&key, encoding),
                    records::human(&value, encoding)
                ))?,
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if self.count {
            out.either(&json!({ "records": found }), found)?;
        }
        drop((table, read));
        db.close()
    }

    fn span(&self, types: TableTypes) -> Result<Span, Failure> {
        let encoding = self.encoding.encoding;
        let parse = |text: &String| records::parse(text, types.key, encoding);
        if let Some(prefix) = &self.prefix {
            return Ok(Span { reverse: self.reverse, ..Span::beginning(parse(prefix)?)? });
        }
        let from = self.from.as_ref().map(parse).transpose()?;
        let to = self.to.as_ref().map(parse).transpose()?;
        Ok(Span {
            from: from.map_or(Bound::Unbounded, Bound::Included),
            to: to.map_or(Bound::Unbounded, Bound::Excluded),
            reverse: self.reverse,
        })
    }
}
