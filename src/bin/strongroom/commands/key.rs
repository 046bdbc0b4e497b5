//! `key`: who opens a file. One file a verb.

mod add;
mod date;
mod header;
mod list;
mod recovery;
mod remove;
mod replace;
mod set;
mod test;

use clap::Subcommand;

use crate::failure::Failure;
use crate::output::Output;

/// List, add, replace, remove and test the keys that open a file; back its header up
///
/// A file has up to twelve key slots, each opened by one credential: a passphrase, a key file, a
/// raw key, a recovery code. A data slot reads and writes; an admin slot changes slots as well.
/// None of these verbs touches the data, and each costs the same for any size of file.
///
/// Removing a slot is enough for a credential that nobody else has known. Where somebody has,
/// `strongroom revoke` it: he may have kept the keys behind it.
#[derive(Debug, Subcommand)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) enum Key {
    List(list::List),
    Add(add::Add),
    Remove(remove::Remove),
    Replace(replace::Replace),
    Set(set::Set),
    Test(test::Test),
    Recovery(recovery::Recovery),
    ExportHeader(header::ExportHeader),
    RestoreHeader(header::RestoreHeader),
    RecoverHeader(header::RecoverHeader),
}

impl Key {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        match self {
            Self::List(verb) => verb.run(out),
            Self::Add(verb) => verb.run(out),
            Self::Remove(verb) => verb.run(out),
            Self::Replace(verb) => verb.run(out),
            Self::Set(verb) => verb.run(out),
            Self::Test(verb) => verb.run(out),
            Self::Recovery(verb) => verb.run(out),
            Self::ExportHeader(verb) => verb.run(out),
            Self::RestoreHeader(verb) => verb.run(out),
            Self::RecoverHeader(verb) => verb.run(out),
        }
    }
}
