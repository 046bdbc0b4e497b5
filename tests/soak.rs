//! For hours: random programs with power cuts, kills, failed syncs, failed writes and cuts in
//! recovery, as in `power_cuts`, seed after seed until the time is over. In every eighth seed the
//! file is edited as well, a byte here and there between two crashes: then an error is right, and
//! so are the states that were committed; anything else is not.
//!
//! `SOAK_SECONDS=14400 cargo test --release --features testkit --test soak -- --ignored --nocapture`
//! prints a line of counts each minute and figures at the end. `SOAK_FIRST_SEED=n` goes on where
//! another run ended; the seeds of a failure are printed, and one seed is always one story.
#![cfg(feature = "testkit")]
#![allow(unreachable_pub, reason = "the modules of a test have no outside")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "test code: a panic is a failed test"
)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use strongroom::testkit::model::{
    Found, Life, Menu, NotOpened, Observed, Program, Room, Step, Taste, Transaction, Vault,
};
use strongroom::testkit::{Crash, SeededRandom, Survival, Tearing};

#[path = "power_cuts/sweep.rs"]
#[allow(dead_code, reason = "the sweep over a range of seeds is for the other test")]
mod sweep;

use sweep::Tally;

fn asked(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// What became of edited files.
#[derive(Clone, Copy, Default)]
struct Edits {
    files: u64,
    refused: u64,
    older: u64,
    newest: u64,
}

/// One file, worked on, crashed, edited in up to four places, opened and read: an error, or a state
/// that was committed.
fn edited(seed: u64, edits: &mut Edits) -> Result<(), String> {
    let mut random = SeededRandom::new(seed);
    let program = Program::draw(&mut random, Menu::All, None);
    let taste = Taste::draw(&mut random);
    let mut life = Life::<Vault>::new(
        strongroom::testkit::CrashMedium::new(random.next_u64()),
        program.settings,
    );
    life.create().map_err(|verdict| format!("{verdict:?}"))?;
    for _ in 0..random.between(1, 8) {
        let step = Step::draw(&mut random, &taste);
        life.step(&step).map_err(|trouble| trouble.to_string())?;
    }
    let last = Transaction::filling(&mut random, &taste, 5);
    life.step(&Step::Transaction(last)).map_err(|trouble| trouble.to_string())?;
    let closed = random.chance(0.5);
    if closed {
        life.close().map_err(|trouble| trouble.to_string())?;
    }
    let survival = Survival::Each(random.pick(&[0.0, 0.5, 1.0]).copied().unwrap_or(0.5));
    let mut after = life.after(Crash::PowerCut { tearing: Tearing::Sector512, survival }, seed);
    let length = after.medium.image().len() as u64;
    for _ in 0..random.between(1, 4) {
        let bit = 1 << random.below(8);
        // A third of them in the two root records, pages 16 and 17, of which there is so much less.
        let roots = random.chance(0.3);
        let at = if roots { 16 * 4096 + random.below(8192) } else { random.below(length) };
        after.medium.damage(at, bit);
    }
    edits.files += 1;
    let observed = match Vault::open(after.medium.clone(), after.settings) {
        Ok(db) => Observed::read(db.redb()),
        Err(NotOpened::Failed(error) | NotOpened::CreationCut(error)) => Err(error),
    };
    let Ok(observed) = observed else {
        edits.refused += 1;
        return Ok(());
    };
    match after.history.find(&observed) {
        Found::Allowed => edits.newest += 1,
        Found::Older(by) if closed => {
            return Err(format!("{by} commits of a closed file lost in silence"));
        }
        // As a crash does, an edit of what the last sync wrote may cost that sync.
        Found::Older(_) => edits.older += 1,
        Found::None => {
            return Err(format!("wrong data: {}", observed.difference(life.history.newest())));
        }
    }
    Ok(())
}

#[derive(Default)]
struct Sum {
    tally: Tally,
    edits: Edits,
    wrong: Vec<(u64, String)>,
}

fn one(seed: u64, sum: &Mutex<Sum>) {
    if seed % 8 == 7 {
        let mut edits = Edits::default();
        let result = sweep::catching(|| edited(seed, &mut edits)).and_then(|result| result);
        let mut sum = sum.lock().unwrap();
        sum.edits.files += edits.files;
        sum.edits.refused += edits.refused;
        sum.edits.older += edits.older;
        sum.edits.newest += edits.newest;
        sum.wrong.extend(result.err().map(|error| (seed, error)));
    } else {
        let story = sweep::one::<Vault>(None, Menu::All, seed);
        sum.lock().unwrap().tally.add(seed, &story);
    }
}

fn line(sum: &Sum, since: Duration) -> String {
    let Tally { seeds, crashes, failures, .. } = &sum.tally;
    format!(
        "{:>6} s: {seeds} seeds, {} power cuts, {} kills, {} failed syncs, {} failed writes, \
         {} of them in recovery; {} edited files; {} failures",
        since.as_secs(),
        crashes[..3].iter().sum::<u64>(),
        crashes[3],
        crashes[4],
        crashes[5],
        crashes[6],
        sum.edits.files,
        failures.len() + sum.wrong.len(),
    )
}

#[test]
#[ignore = "as long as SOAK_SECONDS says, 60 otherwise"]
fn crashes_faults_and_edits_for_a_long_time() {
    let length = Duration::from_secs(asked("SOAK_SECONDS", 60));
    let first = asked("SOAK_FIRST_SEED", 1_000_000_000);
    let (next, sum, started) = (AtomicU64::new(first), Mutex::new(Sum::default()), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while started.elapsed() < length {
                    one(next.fetch_add(1, Ordering::Relaxed), &sum);
                }
            });
        }
        let mut minute = 1;
        while started.elapsed() < length {
            std::thread::sleep(Duration::from_millis(200));
            if started.elapsed().as_secs() >= minute * 60 {
                println!("{}", line(&sum.lock().unwrap(), started.elapsed()));
                minute += 1;
            }
        }
    });
    let sum = sum.into_inner().unwrap();
    println!("{}", line(&sum, started.elapsed()));
    sum.tally.print("soak", started);
    println!("figure: soak_power_cuts = {}", sum.tally.crashes[..3].iter().sum::<u64>());
    println!("figure: soak_edited_files = {}", sum.edits.files);
    println!("figure: soak_edited_refused = {}", sum.edits.refused);
    println!("figure: soak_edited_allowed_state = {}", sum.edits.newest);
    println!("figure: soak_edited_older_state = {}", sum.edits.older);
    println!("figure: soak_edited_wrong_data = {}", sum.wrong.len());
    println!("figure: soak_next_seed = {}", next.into_inner());
    for (seed, verdict) in sum.tally.failures.iter().take(10) {
        println!("seed {seed}: {verdict:?}; replay: POWER_CUT_SEED={seed} in tests/power_cuts.rs");
    }
    for (seed, error) in sum.wrong.iter().take(10) {
        println!("seed {seed}, edited: {error}; replay: SOAK_FIRST_SEED={seed} SOAK_SECONDS=1");
    }
    assert!(sum.tally.bad() == 0 && sum.wrong.is_empty(), "something was lost, broke or lied");
    assert!(sum.tally.crashes[..3].iter().sum::<u64>() > 0 && sum.edits.files > 0);
}
