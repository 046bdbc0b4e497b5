//! An open database: beside a writer, readers and a rotation verify finds nothing, and what is
//! damaged under it, it names.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use strongroom::medium::{Medium, MemoryMedium};
use strongroom::redb::{Durability, ReadableDatabase};
use strongroom::testkit::{Part, YieldingMedium};
use strongroom::{
    CopyId, Database, Flaw, GroupNo, PageNo, Report, Severity, Trees, VerifyOptions, Where,
};

use crate::many;
use crate::subject::{NOTES, PAGE, builder, content, fill, key, put, remove};

fn verify(db: &Database) -> Report {
    db.verify(&VerifyOptions::new().threads(2)).unwrap()
}

#[test]
fn beside_a_writer_readers_and_a_rotation_nothing_is_found() {
    let medium = MemoryMedium::new();
    let mut builder = builder();
    builder.tag_cache_size(0).seal_reserve(50).rotation_batch(126);
    let db = builder.create_on(YieldingMedium::new(medium, 7), &key()).unwrap();
    fill(&db);
    let (done, rounds, commits) = (AtomicBool::new(false), many(100), AtomicU64::new(0));
    let (mut pages, mut rotations) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0;
            while !done.load(Ordering::Relaxed) {
                let mut txn = db.begin_write().unwrap();
                if round % 5 == 0 {
                    txn.set_durability(Durability::None).unwrap();
                }
                {
                    let mut table = txn.open_table(NOTES).unwrap();
                    for row in 0..15 {
                        let row = (round * 31 + row * 7) % 400;
                        table.insert(row, &*vec![round as u8; 200 + row as usize * 20]).unwrap();
                    }
                    table.remove((round * 13) % 400).unwrap();
                }
                txn.commit().unwrap();
                if round % 60 == 59 {
                    remove(&db, 0..380);
                }
                round += 1;
                commits.fetch_add(1, Ordering::Relaxed);
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                content(&*db).unwrap();
            }
        });
        for round in 0..rounds {
            if round % 10 == 0 {
                db.rotate().unwrap();
            }
            let report = verify(&db);
            pages += report.pages.sealed;
            rotations += u64::from(report.epochs.len() > 1);
            if report.counts.total() > 0 {
                done.store(true, Ordering::Relaxed);
                panic!("round {round}: {report}");
            }
            assert!(report.online && report.complete);
        }
        done.store(true, Ordering::Relaxed);
    });
    println!("figure: verify, online, runs without a finding = {rounds}");
    println!("figure: verify, online, pages opened = {pages}");
    println!("figure: verify, online, commits beside them = {}", commits.into_inner());
    println!("figure: verify, online, runs that saw two data keys = {rotations}");
    assert!(rotations > 0 && pages > 1000);
}

fn damaged(medium: &MemoryMedium, part: Part) {
    let mut byte = [0];
    let at = part.bytes().start + 1000;
    medium.read_at(at, &mut byte).unwrap();
    medium.write_at(at, &[byte[0] ^ 4]).unwrap();
}

#[test]
fn damage_under_an_open_database_is_named() {
    let medium = MemoryMedium::new();
    let db = builder().create_on(medium.clone(), &key()).unwrap();
    fill(&db);
    let clean = verify(&db);
    assert!(clean.is_spotless(), "{clean}");
    assert!(matches!(clean.trees, Trees::NotChecked(why) if why.contains("check_integrity")));
    println!("{clean}");
    let whole = medium.to_bytes();
    let mut named = 0;
    for part in Part::all_of(whole.len() as u64) {
        let (at, absent) = match part {
            Part::Header(copy) => (Where::Header(copy), false),
            Part::Root(copy) => (Where::Root(copy), false),
            Part::TagPage(group, copy) => (Where::TagPage(group, copy), false),
            Part::DataPage(PageNo(0)) | Part::Reserved => continue,
            Part::DataPage(page) => (Where::Page(page), true),
        };
        damaged(&medium, part);
        let report = verify(&db);
        let found = report.findings.iter().find(|finding| finding.at == at);
        match found {
            None => assert!(absent && report.is_spotless(), "{report}"),
            Some(found) => {
                let others = report.findings.iter().filter(|found| found.at != at);
                // A root record that is durable and not there is worth saying so.
                assert!(others.clone().all(|found| found.at == Where::State), "{report}");
                let flaws = [Flaw::DoesNotOpen, Flaw::Torn];
                assert!(flaws.contains(&found.flaw), "{report}");
                named += 1;
            }
        }
        let bytes = part.bytes();
        let place = bytes.start as usize..bytes.end as usize;
        medium.write_at(bytes.start, &whole[place]).unwrap();
    }
    println!("figure: verify, online, places damaged and named = {named}");
    assert_eq!(named, 4 + 2 * clean.groups + clean.pages.sealed);
    assert!(verify(&db).is_spotless());
}

#[test]
fn an_older_page_put_back_under_an_open_database_is_named() {
    let medium = MemoryMedium::new();
    let db = builder().create_on(medium.clone(), &key()).unwrap();
    fill(&db);
    let older = medium.to_bytes();
    put(&db, 0..200, 310);
    put(&db, 0..200, 320);
    assert!(verify(&db).is_spotless());
    let newer = medium.to_bytes();
    let mut put_back = Vec::new();
    for part in Part::all_of(older.len() as u64) {
        let place = part.bytes().start as usize..part.bytes().end as usize;
        if matches!(part, Part::DataPage(page) if page.0 > 0)
            && older[place.clone()] != newer[place.clone()]
        {
            medium.write_at(place.start as u64, &older[place]).unwrap();
            put_back.push(part);
        }
    }
    let report = verify(&db);
    assert_eq!(report.counts.damage, put_back.len() as u64, "{report}");
    assert!(report.counts.damage > 10 && report.counts.spare == 0);
    assert!(report.findings.iter().all(|found| found.severity == Severity::Damage));
}

#[test]
fn a_tag_page_that_is_cached_is_read_from_the_file_all_the_same() {
    let medium = MemoryMedium::new();
    let db = builder().create_on(medium.clone(), &key()).unwrap();
    fill(&db);
    content(&*db).unwrap();
    for copy in CopyId::BOTH {
        damaged(&medium, Part::TagPage(GroupNo(1), copy));
    }
    let report = verify(&db);
    assert_eq!(report.counts.damage, 2, "{report}");
    assert_eq!(report.pages.bad, 0, "its pages open under what is cached");
    let read = db.begin_read().unwrap();
    drop(read);
    assert_eq!(PAGE, 4096);
}
