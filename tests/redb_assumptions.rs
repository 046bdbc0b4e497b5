//! Pins what strongroom's recovery relies on in redb 4.6.0 and what no documentation promises, with
//! a backend that records every call and hands out images of itself as a power cut would leave
//! them: the only write below 4096 is redb's header, offset 0, 320 bytes; opening an image, repair
//! included, writes nothing but that header and never changes the length; an error of a read
//! during repair is fatal, not a reason to fall back; the lock asked for when range locks are
//! unsupported is the whole range; `close` comes exactly once. A new redb that differs fails here.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a helper that fails is a test that fails"
)]

use std::io;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use strongroom::redb::{
    self, BackendError, Database, Durability, ReadOnlyDatabase, ReadableDatabase, ReadableTable,
    StorageBackend, TableDefinition,
};

const NOTES: TableDefinition<u32, &[u8]> = TableDefinition::new("notes");
const HEADER: (u64, usize) = (0, 320);

/// xorshift64*, for workloads and torn sectors.
#[derive(Clone, Debug)]
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) % bound
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Call {
    Read(u64, usize),
    Write(u64, usize),
    SetLen(u64),
    Sync,
    Close,
    Lock(Bound<u64>, Bound<u64>),
}

#[derive(Debug, Default)]
struct Disk {
    view: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<(u64, Vec<u8>)>,
    calls: Vec<Call>,
    /// Every so many calls that change something an image is taken, if there are dice.
    dice: Option<Dice>,
    images: Vec<Vec<u8>>,
    /// The read with this number fails.
    failing_read: Option<usize>,
    reads: usize,
    whole_range_only: bool,
}

/// Marks a change of length among the pending writes.
const LENGTH: u64 = u64::MAX;

impl Disk {
    fn of(image: Vec<u8>) -> Self {
        Self { view: image.clone(), durable: image, ..Self::default() }
    }

    fn change(&mut self, at: u64, data: Vec<u8>) {
        self.pending.push((at, data));
        if let Some(mut dice) = self.dice.take() {
            if dice.below(7) == 0 {
                let image = self.torn(&mut dice);
                self.images.push(image);
            }
            self.dice = Some(dice);
        }
    }

    /// What a power cut now would leave: of each pending write any of its sectors.
    fn torn(&self, dice: &mut Dice) -> Vec<u8> {
        let mut image = self.durable.clone();
        let odds = dice.below(4);
        for (at, data) in &self.pending {
            if *at == LENGTH {
                if dice.below(4) >= odds {
                    let len = u64::from_le_bytes(data[..].try_into().unwrap());
                    image.resize(len as usize, 0);
                }
                continue;
            }
            for (index, sector) in data.chunks(512).enumerate() {
                let start = *at as usize + index * 512;
                if dice.below(4) >= odds {
                    let end = start + sector.len();
                    image.resize(image.len().max(end), 0);
                    image[start..end].copy_from_slice(sector);
                }
            }
        }
        image
    }
}

#[derive(Clone, Debug)]
struct Recorder(Arc<Mutex<Disk>>);

impl Recorder {
    fn over(disk: Disk) -> Self {
        Self(Arc::new(Mutex::new(disk)))
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap()
    }

    fn calls(&self) -> Vec<Call> {
        self.disk().calls.clone()
    }

    fn count(&self, wanted: &Call) -> usize {
        self.disk().calls.iter().filter(|call| *call == wanted).count()
    }

    fn lock(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        let mut disk = self.disk();
        disk.calls.push(Call::Lock(start, end));
        let whole =
            matches!(start, Bound::Unbounded | Bound::Included(0)) && end == Bound::Unbounded;
        if disk.whole_range_only && !whole { Err(BackendError::Unsupported) } else { Ok(true) }
    }
}

impl StorageBackend for Recorder {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk().view.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut disk = self.disk();
        disk.calls.push(Call::Read(offset, out.len()));
        disk.reads += 1;
        if disk.failing_read == Some(disk.reads) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a page that doesn't open"));
        }
        let at = offset as usize;
        let found = disk.view.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.disk();
        disk.calls.push(Call::SetLen(len));
        disk.view.resize(len as usize, 0);
        disk.change(LENGTH, len.to_le_bytes().to_vec());
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk();
        disk.calls.push(Call::Sync);
        disk.durable = disk.view.clone();
        disk.pending.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut disk = self.disk();
        disk.calls.push(Call::Write(offset, data.len()));
        let at = offset as usize;
        disk.view.get_mut(at..at + data.len()).unwrap().copy_from_slice(data);
        disk.change(offset, data.to_vec());
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.disk().calls.push(Call::Close);
        Ok(())
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.lock(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.lock(start, end)
    }

    fn unlock_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
}

fn open(backend: Recorder) -> Result<Database, redb::DatabaseError> {
    // A small cache, so that redb writes and reads in the middle of transactions.
    redb::Builder::new().set_cache_size(128 * 1024).create_with_backend(backend)
}

fn transaction(db: &Database, dice: &mut Dice) {
    let mut txn = db.begin_write().unwrap();
    let persistent = dice.below(6) == 0;
    if dice.below(4) == 0 && !persistent {
        txn.set_durability(Durability::None).unwrap();
    }
    txn.set_two_phase_commit(dice.below(2) == 0);
    txn.set_quick_repair(dice.below(3) == 0);
    if persistent {
        match txn.list_persistent_savepoints().unwrap().next() {
            Some(id) if dice.below(2) == 0 => drop(txn.delete_persistent_savepoint(id).unwrap()),
            _ => drop(txn.persistent_savepoint().unwrap()),
        }
    }
    {
        let mut table = txn.open_table(NOTES).unwrap();
        let large = dice.below(8) == 0;
        for _ in 0..dice.below(40) {
            let key = dice.below(300) as u32;
            let len = if large { dice.below(200_000) } else { dice.below(3000) };
            if dice.below(3) == 0 {
                table.remove(key).unwrap();
            } else {
                table.insert(key, &*vec![key as u8; len as usize]).unwrap();
            }
        }
        if dice.below(20) == 0 {
            table.retain(|_, _| false).unwrap();
        }
    }
    if dice.below(6) == 0 { txn.abort().unwrap() } else { txn.commit().unwrap() }
}

/// A life of random transactions; the recorder holds its calls and its crash images.
fn life(seed: u64) -> Recorder {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let recorder = Recorder::over(Disk::default());
    let mut db = open(recorder.clone()).unwrap();
    recorder.disk().dice = Some(Dice(seed | 1 << 40));
    for _ in 0..25 {
        transaction(&db, &mut dice);
        match dice.below(12) {
            0 => drop(db.compact()),
            1 => assert!(db.check_integrity().unwrap()),
            2 => {
                drop(db);
                db = open(recorder.clone()).unwrap();
            }
            _ => {}
        }
    }
    recorder.disk().images.truncate(60);
    recorder
}

fn seeds() -> u64 {
    let asked = std::env::var("REDB_LIVES").ok().and_then(|seeds| seeds.parse().ok());
    asked.unwrap_or(if cfg!(debug_assertions) { 12 } else { 60 })
}

fn is_header_or_page(call: &Call) -> bool {
    match *call {
        Call::Write(offset, len) if offset < 4096 => (offset, len) == HEADER,
        Call::Write(offset, len) => offset % 4096 == 0 && len % 4096 == 0,
        Call::Read(offset, len) if offset < 4096 => offset == 0 && [9, 320].contains(&len),
        Call::Read(offset, len) => offset % 4096 == 0 && len % 4096 == 0,
        Call::SetLen(len) => len % 4096 == 0,
        _ => true,
    }
}

#[test]
fn redb_writes_whole_pages_and_its_header_of_320_bytes() {
    let (mut headers, mut pages) = (0, 0);
    for seed in 0..seeds() {
        let calls = life(seed).calls();
        let other: Vec<_> = calls.iter().filter(|call| !is_header_or_page(call)).collect();
        assert!(other.is_empty(), "seed {seed}: {other:?}");
        headers += calls.iter().filter(|c| **c == Call::Write(HEADER.0, HEADER.1)).count();
        pages += calls.iter().filter(|call| matches!(call, Call::Write(4096.., _))).count();
    }
    assert!(headers > 0 && pages > 0);
    println!("figure: header writes seen = {headers}");
    println!("figure: page writes seen = {pages}");
}

#[test]
fn opening_and_repairing_write_the_header_only() {
    let (mut images, mut repaired, mut wrote) = (0, 0, 0);
    for seed in 0..seeds() {
        for image in std::mem::take(&mut life(seed).disk().images) {
            let recorder = Recorder::over(Disk::of(image));
            let db = open(recorder.clone()).unwrap();
            let calls = recorder.calls();
            let bad = calls.iter().find(|call| match call {
                Call::Write(offset, len) => (*offset, *len) != HEADER,
                Call::SetLen(_) | Call::Close => true,
                _ => false,
            });
            assert_eq!(bad, None, "seed {seed}");
            images += 1;
            repaired += usize::from(calls.contains(&Call::Sync));
            wrote += calls.iter().filter(|call| matches!(call, Call::Write(..))).count();
            if let Ok(table) = db.begin_read().unwrap().open_table(NOTES) {
                table.iter().unwrap().for_each(|entry| drop(entry.unwrap()));
            }
        }
    }
    println!("figure: crash images opened = {images}");
    println!("figure: of them redb synced in its open = {repaired}");
    println!("figure: header writes in these opens = {wrote}");
    assert!(repaired > images / 2, "the images are of unclean shutdowns");
}

#[test]
fn a_failed_read_in_repair_is_fatal() {
    let mut fatal = 0;
    for seed in 0..seeds().min(8) {
        for image in life(seed).disk().images.iter().step_by(9) {
            let whole = Recorder::over(Disk::of(image.clone()));
            let db = open(whole.clone()).unwrap();
            let reads = whole.disk().reads;
            drop(db);
            for read in 1..=reads {
                let disk = Disk { failing_read: Some(read), ..Disk::of(image.clone()) };
                let recorder = Recorder::over(disk);
                match open(recorder.clone()) {
                    Err(redb::DatabaseError::Storage(redb::StorageError::Io(error))) => {
                        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                    }
                    other => panic!("seed {seed}, read {read} of {reads}: {other:?}"),
                }
                assert_eq!(recorder.count(&Call::Close), 1, "also after a failed open");
                fatal += 1;
            }
        }
    }
    println!("figure: reads failed in an open, all of them fatal = {fatal}");
    assert!(fatal > 100);
}

#[test]
fn the_lock_asked_for_is_the_whole_range_where_ranges_are_unsupported() {
    let recorder = Recorder::over(Disk { whole_range_only: true, ..Disk::default() });
    let db = open(recorder.clone()).unwrap();
    transaction(&db, &mut Dice(7));
    db.close().unwrap();
    let ranges = |recorder: &Recorder| -> Vec<_> {
        let calls = recorder.calls().into_iter();
        calls.filter(|call| matches!(call, Call::Lock(..))).collect()
    };
    println!("figure: lock requests of a writer = {:?}", ranges(&recorder));
    let whole = |call: &Call| {
        matches!(call, Call::Lock(Bound::Unbounded | Bound::Included(0), Bound::Unbounded))
    };
    assert!(ranges(&recorder).last().is_some_and(whole));
    let reader =
        Recorder::over(Disk { whole_range_only: true, ..Disk::of(recorder.disk().view.clone()) });
    let db: ReadOnlyDatabase =
        redb::Builder::new().open_read_only_with_backend(reader.clone()).unwrap();
    println!("figure: lock requests of a reader = {:?}", ranges(&reader));
    assert!(ranges(&reader).last().is_some_and(whole));
    db.close().unwrap();
    assert_eq!(reader.count(&Call::Close), 1);
    assert!(!reader.calls().iter().any(|call| matches!(call, Call::Write(..) | Call::SetLen(_))));
}

#[test]
fn close_comes_exactly_once_and_last() {
    let closes = |end: fn(Database)| {
        let recorder = Recorder::over(Disk::default());
        let db = open(recorder.clone()).unwrap();
        transaction(&db, &mut Dice(9));
        assert_eq!(recorder.count(&Call::Close), 0);
        end(db);
        assert_eq!(recorder.calls().last(), Some(&Call::Close));
        recorder.count(&Call::Close)
    };
    assert_eq!(closes(|db| db.close().unwrap()), 1);
    assert_eq!(closes(drop), 1);
    assert_eq!(closes(|mut db| drop((db.compact(), db))), 1);
    let with_a_live_writer = closes(|db| {
        let txn = db.begin_write().unwrap();
        assert!(db.close().is_err());
        txn.commit().unwrap_or(());
    });
    assert_eq!(with_a_live_writer, 1);
    let with_a_live_reader = closes(|db| {
        let read = db.begin_read().unwrap();
        drop(db);
        drop(read);
    });
    assert_eq!(with_a_live_reader, 1);
}
