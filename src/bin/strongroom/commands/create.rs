//! `create`: a new, empty file.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use strongroom::{AnchorPolicy, Builder, OpenError};

use crate::anchor::AnchorPlace;
use crate::credential::provider::CREATES;
use crate::credential::{KdfArgs, KeyArgs, Source};
use crate::failure::Failure;
use crate::independence;
use crate::output::Output;

/// Make a new, empty strongroom file
///
/// Asks for a passphrase, twice, unless a key is given another way. The credential opens the data
/// and may change key slots: `strongroom key add` gives others a slot of their own, `strongroom key
/// recovery` a code to print and lock away. Without any credential nobody opens the file, you
/// neither.
///
/// The file appears under its name once it is complete; nothing is ever replaced.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom create notes.room
  strongroom create notes.room --generate-key-file /media/stick/notes.key
  strongroom create notes.room --passphrase-fd 3 3< passphrase.txt
  strongroom create notes.room --key-file notes.key --new-anchor /media/stick/notes.anchor")]
pub(crate) struct Create {
    /// The file to make
    file: PathBuf,
    #[command(flatten)]
    key: KeyArgs<CREATES>,
    /// Make a key file with a random key, readable by you only, and use it
    #[arg(long, value_name = "FILE", group = "credential", help_heading = "Key")]
    generate_key_file: Option<PathBuf>,
    #[command(flatten)]
    kdf: KdfArgs,
    /// Make an anchor file and bind the file to it: put it on another disk, where whoever can put
    /// the file back to an older state can't put the anchor back with it. `tpm:INDEX` makes a
    /// counter in a TPM instead (see --anchor), and wants --anchor-auth
    #[arg(long, value_name = "FILE", value_parser = AnchorPlace::parser())]
    new_anchor: Option<AnchorPlace>,
    /// The file for the value that the TPM's counter counts for: made, readable by you only
    #[arg(long, value_name = "FILE", requires = "new_anchor")]
    anchor_auth: Option<PathBuf>,
}

impl Create {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        // Before anybody types a passphrase in vain.
        if self.file.symlink_metadata().is_ok() {
            return Err(OpenError::AlreadyExists(self.file).into());
        }
        let source = match &self.generate_key_file {
            Some(path) => Source::NewKeyFile(path.clone()),
            None => self.key.source("New passphrase"),
        };
        let key = source.make(self.kdf)?;
        let made = Builder::new().create(&self.file, &*key);
        if made.is_err()
            && let Source::NewKeyFile(path) = &source
        {
            // It opens nothing.
            let _ = std::fs::remove_file(path);
        }
        let db = made?;
        if let Some(anchor) = &self.new_anchor {
            let anchor = anchor.create(self.anchor_auth.as_deref())?;
            db.admin(&*key)?.bind_anchor(anchor, AnchorPolicy::default())?;
        }
        let status = db.key_status();
        db.close()?;
        let made = json!({
            "created": self.file.display().to_string(),
            "file_id": status.file_id.to_string(),
            "key_file": self.generate_key_file.as_ref().map(|path| path.display().to_string()),
            "anchor": self.new_anchor.as_ref().map(ToString::to_string),
        });
        out.done(&made, format_args!("created {}", self.file.display()))?;
        if let Some(path) = &self.generate_key_file {
            let path = path.display();
            out.remark(format_args!("its only key is in {path}: keep it apart from the file"));
        }
        if let (Source::Provider { .. }, Some(advice)) = (&source, independence::advice(&[])) {
            out.warn(advice);
        }
        Ok(())
    }
}
