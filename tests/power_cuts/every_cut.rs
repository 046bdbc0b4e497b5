//! Not at random: one fixed life of a database, cut at every single operation and at every named
//! point, and, for each of these cuts, recovery cut again at every operation of its own.

use strongroom::testkit::{Crash, CrashMedium, SeededRandom, Survival, Tearing};

use crate::life::{Life, Menu, Verdict};
use crate::room::{NotOpened, Room, Settings};

/// Operations at most in one recovery; more would be a hang.
const RECOVERY_MAX: u64 = 500;

/// What one fixed life came to.
#[derive(Debug, Default)]
pub struct Count {
    /// Cuts at an operation or at a point of the life itself.
    pub cuts: u64,
    /// Cuts inside recoveries.
    pub nested: u64,
    /// Creations that were cut off.
    pub unfinished: u64,
    /// What went wrong, with where.
    pub failures: Vec<(String, Verdict)>,
}

fn settings() -> Settings {
    Settings { cache_bytes: 64 << 10, seal_reserve: Some(8), hole: None }
}

/// Lives that life until it ends or the plan ends it; `false` where creation didn't return.
fn live<R: Room>(seed: u64, plan: &dyn Fn(&CrashMedium)) -> Result<(Life, bool), Verdict> {
    let mut random = SeededRandom::new(seed);
    let medium = CrashMedium::new(random.next_u64());
    plan(&medium);
    let mut life = Life::new(medium, settings(), random, Menu::PowerCuts);
    let db = match R::create(life.medium.clone(), settings()) {
        Ok(db) => db,
        Err(_) if life.medium.is_off() => return Ok((life, false)),
        Err(error) => return Err(Verdict::Misbehaved(format!("create: {error}"))),
    };
    let mut work = life.work(db);
    let mut result = work.fill(40);
    for _ in 0..10 {
        if result.is_ok() {
            result = work.step();
        }
    }
    if result.is_ok() {
        result = work.reopen();
    }
    if result.is_ok() {
        result = work.fill(1);
    }
    drop(work);
    match result {
        Err(error) if !life.medium.is_off() => Err(Verdict::Misbehaved(error)),
        _ => Ok((life, true)),
    }
}

fn crashes() -> Vec<Crash> {
    let mut crashes = vec![Crash::Kill];
    for tearing in Tearing::ALL {
        for survival in [0.0, 0.5, 1.0].map(Survival::Each) {
            crashes.push(Crash::PowerCut { tearing, survival });
        }
    }
    let tearing = Tearing::Sector512;
    for survival in [Survival::Prefix, Survival::AllButOne, Survival::OnlyOne] {
        crashes.push(Crash::PowerCut { tearing, survival });
    }
    crashes
}

/// Opens until it comes through, cutting the first try after `nested` operations.
fn reopen<R: Room>(
    life: &mut Life,
    created: bool,
    crash: Crash,
    nested: Option<u64>,
) -> Result<Outcome, Verdict> {
    life.medium = life.medium.crash(crash);
    let mut was_cut = false;
    if let Some(operations) = nested {
        life.medium.cut_after(operations);
        match R::open(life.medium.clone(), life.settings) {
            // The database is dropped: its close is cut as well, or goes through.
            Ok(_) => {}
            Err(_) if life.medium.is_off() => {}
            Err(NotOpened::CreationCut(_)) if !created => return Ok(Outcome::Unfinished),
            Err(NotOpened::CreationCut(error) | NotOpened::Failed(error)) => {
                return Err(Verdict::FailedToOpen(error));
            }
        }
        was_cut = life.medium.is_off();
        let tearing = Tearing::Sector512;
        let survival = Survival::Each(0.5);
        life.medium = life.medium.crash(Crash::PowerCut { tearing, survival });
    }
    match R::open(life.medium.clone(), life.settings) {
        Ok(db) => {
            life.judge(&db)?;
            life.finish(db)?;
            Ok(Outcome::Judged { was_cut })
        }
        Err(NotOpened::CreationCut(_)) if !created => Ok(Outcome::Unfinished),
        Err(NotOpened::CreationCut(error) | NotOpened::Failed(error)) => {
            Err(Verdict::FailedToOpen(error))
        }
    }
}

enum Outcome {
    Unfinished,
    Judged { was_cut: bool },
}

impl Count {
    fn one<R: Room>(
        &mut self,
        seed: u64,
        place: &str,
        plan: &dyn Fn(&CrashMedium),
        crash: Crash,
        nested: Option<u64>,
    ) -> bool {
        let outcome = live::<R>(seed, plan)
            .and_then(|(mut life, created)| reopen::<R>(&mut life, created, crash, nested));
        self.cuts += u64::from(nested.is_none());
        self.nested += u64::from(nested.is_some());
        match outcome {
            Ok(Outcome::Unfinished) => {
                self.unfinished += 1;
                false
            }
            Ok(Outcome::Judged { was_cut }) => was_cut,
            Err(verdict) => {
                let place = format!("life {seed}, {place}, {crash:?}, nested cut {nested:?}");
                self.failures.push((place, verdict));
                false
            }
        }
    }
}

/// The whole of it, for the life of this seed.
pub fn every_cut<R: Room>(seed: u64) -> Count {
    let mut count = Count::default();
    let (operations, points) = match live::<R>(seed, &|_| {}) {
        Ok((life, _)) => (life.medium.operations(), life.medium.points()),
        Err(verdict) => {
            count.failures.push((format!("life {seed}, no crash at all"), verdict));
            return count;
        }
    };
    for cut in 0..operations {
        let place = format!("cut after {cut} operations");
        for crash in crashes() {
            count.one::<R>(seed, &place, &|medium| medium.cut_after(cut), crash, None);
        }
        let crash = Crash::PowerCut { tearing: Tearing::Sector512, survival: Survival::Each(0.5) };
        for nested in 0..RECOVERY_MAX {
            let plan = |medium: &CrashMedium| medium.cut_after(cut);
            if !count.one::<R>(seed, &place, &plan, crash, Some(nested)) {
                break;
            }
        }
    }
    for (point, times) in points {
        for nth in 0..times {
            let place = format!("point {point:?}, {nth}");
            let plan = |medium: &CrashMedium| medium.cut_at_point(point, nth);
            for crash in crashes() {
                count.one::<R>(seed, &place, &plan, crash, None);
            }
        }
    }
    count
}
