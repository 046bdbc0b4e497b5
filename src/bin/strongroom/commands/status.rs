//! `status`: what there is to know of a file that a credential opens.

use clap::Args;
use serde_json::json;

use crate::credential::provider::{Chosen, Health};
use crate::failure::Failure;
use crate::open::{ReadArgs, Reading};
use crate::output::{Output, count, size};
use crate::shapes;

/// Show a file's key slots, data keys, policy, and what is due
///
/// Everything shown is authenticated by the credential; `strongroom inspect` shows what a file
/// says of itself to somebody without one. Changes nothing.
///
/// Where the key is in a token, a TPM or a key service, how that is comes first: there, sealed,
/// locked, how long its token and certificates are good. That is shown also where the file doesn't
/// open.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom status notes.room
  strongroom status notes.room --json | jq '.keys.due'
  strongroom status notes.room --token > /media/stick/notes.token")]
pub(crate) struct Status {
    #[command(flatten)]
    read: ReadArgs,
    /// Print only the checkpoint token of this state, for --at-least: keep it elsewhere, and no
    /// older state of the file is taken for it
    #[arg(long)]
    token: bool,
}

impl Status {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        strongroom::inspect(&self.read.open.file)?;
        let chosen = self.read.open.credential.key.provider.chosen();
        let provider = chosen.filter(|_| !self.token).map(Chosen::health);
        let name = self.read.open.file.display().to_string();
        let db = match (self.read.reading(), &provider) {
            (Err(failure), Some(provider)) => {
                let json = json!({ "file": name, "provider": provider.json });
                if out.is_json() {
                    out.json(&json)?
                } else {
                    out.health(provider)?
                }
                return Err(failure);
            }
            (opened, _) => opened?,
        };
        if self.token {
            let token = db.checkpoint_token()?;
            out.either(&json!({ "token": token.to_string() }), token)?;
            return db.close();
        }
        let path = &self.read.open.file;
        let bytes = path.metadata().map_err(Failure::io("measuring the file"))?.len();
        show(&db, &name, bytes, provider.as_ref(), out)?;
        db.close()
    }
}

fn show(
    db: &Reading,
    file: &str,
    bytes: u64,
    provider: Option<&Health>,
    out: &mut Output,
) -> Result<(), Failure> {
    let (keys, recovery, anchor) = (db.key_status(), db.recovery(), db.anchor_status());
    let read = db.begin_read()?;
    let tables = read.list_tables()?.count() + read.list_multimap_tables()?.count();
    if out.is_json() {
        let mut all = json!({
            "file": file,
            "file_bytes": bytes,
            "tables": tables,
            "keys": shapes::keys_json(&keys),
            "anchor": anchor.as_ref().map(shapes::anchor_json),
            "recovery": shapes::recovery_json(&recovery),
        });
        if let (Some(provider), Some(all)) = (provider, all.as_object_mut()) {
            all.insert("provider".to_owned(), provider.json.clone());
        }
        return out.json(&all);
    }
    if let Some(provider) = provider {
        out.health(provider)?;
    }
    let paint = out.paint();
    out.line(format_args!(
        "{}: {}, {}",
        paint.bold(file),
        size(bytes),
        count(tables as u64, "table")
    ))?;
    let roles = if keys.split_roles { "split" } else { "combined" };
    out.line(format_args!("file id {}, roles {roles}", keys.file_id))?;
    out.line(shapes::recovery_line(&recovery))?;
    match &anchor {
        Some(anchor) => out.line(shapes::anchor_line(anchor))?,
        None => out.line("anchor: none; a file that is put back as a whole is not noticed")?,
    }
    for slot in &keys.slots {
        out.line(shapes::slot_line(slot))?;
    }
    for epoch in &keys.epochs {
        out.line(shapes::epoch_line(epoch))?;
    }
    out.line(shapes::policy_line(&keys.policy))?;
    for done in &keys.rotations {
        out.line(shapes::completion_line(done))?;
    }
    if keys.due.is_empty() {
        out.line(paint.bold_green("nothing is due"))?;
    }
    for due in &keys.due {
        out.line(format_args!("{} {}", paint.bold_yellow("due:"), shapes::due_line(due)))?;
    }
    if !keys.memory_locked {
        out.warn("key memory is not locked against swapping: raise `ulimit -l`");
    }
    Ok(())
}
