//! One program taken through: a database is created, worked on, crashed, also in the middle of its
//! recovery, and judged after each restart that is let through. The verdict is a value; nothing
//! here panics on purpose, and a panic of the store is the caller's to catch.

use std::fmt::Display;
use std::sync::Arc;

use redb::{ReadTransaction, Savepoint};

use super::content::{Observed, Tables};
use super::history::{Found, History};
use super::program::{Fault, Nested, Op, Program, Round, Step, Transaction};
use super::room::{NotOpened, Room, Settings};
use super::work::Trouble;
use crate::testkit::{Crash, CrashMedium, Survival, Tearing};

/// How a program ended.
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
    /// A panic, where the caller caught one.
    Panic(String),
}

/// The kinds of crash, for counting: the first six are all of them, the last two say where some of
/// these struck.
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
const NESTED: usize = 6;
const IN_CREATION: usize = 7;

/// What happened to one program.
#[derive(Clone, Debug)]
pub struct Story {
    /// How it ended.
    pub verdict: Verdict,
    /// Crashes by [`KINDS`].
    pub crashes: [u64; KINDS.len()],
    /// What was done.
    pub trace: Vec<String>,
}

/// Takes a program through.
pub fn run<R: Room>(program: &Program) -> Story {
    let mut life = Life::<R>::new(CrashMedium::new(program.seed), program.settings);
    let (Ok(verdict) | Err(verdict)) = life.through(program);
    Story { verdict, crashes: life.crashes, trace: life.trace }
}

/// A database's life on one machine, from crash to crash.
pub struct Life<R: Room> {
    /// Kept read transactions, with what each must see.
    pub(super) readers: Vec<(ReadTransaction, Arc<Tables>)>,
    /// Ephemeral savepoints, with what restoring each gives back.
    pub(super) ephemeral: Vec<(Savepoint, Arc<Tables>)>,
    /// The database where it is open.
    pub db: Option<R>,
    /// The machine as it is now.
    pub medium: CrashMedium,
    /// How the database is opened.
    pub settings: Settings,
    /// Every state that was committed.
    pub history: History,
    /// What was done.
    pub trace: Vec<String>,
    crashes: [u64; KINDS.len()],
}

impl<R: Room> std::fmt::Debug for Life<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Life").field("medium", &self.medium).finish_non_exhaustive()
    }
}

impl<R: Room> Life<R> {
    /// One that has not begun: there is no database on this machine.
    #[must_use]
    pub fn new(medium: CrashMedium, settings: Settings) -> Self {
        Self {
            readers: Vec::new(),
            ephemeral: Vec::new(),
            db: None,
            medium,
            settings,
            history: History::new(),
            trace: Vec::new(),
            crashes: [0; KINDS.len()],
        }
    }

    /// This life as it goes on after a crash, which this one does not feel: see
    /// [`CrashMedium::image_after`].
    #[must_use]
    pub fn after(&self, crash: Crash, seed: u64) -> Self {
        let mut after = Self::new(self.medium.image_after(crash, seed), self.settings);
        after.history = self.history.clone();
        after.note(format_args!("crash: {crash:?}, seed {seed}"));
        after
    }

    /// Remembers what was done.
    pub(super) fn note(&mut self, what: impl Display) {
        self.trace.push(format!("op {}: {what}", self.medium.operations()));
    }

    /// Whether an error is a crash's or a fault's doing.
    #[must_use]
    pub fn crashed(&self) -> bool {
        self.medium.is_off() || self.medium.sync_failed() || self.medium.write_failed()
    }

    /// Creates the database; false where a planned cut came between.
    ///
    /// # Errors
    /// [`Verdict::Misbehaved`] where it failed without a cut.
    pub fn create(&mut self) -> Result<bool, Verdict> {
        let settings = self.settings;
        self.note(format_args!("create, {settings:?}"));
        match R::create(self.medium.clone(), self.settings) {
            Ok(db) => self.db = Some(db),
            Err(error) if self.medium.is_off() => self.note(format_args!("cut: {error}")),
            Err(error) => return Err(Verdict::Misbehaved(format!("create: {error}"))),
        }
        Ok(self.db.is_some())
    }

    /// Lets go of readers and savepoints.
    pub(super) fn let_go(&mut self) {
        self.readers.clear();
        self.ephemeral.clear();
    }

    /// Drops the database, as a process that ends: a machine that is still on sees it close.
    pub fn drop_db(&mut self) {
        self.let_go();
        self.db = None;
    }

    fn through(&mut self, program: &Program) -> Result<Verdict, Verdict> {
        if let Some((operations, _)) = program.cut_creation {
            self.medium.cut_after(operations);
        }
        if !self.create()? {
            let crash = program.cut_creation.map_or(Crash::Kill, |(_, crash)| crash);
            self.crash(crash);
            if !self.open_cut_creation()? {
                return Ok(Verdict::CreationCut);
            }
        }
        for round in &program.rounds {
            self.work_until_crash(round)?;
            self.crash(round.crash);
            self.recover(&round.nested)?;
        }
        self.finish()?;
        Ok(Verdict::Fine)
    }

    /// Works until something gives; the database is dropped when this returns, as by a process
    /// that ends, or was closed cleanly.
    fn work_until_crash(&mut self, round: &Round) -> Result<(), Verdict> {
        if self.crashed() {
            // The cut came in the last operation of what was done before.
            self.drop_db();
            return Ok(());
        }
        let mut result = Ok(());
        for (at, step) in round.steps.iter().enumerate() {
            if let Some((_, fault)) = round.fault.filter(|(before, _)| *before == at) {
                fault.plan(&self.medium);
                self.note(format_args!("planned: {fault:?}"));
            }
            result = self.step(step);
            if result.is_err() {
                break;
            }
        }
        if result.is_ok() && round.close {
            self.note("close at the end");
            result = self.close();
        }
        if let Err(error) = &result {
            self.note(format_args!("error: {error}"));
        }
        let may_end_itself =
            matches!(round.fault, Some((_, Fault::FailSync { .. } | Fault::FailWrite(_))));
        if result.is_ok() && self.db.is_some() && !may_end_itself {
            // The crash finds the database idle and open: it must not get to close itself.
            self.medium.cut_after(0);
        }
        self.drop_db();
        match result {
            Err(Trouble::Failed(_)) if self.crashed() => Ok(()),
            Err(error) => Err(Verdict::Misbehaved(error.to_string())),
            Ok(()) => Ok(()),
        }
    }

    /// Crashes the machine and restarts it.
    pub fn crash(&mut self, crash: Crash) {
        self.note(format_args!("crash: {crash:?}"));
        let kind = match crash {
            _ if self.medium.sync_failed() => 4,
            _ if self.medium.write_failed() => 5,
            Crash::PowerCut { tearing: Tearing::Sector512, .. } => 0,
            Crash::PowerCut { tearing: Tearing::Page4096, .. } => 1,
            Crash::PowerCut { tearing: Tearing::WholeWrite, .. } => 2,
            Crash::Kill => 3,
            Crash::FailedSync { .. } => 4,
        };
        self.count(kind);
        self.medium = self.medium.crash(crash);
        self.drop_db();
    }

    fn count(&mut self, kind: usize) {
        if let Some(count) = self.crashes.get_mut(kind) {
            *count = count.saturating_add(1);
        }
    }

    /// Restarts, perhaps crashing in recovery as planned, until an open comes through; judges it.
    fn recover(&mut self, nested: &[Nested]) -> Result<(), Verdict> {
        for Nested { fault, crash } in nested {
            fault.plan(&self.medium);
            self.note(format_args!("planned: {fault:?}"));
            match self.open() {
                Ok(()) => return self.judge(),
                Err(verdict) if !self.crashed() => return Err(verdict),
                Err(verdict) => self.note(format_args!("open failed: {verdict:?}")),
            }
            self.count(NESTED);
            self.crash(*crash);
        }
        self.open()?;
        self.judge()
    }

    /// Opens what is there.
    ///
    /// # Errors
    /// [`Verdict::FailedToOpen`].
    pub fn open(&mut self) -> Result<(), Verdict> {
        self.note("open");
        match R::open(self.medium.clone(), self.settings) {
            Ok(db) => {
                self.db = Some(db);
                Ok(())
            }
            Err(NotOpened::Failed(error) | NotOpened::CreationCut(error)) => {
                Err(Verdict::FailedToOpen(error))
            }
        }
    }

    /// Reads all that the open database holds and compares it with the history.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn judge(&mut self) -> Result<(), Verdict> {
        if self.crashed() {
            // The cut came in the last operation of the open; the next restart is judged.
            return Ok(());
        }
        let Some(db) = &self.db else { return Ok(()) };
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
                self.note(format_args!(
                    "judged: allowed, {uncertain} uncertain before, {left} now"
                ));
                Ok(())
            }
            Found::Older(by) => Err(Verdict::LostCommit(format!("{by} commits back; {newest}"))),
            Found::None => Err(Verdict::HalfCommit(newest)),
        }
    }

    /// Opens and judges after a cut in creation; false where open says that it was cut off.
    ///
    /// # Errors
    /// What is wrong.
    pub fn open_cut_creation(&mut self) -> Result<bool, Verdict> {
        self.count(IN_CREATION);
        match R::open(self.medium.clone(), self.settings) {
            Ok(db) => {
                self.db = Some(db);
                self.judge()?;
                Ok(true)
            }
            Err(NotOpened::CreationCut(_)) => Ok(false),
            Err(NotOpened::Failed(_)) if !R::CREATION_IS_TYPED => Ok(false),
            Err(NotOpened::Failed(error)) => {
                Err(Verdict::FailedToOpen(format!("after a cut in creation: {error}")))
            }
        }
    }

    /// Nothing is planned any more: integrity, one more commit, a clean close and a last look.
    ///
    /// # Errors
    /// What is wrong.
    pub fn finish(&mut self) -> Result<(), Verdict> {
        if self.crashed() {
            self.drop_db();
            let (tearing, survival) = (Tearing::Sector512, Survival::Each(0.5));
            self.crash(Crash::PowerCut { tearing, survival });
            self.open()?;
            self.judge()?;
        }
        self.medium.clear_plan();
        let last = Op::Put { table: 0, key: 1_000_000, length: 4, seed: 0 };
        let commit = Transaction { ops: vec![last], ..Transaction::default() };
        for step in [Step::CheckIntegrity, Step::Transaction(commit), Step::Reopen] {
            self.step(&step).map_err(|trouble| match trouble {
                Trouble::Failed(error) => Verdict::FailedToOpen(format!("at the end: {error}")),
                Trouble::WrongData(error) => Verdict::Misbehaved(format!("at the end: {error}")),
            })?;
        }
        self.judge()
    }
}
