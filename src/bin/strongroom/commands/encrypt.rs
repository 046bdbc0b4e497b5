//! `encrypt`: a plain redb file becomes an encrypted one.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use strongroom::Credential;
use strongroom::convert::{self, Options, Phase, Report};

use crate::credential::provider::CREATES;
use crate::credential::{KdfArgs, KeyArgs, Source};
use crate::failure::Failure;
use crate::independence;
use crate::output::{Output, size};
use crate::progress::Progress;

/// Encrypt a plain redb file, as redb 4.6 writes it
///
/// The copy is made beside its target, read back and compared page by page, opened by redb, and only
/// then gets its name: after a crash at any moment the old file or the new one is there, whole. Run
/// it again after a crash; nothing is ever replaced but, with --in-place, the plain file itself.
///
/// Asks for a new passphrase, twice, unless a key is given another way.
///
/// ENCRYPTING DOES NOT ERASE. Whatever the plain file's blocks held may be found on the device until
/// it is written over, on flash, in snapshots and in backups for good. Where that matters, encrypt
/// onto another device and destroy the old one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom encrypt notes.redb notes.room
  strongroom encrypt notes.redb --in-place --generate-key-file /media/stick/notes.key
  strongroom encrypt notes.redb notes.room --dry-run")]
pub(crate) struct Encrypt {
    /// The plain redb file
    plain: PathBuf,
    /// The encrypted file to make
    #[arg(required_unless_present = "in_place", conflicts_with = "in_place")]
    room: Option<PathBuf>,
    /// Put the encrypted file in the plain one's place; wants room for both
    #[arg(long)]
    in_place: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Leave out redb's check of every page of the plain file
    #[arg(long)]
    no_check: bool,
    #[command(flatten)]
    key: KeyArgs<CREATES>,
    /// Make a key file with a random key, readable by you only, and use it
    #[arg(long, value_name = "FILE", group = "credential", help_heading = "Key")]
    generate_key_file: Option<PathBuf>,
    #[command(flatten)]
    kdf: KdfArgs,
}

impl Encrypt {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        // What can be refused is refused before anybody types a passphrase in vain.
        let nobody = strongroom::RawKey::new([0; 32]);
        let dry = self.convert(&nobody, true, None)?;
        if self.dry_run {
            return tell(out, &dry, "encrypt", &self.plain, self.room.as_deref());
        }
        let source = match &self.generate_key_file {
            Some(path) => Source::NewKeyFile(path.clone()),
            None => self.key.source("New passphrase"),
        };
        let key = source.make(self.kdf)?;
        let progress = out.progress("encrypting", "bytes");
        let done = self.convert(&*key, false, Some(&progress));
        progress.end();
        if done.is_err()
            && let Some(path) = &self.generate_key_file
        {
            // It opens nothing.
            let _ = std::fs::remove_file(path);
        }
        tell(out, &done?, "encrypted", &self.plain, self.room.as_deref())?;
        if let Some(path) = &self.generate_key_file {
            out.remark(format_args!("its only key is in {}: keep it apart", path.display()));
        }
        if let (Source::Provider { .. }, Some(advice)) = (&source, independence::advice(&[])) {
            out.warn(advice);
        }
        match self.in_place {
            true => out.warn(
                "the plain file's old blocks may still be on the device, and in snapshots and \
                 backups: no program can take them back",
            ),
            false => out.remark(format_args!(
                "{} is as it was: delete it when you have tried the new one; what it held may stay \
                 on the device",
                self.plain.display()
            )),
        }
        Ok(())
    }

    fn convert(
        &self,
        key: &dyn Credential,
        dry_run: bool,
        progress: Option<&Progress>,
    ) -> Result<Report, Failure> {
        let at = |now| show(progress, now);
        // A look before anybody types a passphrase needs not be a thorough one.
        let thorough = !dry_run || self.dry_run;
        let check = thorough && !self.no_check;
        let options = Options { dry_run, check, progress: Some(&at), ..Options::default() };
        Ok(match &self.room {
            Some(room) => convert::encrypt(&self.plain, room, key, &options)?,
            None => convert::encrypt_in_place(&self.plain, key, &options)?,
        })
    }
}

/// How far a conversion is.
pub(super) fn show(progress: Option<&Progress>, now: convert::Progress) {
    let Some(progress) = progress else { return };
    if now.phase == Phase::Verifying {
        progress.phase("comparing");
    }
    progress.at(now.done_bytes, now.total_bytes);
}

/// What a conversion did, or would do.
pub(super) fn tell(
    out: &mut Output,
    report: &Report,
    verb: &str,
    from: &Path,
    to: Option<&Path>,
) -> Result<(), Failure> {
    let to = to.unwrap_or(from);
    let abandoned = report.abandoned.iter().map(|path| Value::from(path.display().to_string()));
    let json = json!({
        "dry_run": report.dry_run,
        "from": from.display().to_string(),
        "to": to.display().to_string(),
        "source_bytes": report.source_bytes,
        "target_bytes": report.target_bytes,
        "database_bytes": report.database_bytes,
        "repaired": report.repaired,
        "lost_pages": report.lost_pages,
        "drafts_removed": abandoned.collect::<Vec<_>>(),
        "milliseconds": u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
    });
    let (was, is) = (size(report.source_bytes), size(report.target_bytes));
    let would = if report.dry_run { "would " } else { "" };
    let text = match from == to {
        true => format!("{would}{verb} {} in its place: {was} to {is}", from.display()),
        false => format!("{would}{verb} {}, {was}, as {}, {is}", from.display(), to.display()),
    };
    out.done(&json, text)?;
    if report.repaired {
        out.remark(
            "the plain file had not been closed cleanly: redb repaired the copy, not the file",
        );
    }
    for path in &report.abandoned {
        let verb = if report.dry_run { "would remove" } else { "removed" };
        out.remark(format_args!("{verb} an unfinished copy of an earlier run: {}", path.display()));
    }
    if report.lost_pages > 0 {
        let pages = report.lost_pages;
        out.warn(format_args!("{pages} pages that an earlier crash had left unreadable are zeros"));
    }
    Ok(())
}
