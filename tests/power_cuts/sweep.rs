//! Many seeds on two threads: counts, the first failures of each sort with how to replay them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once};
use std::time::Instant;

use strongroom::testkit::model::{self, KINDS, Menu, Program, Room, Story, Verdict};
use strongroom::testkit::{Hole, SeededRandom};

thread_local! {
    static QUIET: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs something; a panic becomes its message, and nothing is printed.
pub fn catching<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let caught = QUIET.with_borrow_mut(|quiet| match quiet {
                Some(message) => {
                    if message.is_empty() {
                        *message = info.to_string();
                    }
                    true
                }
                None => false,
            });
            if !caught {
                loud(info);
            }
        }));
    });
    QUIET.set(Some(String::new()));
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    let message = QUIET.take().unwrap_or_default();
    result.map_err(|_| message)
}

/// One seed, panics caught.
pub fn one<R: Room>(hole: Option<Hole>, menu: Menu, seed: u64) -> Story {
    let program = Program::draw(&mut SeededRandom::new(seed), menu, hole);
    catching(|| model::run::<R>(&program)).unwrap_or_else(|message| Story {
        verdict: Verdict::Panic(message),
        crashes: [0; KINDS.len()],
        trace: Vec::new(),
    })
}

/// What many seeds came to.
#[derive(Debug, Default)]
pub struct Tally {
    /// Seeds run.
    pub seeds: u64,
    /// Crashes by kind.
    pub crashes: [u64; KINDS.len()],
    /// Seeds by sort of verdict.
    pub verdicts: BTreeMap<&'static str, u64>,
    /// The first failures: seed and verdict.
    pub failures: Vec<(u64, Verdict)>,
}

/// The sorts of verdict, as they are counted.
pub const SORTS: [&str; 7] = [
    "fine",
    "creation_unfinished",
    "failed_to_open",
    "lost_commits",
    "half_commits",
    "misbehaved",
    "panics",
];

fn sort(verdict: &Verdict) -> &'static str {
    SORTS[match verdict {
        Verdict::Fine => 0,
        Verdict::CreationCut => 1,
        Verdict::FailedToOpen(_) => 2,
        Verdict::LostCommit(_) => 3,
        Verdict::HalfCommit(_) => 4,
        Verdict::Misbehaved(_) => 5,
        Verdict::Panic(_) => 6,
    }]
}

impl Tally {
    /// Counts one more seed.
    pub fn add(&mut self, seed: u64, story: &Story) {
        self.seeds += 1;
        for (sum, crashes) in self.crashes.iter_mut().zip(story.crashes) {
            *sum += crashes;
        }
        *self.verdicts.entry(sort(&story.verdict)).or_default() += 1;
        if !matches!(story.verdict, Verdict::Fine | Verdict::CreationCut) {
            self.failures.push((seed, story.verdict.clone()));
        }
    }

    /// Seeds that lost, broke or stopped a database.
    pub fn bad(&self) -> u64 {
        SORTS[2..].iter().map(|sort| self.verdicts.get(sort).copied().unwrap_or(0)).sum()
    }

    /// Prints the figures, each name with this prefix.
    pub fn print(&self, prefix: &str, started: Instant) {
        println!("figure: {prefix}_seeds = {}", self.seeds);
        // Those in recovery and in creation are among the six kinds already.
        println!("figure: {prefix}_crashes = {}", self.crashes[..6].iter().sum::<u64>());
        for (kind, count) in KINDS.iter().zip(self.crashes) {
            println!("figure: {prefix}_{kind} = {count}");
        }
        for sort in &SORTS[1..] {
            println!("figure: {prefix}_{sort} = {}", self.verdicts.get(sort).unwrap_or(&0));
        }
        println!("{prefix}: {:.1} s", started.elapsed().as_secs_f64());
    }
}

/// Runs these seeds; stops early once `enough` of them failed.
pub fn sweep<R: Room>(
    hole: Option<Hole>,
    menu: Menu,
    seeds: std::ops::Range<u64>,
    enough: usize,
) -> Tally {
    let next = AtomicU64::new(seeds.start);
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || tally.lock().unwrap().failures.len() >= enough {
                        return;
                    }
                    let story = one::<R>(hole, menu, seed);
                    tally.lock().unwrap().add(seed, &story);
                }
            });
        }
    });
    let mut tally = tally.into_inner().unwrap();
    tally.failures.sort_by_key(|(seed, _)| *seed);
    tally
}
