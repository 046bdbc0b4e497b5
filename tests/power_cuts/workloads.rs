//! The ten fixed lives that are cut at every operation, one for each thing that a database does,
//! and drawn ones beside them.

use strongroom::testkit::SeededRandom;
use strongroom::testkit::model::{Kind, Op, Settings, Step, Taste, Transaction};

use crate::every_cut::Workload;

fn put(table: usize, key: u32, length: u32) -> Op {
    Op::Put { table, key, length, seed: u64::from(key) + u64::from(length) }
}

/// Some rows of 150 bytes in two tables, from a key on.
fn rows(first: u32, count: u32) -> Transaction {
    let ops = (first..first + count).map(|key| put(key as usize % 2, key, 150)).collect();
    Transaction { ops, ..Transaction::default() }
}

/// Rows that take this many groups of 504 KiB, in the table of large values.
fn large(groups: u32) -> Transaction {
    let ops = (0..groups * 16).map(|key| put(2, key, 30_000)).collect();
    Transaction { ops, ..Transaction::default() }
}

fn with(of: Transaction, change: impl FnOnce(&mut Transaction)) -> Step {
    let mut transaction = of;
    change(&mut transaction);
    Step::Transaction(transaction)
}

fn plain(of: Transaction) -> Step {
    Step::Transaction(of)
}

fn workload(name: &'static str, steps: Vec<Step>) -> Workload {
    let settings = Settings {
        cache_bytes: 64 << 10,
        tag_cache_bytes: None,
        seal_reserve: None,
        gathered_pages: None,
        late_entries: None,
        hole: None,
    };
    Workload { name, settings, steps, from_creation: false }
}

fn one_phase() -> Workload {
    let steps = vec![plain(rows(0, 20)), plain(rows(10, 20)), plain(rows(5, 1))];
    Workload { from_creation: true, ..workload("creation and one-phase commits", steps) }
}

fn two_phase() -> Workload {
    let two_phase = |of| with(of, |write| write.two_phase = true);
    workload("two-phase commits", vec![two_phase(rows(0, 20)), two_phase(rows(10, 20))])
}

fn quick_repair() -> Workload {
    let quick = |of| with(of, |write| write.quick_repair = true);
    let steps = vec![quick(rows(0, 20)), plain(rows(3, 2)), quick(rows(10, 20))];
    workload("quick repair", steps)
}

fn not_durable() -> Workload {
    let lazy = |of| with(of, |write| write.durable = false);
    let steps = vec![
        lazy(rows(0, 24)),
        Step::Hold,
        lazy(rows(12, 24)),
        Step::ReadAll,
        plain(rows(30, 3)),
        lazy(rows(0, 12)),
        Step::CheckHeld,
        Step::ReadAll,
    ];
    let mut work = workload("commits that are not durable, and readers that evict", steps);
    work.settings.cache_bytes = 0;
    work
}

fn growth() -> Workload {
    let mut work = workload("growth", vec![plain(rows(0, 2)), plain(large(2)), plain(rows(1, 2))]);
    work.settings.seal_reserve = Some(60);
    work
}

fn shrink() -> Workload {
    let empty = Transaction { ops: vec![Op::DropTable(2)], ..Transaction::default() };
    let steps = vec![plain(large(2)), plain(empty), Step::Compact, plain(rows(0, 3))];
    workload("shrinking and compaction", steps)
}

fn savepoints() -> Workload {
    let steps = vec![
        plain(rows(0, 10)),
        with(rows(5, 10), |write| write.make = Some(Kind::Persistent)),
        with(rows(0, 20), |write| write.make = Some(Kind::Ephemeral)),
        with(rows(30, 2), |write| write.restore = Some((Kind::Ephemeral, 0))),
        with(rows(40, 2), |write| write.restore = Some((Kind::Persistent, 0))),
        with(rows(50, 1), |write| write.delete = Some(0)),
    ];
    workload("savepoints", steps)
}

fn abort() -> Workload {
    let aborted = |of| with(of, |write| write.abort = true);
    let steps = vec![plain(rows(0, 10)), aborted(large(1)), plain(rows(5, 10))];
    workload("abort after growth", steps)
}

fn multimap() -> Workload {
    let pairs = |first: u32| (first..first + 60).map(|number| Op::Pair(number % 4, number));
    let removed = [Op::Unpair(1, 5), Op::UnpairAll(2), Op::Retain(0, 3), Op::Extract(1, 0, 20)];
    let steps = vec![
        plain(Transaction { ops: pairs(0).collect(), ..rows(0, 1) }),
        plain(rows(0, 20)),
        with(rows(20, 1), |write| write.ops.extend(pairs(30).chain(removed))),
        plain(Transaction { ops: vec![Op::PopFirst(0), Op::DropTable(1)], ..rows(0, 1) }),
    ];
    workload("multimap, and rows removed in every way", steps)
}

fn reopening() -> Workload {
    let steps = vec![
        plain(rows(0, 20)),
        Step::Reopen,
        plain(rows(5, 1)),
        Step::Reopen,
        Step::CheckIntegrity,
        plain(rows(6, 1)),
    ];
    workload("close and reopen", steps)
}

/// All ten.
pub fn all() -> Vec<Workload> {
    vec![
        one_phase(),
        two_phase(),
        quick_repair(),
        not_durable(),
        growth(),
        shrink(),
        savepoints(),
        abort(),
        multimap(),
        reopening(),
    ]
}

/// The life of a seed, from its creation on.
pub fn drawn(seed: u64) -> Workload {
    let mut random = SeededRandom::new(seed);
    let taste = Taste::draw(&mut random);
    let mut steps = vec![plain(Transaction::filling(&mut random, &taste, 40))];
    steps.extend((0..10).map(|_| Step::draw(&mut random, &taste)));
    steps.extend([Step::Reopen, plain(Transaction::filling(&mut random, &taste, 1))]);
    let mut work = workload("a drawn life", steps);
    (work.settings.seal_reserve, work.from_creation) = (Some(8), true);
    work
}
