//! A vault: every regular file of a directory tree in one encrypted database, read back and
//! compared. The program to look at for how strongroom is used; it is also the test on real input.
//!
//! ```text
//! cargo run --release --example vault -- store vault.room DIR...
//! cargo run --release --example vault -- check vault.room [DIR...]
//! cargo run --release --example vault -- list  vault.room
//! cargo run --release --example vault -- get   vault.room PATH [OUT]
//! ```
//!
//! The key comes from a file (`--key-file`) or a file descriptor (`--passphrase-fd`), never from
//! the command line, which every user of the machine can read.

mod args;
mod check;
mod failure;
mod get;
mod key;
mod progress;
mod report;
mod store;
mod tables;
mod tree;
mod vault;

use std::io::{self, Write};
use std::process::ExitCode;

use args::Command;
use failure::Failure;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough.
        Err(Failure::OutputClosed) => ExitCode::FAILURE,
        Err(failure) => {
            // With standard error gone as well there is nobody left to tell.
            let _ = writeln!(io::stderr(), "vault: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    match args::parse(std::env::args_os().skip(1))? {
        Command::Help => report::line(args::USAGE),
        Command::Store { vault, directories, key, add } => {
            store::run(&vault, &directories, &key, add)
        }
        Command::Check { vault, directories, key } => check::run(&vault, &directories, &key),
        Command::List { vault, key } => get::list(&vault, &key),
        Command::Get { vault, key, path, out } => get::get(&vault, &key, &path, out.as_deref()),
    }
}
