//! `key export-header`, `restore-header` and `recover-header`: the 32 KiB that hold every wrapped
//! key. Without them no credential opens anything.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use strongroom::{HeaderRestored, OpenError, TurnBack};

use crate::failure::Failure;
use crate::new_file::write_new;
use crate::open::{OpenArgs, ReadArgs};
use crate::output::{Output, count};
use crate::shapes;

/// More than a header has: a file of data given by mistake is not read to its end.
const BACKUP_BYTES_MAX: u64 = 1 << 20;

/// Write a backup of the header: the wrapped keys, without which no credential opens anything
///
/// Sealed as it stands in the file: it opens with the credentials of now, for ever. Keep it apart
/// from the file, make a new one after each change of slots and each rotation, and destroy the old
/// ones: whoever has one and a revoked credential still has the keys of its time.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom key export-header notes.room notes.header
  strongroom key export-header notes.room - | age -r ... > notes.header.age")]
pub(crate) struct ExportHeader {
    #[command(flatten)]
    read: ReadArgs,
    /// The file to make, 32 KiB; `-` is standard output. Nothing is ever replaced
    #[arg(value_name = "BACKUP")]
    to: PathBuf,
}

impl ExportHeader {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        let to_stdout = self.to.as_os_str() == "-";
        if to_stdout && io::stdout().is_terminal() {
            return Err(Failure::usage("a header backup is not for a terminal: name a file"));
        }
        if !to_stdout && self.to.symlink_metadata().is_ok() {
            return Err(Failure::exists(&self.to));
        }
        let db = self.read.reading()?;
        let header = db.header_backup()?;
        let generation = db.key_status().generation;
        db.close()?;
        if to_stdout {
            return out.bytes(&header);
        }
        write_new(&self.to, &header)?;
        let path = self.to.display();
        let made = json!({ "header_backup": path.to_string(), "generation": generation.0 });
        out.done(&made, format_args!("wrote {path}, the header of generation {}", generation.0))
    }
}

/// Put a header backup back into a file whose header is lost or damaged
///
/// The credential must open the backup. Only the two header copies are written. A backup that is
/// older than what the file has seen is refused, because the slots and keys of its time would come
/// back, removed ones included; `--turn-back` does it all the same.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom key restore-header notes.room notes.header")]
pub(crate) struct RestoreHeader {
    // Not `inspect`ed before: the header may be gone.
    #[command(flatten)]
    open: OpenArgs,
    /// The header backup
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,
    /// Accept a header that is older than what the file has seen
    #[arg(long)]
    turn_back: bool,
}

impl RestoreHeader {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        let path = &self.backup;
        let doing = || Failure::io(format!("reading {}", path.display()));
        if path.metadata().map_err(doing())?.len() > BACKUP_BYTES_MAX {
            let what = format!("{} is too long for a header backup", path.display());
            return Err(Failure::usage(what));
        }
        let backup = fs::read(path).map_err(doing())?;
        let builder = self.open.builder()?;
        must_exist(&self.open.file)?;
        let key = self.open.credential.read("Passphrase")?;
        let turn_back = allowed(self.turn_back);
        say(out, &builder.restore_header(&self.open.file, &backup, &*key, turn_back)?)
    }
}

/// Go back to the other header copy, where the newest one is forged or damaged
///
/// A file has two header copies. Opening never falls back by itself from one that looks newer: an
/// attacker could choose the older header that way. This verb does, when you say so.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom key recover-header notes.room")]
pub(crate) struct RecoverHeader {
    #[command(flatten)]
    open: OpenArgs,
    /// Accept a header that is older than what the file has seen
    #[arg(long)]
    turn_back: bool,
}

impl RecoverHeader {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        let builder = self.open.builder()?;
        must_exist(&self.open.file)?;
        let key = self.open.credential.read("Passphrase")?;
        say(out, &builder.recover_header(&self.open.file, &*key, allowed(self.turn_back))?)
    }
}

// Before anybody types a passphrase in vain.
fn must_exist(file: &Path) -> Result<(), Failure> {
    match file.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(OpenError::NotFound(file.to_owned()).into())
        }
        _ => Ok(()),
    }
}

fn allowed(turn_back: bool) -> TurnBack {
    if turn_back { TurnBack::Allow } else { TurnBack::Refuse }
}

fn say(out: &mut Output, done: &HeaderRestored) -> Result<(), Failure> {
    let slots: Vec<_> = done.slots.iter().map(shapes::slot_json).collect();
    let restored = json!({
        "restored": done.restored.0,
        "newest_seen": done.newest_seen.0,
        "generation": done.generation.0,
        "slots": slots,
    });
    let HeaderRestored { restored: from, newest_seen, generation, .. } = done;
    let slots = count(done.slots.len() as u64, "key slot");
    out.done(&restored, format_args!("the header of {from} is back, as {generation}: {slots}"))?;
    if from < newest_seen {
        out.warn(format_args!("slots, policy and keys were turned back from {newest_seen}"));
    }
    Ok(())
}
