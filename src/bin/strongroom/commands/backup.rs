//! `backup`: a full or an incremental backup of a file, to a file, a directory or standard output.

use std::fs;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use strongroom::Database;
use strongroom::backup::{self, BackupKind, Options, Parent, Report};

use crate::failure::Failure;
use crate::new_file::write_new;
use crate::open::OpenArgs;
use crate::output::{Output, size};

/// Back a file up: all of it, or what has changed since another backup
///
/// A backup is sealed as the file is, and opens with the credentials of its day. It has a checksum of
/// every byte of every backup that it stands on, so that a chain with one missing, older or altered
/// is refused at `strongroom restore`.
///
/// Into a DIRECTORY of its own, each call adds the next one of a chain: a full one first, then
/// what has changed. After a rotation, begin another directory.
///
/// The file must not be open elsewhere: an application backs up what it has open itself, while it
/// works on (the library's `backup::to_directory`).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom backup notes.room backups/                       the next one of the chain in there
  strongroom backup notes.room notes.backup                   a full one
  strongroom backup notes.room more.backup --parent notes.backup
  strongroom backup notes.room - --save-end notes.end | ssh safe 'cat > notes.backup'
  strongroom backup notes.room - --parent notes.end | ssh safe 'cat > more.backup'")]
pub(crate) struct Backup {
    #[command(flatten)]
    open: OpenArgs,
    /// A file to make, a directory of backups (made if it ends with /), or - for standard output
    #[arg(value_name = "TO")]
    to: PathBuf,
    /// Only what has changed since this backup, or since the end of one that --save-end saved
    #[arg(long, value_name = "FILE")]
    parent: Option<PathBuf>,
    /// Save the end of the backup, which is all that the next increment needs of it
    #[arg(long, value_name = "FILE")]
    save_end: Option<PathBuf>,
    /// Go on over pages that don't open; a restore says whether they were in use
    #[arg(long)]
    allow_unreadable: bool,
    /// Memory for pages that are overwritten before they are copied
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    memory: u64,
}

/// Where it goes.
#[derive(Clone, Copy)]
enum Place<'a> {
    File(&'a Path),
    Directory(&'a Path),
    Stdout,
}

impl Backup {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        let place = self.place();
        self.check(place, out)?;
        let parent = self.parent.as_deref().map(parent_of).transpose()?;
        let db = self.open.writing()?;
        let progress = out.progress("backing up", "groups of 504 KiB");
        let at = |now: backup::Progress| progress.at(now.done_groups, now.total_groups);
        let options = Options {
            kept_bytes_max: self.memory.saturating_mul(1 << 20),
            allow_unreadable: self.allow_unreadable,
            progress: Some(&at),
        };
        let made = make(&db, place, parent.as_ref(), &options);
        progress.end();
        let closed = db.close();
        let report = made?;
        closed?;
        if let Some(path) = &self.save_end {
            write_new(path, &report.parent.to_bytes())?;
        }
        self.tell(&report, place, out)
    }

    fn place(&self) -> Place<'_> {
        match &*self.to {
            to if to.as_os_str() == "-" => Place::Stdout,
            to if to.is_dir() || to.as_os_str().as_encoded_bytes().ends_with(b"/") => {
                Place::Directory(to)
            }
            to => Place::File(to),
        }
    }

    // Before anybody types a passphrase in vain.
    fn check(&self, place: Place<'_>, out: &Output) -> Result<(), Failure> {
        if let Some(path) = self.save_end.as_deref().filter(|path| path.symlink_metadata().is_ok())
        {
            return Err(Failure::exists(path));
        }
        match place {
            Place::Stdout if io::stdout().is_terminal() => {
                Err(Failure::usage("a backup is not for a terminal: name a file, or use a pipe"))
            }
            Place::Stdout if out.is_json() => Err(Failure::usage(
                "standard output takes the backup or JSON, not both: leave one of them out",
            )),
            Place::Directory(_) if self.parent.is_some() => Err(Failure::usage(
                "a directory of backups knows its newest one by itself: leave --parent out",
            )),
            Place::Directory(path) => match fs::create_dir(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    Err(Failure::io(format!("making {}", path.display()))(error))
                }
                _ => Ok(()),
            },
            Place::File(path) if path.symlink_metadata().is_ok() => Err(Failure::exists(path)),
            _ => Ok(()),
        }
    }

    fn tell(&self, report: &Report, place: Place<'_>, out: &mut Output) -> Result<(), Failure> {
        let kind = match report.kind {
            BackupKind::Full => "full",
            BackupKind::Incremental => "incremental",
        };
        let Report { number, copied_groups, groups, bytes, unreadable_pages, .. } = *report;
        let id: String = report.id.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = format!(
            "{kind} backup, number {number} of its chain: {}, {copied_groups} of {groups} groups, \
             the state of sync {}",
            size(bytes),
            report.sync.0
        );
        if unreadable_pages > 0 {
            out.warn(format_args!(
                "{unreadable_pages} pages don't open and are lost in the backup: `strongroom verify` \
                 says more"
            ));
        }
        if let Place::Stdout = place {
            out.remark(text);
            return Ok(());
        }
        let json = json!({
            "kind": kind,
            "id": id,
            "file_id": report.file_id.to_string(),
            "number": number,
            "sync": report.sync.0,
            "generation": report.generation.0,
            "groups": groups,
            "copied_groups": copied_groups,
            "bytes": bytes,
            "unreadable_pages": unreadable_pages,
            "milliseconds": u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
        });
        out.done(&json, text)
    }
}

fn parent_of(path: &Path) -> Result<Parent, Failure> {
    if path.symlink_metadata().is_err() {
        return Err(Failure::not_found(format!("there is no backup {}", path.display())));
    }
    Ok(Parent::of_file(path)?)
}

fn make(
    db: &Database,
    place: Place<'_>,
    parent: Option<&Parent>,
    options: &Options<'_>,
) -> Result<Report, Failure> {
    Ok(match place {
        Place::File(path) => backup::to_file(db, parent, path, options)?,
        Place::Directory(path) => backup::to_directory(db, path, options)?,
        Place::Stdout => {
            let mut stdout = BufWriter::new(io::stdout().lock());
            let report = match parent {
                None => backup::snapshot(db, &mut stdout, options)?,
                Some(parent) => backup::incremental(db, parent, &mut stdout, options)?,
            };
            stdout.flush().map_err(Failure::output)?;
            report
        }
    })
}
