//! `key replace`: another credential in a slot's place, as for a changed passphrase.

use clap::Args;
use serde_json::json;

use crate::administration::{Administration, NewKey};
use crate::credential::NewCredentialArgs;
use crate::failure::Failure;
use crate::output::Output;
use crate::shapes;

/// Replace a slot's credential: change a passphrase, or what guessing it costs
///
/// One step: the file opens with the old credential or with the new one, also after a power cut.
/// Role, label and date stay; the slot gets a new number. Without SLOT it is the slot that the
/// given credential opens.
///
/// Old copies of the file, and old header backups, go on opening with the old credential.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom key replace notes.room                        asks for the old one, then twice for the new
  strongroom key replace notes.room laptop --new-generated-key-file laptop.key
  strongroom key replace notes.room --kdf-memory 512       the same or another passphrase, dearer")]
pub(crate) struct Replace {
    #[command(flatten)]
    administration: Administration,
    /// The slot, by number or label; the one that the given credential opens unless named
    #[arg(value_name = "SLOT")]
    which: Option<String>,
    #[command(flatten)]
    new: NewCredentialArgs,
}

impl Replace {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        let administered = self.administration.begin()?;
        let old = match &self.which {
            Some(name) => administered.slot(name)?,
            None => administered.own_slot()?,
        };
        let mut session = administered.session()?;
        let readable = self.administration.open.credential.key.allow_readable_key_file;
        let new = NewKey::make(&self.new, readable)?;
        let replaced = session.replace(old.id, &*new.credential).map_err(Failure::from);
        let id = new.keep_if(replaced)?;
        drop(session);
        let slot = administered.slot(&id.0.to_string())?;
        let advice = administered.advice(&new, id);
        administered.db.close()?;
        let replaced =
            json!({ "replaced": shapes::slot_json(&old), "by": shapes::slot_json(&slot) });
        let text = format!("slot {} is now {}", old.id.0, shapes::slot_line(&slot));
        out.done(&replaced, text)?;
        if let Some(advice) = advice {
            out.warn(advice);
        }
        Ok(())
    }
}
