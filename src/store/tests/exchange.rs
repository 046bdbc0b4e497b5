//! A step of a key rotation beside a sync of somebody else's, in the one order that was once wrong
//! (docs/past-failures.md, R6).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{sleep, spawn};
use std::time::Duration;

use super::*;

/// Long enough for a thread to have got to the lock that it is to wait for.
const A_WHILE: Duration = Duration::from_millis(20);

/// What the medium tells, and what it waits for.
#[derive(Debug, Default)]
struct Schedule {
    memory: MemoryMedium,
    /// The step has journaled.
    journaled: AtomicBool,
    /// The step may go on after that.
    go_on: AtomicBool,
    /// The other sync is in its `fsync`.
    in_fsync: AtomicBool,
    /// It may return.
    end_fsync: AtomicBool,
    /// A page of the batch was written in place.
    in_place: AtomicBool,
}

fn wait_for(flag: &AtomicBool) {
    for _ in 0..5000 {
        if flag.load(Ordering::SeqCst) {
            return;
        }
        sleep(Duration::from_millis(1));
    }
    panic!("nobody came");
}

fn is_step() -> bool {
    std::thread::current().name() == Some("step")
}

#[derive(Debug)]
struct Scheduled(Arc<Schedule>);

impl Medium for Scheduled {
    fn len(&self) -> io::Result<u64> {
        self.0.memory.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.memory.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let data_pages =
            layout::data_page_start(PageNo(1)).0..layout::data_page_start(PageNo(120)).0;
        if is_step() && data_pages.contains(&offset) {
            self.0.in_place.store(true, Ordering::SeqCst);
        }
        self.0.memory.write_at(offset, data)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.memory.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        if self.0.journaled.load(Ordering::SeqCst) && !is_step() {
            self.0.in_fsync.store(true, Ordering::SeqCst);
            wait_for(&self.0.end_fsync);
        }
        self.0.memory.sync()
    }

    fn try_lock(&self, kind: LockKind) -> io::Result<bool> {
        self.0.memory.try_lock(kind)
    }

    fn unlock(&self) -> io::Result<()> {
        self.0.memory.unlock()
    }

    fn reached(&self, point: &'static str) {
        if point == "rotation: after journal" && is_step() {
            self.0.journaled.store(true, Ordering::SeqCst);
            wait_for(&self.0.go_on);
        }
    }
}

/// The other sync's snapshot is taken between the step's journaling and its look whether there is
/// anything to sync: it carries the journal, and is not over yet. Three threads wait for the
/// state's lock for that: the step, then the sync, then one that reads, which keeps the step from
/// getting the lock a second time before the sync had it.
#[test]
fn a_step_does_not_take_the_sync_of_somebody_else_for_its_own() {
    let schedule = Arc::new(Schedule::default());
    let store = Arc::new(created(Scheduled(Arc::clone(&schedule)), 1));
    store.write_pages(PageNo(1), &[1; 64 * PAGE_SIZE]).unwrap();
    store.sync().unwrap();
    store.begin_rotation().unwrap();
    let step = {
        let store = Arc::clone(&store);
        let step = move || {
            let batch = store.prepare_batch(GroupNo(0), false).unwrap();
            store.exchange(Some(batch)).unwrap();
            store.exchange(None).unwrap();
        };
        std::thread::Builder::new().name("step".to_owned()).spawn(step).unwrap()
    };
    wait_for(&schedule.journaled);
    let state = store.state();
    schedule.go_on.store(true, Ordering::SeqCst);
    sleep(A_WHILE);
    let other = {
        let store = Arc::clone(&store);
        spawn(move || store.sync_on_its_own().unwrap())
    };
    sleep(A_WHILE);
    let reader = {
        let store = Arc::clone(&store);
        spawn(move || drop(store.state()))
    };
    sleep(A_WHILE);
    drop(state);
    wait_for(&schedule.in_fsync);
    sleep(5 * A_WHILE);
    let early = schedule.in_place.load(Ordering::SeqCst);
    schedule.end_fsync.store(true, Ordering::SeqCst);
    for thread in [step, other, reader] {
        thread.join().unwrap();
    }
    assert!(!early, "put in place while the sync that carries its journal is on its way");
    assert!(schedule.in_place.load(Ordering::SeqCst));
}

/// A pause, a cancel and a close wait for a step: one that finds nothing to do is short, too.
#[test]
fn a_step_looks_at_so_many_groups_and_no_more() {
    let store = created(MemoryMedium::new(), 600);
    store.begin_rotation().unwrap();
    let mut looks = vec![0];
    while looks.last().is_some_and(|next| *next < 600) {
        let batch = store.prepare_batch(GroupNo(looks[looks.len() - 1]), false).unwrap();
        assert!(batch.is_empty());
        looks.push(batch.next_group().0);
    }
    assert_eq!(looks, [0, 256, 512, 600]);
}
