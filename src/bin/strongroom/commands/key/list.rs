//! `key list`: the key slots, authenticated.

use clap::Args;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::open::ReadArgs;
use crate::output::Output;
use crate::shapes;

/// List a file's key slots: number, kind, role, label, cost, dates
///
/// Authenticated by the credential that opens the file; `strongroom inspect` lists what the file
/// claims without one. Changes nothing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom key list notes.room
  strongroom key list notes.room --key-file notes.key --json | jq '.slots[].label'")]
pub(crate) struct List {
    #[command(flatten)]
    read: ReadArgs,
}

impl List {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        let db = self.read.reading()?;
        let mut status = db.key_status();
        status.slots.sort_by_key(|slot| slot.id.0);
        db.close()?;
        if out.is_json() {
            let slots: Vec<Value> = status.slots.iter().map(shapes::slot_json).collect();
            return out.json(&json!({ "split_roles": status.split_roles, "slots": slots }));
        }
        for slot in &status.slots {
            out.line(shapes::slot_line(slot))?;
        }
        if status.split_roles {
            out.line("roles are split: an admin slot opens no data, a data slot changes no slots")?;
        }
        out.flush()?;
        if status.slots.len() == 1 {
            out.remark(
                "there is one way in only: `strongroom key recovery` makes a code to lock away",
            );
        }
        Ok(())
    }
}
