//! `key recovery`: a recovery code, shown once. It never goes to standard output by itself, which
//! may be a log.

use std::fs::File;
use std::io::Write;

use clap::Args;
use serde_json::json;
use strongroom::{RecoveryCode, SlotSpec};
use zeroize::Zeroizing;

use crate::administration::Administration;
use crate::failure::Failure;
use crate::output::Output;
use crate::prompt;
use crate::shapes;

/// Make a recovery code: 66 letters to write down and lock away, for the day when all else is lost
///
/// The code is shown once, on the terminal, or written to a file descriptor that you name; it is
/// kept nowhere. Typing it back is how you know that what is on the paper opens the file: a
/// mistake is found and its place named. Whoever has the paper opens the file, and may change its
/// key slots unless you say `--data-only`.
///
/// Later: `strongroom key test FILE --recovery-code`, or any verb with `--recovery-code`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom key recovery notes.room
  strongroom key recovery notes.room --key-file notes.key --to-fd 3 3> /media/stick/code.txt")]
pub(crate) struct Recovery {
    #[command(flatten)]
    administration: Administration,
    /// Write the code to this file descriptor, one line, instead of the terminal
    #[arg(long, value_name = "N")]
    to_fd: Option<u32>,
    /// Don't ask to have it typed back
    #[arg(long)]
    no_check: bool,
    /// Its holder reads and writes data, and changes no key slots
    #[arg(long)]
    data_only: bool,
    /// The slot's label
    #[arg(long, value_name = "TEXT", default_value = "recovery")]
    label: String,
}

/// How often a code may be mistyped.
const TRIES: usize = 3;

impl Recovery {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        let spec = match self.data_only {
            true => SlotSpec::data(&self.label),
            false => SlotSpec::admin(&self.label),
        };
        let administered = self.administration.begin()?;
        let mut session = administered.session()?;
        let code = RecoveryCode::generate()?;
        // Enrolled first: a code that is written down opens the file. One that nobody could be
        // shown, or typed back, is taken away again.
        let id = session.add(&spec, &code)?;
        if let Err(failure) = self.show_and_check(&code) {
            session.remove(id)?;
            drop(session);
            administered.db.close()?;
            out.remark("the code opens nothing: its slot was taken away again");
            return Err(failure);
        }
        drop(session);
        let slot = administered.slot(&id.0.to_string())?;
        administered.db.close()?;
        let added = json!({ "added": shapes::slot_json(&slot) });
        out.done(&added, format_args!("added {}", shapes::slot_line(&slot)))?;
        if self.to_fd.is_none() {
            out.remark("it still stands in the scrollback of this terminal: clear that");
        }
        Ok(())
    }

    fn show_and_check(&self, code: &RecoveryCode) -> Result<(), Failure> {
        let text = Zeroizing::new(code.reveal().to_string());
        let Some(fd) = self.to_fd else {
            let mut terminal = File::options().write(true).open("/dev/tty").map_err(|error| {
                Failure::usage(format!("there is no terminal to show a recovery code on: {error}"))
                    .hint("name a descriptor with --to-fd N, as in `--to-fd 3 3> code.txt`")
            })?;
            let shown = Zeroizing::new(format!(
                "\nThe recovery code. It is shown this once; write it down:\n\n    {}\n\n",
                text.as_str()
            ));
            let written = terminal.write_all(shown.as_bytes());
            written.map_err(Failure::io("showing the recovery code"))?;
            return if self.no_check { Ok(()) } else { check(code) };
        };
        let doing = || Failure::io(format!("writing the code to descriptor {fd}"));
        let opened = File::options().write(true).open(format!("/dev/fd/{fd}"));
        let mut file = opened.map_err(|error| {
            Failure::usage(format!("descriptor {fd} can't be written to: {error}"))
                .hint("open it for the command, as in `--to-fd 3 3> code.txt`")
        })?;
        let line = Zeroizing::new(format!("{}\n", text.as_str()));
        file.write_all(line.as_bytes()).map_err(doing())?;
        // A pipe can't be synced, and needs not.
        let _ = file.sync_all();
        Ok(())
    }
}

// What was written down is what was shown.
fn check(code: &RecoveryCode) -> Result<(), Failure> {
    let shown = Zeroizing::new(code.reveal().to_string());
    let mut tries = 1;
    loop {
        let typed = prompt::secret("Type it from your paper (it is not shown)")?;
        let failure: Failure = match RecoveryCode::parse(&typed) {
            Ok(typed) if *Zeroizing::new(typed.reveal().to_string()) == *shown => return Ok(()),
            Ok(_) => Failure::usage("that is a recovery code, but not this one"),
            Err(error) => error.into(),
        };
        if tries == TRIES {
            return Err(Failure::usage(failure.what().unwrap_or_default()));
        }
        tries += 1;
        let _ = writeln!(std::io::stderr(), "{}", failure.what().unwrap_or_default());
    }
}
