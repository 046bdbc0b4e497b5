//! Work that is done while the medium goes wrong, and what must hold afterwards, whatever the
//! fault: a typed error or right data, and a file that opens without the fault at the last commit.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use strongroom::medium::{Medium, MemoryMedium};
use strongroom::redb::{self, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use strongroom::testkit::{FaultKind, FaultPlan, FaultyMedium, SeededRandom};
use strongroom::{Builder, Database, Error, OpenError, RawKey, Recovery};

use crate::case::{Case, Phase};

const NOTES: TableDefinition<u32, &[u8]> = TableDefinition::new("notes");

pub type Content = BTreeMap<u32, Vec<u8>>;
pub type Disk = FaultyMedium<MemoryMedium>;

pub fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.cache_size(32 * 1024);
    builder
}

pub fn key() -> RawKey {
    RawKey::new([0x24; 32])
}

pub fn content(db: &impl ReadableDatabase) -> Result<Content, Error> {
    let table = match db.begin_read()?.open_table(NOTES) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(Content::new()),
        table => table?,
    };
    let mut content = Content::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        content.insert(key.value(), value.value().to_vec());
    }
    Ok(content)
}

/// The commits of a life in turn: a small one, one that grows the file, one in two phases, one that
/// removes most. `next` gets the content that it commits before it does.
pub fn commit(
    db: &redb::Database,
    number: u64,
    random: &mut SeededRandom,
    next: &mut Content,
) -> Result<(), Error> {
    let mut txn = db.begin_write()?;
    txn.set_two_phase_commit(number % 4 == 2);
    {
        let mut table = txn.open_table(NOTES)?;
        let rows = if number % 4 == 1 { 0..30 } else { 0..random.between(1, 4) };
        for _ in rows {
            let row = random.below(60) as u32;
            let mut value = vec![0; random.between(10, 3000) as usize];
            random.fill(&mut value);
            next.insert(row, value.clone());
            table.insert(row, &*value)?;
        }
        if number % 4 == 3 {
            for row in 0..40 {
                next.remove(&row);
                table.remove(row)?;
            }
        }
    }
    Ok(txn.commit()?)
}

/// A database to start from: closed, and left open after the same commits.
#[derive(Clone)]
pub struct Base {
    pub clean: Vec<u8>,
    pub unclean: Vec<u8>,
    pub before: Content,
    pub now: Content,
}

/// The one of this seed, made once.
pub fn base(seed: u64) -> Base {
    static MADE: Mutex<BTreeMap<u64, Base>> = Mutex::new(BTreeMap::new());
    MADE.lock().unwrap().entry(seed).or_insert_with(|| make_base(seed)).clone()
}

fn make_base(seed: u64) -> Base {
    let disk = MemoryMedium::new();
    let db = builder().create_on(disk.clone(), &key()).unwrap();
    let mut random = SeededRandom::new(seed);
    let (mut before, mut now) = (Content::new(), Content::new());
    for number in [0, 1, 2, 4, 0] {
        before.clone_from(&now);
        commit(&db, number, &mut random, &mut now).unwrap();
    }
    let unclean = disk.to_bytes();
    db.close().unwrap();
    Base { clean: disk.to_bytes(), unclean, before, now }
}

/// What came of a case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Outcome {
    /// All went well in spite of the fault, or no fault happened.
    Right,
    /// A typed error; the file is fine without the fault.
    Error,
    /// What a silent fault did to the file is noticed as damage.
    Detected,
    /// The state before the last sync or commit of a file left open, reported.
    OneSync,
}

/// How a fault shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Manner {
    /// The medium says that something failed.
    Loud,
    /// A read gives other bytes, or says that the file ends.
    Misread,
    /// A write did something else than it says.
    Silent,
}

fn manner(plan: &FaultPlan) -> Manner {
    let manners = plan.faults.iter().map(|fault| match fault.what {
        FaultKind::ShortRead
        | FaultKind::MisdirectedRead { .. }
        | FaultKind::BitFlipOnRead { .. }
        | FaultKind::TruncatedTo { .. } => Manner::Misread,
        FaultKind::LostWrite
        | FaultKind::MisdirectedWrite { .. }
        | FaultKind::StaleSector { .. }
        | FaultKind::BitFlipOnWrite { .. }
        | FaultKind::LostSync => Manner::Silent,
        _ => Manner::Loud,
    });
    manners.max_by_key(|manner| *manner as u8).unwrap_or(Manner::Loud)
}

/// The states that a life went through, and how far it is acknowledged.
#[derive(Default)]
pub struct Life {
    pub states: Vec<Content>,
    pub acknowledged: usize,
}

impl Life {
    fn of(states: Vec<Content>) -> Self {
        let acknowledged = states.len() - 1;
        Self { states, acknowledged }
    }

    /// The last commit that returned, or one in flight.
    fn allows(&self, found: &Content) -> bool {
        self.states[self.acknowledged..].contains(found)
    }

    /// What was committed before that.
    fn is_before(&self, found: &Content) -> bool {
        self.acknowledged.checked_sub(1).is_some_and(|before| self.states[before] == *found)
    }
}

pub fn is_reported(recovery: Recovery) -> bool {
    recovery.recovered_from.is_some()
        || recovery.unreadable_root
        || recovery.erased_tag_pages > 0
        || recovery.torn_pages > 0
}

/// Opens what is left, without the fault.
pub fn look(image: &[u8], life: &Life, fallback: bool, damage: bool) -> Result<Outcome, String> {
    let disk = MemoryMedium::from_bytes(image.to_vec());
    let noticed = |error: Error| match damage {
        true => Ok(Outcome::Detected),
        false => Err(format!("doesn't open without the fault: {error}")),
    };
    let mut db = match builder().open_on(disk.clone(), &key()) {
        Ok(db) => db,
        Err(error) => return noticed(error.into()),
    };
    let found = match content(&*db) {
        Ok(found) => found,
        Err(error) => return noticed(error),
    };
    let outcome = if life.allows(&found) {
        Outcome::Right
    } else if fallback && life.is_before(&found) && is_reported(db.recovery()) {
        Outcome::OneSync
    } else {
        return Err(format!("{} rows that were not the last commit's", found.len()));
    };
    match db.check_integrity() {
        Ok(true) => {}
        Ok(false) => return Err("redb repaired something".to_owned()),
        Err(error) => return noticed(error),
    }
    goes_on(db, disk, found, damage)?;
    Ok(outcome)
}

/// One more commit, a clean close, a reopen.
fn goes_on(db: Database, disk: MemoryMedium, mut now: Content, damage: bool) -> Result<(), String> {
    let again = || -> Result<bool, Error> {
        commit(&db, 0, &mut SeededRandom::new(9), &mut now)?;
        db.close()?;
        let db = builder().open_on(disk, &key())?;
        Ok(db.recovery().clean && content(&*db)? == now)
    };
    match again() {
        Ok(true) => Ok(()),
        Ok(false) => Err("one more commit and a clean close went wrong".to_owned()),
        Err(_) if damage => Ok(()),
        Err(error) => Err(format!("one more commit failed: {error}")),
    }
}

/// The error of a fault that the medium reported says so and calls nothing corrupted.
fn check_error(error: &Error, manner: Manner) -> Result<(), String> {
    let corrupted = match error {
        Error::Open(OpenError::Corrupted(_)) => true,
        Error::Redb(error) => matches!(**error, redb::Error::Corrupted(_)),
        _ => false,
    };
    let wrong = corrupted || (manner == Manner::Loud && matches!(error, Error::Damage(_)));
    if wrong { Err(format!("the wrong kind of error: {error}")) } else { Ok(()) }
}

/// Runs a case; also says whether its fault hit anything.
pub fn run(case: &Case) -> Result<(Outcome, bool), String> {
    catch_unwind(AssertUnwindSafe(|| run_phase(case))).unwrap_or(Err("a panic".to_owned()))
}

fn run_phase(case: &Case) -> Result<(Outcome, bool), String> {
    match case.phase {
        Phase::Create => create(case),
        Phase::Open | Phase::ReadOnly | Phase::Recover => open(case),
        Phase::Use | Phase::Close => live(case),
    }
}

fn create(case: &Case) -> Result<(Outcome, bool), String> {
    let disk = Disk::new(MemoryMedium::new());
    disk.arm(case.plan.clone());
    let made = builder().create_on(disk.clone(), &key()).and_then(Database::close);
    let fired = disk.fired() > 0;
    let image = disk.inner().to_bytes();
    let Err(error) = made else {
        let silent = manner(&case.plan) == Manner::Silent;
        let outcome = look(&image, &Life::of(vec![Content::new()]), false, silent)?;
        return Ok((outcome, fired));
    };
    check_error(&error.into(), manner(&case.plan))?;
    // What is left says that it is nothing, or is a database without a table.
    match builder().open_on(MemoryMedium::from_bytes(image.clone()), &key()) {
        Err(OpenError::Empty | OpenError::HeaderLost) => Ok((Outcome::Error, fired)),
        Err(error) => Err(format!("what creation left: {error}")),
        Ok(_) => look(&image, &Life::of(vec![Content::new()]), false, false)
            .map(|_| (Outcome::Error, fired)),
    }
}

fn open(case: &Case) -> Result<(Outcome, bool), String> {
    let base = base(case.seed);
    let recovers = case.phase == Phase::Recover;
    let image = if recovers { base.unclean } else { base.clean };
    let disk = Disk::new(MemoryMedium::from_bytes(image.clone()));
    let life = Life::of(vec![base.before, base.now]);
    disk.arm(case.plan.clone());
    let mut recovery = Recovery::default();
    let mut read = || -> Result<Content, Error> {
        if case.phase == Phase::ReadOnly {
            let db = builder().open_read_only_on(disk.clone(), &key())?;
            return content(&*db);
        }
        let mut db = builder().open_on(disk.clone(), &key())?;
        recovery = db.recovery();
        let found = content(&*db)?;
        db.check_integrity()?;
        db.close()?;
        Ok(found)
    };
    let (read, manner) = (read(), manner(&case.plan));
    let fired = disk.fired() > 0;
    disk.disarm();
    // A read that shows other bytes looks as a torn write does, to a file left open. What was given
    // up for it, and reported, stays given up.
    let gave_up = recovers && manner != Manner::Loud && is_reported(recovery);
    let damage = manner == Manner::Silent;
    let outcome = match &read {
        Err(error) => {
            check_error(error, manner)?;
            Outcome::Error
        }
        Ok(found) if life.allows(found) => Outcome::Right,
        Ok(found) if gave_up && life.is_before(found) => Outcome::OneSync,
        Ok(_) => return Err("wrong data".to_owned()),
    };
    let left = disk.inner().to_bytes();
    if case.phase == Phase::ReadOnly && left != image {
        return Err("a read-only open wrote".to_owned());
    }
    if outcome != Outcome::OneSync {
        match look(&left, &life, recovers && damage, damage) {
            Err(_) if gave_up && outcome == Outcome::Error => {}
            after => return Ok((outcome.max(after?), fired)),
        }
    }
    let before = Life::of(vec![life.states[0].clone()]);
    Ok((Outcome::OneSync.max(look(&left, &before, false, damage)?), fired))
}

/// Commits with reads between them, then a close; the fault is there in one or the other.
fn live(case: &Case) -> Result<(Outcome, bool), String> {
    let Base { clean, now, .. } = base(case.seed);
    let disk = Disk::new(MemoryMedium::from_bytes(clean));
    let (manner, mut life) = (manner(&case.plan), Life::of(vec![now]));
    let db = builder().open_on(disk.clone(), &key()).map_err(|error| error.to_string())?;
    if case.phase == Phase::Use {
        disk.arm(case.plan.clone());
    }
    let mut failed = commits(&db, case.seed, &mut life)?;
    let fired_in_use = disk.fired() > 0;
    let killed = disk.inner().to_bytes();
    if case.phase == Phase::Close {
        disk.arm(case.plan.clone());
    }
    let closed = db.close();
    let fired = fired_in_use || disk.fired() > 0;
    disk.disarm();
    failed = failed.or(closed.err().map(Error::from));
    if let Some(error) = &failed {
        check_error(error, manner)?;
    }
    let silent = manner == Manner::Silent && fired;
    let left = disk.inner().to_bytes();
    let after_kill = look(&killed, &life, silent, silent)?;
    // After an error it was not closed cleanly, and may fall back as after a kill.
    let after_close = look(&left, &life, silent && failed.is_some(), silent)?;
    let worst = after_kill.max(after_close);
    let outcome = if failed.is_some() && worst == Outcome::Right { Outcome::Error } else { worst };
    Ok((outcome, fired))
}

fn commits(db: &redb::Database, seed: u64, life: &mut Life) -> Result<Option<Error>, String> {
    let mut random = SeededRandom::new(seed + 1000);
    for number in 0..4 {
        let mut next = life.states[life.acknowledged].clone();
        let committed = commit(db, number, &mut random, &mut next);
        life.states.push(next);
        match committed {
            Ok(()) => life.acknowledged += 1,
            Err(error) => return Ok(Some(error)),
        }
        match content(db) {
            Ok(found) if found == life.states[life.acknowledged] => {}
            Ok(_) => return Err("wrong data in use".to_owned()),
            Err(error) => return Ok(Some(error)),
        }
    }
    Ok(None)
}

/// As [`commits`], on any medium, for crashes: goes on until the plan has fired or the work is
/// done.
pub fn commits_until_fired<M: Medium + Clone>(
    disk: &FaultyMedium<M>,
    seed: u64,
    life: &mut Life,
    more: u64,
) -> Result<(), Error> {
    let db = builder().open_on(disk.clone(), &key())?;
    let mut random = SeededRandom::new(seed + 2000);
    let mut after = 0;
    for number in 0..8 {
        let mut next = life.states[life.acknowledged].clone();
        let committed = commit(&db, number, &mut random, &mut next);
        life.states.push(next);
        committed?;
        life.acknowledged += 1;
        after += u64::from(disk.fired() > 0);
        if after > more {
            break;
        }
    }
    // The machine goes down with the database open.
    std::mem::forget(db);
    Ok(())
}
