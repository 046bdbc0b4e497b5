//! Pages that don't open in a key rotation: damage stops it and is never made worse, debris of a
//! crash does not, and nothing that the old key opens is overlooked. docs/rotation.md, "Pages that
//! don't open"; each test is a mistake that a review found (docs/past-failures.md, R6 on).
#![cfg(feature = "testkit")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a helper that fails is a test that fails, and sizes are small"
)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use strongroom::medium::Medium;
use strongroom::testkit::{Crash, CrashMedium, OldKey};
use strongroom::{Error, RotationError, RotationState, StoreError};

#[path = "rotation_races/probe.rs"]
mod probe;
use probe::{
    Call, Content, PAGE, Probe, builder, closed, content, is_data_page, is_worker, key, put,
};

/// How many pages the rotation says don't open.
fn unreadable(error: &RotationError) -> u64 {
    match error {
        RotationError::Store(cause) => match &**cause {
            StoreError::Unreadable { pages } => *pages,
            other => panic!("{other}"),
        },
        other => panic!("{other}"),
    }
}

fn read_all(disk: &CrashMedium) -> Result<Content, Error> {
    let db = builder().cache_size(0).open_on(disk.clone(), &key())?;
    content(&db)
}

/// A byte of a page that redb's open doesn't read and the content needs.
fn live_byte(image: &[u8]) -> u64 {
    let needed = |page: &u64| {
        let disk = CrashMedium::from_image(1, image.to_vec());
        disk.damage(page * PAGE + 100, 1);
        let db = builder().cache_size(0).open_on(disk, &key());
        db.is_ok_and(|db| content(&db).is_err())
    };
    (30..140).find(needed).unwrap() * PAGE + 100
}

#[test]
fn a_live_page_that_reads_wrong_for_a_while_stops_the_rotation_and_is_not_lost() {
    let (image, expected) = closed(300);
    let byte = live_byte(&image);
    let disk = CrashMedium::from_image(1, image);
    let db = builder().open_on(disk.clone(), &key()).unwrap();
    disk.damage(byte, 1);
    let rotation = db.rotate().unwrap();
    assert_eq!(unreadable(&rotation.wait().unwrap_err()), 1);
    assert_eq!(rotation.progress().state, RotationState::Failed);
    rotation.resume();
    assert_eq!(unreadable(&rotation.wait().unwrap_err()), 1, "still so");
    disk.damage(byte, 1);
    rotation.resume();
    assert_eq!(rotation.wait().unwrap().lost, 0);
    assert!(content(&db).unwrap() == expected);
    db.close().unwrap();
    assert!(read_all(&disk).unwrap() == expected);
}

#[test]
fn a_page_that_is_given_up_by_hand_stays_an_error() {
    let (image, _) = closed(300);
    let byte = live_byte(&image);
    let disk = CrashMedium::from_image(1, image.clone());
    let db = builder().open_on(disk.clone(), &key()).unwrap();
    let old = OldKey::keep(&db);
    disk.damage(byte, 1);
    let rotation = db.rotate().unwrap();
    assert_eq!(unreadable(&rotation.wait().unwrap_err()), 1);
    rotation.give_up_unreadable();
    let completion = rotation.wait().unwrap();
    assert!(completion.lost == 1 && completion.pages > 100, "{completion:?}");
    db.close().unwrap();
    assert!(old.opens(&disk.image(), std::slice::from_ref(&image)).is_empty());
    // The disk shows the right bytes again: too late.
    disk.forge(byte, &image[byte as usize..][..1]);
    let error = read_all(&disk).unwrap_err().to_string();
    assert!(error.contains("was lost"), "{error}");
}

#[test]
fn a_page_that_opens_again_before_it_is_given_up_is_kept() {
    let (image, expected) = closed(300);
    let byte = live_byte(&image);
    assert!(byte < 148 * PAGE, "in the first group");
    let disk = CrashMedium::from_image(1, image);
    let db = builder().open_on(disk.clone(), &key()).unwrap();
    let mut steps = db.rotate_by_steps().unwrap();
    steps.give_up_unreadable();
    disk.damage(byte, 1);
    assert!(steps.step().unwrap().is_none(), "the group was looked at");
    disk.damage(byte, 1);
    let completion = loop {
        if let Some(completion) = steps.step().unwrap() {
            break completion;
        }
    };
    assert_eq!(completion.lost, 0);
    assert!(content(&db).unwrap() == expected);
}

#[test]
fn a_panic_in_the_middle_of_a_page_put_in_place_is_a_crash() {
    let (image, expected) = closed(300);
    let end = image.len() as u64 - PAGE;
    let disk = CrashMedium::from_image(1, image);
    let (probe, ear) = Probe::on(&disk);
    let db = builder().open_on(probe, &key()).unwrap();
    let (behind, once) = (disk.clone(), AtomicBool::new(true));
    ear.listen(move |call| {
        if let Call::Write { at, data } = call
            && is_worker()
            && at < end
            && is_data_page(at)
            && once.swap(false, Ordering::SeqCst)
        {
            behind.write_at(at, &data[..512])?;
            panic!("the medium panics, as this test wants");
        }
        Ok(())
    });
    let error = db.rotate().unwrap().wait().unwrap_err().to_string();
    assert!(error.contains("panicked"), "{error}");
    assert!(put(&db, 5000..5001, 3, 100).is_err(), "latched");
    let _ = db.close();
    let db = builder().open_on(disk.crash(Crash::Kill), &key()).unwrap();
    let recovery = db.recovery();
    assert!(!recovery.clean && recovery.journaled_pages > 0, "{recovery:?}");
    assert!(content(&db).unwrap() == expected);
    assert_eq!(db.rotate().unwrap().wait().unwrap().lost, 0);
    assert!(content(&db).unwrap() == expected);
}

#[test]
fn a_journal_that_met_a_full_disk_gives_its_room_back() {
    let (image, _) = closed(2000);
    let (mut builder, disk) = (builder(), CrashMedium::from_image(1, image));
    let (probe, ear) = Probe::on(&disk);
    let db = builder.rotation_batch(1008).open_on(probe, &key()).unwrap();
    put(&db, 5000..5001, 1, 10).unwrap();
    let before = disk.image().len() as u64;
    // Room for one half of the journal and a part of the other.
    let limit = before + (6 << 20);
    let most = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&most);
    ear.listen(move |call| match call {
        Call::Write { at, data } if at + data.len() as u64 > limit => {
            Err(io::ErrorKind::StorageFull.into())
        }
        Call::Write { at, data } => {
            seen.fetch_max(at + data.len() as u64, Ordering::SeqCst);
            Ok(())
        }
        _ => Ok(()),
    });
    let rotation = db.rotate().unwrap();
    let RotationError::Store(error) = rotation.wait().unwrap_err() else { panic!() };
    assert!(matches!(&*error, StoreError::Io(io) if io.kind() == io::ErrorKind::StorageFull));
    let after = disk.image().len() as u64;
    let journal = most.load(Ordering::SeqCst) - before;
    println!("figure: bytes of a journal on a disk that got full = {journal}");
    println!("figure: of these still taken = {}", after.saturating_sub(before));
    assert!(journal > 4 << 20, "half a journal was written: {journal}");
    assert!(after <= before, "{after} bytes, {before} before");
    put(&db, 5000..5001, 2, 10).unwrap();
    ear.close();
    rotation.resume();
    assert_eq!(rotation.wait().unwrap().lost, 0);
}
