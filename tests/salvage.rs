//! Shows what a salvage saves: of files with 1, 10 and 100 damaged pages every row whose pages can
//! be read, by an oracle that is redb itself; of files without a header copy, a root record, tag
//! pages or their end what there is; from any edited file nothing that was not in one commit, never a
//! panic, and never a write to the damaged file.
//!
//! `SALVAGE_SEEDS=100 cargo test --release --features testkit --test salvage -- --nocapture` draws more
//! damage (10 seeds by default); `SALVAGE_EDITS` likewise for edited files (300 by default).
#![cfg(feature = "testkit")]
#![allow(unreachable_pub, reason = "the modules of a test have no outside")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "test code: a panic is a failed test, and sizes are small"
)]

use std::ops::ControlFlow;
use std::sync::LazyLock;
use std::sync::atomic::Ordering;

use strongroom::medium::MemoryMedium;
use strongroom::redb;
use strongroom::testkit::SeededRandom;
use strongroom::{
    Builder, OpenError, RawKey, SalvageError, SalvageHow, SalvageOptions, SalvageReport,
    SalvageTarget, SavedAs, SavedCommit, TableReport, salvage,
};

#[path = "salvage/damage.rs"]
mod damage;
#[path = "salvage/edits.rs"]
mod edits;
#[path = "salvage/oracle.rs"]
mod oracle;
#[path = "salvage/room.rs"]
mod room;

use oracle::Paths;
use room::{NoWrites, PAGE, Room, Rows, TABLES, all_rows, key};

static ROOM: LazyLock<Room> = LazyLock::new(|| Room::of(6_000));
static SMALL: LazyLock<Room> = LazyLock::new(|| Room::of(400));

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |count| count.parse().unwrap())
}

/// Salvages an image into a plain database, and reads that back with redb after its own check.
fn saved_as(
    image: Vec<u8>,
    how: SalvageHow,
) -> Result<(SalvageReport, Rows, Vec<u8>), SalvageError> {
    let (from, to) = (NoWrites::over(image), MemoryMedium::new());
    let target = SalvageTarget::PlainMemory(to.clone());
    let options = SalvageOptions::new().how(how);
    let done = Builder::new().salvage_on(from.clone(), &key(), target, options);
    assert_eq!(from.refused.load(Ordering::Relaxed), 0, "the damaged file was written to");
    let report = done.inspect_err(|_| assert!(to.to_bytes().is_empty(), "something was left"))?;
    let bytes = to.to_bytes();
    let mut db = open_plain(bytes.clone());
    assert!(db.check_integrity().unwrap());
    let rows = all_rows(&db);
    // Somebody with the key can have put another name on a table that the search finds.
    let is_ours = |table: &&TableReport| TABLES.contains(&table.name.as_str());
    let counted: u64 = report.tables.iter().filter(is_ours).map(|table| table.saved).sum();
    assert_eq!(counted, rows.len() as u64, "the report is right about the rows\n{report}");
    Ok((report, rows, bytes))
}

fn open_plain(bytes: Vec<u8>) -> redb::Database {
    use std::io::Write;
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    let backend = redb::backends::FileBackend::new(file).unwrap();
    redb::Builder::new().create_with_backend(backend).unwrap()
}

fn saved(image: Vec<u8>) -> (SalvageReport, Rows) {
    let (report, rows, _) = saved_as(image, SalvageHow::Auto).unwrap();
    (report, rows)
}

#[test]
fn every_savable_row_is_saved_of_files_with_damaged_pages() {
    let paths = Paths::of(&ROOM);
    println!("figure: pages of the database = {}", ROOM.pages());
    println!("figure: pages on the path of some row = {}", paths.pages_in_use());
    println!("figure: rows of the database = {}", ROOM.last().len());
    for count in [1, 10, 100] {
        let sums = sums_of(&paths, count);
        let name = format!("{count} damaged pages, {} files", sums.files);
        println!("figure: {name}: savable rows saved = {} of {}", sums.savable_saved, sums.savable);
        let total = ROOM.last().len() * sums.files;
        println!("figure: {name}: rows of the last commit saved = {} of {total}", sums.saved);
        println!("figure: {name}: rows of earlier commits saved = {}", sums.earlier);
        println!("figure: {name}: saved as an image = {}", sums.images);
        println!("figure: {name}: table tree lost, older definitions found = {}", sums.found);
        println!("figure: {name}: table tree lost, nothing found = {}", sums.nothing);
        assert_eq!(sums.savable_saved, sums.savable);
    }
}

#[derive(Default)]
struct Sums {
    files: usize,
    savable: usize,
    savable_saved: usize,
    saved: usize,
    earlier: usize,
    images: usize,
    found: usize,
    nothing: usize,
}

fn sums_of(paths: &Paths, count: usize) -> Sums {
    let mut sums = Sums::default();
    for seed in 0..from_env("SALVAGE_SEEDS", 10) {
        let mut random = SeededRandom::new(seed * 1000 + count as u64);
        let pages = ROOM.draw_pages(&mut random, count);
        let savable = paths.savable(&pages);
        sums.files += 1;
        sums.savable += savable.len();
        let (report, rows, _) = match saved_as(ROOM.damaged(&pages), SalvageHow::Auto) {
            Ok(saved) => saved,
            Err(SalvageError::NothingLeft) => {
                assert!(savable.is_empty(), "seed {seed}");
                sums.nothing += 1;
                continue;
            }
            Err(error) => panic!("seed {seed}: {error}"),
        };
        let missed: Vec<_> = savable.difference(&rows).take(3).collect();
        assert!(missed.is_empty(), "seed {seed}: {missed:?}\n{report}");
        let lost: u64 = report.lost_pages.iter().map(|range| range.pages).sum();
        assert_eq!(lost, count as u64, "each damaged page is named, and no other");
        let is_last = report.commit == SavedCommit::Last;
        assert!(ROOM.has_held(&rows, is_last), "seed {seed}: rows that never were\n{report}");
        assert!(!is_last || rows.is_subset(ROOM.last()), "seed {seed}: of another commit");
        assert!(report.adds_up && (is_last || report.commit == SavedCommit::Found));
        assert_eq!(report.is_complete(), rows == *ROOM.last(), "{report}");
        sums.images += usize::from(report.saved_as == SavedAs::Image);
        sums.found += usize::from(!is_last);
        sums.savable_saved += rows.intersection(&savable).count();
        sums.saved += rows.intersection(ROOM.last()).count();
        sums.earlier += rows.difference(ROOM.last()).count();
    }
    sums
}

fn file_names(directory: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn files_are_saved_into_new_files_and_nothing_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let mut random = SeededRandom::new(3);
    let pages = ROOM.draw_pages(&mut random, 30);
    let damaged = ROOM.damaged(&pages);
    std::fs::write(at("damaged"), &damaged).unwrap();
    let expected = saved(damaged.clone()).1;
    let new_key = RawKey::new([9; 32]);
    for (from, image) in [("damaged", &damaged), ("whole", &ROOM.image)] {
        std::fs::write(at(from), image).unwrap();
        let expected = if from == "whole" { ROOM.last() } else { &expected };
        let plain = SalvageTarget::Plain(at(&format!("{from}.redb")));
        let encrypted = SalvageTarget::Encrypted(at(&format!("{from}.room")), &new_key);
        for target in [plain, encrypted] {
            let report = salvage(at(from), &key(), target, SalvageOptions::new()).unwrap();
            assert_eq!(report.saved_as == SavedAs::Image, from == "whole", "{report}");
        }
        let db = redb::Builder::new().open(at(&format!("{from}.redb"))).unwrap();
        assert!(all_rows(&db) == *expected);
        let mut db = Builder::new().open(at(&format!("{from}.room")), &new_key).unwrap();
        assert!(all_rows(&db) == *expected && db.check_integrity().unwrap());
        db.close().unwrap();
        assert!(std::fs::read(at(from)).unwrap() == *image, "the damaged file is as it was");
        let taken = SalvageTarget::Plain(at(&format!("{from}.room")));
        let refused = salvage(at(from), &key(), taken, SalvageOptions::new());
        assert!(matches!(refused, Err(SalvageError::Target(OpenError::AlreadyExists(_)))));
    }
    let names = ["damaged", "damaged.redb", "damaged.room", "whole", "whole.redb", "whole.room"];
    assert_eq!(file_names(directory.path()), names);
}

#[test]
fn a_salvage_that_can_not_or_must_not_go_on_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("damaged"), directory.path().join("saved"));
    let pages = SMALL.draw_pages(&mut SeededRandom::new(3), 5);
    std::fs::write(&from, SMALL.damaged(&pages)).unwrap();
    let target = || SalvageTarget::Plain(to.clone());
    let new_key = RawKey::new([9; 32]);
    let wrong = salvage(&from, &RawKey::new([1; 32]), target(), SalvageOptions::new());
    assert!(matches!(wrong, Err(SalvageError::Source(OpenError::WrongKey))), "{wrong:?}");
    let missing = salvage(&to, &key(), target(), SalvageOptions::new());
    assert!(matches!(missing, Err(SalvageError::Source(OpenError::NotFound(_)))), "{missing:?}");
    // Stopped at each call of the callback in turn, until it is called no more.
    for stop in 1.. {
        let mut calls = 0;
        let options = SalvageOptions::new().progress(|_| {
            calls += 1;
            if calls == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let done = salvage(&from, &key(), target(), options);
        if calls < stop {
            println!("figure: calls of the progress callback = {calls}");
            done.unwrap();
            break;
        }
        assert!(matches!(done, Err(SalvageError::Stopped)));
        assert_eq!(file_names(directory.path()), ["damaged"]);
        calls = 0;
        let memory = MemoryMedium::new();
        let in_memory = SalvageTarget::EncryptedMemory(memory.clone(), &new_key);
        let options = SalvageOptions::new().progress(|_| {
            calls += 1;
            if calls == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let done = salvage(&from, &key(), in_memory, options);
        assert!(matches!(done, Err(SalvageError::Stopped)));
        assert!(memory.to_bytes().is_empty());
    }
    std::fs::remove_file(&to).unwrap();
    let held = std::fs::File::open(&from).unwrap();
    held.lock().unwrap();
    let in_use = salvage(&from, &key(), target(), SalvageOptions::new());
    assert!(matches!(in_use, Err(SalvageError::Source(OpenError::AlreadyOpen))), "{in_use:?}");
    held.unlock().unwrap();
    held.lock_shared().unwrap();
    assert!(salvage(&from, &key(), target(), SalvageOptions::new()).is_ok(), "beside a reader");
}

#[test]
fn an_image_can_be_asked_for_and_redbs_answer_is_told() {
    let pages = ROOM.draw_pages(&mut SeededRandom::new(3), 30);
    let to = MemoryMedium::new();
    let target = SalvageTarget::PlainMemory(to.clone());
    let options = SalvageOptions::new().how(SalvageHow::Image);
    let from = MemoryMedium::from_bytes(ROOM.damaged(&pages));
    let report = Builder::new().salvage_on(from, &key(), target, options).unwrap();
    assert_eq!(report.saved_as, SavedAs::BrokenImage);
    assert!(report.no_image.is_some() && !report.is_complete(), "{report}");
    let (image, whole) = (to.to_bytes(), room::plaintext(&ROOM.image));
    assert_eq!(image.len(), whole.len());
    for (page, (found, expected)) in image.chunks(PAGE).zip(whole.chunks(PAGE)).enumerate().skip(1)
    {
        let is_damaged = pages.contains(&(page as u64));
        assert!(if is_damaged { found == [0; PAGE] } else { found == expected }, "page {page}");
    }
}
