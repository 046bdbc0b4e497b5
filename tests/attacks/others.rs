//! The same attacker on what else there is: a backend that seals each block with its number as
//! associated data, nonce and tag beside it, and plain redb. Both must read other data in silence,
//! or the attacks show nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};

use strongroom::medium::MemoryMedium;
use strongroom::redb::{self, StorageBackend};
use strongroom::testkit::{Attack, Attacker, FileHistory, RecordingMedium, SeededRandom};

use crate::many;
use crate::naive::{self, NaiveBackend};
use crate::plain::PlainBackend;
use crate::victim::{Content, Work, commit, content};

type Disk = RecordingMedium<MemoryMedium>;

const WORK: Work = Work { rows: 130, value_max: 2500, changes_max: 4, two_phase: false };

fn open(backend: impl StorageBackend) -> Result<redb::Database, redb::DatabaseError> {
    redb::Builder::new().set_cache_size(512 * 1024).create_with_backend(backend)
}

/// The same 200 commits as strongroom's, closed.
fn lived<B: StorageBackend>(disk: &Disk, backend: impl Fn(Disk) -> B) -> (Attacker, Content) {
    let db = open(backend(disk.clone())).unwrap();
    let mut random = SeededRandom::new(1);
    (0..200).for_each(|number| commit(&db, WORK, &mut random, number == 0));
    let expected = content(&db).unwrap();
    db.close().unwrap();
    (Attacker::new(disk.history()), expected)
}

/// A small plain redb file.
pub fn plain_file(seed: u64) -> Vec<u8> {
    let disk = MemoryMedium::new();
    let db = open(PlainBackend(disk.clone())).unwrap();
    let work = Work { rows: 40, value_max: 700, changes_max: 2, two_phase: false };
    let mut random = SeededRandom::new(seed);
    (0..3).for_each(|number| commit(&db, work, &mut random, number == 0));
    db.close().unwrap();
    disk.to_bytes()
}

#[derive(Default, Debug)]
struct Read {
    error: u64,
    right: u64,
    wrong: u64,
    panic: u64,
}

/// Opens and reads after every attack.
fn sweep<B: StorageBackend>(
    name: &str,
    attacker: &Attacker,
    expected: &Content,
    backend: impl Fn(MemoryMedium) -> B,
    attacks: impl Iterator<Item = Attack>,
) -> Read {
    let mut read = Read::default();
    for attack in attacks {
        let file = attacker.apply(&attack);
        let found = catch_unwind(AssertUnwindSafe(|| {
            let db = open(backend(MemoryMedium::from_bytes(file))).ok()?;
            content(&db).ok()
        }));
        match found {
            Err(_) => read.panic += 1,
            Ok(None) => read.error += 1,
            Ok(Some(found)) if found == *expected => read.right += 1,
            Ok(Some(_)) => read.wrong += 1,
        }
    }
    let Read { error, right, wrong, panic } = read;
    println!("figure: attacks, {name}, all = {}", error + right + wrong + panic);
    println!("figure: attacks, {name}, errors = {error}");
    println!("figure: attacks, {name}, current data = {right}");
    println!("figure: attacks, {name}, wrong reads = {wrong}");
    println!("figure: attacks, {name}, panics = {panic}");
    read
}

#[test]
fn a_naive_encrypting_backend_reads_old_blocks_in_silence() {
    let blocks = FileHistory::with_block_size(naive::STORED as usize);
    let disk = Disk::into_history(MemoryMedium::new(), blocks);
    let (attacker, expected) = lived(&disk, NaiveBackend::new);
    let backend = NaiveBackend::new;
    let replays = attacker.replays();
    let name = "naive, every older version of a block";
    let read = sweep(name, &attacker, &expected, backend, replays);
    assert!(read.wrong > 100, "the attacker doesn't bite: {read:?}");
    let mixes = (0..many(1000)).map(|seed| attacker.mix(seed));
    let read = sweep("naive, mixes of states", &attacker, &expected, backend, mixes);
    assert!(read.wrong > 10, "{read:?}");
    let flips = sweep("naive, flipped bits", &attacker, &expected, backend, attacker.flips(1009));
    assert_eq!(flips.wrong, 0, "it does notice edits");
}

#[test]
fn plain_redb_reads_edited_bytes_in_silence() {
    let disk = Disk::new(MemoryMedium::new());
    let (attacker, expected) = lived(&disk, PlainBackend);
    let read =
        sweep("plain redb, flipped bits", &attacker, &expected, PlainBackend, attacker.flips(307));
    assert!(read.wrong > 100, "{read:?}");
    let name = "plain redb, every older version of a page";
    let read = sweep(name, &attacker, &expected, PlainBackend, attacker.replays());
    assert!(read.wrong > 100, "{read:?}");
}
