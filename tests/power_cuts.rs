//! Simulated power cuts, kills and failed syncs over random work, on strongroom, on plain redb
//! and on a naive encrypting backend that must lose databases, or the harness would show nothing.
//!
//! `POWER_CUTS=100000 cargo test --release --features testkit --test power_cuts -- --nocapture`
//! runs that many seeds; `POWER_CUT_SEED=n` replays one with everything it did.
#![cfg(feature = "testkit")]
#![allow(unreachable_pub, reason = "the modules of a test have no outside")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "test code: a panic is a failed test, and sizes are small"
)]

use std::time::Instant;

#[path = "power_cuts/life.rs"]
mod life;
#[path = "power_cuts/model.rs"]
mod model;
#[path = "power_cuts/naive.rs"]
mod naive;
#[path = "power_cuts/room.rs"]
mod room;
#[path = "power_cuts/sweep.rs"]
mod sweep;
#[path = "power_cuts/vault.rs"]
mod vault;
#[path = "power_cuts/workload.rs"]
mod workload;

use life::Menu;
use room::{Naive, Plain, Room};
use strongroom::testkit::Hole;
use sweep::{Tally, sweep};
use vault::Vault;

const REPLAY: &str = "cargo test --release --features testkit --test power_cuts -- --nocapture";

/// A number from the environment.
fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Prints the first failures with how to replay each.
fn report(tally: &Tally) {
    for (seed, verdict) in
        tally.failures.iter().filter(|f| !format!("{f:?}").contains("NotStrong")).take(10)
    {
        println!("seed {seed}: {verdict:?}\n  replay: POWER_CUT_SEED={seed} {REPLAY}");
    }
}

#[test]
fn returned_commits_survive_every_crash() {
    if let Some(seed) = asked("POWER_CUT_SEED") {
        return replay(seed);
    }
    let seeds = asked("POWER_CUTS").unwrap_or(2000);
    let started = Instant::now();
    let ours = sweep::<Vault>(None, Menu::All, 0..seeds, 10000);
    ours.print("power_cuts", started);
    report(&ours);

    let few = (seeds / 10).max(200);
    let started = Instant::now();
    let plain = sweep::<Plain>(None, Menu::PowerCuts, 0..few, usize::MAX);
    plain.print("power_cuts_plain_redb", started);
    report(&plain);
    let started = Instant::now();
    let naive = sweep::<Naive>(None, Menu::PowerCuts, 0..few, usize::MAX);
    naive.print("power_cuts_naive", started);

    assert_eq!(ours.bad(), 0, "strongroom lost, broke or stopped a database");
    assert_eq!(plain.bad(), 0, "plain redb withstands power cuts: the simulator is wrong");
    assert!(naive.bad() > 0, "the naive layout must lose databases: the harness doesn't bite");
}

fn replay(seed: u64) {
    let hole = std::env::var("POWER_CUT_HOLE").ok().and_then(|name| {
        [
            Hole::H1DeadTimeline,
            Hole::H2NoSyncAtOpen,
            Hole::H3NoCacheDrop,
            Hole::H5TruncateAtOnce,
            Hole::H7LenientAlways,
        ]
        .into_iter()
        .find(|hole| format!("{hole:?}").starts_with(&name))
    });
    let story = sweep::one::<Vault>(hole, Menu::All, seed);
    for line in &story.trace {
        println!("{line}");
    }
    println!("seed {seed} on {}, hole {hole:?}: {:?}", Vault::NAME, story.verdict);
    assert!(matches!(story.verdict, life::Verdict::Fine | life::Verdict::CreationCut));
}
