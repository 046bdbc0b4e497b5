//! Not at random: fixed lives of a database, each cut at every single operation and at every named
//! point of it, under every kind of crash, and, for each of these cuts, recovery cut again at
//! every operation of its own.

use strongroom::testkit::model::{
    Fault, Life, NotOpened, Op, Room, Settings, Step, Transaction, Verdict,
};
use strongroom::testkit::{Crash, CrashMedium, Cut, Cuts, Survival, Tearing};

/// Operations at most in one recovery; more would be a hang.
const RECOVERY_MAX: u64 = 500;

/// A fixed life: how the database is opened and what is done after its creation.
#[derive(Clone, Debug)]
pub struct Workload {
    /// For figures.
    pub name: &'static str,
    /// How the database is opened.
    pub settings: Settings,
    /// One after the other.
    pub steps: Vec<Step>,
    /// Whether creation is cut as well; else it is over before the cuts begin.
    pub from_creation: bool,
}

/// What one fixed life came to.
#[derive(Debug, Default)]
pub struct Count {
    /// Operations of the life.
    pub operations: u64,
    /// Named points that it reached.
    pub points: u64,
    /// Cuts at an operation or at a point of the life itself, times the kinds of crash.
    pub cuts: u64,
    /// Cuts inside recoveries.
    pub nested: u64,
    /// Creations that were cut off.
    pub unfinished: u64,
    /// What went wrong, with where.
    pub failures: Vec<(String, Verdict)>,
}

/// Lives that life until it ends or what was planned ends it; `false` where creation didn't return.
fn live<R: Room>(work: &Workload, plan: impl Fn(&CrashMedium)) -> Result<(Life<R>, bool), Verdict> {
    let mut life = Life::new(CrashMedium::new(7), work.settings);
    if work.from_creation {
        plan(&life.medium);
    }
    match life.create() {
        Ok(true) => {}
        Ok(false) => return Ok((life, false)),
        // A failed sync or write, in creation.
        Err(_) if life.crashed() => return Ok((life, false)),
        Err(verdict) => return Err(verdict),
    }
    if !work.from_creation {
        life.close().map_err(|trouble| Verdict::Misbehaved(trouble.to_string()))?;
        // Operations and points are counted anew on a machine on which creation is history.
        life.medium = CrashMedium::from_image(7, life.medium.durable_image());
        plan(&life.medium);
        match life.open() {
            Err(_) if life.crashed() => return Ok((life, true)),
            opened => opened?,
        }
    }
    for step in &work.steps {
        match life.step(step) {
            Ok(()) => {}
            Err(_) if life.crashed() => break,
            Err(trouble) => return Err(Verdict::Misbehaved(trouble.to_string())),
        }
    }
    // The close of a database that is dropped can be cut like everything else.
    life.drop_db();
    Ok((life, true))
}

/// What a recovery overlooked shows after the next crash: one small commit, which leaves most of
/// the file as the first crash did, and the power goes.
fn commit_and_cut<R: Room>(life: &mut Life<R>) -> Result<(), Verdict> {
    let row = Op::Put { table: 0, key: 999_999, length: 9, seed: 9 };
    let commit = Step::Transaction(Transaction { ops: vec![row], ..Transaction::default() });
    life.step(&commit).map_err(|trouble| Verdict::FailedToOpen(trouble.to_string()))?;
    let (tearing, survival) = (Tearing::Sector512, Survival::Each(0.0));
    life.crash(Crash::PowerCut { tearing, survival });
    life.open()?;
    life.judge()
}

enum Outcome {
    Unfinished,
    Judged { was_cut: bool },
}

/// Opens until it comes through, cutting the first try after `nested` operations.
fn reopen<R: Room>(
    mut life: Life<R>,
    created: bool,
    nested: Option<u64>,
) -> Result<Outcome, Verdict> {
    let mut was_cut = false;
    if let Some(operations) = nested {
        life.medium.cut_after(operations);
        match R::open(life.medium.clone(), life.settings) {
            // The database is dropped: its close is cut as well, or goes through.
            Ok(db) => drop(db),
            Err(_) if life.medium.is_off() => {}
            Err(NotOpened::CreationCut(_)) if !created => return Ok(Outcome::Unfinished),
            Err(error) => return Err(Verdict::FailedToOpen(format!("{error:?}"))),
        }
        was_cut = life.medium.is_off();
        let survival = Survival::Each(0.5);
        life.crash(Crash::PowerCut { tearing: Tearing::Sector512, survival });
    }
    if created {
        life.open()?;
        life.judge()?;
    } else if !life.open_cut_creation()? {
        return Ok(Outcome::Unfinished);
    }
    if nested.is_none() {
        commit_and_cut(&mut life)?;
    }
    life.finish()?;
    Ok(Outcome::Judged { was_cut })
}

impl Count {
    fn one<R: Room>(
        &mut self,
        place: (&Workload, Cut),
        (life, created): (&Life<R>, bool),
        crash: Crash,
        nested: Option<u64>,
    ) -> bool {
        // What lands is another draw each time.
        let after = life.after(crash, self.cuts + self.nested);
        let outcome = reopen(after, created, nested);
        self.cuts += u64::from(nested.is_none());
        self.nested += u64::from(nested.is_some());
        match outcome {
            Ok(Outcome::Unfinished) => {
                self.unfinished += 1;
                false
            }
            Ok(Outcome::Judged { was_cut }) => was_cut,
            Err(verdict) => {
                let (work, cut) = place;
                let place = format!("{}, {cut:?}, {crash:?}, nested cut {nested:?}", work.name);
                self.failures.push((place, verdict));
                false
            }
        }
    }
}

/// The whole of it. One run of the life serves all crashes at one cut: each takes an image of the
/// machine that is off. Recovery is cut after a power cut at every operation, and after a kill at
/// every `kills_at`th.
pub fn every_cut<R: Room>(work: &Workload, kills_at: u64) -> Count {
    let mut count = Count::default();
    let medium = match live::<R>(work, |_| ()) {
        Ok((life, _)) => life.medium.clone(),
        Err(verdict) => {
            count.failures.push((format!("{}, no crash at all", work.name), verdict));
            return count;
        }
    };
    count.operations = medium.operations();
    count.points = medium.points().iter().map(|(_, times)| times).sum();
    for cut in Cuts::of(&medium) {
        let (life, created) = match live::<R>(work, |medium| cut.plan(medium)) {
            Ok((life, created)) if life.medium.is_off() => (life, created),
            Ok(_) => {
                let verdict = Verdict::Misbehaved("it was never reached again".to_owned());
                count.failures.push((format!("{}, {cut:?}", work.name), verdict));
                continue;
            }
            Err(verdict) => {
                count.failures.push((format!("{}, {cut:?}", work.name), verdict));
                continue;
            }
        };
        let (place, life) = ((work, cut), (&life, created));
        for crash in Crash::kinds() {
            count.one(place, life, crash, None);
        }
        let Cut::Operation(operation) = cut else { continue };
        let (tearing, survival) = (Tearing::Sector512, Survival::Each(0.5));
        let mut crashes = vec![Crash::PowerCut { tearing, survival }];
        // What a kill left in the cache is at risk until the power goes, in recovery as well.
        if operation % kills_at == 0 {
            crashes.push(Crash::Kill);
        }
        for crash in crashes {
            for nested in 0..RECOVERY_MAX {
                if !count.one(place, life, crash, Some(nested)) {
                    break;
                }
            }
        }
    }
    count
}

/// What a failed sync leaves, and what happens to the machine afterwards: it runs on, and the
/// process starts again; or the power goes as well.
fn aftermaths() -> Vec<(Survival, Crash)> {
    let lost = Crash::PowerCut { tearing: Tearing::Sector512, survival: Survival::Each(0.0) };
    let each = [Survival::Each(0.0), Survival::Each(0.5), Survival::OnlyOne];
    each.into_iter().flat_map(|survival| [(survival, Crash::Kill), (survival, lost)]).collect()
}

/// Not a cut but a fault: every sync fails once, then every write.
pub fn every_fault<R: Room>(work: &Workload) -> Count {
    let mut count = Count::default();
    let medium = match live::<R>(work, |_| ()) {
        Ok((life, _)) => life.medium.clone(),
        Err(verdict) => {
            count.failures.push((format!("{}, no fault at all", work.name), verdict));
            return count;
        }
    };
    (count.operations, count.points) = (medium.operations(), 0);
    let tearing = Tearing::Page4096;
    for (survival, crash) in aftermaths() {
        for after in 0..medium.syncs() {
            count.fault::<R>(work, Fault::FailSync { after, tearing, survival }, crash);
        }
    }
    for crash in [aftermaths()[0].1, aftermaths()[1].1] {
        for after in 0..medium.operations() - medium.syncs() {
            count.fault::<R>(work, Fault::FailWrite(after), crash);
        }
    }
    count
}

impl Count {
    fn fault<R: Room>(&mut self, work: &Workload, fault: Fault, crash: Crash) {
        let outcome = live::<R>(work, |medium| fault.plan(medium)).and_then(|(life, created)| {
            let struck = life.crashed();
            self.cuts += u64::from(struck);
            reopen(life.after(crash, self.cuts), created, None)
        });
        match outcome {
            Ok(Outcome::Unfinished) => self.unfinished += 1,
            Ok(Outcome::Judged { .. }) => {}
            Err(verdict) => {
                let place = format!("{}, {fault:?}, then {crash:?}", work.name);
                self.failures.push((place, verdict));
            }
        }
    }
}
