//! The arguments that all verbs share, and the list of verbs. What a verb takes is in its own file.

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::{
    backup, bench, compact, completions, create, decrypt, del, dump, encrypt, get, inspect, key,
    load, man, prove, put, restore, revoke, rotate, salvage, scan, shell, status, tables, verify,
};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().bold())
    .usage(AnsiColor::Yellow.on_default().bold())
    .literal(AnsiColor::Green.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

/// Printed below the list of verbs.
const AFTER_HELP: &str = "\
First steps:
  strongroom create notes.room                        asks for a passphrase, twice
  strongroom put notes.room notes today 'rain' --create str:str
  strongroom get notes.room notes today
  strongroom key recovery notes.room                  a code to write down and lock away
  strongroom backup notes.room backups/               each call adds what has changed
  strongroom encrypt old.redb new.room                a plain redb file that you have

Keys: asked for on the terminal, or --key-file FILE, --passphrase-fd N, --key-env NAME. A key is
never an argument: others can read the arguments of your processes.

Exit codes:
   0 done             5 rolled back            10 input or output failed
   1 anything else    6 in use elsewhere       11 not closed cleanly: needs --recover
   2 wrong arguments  7 not found              12 a key service or anchor is not there
   3 wrong key        8 exists already         13 refused: by policy, or as things stand
   4 damaged          9 not a strongroom file  14 looks like plaintext (prove)
                                               130 stopped by Ctrl-C, can be gone on with

`strongroom VERB --help` says more about each.";

/// Keep data in encrypted files: every page sealed with AES-256-GCM-SIV, every change noticed.
#[derive(Debug, Parser)]
#[command(
    name = "strongroom",
    version,
    styles = STYLES,
    after_help = AFTER_HELP,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What every verb takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// Print results as JSON, for programs; a failure is one JSON object on standard error
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print results and failures only: no remarks, no progress
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// When to use colours; `auto`: on a terminal, unless NO_COLOR is set
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true
    )]
    pub(crate) color: When,
    /// How long work says how far it is; `auto`: a bar on a terminal, else a line now and then
    #[arg(
        long,
        global = true,
        value_name = "HOW",
        default_value = "auto",
        hide_default_value = true
    )]
    pub(crate) progress: ProgressMode,
}

/// When to do something about a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}

/// How long work says how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    Auto,
    /// A bar that is drawn over and over
    Bar,
    /// A line at each tenth
    Lines,
    None,
}

/// What to do.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one in the life of the process")]
pub(crate) enum Verb {
    Create(create::Create),
    Inspect(inspect::Inspect),
    Status(status::Status),
    Verify(verify::Verify),
    Prove(prove::Prove),
    Tables(tables::Tables),
    Get(get::Get),
    Put(put::Put),
    Del(del::Del),
    Scan(scan::Scan),
    Load(load::Load),
    Dump(dump::Dump),
    Shell(shell::Shell),
    #[command(subcommand)]
    Key(key::Key),
    Rotate(rotate::Rotate),
    Revoke(revoke::Revoke),
    Encrypt(encrypt::Encrypt),
    Decrypt(decrypt::Decrypt),
    Backup(backup::Backup),
    Restore(restore::Restore),
    Salvage(salvage::Salvage),
    Compact(compact::Compact),
    Bench(bench::Bench),
    Completions(completions::Completions),
    Man(man::Man),
}
