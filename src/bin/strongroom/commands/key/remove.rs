//! `key remove`: a slot goes, and nothing else changes.

use clap::Args;
use serde_json::json;
use strongroom::Role;

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
}

impl Remove {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        let administered = self.administration.begin()?;
        let slot = administered.slot(&self.which)?;
        let mut session = administered.session()?;
        session.remove(slot.id)?;
        drop(session);
        administered.db.close()?;
        let removed = json!({ "removed": shapes::slot_json(&slot) });
        out.done(&removed, format_args!("removed {}", shapes::slot_line(&slot)))?;
        let whose = match slot.role {
            Role::Admin => "could administer the file and",
            Role::Data => "",
        };
        out.remark(format_args!(
            "if somebody else has known this credential, who {whose}{}may have kept the keys behind \
             it: `strongroom revoke` is what takes them from him",
            if whose.is_empty() { "" } else { " " }
        ));
        Ok(())
    }
}
