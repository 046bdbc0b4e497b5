//! Shows that readers see whole states while a writer commits, grows and shrinks the file, with
//! caches so small that tag pages and redb's pages are loaded and evicted all the time (redb then
//! writes pages from reader threads): money moves between accounts and no reader ever finds the
//! sum changed, a balance and its padding apart, or an error. Copies of the medium taken at any
//! moment, as a `kill -9` would leave it, open and hold the sum as well.
//!
//! Not here: a test with a real `fork`, which can't be called without `unsafe`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a helper that fails is a test that fails"
)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use strongroom::medium::{Medium, MemoryMedium};
use strongroom::redb::{self, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use strongroom::{Builder, RawKey};

const ACCOUNTS: TableDefinition<u32, &[u8]> = TableDefinition::new("accounts");
const BALLAST: TableDefinition<u32, &[u8]> = TableDefinition::new("ballast");
const COUNT: u32 = 1500;
const START: u64 = 1000;
/// However slow the machine.
const COMMITS_MIN: u64 = 15;

fn key() -> RawKey {
    RawKey::new([0x33; 32])
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.tag_cache_size(32 * 1024).cache_size(256 * 1024);
    builder
}

/// How long each test runs.
fn duration() -> Duration {
    let seconds = std::env::var("CONCURRENCY_SECONDS").ok().and_then(|s| s.parse().ok());
    Duration::from_secs(seconds.unwrap_or(3))
}

/// A balance with padding that shows it: 3,000 bytes, so that the accounts fill twelve groups.
fn account(balance: u64) -> Vec<u8> {
    let mut bytes = vec![(balance % 251) as u8; 3000];
    bytes[..8].copy_from_slice(&balance.to_le_bytes());
    bytes
}

fn balance(bytes: &[u8]) -> u64 {
    let balance = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    let padding = bytes[8..].iter().step_by(100);
    assert!(padding.copied().all(|byte| u64::from(byte) == balance % 251), "a torn value");
    balance
}

fn check_sum(db: &impl ReadableDatabase) {
    let read = db.begin_read().unwrap();
    let accounts = read.open_table(ACCOUNTS).unwrap();
    let (mut sum, mut count) = (0, 0);
    for entry in accounts.iter().unwrap() {
        sum += balance(entry.unwrap().1.value());
        count += 1;
    }
    assert_eq!((sum, count), (u64::from(COUNT) * START, COUNT), "not a state that was committed");
}

fn dice(state: &mut u64, bound: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 20) % bound
}

fn set_up(db: &redb::Database) {
    let txn = db.begin_write().unwrap();
    {
        let mut accounts = txn.open_table(ACCOUNTS).unwrap();
        for number in 0..COUNT {
            accounts.insert(number, &*account(START)).unwrap();
        }
        txn.open_table(BALLAST).unwrap();
    }
    txn.commit().unwrap();
}

/// Moves money between 10 pairs of accounts; grows or empties the ballast.
fn transfer(db: &redb::Database, state: &mut u64, durability: Durability) {
    let mut txn = db.begin_write().unwrap();
    txn.set_durability(durability).unwrap();
    txn.set_two_phase_commit(dice(state, 4) == 0);
    {
        let mut accounts = txn.open_table(ACCOUNTS).unwrap();
        for _ in 0..10 {
            let from = dice(state, COUNT.into()) as u32;
            let to = dice(state, COUNT.into()) as u32;
            let had = balance(accounts.get(from).unwrap().unwrap().value());
            let amount = dice(state, had + 1);
            accounts.insert(from, &*account(had - amount)).unwrap();
            let had = balance(accounts.get(to).unwrap().unwrap().value());
            accounts.insert(to, &*account(had + amount)).unwrap();
        }
        let mut ballast = txn.open_table(BALLAST).unwrap();
        match dice(state, 8) {
            0 => ballast.retain(|_, _| false).unwrap(),
            1..4 => {
                let row = dice(state, 30) as u32;
                ballast.insert(row, &*vec![7; 600_000]).unwrap();
            }
            _ => {}
        }
    }
    if dice(state, 10) == 0 { txn.abort().unwrap() } else { txn.commit().unwrap() }
}

fn run(name: &str, durability: impl Fn(u64) -> Durability) {
    let medium = MemoryMedium::new();
    let db = builder().create_on(medium.clone(), &key()).unwrap();
    set_up(&db);
    let (done, reads, crashes) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let (mut commits, mut shortest, mut longest) = (0, u64::MAX, 0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    check_sum(&*db);
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let copy = MemoryMedium::from_bytes(medium.to_bytes());
                let db = builder().open_on(copy, &key()).unwrap();
                check_sum(&*db);
                crashes.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        // Ends the others also where this thread panics.
        let _end = Ending(&done);
        let (start, mut state) = (Instant::now(), 0x9E37_79B9_7F4A_7C15);
        while start.elapsed() < duration() || commits < COMMITS_MIN {
            transfer(&db, &mut state, durability(commits));
            commits += 1;
            let len = medium.len().unwrap();
            (shortest, longest) = (shortest.min(len), longest.max(len));
        }
    });
    check_sum(&*db);
    db.close().unwrap();
    let mut db = builder().open_on(medium, &key()).unwrap();
    assert!(db.recovery().clean);
    check_sum(&*db);
    assert!(db.check_integrity().unwrap());
    let (reads, crashes) = (reads.into_inner(), crashes.into_inner());
    println!("figure: {name}, commits = {commits}");
    println!("figure: {name}, whole-table reads beside them = {reads}");
    println!("figure: {name}, copies opened beside them = {crashes}");
    println!("figure: {name}, file between = {shortest} and {longest} bytes");
    assert!(reads > 3 && crashes > 1);
    assert!(longest > shortest + (1 << 20), "the file grew or shrank");
}

struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn readers_see_whole_states_while_a_writer_commits() {
    run("durable commits", |_| Durability::Immediate);
}

#[test]
fn readers_see_whole_states_while_commits_wait_for_durability() {
    run("commits mostly not durable", |commit| {
        if commit % 8 == 7 { Durability::Immediate } else { Durability::None }
    });
}

#[test]
fn a_write_transaction_outlives_its_database() {
    let medium = MemoryMedium::new();
    let db = builder().create_on(medium.clone(), &key()).unwrap();
    set_up(&db);
    let txn = db.begin_write().unwrap();
    txn.open_table(BALLAST).unwrap().insert(1, &*vec![7; 50_000]).unwrap();
    drop(db);
    // The handle is gone, the store is not: nobody else may open the file yet.
    let second = builder().open_on(medium.clone(), &key());
    assert!(matches!(second, Err(strongroom::OpenError::AlreadyOpen)), "{second:?}");
    txn.commit().unwrap();
    let db = builder().open_on(medium, &key()).unwrap();
    assert!(db.recovery().clean, "the end of the transaction closes the store");
    check_sum(&*db);
    let read = db.begin_read().unwrap();
    assert_eq!(read.open_table(BALLAST).unwrap().get(1).unwrap().unwrap().value().len(), 50_000);
}
