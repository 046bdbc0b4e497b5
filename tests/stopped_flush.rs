//! A read that fails on another thread stops redb in the middle of a commit's flush: its header has
//! reached the store, some of its pages have not, and no write has failed. What the close makes of
//! it must be the state of the last sync, left to recovery, never a half commit marked clean.
#![cfg(feature = "testkit")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use strongroom::medium::{LockKind, Medium, MemoryMedium};
use strongroom::redb::{ReadableDatabase, ReadableTable, TableDefinition};
use strongroom::{Builder, Database, RawKey};

const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("t");
const ROWS: u64 = 2000;

type Hook = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Fault {
    /// Counts page writes and runs the hook within the second one.
    armed: AtomicBool,
    writes: AtomicU64,
    hook: Mutex<Option<Hook>>,
    reads_fail: AtomicBool,
}

/// Memory whose reads fail on demand.
struct Faulty(MemoryMedium, Arc<Fault>);

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

impl Medium for Faulty {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.1.reads_fail.load(Ordering::SeqCst) {
            return Err(io::Error::other("one bad read"));
        }
        self.0.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)?;
        if self.1.armed.load(Ordering::SeqCst)
            && self.1.writes.fetch_add(1, Ordering::SeqCst) == 1
            && let Some(hook) = self.1.hook.lock().unwrap().take()
        {
            hook();
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn try_lock(&self, kind: LockKind) -> io::Result<bool> {
        self.0.try_lock(kind)
    }

    fn unlock(&self) -> io::Result<()> {
        self.0.unlock()
    }
}

// Each page goes to the medium as redb writes it.
fn one_by_one() -> Builder {
    let mut builder = Builder::new();
    builder.cache_size(1 << 20).gathered_pages(0);
    builder
}

fn fill(db: &Database, byte: u8, step: usize) -> Result<(), strongroom::Error> {
    let write = db.begin_write()?;
    {
        let mut table = write.open_table(TABLE)?;
        for row in (0..ROWS).step_by(step) {
            table.insert(row, &[byte; 1500][..])?;
        }
    }
    Ok(write.commit()?)
}

/// Reads until a read fails: redb then refuses whatever comes after, on every thread.
fn fail_a_read(db: &Database, fault: &Fault) {
    let read = db.begin_read().unwrap();
    let table = read.open_table(TABLE).unwrap();
    fault.reads_fail.store(true, Ordering::SeqCst);
    assert!((0..ROWS).any(|row| table.get(row).is_err()), "everything was cached");
    fault.reads_fail.store(false, Ordering::SeqCst);
}

#[test]
fn a_flush_stopped_by_a_failed_read_is_not_marked_clean() {
    let (memory, fault) = (MemoryMedium::new(), Arc::new(Fault::default()));
    let key = RawKey::new([7; 32]);
    let medium = Faulty(memory.clone(), Arc::clone(&fault));
    let db = Arc::new(one_by_one().create_on(medium, &key).unwrap());
    fill(&db, 1, 1).unwrap();

    let (reader, faults) = (Arc::downgrade(&db), Arc::clone(&fault));
    *fault.hook.lock().unwrap() = Some(Box::new(move || {
        let read = move || fail_a_read(&reader.upgrade().unwrap(), &faults);
        std::thread::spawn(read).join().unwrap();
    }));
    fault.armed.store(true, Ordering::SeqCst);
    assert!(fill(&db, 2, 30).is_err(), "redb stopped in the flush");
    drop(Arc::try_unwrap(db).unwrap());

    let db = Builder::new().open_on(memory, &key).unwrap();
    assert!(!db.recovery().clean, "a half commit was marked clean");
    let read = db.begin_read().unwrap();
    for row in read.open_table(TABLE).unwrap().iter().unwrap() {
        assert_eq!(row.unwrap().1.value(), [1; 1500], "the commit that returned");
    }
}
