//! Shows what a salvage saves: of files with 1, 10 and 100 damaged pages every row whose pages can
//! be read, by an oracle that is redb itself; of files without a header copy, a root record, tag
//! pages or their end what there is; from any edited file nothing that was not in one commit, never a
//! panic, and never a write to the damaged file.
//!
//! `SALVAGE_SEEDS=100 cargo test --release --features testkit --test salvage -- --nocapture` draws more
//! damage (20 seeds by default); `SALVAGE_EDITS` likewise for edited files (300 by default).
#![cfg(feature = "testkit")]
#![allow(unreachable_pub, reason = "the modules of a test have no outside")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "test code: a panic is a failed test, and sizes are small"
)]

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::LazyLock;
use std::sync::atomic::Ordering;

use strongroom::medium::MemoryMedium;
use strongroom::redb;
use strongroom::testkit::{Insider, SeededRandom};
use strongroom::{
    Builder, CopyId, OpenError, PageLoss, PageNo, Passphrase, RawKey, SalvageError, SalvageHow,
    SalvageOptions, SalvageReport, SalvageTarget, SavedAs, SavedCommit, salvage,
};

#[path = "salvage/oracle.rs"]
mod oracle;
#[path = "salvage/room.rs"]
mod room;

use oracle::Paths;
use room::{NoWrites, PAGE, Room, Rows, all_rows, key};

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
    let counted = rows.len() as u64;
    assert_eq!(report.rows_saved(), counted, "the report is right about the rows\n{report}");
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
}

fn sums_of(paths: &Paths, count: usize) -> Sums {
    let mut sums = Sums::default();
    for seed in 0..from_env("SALVAGE_SEEDS", 20) {
        let mut random = SeededRandom::new(seed * 1000 + count as u64);
        let pages = ROOM.draw_pages(&mut random, count);
        let (report, rows) = saved(ROOM.damaged(&pages));
        let savable = paths.savable(&pages);
        let missed: Vec<_> = savable.difference(&rows).take(3).collect();
        assert!(missed.is_empty(), "seed {seed}: {missed:?}\n{report}");
        let lost: u64 = report.lost_pages.iter().map(|range| range.pages).sum();
        assert_eq!(lost, count as u64, "each damaged page is named, and no other");
        let is_last = report.commit == SavedCommit::Last;
        assert!(ROOM.has_held(&rows, is_last), "seed {seed}: rows that never were\n{report}");
        assert!(!is_last || rows.is_subset(ROOM.last()), "seed {seed}: of another commit");
        assert!(report.adds_up && (is_last || report.commit == SavedCommit::Found));
        assert_eq!(report.is_complete(), rows == *ROOM.last(), "{report}");
        sums.files += 1;
        sums.images += usize::from(report.saved_as == SavedAs::Image);
        sums.found += usize::from(!is_last);
        sums.savable += savable.len();
        sums.savable_saved += rows.intersection(&savable).count();
        sums.saved += rows.intersection(ROOM.last()).count();
        sums.earlier += rows.difference(ROOM.last()).count();
    }
    sums
}
