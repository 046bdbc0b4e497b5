//! `del`: records, or a whole table.

use clap::Args;
use serde_json::json;
use strongroom::redb::{MultimapTableDefinition, TableDefinition};

use super::get::no_key;
use crate::cells;
use crate::failure::Failure;
use crate::open::OpenArgs;
use crate::output::Output;
use crate::records::{self, EncodingArg};

/// Delete keys with their values, durably, or a whole table
///
/// All keys go in one transaction: where one of them is not there nothing is deleted, unless
/// --missing-ok says that this is fine. The freed space is used again; `strongroom compact` gives
/// it back. What was deleted stays in the file, encrypted, until it is written over.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom del notes.room notes today yesterday
  strongroom del notes.room notes --whole-table")]
pub(crate) struct Del {
    #[command(flatten)]
    open: OpenArgs,
    /// The table
    table: String,
    /// The keys
    #[arg(required_unless_present = "whole_table", conflicts_with = "whole_table")]
    keys: Vec<String>,
    /// Keys that are not there are no failure
    #[arg(long)]
    missing_ok: bool,
    /// The table itself, with all that is in it, whatever its types
    #[arg(long)]
    whole_table: bool,
    #[command(flatten)]
    encoding: EncodingArg,
}

impl Del {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        let db = self.open.writing()?;
        let write = db.begin_write().map_err(strongroom::Error::from)?;
        let look = cells::look_in_write(&write, &self.table)?;
        let mut deleted = 0_u64;
        if self.whole_table {
            let name: &str = &self.table;
            match look.multimap {
                true => {
                    write.delete_multimap_table(MultimapTableDefinition::<(), ()>::new(name))?
                }
                false => write.delete_table(TableDefinition::<(), ()>::new(name))?,
            };
        } else {
            let types = look.readable(&self.table)?;
            let mut table = cells::write_table(&write, &self.table, types)?;
            for key in &self.keys {
                let key = records::parse(key, types.key, self.encoding.encoding)?;
                let was = table.del(&key)?;
                if !was && !self.missing_ok {
                    return Err(no_key(&self.table));
                }
                deleted += u64::from(was);
            }
        }
        write.commit().map_err(strongroom::Error::from)?;
        db.close()?;
        let json = json!({ "deleted": deleted, "table": self.whole_table });
        match self.whole_table {
            true => out.done(&json, "deleted the table"),
            false => out.done(&json, format_args!("deleted {deleted}")),
        }
    }
}
