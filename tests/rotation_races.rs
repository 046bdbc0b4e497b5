//! A key rotation among other threads: syncs of the application, closes, cancels, and a failing
//! disk. Each test is the schedule of a mistake that a review found (docs/past-failures.md, R6 on).
#![cfg(feature = "testkit")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use strongroom::testkit::{Crash, CrashMedium};
use strongroom::{Epoch, OpenError, Throttle};

#[path = "rotation_races/probe.rs"]
mod probe;
use probe::{Call, Gate, PAGE, Probe, builder, closed, content, is_data_page, is_worker, key, put};

/// What a rotation's worker journals and puts in place, told by the ciphertexts alone: bytes that
/// it writes for the first time are an image, and the second time they go in place.
#[derive(Default)]
struct Images {
    /// Behind it lies the journal.
    end: u64,
    /// The number of each image, by its first bytes.
    numbers: HashMap<[u8; 16], u64>,
    /// Images with smaller numbers are durable.
    durable: u64,
    syncing: HashMap<std::thread::ThreadId, u64>,
    placed: u64,
    placed_early: u64,
    never_journaled: u64,
}

impl Images {
    fn write(&mut self, at: u64, data: &[u8]) {
        for (at, page) in (at..).step_by(4096).zip(data.as_chunks::<4096>().0) {
            let image: [u8; 16] = *page.first_chunk().unwrap();
            let next = self.numbers.len() as u64;
            match self.numbers.get(&image) {
                _ if image == [0; 16] => {} // wiped
                Some(number) if at < self.end => {
                    self.placed += 1;
                    self.placed_early += u64::from(*number >= self.durable);
                }
                None if at < self.end && is_data_page(at) => self.never_journaled += 1,
                _ => drop(self.numbers.insert(image, next)),
            }
        }
    }
}

#[test]
fn no_page_is_overwritten_before_its_image_in_the_journal_is_durable() {
    let (image, _) = closed(2000);
    // The last page is the clean index.
    let images = Images { end: image.len() as u64 - PAGE, ..Images::default() };
    let images = Arc::new(Mutex::new(images));
    let disk = CrashMedium::from_image(1, image);
    let (probe, ear) = Probe::on(&disk);
    let db = builder().open_on(probe, &key()).unwrap();
    let seen = Arc::clone(&images);
    ear.listen(move |call| {
        let mut images = seen.lock().unwrap();
        let thread = std::thread::current().id();
        match call {
            Call::Write { at, data } if is_worker() => images.write(at, data),
            Call::Sync => {
                let number = images.numbers.len() as u64;
                images.syncing.insert(thread, number);
            }
            Call::Synced => {
                let number = images.syncing.remove(&thread).unwrap_or(0);
                if !is_worker() && number > images.durable {
                    // The application's sync carries images: time for the worker to go wrong.
                    drop(images);
                    std::thread::sleep(Duration::from_millis(4));
                    images = seen.lock().unwrap();
                }
                images.durable = images.durable.max(number);
            }
            _ => {}
        }
        Ok(())
    });
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in (0..).take_while(|_| !stop.load(Ordering::Relaxed)) {
                put(&db, number % 2000..number % 2000 + 1, 2, 2500).unwrap();
            }
        });
        for _ in 0..3 {
            let rotation = db.rotate().unwrap();
            rotation.throttle(Throttle::None);
            rotation.wait().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    ear.close();
    let images = std::mem::take(&mut *images.lock().unwrap());
    println!("figure: pages put in place beside a busy writer = {}", images.placed);
    println!("figure: of these before their journal was durable = {}", images.placed_early);
    assert!(images.placed > 3000, "{}", images.placed);
    assert_eq!((images.placed_early, images.never_journaled), (0, 0));
}

/// A page write failed, so that closing writes nothing; the worker is in the middle of a sync.
#[test]
fn a_close_with_nothing_to_write_waits_for_the_worker() {
    let (image, _) = closed(600);
    let disk = CrashMedium::from_image(1, image);
    let (probe, ear) = Probe::on(&disk);
    // Each page is written when redb writes it, and not in a sync, which would wait for the worker.
    let db = builder().gathered_pages(0).open_on(probe, &key()).unwrap();
    put(&db, 7..8, 3, 2500).unwrap();
    let expected = content(&db).unwrap();
    let (gate, full) = (Arc::new(Gate::default()), Arc::new(AtomicBool::new(false)));
    let (unlocked, late) = (AtomicBool::new(false), Arc::new(AtomicU64::new(0)));
    {
        let (gate, full, late) = (Arc::clone(&gate), Arc::clone(&full), Arc::clone(&late));
        let syncs = AtomicU64::new(0);
        ear.listen(move |call| {
            match call {
                Call::Reached("sync: after tag pages")
                    if is_worker() && syncs.fetch_add(1, Ordering::SeqCst) == 2 =>
                {
                    gate.pass();
                }
                Call::Unlock => unlocked.store(true, Ordering::SeqCst),
                Call::Write { .. } if !is_worker() && full.load(Ordering::SeqCst) => {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                Call::Write { .. } | Call::SetLen | Call::Sync => {
                    late.fetch_add(u64::from(unlocked.load(Ordering::SeqCst)), Ordering::SeqCst);
                }
                _ => {}
            }
            Ok(())
        });
    }
    let rotation = db.rotate().unwrap();
    rotation.throttle(Throttle::None);
    gate.wait_for_visitor();
    full.store(true, Ordering::SeqCst);
    assert!(put(&db, 8..9, 3, 2500).is_err());
    let closing = std::thread::spawn(move || drop(db));
    std::thread::sleep(Duration::from_millis(100));
    let second = builder().open_on(disk.clone(), &key());
    assert!(matches!(second, Err(OpenError::AlreadyOpen)), "{second:?}");
    gate.open();
    closing.join().unwrap();
    assert!(rotation.wait().is_err());
    assert_eq!(late.load(Ordering::SeqCst), 0, "written after the lock was given back");
    let second = builder().open_on(disk, &key()).unwrap();
    assert!(content(&second).unwrap() == expected);
}

#[test]
fn rotate_after_cancel_is_a_rotation_that_goes_on() {
    let (image, expected) = closed(600);
    let (probe, ear) = Probe::on(&CrashMedium::from_image(1, image));
    let db = builder().open_on(probe, &key()).unwrap();
    let gate = Arc::new(Gate::default());
    let at_gate = Arc::clone(&gate);
    ear.listen(move |call| {
        if matches!(call, Call::Sync) && is_worker() {
            at_gate.pass();
        }
        Ok(())
    });
    let cancelled = db.rotate().unwrap();
    gate.wait_for_visitor();
    cancelled.cancel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            gate.open();
        });
        assert_eq!(db.rotate().unwrap().wait().unwrap().to, Epoch(2));
    });
    assert!(content(&db).unwrap() == expected);
}

#[test]
fn many_who_rotate_at_once_share_one_worker() {
    let (image, _) = closed(100);
    for _ in 0..20 {
        let (probe, ear) = Probe::on(&CrashMedium::from_image(1, image.clone()));
        let db = builder().open_on(probe, &key()).unwrap();
        let gate = Arc::new(Gate::default());
        let at_gate = Arc::clone(&gate);
        ear.listen(move |call| {
            if matches!(call, Call::Read { .. }) && is_worker() {
                at_gate.pass();
            }
            Ok(())
        });
        let barrier = Barrier::new(6);
        let rotations: Vec<_> = std::thread::scope(|scope| {
            let rotate = || {
                barrier.wait();
                db.rotate().unwrap()
            };
            let threads: Vec<_> = (0..6).map(|_| scope.spawn(rotate)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        gate.wait_for_visitor();
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(gate.visitors(), 1, "workers at once");
        gate.open();
        for rotation in rotations {
            assert_eq!(rotation.wait().unwrap().to, Epoch(2));
        }
    }
}

/// Every sync of a rotation fails once: nothing is written after it, by the step or by the close.
#[test]
fn nothing_is_written_after_a_sync_that_failed() {
    let (image, expected) = closed(400);
    let mut failed_syncs = 0;
    for fail_at in 0.. {
        let disk = CrashMedium::from_image(1, image.clone());
        let (probe, ear) = Probe::on(&disk);
        // Syncs of the store's own in the middle of a step, too.
        let db = builder().seal_reserve(130).open_on(probe, &key()).unwrap();
        let (syncs, failed) = (AtomicU64::new(0), Arc::new(AtomicBool::new(false)));
        let late = Arc::new(AtomicU64::new(0));
        let (seen, counted) = (Arc::clone(&failed), Arc::clone(&late));
        ear.listen(move |call| {
            match call {
                Call::Sync if syncs.fetch_add(1, Ordering::SeqCst) == fail_at => {
                    seen.store(true, Ordering::SeqCst);
                    return Err(io::Error::other("the disk failed during the sync"));
                }
                Call::Write { .. } | Call::SetLen | Call::Sync => {
                    counted.fetch_add(u64::from(seen.load(Ordering::SeqCst)), Ordering::SeqCst);
                }
                _ => {}
            }
            Ok(())
        });
        let ended = db.rotate_by_steps().and_then(|mut steps| {
            while steps.step()?.is_none() {}
            Ok(())
        });
        if !failed.load(Ordering::SeqCst) {
            ended.unwrap();
            break;
        }
        assert!(ended.is_err(), "sync {fail_at}");
        drop(db);
        assert_eq!(late.load(Ordering::SeqCst), 0, "calls after sync {fail_at} failed");
        let db = builder().open_on(disk.crash(Crash::Kill), &key()).unwrap();
        assert!(content(&db).unwrap() == expected);
        failed_syncs += 1;
    }
    println!("figure: syncs of a rotation, each failed once = {failed_syncs}");
    assert!(failed_syncs > 10, "{failed_syncs}");
}
