//! A key rotation with commits in between, cut at every operation and cut again in the recovery:
//! no commit that returned is lost, nothing half is seen, and the rotation always ends afterwards.
//!
//! `ROTATION_CUTS=all` visits every operation under every kind of crash, the default a part of
//! them; `ROTATION_SEEDS=n` adds n random ones on larger databases, `ROTATION_SEED=n` replays one.
#![cfg(feature = "testkit")]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails, and sizes are small"
)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use strongroom::redb::{Durability, ReadableDatabase, ReadableTable, TableDefinition};
use strongroom::testkit::{Crash, CrashMedium, SeededRandom, Survival, Tearing};
use strongroom::{Builder, Database, Epoch, Error, RawKey, RotationError, StoreError};

const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("table");
/// A rotation of the test's databases takes fewer steps.
const STEPS_MAX: usize = 400;

/// Rotations that needed an open with an integrity check.
static CHECKED: AtomicU64 = AtomicU64::new(0);

type Content = BTreeMap<u64, Vec<u8>>;

fn key() -> RawKey {
    RawKey::new([9; 32])
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.cache_size(64 << 10).rotation_batch(126).resume_rotation(false);
    builder
}

/// What the database must hold: the last durable commit that returned, or one after it.
#[derive(Clone, Default)]
struct Model {
    acked: Content,
    later: Vec<Content>,
}

impl Model {
    fn allows(&self, found: &Content) -> bool {
        *found == self.acked || self.later.contains(found)
    }

    fn newest(&self) -> &Content {
        self.later.last().unwrap_or(&self.acked)
    }
}

fn content(db: &Database) -> Result<Content, Error> {
    let read = db.begin_read()?;
    let mut content = Content::new();
    for row in read.open_table(TABLE)?.iter()? {
        let (key, value) = row?;
        content.insert(key.value(), value.value().to_vec());
    }
    Ok(content)
}

fn commit(db: &Database, model: &mut Model, random: &mut SeededRandom) -> Result<(), Error> {
    let mut next = model.newest().clone();
    let durable = !random.chance(0.15);
    let mut txn = db.begin_write()?;
    txn.set_two_phase_commit(random.chance(0.3));
    txn.set_quick_repair(random.chance(0.1));
    if !durable {
        txn.set_durability(Durability::None)?;
    }
    {
        let mut table = txn.open_table(TABLE)?;
        let large = random.chance(0.15);
        for _ in 0..random.between(1, 6) {
            let record = random.between(0, 120);
            if random.chance(0.25) {
                table.remove(record)?;
                next.remove(&record);
            } else {
                let size = if large { 40_000 } else { random.between(1, 3000) };
                let value = vec![random.between(1, 255) as u8; size as usize];
                table.insert(record, &*value)?;
                next.insert(record, value);
            }
        }
    }
    model.later.push(next.clone());
    txn.commit()?;
    if durable {
        *model = Model { acked: next, later: Vec::new() };
    }
    Ok(())
}

/// Rotates step by step with a commit after some steps. `Ok(true)` once the rotation has ended.
fn rotate(
    db: &Database,
    model: &mut Model,
    random: &mut SeededRandom,
    commits: f64,
) -> Result<bool, Error> {
    let mut steps = db.rotate_by_steps()?;
    for _ in 0..STEPS_MAX {
        if steps.step()?.is_some() {
            return Ok(true);
        }
        while random.chance(commits) {
            commit(db, model, random)?;
        }
    }
    Ok(false)
}

struct Start {
    image: Vec<u8>,
    model: Model,
}

fn start(seed: u64, records: u64) -> Start {
    let disk = CrashMedium::new(seed);
    let db = builder().create_on(disk.clone(), &key()).unwrap();
    let mut model = Model::default();
    let txn = db.begin_write().unwrap();
    for record in 0..records {
        let value = vec![record as u8 + 1; 2500];
        txn.open_table(TABLE).unwrap().insert(record, &*value).unwrap();
        model.acked.insert(record, value);
    }
    txn.commit().unwrap();
    db.close().unwrap();
    Start { image: disk.image(), model }
}

/// Opens and rotates until the power goes off; what the model is then.
fn work(disk: &CrashMedium, model: &mut Model, seed: u64) -> Result<bool, Error> {
    let mut random = SeededRandom::new(seed);
    let db = builder().open_on(disk.clone(), &key())?;
    let ended = rotate(&db, model, &mut random, 0.6)?;
    db.close()?;
    Ok(ended)
}

fn crash_of(number: u64) -> Crash {
    let tearing = [Tearing::Sector512, Tearing::Page4096, Tearing::WholeWrite][number as usize % 3];
    let survival = [
        Survival::Each(0.5),
        Survival::Each(0.1),
        Survival::Each(0.9),
        Survival::OnlyOne,
        Survival::AllButOne,
    ][number as usize / 3 % 5];
    match number % 7 {
        5 => Crash::Kill,
        6 => Crash::FailedSync { tearing, survival },
        _ => Crash::PowerCut { tearing, survival },
    }
}

/// One cut: the first at `cut`, then one in each of `nested` recoveries; then it must open, hold
/// what it must, and end its rotation.
fn cut(start: &Start, cut: u64, crash: u64, nested: &[u64]) -> Result<bool, String> {
    let disk = CrashMedium::from_image(cut ^ crash << 32, start.image.clone());
    let mut model = start.model.clone();
    disk.cut_after(cut);
    let worked = work(&disk, &mut model, 7);
    if !disk.is_off() {
        let ended = worked.map_err(|error| format!("without a cut: {error}"))?;
        return if ended { Ok(false) } else { Err("the rotation does not end".to_owned()) };
    }
    let mut disk = disk.crash(crash_of(crash));
    for (number, operations) in (1..).zip(nested) {
        disk.cut_after(*operations);
        if let Ok(db) = builder().open_on(disk.clone(), &key()) {
            let _ = rotate(&db, &mut model.clone(), &mut SeededRandom::new(number), 0.0);
        }
        disk = disk.crash(crash_of(crash + number));
    }
    let db = builder().open_on(disk.clone(), &key()).map_err(|error| format!("open: {error}"))?;
    let found = content(&db).map_err(|error| format!("read: {error}"))?;
    if !model.allows(&found) {
        return Err("lost or half".to_owned());
    }
    let mut model = Model { acked: found, later: Vec::new() };
    let mut random = SeededRandom::new(11);
    let (db, ended) = match rotate(&db, &mut model, &mut random, 0.2) {
        Ok(ended) => (db, ended),
        // Debris of a crash after which redb walked no tree: a walk tells it from damage.
        Err(Error::Rotation(RotationError::Store(error)))
            if matches!(*error, StoreError::Unreadable { .. }) =>
        {
            CHECKED.fetch_add(1, Ordering::Relaxed);
            db.close().map_err(|error| format!("close for a check: {error}"))?;
            let mut checking = builder();
            checking.check_integrity_on_open(true);
            let db = checking.open_on(disk.clone(), &key());
            let db = db.map_err(|error| format!("open with a check: {error}"))?;
            let ended = rotate(&db, &mut model, &mut random, 0.2);
            (db, ended.map_err(|error| format!("after a check: {error}"))?)
        }
        Err(error) => return Err(error.to_string()),
    };
    if !ended || db.active_epoch() < Epoch(2) {
        return Err("the rotation does not end".to_owned());
    }
    if content(&db).map_err(|error| format!("read again: {error}"))? != *model.newest() {
        return Err("wrong content after the rotation".to_owned());
    }
    db.close().map_err(|error| format!("close: {error}"))?;
    let mut db = builder().open_on(disk, &key()).map_err(|error| format!("reopen: {error}"))?;
    if !db.check_integrity().map_err(|error| format!("check: {error}"))? {
        return Err("check_integrity repaired something".to_owned());
    }
    let found = content(&db).map_err(|error| format!("read at last: {error}"))?;
    if found == *model.newest() { Ok(true) } else { Err("wrong content at last".to_owned()) }
}

fn on_all_cores(jobs: u64, job: impl Fn(u64) -> Result<bool, String> + Sync) -> u64 {
    let (next, cuts) = (AtomicU64::new(0), AtomicU64::new(0));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= jobs {
                        return;
                    }
                    match job(number) {
                        Ok(was_cut) => cuts.fetch_add(u64::from(was_cut), Ordering::Relaxed),
                        Err(what) => panic!("job {number}: {what}"),
                    };
                }
            });
        }
    });
    cuts.into_inner()
}

fn asked(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[test]
fn every_operation_of_a_rotation_can_be_cut() {
    let start = start(1, 60);
    let disk = CrashMedium::from_image(0, start.image.clone());
    assert!(work(&disk, &mut start.model.clone(), 7).unwrap(), "it ends where nothing is cut");
    let operations = disk.operations();
    let every = asked("ROTATION_CUTS").is_some_and(|all| all == "all");
    let (stride, crashes) = if every { (1, 15) } else { (1, 1) };
    let jobs = operations / stride * crashes;
    let cuts = on_all_cores(jobs, |job| {
        let (at, crash) = (job / crashes * stride, job % crashes + job);
        let nested: &[u64] = match job % 4 {
            0 => &[],
            1 => &[job % 23],
            2 => &[job % 41],
            _ => &[job % 7, job % 13],
        };
        cut(&start, at, crash, nested)
            .map_err(|what| format!("cut at {at}, crash {crash}, nested {nested:?}: {what}"))
    });
    println!("figure: operations of a rotation = {operations}");
    println!("figure: rotations cut = {cuts}");
    assert!(cuts > jobs / 2, "the cuts were reached");
}

#[test]
fn rotations_of_larger_databases_survive_random_cuts() {
    let starts: Vec<_> = (0..4).map(|seed| start(seed, 30 + 60 * seed)).collect();
    let one = |seed: u64| {
        let mut random = SeededRandom::new(seed);
        let start = &starts[random.between(0, starts.len() as u64 - 1) as usize];
        let nested: Vec<_> = (0..random.between(0, 2)).map(|_| random.between(0, 60)).collect();
        cut(start, random.between(0, 250), random.next_u64() >> 40, &nested)
            .map_err(|what| format!("ROTATION_SEED={seed}: {what}"))
    };
    if let Some(seed) = asked("ROTATION_SEED").and_then(|seed| seed.parse().ok()) {
        one(seed).unwrap();
        return;
    }
    let seeds = asked("ROTATION_SEEDS").and_then(|seeds| seeds.parse().ok()).unwrap_or(600);
    let cuts = on_all_cores(seeds, one);
    println!("figure: rotations cut at random = {cuts} of {seeds}");
    println!(
        "figure: rotations that wanted an integrity check = {}",
        CHECKED.load(Ordering::Relaxed)
    );
}
