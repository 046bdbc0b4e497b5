//! Writing pages. What redb writes is gathered (`gather`) until there is enough of it or a sync
//! wants it; large runs go straight through. Pages go out of place: sealed into a buffer of ours and
//! written, and only then are their entries published.
//!
//! Locks: `flushing` (one who writes gathered pages at a time) before `resizing`, after `syncing`.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::Store;
use super::gather::{Gather, Pages};
use super::pages::{Run, threads_for};
use super::sync::LatchOnUnwind;
use crate::crew;
use crate::crypto::page::{Cipher, Sealing};
use crate::error::StoreError;
use crate::format::associated_data::{Place, associated_data};
use crate::format::tag_page::Entry;
use crate::keys::Keyring;
use crate::layout::{self, DATA_PAGES_PER_GROUP, PAGE_SIZE};
use crate::locks::{Mutex, RwLockReadGuard};
use crate::units::PageNo;

/// Pages gathered before they are written: 8 MiB. redb flushes its cache in an order that puts
/// neighbours far apart, so that a smaller window finds few.
pub(super) const GATHERED_PAGES: usize = 2048;
/// Pages sealed into one buffer. A run that redb writes in one call and that is as long as this is
/// not gathered, and goes out in one write.
const PAGES_PER_BUFFER: usize = 32;
/// Gathered neighbours written in one call, at most: 16 KiB. Linux caches a file in parts as large as
/// the write that first made them, and later 4 KiB writes into a large part cost several times as
/// much (docs/performance.md); up to here they don't, and the first write costs half.
const PAGES_PER_WRITE: usize = 4;

/// Room for ciphertexts on their way to the medium.
type Buffer = Vec<[u8; PAGE_SIZE]>;
/// One for each thread that seals, kept from one flush to the next: to ask the system for 128 KiB
/// each time costs more than to seal them.
pub(super) type Buffers = Vec<Buffer>;

/// A page on its way out.
type Plain<'a> = (PageNo, &'a [u8; PAGE_SIZE]);

const _: () = assert!(PAGES_PER_BUFFER as u64 <= DATA_PAGES_PER_GROUP);

impl Store {
    /// Writes whole pages from `first` on; `data` is whole pages long and inside the logical
    /// length. Page 0 goes through [`Store::write_page_zero`].
    ///
    /// # Errors
    /// After any failure, and until the next sync, a close leaves the file as a crash would: redb
    /// may have stopped between its header and its pages. A failure may be that of a page that was
    /// written, and gathered, before; once the medium failed the store is latched.
    pub(crate) fn write_pages(&self, first: PageNo, data: &[u8]) -> Result<(), StoreError> {
        self.note_activity();
        let written = self.write_checked(first, data);
        if written.is_err() {
            self.write_failed.store(true, Ordering::Release);
        }
        written
    }

    fn write_checked(&self, first: PageNo, data: &[u8]) -> Result<(), StoreError> {
        self.check_writable()?;
        if self.guard().is_held() {
            return Err(StoreError::Misuse("a page was written before recovery had ended"));
        }
        let (pages, []) = data.as_chunks::<PAGE_SIZE>() else {
            return Err(StoreError::Misuse("a write that is not whole pages"));
        };
        self.leave_clean_state()?;
        if pages.len() >= PAGES_PER_BUFFER.min(self.options.gathered_pages) {
            return self.write_through(first, pages);
        }
        let waiting = {
            let ((), _shared) = self.count_and_share(first, pages.len() as u64, || ())?;
            self.check_end(first, pages.len())?;
            self.change_gather(|gather| {
                gather.put(first, pages);
                gather.waiting()
            })
        };
        if waiting >= self.options.gathered_pages { self.flush() } else { Ok(()) }
    }

    // Asked under the lock that writers share: a change of length or a close may have come between.
    fn check_end(&self, first: PageNo, pages: usize) -> Result<(), StoreError> {
        self.check_usable()?;
        if first.0.saturating_add(pages as u64) > layout::pages_in(self.state().logical_len) {
            return Err(StoreError::Misuse("a write beyond the end"));
        }
        Ok(())
    }

    // A long run. Nobody flushes an older version of its pages meanwhile or later.
    fn write_through(&self, first: PageNo, pages: &[[u8; PAGE_SIZE]]) -> Result<(), StoreError> {
        let one_flush = || self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut sealed, _shared) = self.count_and_share(first, pages.len() as u64, one_flush)?;
        self.check_end(first, pages.len())?;
        let end = PageNo(first.0.saturating_add(pages.len() as u64));
        if self.gathered.load(Ordering::Acquire) > 0 {
            self.change_gather(|gather| gather.forget(first, end));
        }
        let _unwinding = LatchOnUnwind::new(&self.latched);
        let pages: Vec<Plain> = (first.0..).map(PageNo).zip(pages).collect();
        let (mut pieces, mut rest) = (Vec::new(), &pages[..]);
        while let Some((first, _)) = rest.first() {
            let run = Run::first_of(*first, rest.len(), PAGES_PER_BUFFER);
            let Some((piece, behind)) = rest.split_at_checked(run.pages) else { break };
            pieces.push(piece);
            rest = behind;
        }
        self.latch_write(self.write_pieces(&pieces, PAGES_PER_BUFFER, &mut sealed))
    }

    /// Writes what was gathered. Does nothing where nothing was.
    ///
    /// # Errors
    /// A write failed: the store is latched.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        self.flush_if(|| self.check_usable()) // another flush may have failed, or a close begun
    }

    /// The same in a close, when the store counts as closed for everybody else.
    pub(super) fn flush_at_close(&self) -> Result<(), StoreError> {
        self.flush_if(|| Ok(()))
    }

    fn flush_if(
        &self,
        may_write: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if self.gathered.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        let mut sealed = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let _shared = self.resizing.read().unwrap_or_else(PoisonError::into_inner);
        may_write()?;
        // A panic of the medium in the middle of it is a failure like any other.
        let _unwinding = LatchOnUnwind::new(&self.latched);
        let leaving = self.change_gather(Gather::leave);
        let written = self.latch_write(self.write_gathered(&leaving, &mut sealed));
        self.change_gather(Gather::arrived);
        if let Some(pages) = Arc::into_inner(leaving) {
            let mut pages = pages.into_values();
            self.change_gather(|gather| gather.keep_room(&mut pages));
        }
        written
    }

    fn write_gathered(&self, gathered: &Pages, sealed: &mut Buffers) -> Result<(), StoreError> {
        let pages: Vec<Plain> = gathered.iter().map(|(page, bytes)| (*page, &**bytes)).collect();
        let pieces: Vec<_> = pages.chunks(PAGES_PER_BUFFER).collect();
        self.write_pieces(&pieces, PAGES_PER_WRITE, sealed)
    }

    // Piece by piece: where there are many and the medium takes it, one thread seals while another
    // writes.
    fn write_pieces(
        &self,
        pieces: &[&[Plain]],
        run_max: usize,
        buffers: &mut Buffers,
    ) -> Result<(), StoreError> {
        self.check_process()?;
        let keyring = self.keyring();
        let pages = pieces.iter().map(|piece| piece.len()).sum();
        let threads = if self.medium.writes_in_parallel() { threads_for(pages) } else { 1 };
        let pool = Mutex::new(buffers);
        let buffers = || pool.lock().unwrap_or_else(PoisonError::into_inner);
        crew::share(pieces.len() as u64, threads, |next| {
            // At once where one thread fails or panics: the others stop before their next piece.
            let _unwinding = LatchOnUnwind::new(&self.latched);
            let mut buffer = buffers().pop().unwrap_or_default();
            while !self.latched.load(Ordering::Acquire)
                && let Some(number) = next()
            {
                let piece = usize::try_from(number).ok().and_then(|number| pieces.get(number));
                let piece = piece.copied().unwrap_or_default();
                self.latch_write(self.seal_and_write(&keyring, piece, run_max, &mut buffer))?;
            }
            buffers().push(buffer);
            Ok::<_, StoreError>(())
        })?;
        // Or somebody else has latched the store in the middle of it.
        if self.latched.load(Ordering::Acquire) { Err(StoreError::Latched) } else { Ok(()) }
    }

    /// Seals some pages, ascending, and writes runs of neighbours.
    fn seal_and_write(
        &self,
        keyring: &Keyring,
        pages: &[Plain],
        run_max: usize,
        buffer: &mut Buffer,
    ) -> Result<(), StoreError> {
        buffer.resize(pages.len().max(buffer.len()), [0; PAGE_SIZE]);
        let sealed = buffer.get_mut(..pages.len()).unwrap_or_default();
        let entries = self.seal(keyring, pages, sealed)?;
        let mut at = 0;
        while let Some((first, _)) = pages.get(at) {
            let longest = Run::first_of(*first, pages.len() - at, run_max);
            let here = pages.get(at..at + longest.pages).unwrap_or_default();
            let neighbours = here.iter().zip(first.0..).take_while(|((page, _), n)| page.0 == *n);
            let run = Run { pages: neighbours.count().max(1), ..longest };
            let end = at + run.pages;
            let entries = entries.get(at..end).unwrap_or_default();
            self.keep_for_picture(run.group, run.place..run.place + run.pages);
            if self.holes.publish_before_write() {
                self.publish(run, entries)?;
            }
            let bytes = sealed.get(at..end).unwrap_or_default().as_flattened();
            self.medium.write_at(run.offset(), bytes)?;
            self.publish(run, entries)?;
            at = end;
        }
        Ok(())
    }

    fn seal(
        &self,
        keyring: &Keyring,
        pages: &[Plain],
        sealed: &mut [[u8; PAGE_SIZE]],
    ) -> Result<Vec<Entry>, StoreError> {
        let key = keyring.active();
        let mut entries = vec![Entry { epoch: key.epoch, ..Entry::ABSENT }; pages.len()];
        for entry in &mut entries {
            entry.nonce = self.nonces.next()?;
        }
        let places: Vec<_> = pages
            .iter()
            .map(|(page, _)| associated_data(keyring.file_id(), key.epoch, Place::Page(*page)))
            .collect();
        let mut messages: Vec<_> = pages
            .iter()
            .zip(&places)
            .zip(sealed)
            .zip(&mut entries)
            .map(|((((_, plain), place), out), Entry { nonce, tag, .. })| Sealing {
                nonce,
                associated_data: place,
                plain: *plain,
                out,
                tag,
            })
            .collect();
        Cipher::new(&key.page).seal_batch(&mut messages);
        Ok(entries)
    }

    fn publish(&self, run: Run, entries: &[Entry]) -> Result<(), StoreError> {
        while !self.state_mut().publish(run.group, run.place, entries) {
            self.with_tag_page(run.group, |_| ())?;
        }
        Ok(())
    }

    // Of several pages some may have landed under entries that were not published.
    fn latch_write<T>(&self, written: Result<T, StoreError>) -> Result<T, StoreError> {
        if self.holes.close_after_failed_write() { written } else { self.latch(written) }
    }

    /// Changes what is gathered, and the count that readers look at first.
    pub(super) fn change_gather<T>(&self, change: impl FnOnce(&mut Gather) -> T) -> T {
        let mut gather = self.gather.write().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut gather);
        self.gathered.store(gather.len(), Ordering::Release);
        changed
    }

    /// Reads a page that is not on the medium yet; `false` where it is not gathered.
    pub(super) fn read_gathered(&self, page: PageNo, out: &mut [u8]) -> bool {
        if self.gathered.load(Ordering::Acquire) == 0 {
            return false;
        }
        let gather = self.gather.read().unwrap_or_else(PoisonError::into_inner);
        gather.get(page).is_some_and(|bytes| {
            out.copy_from_slice(bytes);
            true
        })
    }

    /// Whether any page of a range is not on the medium yet.
    pub(super) fn is_gathered(&self, first: PageNo, pages: u64) -> bool {
        self.gathered.load(Ordering::Acquire) > 0
            && self.gather.read().unwrap_or_else(PoisonError::into_inner).has_any(first, pages)
    }

    // The lock that writers share, behind another one, with the pages counted for the key that is
    // active under it. Counting may sync, and so comes before either.
    fn count_and_share<L>(
        &self,
        first: PageNo,
        pages: u64,
        before: impl Fn() -> L,
    ) -> Result<(L, RwLockReadGuard<'_, ()>), StoreError> {
        loop {
            let epoch = self.keyring().active().epoch;
            self.allow_sealing(first, pages)?;
            let held = before();
            let shared = self.resizing.read().unwrap_or_else(PoisonError::into_inner);
            if self.keyring().active().epoch == epoch {
                return Ok((held, shared));
            }
        }
    }

    // Counts pages before they are sealed, so that a crash never under-counts, and with them the
    // tag pages they will dirty.
    fn allow_sealing(&self, first: PageNo, pages: u64) -> Result<(), StoreError> {
        let groups_after = layout::groups_for(first.0.saturating_add(pages));
        let tag_pages = groups_after - layout::place_of(first).0.0.min(self.state().groups);
        let cost = pages.saturating_add(tag_pages);
        let sealed = self.sealed_pages.load(Ordering::Acquire).saturating_add(cost);
        if sealed > self.unlocked().header.policy.sealed_pages_hard {
            return Err(StoreError::KeyUsedUp);
        }
        self.count_seals(cost)
    }

    /// Counts seals to come; a sync first, where the durable root record doesn't allow for them.
    pub(super) fn count_seals(&self, seals: u64) -> Result<(), StoreError> {
        let sealed = self.sealed_pages.fetch_add(seals, Ordering::AcqRel).saturating_add(seals);
        if sealed > self.sealed_pages_bound.load(Ordering::Acquire) {
            self.sync_on_its_own()?;
        }
        Ok(())
    }
}
