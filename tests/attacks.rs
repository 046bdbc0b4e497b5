//! Shows that an attacker without a key, who has the file as it was after every sync, gets errors
//! or the current data and nothing else: the rows of docs/threat-model.md, one test each, and
//! every older version of every page of a 200-commit history put back, singly and in mixes, beside
//! a naive encrypting backend and plain redb, which read other data in silence.
//!
//! `ATTACKS=all cargo test --release --features testkit --test attacks -- --nocapture` runs ten
//! times as many mixes and random attacks. `ATTACK_ON='small, clean' ATTACK='zero pages 20..22'`
//! with the same command replays one: pages and states are those of the seeded work, though keys
//! and nonces are new each time.
#![cfg(feature = "testkit")]
#![allow(unreachable_pub, reason = "the modules of a test have no outside")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "test code: a panic is a failed test, and sizes are small"
)]

use strongroom::testkit::Attack;

#[path = "attacks/judge.rs"]
mod judge;
#[path = "attacks/mixes.rs"]
mod mixes;
#[path = "backends/naive.rs"]
mod naive;
#[path = "attacks/others.rs"]
mod others;
#[path = "backends/plain.rs"]
mod plain;
#[path = "attacks/replaced.rs"]
mod replaced;
#[path = "attacks/rows.rs"]
mod rows;
#[path = "attacks/victim.rs"]
mod victim;

const REPLAY: &str = "cargo test --release --features testkit --test attacks one -- --nocapture";

/// So many random attacks instead of the usual number; a twentieth of it in a debug build.
fn many(usual: u64) -> u64 {
    let all = std::env::var("ATTACKS").is_ok_and(|attacks| attacks == "all");
    let debug = if cfg!(debug_assertions) { 20 } else { 1 };
    usual * if all { 10 } else { 1 } / debug
}

#[test]
fn one_attack_is_replayed() {
    let (Ok(name), Ok(attack)) = (std::env::var("ATTACK_ON"), std::env::var("ATTACK")) else {
        return;
    };
    let attack: Attack = attack.parse().unwrap();
    let victims = [victim::small(false), victim::small(true), victim::big()];
    let victim = victims.iter().flatten().find(|victim| victim.name == name).unwrap();
    let verdict = judge::verdict(victim, &attack, true);
    println!("{name}: {:?} ({}), {:?}", verdict.outcome, verdict.error, verdict.recovery);
    assert!(verdict.outcome < judge::Outcome::Wrong);
}
