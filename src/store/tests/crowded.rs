//! Flushes that several threads share: what each of them wrote is there, and what one of them
//! fails at stops the store.

use std::collections::BTreeSet;
use std::thread::ThreadId;
use std::time::Duration;

use super::*;

/// Memory that takes writes from several threads, keeps which ones came, and fails at one place, if any.
#[derive(Debug, Default)]
struct Crowded {
    memory: MemoryMedium,
    threads: Arc<Mutex<BTreeSet<String>>>,
    fails_at: Arc<AtomicU64>,
    written: Arc<AtomicU64>,
}

impl Crowded {
    fn note(&self, thread: ThreadId) {
        self.threads.lock().unwrap().insert(format!("{thread:?}"));
    }
}

impl Medium for Crowded {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.memory.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.note(std::thread::current().id());
        let range = offset..offset + data.len() as u64;
        let fails_at = self.fails_at.load(Ordering::Relaxed);
        if fails_at > 0 && range.contains(&fails_at) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.written.fetch_add(1, Ordering::Relaxed);
        // Long enough for the others to come to their turn, on one processor too.
        std::thread::sleep(Duration::from_micros(50));
        self.memory.write_at(offset, data)
    }

    fn writes_in_parallel(&self) -> bool {
        true
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.memory.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.memory.sync()
    }

    fn try_lock(&self, kind: LockKind) -> io::Result<bool> {
        self.memory.try_lock(kind)
    }

    fn unlock(&self) -> io::Result<()> {
        self.memory.unlock()
    }
}

fn byte_of(page: u64) -> u8 {
    (page % 251) as u8
}

// Scattered pages, which are gathered, and a long run, which is not.
fn write_many(store: &Store) -> Result<(), StoreError> {
    for page in (1..1500).filter(|page| page % 3 > 0) {
        store.write_pages(PageNo(page), &[byte_of(page); PAGE_SIZE])?;
    }
    let run: Vec<u8> = (2000..2600).flat_map(|page| [byte_of(page); PAGE_SIZE]).collect();
    store.write_pages(PageNo(2000), &run)
}

#[test]
fn what_several_threads_wrote_is_all_there() {
    let crowded = Crowded::default();
    let (memory, threads) = (crowded.memory.clone(), Arc::clone(&crowded.threads));
    let store = created(crowded, 25);
    for _ in 0..5 {
        write_many(&store).unwrap();
        store.sync().unwrap();
    }
    store.close().unwrap();
    if crate::crew::cores() > 1 {
        assert!(threads.lock().unwrap().len() > 1, "one thread wrote everything");
    }
    let store = reopened(memory.to_bytes());
    for page in (1..1500).filter(|page| page % 3 > 0).chain(2000..2600) {
        assert_eq!(read(&store, page).unwrap(), byte_of(page), "page {page}");
    }
}

#[test]
fn what_one_thread_fails_at_latches_the_store() {
    for failing in [700, 2400] {
        let crowded = Crowded::default();
        let (fails_at, written) = (Arc::clone(&crowded.fails_at), Arc::clone(&crowded.written));
        let store = created(crowded, 25);
        store.sync().unwrap();
        written.store(0, Ordering::Relaxed);
        fails_at.store(layout::data_page_start(PageNo(failing)).0, Ordering::Relaxed);
        let done = write_many(&store).and_then(|()| store.sync());
        assert!(matches!(done, Err(StoreError::Io(_))), "{done:?}");
        // 500 writes of gathered pages, the failing one in the middle: each other thread ends what it
        // has begun, 16 writes.
        let landed = written.load(Ordering::Relaxed);
        assert!(
            landed < 260 + 16 * crate::crew::cores() as u64,
            "{landed} writes around a failure"
        );
        assert!(matches!(store.sync(), Err(StoreError::Latched)));
    }
}
