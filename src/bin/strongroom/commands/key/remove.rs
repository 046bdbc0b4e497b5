//! `key remove`: a slot goes, and nothing else changes.

use clap::Args;
use serde_json::json;

use crate::administration::Administration;
use crate::failure::Failure;
use crate::output::Output;
use crate::shapes;

/// Remove a key slot: its credential opens the file no more
///
/// Enough for a credential that nobody else has known. Where somebody has, `strongroom revoke` it:
/// he may have kept the keys behind it. Old copies of the file go on opening with it either way.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom key remove notes.room laptop
  strongroom key remove notes.room 3 --key-file notes.key")]
pub(crate) struct Remove {
    #[command(flatten)]
    administration: Administration,
    /// The slot, by number or label
    #[arg(value_name = "SLOT")]
    which: String,
    /// Also the slot whose credential you give here
    #[arg(long)]
    even_mine: bool,
}

impl Remove {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        let administered = self.administration.begin()?;
        let slot = administered.slot(&self.which)?;
        if !self.even_mine && administered.own_slot()?.id == slot.id {
            return Err(Failure::refused(format!(
                "slot {} is the one that you came with: its credential would open the file no more",
                slot.id.0
            ))
            .hint("come with another administrator's credential, or say --even-mine"));
        }
        let mut session = administered.session()?;
        session.remove(slot.id)?;
        drop(session);
        administered.db.close()?;
        let removed = json!({ "removed": shapes::slot_json(&slot) });
        out.done(&removed, format_args!("removed {}", shapes::slot_line(&slot)))?;
        out.remark(
            "who else has known that credential may have kept the keys behind it, which `strongroom \
             revoke` would have replaced",
        );
        Ok(())
    }
}
