//! The databases that are attacked, each with its history and with what every state of it holds:
//! a big one of 200 commits, which went two ways after 150, and small ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use strongroom::medium::MemoryMedium;
use strongroom::redb::{self, ReadableDatabase, ReadableTable, TableDefinition};
use strongroom::testkit::{Attacker, FileHistory, RecordingMedium, SeededRandom};
use strongroom::{Builder, Database, RawKey};

pub const NOTES: TableDefinition<u32, &[u8]> = TableDefinition::new("notes");
/// More rows than any state has: a replayed tree may go round in circles.
const ROWS_MAX: usize = 10_000;

pub type Content = BTreeMap<u32, Vec<u8>>;

pub fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.cache_size(512 * 1024);
    builder
}

pub fn key() -> RawKey {
    RawKey::new([0x42; 32])
}

/// Everything, read through a cursor.
pub fn content(db: &impl ReadableDatabase) -> Result<Content, redb::Error> {
    let table = db.begin_read()?.open_table(NOTES)?;
    let mut content = Content::new();
    for entry in table.iter()?.take(ROWS_MAX) {
        let (key, value) = entry?;
        content.insert(key.value(), value.value().to_vec());
    }
    Ok(content)
}

/// What random commits do.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    pub rows: u32,
    pub value_max: u64,
    pub changes_max: u64,
    pub two_phase: bool,
}

/// One commit: some rows written, one perhaps removed. The first one writes all.
pub fn commit(db: &redb::Database, work: Work, random: &mut SeededRandom, first: bool) {
    let mut txn = db.begin_write().unwrap();
    txn.set_two_phase_commit(work.two_phase);
    {
        let mut table = txn.open_table(NOTES).unwrap();
        let some: Vec<u32> = if first {
            (0..work.rows).collect()
        } else {
            let changes = random.between(1, work.changes_max);
            (0..changes).map(|_| random.below(u64::from(work.rows)) as u32).collect()
        };
        for row in some {
            let mut value = vec![0; random.between(8, work.value_max) as usize];
            random.fill(&mut value);
            table.insert(row, &*value).unwrap();
        }
        if random.chance(0.2) && !first {
            table.remove(random.below(u64::from(work.rows)) as u32).unwrap();
        }
    }
    txn.commit().unwrap();
}

/// What a state of the file holds, found out by opening it.
#[derive(Clone, Debug)]
pub struct Truth {
    pub sync: u64,
    pub content: Arc<Content>,
}

/// A database to attack.
#[derive(Clone, Debug)]
pub struct Victim {
    pub name: &'static str,
    pub attacker: Attacker,
    /// For each state of the history; `None` where its creation wasn't finished.
    pub truths: Vec<Option<Truth>>,
    pub clean: bool,
    /// Another timeline of the same file.
    pub fork: Option<Box<Victim>>,
}

impl Victim {
    fn new(name: &'static str, history: FileHistory, clean: bool) -> Self {
        let truths = (0..history.len()).map(|state| truth(&history.image(state))).collect();
        let victim = Self { name, attacker: Attacker::new(history), truths, clean, fork: None };
        assert!(victim.truths.last().unwrap().is_some(), "it opens as it is");
        victim
    }

    fn other(mut self, image: Vec<u8>) -> Self {
        self.attacker = self.attacker.with_other(image);
        self
    }

    pub fn last(&self) -> usize {
        self.attacker.history().last()
    }

    pub fn truth(&self, state: usize) -> &Truth {
        self.truths[state].as_ref().unwrap()
    }

    pub fn now(&self) -> &Content {
        &self.truth(self.last()).content
    }

    /// What was committed before what this state holds.
    pub fn commit_before(&self, state: usize) -> Option<&Content> {
        let known = self.truths[..=state].iter().rev().flatten();
        let mut contents = known.map(|truth| &*truth.content);
        let content = contents.next()?;
        contents.find(|before| *before != content)
    }
}

fn truth(image: &[u8]) -> Option<Truth> {
    let db = builder().open_on(MemoryMedium::from_bytes(image.to_vec()), &key()).ok()?;
    // An empty database has no table yet.
    let content = content(&*db).unwrap_or_default();
    Some(Truth { sync: db.recovery().sync.0, content: Arc::new(content) })
}

type Disk = RecordingMedium<MemoryMedium>;

/// Commits, now and then a close; what the file holds is checked against what is read.
fn live(mut db: Database, disk: &Disk, work: Work, seed: u64, commits: u32) -> Database {
    let mut random = SeededRandom::new(seed);
    for number in 0..commits {
        if number % 60 == 59 {
            db.close().unwrap();
            db = builder().open_on(disk.clone(), &key()).unwrap();
        }
        let first = content(&*db).is_err();
        commit(&db, work, &mut random, first);
    }
    db
}

/// Two victims of one history: as it was with the database open, and after it was closed.
fn ended(db: Database, disk: &Disk, names: [&'static str; 2]) -> [Victim; 2] {
    let open = disk.history();
    let expected = content(&*db).unwrap();
    db.close().unwrap();
    let victims = [Victim::new(names[0], disk.history(), true), Victim::new(names[1], open, false)];
    assert!(victims.iter().all(|victim| *victim.now() == expected));
    victims
}

/// 200 commits over some 200 pages in two groups. After 150 of them the file went another way too:
/// that timeline is the other file. Clean and unclean.
pub fn big() -> [Victim; 2] {
    let work = Work { rows: 130, value_max: 2500, changes_max: 4, two_phase: false };
    let disk = Disk::new(MemoryMedium::new());
    let db = builder().create_on(disk.clone(), &key()).unwrap();
    let db = live(db, &disk, work, 1, 150);
    let copy = MemoryMedium::from_bytes(disk.inner().to_bytes());
    let fork_disk = Disk::into_history(copy, disk.history());
    let fork = builder().open_on(fork_disk.clone(), &key()).unwrap();
    let fork = live(fork, &fork_disk, work, 3, 50);
    let forks = ended(fork, &fork_disk, ["fork, clean", "fork, unclean"]);
    let db = live(db, &disk, work, 2, 50);
    let victims = ended(db, &disk, ["200 commits, clean", "200 commits, unclean"]);
    let both = victims.into_iter().zip(forks).map(|(victim, fork)| {
        let image = fork.attacker.current().to_vec();
        Victim { fork: Some(Box::new(fork)), ..victim }.other(image)
    });
    both.collect::<Vec<_>>().try_into().unwrap()
}

/// A few commits in the smallest file; the other file is another database with the same key.
pub fn small(two_phase: bool) -> [Victim; 2] {
    small_by(two_phase, &builder())
}

/// The same, where every commit writes its tag pages.
pub fn small_without_late_entries() -> [Victim; 2] {
    small_by(false, builder().late_entries(0))
}

fn small_by(two_phase: bool, builder: &Builder) -> [Victim; 2] {
    let work = Work { rows: 24, value_max: 1500, changes_max: 2, two_phase };
    let make = |seed, names| {
        let disk = Disk::new(MemoryMedium::new());
        let db = builder.create_on(disk.clone(), &key()).unwrap();
        let db = live(db, &disk, work, seed, 6);
        ended(db, &disk, names)
    };
    let others = make(11, ["other, clean", "other, unclean"]);
    let names = if two_phase {
        ["small, two phases, clean", "small, two phases, unclean"]
    } else {
        ["small, clean", "small, unclean"]
    };
    let both = make(10, names).into_iter().zip(others);
    let both = both.map(|(victim, other)| victim.other(other.attacker.current().to_vec()));
    both.collect::<Vec<_>>().try_into().unwrap()
}
