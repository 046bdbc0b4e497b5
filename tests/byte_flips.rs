//! Shows that no single flipped byte gives other data or a panic: every byte of a small database's
//! file is flipped, one at a time, and the file opened, read, checked, closed and opened again.
//! Images: cleanly closed (opened for writing and read-only), and copies taken while it was open,
//! after a one-phase and after a two-phase commit.
//!
//! Every byte of the closed file and of the file left open is flipped, but of the headers' reserved
//! zeros, all under one CRC, every sixteenth. Read-only and after two phases every fourth byte is,
//! and a debug build takes every 37th of those. `BYTE_FLIPS=all` flips every byte of all images.
//!
//! Allowed outcomes: an error at open; an error at a read; healed, where open rewrote a second
//! copy (of header, root record or tag page) or scanned for want of a clean index; harmless, where
//! nobody needs the byte: the reserved pages, the place of logical page 0, pages that redb has not
//! in use or never reads, and on a clean file the copies of tag pages that aren't current. After a
//! crash there is one more: fallback to the commit before, since damage to what the last sync
//! wrote looks as if that sync had been cut off. It counts only for bytes of that sync's writes.
#![cfg(feature = "testkit")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a helper that fails is a test that fails"
)]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use strongroom::medium::MemoryMedium;
use strongroom::redb::{self, ReadableDatabase, ReadableTable, TableDefinition};
use strongroom::testkit::CrashMedium;
use strongroom::{Builder, Database, RawKey, Recovery};

const NOTES: TableDefinition<u32, &[u8]> = TableDefinition::new("notes");
const OLD: TableDefinition<u32, &[u8]> = TableDefinition::new("old");
const COUNTS: TableDefinition<&str, u64> = TableDefinition::new("counts");
const PAGE: usize = 4096;
/// Commits in a file; the last but one is what a fallback gives.
const COMMITS: u32 = 4;
const THREADS: usize = 2;

type Content = (BTreeMap<u32, Vec<u8>>, BTreeMap<String, u64>);

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.cache_size(256 * 1024);
    builder
}

fn key() -> RawKey {
    RawKey::new([0x42; 32])
}

struct Image {
    name: &'static str,
    bytes: Vec<u8>,
    content: Content,
    before: Content,
    /// What the last sync wrote, as (offset, length); empty where no fallback is allowed.
    last_sync: Vec<(u64, u64)>,
    read_only: bool,
    /// Every so manieth byte of the headers' zeros is flipped, and of the rest.
    steps: (usize, usize),
}

fn commit(db: &redb::Database, number: u32, two_phase: bool) {
    let mut txn = db.begin_write().unwrap();
    txn.set_two_phase_commit(two_phase);
    {
        let mut notes = txn.open_table(NOTES).unwrap();
        for row in 0..6 {
            let value = vec![number as u8; 100 + 20 * row as usize];
            notes.insert(number * 3 + row, &*value).unwrap();
        }
        txn.open_table(COUNTS).unwrap().insert("commits", u64::from(number)).unwrap();
        if number == 1 {
            // Stays where it is: what no later sync wrote, no later sync excuses.
            let mut old = txn.open_table(OLD).unwrap();
            (1000..1003).for_each(|row| drop(old.insert(row, &*vec![9; 3500]).unwrap()));
        }
    }
    txn.commit().unwrap();
}

fn content(db: &impl ReadableDatabase) -> Result<Content, redb::Error> {
    let read = db.begin_read()?;
    let (mut notes, mut counts) = (BTreeMap::new(), BTreeMap::new());
    for table in [NOTES, OLD] {
        for entry in read.open_table(table)?.iter()? {
            let (key, value) = entry?;
            notes.insert(key.value(), value.value().to_vec());
        }
    }
    for entry in read.open_table(COUNTS)?.iter()? {
        let (key, value) = entry?;
        counts.insert(key.value().to_owned(), value.value());
    }
    Ok((notes, counts))
}

fn image(name: &'static str, clean: bool, two_phase: bool, steps: (usize, usize)) -> Image {
    let disk = CrashMedium::new(1);
    let db = builder().create_on(disk.clone(), &key()).unwrap();
    (1..COMMITS).for_each(|number| commit(&db, number, two_phase));
    let before = content(&*db).unwrap();
    commit(&db, COMMITS, two_phase);
    let content = content(&*db).unwrap();
    assert_ne!(content, before);
    let read_only = name.contains("read-only");
    let all = std::env::var("BYTE_FLIPS").is_ok_and(|flips| flips == "all");
    let steps = if all { (1, 1) } else { steps };
    let (mut bytes, mut last_sync) = (disk.image(), disk.last_synced());
    if clean {
        db.close().unwrap();
        (bytes, last_sync) = (disk.image(), Vec::new());
    }
    Image { name, bytes, content, before, last_sync, read_only, steps }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Outcome {
    ErrorAtOpen,
    ErrorAtRead,
    Healed,
    Harmless,
    Fallback,
    Wrong,
    Panic,
}

fn judge(image: &Image, found: &Content, offset: usize) -> Outcome {
    let offset = offset as u64;
    let in_last_sync = || image.last_sync.iter().any(|(at, len)| (*at..at + len).contains(&offset));
    if *found == image.content {
        Outcome::Harmless
    } else if *found == image.before && in_last_sync() {
        Outcome::Fallback
    } else {
        Outcome::Wrong
    }
}

fn healed(recovery: Recovery, usual: Recovery) -> bool {
    let healing = |r: Recovery| (r.healed_header, r.healed_root, r.erased_tag_pages, r.scanned);
    healing(recovery) != healing(usual)
}

/// Opens what the flip left, reads it all, checks it, closes it, opens it again.
fn open_for_writing(image: &Image, bytes: Vec<u8>, offset: usize, usual: Recovery) -> Outcome {
    let medium = MemoryMedium::from_bytes(bytes);
    let Ok(mut db) = builder().open_on(medium.clone(), &key()) else { return Outcome::ErrorAtOpen };
    let Ok(found) = content(&*db) else { return Outcome::ErrorAtRead };
    let outcome = judge(image, &found, offset);
    match db.check_integrity() {
        Ok(true) => {}
        Ok(false) | Err(_) => return Outcome::ErrorAtRead,
    }
    let healed = healed(db.recovery(), usual);
    if db.close().is_err() {
        return Outcome::ErrorAtRead;
    }
    if outcome == Outcome::Fallback || (healed && offset.is_multiple_of(8)) {
        // What recovery wrote is as good as what was there.
        let db = builder().open_on(medium, &key()).unwrap();
        let recovery = db.recovery();
        let quiet = recovery.clean && !recovery.healed_header && !recovery.healed_root;
        if !quiet || content(&*db).unwrap() != found {
            return Outcome::Wrong;
        }
    }
    if healed && outcome == Outcome::Harmless { Outcome::Healed } else { outcome }
}

fn open_read_only(image: &Image, bytes: Vec<u8>, offset: usize) -> Outcome {
    let medium = MemoryMedium::from_bytes(bytes.clone());
    let Ok(db) = builder().open_read_only_on(medium.clone(), &key()) else {
        return Outcome::ErrorAtOpen;
    };
    let Ok(found) = content(&*db) else { return Outcome::ErrorAtRead };
    drop(db);
    assert!(medium.to_bytes() == bytes, "a read-only open changed the file");
    judge(image, &found, offset)
}

fn flip(image: &Image, offset: usize, xor: u8, usual: Recovery) -> Outcome {
    let mut bytes = image.bytes.clone();
    bytes[offset] ^= xor;
    let opened = catch_unwind(AssertUnwindSafe(|| {
        if image.read_only {
            open_read_only(image, bytes, offset)
        } else {
            open_for_writing(image, bytes, offset, usual)
        }
    }));
    opened.unwrap_or(Outcome::Panic)
}

fn region(offset: usize) -> &'static str {
    match offset / PAGE {
        0..8 => "header A",
        8..16 => "header B",
        16 => "root A",
        17 => "root B",
        18..20 => "reserved",
        20 => "tag page A",
        21 => "tag page B",
        _ => "data and tail",
    }
}

/// Where a header copy with one slot and one data key isn't reserved zeros.
fn header_has_fields_at(at: usize) -> bool {
    matches!(at, 0..256 | 2048..2560 | 26_624..26_752 | 30_720..31_400 | 32_640..)
}

/// The flips of one byte: two of the records that everything hangs on, one elsewhere. A debug
/// build takes every 37th byte of those.
fn xors(image: &Image, offset: usize) -> &'static [u8] {
    const ONE: [[u8; 1]; 8] = [[1], [2], [4], [8], [16], [32], [64], [128]];
    let zeros = offset < 16 * PAGE && !header_has_fields_at(offset % (8 * PAGE));
    let step = if zeros { image.steps.0 } else { image.steps.1 };
    let step = if cfg!(debug_assertions) { step * 37 } else { step };
    if !offset.is_multiple_of(step) {
        return &[];
    }
    match offset / PAGE {
        16 | 17 | 20 | 21 => &[0x01, 0x80],
        0 | 8 if offset % PAGE < 256 => &[0x01, 0x80],
        _ => &ONE[offset / step % 8],
    }
}

type Counts = BTreeMap<(&'static str, Outcome), u64>;

fn every_flip(image: &Image) -> Counts {
    let usual = {
        let medium = MemoryMedium::from_bytes(image.bytes.clone());
        let db: Database = builder().open_on(medium, &key()).unwrap();
        assert_eq!(content(&*db).unwrap(), image.content, "without a flip");
        db.recovery()
    };
    let worker = |first: usize| {
        let mut counts = Counts::new();
        for offset in (0..image.bytes.len()).filter(|offset| offset / 64 % THREADS == first) {
            for xor in xors(image, offset) {
                let outcome = flip(image, offset, *xor, usual);
                *counts.entry((region(offset), outcome)).or_default() += 1;
                if outcome >= Outcome::Wrong {
                    println!("{}: {outcome:?} at byte {offset} xor {xor:#04x}", image.name);
                }
            }
        }
        counts
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || worker(n))).collect();
        let mut all = Counts::new();
        for (key, count) in workers.into_iter().flat_map(|worker| worker.join().unwrap()) {
            *all.entry(key).or_default() += count;
        }
        all
    })
}

fn no_flip_gives_other_data(image: &Image) -> Counts {
    let counts = every_flip(image);
    if cfg!(debug_assertions) {
        println!("note: a debug build flips every 37th of these bytes only");
    }
    println!("figure: flips, {}, file bytes = {}", image.name, image.bytes.len());
    for ((region, outcome), count) in &counts {
        println!("figure: flips, {}, {region}, {outcome:?} = {count}", image.name);
    }
    let sum = |wanted| -> u64 {
        counts.iter().filter(|((_, outcome), _)| *outcome == wanted).map(|(_, count)| count).sum()
    };
    println!("figure: flips, {}, all = {}", image.name, counts.values().sum::<u64>());
    println!("figure: flips, {}, wrong data = {}", image.name, sum(Outcome::Wrong));
    println!("figure: flips, {}, panics = {}", image.name, sum(Outcome::Panic));
    assert_eq!((sum(Outcome::Wrong), sum(Outcome::Panic)), (0, 0));
    // The instrument bites: some damage was seen, and some of it at each stage that there is.
    assert!(sum(Outcome::ErrorAtRead) + sum(Outcome::ErrorAtOpen) > 100);
    counts
}

#[test]
fn a_cleanly_closed_file_shows_every_flip_or_doesnt_need_the_byte() {
    let image = image("closed", true, false, (16, 1));
    let counts = no_flip_gives_other_data(&image);
    assert!(counts.keys().all(|(_, outcome)| *outcome != Outcome::Fallback));
    assert!(!counts.contains_key(&("header A", Outcome::Harmless)));
    assert!(!counts.contains_key(&("root A", Outcome::Harmless)));
}

#[test]
fn a_read_only_open_shows_every_flip_or_doesnt_need_the_byte() {
    let image = image("closed, read-only", true, false, (16, 4));
    no_flip_gives_other_data(&image);
}

#[test]
fn a_file_left_open_shows_every_flip_or_falls_back_one_sync() {
    let image = image("left open", false, false, (16, 1));
    let counts = no_flip_gives_other_data(&image);
    assert!(counts.keys().any(|(_, outcome)| *outcome == Outcome::Fallback));
}

#[test]
fn a_file_left_open_after_two_phases_shows_every_flip_or_falls_back_one_sync() {
    let image = image("left open, two phases", false, true, (16, 4));
    let counts = no_flip_gives_other_data(&image);
    // The pages were durable before the header was written: none of them is forgiven.
    assert!(!counts.contains_key(&("data and tail", Outcome::Fallback)));
}
