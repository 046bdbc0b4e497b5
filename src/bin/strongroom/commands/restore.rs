//! `restore`: a backup, or a chain of them, becomes a file.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use strongroom::backup::{self, Chain, Rekey, RestoreOptions};
use strongroom::{Builder, KdfLimits};

use crate::administration::NewKey;
use crate::credential::{CredentialArgs, NewCredentialArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, size};

/// Restore a file from a backup and its increments
///
/// Every byte of the chain is checked before anything is written; the new file is read back, opened
/// page by page and checked by redb, and only then gets its name. Nothing is ever replaced. A chain
/// with a backup missing, in the wrong place, older or altered is refused, and which one it is said.
///
/// What can't be told is that the end of a chain was left out, or that all of it is old: compare the
/// sync that is printed with the one that `strongroom backup` printed.
///
/// The restored file opens with the credentials of its day, revoked ones included. With --rekey
/// every page is sealed anew under keys of its own, and the new credential alone opens it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom restore again.room backups/                       the newest state in there
  strongroom restore older.room backups/ --until 3             the state of backup number 3
  strongroom restore again.room notes.backup more.backup       the full one first
  strongroom restore copy.room backups/ --rekey                asks for the old key, then a new one")]
pub(crate) struct Restore {
    /// The file to make
    #[arg(value_name = "FILE")]
    target: PathBuf,
    /// A directory of backups, or backup files, the full one first
    #[arg(value_name = "FROM", required = true)]
    from: Vec<PathBuf>,
    /// Of a directory, the last backup to restore, counted from 0
    #[arg(long, value_name = "N")]
    until: Option<usize>,
    #[command(flatten)]
    credential: CredentialArgs,
    /// The most memory that a passphrase slot may ask for, 1024 unless given
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(19..=1 << 20),
          help_heading = "Opening")]
    max_kdf_memory: Option<u32>,
    /// Give the restored file a file id and keys of its own
    #[arg(long, help_heading = "New key")]
    rekey: bool,
    #[command(flatten)]
    new: NewCredentialArgs,
}

impl Restore {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        if !self.rekey && self.new.is_given() {
            return Err(Failure::usage("a new key is for a restored file with keys of its own")
                .hint("add --rekey"));
        }
        // Before anybody types a passphrase in vain.
        if self.target.symlink_metadata().is_ok() {
            return Err(Failure::exists(&self.target));
        }
        let chain = self.chain()?;
        let key = self.credential.read("Passphrase")?;
        let readable = self.credential.key.allow_readable_key_file;
        let new = self.rekey.then(|| NewKey::make(&self.new, readable)).transpose()?;
        let progress = out.progress("restoring", "groups of 504 KiB");
        let at = |now: backup::Progress| progress.at(now.done_groups, now.total_groups);
        let options = RestoreOptions {
            builder: self.builder()?,
            rekey: new.as_ref().map(|new| Rekey { key: &*new.credential, data: None }),
            progress: Some(&at),
        };
        let done = backup::restore(chain, &self.target, &*key, &options).map_err(Failure::from);
        progress.end();
        if let (Err(failure), [_, _, ..]) = (&done, self.from.as_slice())
            && matches!(failure.exit(), Exit::Refused | Exit::Damaged | Exit::NotFound)
        {
            out.remark(self.numbered());
        }
        let done = match &new {
            Some(new) => new.keep_if(done)?,
            None => done?,
        };
        let json = json!({
            "restored": self.target.display().to_string(),
            "file_id": done.file_id.to_string(),
            "sync": done.sync.0,
            "backups": done.backups,
            "bytes": done.bytes,
            "lost_pages": done.lost_pages,
            "rekeyed": self.rekey,
            "milliseconds": u64::try_from(done.took.as_millis()).unwrap_or(u64::MAX),
        });
        let text = format!(
            "restored {} from {} backup{}: {}, the state of sync {}",
            self.target.display(),
            done.backups,
            if done.backups == 1 { "" } else { "s" },
            size(done.bytes),
            done.sync.0
        );
        out.done(&json, text)?;
        if done.lost_pages > 0 {
            out.remark(format_args!("{} pages that redb doesn't use are lost", done.lost_pages));
        }
        if !self.rekey {
            out.remark("it opens with the credentials of its day, also with those revoked since");
        }
        Ok(())
    }

    // Errors say which of the chain by its number.
    fn numbered(&self) -> String {
        let numbered = self.from.iter().enumerate();
        let each: Vec<String> =
            numbered.map(|(number, path)| format!("{number} is {}", path.display())).collect();
        format!("of the backups as they were named, {}", each.join(", "))
    }

    fn chain(&self) -> Result<Chain, Failure> {
        match (self.from.as_slice(), self.until) {
            ([directory], until) if directory.is_dir() => {
                Ok(Chain::of_directory(directory, until)?)
            }
            (_, Some(_)) => Err(Failure::usage("--until goes with a directory of backups")
                .hint("of backup files, name those that you want")),
            (files, None) => match files.iter().find(|path| path.symlink_metadata().is_err()) {
                Some(path) => {
                    Err(Failure::not_found(format!("there is no backup {}", path.display())))
                }
                None => Ok(Chain::of_files(files)?),
            },
        }
    }

    fn builder(&self) -> Result<Builder, Failure> {
        let mut builder = Builder::new();
        builder.hint(self.credential.hint()?);
        if let Some(mib) = self.max_kdf_memory {
            let memory_kib_max = mib.saturating_mul(1024);
            builder.kdf_limits(KdfLimits { memory_kib_max, ..KdfLimits::default() });
        }
        Ok(builder)
    }
}
