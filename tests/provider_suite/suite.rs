//! The conformance suite of credentials: every case of one kind of credential, on a [`World`] of
//! its own each, in a table that says of each case how it was answered or why it does not apply.
//!
//! A test binary names this file by `#[path = "provider_suite/suite.rs"] mod suite;`, implements
//! [`World`], and calls [`run`]. Only with the feature `testkit`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

#[path = "absent.rs"]
mod absent;
#[path = "cuts.rs"]
mod cuts;
#[path = "file.rs"]
mod file;
#[path = "refusals.rs"]
mod refusals;
#[path = "world.rs"]
mod world;

pub use world::{Answer, Case, DoesNotApply, When, World};

type Run = fn(&dyn World) -> Case<String>;

const CASES: [(&str, Run); 16] = [
    ("enrol", refusals::enrol),
    ("open", refusals::open),
    ("wrong credential", refusals::wrong_credential),
    ("another key", refusals::another_key),
    ("replaced key", refusals::replaced_key),
    ("tampered blob", refusals::tampered_blob),
    ("blob of another slot", refusals::blob_of_another_slot),
    ("blob of another file", refusals::blob_of_another_file),
    ("provider gone at open", absent::gone_at_open),
    ("provider gone in use", absent::gone_in_use),
    ("slow provider", absent::slow),
    ("revoked key", refusals::revoked_key),
    ("root-key rotation, provider absent", absent::root_key_rotation),
    ("removal with effacement", refusals::effacement),
    ("power cuts in enrolment", cuts::enrolment),
    ("power cuts in effacement", cuts::effacement),
];

/// Runs all cases and prints the table. `not_applying` names the cases that this kind of credential
/// has no way to stage: those and no others.
///
/// # Panics
/// Where a case fails, or where one does not apply that should, or the other way round.
pub fn run(make: &dyn Fn() -> Box<dyn World>, not_applying: &[&str]) {
    let name = make().name();
    let mut table = format!("conformance suite: {name}\n");
    let (mut shown, mut failed, mut passed_over) = (0, Vec::new(), Vec::new());
    for (case, run) in CASES {
        let began = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| run(&*make())));
        let took = began.elapsed().as_millis();
        let row = match outcome {
            Ok(Ok(how)) => {
                shown += 1;
                format!("{took:>5} ms  {how}")
            }
            Ok(Err(DoesNotApply(why))) => {
                passed_over.push(case);
                format!("{:>8}  does not apply: {why}", "")
            }
            Err(_) => {
                failed.push(case);
                format!("{took:>5} ms  FAILED")
            }
        };
        table += &format!("  {case:<36}{row}\n");
    }
    // At once, since tests print side by side.
    println!("{table}figure: conformance suite, {name}, cases shown = {shown}");
    println!("figure: conformance suite, {name}, do not apply = {}", passed_over.len());
    println!("figure: conformance suite, {name}, failed = {}", failed.len());
    assert!(failed.is_empty(), "{name}: {failed:?}");
    assert_eq!(passed_over, not_applying, "{name}: these do not apply");
}
