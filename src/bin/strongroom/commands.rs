//! One file a verb: its arguments, its help text and what it does.

pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod compact;
pub(crate) mod completions;
pub(crate) mod create;
pub(crate) mod decrypt;
pub(crate) mod del;
pub(crate) mod dump;
pub(crate) mod encrypt;
pub(crate) mod get;
pub(crate) mod inspect;
pub(crate) mod key;
pub(crate) mod load;
pub(crate) mod man;
pub(crate) mod prove;
pub(crate) mod put;
pub(crate) mod restore;
pub(crate) mod revoke;
pub(crate) mod rotate;
pub(crate) mod salvage;
pub(crate) mod scan;
pub(crate) mod shell;
pub(crate) mod status;
pub(crate) mod tables;
pub(crate) mod verify;

use crate::args::Verb;
use crate::failure::Failure;
use crate::output::Output;

pub(crate) fn run(verb: Verb, out: &mut Output) -> Result<(), Failure> {
    match verb {
        Verb::Create(verb) => verb.run(out),
        Verb::Inspect(verb) => verb.run(out),
        Verb::Status(verb) => verb.run(out),
        Verb::Verify(verb) => verb.run(out),
        Verb::Prove(verb) => verb.run(out),
        Verb::Tables(verb) => verb.run(out),
        Verb::Get(verb) => verb.run(out),
        Verb::Put(verb) => verb.run(out),
        Verb::Del(verb) => verb.run(out),
        Verb::Scan(verb) => verb.run(out),
        Verb::Load(verb) => verb.run(out),
        Verb::Dump(verb) => verb.run(out),
        Verb::Shell(verb) => verb.run(out),
        Verb::Key(verb) => verb.run(out),
        Verb::Rotate(verb) => verb.run(out),
        Verb::Revoke(verb) => verb.run(out),
        Verb::Encrypt(verb) => verb.run(out),
        Verb::Decrypt(verb) => verb.run(out),
        Verb::Backup(verb) => verb.run(out),
        Verb::Restore(verb) => verb.run(out),
        Verb::Salvage(verb) => verb.run(out),
        Verb::Compact(verb) => verb.run(out),
        Verb::Bench(verb) => verb.run(out),
        Verb::Completions(verb) => verb.run(out),
        Verb::Man(verb) => verb.run(out),
    }
}
