//! A disk that a test listens in on: a hook sees every call of the store's before it is carried
//! out, can make it wait, and can make it fail. With it, the small database that the tests of key
//! rotation share, and a gate for a thread to wait at.
#![allow(dead_code, reason = "each of the tests that share it uses a part")]

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use strongroom::medium::{CacheDrop, LockKind, Medium};
use strongroom::redb::{ReadableDatabase, ReadableTable, TableDefinition};
use strongroom::testkit::CrashMedium;
use strongroom::{Builder, Database, Error, RawKey};

pub(crate) const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("table");
pub(crate) const PAGE: u64 = 4096;

pub(crate) type Content = BTreeMap<u64, Vec<u8>>;

/// A call as the hook sees it.
pub(crate) enum Call<'a> {
    Read {
        at: u64,
    },
    Write {
        at: u64,
        data: &'a [u8],
    },
    SetLen,
    Sync,
    /// A sync has returned.
    Synced,
    Unlock,
    Reached(&'static str),
}

type Hook = Arc<dyn Fn(Call<'_>) -> io::Result<()> + Send + Sync>;

/// The hook's place; a clone changes the hook of the same disk.
#[derive(Clone, Default)]
pub(crate) struct Ear(Arc<Mutex<Option<Hook>>>);

impl Ear {
    pub(crate) fn listen(&self, hook: impl Fn(Call<'_>) -> io::Result<()> + Send + Sync + 'static) {
        *self.0.lock().unwrap() = Some(Arc::new(hook));
    }

    pub(crate) fn close(&self) {
        *self.0.lock().unwrap() = None;
    }

    fn hear(&self, call: Call<'_>) -> io::Result<()> {
        let hook = self.0.lock().unwrap().clone();
        hook.map_or(Ok(()), |hook| hook(call))
    }
}

pub(crate) struct Probe {
    disk: CrashMedium,
    ear: Ear,
}

impl Probe {
    pub(crate) fn on(disk: &CrashMedium) -> (Self, Ear) {
        let ear = Ear::default();
        (Self { disk: disk.clone(), ear: ear.clone() }, ear)
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.disk.fmt(f)
    }
}

impl Medium for Probe {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.ear.hear(Call::Read { at: offset })?;
        self.disk.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.ear.hear(Call::Write { at: offset, data })?;
        self.disk.write_at(offset, data)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.ear.hear(Call::SetLen)?;
        self.disk.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.ear.hear(Call::Sync)?;
        self.disk.sync()?;
        self.ear.hear(Call::Synced)
    }

    fn try_lock(&self, kind: LockKind) -> io::Result<bool> {
        self.disk.try_lock(kind)
    }

    fn unlock(&self) -> io::Result<()> {
        self.ear.hear(Call::Unlock)?;
        self.disk.unlock()
    }

    fn drop_cache(&self, offset: u64, len: u64) -> io::Result<CacheDrop> {
        self.disk.drop_cache(offset, len)
    }

    fn reached(&self, point: &'static str) {
        let _ = self.ear.hear(Call::Reached(point));
        self.disk.reached(point);
    }
}

/// Whoever passes waits until it is opened.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<(bool, HashSet<ThreadId>)>,
    changed: Condvar,
}

impl Gate {
    pub(crate) fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.1.insert(std::thread::current().id());
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |(open, _)| !*open).unwrap());
    }

    pub(crate) fn open(&self) {
        self.state.lock().unwrap().0 = true;
        self.changed.notify_all();
    }

    /// Waits until somebody is at the gate.
    pub(crate) fn wait_for_visitor(&self) {
        let state = self.state.lock().unwrap();
        let none_yet = |state: &mut (bool, HashSet<ThreadId>)| state.1.is_empty();
        let waited = self.changed.wait_timeout_while(state, Duration::from_secs(20), none_yet);
        assert!(!waited.unwrap().1.timed_out(), "nobody came to the gate");
    }

    /// Threads that have come by.
    pub(crate) fn visitors(&self) -> usize {
        self.state.lock().unwrap().1.len()
    }
}

/// Whether the rotation's worker is asking.
pub(crate) fn is_worker() -> bool {
    std::thread::current().name() == Some("strongroom-rotation")
}

/// Whether a data page lies there, were it inside of the logical length.
pub(crate) fn is_data_page(at: u64) -> bool {
    at >= 20 * PAGE && (at / PAGE - 20) % 128 >= 2
}

pub(crate) fn key() -> RawKey {
    RawKey::new([9; 32])
}

/// Small batches, for many steps.
pub(crate) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.cache_size(64 << 10).rotation_batch(126).resume_rotation(false);
    builder
}

pub(crate) fn put(db: &Database, keys: Range<u64>, byte: u8, size: usize) -> Result<(), Error> {
    let txn = db.begin_write()?;
    for key in keys {
        txn.open_table(TABLE)?.insert(key, &*vec![byte; size])?;
    }
    Ok(txn.commit()?)
}

pub(crate) fn content(db: &Database) -> Result<Content, Error> {
    let mut content = Content::new();
    for row in db.begin_read()?.open_table(TABLE)?.iter()? {
        let (key, value) = row?;
        content.insert(key.value(), value.value().to_vec());
    }
    Ok(content)
}

/// A closed database of so many records, and what it holds.
pub(crate) fn closed(records: u64) -> (Vec<u8>, Content) {
    let disk = CrashMedium::new(1);
    let db = builder().create_on(disk.clone(), &key()).unwrap();
    put(&db, 0..records, 1, 2500).unwrap();
    let content = content(&db).unwrap();
    db.close().unwrap();
    (disk.image(), content)
}
