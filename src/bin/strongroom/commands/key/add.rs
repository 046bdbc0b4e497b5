//! `key add`: a slot of his own for somebody.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use serde_json::json;
use strongroom::SlotSpec;

use super::date;
use crate::administration::{Administration, NewKey};
use crate::credential::NewCredentialArgs;
use crate::failure::Failure;
use crate::output::Output;
use crate::shapes;

/// Add a key slot: another credential that opens the file
///
/// The file's own credential comes first, then the new one: a passphrase that is asked for twice,
/// or one of the --new-... options. `strongroom key recovery` adds a recovery code.
///
/// A key may stay in a token, a TPM or a key service (--new-pkcs11, --new-tpm, --new-kms, where this
/// strongroom was built with them): the slot then opens only with its help. There is a warning where
/// no other slot would open the file without it.
///
/// The new slot reads and writes data. With `--role admin` its holder changes slots, too: give
/// yourself a second one, and keep its credential somewhere else.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom key add notes.room --label laptop
  strongroom key add notes.room --label ci --new-generated-key-file ci.key --not-after 90d
  strongroom key add notes.room --key-file notes.key --new-passphrase-fd 3 3< passphrase.txt
  strongroom key add notes.room --role admin --kdf-memory 512 --kdf-passes 4
  strongroom key add notes.room --label card --new-pkcs11 'pkcs11:token=me;object=notes?module-path=/usr/lib/opensc-pkcs11.so'
  strongroom key add notes.room --label board --new-tpm")]
pub(crate) struct Add {
    #[command(flatten)]
    administration: Administration,
    #[command(flatten)]
    new: NewCredentialArgs,
    /// What its holder may do
    #[arg(long, value_name = "ROLE", default_value = "data", help_heading = "New slot")]
    role: RoleName,
    /// A name for it, up to 32 bytes, readable by anybody who has the file
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        help_heading = "New slot"
    )]
    label: String,
    /// The last day, moment or number of days that it is good for: 2027-03-31, 90d
    #[arg(long, value_name = "DATE", help_heading = "New slot")]
    not_after: Option<String>,
}

/// What a slot's holder may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RoleName {
    /// Read and write
    Data,
    /// Change key slots as well
    Admin,
}

impl Add {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        let mut spec = match self.role {
            RoleName::Data => SlotSpec::data(&self.label),
            RoleName::Admin => SlotSpec::admin(&self.label),
        };
        if let Some(text) = &self.not_after {
            spec = spec.not_after(date::last_second(text, now())?);
        }
        let administered = self.administration.begin()?;
        let mut session = administered.session()?;
        let readable = self.administration.open.credential.key.allow_readable_key_file;
        let new = NewKey::make(&self.new, readable)?;
        let id = new.keep_if(session.add(&spec, &*new.credential).map_err(Failure::from))?;
        drop(session);
        let slot = administered.slot(&id.0.to_string())?;
        let advice = administered.advice(&new, id);
        administered.db.close()?;
        let key_file = new.made().map(|path| path.display().to_string());
        let added = json!({ "added": shapes::slot_json(&slot), "key_file": key_file });
        out.done(&added, format_args!("added {}", shapes::slot_line(&slot)))?;
        if let Some(path) = new.made() {
            out.remark(format_args!("its key is in {}: keep it apart", path.display()));
        }
        if let Some(advice) = advice {
            out.warn(advice);
        }
        Ok(())
    }
}

/// Unix seconds by this machine's clock.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
