//! Closing (docs/format.md, "Close"): everything durable, the file cut behind the last page, the
//! clean index behind that, and a root record that says "clean" in both copies. A crash anywhere
//! in it leaves a state that the next open knows.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::Store;
use super::anchoring::{Bound, Occasion};
use super::state::PageZero;
use crate::error::StoreError;
use crate::format::associated_data::Place;
use crate::format::clean_index;
use crate::format::root_record::{RootRecord, Tail};
use crate::layout::{self, PAGE_BYTES, ROWS_PER_INDEX_PAGE};

impl Store {
    /// Closes the store and gives the lock back. A second call does nothing.
    ///
    /// # Errors
    /// The state could not be made durable, or not be marked clean: the next open recovers it.
    pub(crate) fn close(&self) -> Result<(), StoreError> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        // A forked child has no keys, and other threads of the parent may have held any lock.
        let result = if self.arena.is_elsewhere() { Ok(()) } else { self.close_alone() };
        let unlocked = self.medium.unlock().map_err(StoreError::Io);
        result.and(unlocked)
    }

    // A failed or unfinished open, a failed write and a latch all leave the file as it is. Where a
    // write failed redb has stopped between its header and its pages: a sync now would make that
    // half commit durable, and mark it clean.
    fn may_write_at_close(&self) -> bool {
        !self.read_only
            && !self.latched.load(Ordering::Acquire)
            && (!self.write_failed.load(Ordering::Acquire) || self.holes.close_after_failed_write())
            && !self.guard().is_held()
    }

    // Waits for whatever is on its way, also where nothing is to be written: the lock on the file
    // is given back next, and the file is somebody else's then.
    fn close_alone(&self) -> Result<(), StoreError> {
        let _no_header_commit = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bound = self.anchoring();
        if self.may_write_at_close() && !self.stopped_in_a_flush() {
            self.settle(&mut bound, true);
        }
        self.close_and_count(&mut bound)?;
        // Before the lock on the file is given back: who opens it next would advance as well.
        if self.may_write_at_close() {
            self.settle(&mut bound, true);
        }
        Ok(())
    }

    fn close_and_count(&self, bound: &mut Option<Bound>) -> Result<(), StoreError> {
        let mut sweep = self.sweep.lock().unwrap_or_else(PoisonError::into_inner);
        let _one_at_a_time = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        // Waits for writes on their way; later ones see that the store is closed.
        drop(self.resizing.write().unwrap_or_else(PoisonError::into_inner));
        if !self.may_write_at_close() || self.stopped_in_a_flush() {
            return Ok(());
        }
        // A rotation goes on after the next open; what it journaled and did not put in place, it
        // makes again.
        sweep.ready = None;
        self.forget_journal();
        self.flush_at_close()?;
        // A clean root record carries no late entries.
        let sync = {
            let mut state = self.state_mut();
            state.tag_pages_due = true;
            state.needs_sync() || state.has_late_entries()
        };
        if sync {
            self.sync_snapshot(PageZero::Current)?;
        }
        if self.state().durable.root.clean || self.holes.clean_root_never() {
            return Ok(());
        }
        self.count_if_due(bound, Occasion::Close);
        self.latch(self.write_clean_roots())
    }

    // redb writes its header before its pages and syncs after both. A header that no sync followed
    // means that redb gave up in between, at a failed write or because a read failed elsewhere:
    // made durable now, that half commit would be marked clean.
    fn stopped_in_a_flush(&self) -> bool {
        let state = self.state();
        state.page_zero != state.durable.root.page_zero && !self.holes.close_after_failed_write()
    }

    fn write_clean_roots(&self) -> Result<(), StoreError> {
        let (durable, copy, count) = {
            let state = self.state();
            (state.durable.root.clone(), state.durable.copy, state.count)
        };
        let end = layout::data_end(durable.logical_len).0;
        let len = self.medium.len()?;
        if len != end {
            self.medium.set_len(end)?;
        }
        if len < end {
            // A clean root on a file that is too short is damage. redb trims the file when it
            // closes, but not where it was stopped, by a panic or a failed read: then the last
            // pages of the logical length were never written, and the extension must be durable
            // first.
            self.medium.sync()?;
            self.medium.reached("close: after the extension");
        }
        let tail = self.write_clean_index(durable.logical_len)?;
        // Exact from here on: nothing but these two roots is sealed until the next open.
        let sealed_pages = self.sealed_pages.load(Ordering::Acquire).saturating_add(2);
        let sync = durable.sync.next();
        let counted_at = if count == durable.count { durable.counted_at } else { sync };
        let clean =
            RootRecord { clean: true, sync, tail, sealed_pages, count, counted_at, ..durable };
        self.write_root(&clean, copy.other())?;
        self.medium.reached("close: after first clean root");
        self.medium.sync()?;
        self.write_root(&clean, copy)?;
        self.medium.reached("close: after second clean root");
        self.medium.sync()?;
        Ok(())
    }

    fn write_clean_index(&self, logical_len: u64) -> Result<Tail, StoreError> {
        let rows = self.state().rows.clone();
        if rows.is_empty() {
            return Ok(Tail::None);
        }
        let start = layout::clean_index_start(logical_len).0;
        let (mut offset, mut first_row) = (start, 0);
        let keyring = self.keyring();
        let key = keyring.active();
        for rows in rows.chunks(ROWS_PER_INDEX_PAGE) {
            let record = clean_index::encode(rows).seal(
                &key.clean_index,
                self.nonces.next()?,
                keyring.file_id(),
                key.epoch,
                Place::IndexFrom(first_row),
            );
            self.medium.write_at(offset, record.bytes())?;
            self.sealed_pages.fetch_add(1, Ordering::AcqRel);
            first_row += rows.len() as u64;
            offset += PAGE_BYTES;
        }
        let pages = layout::clean_index_pages(rows.len() as u64);
        Ok(Tail::CleanIndex { first: start / PAGE_BYTES, pages })
    }
}
