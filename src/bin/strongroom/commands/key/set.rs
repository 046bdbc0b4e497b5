//! `key set`: a slot's label and date.

use clap::Args;
use serde_json::json;

use super::add::now;
use super::date;
use crate::administration::Administration;
use crate::failure::Failure;
use crate::output::Output;
use crate::shapes;

/// Change a slot's label or the date until which it is good
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom key set notes.room 3 --label 'old laptop'
  strongroom key set notes.room laptop --not-after 2027-03-31
  strongroom key set notes.room laptop --not-after never")]
pub(crate) struct Set {
    #[command(flatten)]
    administration: Administration,
    /// The slot, by number or label
    #[arg(value_name = "SLOT")]
    which: String,
    /// Its new label, up to 32 bytes; '' is none
    #[arg(long, value_name = "TEXT", required_unless_present = "not_after")]
    label: Option<String>,
    /// The last day, moment or number of days that it is good for, or `never`
    #[arg(long, value_name = "DATE")]
    not_after: Option<String>,
}

impl Set {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        let date = match self.not_after.as_deref() {
            None => None,
            Some("never") => Some(None),
            Some(text) => Some(Some(date::last_second(text, now())?)),
        };
        let administered = self.administration.begin()?;
        let slot = administered.slot(&self.which)?;
        let mut session = administered.session()?;
        if let Some(label) = &self.label {
            session.relabel(slot.id, label)?;
        }
        if let Some(date) = date {
            session.set_not_after(slot.id, date)?;
        }
        drop(session);
        let slot = administered.slot(&slot.id.0.to_string())?;
        administered.db.close()?;
        out.done(&json!({ "set": shapes::slot_json(&slot) }), shapes::slot_line(&slot))
    }
}
