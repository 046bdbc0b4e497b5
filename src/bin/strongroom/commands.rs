//! One file a verb: its arguments, its help text and what it does.

pub(crate) mod backup;
pub(crate) mod compact;
pub(crate) mod create;
pub(crate) mod decrypt;
pub(crate) mod encrypt;
pub(crate) mod key;
pub(crate) mod restore;
pub(crate) mod revoke;
pub(crate) mod rotate;
pub(crate) mod salvage;
pub(crate) mod status;

use crate::args::Verb;
use crate::failure::Failure;
use crate::output::Output;

pub(crate) fn run(verb: Verb, out: &mut Output) -> Result<(), Failure> {
    match verb {
        Verb::Create(verb) => verb.run(out),
        Verb::Status(verb) => verb.run(out),
        Verb::Key(verb) => verb.run(out),
        Verb::Rotate(verb) => verb.run(out),
        Verb::Revoke(verb) => verb.run(out),
        Verb::Encrypt(verb) => verb.run(out),
        Verb::Decrypt(verb) => verb.run(out),
        Verb::Backup(verb) => verb.run(out),
        Verb::Restore(verb) => verb.run(out),
        Verb::Salvage(verb) => verb.run(out),
        Verb::Compact(verb) => verb.run(out),
    }
}
