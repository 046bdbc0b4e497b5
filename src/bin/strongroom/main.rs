//! The command line of strongroom: a thin shell over the library's public API (docs/cli.md).
//!
//! Keys never stand in the arguments (`credential`), every failure has an exit code (`exit`) and a
//! text that says what to do next in the words of the command line (`wording`), results go to
//! standard output and everything else to standard error (`output`). One file a verb, in
//! `commands`.

mod administration;
mod anchor;
mod args;
mod cells;
mod commands;
mod credential;
mod exit;
mod failure;
mod independence;
mod interrupt;
mod new_file;
mod open;
mod output;
mod progress;
mod prompt;
mod records;
mod shapes;
mod wording;

use std::process::ExitCode;

use clap::Parser;

use args::Cli;
use output::Output;

fn main() -> ExitCode {
    #[cfg(feature = "tpm")]
    credential::tpm::hush_its_library();
    // Wrong arguments end here, with exit code 2.
    let cli = Cli::parse();
    // No core dump and no debugger sees keys. Where the system says no, it works all the same.
    let _ = strongroom::harden_process();
    let mut out = Output::new(&cli.global);
    let done = commands::run(cli.verb, &mut out).and_then(|()| out.flush());
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // What was printed before it failed is not lost.
            let _ = out.flush();
            out.failed(&failure);
            ExitCode::from(failure.exit().code())
        }
    }
}
