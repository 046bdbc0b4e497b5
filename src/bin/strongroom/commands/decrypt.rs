//! `decrypt`: an encrypted file becomes a plain redb file again.

use std::path::PathBuf;

use clap::Args;
use strongroom::Credential;
use strongroom::convert::{self, Options, Report};

use super::encrypt::{show, tell};
use crate::failure::Failure;
use crate::open::OpenArgs;
use crate::output::Output;
use crate::progress::Progress;

/// Decrypt a file: write it as the plain redb file that it holds
///
/// What comes out is readable by anybody who can read the file, and so is a draft that a crash
/// leaves (NAME.<16 digits>.unfinished): run it again, or delete that. The encrypted file must have
/// been closed cleanly.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom decrypt notes.room notes.redb
  strongroom decrypt notes.room --in-place --key-file notes.key")]
pub(crate) struct Decrypt {
    #[command(flatten)]
    open: OpenArgs,
    /// The plain file to make
    #[arg(required_unless_present = "in_place", conflicts_with = "in_place")]
    plain: Option<PathBuf>,
    /// Put the plain file in the encrypted one's place; wants room for both
    #[arg(long)]
    in_place: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Leave out redb's check of every page of the copy
    #[arg(long)]
    no_check: bool,
}

impl Decrypt {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        let key = self.open.key()?;
        let progress = out.progress("decrypting", "bytes");
        let done = self.convert(&*key, &progress);
        progress.end();
        let verb = if self.dry_run { "decrypt" } else { "decrypted" };
        tell(out, &done?, verb, &self.open.file, self.plain.as_deref())?;
        if !self.dry_run {
            out.warn("it is in the clear now, for everybody who can read the file or the disk");
        }
        Ok(())
    }

    fn convert(&self, key: &dyn Credential, progress: &Progress) -> Result<Report, Failure> {
        let at = |now| show(Some(progress), now);
        let builder = self.open.builder()?;
        let (dry_run, check) = (self.dry_run, !self.no_check);
        let options =
            Options { builder, dry_run, check, progress: Some(&at), ..Options::default() };
        Ok(match &self.plain {
            Some(plain) => convert::decrypt(&self.open.file, plain, key, &options)?,
            None => convert::decrypt_in_place(&self.open.file, key, &options)?,
        })
    }
}
