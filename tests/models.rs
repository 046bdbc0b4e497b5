//! Shows with random programs that strongroom stores what it was given. The bare backend is held
//! against a plain byte array: any offset and length, resize, sync, close, reopen, and a copy of
//! the medium after a sync. The database is held against `BTreeMap`s over redb's table API: several
//! tables, a multimap, savepoints of both kinds, every durability, abort, compaction, clean reopens
//! and reopens of a copy taken while it was open. `PROPTEST_CASES` sets the number of programs.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a helper that fails is a test that fails"
)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use strongroom::medium::MemoryMedium;
use strongroom::redb::{
    self, Durability, ReadableDatabase, ReadableMultimapTable, ReadableTable, Savepoint,
    StorageBackend, TableDefinition, WriteTransaction,
};
use strongroom::{Builder, Database, EncryptedBackend, RawKey};

const PAGE: usize = 4096;
/// Two and a half groups of 126 pages.
const PAGES_MAX: usize = 315;

fn config(cases: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let (cases, max_shrink_iters) = (asked.unwrap_or(cases), 2_000);
    ProptestConfig { cases, max_shrink_iters, failure_persistence: None, ..Default::default() }
}

fn key() -> RawKey {
    RawKey::new([0x61; 32])
}

#[derive(Clone, Debug)]
enum Call {
    Read(usize, usize),
    Write(usize, usize, u8),
    Resize(usize),
    ResizeToPartOfAPage(usize, usize),
    Sync,
    SyncAndOpenACopy,
    CloseAndReopen,
}

// Offsets near page and group boundaries as often as anywhere else.
fn offset() -> impl Strategy<Value = usize> {
    let anywhere = 0..PAGES_MAX * PAGE;
    let near = (0..PAGES_MAX, 0..64usize).prop_map(|(page, by)| (page * PAGE + by).max(32) - 32);
    let group = (0..3usize, 0..5usize).prop_map(|(group, by)| (group * 126 + by).max(2) * PAGE);
    prop_oneof![anywhere, near, group, Just(0), Just(2040)]
}

fn length() -> impl Strategy<Value = usize> {
    let pages = (1..140usize).prop_map(|pages| pages * PAGE);
    prop_oneof![2 => 0..100usize, 2 => 0..3 * PAGE, 2 => pages, 1 => Just(320), 1 => 0..80 * PAGE]
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        4 => (offset(), length()).prop_map(|(at, len)| Call::Read(at, len)),
        8 => (offset(), length(), any::<u8>()).prop_map(|(at, len, b)| Call::Write(at, len, b)),
        3 => (0..PAGES_MAX).prop_map(Call::Resize),
        1 => Just(Call::Resize(0)),
        1 => (0..PAGES_MAX, 1..PAGE).prop_map(|(page, by)| Call::ResizeToPartOfAPage(page, by)),
        2 => Just(Call::Sync),
        1 => Just(Call::SyncAndOpenACopy),
        1 => Just(Call::CloseAndReopen),
    ]
}

fn content(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| seed.wrapping_mul(31).wrapping_add((i / 7) as u8) ^ i as u8).collect()
}

fn check_all(backend: &EncryptedBackend, model: &[u8]) -> TestCaseResult {
    prop_assert_eq!(backend.len().unwrap(), model.len() as u64);
    let mut found = vec![0xEE; model.len()];
    backend.read(0, &mut found).unwrap();
    let differs = found.iter().zip(model).position(|(found, byte)| found != byte);
    prop_assert_eq!(differs, None, "first byte that differs");
    Ok(())
}

/// Whether the array takes the write too; page 0 keeps only zeros behind byte 2048.
fn model_write(model: &mut [u8], at: usize, data: &[u8]) -> bool {
    let Some(place) = model.get_mut(at..at + data.len()) else { return false };
    let beyond_2048 =
        |(index, byte): (usize, &u8)| *byte != 0 && (2048..PAGE).contains(&(at + index));
    if data.iter().enumerate().any(beyond_2048) {
        return false;
    }
    place.copy_from_slice(data);
    true
}

fn run_backend(calls: Vec<Call>) -> TestCaseResult {
    let medium = MemoryMedium::new();
    let mut model: Vec<u8> = Vec::new();
    let mut backend = EncryptedBackend::create_on(medium.clone(), &key()).unwrap();
    for call in calls {
        match call {
            Call::Read(at, len) => {
                let mut found = vec![0xEE; len];
                let read = backend.read(at as u64, &mut found);
                match model.get(at..at + len) {
                    Some(expected) => prop_assert!(read.is_ok() && found == expected, "{at} {len}"),
                    None => prop_assert!(read.is_err(), "a read past the end"),
                }
            }
            Call::Write(at, len, seed) => {
                // Behind byte 2048 page 0 takes zeros only: half of the writes there are.
                let data = if seed < 128 && at < PAGE { vec![0; len] } else { content(len, seed) };
                let written = backend.write(at as u64, &data);
                prop_assert_eq!(written.is_ok(), model_write(&mut model, at, &data));
            }
            Call::Resize(pages) => {
                backend.set_len((pages * PAGE) as u64).unwrap();
                model.resize(pages * PAGE, 0);
            }
            Call::ResizeToPartOfAPage(pages, by) => {
                prop_assert!(backend.set_len((pages * PAGE + by) as u64).is_err());
            }
            Call::Sync => backend.sync_data().unwrap(),
            Call::SyncAndOpenACopy => {
                backend.sync_data().unwrap();
                let copy = MemoryMedium::from_bytes(medium.to_bytes());
                let copy = EncryptedBackend::open_on(copy, &key()).unwrap();
                check_all(&copy, &model)?;
            }
            Call::CloseAndReopen => {
                // As redb does: what no sync followed is not promised to outlast a close.
                backend.sync_data().unwrap();
                backend.close().unwrap();
                drop(backend);
                backend = EncryptedBackend::open_on(medium.clone(), &key()).unwrap();
                prop_assert!(backend.recovery().clean);
            }
        }
    }
    check_all(&backend, &model)
}

const NUMBERS: TableDefinition<u32, &[u8]> = TableDefinition::new("numbers");
const WORDS: TableDefinition<&str, u64> = TableDefinition::new("words");
const PAIRS: redb::MultimapTableDefinition<u32, u32> = redb::MultimapTableDefinition::new("pairs");

#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    numbers: BTreeMap<u32, Vec<u8>>,
    words: BTreeMap<String, u64>,
    pairs: BTreeMap<u32, BTreeSet<u32>>,
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u32, usize),
    Remove(u32),
    Range(u32, u32),
    PopFirst,
    PopLast,
    Retain(u32),
    ExtractRange(u32, u32),
    Word(u32, u64),
    Unword(u32),
    Pair(u32, u32),
    Unpair(u32, u32),
    UnpairAll(u32),
    DropNumbers,
}

#[derive(Clone, Debug)]
struct Txn {
    ops: Vec<Op>,
    commit: bool,
    lazy: bool,
    two_phase: bool,
    quick_repair: bool,
    savepoint: Option<bool>,
    restore: Option<(bool, usize)>,
}

#[derive(Clone, Debug)]
enum Step {
    Txn(Txn),
    Reopen,
    OpenACopy,
    Compact,
    CheckIntegrity,
    ForgetSavepoints,
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..200u32;
    let size = prop_oneof![5 => 0..200usize, 2 => 0..6_000usize, 1 => 20_000..120_000usize];
    prop_oneof![
        8 => (key.clone(), size).prop_map(|(key, len)| Op::Insert(key, len)),
        3 => key.clone().prop_map(Op::Remove),
        2 => (key.clone(), key.clone()).prop_map(|(low, high)| Op::Range(low, high)),
        1 => Just(Op::PopFirst),
        1 => Just(Op::PopLast),
        1 => (2..9u32).prop_map(Op::Retain),
        1 => (key.clone(), key.clone()).prop_map(|(low, high)| Op::ExtractRange(low, high)),
        3 => (0..50u32, any::<u64>()).prop_map(|(word, value)| Op::Word(word, value)),
        1 => (0..50u32).prop_map(Op::Unword),
        3 => (0..9u32, 0..400u32).prop_map(|(key, value)| Op::Pair(key, value)),
        1 => (0..9u32, 0..400u32).prop_map(|(key, value)| Op::Unpair(key, value)),
        1 => (0..9u32).prop_map(Op::UnpairAll),
        1 => Just(Op::DropNumbers),
    ]
}

fn txn() -> impl Strategy<Value = Txn> {
    let kind =
        (prop::bool::weighted(0.85), prop::bool::weighted(0.3), any::<bool>(), any::<bool>());
    let savepoint = prop::option::weighted(0.3, any::<bool>());
    let restore = prop::option::weighted(0.2, (any::<bool>(), 0..4usize));
    (vec(op(), 0..25), kind, savepoint, restore).prop_map(|(ops, kind, savepoint, restore)| {
        let (commit, lazy, two_phase, quick_repair) = kind;
        Txn { ops, commit, lazy, two_phase, quick_repair, savepoint, restore }
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => txn().prop_map(Step::Txn),
        2 => Just(Step::Reopen),
        2 => Just(Step::OpenACopy),
        1 => Just(Step::Compact),
        1 => Just(Step::CheckIntegrity),
        1 => Just(Step::ForgetSavepoints),
    ]
}

fn word(number: u32) -> String {
    format!("word {}", number * 7919 % 101)
}

impl Op {
    /// Does it to both, and compares what the database answers.
    fn apply(&self, txn: &WriteTransaction, model: &mut Model) -> TestCaseResult {
        if let Op::DropNumbers = self {
            txn.delete_table(NUMBERS).unwrap();
            model.numbers.clear();
            return Ok(());
        }
        let mut table = txn.open_table(NUMBERS).unwrap();
        let mut words = txn.open_table(WORDS).unwrap();
        let mut pairs = txn.open_multimap_table(PAIRS).unwrap();
        match self {
            Op::Insert(key, len) => {
                let value = content(*len, *key as u8);
                let old = table.insert(key, &*value).unwrap().map(|old| old.value().to_vec());
                prop_assert_eq!(old, model.numbers.insert(*key, value));
            }
            Op::Remove(key) => {
                let old = table.remove(key).unwrap().map(|old| old.value().to_vec());
                prop_assert_eq!(old, model.numbers.remove(key));
            }
            Op::Range(low, high) if low <= high => {
                let found = table.range(*low..*high).unwrap().rev().map(Result::unwrap);
                let found: Vec<_> = found.map(|(k, v)| (k.value(), v.value().to_vec())).collect();
                let expected = model.numbers.range(*low..*high).rev();
                let expected: Vec<_> = expected.map(|(k, v)| (*k, v.clone())).collect();
                prop_assert!(found == expected);
            }
            Op::PopFirst => {
                let found = table.pop_first().unwrap().map(|(key, _)| key.value());
                prop_assert_eq!(found, model.numbers.pop_first().map(|(key, _)| key));
            }
            Op::PopLast => {
                let found = table.pop_last().unwrap().map(|(key, _)| key.value());
                prop_assert_eq!(found, model.numbers.pop_last().map(|(key, _)| key));
            }
            Op::Retain(modulus) => {
                table.retain(|key, _| key % modulus != 0).unwrap();
                model.numbers.retain(|key, _| key % modulus != 0);
            }
            Op::ExtractRange(low, high) if low <= high => {
                let range = table.extract_from_if(*low..*high, |key, _| key % 3 == 0).unwrap();
                let taken: Vec<_> = range.map(|entry| entry.unwrap().0.value()).collect();
                let expected: Vec<_> = model.numbers.range(*low..*high).map(|(k, _)| *k).collect();
                let expected: Vec<_> = expected.into_iter().filter(|key| key % 3 == 0).collect();
                expected.iter().for_each(|key| drop(model.numbers.remove(key)));
                prop_assert_eq!(taken, expected);
            }
            Op::Word(number, value) => {
                words.insert(&*word(*number), value).unwrap();
                model.words.insert(word(*number), *value);
            }
            Op::Unword(number) => {
                let old = words.remove(&*word(*number)).unwrap().map(|old| old.value());
                prop_assert_eq!(old, model.words.remove(&word(*number)));
            }
            Op::Pair(key, value) => {
                let had = pairs.insert(key, value).unwrap();
                prop_assert_eq!(had, !model.pairs.entry(*key).or_default().insert(*value));
            }
            Op::Unpair(key, value) => {
                let had = pairs.remove(key, value).unwrap();
                let values = model.pairs.entry(*key).or_default();
                prop_assert_eq!(had, values.remove(value));
            }
            Op::UnpairAll(key) => {
                let found: Vec<_> =
                    pairs.remove_all(key).unwrap().map(|value| value.unwrap().value()).collect();
                let expected = model.pairs.remove(key).unwrap_or_default();
                prop_assert!(found.into_iter().eq(expected));
            }
            Op::Range(..) | Op::ExtractRange(..) | Op::DropNumbers => {}
        }
        Ok(())
    }
}

/// Everything the database holds.
fn all_of(db: &impl ReadableDatabase) -> Model {
    let read = db.begin_read().unwrap();
    let mut model = Model::default();
    if let Ok(table) = read.open_table(NUMBERS) {
        let entries = table.iter().unwrap().map(Result::unwrap);
        model.numbers = entries.map(|(k, v)| (k.value(), v.value().to_vec())).collect();
    }
    if let Ok(table) = read.open_table(WORDS) {
        let entries = table.iter().unwrap().map(Result::unwrap);
        model.words = entries.map(|(k, v)| (k.value().to_owned(), v.value())).collect();
    }
    if let Ok(table) = read.open_multimap_table(PAIRS) {
        for (key, values) in table.iter().unwrap().map(Result::unwrap) {
            let values = values.map(|value| value.unwrap().value()).collect();
            model.pairs.insert(key.value(), values);
        }
    }
    model
}

fn check_equal(db: &impl ReadableDatabase, model: &Model) -> TestCaseResult {
    let mut expected = model.clone();
    expected.pairs.retain(|_, values| !values.is_empty());
    prop_assert!(all_of(db) == expected, "tables differ from the model");
    Ok(())
}

struct Run {
    medium: MemoryMedium,
    db: Database,
    now: Model,
    /// What a crash would leave: content, and persistent savepoints.
    durable: (Model, Vec<(u64, Model)>),
    ephemeral: Vec<(Savepoint, Model)>,
    persistent: Vec<(u64, Model)>,
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    // Small caches, so that pages are evicted in the middle of transactions and read again.
    builder.cache_size(256 * 1024).tag_cache_size(0);
    builder
}

impl Run {
    fn txn(&mut self, step: &Txn) -> TestCaseResult {
        let mut txn = self.db.begin_write().unwrap();
        // redb refuses persistent savepoints, made or restored past, without durability.
        let lazy = step.lazy && step.savepoint != Some(true) && step.restore.is_none();
        if lazy {
            txn.set_durability(Durability::None).unwrap();
        }
        txn.set_two_phase_commit(step.two_phase);
        txn.set_quick_repair(step.quick_repair);
        let mut persistent = self.persistent.clone();
        match step.savepoint {
            Some(true) => persistent.push((txn.persistent_savepoint().unwrap(), self.now.clone())),
            Some(false) => {
                self.ephemeral.push((txn.ephemeral_savepoint().unwrap(), self.now.clone()));
            }
            None => {}
        }
        let mut model = self.now.clone();
        if let Some((from_persistent, nth)) = step.restore {
            if from_persistent && nth < persistent.len() {
                let savepoint = txn.get_persistent_savepoint(persistent[nth].0).unwrap();
                txn.restore_savepoint(&savepoint).unwrap();
                model = persistent[nth].1.clone();
            } else if !from_persistent && nth < self.ephemeral.len() {
                txn.restore_savepoint(&self.ephemeral[nth].0).unwrap();
                model = self.ephemeral[nth].1.clone();
            }
            // What was made later is gone with the restore: ask redb which persistent ones stay.
            let left: BTreeSet<_> = txn.list_persistent_savepoints().unwrap().collect();
            persistent.retain(|(id, _)| left.contains(id));
            self.ephemeral.clear();
        }
        for op in &step.ops {
            op.apply(&txn, &mut model)?;
        }
        if step.commit {
            txn.commit().unwrap();
            (self.now, self.persistent) = (model, persistent);
            if !lazy {
                self.durable = (self.now.clone(), self.persistent.clone());
            }
        } else {
            // An ephemeral savepoint of an aborted transaction is not to be relied on.
            self.ephemeral.clear();
            txn.abort().unwrap();
        }
        Ok(())
    }

    fn step(mut self, step: &Step) -> Result<Self, TestCaseError> {
        match step {
            Step::Txn(txn) => self.txn(txn)?,
            Step::Reopen => {
                self.ephemeral.clear();
                self.db.close().unwrap();
                self.db = builder().open_on(self.medium.clone(), &key()).unwrap();
                prop_assert!(self.db.recovery().clean);
                self.durable = (self.now.clone(), self.persistent.clone());
            }
            Step::OpenACopy => {
                // As after a `kill -9`: everything written is there, nothing was closed.
                let copy = MemoryMedium::from_bytes(self.medium.to_bytes());
                self.ephemeral.clear();
                self.db = builder().open_on(copy.clone(), &key()).unwrap();
                self.medium = copy;
                (self.now, self.persistent) = self.durable.clone();
            }
            Step::Compact => {
                self.ephemeral.clear();
                let compacted = self.db.compact();
                prop_assert_eq!(compacted.is_ok(), self.persistent.is_empty());
                if compacted.is_ok() {
                    self.durable = (self.now.clone(), Vec::new());
                }
            }
            Step::CheckIntegrity => {
                self.ephemeral.clear();
                prop_assert!(self.db.check_integrity().unwrap(), "redb repaired something");
                // It flushes what was committed without durability.
                self.durable = (self.now.clone(), self.persistent.clone());
            }
            Step::ForgetSavepoints => {
                self.ephemeral.clear();
                let txn = self.db.begin_write().unwrap();
                for (id, _) in self.persistent.drain(..) {
                    prop_assert!(txn.delete_persistent_savepoint(id).unwrap());
                }
                txn.commit().unwrap();
                self.durable = (self.now.clone(), Vec::new());
            }
        }
        check_equal(&*self.db, &self.now)?;
        Ok(self)
    }
}

fn run_database(steps: Vec<Step>) -> TestCaseResult {
    let medium = MemoryMedium::new();
    let db = builder().create_on(medium.clone(), &key()).unwrap();
    let mut run = Run {
        medium,
        db,
        now: Model::default(),
        durable: (Model::default(), Vec::new()),
        ephemeral: Vec::new(),
        persistent: Vec::new(),
    };
    for step in &steps {
        run = run.step(step)?;
    }
    let Run { db, medium, now, ephemeral, .. } = run;
    drop(ephemeral);
    db.close().unwrap();
    let db = builder().open_read_only_on(medium, &key()).unwrap();
    check_equal(&*db, &now)
}

proptest! {
    #![proptest_config(config(150))]
    #[test]
    fn the_backend_is_a_byte_array(calls in vec(call(), 1..40)) {
        run_backend(calls)?;
    }
}

proptest! {
    #![proptest_config(config(60))]
    #[test]
    fn the_database_is_a_few_btree_maps(steps in vec(step(), 1..30)) {
        run_database(steps)?;
    }
}
