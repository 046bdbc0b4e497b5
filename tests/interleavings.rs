//! Shows that threads don't come between one another on the bare backend: a few registers of two
//! pages each, one page a tag-page group or more apart, so that tag pages are loaded and evicted
//! all the time while writers write, a syncer syncs, readers read and the file grows and shrinks.
//!
//! What redb promises a backend is kept: nobody reads a page while it is written, and a page is
//! written again only once a sync that began after its twin was written has returned. So, per page:
//! - a read finds exactly the last version written (the history of a page is that of a register);
//! - after a power cut at any moment that loses all that was not synced, opened strictly, each
//!   register still has a version that a sync had made durable, or a later one;
//! - a page that such a cut leaves as it was before still opens: no durable tag is newer than its
//!   page, whatever a sync met on the way.
//!
//! Two builds. As it stands: real threads, on a medium that yields and sleeps at each call, with
//! many seeds (`INTERLEAVINGS=n`). With `RUSTFLAGS="--cfg strongroom_shuttle"`: shuttle runs the
//! same scenario, and decides at every lock, counter and call of the medium who goes on.
#![cfg(feature = "testkit")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "test code: a panic is a failed test"
)]

#[cfg(strongroom_shuttle)]
use shuttle::sync::{
    RwLock,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
#[cfg(strongroom_shuttle)]
use shuttle::thread;
#[cfg(not(strongroom_shuttle))]
use std::sync::{
    RwLock,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
#[cfg(not(strongroom_shuttle))]
use std::thread;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use strongroom::redb::StorageBackend;
use strongroom::testkit::{
    Crash, CrashMedium, Hole, SeededRandom, Survival, Tearing, YieldingMedium,
};
use strongroom::{Builder, EncryptedBackend, RawKey};

const PAGE: usize = 4096;
const PAGES_PER_GROUP: u64 = 126;
/// More groups than the smallest tag cache holds tag pages: loads and evictions never end.
const GROUPS: u64 = 11;
/// Two in a group: their entries share a tag page.
const REGISTERS: u64 = 2 * GROUPS;
/// Behind the registers, in the middle of the last group: where the file grows and shrinks.
const END: u64 = GROUPS * PAGES_PER_GROUP - 60;

fn key() -> RawKey {
    RawKey::new([0x21; 32])
}

fn page_of(register: u64, slot: u64) -> u64 {
    let group = register / 2;
    group * PAGES_PER_GROUP + 1 + (register % 2) * 2 + slot * 5
}

/// Says whose it is, which version, and fills the page.
fn content(register: u64, version: u64) -> Vec<u8> {
    if version == 0 {
        return vec![0; PAGE];
    }
    let mut bytes = vec![(register * 31 + version * 7 + 1) as u8; PAGE];
    bytes[..8].copy_from_slice(&register.to_le_bytes());
    bytes[8..16].copy_from_slice(&version.to_le_bytes());
    bytes
}

/// Where a page lies: 20 pages of preamble, and two tag pages before the pages of each group.
fn file_offset(page: u64) -> usize {
    let (group, place) = (page / PAGES_PER_GROUP, page % PAGES_PER_GROUP);
    (20 + group * (PAGES_PER_GROUP + 2) + 2 + place) as usize * PAGE
}

fn version_in(register: u64, page: &[u8]) -> Option<u64> {
    if page.iter().all(|byte| *byte == 0) {
        return Some(0);
    }
    let version = u64::from_le_bytes(page[8..16].try_into().unwrap());
    (page == content(register, version)).then_some(version)
}

#[derive(Default)]
struct Register {
    /// The last version written, and the last that a sync has made durable.
    done: AtomicU64,
    durable: AtomicU64,
    /// What each page holds; held for writing while it is written.
    pages: [RwLock<u64>; 2],
}

/// Which cut left a page's bytes, and the bytes.
type Seen = (u64, Vec<u8>);

struct Scene {
    medium: CrashMedium,
    backend: EncryptedBackend,
    registers: Vec<Register>,
    /// The bytes on the disk of each page when it last opened after a cut, and which cut. Never held
    /// across a call of the store.
    opened: Mutex<HashMap<(u64, u64), Seen>>,
    /// How many images were taken: two threads do, and one may look at an older one later.
    cuts: Mutex<u64>,
    over: AtomicBool,
    hole: Option<Hole>,
    writes: u64,
}

fn builder(hole: Option<Hole>, seal_reserve: u64, gathered_pages: usize) -> Builder {
    let mut builder = Builder::new();
    builder.tag_cache_size(0).seal_reserve(seal_reserve).gathered_pages(gathered_pages);
    builder.late_entries(if seal_reserve.is_multiple_of(2) { 0 } else { 105 });
    if let Some(hole) = hole {
        builder.plant(hole);
    }
    builder
}

impl Scene {
    fn new(seed: u64, hole: Option<Hole>, writes: u64) -> Self {
        let medium = CrashMedium::new(seed);
        let made = EncryptedBackend::create_on(medium.clone(), &key()).unwrap();
        made.set_len(END * PAGE as u64).unwrap();
        for group in 0..GROUPS {
            // One page for each group, so that all have tag pages.
            made.write((group * PAGES_PER_GROUP + 40) * PAGE as u64, &[1; PAGE]).unwrap();
        }
        made.sync_data().unwrap();
        made.close().unwrap();
        drop(made);
        let yielding = YieldingMedium::new(medium.clone(), seed);
        let mut random = SeededRandom::new(seed);
        let reserve = random.between(10, 60);
        let gathered = [0, 0, 1, 2, 5, 2048][random.below(6) as usize];
        let backend = builder(hole, reserve, gathered).open_backend_on(yielding, &key()).unwrap();
        let registers = (0..REGISTERS).map(|_| Register::default()).collect();
        let (opened, over) = (Mutex::new(HashMap::new()), AtomicBool::new(false));
        Self { medium, backend, registers, opened, cuts: Mutex::new(0), over, hole, writes }
    }

    fn over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Writes the next version of registers that are its own, each to the page whose version is no
    /// longer needed.
    fn write(&self, own: u64, random: &mut SeededRandom) {
        for _ in 0..self.writes {
            let number = random.below(REGISTERS / 2) * 2 + own;
            let register = &self.registers[number as usize];
            let version = register.done.load(Ordering::SeqCst) + 1;
            if register.durable.load(Ordering::SeqCst) + 1 < version {
                thread::yield_now();
                continue;
            }
            let slot = version % 2;
            let mut held = register.pages[slot as usize].write().unwrap();
            let offset = page_of(number, slot) * PAGE as u64;
            self.backend.write(offset, &content(number, version)).unwrap();
            *held = version;
            drop(held);
            register.done.store(version, Ordering::SeqCst);
        }
    }

    fn read(&self, random: &mut SeededRandom, times: u64) {
        for _ in 0..times {
            let (number, slot) = (random.below(REGISTERS), random.below(2));
            let held = self.registers[number as usize].pages[slot as usize].read().unwrap();
            let mut page = vec![0xEE; PAGE];
            self.backend.read(page_of(number, slot) * PAGE as u64, &mut page).unwrap();
            let found = version_in(number, &page);
            assert_eq!(found, Some(*held), "register {number}, page {slot}: not what was written");
        }
    }

    fn done(&self) -> Vec<u64> {
        self.registers.iter().map(|register| register.done.load(Ordering::SeqCst)).collect()
    }

    fn durable(&self) -> Vec<u64> {
        self.registers.iter().map(|register| register.durable.load(Ordering::SeqCst)).collect()
    }

    fn sync(&self) {
        let before = self.done();
        self.backend.sync_data().unwrap();
        for (register, version) in self.registers.iter().zip(before) {
            register.durable.fetch_max(version, Ordering::SeqCst);
        }
    }

    /// The power could go now: what would be left?
    fn crash(&self, seed: u64) {
        let at_least = self.durable();
        let crash = Crash::PowerCut { tearing: Tearing::Page4096, survival: Survival::Each(0.0) };
        let (image, cut) = {
            let mut cuts = self.cuts.lock().unwrap_or_else(PoisonError::into_inner);
            *cuts += 1;
            (self.medium.image_after(crash, seed), *cuts)
        };
        let at_most: Vec<u64> = self.done().iter().map(|version| version + 1).collect();
        let disk = image.image();
        let backend = builder(self.hole, 60, 2048).open_backend_on(image, &key()).unwrap();
        for (number, (least, most)) in (0..).zip(at_least.into_iter().zip(at_most)) {
            let versions =
                [0, 1].map(|slot| self.version_left(&backend, &disk, cut, (number, slot)));
            let newest = versions.into_iter().flatten().max();
            assert!(
                newest.is_some_and(|newest| (least..=most).contains(&newest)),
                "register {number}: {newest:?} after a cut, {least} was durable, {most} begun"
            );
        }
    }

    /// The version that a cut left in a page; `None` where it was on its way and is lost.
    fn version_left(
        &self,
        backend: &EncryptedBackend,
        disk: &[u8],
        cut: u64,
        (number, slot): (u64, u64),
    ) -> Option<u64> {
        let mut page = vec![0xEE; PAGE];
        let read = backend.read(page_of(number, slot) * PAGE as u64, &mut page);
        let start = file_offset(page_of(number, slot));
        let sealed = disk.get(start..start + PAGE).unwrap_or_default();
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if read.is_ok() {
            if opened.get(&(number, slot)).is_none_or(|(before, _)| *before < cut) {
                opened.insert((number, slot), (cut, sealed.to_vec()));
            }
            let version = version_in(number, &page);
            assert!(version.is_some(), "register {number}, page {slot}: no version at all");
            return version;
        }
        let as_before = opened
            .get(&(number, slot))
            .is_some_and(|(before, bytes)| *before < cut && bytes == sealed);
        assert!(!as_before, "register {number}, page {slot}: its durable tag is newer than it");
        None
    }

    /// Grows the file, writes, shrinks it, grows it: what was cut off is zeros.
    fn resize(&self, times: u64, random: &mut SeededRandom) {
        for _ in 0..times {
            let more = random.between(1, 2 * PAGES_PER_GROUP);
            self.backend.set_len((END + more) * PAGE as u64).unwrap();
            let offset = (END + more - 1) * PAGE as u64;
            let mut page = vec![0xEE; PAGE];
            self.backend.read(offset, &mut page).unwrap();
            assert!(page.iter().all(|byte| *byte == 0), "a page that was cut off is back");
            self.backend.write(offset, &[9; PAGE]).unwrap();
            self.backend.read(offset, &mut page).unwrap();
            assert_eq!(page, [9; PAGE], "the page just written");
            self.backend.set_len(END * PAGE as u64).unwrap();
        }
    }
}

type Work = Box<dyn FnOnce(&Scene, SeededRandom) + Send>;

/// Everything at once; checks everything.
fn round(seed: u64, hole: Option<Hole>, writes: u64) {
    let scene = Arc::new(Scene::new(seed, hole, writes));
    let mut threads = Vec::new();
    let mut spawn = |work: Work| {
        let scene = Arc::clone(&scene);
        let random = SeededRandom::new(seed ^ (threads.len() as u64 + 1) << 32);
        threads.push(thread::spawn(move || work(&scene, random)));
    };
    for own in 0..2 {
        spawn(Box::new(move |scene, mut random| scene.write(own, &mut random)));
    }
    for _ in 0..2 {
        spawn(Box::new(move |scene, mut random| scene.read(&mut random, writes)));
    }
    spawn(Box::new(move |scene, mut random| scene.resize(writes / 4, &mut random)));
    spawn(Box::new(move |scene, mut random| {
        for _ in 0..writes / 4 {
            scene.sync();
            scene.crash(random.next_u64());
        }
    }));
    let watching = Arc::clone(&scene);
    let watcher = thread::spawn(move || {
        let mut random = SeededRandom::new(seed);
        for _ in 0..writes / 4 {
            if watching.over() {
                break;
            }
            watching.crash(random.next_u64());
            thread::yield_now();
        }
    });
    let failed = threads.into_iter().map(thread::JoinHandle::join).filter(Result::is_err).count();
    scene.over.store(true, Ordering::SeqCst);
    assert!(watcher.join().is_ok() && failed == 0, "seed {seed}: {failed} threads failed");
    // A last sync: now every register's newest version is what a cut leaves.
    scene.sync();
    assert_eq!(scene.durable(), scene.done());
    scene.crash(seed);
}

#[cfg(not(strongroom_shuttle))]
#[test]
fn pages_are_registers_whatever_the_threads_do() {
    let asked = std::env::var("INTERLEAVINGS").ok().and_then(|text| text.parse().ok());
    let seeds: u64 = asked.unwrap_or(40);
    for seed in 0..seeds {
        round(seed, None, 40);
    }
    println!("figure: interleavings_seeds = {seeds}");
}

#[cfg(not(strongroom_shuttle))]
#[test]
fn an_entry_published_too_early_is_caught() {
    let quiet = |seed| {
        std::panic::catch_unwind(|| round(seed, Some(Hole::H9PublishBeforeWrite), 40)).is_err()
    };
    let caught = (0..200).find(|seed| quiet(*seed));
    println!("figure: interleavings_H9_caught_at_seed = {caught:?}");
    assert!(caught.is_some(), "H9PublishBeforeWrite was not caught in 200 seeds");
}

#[cfg(strongroom_shuttle)]
mod under_shuttle {
    use super::*;
    use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
    use shuttle::{Config, FailurePersistence, Runner};

    fn asked() -> usize {
        let asked = std::env::var("INTERLEAVINGS").ok().and_then(|text| text.parse().ok());
        asked.unwrap_or(1000)
    }

    fn run(scheduler: impl Scheduler + 'static, hole: Option<Hole>) -> usize {
        let mut config = Config::new();
        // Cryptography on a stack that shuttle thinks is for small models.
        config.stack_size = 1 << 20;
        config.max_steps = shuttle::MaxSteps::FailAfter(10_000_000);
        config.failure_persistence = FailurePersistence::None;
        Runner::new(scheduler, config).run(move || round(1, hole, 8))
    }

    #[test]
    fn pages_are_registers_under_every_schedule_tried() {
        let (random, pct) = (asked(), asked());
        println!("figure: shuttle_random_schedules = {}", run(RandomScheduler::new(random), None));
        println!("figure: shuttle_pct_schedules = {}", run(PctScheduler::new(3, pct), None));
    }

    #[test]
    fn an_entry_published_too_early_is_caught() {
        let planted = Some(Hole::H9PublishBeforeWrite);
        let run = || run(RandomScheduler::new(2000), planted);
        let caught = std::panic::catch_unwind(run).is_err();
        assert!(caught, "H9PublishBeforeWrite was not caught in 2000 schedules");
    }
}
