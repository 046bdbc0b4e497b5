//! One seed: a database is created, worked on, crashed up to four times, also in the middle of
//! recovery, and judged after each restart that is let through. The verdict is a value; nothing
//! here panics on purpose, and a panic of the store is caught and counted by the caller.

use strongroom::testkit::{Crash, CrashMedium, Hole, SeededRandom, Survival, Tearing};

use crate::model::{Found, History, Observed, Value};
use crate::room::{NotOpened, Room, Settings};
use crate::workload::{Taste, Work};

/// How a seed ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Everything held.
    Fine,
    /// Creation was cut off, and open said so.
    CreationCut,
    /// It doesn't open, or can't be read, or can't go on.
    FailedToOpen(String),
    /// An older state than the last acknowledged commit.
    LostCommit(String),
    /// A state that was never committed.
    HalfCommit(String),
    /// An error without a crash, or wrong data while open.
    Misbehaved(String),
    /// A panic.
    Panic(String),
}

/// The kinds of crash, for counting.
pub const KINDS: [&str; 8] = [
    "power_cut_512",
    "power_cut_4096",
    "power_cut_whole_write",
    "kill",
    "failed_sync",
    "failed_write",
    "nested",
    "in_creation",
];

/// One seed's story.
#[derive(Clone, Debug)]
pub struct Story {
    /// How it ended.
    pub verdict: Verdict,
    /// Crashes by [`KINDS`].
    pub crashes: [u64; KINDS.len()],
    /// What was done.
    pub trace: Vec<String>,
}

/// Which crashes a run is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Menu {
    /// All kinds.
    All,
    /// Power cuts only.
    PowerCuts,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Power,
    Kill,
    FailedSync,
    FailedWrite,
}

/// Runs one seed.
pub fn run<R: Room>(hole: Option<Hole>, menu: Menu, seed: u64) -> Story {
    let mut random = SeededRandom::new(seed);
    let cache_bytes = *random.pick(&[0, 64 << 10, 64 << 10, 256 << 10, 1 << 20]).unwrap();
    let seal_reserve = random.chance(0.5).then(|| random.between(5, 300));
    let settings = Settings { cache_bytes, seal_reserve, hole };
    let medium = CrashMedium::new(random.next_u64());
    let mut life = Life::new(medium, settings, random, menu);
    let verdict = match life.run::<R>() {
        Ok(verdict) | Err(verdict) => verdict,
    };
    Story { verdict, crashes: life.crashes, trace: life.trace }
}

/// Which units land, and which of them.
fn draw_loss(random: &mut SeededRandom) -> (Tearing, Survival) {
    let tearing = *random.pick(&Tearing::ALL).unwrap();
    let survival = match random.below(10) {
        0 => Survival::Each(0.0),
        1 => Survival::Each(1.0),
        2 => Survival::Prefix,
        3 => Survival::AllButOne,
        4 => Survival::OnlyOne,
        5 => Survival::Each(0.1),
        6 => Survival::Each(0.9),
        _ => Survival::Each(0.5),
    };
    (tearing, survival)
}

/// Plans the next crash somewhere ahead; says where.
fn arm(medium: &CrashMedium, random: &mut SeededRandom, next: Kind, horizon: u64) -> String {
    if next == Kind::FailedSync {
        let (tearing, survival) = draw_loss(random);
        let syncs = random.skewed_below(horizon.div_ceil(8));
        medium.fail_sync_after(syncs, tearing, survival);
        format!("armed: sync {syncs} from now fails, {tearing:?}, {survival:?}")
    } else if next == Kind::FailedWrite {
        let writes = random.skewed_below(horizon);
        medium.fail_write_after(writes);
        format!("armed: write {writes} from now fails")
    } else {
        let operations = random.skewed_below(horizon);
        medium.cut_after(operations);
        format!("armed: {next:?} after {operations} operations")
    }
}

/// A database's life on one machine, from crash to crash.
pub struct Life {
    /// The machine as it is now.
    pub medium: CrashMedium,
    /// How the database is opened.
    pub settings: Settings,
    /// What it is filled with.
    pub taste: Taste,
    /// What happens.
    pub random: SeededRandom,
    /// Every state that was committed.
    pub history: History,
    /// What was done.
    pub trace: Vec<String>,
    menu: Menu,
    crashes: [u64; KINDS.len()],
    next: Kind,
}

impl Life {
    /// One that has not begun: the disk is empty.
    pub fn new(
        medium: CrashMedium,
        settings: Settings,
        mut random: SeededRandom,
        menu: Menu,
    ) -> Self {
        Self {
            medium,
            settings,
            taste: Taste::draw(&mut random),
            random,
            menu,
            history: History::new(),
            crashes: [0; KINDS.len()],
            trace: Vec::new(),
            next: Kind::Power,
        }
    }

    /// A database at work in this life.
    pub fn work<R: Room>(&mut self, db: R) -> Work<'_, R> {
        let Self { medium, history, random, trace, taste, settings, .. } = self;
        let (taste, settings) = (*taste, *settings);
        Work { db: Some(db), medium, history, random, taste, settings, trace, held: None }
    }

    fn run<R: Room>(&mut self) -> Result<Verdict, Verdict> {
        self.next = self.draw_kind();
        if self.random.chance(0.06) {
            self.medium.cut_after(self.random.skewed_below(40));
        }
        self.note(format!("create, {:?}, {:?}", self.settings, self.taste));
        let mut db = match R::create(self.medium.clone(), self.settings) {
            Ok(db) => db,
            Err(error) if self.medium.is_off() => match self.after_cut_creation::<R>(error)? {
                Some(db) => db,
                None => return Ok(Verdict::CreationCut),
            },
            Err(error) => return Err(Verdict::Misbehaved(format!("create: {error}"))),
        };
        if self.random.chance(0.15) {
            // Some begin with several groups' worth of data.
            let rows = self.random.between(300, 1500);
            let mut work = self.work(db);
            if let Err(error) = work.fill(rows)
                && !work.medium.is_off()
            {
                return Err(Verdict::Misbehaved(format!("filling: {error}")));
            }
            db = work.db.take().ok_or_else(|| Verdict::Misbehaved("no database".to_owned()))?;
        }
        let crashes = self.random.between(1, 3);
        for _ in 0..crashes {
            let closed = self.work_until_crash(db)?;
            self.crash_now(closed);
            db = self.recover::<R>()?;
        }
        self.finish(db)
    }

    fn note(&mut self, what: String) {
        self.trace.push(format!("op {}: {what}", self.medium.operations()));
    }

    fn draw_kind(&mut self) -> Kind {
        match self.random.below(5) {
            _ if self.menu == Menu::PowerCuts => Kind::Power,
            0 => Kind::Kill,
            1 => Kind::FailedSync,
            2 => Kind::FailedWrite,
            _ => Kind::Power,
        }
    }

    /// Whether an error is the crash's doing.
    fn crashed(&self) -> bool {
        self.medium.is_off() || self.medium.sync_failed() || self.medium.write_failed()
    }

    /// Works until something gives; the database is dropped when this returns, as a process that
    /// ends, or closed cleanly (`true`).
    fn work_until_crash<R: Room>(&mut self, db: R) -> Result<bool, Verdict> {
        if self.crashed() {
            // The cut came in the last operation of what was done before.
            return Ok(false);
        }
        let steps = 1 + self.random.skewed_below(24);
        let armed_at = self.random.below(steps);
        let close_at_end = self.random.chance(0.3);
        let next = self.next;
        let mut work = self.work(db);
        let mut result = Ok(());
        for step in 0..steps {
            if step == armed_at {
                let armed = arm(work.medium, work.random, next, 200);
                work.note(armed);
            }
            result = work.step();
            if result.is_err() {
                break;
            }
        }
        let mut closed = false;
        if result.is_ok()
            && close_at_end
            && let Some(db) = work.db.take()
        {
            work.held = None;
            work.note("close at the end".to_owned());
            result = db.close();
            closed = result.is_ok();
            if closed {
                work.history.acknowledge();
            }
        }
        if let Err(error) = &result {
            work.note(format!("error: {error}"));
        }
        if result.is_ok() && !closed && !matches!(next, Kind::FailedSync | Kind::FailedWrite) {
            // The crash finds the database idle and open: it must not get to close itself.
            work.medium.cut_after(0);
        }
        drop(work);
        match result {
            Err(error) if !self.crashed() || error.starts_with("WRONG DATA") => {
                Err(Verdict::Misbehaved(error))
            }
            _ => Ok(closed),
        }
    }

    /// What the plan said happens to the machine.
    fn crash_now(&mut self, closed: bool) {
        let (tearing, survival) = draw_loss(&mut self.random);
        let sync_failed = self.medium.sync_failed();
        let write_failed = self.medium.write_failed();
        let crash = match self.next {
            // The process ended by itself; the machine runs on with what the failed sync left.
            Kind::FailedSync if sync_failed || closed || !self.medium.is_off() => Crash::Kill,
            Kind::FailedWrite if self.random.chance(0.7) => Crash::Kill,
            Kind::Kill => Crash::Kill,
            _ => Crash::PowerCut { tearing, survival },
        };
        self.note(format!("crash: {crash:?}"));
        let kind = match crash {
            _ if sync_failed => 4,
            _ if write_failed => 5,
            Crash::PowerCut { tearing: Tearing::Sector512, .. } => 0,
            Crash::PowerCut { tearing: Tearing::Page4096, .. } => 1,
            Crash::PowerCut { tearing: Tearing::WholeWrite, .. } => 2,
            Crash::Kill => 3,
            Crash::FailedSync { .. } => 4,
        };
        self.crashes[kind] += 1;
        self.medium = self.medium.crash(crash);
        // What a kill or a failed sync left in the cache is at risk until the power goes.
        self.next = if crash == Crash::Kill { Kind::Power } else { self.draw_kind() };
    }

    /// Restarts, perhaps crashing in recovery up to twice, until an open comes through; judges it.
    fn recover<R: Room>(&mut self) -> Result<R, Verdict> {
        let mut nested = 0;
        loop {
            if nested < 2 && self.random.chance(0.6) {
                let armed = arm(&self.medium, &mut self.random, self.next, 32);
                self.note(armed);
            }
            self.note("open".to_owned());
            match R::open(self.medium.clone(), self.settings) {
                Ok(db) => {
                    self.judge(&db)?;
                    return Ok(db);
                }
                Err(NotOpened::Failed(error) | NotOpened::CreationCut(error)) => {
                    self.note(format!("open failed: {error}"));
                    if !self.crashed() {
                        return Err(Verdict::FailedToOpen(error));
                    }
                    self.crashes[6] += 1;
                    self.crash_now(false);
                    nested += 1;
                }
            }
        }
    }

    /// Reads all and compares with the history.
    pub fn judge<R: Room>(&mut self, db: &R) -> Result<(), Verdict> {
        if self.crashed() {
            // The cut came in the last operation of the open; the next restart is judged.
            return Ok(());
        }
        let uncertain = self.history.uncertain();
        let observed = match Observed::read(db.redb()) {
            Ok(observed) => observed,
            Err(_) if self.crashed() => return Ok(()),
            Err(error) => return Err(Verdict::FailedToOpen(format!("reading all: {error}"))),
        };
        let newest = observed.difference(self.history.newest());
        match self.history.find(&observed) {
            Found::Allowed => {
                let left = self.history.uncertain();
                self.note(format!("judged: allowed, {uncertain} uncertain before, {left} now"));
                Ok(())
            }
            Found::Older(by) => Err(Verdict::LostCommit(format!("{by} commits back; {newest}"))),
            Found::None => Err(Verdict::HalfCommit(newest)),
        }
    }

    /// After a cut in creation: an empty database, or word that creation was cut off.
    fn after_cut_creation<R: Room>(&mut self, error: String) -> Result<Option<R>, Verdict> {
        self.note(format!("creation cut: {error}"));
        self.crashes[7] += 1;
        self.crash_now(false);
        match R::open(self.medium.clone(), self.settings) {
            Ok(db) => {
                self.judge(&db)?;
                Ok(Some(db))
            }
            Err(NotOpened::CreationCut(_)) => Ok(None),
            Err(NotOpened::Failed(_)) if !R::CREATION_IS_TYPED => Ok(None),
            Err(NotOpened::Failed(error)) => {
                Err(Verdict::FailedToOpen(format!("after a cut in creation: {error}")))
            }
        }
    }

    /// Nothing is armed any more: integrity, one more commit, a clean close and a last look.
    pub fn finish<R: Room>(&mut self, mut db: R) -> Result<Verdict, Verdict> {
        if self.crashed() {
            drop(db);
            self.crash_now(false);
            self.medium.clear_plan();
            self.note("last open".to_owned());
            db = match R::open(self.medium.clone(), self.settings) {
                Ok(db) => db,
                Err(NotOpened::Failed(error) | NotOpened::CreationCut(error)) => {
                    return Err(Verdict::FailedToOpen(error));
                }
            };
            self.judge(&db)?;
        }
        self.medium.clear_plan();
        match db.check_integrity() {
            Ok(true) => {}
            Ok(false) => return Err(Verdict::FailedToOpen("integrity: not clean".to_owned())),
            Err(error) => return Err(Verdict::FailedToOpen(format!("integrity: {error}"))),
        }
        let last = self
            .last_commit(&db)
            .map_err(|error| Verdict::FailedToOpen(format!("one more commit: {error}")))?;
        db.close().map_err(|error| Verdict::FailedToOpen(format!("last close: {error}")))?;
        self.history.commit(last);
        self.history.acknowledge();
        let db = match R::open(self.medium.clone(), self.settings) {
            Ok(db) => db,
            Err(NotOpened::Failed(error) | NotOpened::CreationCut(error)) => {
                return Err(Verdict::FailedToOpen(format!("after the last close: {error}")));
            }
        };
        self.judge(&db)?;
        Ok(Verdict::Fine)
    }

    fn last_commit<R: Room>(&mut self, db: &R) -> Result<crate::model::Content, String> {
        let mut content = self.history.newest().clone();
        let write = db.redb().begin_write().map_err(|error| error.to_string())?;
        {
            let mut table =
                write.open_table(crate::model::TABLES[0]).map_err(|error| error.to_string())?;
            let key = crate::model::key_bytes(0, 1_000_000);
            table.insert(key.as_slice(), b"last".as_slice()).map_err(|error| error.to_string())?;
        }
        write.commit().map_err(|error| error.to_string())?;
        let tables = std::sync::Arc::make_mut(&mut content.tables);
        tables.insert((0, 1_000_000), Value::of(b"last"));
        Ok(content)
    }
}
