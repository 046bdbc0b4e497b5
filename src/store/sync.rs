//! The ordered sync (docs/format.md, "Sync"): dirty tag pages to the copies that are not durable,
//! a root record that names them to the copy that is not durable, one `fsync`, and only then the
//! flip in memory. A crash before the `fsync` returns leaves the state before or, where everything
//! landed, the state after; never a mix, because the root's digest covers every tag page.
//!
//! An entry is published only after its page was written, and the snapshot of dirty tag pages is
//! taken under the same lock: so a durable tag is never newer than its page.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::Store;
use super::anchoring::Bound;
use super::state::{PageZero, PendingTagPage, Snapshot};
use crate::crypto::digest::DigestKey;
use crate::error::StoreError;
use crate::format::associated_data::Place;
use crate::format::clean_index::Row;
use crate::layout;
use crate::locks::AtomicBool;
use crate::units::{CopyId, GroupNo};

/// The pages that a root record lets the store seal before the next one, at most.
pub(super) const RESERVE_MAX: u64 = 1 << 20;
/// And at least.
pub(super) const RESERVE_MIN: u64 = 256;

/// Latches if a panic comes out of what it guards; not if one was on its way before, since an
/// application may commit in a `Drop`.
pub(super) struct LatchOnUnwind<'a> {
    latched: &'a AtomicBool,
    panicking_before: bool,
}

impl<'a> LatchOnUnwind<'a> {
    pub(super) fn new(latched: &'a AtomicBool) -> Self {
        Self { latched, panicking_before: std::thread::panicking() }
    }
}

impl Drop for LatchOnUnwind<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.panicking_before {
            self.latched.store(true, Ordering::Release);
        }
    }
}

impl Store {
    /// Makes everything written so far durable. While the guard is held it does nothing: what redb
    /// flushes inside its own open becomes durable in one sync at its end.
    ///
    /// # Errors
    /// Any failure latches the store: no retry, no flip.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.check_writable()?;
        self.note_activity();
        if self.guard().is_held() {
            return Ok(());
        }
        let mut bound = self.anchoring();
        self.check_usable()?; // a close may have come between
        self.settle(&mut bound, false);
        self.sync_counted(&mut bound)?;
        self.settle(&mut bound, false);
        Ok(())
    }

    pub(super) fn sync_counted(&self, bound: &mut Option<Bound>) -> Result<(), StoreError> {
        self.check_process()?;
        let _one_at_a_time = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_usable()?;
        // redb asks for a sync only after all its writes succeeded.
        self.write_failed.store(false, Ordering::Release);
        self.flush()?;
        self.count_if_due(bound, self.occasion_of_sync());
        if self.state().needs_sync() {
            self.sync_snapshot(PageZero::Current)
        } else {
            self.latch(self.medium.sync().map_err(StoreError::Io))
        }
    }

    /// A sync that nobody asked for. redb may be in the middle of a flush: its header is in page 0
    /// already, some of its pages are not here yet. So the root carries page 0 as it was durable,
    /// and the state is like the one after redb's own sync when it grows the file.
    pub(super) fn sync_on_its_own(&self) -> Result<(), StoreError> {
        self.check_process()?;
        let _one_at_a_time = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_usable()?;
        if self.holes.header_before_pages() {
            return self.sync_snapshot(PageZero::Current);
        }
        self.sync_snapshot(PageZero::AsDurable)
    }

    /// While the newest durable root record says clean, nothing but root records may be written:
    /// whatever changes something else makes a sync first, which says otherwise.
    pub(super) fn leave_clean_state(&self) -> Result<(), StoreError> {
        if self.state().durable.root.clean { self.sync_on_its_own() } else { Ok(()) }
    }

    /// The sync itself; the caller holds `syncing`.
    pub(super) fn sync_snapshot(&self, page_zero: PageZero) -> Result<(), StoreError> {
        // A panic of the medium in the middle of it is a failure like any other.
        let _unwinding = LatchOnUnwind::new(&self.latched);
        self.latch(self.write_snapshot(page_zero))
    }

    fn write_snapshot(&self, page_zero: PageZero) -> Result<(), StoreError> {
        // Data pages and the tag pages they dirty are sealed only up to this bound; what the record
        // states leaves room for the few seals that don't ask: roots, a tag page that a shrink cut,
        // the clean index.
        let sealed_pages = self.sealed_pages.fetch_add(1, Ordering::AcqRel);
        let bound = sealed_pages.saturating_add(self.reserve());
        let keyring = self.keyring();
        let Snapshot { tag_pages, mut root, copy, cut_pending } =
            self.state_mut().take_snapshot(bound, page_zero, &keyring);
        let uncounted = RESERVE_MIN + layout::clean_index_pages(root.groups);
        root.sealed_pages = bound.saturating_add(uncounted);

        let mut new_rows = Vec::with_capacity(tag_pages.len());
        for pending in tag_pages {
            new_rows.push(self.write_tag_page(pending)?);
        }
        self.medium.reached("sync: after tag pages");

        let mut digest_key = DigestKey::new(&keyring.active().digest, keyring.file_id());
        self.state().complete_digest(&mut root, &new_rows, &mut digest_key);
        self.write_root(&root, copy)?;
        self.medium.reached("sync: after root record");

        self.medium.sync()?;
        self.medium.reached("sync: after fsync");

        {
            let mut state = self.state_mut();
            state.finish_sync(root, copy, &new_rows);
            state.cache.trim();
        }
        self.sealed_pages_bound.store(bound, Ordering::Release);
        if cut_pending { self.cut_file() } else { Ok(()) }
    }

    fn reserve(&self) -> u64 {
        if let Some(pages) = self.seal_reserve {
            return pages;
        }
        (self.unlocked().header.policy.sealed_pages_soft / 16).clamp(RESERVE_MIN, RESERVE_MAX)
    }

    fn write_tag_page(&self, pending: PendingTagPage) -> Result<(GroupNo, Row), StoreError> {
        let PendingTagPage { group, page, copies } = pending;
        let keyring = self.keyring();
        let key = keyring.active();
        let record = page.encode().seal(
            &key.tag_page,
            self.nonces.next()?,
            keyring.file_id(),
            key.epoch,
            Place::TagPage(group),
        );
        for copy in copies {
            self.medium.write_at(layout::tag_page_start(group, *copy).0, record.bytes())?;
        }
        let copy = copies.first().copied().unwrap_or(CopyId::A);
        Ok((group, Row { sync: page.sync, tag: record.tag(), copy }))
    }

    // A smaller length is durable: what lies behind it may go. Alone, so that no page is on its
    // way to where the cut falls.
    pub(super) fn cut_file(&self) -> Result<(), StoreError> {
        let _alone = self.resizing.write().unwrap_or_else(PoisonError::into_inner);
        let end = {
            let state = self.state();
            if state.journal.is_some() {
                return Ok(()); // it lies behind the last page; close cuts
            }
            layout::data_end(state.logical_len.max(state.durable.root.logical_len))
        };
        if self.medium.len()? > end.0 {
            self.medium.set_len(end.0)?;
        }
        Ok(())
    }
}
