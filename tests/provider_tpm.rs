//! Shows what a TPM's slot and a TPM's counter promise, on swtpm, a real TPM 2.0 in software: one
//! process for each test, on loopback. Where swtpm isn't installed the tests say so and pass, unless
//! `CI` is set.
//!
//! The TSS library writes every refusal to standard error unless `TSS2_LOG` tells it not to, and a
//! process can't set its own environment without unsafe code: each test runs in a child.
#![cfg(all(feature = "testkit", feature = "tpm"))]
#![allow(unreachable_pub, reason = "the modules of a test have no outside")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

use std::env;
use std::process::Command;

#[path = "provider_tpm/conformance.rs"]
mod conformance;
#[path = "provider_tpm/counter.rs"]
mod counter;
#[path = "provider_tpm/cuts.rs"]
mod cuts;
#[path = "provider_tpm/slots.rs"]
mod slots;
#[path = "provider_suite/suite.rs"]
mod suite;
#[path = "provider_tpm/swtpm.rs"]
mod swtpm;
#[path = "provider_tpm/wire.rs"]
mod wire;

/// Runs one test in a child process that has the library be silent.
fn in_silence(test: &str, body: fn()) {
    if !swtpm::installed() {
        return;
    }
    if env::var_os("TSS2_LOG").is_some() {
        return body();
    }
    let child = Command::new(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--quiet"])
        .env("TSS2_LOG", "all+NONE")
        .output()
        .unwrap();
    print!("{}", String::from_utf8_lossy(&child.stdout));
    eprint!("{}", String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success(), "{test}");
}

macro_rules! tests {
    ($($room:ident: $($name:ident)+;)+) => {$($(
        #[test]
        fn $name() {
            in_silence(stringify!($name), $room::$name);
        }
    )+)+};
}

tests! {
    slots:
        a_slot_opens_for_the_pin_on_this_tpm_after_a_restart_too
        a_wrong_pin_costs_one_attempt_and_a_locked_tpm_says_for_how_long
        the_pcrs_are_part_of_it_where_asked
        a_cleared_tpm_and_another_one_say_so_and_the_recovery_slot_opens
        a_key_of_its_own_can_be_effaced
        an_owner_with_an_authorisation_value_is_asked_for_it
        what_makes_no_sense_is_refused_before_the_tpm_is_asked
        nothing_on_the_wire_is_the_secret;
    counter:
        a_counter_counts_by_one_and_never_down
        only_the_authorisation_value_counts_and_it_locks_nobody_out
        a_counter_that_is_made_anew_is_another_one_and_above_all_that_were
        a_whole_file_that_is_put_back_is_refused
        a_cleared_tpm_is_told_and_the_file_can_be_taken_with_a_new_counter
        a_tpm_that_restarts_in_use_costs_no_commit
        a_count_that_was_given_up_is_counted_once
        a_cut_between_file_and_counter_is_healed;
    cuts:
        enrolment_cut_at_every_command
        opening_cut_at_every_command
        a_key_cut_at_every_command_of_its_making_and_effacement
        a_counter_cut_at_every_command_of_its_making_and_removal;
    conformance:
        the_suite_of_all_credentials;
}
