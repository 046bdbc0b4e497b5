//! `salvage`: what still authenticates of a damaged file goes into a new one.

use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use strongroom::{
    PageRange, SalvageHow, SalvageOptions, SalvageProgress, SalvageReport, SalvageStage,
    SalvageTarget, SavedAs, SavedCommit, TableReport,
};

use crate::administration::NewKey;
use crate::credential::NewCredentialArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::open::OpenArgs;
use crate::output::{Output, plain};

/// Save what can be saved of a damaged file into a new one; the damaged one is only read
///
/// Every row that comes out was in one and the same commit, and is as it was written: nothing that
/// doesn't authenticate is saved. The report says what is missing. A backup is better, where there
/// is one.
///
/// The new file opens with the same credential unless a --new-... option is given. Keep the damaged
/// one until you know that you need no more of it.
///
/// Exit code 0 where everything was saved, 4 where something is missing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom salvage broken.room saved.room
  strongroom salvage broken.room saved.room --json | jq '.tables[] | {name, saved, rows}'
  strongroom salvage broken.room saved.redb --plain")]
pub(crate) struct Salvage {
    #[command(flatten)]
    open: OpenArgs,
    /// The file to make
    #[arg(value_name = "NEW")]
    target: PathBuf,
    /// Make a plain redb file, in the clear
    #[arg(long)]
    plain: bool,
    /// In which form to save
    #[arg(long = "as", value_name = "FORM", default_value = "auto")]
    form: Form,
    /// Ask for a new passphrase for the new file
    #[arg(long, help_heading = "New key", group = "new_credential")]
    new_passphrase: bool,
    #[command(flatten)]
    new: NewCredentialArgs,
}

/// In which form to save.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Every page, where all trees are whole; else tables made anew
    Auto,
    /// Tables made anew, with every row that can be reached
    Tables,
    /// Every page that can be read, whatever redb makes of it: for tools that look into broken files
    Image,
}

impl Salvage {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        if self.plain && (self.new_passphrase || self.new.is_given()) {
            return Err(Failure::usage("a plain file has no key: leave --plain or the key out"));
        }
        // Before anybody types a passphrase in vain. Not `inspect`ed: the header may be damaged.
        if self.target.symlink_metadata().is_ok() {
            return Err(Failure::exists(&self.target));
        }
        if self.open.file.symlink_metadata().is_err() {
            return Err(strongroom::OpenError::NotFound(self.open.file).into());
        }
        let builder = self.open.builder()?;
        let key = self.open.credential.read("Passphrase")?;
        let readable = self.open.credential.key.allow_readable_key_file;
        let wants_new = self.new_passphrase || self.new.is_given();
        let new = wants_new.then(|| NewKey::make(&self.new, readable)).transpose()?;
        let target = match (&new, self.plain) {
            (_, true) => SalvageTarget::Plain(self.target.clone()),
            (Some(new), _) => SalvageTarget::Encrypted(self.target.clone(), &*new.credential),
            (None, _) => SalvageTarget::Encrypted(self.target.clone(), &*key),
        };
        let interrupt = Interrupt::watch()?;
        let progress = out.progress("looking at", "pages");
        let shown = progress.clone();
        let options = SalvageOptions::new().how(self.how()).progress(move |now| {
            let SalvageProgress { stage, done, total, .. } = now;
            shown.phase(doing(stage));
            shown.at(done, total);
            if interrupt.came() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let saved = builder.salvage(&self.open.file, &*key, target, options);
        progress.end();
        let saved = saved.map_err(|error| match error {
            strongroom::SalvageError::Stopped => {
                Failure::new(Exit::Interrupted, "interrupted: there is no new file")
            }
            error => error.into(),
        });
        let report = match &new {
            Some(new) => new.keep_if(saved)?,
            None => saved?,
        };
        out.either(&to_json(&report), plain(&report.to_string()))?;
        out.flush()?;
        if self.plain {
            out.warn("the new file is in the clear, for everybody who can read it or the disk");
        }
        match report.is_complete() {
            true => Ok(()),
            false => Err(Failure::Verdict(Exit::Damaged)),
        }
    }

    fn how(&self) -> SalvageHow {
        match self.form {
            Form::Auto => SalvageHow::Auto,
            Form::Tables => SalvageHow::Tables,
            Form::Image => SalvageHow::Image,
        }
    }
}

fn doing(stage: SalvageStage) -> &'static str {
    match stage {
        SalvageStage::Surveying | SalvageStage::ReadingPages => "reading pages",
        SalvageStage::SearchingTables => "searching for tables in pages",
        SalvageStage::CopyingPages => "copying pages",
        SalvageStage::SavingRows => "saving rows",
        SalvageStage::Checking => "checking the new file",
        _ => "saving",
    }
}

fn to_json(report: &SalvageReport) -> Value {
    let commit = match report.commit {
        SavedCommit::Last => "last",
        SavedCommit::Before => "before",
        SavedCommit::Found => "found",
    };
    let form = match report.saved_as {
        SavedAs::Image => "image",
        SavedAs::Tables => "tables",
        SavedAs::BrokenImage => "broken_image",
    };
    json!({
        "complete": report.is_complete(),
        "saved_as": form,
        "no_image": report.no_image,
        "sync": report.sync.map(|sync| sync.0),
        "passed_over": report.passed_over.map(|sync| sync.0),
        "commit": commit,
        "transaction": report.transaction,
        "headers": report.headers,
        "roots": report.roots,
        "pages": report.pages,
        "readable_pages": report.readable_pages,
        "lost_pages": report.lost_pages.iter().map(range_json).collect::<Vec<_>>(),
        "tables_recorded": report.tables_recorded,
        "tables_lost": report.tables_lost,
        "rows_saved": report.rows_saved(),
        "rows_recorded": report.rows_recorded(),
        "tables": report.tables.iter().map(table_json).collect::<Vec<_>>(),
    })
}

fn range_json(range: &PageRange) -> Value {
    json!({ "first": range.first.0, "pages": range.pages, "why": range.to_string() })
}

fn table_json(table: &TableReport) -> Value {
    json!({
        "name": table.name,
        "multimap": table.multimap,
        "key_type": table.key_type,
        "value_type": table.value_type,
        "rows": table.rows,
        "saved": table.saved,
        "refused": table.refused,
        "older": table.older,
        "lost": table.lost.iter().map(range_json).collect::<Vec<_>>(),
    })
}
