//! One file a verb: its arguments, its help text and what it does.

pub(crate) mod create;
pub(crate) mod status;

use crate::args::Verb;
use crate::failure::Failure;
use crate::output::Output;

pub(crate) fn run(verb: Verb, out: &mut Output) -> Result<(), Failure> {
    match verb {
        Verb::Create(verb) => verb.run(out),
        Verb::Status(verb) => verb.run(out),
    }
}
