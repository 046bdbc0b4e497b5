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

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

#[path = "power_cuts/every_cut.rs"]
mod every_cut;
#[path = "power_cuts/lying_disk.rs"]
mod lying_disk;
#[path = "backends/naive.rs"]
mod naive;
#[path = "power_cuts/scenarios.rs"]
mod scenarios;
#[path = "power_cuts/sweep.rs"]
mod sweep;
#[path = "power_cuts/workloads.rs"]
mod workloads;

use every_cut::Workload;
use naive::NaiveBackend;
use strongroom::Builder;
use strongroom::testkit::model::{CrashBackend, Menu, Plain, RedbOn, Room, Vault, Verdict};
use strongroom::testkit::{CrashMedium, Hole};
use sweep::{Tally, sweep};

const REPLAY: &str = "cargo test --release --features testkit --test power_cuts -- --nocapture";

/// redb on the naive layout.
type Naive = RedbOn<NaiveBackend<CrashMedium>>;

impl CrashBackend for NaiveBackend<CrashMedium> {
    const NAME: &'static str = "naive";

    fn over(medium: CrashMedium) -> Self {
        Self::new(medium)
    }
}

/// A number from the environment.
fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Prints the first failures with how to replay each.
fn report(tally: &Tally) {
    for (seed, verdict) in tally.failures.iter().take(10) {
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
    let ours = sweep::<Vault>(None, Menu::All, 0..seeds, 100);
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

/// The holes that random work finds.
const RANDOM_HOLES: [Hole; 5] = [
    Hole::H1DeadTimeline,
    Hole::H2NoSyncAtOpen,
    Hole::H3NoCacheDrop,
    Hole::H5TruncateAtOnce,
    Hole::R1CloseAfterFailedWrite,
];
/// Within so many seeds.
const RANDOM_BUDGET: u64 = 20_000;
/// The holes that a scenario of its own finds, within so many seeds.
const SCENARIO_BUDGET: u64 = 500;

type Scenario = fn(Option<Hole>, u64) -> Result<(), String>;

const SCENARIOS: [(Hole, Scenario); 6] = [
    (Hole::H6CleanRootNever, scenarios::damaged_root_after_clean_close),
    (Hole::H7LenientAlways, scenarios::damaged_old_page),
    (Hole::H13CreateUnordered, |hole, seed| scenarios::cut_in_creation(hole, seed).map(drop)),
    (Hole::H14LockLate, scenarios::second_open),
    (Hole::R2HeaderBeforePages, scenarios::own_sync_in_a_flush),
    (Hole::R3ZeroedPagesStay, scenarios::torn_slack),
];

fn replay(seed: u64) {
    let name = std::env::var("POWER_CUT_HOLE").ok();
    let named = |hole: &Hole| name.as_ref().is_some_and(|name| format!("{hole:?}").contains(name));
    let hole = RANDOM_HOLES.into_iter().find(named);
    let story = sweep::one::<Vault>(hole, Menu::All, seed);
    for line in &story.trace {
        println!("{line}");
    }
    println!("seed {seed} on {}, hole {hole:?}: {:?}", Vault::NAME, story.verdict);
    assert!(matches!(story.verdict, Verdict::Fine | Verdict::CreationCut));
}

/// The short name of a hole, for figures.
fn short(hole: Hole) -> String {
    let name = format!("{hole:?}");
    let digits = name.chars().skip(1).take_while(char::is_ascii_digit).count();
    name[..=digits].to_owned()
}

#[test]
fn planted_holes_are_caught_in_random_work() {
    for hole in RANDOM_HOLES {
        let tally = sweep::<Vault>(Some(hole), Menu::All, 0..RANDOM_BUDGET, 1);
        let Some((seed, verdict)) = tally.failures.first() else {
            panic!("{hole:?} was not caught in {RANDOM_BUDGET} seeds");
        };
        println!("figure: hole_{}_caught_at_seed = {seed}", short(hole));
        println!("{hole:?}: {verdict:?}");
        let whole = sweep::one::<Vault>(None, Menu::All, *seed).verdict;
        assert_eq!(whole, Verdict::Fine, "the same seed without the hole");
    }
}

#[test]
fn planted_holes_are_caught_by_their_scenarios() {
    for (hole, scenario) in SCENARIOS {
        let run = |hole, seed| sweep::catching(|| scenario(hole, seed)).and_then(|result| result);
        let caught = (0..SCENARIO_BUDGET)
            .find_map(|seed| run(Some(hole), seed).err().map(|error| (seed, error)));
        let Some((seed, error)) = caught else {
            panic!("{hole:?} was not caught in {SCENARIO_BUDGET} seeds");
        };
        println!("figure: hole_{}_caught_at_seed = {seed}", short(hole));
        println!("{hole:?}: {error}");
        for seed in 0..SCENARIO_BUDGET {
            let whole = run(None, seed);
            assert!(whole.is_ok(), "{hole:?}, seed {seed} without the hole: {whole:?}");
        }
    }
}

#[test]
fn a_sync_never_makes_a_tag_durable_before_its_page() {
    // Pages that are not gathered: a sync waits for those that are.
    let open = |medium| Builder::new().gathered_pages(0).open_backend_on(medium, &Vault::key());
    for seed in 0..20 {
        let result = scenarios::sync_while_a_page_is_written(open, seed);
        assert!(result.is_ok(), "seed {seed}: {result:?}");
    }
}

/// Prints what cutting a life everywhere came to, and fails where something was lost.
fn everywhere(
    name: &str,
    lives: impl Iterator<Item = Workload>,
    visit: impl Fn(&Workload) -> every_cut::Count + Sync,
) {
    let mut sum = every_cut::Count::default();
    let lives: Vec<_> = lives.collect();
    let (next, counts) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(work) = lives.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let count = visit(work);
                    counts.lock().unwrap().push((work, count));
                }
            });
        }
    });
    for (work, count) in counts.into_inner().unwrap() {
        println!(
            "{name}, {}: {} operations, {} points, {} cuts, {} in recovery",
            work.name, count.operations, count.points, count.cuts, count.nested
        );
        for (place, verdict) in count.failures.iter().take(10) {
            println!("{place}: {verdict:?}");
        }
        assert!(count.failures.is_empty(), "{} failures in {}", count.failures.len(), work.name);
        sum.operations += count.operations;
        sum.points += count.points;
        sum.cuts += count.cuts;
        sum.nested += count.nested;
        sum.unfinished += count.unfinished;
    }
    println!("figure: {name}_operations = {}", sum.operations);
    println!("figure: {name}_points = {}", sum.points);
    println!("figure: {name}_cuts = {}", sum.cuts);
    println!("figure: {name}_nested = {}", sum.nested);
    println!("figure: {name}_creation_unfinished = {}", sum.unfinished);
}

#[test]
fn ten_fixed_workloads_can_be_cut_anywhere() {
    let mut all = workloads::all();
    assert_eq!(all.len(), 10);
    if let Ok(part) = std::env::var("POWER_CUT_WORKLOAD") {
        all.retain(|work| work.name.contains(&part));
    }
    let kills_at = asked("EVERY_KILL").map_or(4, |_| 1);
    everywhere("every_cut", all.into_iter(), |work| every_cut::every_cut::<Vault>(work, kills_at));
}

#[test]
fn every_sync_and_every_write_of_them_can_fail() {
    everywhere("every_fault", workloads::all().into_iter(), every_cut::every_fault::<Vault>);
}

#[test]
fn drawn_lives_can_be_cut_anywhere() {
    let lives = asked("POWER_CUT_LIVES").unwrap_or(1);
    let lives = (0..lives).map(workloads::drawn);
    everywhere("every_cut_drawn", lives, |work| every_cut::every_cut::<Vault>(work, 4));
}

#[test]
fn a_disk_that_lies_gives_an_error_or_a_commit_never_a_mix() {
    let (mut lied, mut wrong) = (lying_disk::Lied::default(), Vec::new());
    for seed in 0..asked("POWER_CUTS").unwrap_or(2000).min(20_000) {
        let result = sweep::catching(|| lying_disk::lying_disk(seed, &mut lied));
        if let Err(error) = result.and_then(|result| result) {
            println!("seed {seed}: {error}");
            wrong.push(seed);
        }
    }
    println!("figure: lying_disk_cuts = {}", lied.cuts);
    println!("figure: lying_disk_refused = {}", lied.refused);
    println!("figure: lying_disk_older_commit = {}", lied.older);
    println!("figure: lying_disk_newest_commit = {}", lied.newest);
    assert!(wrong.is_empty(), "wrong data, or a panic, with seeds {wrong:?}");
    assert!(lied.cuts > 0 && lied.older > 0, "nothing was ever lost: the disk didn't lie");
}

#[test]
fn a_tag_published_before_its_page_is_caught() {
    let planted = |medium| {
        let mut builder = Builder::new();
        builder.gathered_pages(0).plant(Hole::H9PublishBeforeWrite);
        builder.open_backend_on(medium, &Vault::key())
    };
    let caught = (0..SCENARIO_BUDGET).find_map(|seed| {
        let result = scenarios::sync_while_a_page_is_written(planted, seed);
        result.err().map(|error| (seed, error))
    });
    let Some((seed, error)) = caught else {
        panic!("H9PublishBeforeWrite was not caught in {SCENARIO_BUDGET} seeds");
    };
    println!("figure: hole_H9_caught_at_seed = {seed}");
    println!("H9PublishBeforeWrite: {error}");
}
