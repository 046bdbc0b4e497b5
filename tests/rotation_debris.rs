//! Debris: free pages that a crash leaves unreadable (docs/past-failures.md, H8), put together here
//! page by page from what had landed and what had not. Known to be unused, it is given up when the
//! database opens, and neither stops a rotation nor keeps bytes that the old key opens.
#![cfg(feature = "testkit")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a helper that fails is a test that fails, and sizes are small"
)]

use strongroom::redb::Table;
use strongroom::testkit::{CrashMedium, OldKey};
use strongroom::{Completion, Database, Error, RotationError, RotationSteps, StoreError};

#[path = "rotation_races/probe.rs"]
mod probe;
use probe::{PAGE, TABLE, builder, content, is_data_page, key};

/// How the database commits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Commits {
    /// redb walks its trees after a crash.
    OnePhase,
    /// redb keeps what a walk would tell, and makes none.
    QuickRepair,
}

impl Commits {
    fn change(
        self,
        db: &Database,
        change: impl Fn(&mut Table<'_, u64, &'static [u8]>),
    ) -> Result<(), Error> {
        let mut txn = db.begin_write()?;
        txn.set_quick_repair(self == Self::QuickRepair);
        change(&mut txn.open_table(TABLE)?);
        Ok(txn.commit()?)
    }

    fn put(self, db: &Database, keys: std::ops::Range<u64>) -> Result<(), Error> {
        self.change(db, |table| {
            for key in keys.clone() {
                table.insert(key, &*vec![5; 2500]).unwrap();
            }
        })
    }

    /// A database in which a commit overwrites pages that were used and freed.
    fn with_free_pages(self, disk: &CrashMedium) -> Database {
        let db = builder().create_on(disk.clone(), &key()).unwrap();
        self.put(&db, 0..300).unwrap();
        self.change(&db, |table| table.retain(|key, _| key % 2 == 0).unwrap()).unwrap();
        self.put(&db, 9000..9001).unwrap();
        self.put(&db, 9000..9001).unwrap();
        db
    }
}

/// What a power cut leaves of which data pages landed or, instead, all else did. The power goes off
/// in a commit where the `nth` sync of it reaches `point`; `None` if it has fewer.
fn wreck(
    (disk, db): (&CrashMedium, &Database),
    commits: Commits,
    (point, nth): (&'static str, u64),
    data_pages: bool,
) -> Option<(Vec<u8>, usize)> {
    disk.cut_at_point(point, nth);
    if commits.put(db, 20_000..20_010).is_ok() {
        return None;
    }
    let (mut wreck, view) = (disk.durable_image(), disk.image());
    wreck.resize(view.len().max(wreck.len()), 0);
    let mut not_landed = 0;
    for (at, new) in (0..).step_by(PAGE as usize).zip(view.chunks_exact(PAGE as usize)) {
        let old = &mut wreck[at as usize..][..PAGE as usize];
        if is_data_page(at) == data_pages {
            old.copy_from_slice(new);
        } else {
            not_landed += usize::from(old != new);
        }
    }
    Some((wreck, not_landed))
}

fn finish(mut steps: RotationSteps) -> Result<Completion, RotationError> {
    loop {
        if let Some(completion) = steps.step()? {
            return Ok(completion);
        }
    }
}

/// A commit during a rotation whose tag pages and root record landed and whose pages did not: the
/// places hold what the old key sealed, under entries of the new one.
#[test]
fn no_ciphertext_of_the_old_key_hides_under_an_entry_of_the_new_one() {
    let (mut states, mut pages, mut lost) = (0, 0, 0);
    for commits in [Commits::OnePhase, Commits::QuickRepair] {
        for (steps_before, nth) in (0..3).flat_map(|steps| (0..6).map(move |nth| (steps, nth))) {
            let disk = CrashMedium::new(nth);
            let db = commits.with_free_pages(&disk);
            let (old, before) = (OldKey::keep(&db), disk.image());
            let mut steps = db.rotate_by_steps().unwrap();
            for _ in 0..steps_before {
                steps.step().unwrap();
            }
            commits.put(&db, 9000..9001).unwrap();
            let (durable, expected) = (disk.durable_image(), content(&db).unwrap());
            let point = ("sync: after root record", nth);
            let Some((wreck, not_landed)) = wreck((&disk, &db), commits, point, false) else {
                continue;
            };
            drop((steps, db));
            let disk = CrashMedium::from_image(nth, wreck.clone());
            let db = builder().open_on(disk.clone(), &key()).unwrap();
            let case = format!("{commits:?}, {steps_before} steps, sync {nth}");
            // Of a commit in two phases everything had landed before its last sync.
            let found = content(&db).unwrap();
            let whole = (20_000..20_010).all(|record| found.contains_key(&record));
            assert!(found == expected || whole && commits == Commits::QuickRepair, "{case}");
            (states, pages) = (states + 1, pages + not_landed);
            lost += db.recovery().lost_pages;
            finish(db.rotate_by_steps().unwrap()).unwrap();
            let opened = old.opens(&disk.image(), &[before, durable, wreck]);
            assert!(opened.is_empty(), "{case}: {opened:?}");
            assert!(content(&db).unwrap() == found, "{case}");
        }
    }
    println!("figure: states of a torn commit in a rotation = {states}");
    println!("figure: pages that had not landed in them = {pages}");
    println!("figure: of these given up at open = {lost}");
    assert!(states >= 6 && pages > 60 && lost > 20, "{states} {pages} {lost}");
}

#[test]
fn debris_is_counted_at_open_and_does_not_stop_a_rotation() {
    let disk = CrashMedium::new(1);
    let db = Commits::OnePhase.with_free_pages(&disk);
    let expected = content(&db).unwrap();
    let point = ("sync: after tag pages", 0);
    let (wreck, _) = wreck((&disk, &db), Commits::OnePhase, point, true).unwrap();
    drop(db);
    let disk = CrashMedium::from_image(1, wreck);
    let db = builder().open_on(disk, &key()).unwrap();
    let lost = db.recovery().lost_pages;
    println!("figure: pages of debris after a commit of ten records that was cut = {lost}");
    assert!(lost >= 10, "{lost}");
    assert!(content(&db).unwrap() == expected);
    assert_eq!(finish(db.rotate_by_steps().unwrap()).unwrap().lost, 0);
    assert!(content(&db).unwrap() == expected);
}

#[test]
fn without_a_walk_debris_stops_a_rotation_until_an_open_with_a_check() {
    let disk = CrashMedium::new(1);
    let db = Commits::QuickRepair.with_free_pages(&disk);
    let expected = content(&db).unwrap();
    let point = ("sync: after tag pages", 0);
    let (wreck, _) = wreck((&disk, &db), Commits::QuickRepair, point, true).unwrap();
    drop(db);
    let disk = CrashMedium::from_image(1, wreck);
    let db = builder().open_on(disk.clone(), &key()).unwrap();
    assert_eq!((db.recovery().clean, db.recovery().lost_pages), (false, 0), "no walk");
    assert!(content(&db).unwrap() == expected);
    let RotationError::Store(error) = finish(db.rotate_by_steps().unwrap()).unwrap_err() else {
        panic!()
    };
    let StoreError::Unreadable { pages } = *error else { panic!("{error}") };
    assert!(pages >= 10, "{pages}");
    assert!(content(&db).unwrap() == expected);
    db.close().unwrap();
    let db = builder().check_integrity_on_open(true).open_on(disk, &key()).unwrap();
    let lost = db.recovery().lost_pages;
    println!("figure: pages of debris without a walk, found by a check = {pages}, {lost}");
    // The close overwrote some of them.
    assert!((1..=pages).contains(&lost), "{lost} of {pages}");
    assert_eq!(finish(db.rotate_by_steps().unwrap()).unwrap().lost, 0);
    assert!(content(&db).unwrap() == expected);
}

/// What a persistent savepoint keeps is no debris: redb's walk reads it, so that damage to it is an
/// error at open. redb's freed-page tables, which hold these pages too, are not walked.
#[test]
fn pages_that_only_a_savepoint_needs_are_in_use() {
    let disk = CrashMedium::new(1);
    let db = builder().create_on(disk.clone(), &key()).unwrap();
    Commits::OnePhase.put(&db, 0..300).unwrap();
    let saved = content(&db).unwrap();
    let txn = db.begin_write().unwrap();
    let savepoint = txn.persistent_savepoint().unwrap();
    txn.commit().unwrap();
    Commits::OnePhase.change(&db, |table| table.retain(|_, _| false).unwrap()).unwrap();
    Commits::OnePhase.put(&db, 9000..9001).unwrap();
    let image = disk.image();
    drop(db);
    let (mut refused, mut given_up) = (0, 0);
    let pages = (22..image.len() as u64 / PAGE).filter(|page| is_data_page(page * PAGE));
    for page in pages.step_by(3) {
        let disk = CrashMedium::from_image(1, image.clone());
        disk.damage(page * PAGE + 100, 1);
        let Ok(db) = builder().open_on(disk, &key()) else {
            refused += 1;
            continue;
        };
        if db.recovery().lost_pages > 0 {
            let mut txn = db.begin_write().unwrap();
            let savepoint = txn.get_persistent_savepoint(savepoint).unwrap();
            txn.restore_savepoint(&savepoint).unwrap();
            txn.commit().unwrap();
            assert!(content(&db).unwrap() == saved, "file page {page}");
            given_up += 1;
        }
    }
    println!("figure: damaged pages that only a savepoint needs, refused at open = {refused}");
    println!("figure: damaged pages given up, none of them the savepoint's = {given_up}");
    assert!(refused > 90, "{refused} of about 110");
}
