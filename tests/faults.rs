//! Shows that a medium that goes wrong gives typed errors or right data, never wrong data and never
//! a panic, and that the file opens at the last commit once the fault is gone: failed and short
//! reads and writes at every operation on every kind of object, failed syncs and resizes, disks
//! full at every point of a commit, bit rot in every sector, writes that are lost or land
//! elsewhere, syncs that lie, and memory that runs out.
//!
//! A failing case prints one line; `FAULT='use, seed 1: write error in tag page once after 3'` with
//! `cargo test --release --features testkit --test faults one -- --nocapture` replays it.
//! `FAULTS=all` runs four seeds instead of one and every bit of rot instead of one in a sector.
#![cfg(feature = "testkit")]
#![allow(unreachable_pub, reason = "the modules of a test have no outside")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "test code: a panic is a failed test, and sizes are small"
)]

use std::collections::BTreeMap;
use std::sync::Mutex;

#[path = "faults/case.rs"]
mod case;
#[path = "faults/memory.rs"]
mod memory;
#[path = "faults/rot.rs"]
mod rot;
#[path = "faults/work.rs"]
mod work;

use case::{Case, Phase};
use work::{Outcome, base, run};

const THREADS: usize = 2;
const REPLAY: &str = "cargo test --release --features testkit --test faults one -- --nocapture";
/// Places that objects of one kind take.
const PLACES: [&str; 5] = ["", " in header", " in root record", " in tag page", " in data page"];

fn is_all() -> bool {
    std::env::var("FAULTS").is_ok_and(|faults| faults == "all")
}

fn seeds() -> std::ops::Range<u64> {
    if is_all() { 1..5 } else { 1..2 }
}

#[derive(Default, Debug)]
struct Tally {
    cases: u64,
    outcomes: BTreeMap<Outcome, u64>,
    failures: Vec<String>,
}

impl Tally {
    fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(&outcome).copied().unwrap_or(0)
    }

    /// `true` where the fault hit something.
    fn count(&mut self, case: &Case, result: Result<(Outcome, bool), String>) -> bool {
        match result {
            Ok((_, false)) => return false,
            Ok((outcome, true)) => *self.outcomes.entry(outcome).or_default() += 1,
            Err(why) => {
                self.failures.push(format!("{case}\n  {why}\n  replay: FAULT='{case}' {REPLAY}"))
            }
        }
        self.cases += 1;
        true
    }

    fn print(&self, what: &str) {
        self.failures.iter().take(10).for_each(|failure| println!("{failure}"));
        println!("figure: faults, {what}, cases = {}", self.cases);
        for (outcome, count) in &self.outcomes {
            println!("figure: faults, {what}, {outcome:?} = {count}");
        }
        println!(
            "figure: faults, {what}, wrong data, lost commits, panics = {}",
            self.failures.len()
        );
        assert!(self.failures.is_empty(), "{what}: {} failures", self.failures.len());
    }
}

/// Runs each fault at its first operation, its second one, and so on until there is none left.
fn at_every_operation(what: &str, phases: &[Phase], faults: &[String]) -> Tally {
    let mut series: Vec<(Phase, u64, &String)> = Vec::new();
    for phase in phases {
        for seed in seeds() {
            series.extend(faults.iter().map(|fault| (*phase, seed, fault)));
        }
    }
    let tally = each_series(&series, |(phase, seed, fault), tally| {
        for passing in 0.. {
            let plan = format!("{fault} once after {passing}").parse().unwrap();
            let case = Case { phase: *phase, seed: *seed, plan };
            if !tally.count(&case, run(&case)) || tally.failures.len() > 20 {
                break;
            }
        }
    });
    tally.print(what);
    tally
}

fn each_series<T: Sync>(series: &[T], run: impl Fn(&T, &mut Tally) + Sync) -> Tally {
    let all = Mutex::new(Tally::default());
    let (all_ref, run) = (&all, &run);
    std::thread::scope(|scope| {
        for first in 0..THREADS {
            scope.spawn(move || {
                let mut tally = Tally::default();
                series.iter().skip(first).step_by(THREADS).for_each(|one| run(one, &mut tally));
                let mut all = all_ref.lock().unwrap();
                all.cases += tally.cases;
                all.failures.extend(tally.failures);
                for (outcome, count) in tally.outcomes {
                    *all.outcomes.entry(outcome).or_default() += count;
                }
            });
        }
    });
    all.into_inner().unwrap()
}

fn everywhere(faults: &[&str]) -> Vec<String> {
    let each = |fault: &&str| PLACES[1..].iter().map(|place| format!("{fault}{place}")).collect();
    faults.iter().flat_map(|fault| -> Vec<String> { each(fault) }).collect()
}

#[test]
fn one_case_is_replayed() {
    let Ok(line) = std::env::var("FAULT") else { return };
    let case: Case = line.parse().unwrap();
    let result = run(&case);
    println!("{case}: {result:?} (outcome, whether the fault hit something)");
    assert!(result.is_ok());
}

#[test]
fn row_20_a_read_that_fails() {
    let phases = [Phase::Open, Phase::ReadOnly, Phase::Recover, Phase::Use, Phase::Close];
    let failed = at_every_operation("failed reads", &phases, &everywhere(&["read error"]));
    assert!(failed.of(Outcome::Error) > 50, "{failed:?}");
    assert_eq!(failed.of(Outcome::Detected) + failed.of(Outcome::OneSync), 0);
    let other = ["short read", "misdirected read by 4096", "misdirected read by -4096"];
    let phases = [Phase::Open, Phase::ReadOnly, Phase::Recover, Phase::Use];
    let misread = at_every_operation("short and misdirected reads", &phases, &everywhere(&other));
    assert!(misread.of(Outcome::Error) > 50 && misread.of(Outcome::Detected) == 0, "{misread:?}");
}

#[test]
fn row_21_a_write_that_fails() {
    let phases = [Phase::Create, Phase::Open, Phase::Recover, Phase::Use, Phase::Close];
    let faults = everywhere(&["write error", "short write"]);
    let failed = at_every_operation("failed and short writes", &phases, &faults);
    assert!(failed.of(Outcome::Error) > 50, "{failed:?}");
    assert_eq!(failed.of(Outcome::Detected) + failed.of(Outcome::OneSync), 0, "{failed:?}");
}

#[test]
fn a_sync_or_a_change_of_length_that_fails() {
    let phases = [Phase::Create, Phase::Open, Phase::Recover, Phase::Use, Phase::Close];
    let faults = ["fsync error".to_owned(), "resize error".to_owned()];
    let failed = at_every_operation("failed syncs and resizes", &phases, &faults);
    assert!(failed.of(Outcome::Error) > 10, "{failed:?}");
    assert_eq!(failed.of(Outcome::Right), 0, "a failed sync, and nobody was told: {failed:?}");
    let mut lasting = Tally::default();
    for phase in phases {
        for passing in 0..40 {
            let plan = format!("fsync error for ever after {passing}").parse().unwrap();
            let case = Case { phase, seed: 1, plan };
            lasting.count(&case, run(&case));
        }
    }
    lasting.print("syncs that fail for ever");
    assert!(lasting.of(Outcome::Error) > 10, "{lasting:?}");
    assert_eq!(lasting.of(Outcome::Right), 0, "{lasting:?}");
}

#[test]
fn a_disk_that_is_full_at_any_point_of_the_commits() {
    let step = if is_all() { 101 } else { 1009 };
    let mut plans: Vec<(Phase, String)> = Vec::new();
    for phase in [Phase::Create, Phase::Recover, Phase::Use, Phase::Close] {
        let bytes = (0..700_000).step_by(step);
        plans.extend(bytes.map(|bytes| (phase, format!("disk full after {bytes} bytes"))));
    }
    let length = base(1).clean.len();
    for byte in (length..length + 300_000).step_by(step) {
        plans.push((Phase::Use, format!("disk full at byte {byte}")));
        plans.push((Phase::Use, format!("disk full at byte {byte} once after 0")));
    }
    let tally = each_series(&plans, |(phase, plan), tally| {
        let case = Case { phase: *phase, seed: 1, plan: plan.parse().unwrap() };
        tally.count(&case, run(&case));
    });
    tally.print("full disks");
    assert!(tally.of(Outcome::Error) > 200, "{tally:?}");
    assert_eq!(tally.of(Outcome::Detected) + tally.of(Outcome::OneSync), 0, "{tally:?}");
}

#[test]
fn row_23_writes_that_are_lost_or_land_elsewhere() {
    let phases = [Phase::Create, Phase::Open, Phase::Recover, Phase::Use, Phase::Close];
    let mut faults =
        ["lost write", "misdirected write by 4096", "misdirected write by -4096"].to_vec();
    faults.extend([
        "stale sector 0 on write",
        "stale sector 3 on write",
        "stale sector 7 on write",
    ]);
    let tally = at_every_operation("lost, misdirected, stale", &phases, &everywhere(&faults));
    assert!(tally.of(Outcome::Detected) > 50, "{tally:?}");
    assert!(tally.of(Outcome::OneSync) > 0, "{tally:?}");
}

#[test]
fn slow_media_are_only_slow() {
    let plan = "slow by 20 us".parse().unwrap();
    let case = Case { phase: Phase::Use, seed: 1, plan };
    assert_eq!(run(&case), Ok((Outcome::Right, true)));
}
