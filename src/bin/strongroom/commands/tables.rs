//! `tables`: what tables there are.

use clap::Args;
use serde_json::{Value, json};
use strongroom::redb::{
    MultimapTableHandle, ReadTransaction, ReadableTableMetadata, TableHandle, TableStats,
    UntypedMultimapTableHandle, UntypedTableHandle,
};

use crate::cells::{self, TableLook};
use crate::failure::Failure;
use crate::open::ReadArgs;
use crate::output::{Output, count, plain, size};

/// List the tables of a file: names, types, lengths, sizes
///
/// Tables of bytes, text (`str`), `u64` and `u32` can be read and written by the other verbs;
/// tables of other types, and multimap tables, are listed and left alone. Measuring reads every
/// table; --brief does without.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom tables notes.room
  strongroom tables notes.room --json | jq -r .name")]
pub(crate) struct Tables {
    #[command(flatten)]
    read: ReadArgs,
    /// Names and types only
    #[arg(long)]
    brief: bool,
}

struct Row {
    name: String,
    look: TableLook,
    measured: Option<(u64, TableStats)>,
}

impl Tables {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        let db = self.read.reading()?;
        for row in rows(&db.begin_read()?, !self.brief)? {
            if out.is_json() { out.json(&row.json())? } else { out.line(row.line())? }
        }
        db.close()
    }
}

fn rows(read: &ReadTransaction, measure: bool) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    let tables: Vec<UntypedTableHandle> = read.list_tables()?.collect();
    for table in tables {
        let (name, look) = (table.name().to_owned(), cells::look(read, table.name())?);
        let measured = match measure {
            true => Some(measure_table(&read.open_untyped_table(table)?)?),
            false => None,
        };
        rows.push(Row { name, look, measured });
    }
    let tables: Vec<UntypedMultimapTableHandle> = read.list_multimap_tables()?.collect();
    for table in tables {
        let (name, look) = (table.name().to_owned(), cells::look(read, table.name())?);
        let measured = match measure {
            true => Some(measure_table(&read.open_untyped_multimap_table(table)?)?),
            false => None,
        };
        rows.push(Row { name, look, measured });
    }
    rows.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(rows)
}

fn measure_table(table: &impl ReadableTableMetadata) -> Result<(u64, TableStats), Failure> {
    Ok((table.len()?, table.stats()?))
}

impl Row {
    fn kind(&self) -> &'static str {
        if self.look.multimap { "multimap" } else { "table" }
    }

    fn json(&self) -> Value {
        let stats = self.measured.as_ref().map(|(_, stats)| stats);
        json!({
            "name": self.name,
            "kind": self.kind(),
            "key": self.look.key,
            "value": self.look.value,
            "types": self.look.types().map(|types| types.to_string()),
            "records": self.measured.as_ref().map(|(records, _)| *records),
            "stored_bytes": stats.map(TableStats::stored_bytes),
            "metadata_bytes": stats.map(TableStats::metadata_bytes),
            "fragmented_bytes": stats.map(TableStats::fragmented_bytes),
            "pages": stats.map(|stats| stats.leaf_pages() + stats.branch_pages()),
        })
    }

    fn line(&self) -> String {
        let name = plain(&self.name).replace('\n', "\\n");
        let mut line = format!("{name}: {}, {} to {}", self.kind(), self.look.key, self.look.value);
        if let Some((records, stats)) = &self.measured {
            let (records, stored) = (count(*records, "record"), size(stats.stored_bytes()));
            line.push_str(&format!(", {records}, {stored} stored"));
        }
        if self.look.types().is_none() {
            line.push_str(", not readable here");
        }
        line
    }
}
