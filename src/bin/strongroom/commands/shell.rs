//! `shell`: several steps in one session, with transactions.

use std::io::{self, BufRead, IsTerminal, Write, stdin};
use std::path::PathBuf;

use clap::Args;

use crate::failure::Failure;
use crate::open::OpenArgs;
use crate::output::Output;
use crate::records::EncodingArg;

mod history;
mod session;
mod words;

use history::History;
use session::{Session, Step};

/// Work on a file interactively, with transactions
///
/// Opens the file for writing and keeps it open. Lines from a pipe are a script: it stops at the
/// first line that fails, with that line's exit code, and a transaction that was not committed
/// is not stored.
///
/// The history (`history`, --history FILE) keeps verb, table and key of a line, never a value.
#[derive(Debug, Args)]
#[command(after_help = session::HELP)]
pub(crate) struct Shell {
    #[command(flatten)]
    open: OpenArgs,
    /// Add the lines of this session, without values, to this file, readable by you only
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    #[command(flatten)]
    encoding: EncodingArg,
}

impl Shell {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        let mut history = History::to(self.history.as_deref())?;
        let db = self.open.writing()?;
        let terminal = stdin().is_terminal();
        if terminal {
            out.remark("`help` lists the commands, `quit` leaves");
        }
        let mut session = Session::new(&db, self.encoding.encoding);
        let ended = lines(&mut session, &mut history, terminal, out);
        if session.abort()? {
            out.warn("the transaction was not committed: nothing of it is stored");
        }
        drop(session);
        db.close()?;
        ended
    }
}

fn lines(
    session: &mut Session<'_>,
    history: &mut History,
    terminal: bool,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut line = String::new();
    for number in 1_u64.. {
        out.flush()?;
        if terminal {
            let mark = if session.in_transaction() { "*" } else { "" };
            let _ = write!(io::stderr(), "strongroom{mark}> ");
        }
        line.clear();
        let read = stdin().lock().read_line(&mut line);
        if read.map_err(Failure::io("reading a line"))? == 0 {
            return Ok(());
        }
        let words = match words::split(&line) {
            Ok(words) => words,
            Err(what) => {
                tell(Failure::usage(what), number, terminal, out)?;
                continue;
            }
        };
        history.keep(&words)?;
        match session.step(&words, history, out) {
            Ok(Step::GoOn) => {}
            Ok(Step::Quit) => return Ok(()),
            Err(failure @ Failure::OutputClosed) => return Err(failure),
            Err(failure) => tell(failure, number, terminal, out)?,
        }
    }
    Ok(())
}

// People may try again; a script ends.
fn tell(failure: Failure, line: u64, terminal: bool, out: &mut Output) -> Result<(), Failure> {
    if terminal {
        out.flush()?;
        out.failed(&failure);
        return Ok(());
    }
    Err(match failure {
        Failure::Own { exit, what, hint } => {
            Failure::Own { exit, what: format!("line {line}: {what}"), hint }
        }
        other => other,
    })
}
