//! The two header copies in the file: reading the newer one, writing back a stale or torn second
//! copy, and committing a changed header (docs/keys.md, "Header commit").

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::Store;
use super::anchoring::{Bound, Occasion, Offer};
use super::recovery::PREAMBLE_CACHE_BYTES;
use super::state::PageZero;
use crate::error::{Damage, OpenError, StoreError};
use crate::format::header::{HeaderBytes, NotAHeader, UnverifiedHeader};
use crate::keys::Unlocked;
use crate::layout::{self, HEADER_COPY_SIZE};
use crate::medium::Medium;
use crate::random;
use crate::units::{CopyId, Generation};

/// The header copy to go by, and what is to be said of the other one.
#[derive(Debug)]
pub(crate) struct Found {
    pub(super) newest: UnverifiedHeader,
    /// The other copy, if it is one that could be tried.
    pub(super) other: Option<UnverifiedHeader>,
}

impl Found {
    /// The copy that is missing, torn, older or altered, and wants to be rewritten from the one
    /// that was unlocked.
    pub(super) fn stale(&self, unlocked: &Unlocked) -> Option<CopyId> {
        let twin = self.other.as_ref().and_then(|other| other.verify(&unlocked.root.data_mac));
        (twin != Some(&unlocked.header)).then(|| self.newest.copy().other())
    }
}

/// Reads both copies and takes the highest generation; never a lower one, whatever happens later.
///
/// # Errors
/// Says what the bytes are where neither is a header copy that can be tried.
pub(crate) fn read(medium: &dyn Medium) -> Result<Found, OpenError> {
    let len = medium.len().map_err(OpenError::io("measuring the file"))?;
    if len == 0 {
        return Err(OpenError::Empty);
    }
    let a_bytes = read_copy(medium, len, CopyId::A)?;
    let a = UnverifiedHeader::decode(&a_bytes, CopyId::A);
    let b_bytes = read_copy(medium, len, CopyId::B)?;
    let b = UnverifiedHeader::decode(&b_bytes, CopyId::B);
    for (fault, bytes) in [(a.as_ref().err(), &a_bytes), (b.as_ref().err(), &b_bytes)] {
        // A whole copy that says "not for you" is believed, even beside one of ours: a newer
        // version may have been cut off while it upgraded the file.
        if let Some(fault) = fault
            && UnverifiedHeader::crc_fits(bytes)
        {
            refuse_newer(*fault)?;
        }
    }
    match (a, b) {
        (Ok(a), Ok(b)) if b.generation() > a.generation() => {
            Ok(Found { newest: b, other: Some(a) })
        }
        (Ok(a), b) => Ok(Found { newest: a, other: b.ok() }),
        (Err(_), Ok(newest)) => Ok(Found { newest, other: None }),
        (Err(a), Err(b)) => Err(neither(&a_bytes, a, b)),
    }
}

/// A header copy as it stands in a file.
pub(crate) type Look = Result<UnverifiedHeader, NotAHeader>;

/// Each copy as it stands, whatever the other one is; bytes beyond the end are zeros.
pub(crate) fn look(medium: &dyn Medium, copy: CopyId) -> Result<Look, OpenError> {
    let len = medium.len().map_err(OpenError::io("measuring the file"))?;
    Ok(UnverifiedHeader::decode(&*read_copy(medium, len, copy)?, copy))
}

/// Both copies as they stand, where they are copies that could be tried.
///
/// # Errors
/// The medium's.
pub(super) fn read_each(medium: &dyn Medium) -> Result<[Option<UnverifiedHeader>; 2], OpenError> {
    Ok([look(medium, CopyId::A)?.ok(), look(medium, CopyId::B)?.ok()])
}

fn refuse_newer(fault: NotAHeader) -> Result<(), OpenError> {
    match fault {
        NotAHeader::Version(found) => Err(OpenError::UnsupportedVersion { found }),
        NotAHeader::Features(bits) => Err(OpenError::UnsupportedFeatures { bits }),
        _ => Ok(()),
    }
}

// What stands there instead of a header.
fn neither(a_bytes: &HeaderBytes, a: NotAHeader, b: NotAHeader) -> OpenError {
    if a_bytes.starts_with(b"redb\x1a\x0a\xa9\x0d\x0a") {
        return OpenError::PlainRedb;
    }
    if let Err(newer) = refuse_newer(a).and(refuse_newer(b)) {
        return newer;
    }
    // A copy that was ours once, or nothing at all where both should be: a header was lost, or its
    // file never finished.
    let was_ours = |fault| matches!(fault, NotAHeader::Torn | NotAHeader::Malformed(_));
    let both_blank = (a, b) == (NotAHeader::Blank, NotAHeader::Blank);
    if was_ours(a) || was_ours(b) || both_blank {
        return OpenError::HeaderLost;
    }
    OpenError::NotStrongroom
}

// What the file has of a copy; bytes beyond its end are zeros.
fn read_copy(medium: &dyn Medium, len: u64, copy: CopyId) -> Result<Box<HeaderBytes>, OpenError> {
    let start = layout::header_start(copy).0;
    let mut bytes = Box::new([0; HEADER_COPY_SIZE]);
    let there = len.saturating_sub(start).min(HEADER_COPY_SIZE as u64);
    let there = usize::try_from(there).unwrap_or(HEADER_COPY_SIZE);
    let room = bytes.get_mut(..there).unwrap_or_default();
    medium.read_at(start, room).map_err(OpenError::io("reading the header"))?;
    Ok(bytes)
}

// A header that the next open would not take is not written, whatever led to it.
fn check_readable(next: &Unlocked) -> Result<(), StoreError> {
    let bytes = next.header.encode(CopyId::B, &[0; 32], &next.root.data_mac);
    match UnverifiedHeader::decode(&bytes, CopyId::B) {
        Ok(_) => Ok(()),
        Err(_) => Err(StoreError::Misuse(
            "the header would not be readable: its fields contradict each other, and were changed \
             by somebody who has the keys; restore a header backup",
        )),
    }
}

impl Store {
    /// Replaces the header by what `change` makes of it, as its next generation: old or new after a
    /// crash anywhere, never neither and never a mix. Returns once both copies and a root record
    /// that names the new generation are durable.
    ///
    /// # Errors
    /// What `change` says, with nothing done; or a failed write, read-back or sync, which latches
    /// the store: the next open finds the old header or the new one.
    pub(crate) fn commit_header<E: From<StoreError>>(
        &self,
        change: impl FnOnce(&Unlocked) -> Result<Unlocked, E>,
    ) -> Result<(), E> {
        self.commit_binding(None, change)
    }

    /// The same for a header that may bind the file to the anchor that is offered.
    ///
    /// # Errors
    /// As [`Store::commit_header`]. What the anchor says once the header is written is noted, and
    /// no error.
    pub(super) fn commit_binding<E: From<StoreError>>(
        &self,
        offer: Option<&Offer>,
        change: impl FnOnce(&Unlocked) -> Result<Unlocked, E>,
    ) -> Result<(), E> {
        self.check_writable()?;
        if self.guard().is_held() {
            return Err(StoreError::Misuse("a header commit before recovery had ended").into());
        }
        let _one_at_a_time = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_usable()?; // a close may have come between
        let current = self.unlocked();
        let mut next = change(&current)?;
        next.header.generation = Generation(current.header.generation.0.saturating_add(1));
        check_readable(&next)?;
        let mut bound = self.anchoring();
        self.check_usable()?;
        self.settle(&mut bound, true);
        self.leave_clean_state()?;
        self.latch(self.write_both_copies(&next))?;
        self.follow_header(&mut bound, (&current.header, &next.header), offer);
        self.adopt_header(next, &mut bound)?;
        self.settle(&mut bound, true);
        Ok(())
    }

    // One copy is durable and was read back before the other is touched.
    fn write_both_copies(&self, next: &Unlocked) -> Result<(), StoreError> {
        for (copy, point) in
            [(CopyId::B, "header: after copy B"), (CopyId::A, "header: after copy A")]
        {
            self.write_header_of(next, copy)?;
            self.medium.sync()?;
            self.medium.reached(point);
            self.read_back(next, copy)?;
        }
        Ok(())
    }

    fn read_back(&self, next: &Unlocked, copy: CopyId) -> Result<(), StoreError> {
        let start = layout::header_start(copy).0;
        self.medium.drop_cache(0, PREAMBLE_CACHE_BYTES)?;
        let mut bytes = Box::new([0; HEADER_COPY_SIZE]);
        self.medium.read_at(start, bytes.as_mut_slice())?;
        let found = UnverifiedHeader::decode(&bytes, copy).ok();
        if found.as_ref().and_then(|found| found.verify(&next.root.data_mac)) == Some(&next.header)
        {
            return Ok(());
        }
        Err(Damage::Header { copy, why: "it reads back otherwise than it was written" }.into())
    }

    // Pages in flight are sealed under the keys they began with; the sync that names the new
    // generation carries page 0 as it was durable, since redb did not ask for it.
    fn adopt_header(&self, next: Unlocked, bound: &mut Option<Bound>) -> Result<(), StoreError> {
        let _one_sync_at_a_time = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let _no_writer = self.resizing.write().unwrap_or_else(PoisonError::into_inner);
            let mut state = self.state_mut();
            state.generation = next.header.generation;
            state.dirty = true;
            if next.keyring.active().epoch != self.keyring().active().epoch {
                // Counting begins anew, with the tag pages that the next sync seals and with what is
                // gathered, each page and its tag page, and allows for nothing before a root record
                // says so.
                let gathered = 2 * self.gathered.load(Ordering::Acquire);
                self.sealed_pages.store(state.cache.dirty_count() + gathered, Ordering::Release);
                self.sealed_pages_bound.store(0, Ordering::Release);
            }
            *self.unlocked.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        }
        self.count_if_due(bound, Occasion::KeyChange);
        self.sync_snapshot(PageZero::AsDurable)?;
        self.medium.reached("header: after root record");
        Ok(())
    }

    /// Writes the current header to one copy; not durable before the next `fsync`.
    pub(super) fn write_header(&self, copy: CopyId) -> Result<(), StoreError> {
        self.write_header_of(&self.unlocked(), copy)
    }

    fn write_header_of(&self, unlocked: &Unlocked, copy: CopyId) -> Result<(), StoreError> {
        let salt = random::array()?;
        let bytes = unlocked.header.encode(copy, &salt, &unlocked.root.data_mac);
        self.medium.write_at(layout::header_start(copy).0, &*bytes)?;
        Ok(())
    }

    /// Rewrites the copy that was found stale or torn at open, if any.
    pub(super) fn heal_header(&self) -> Result<(), StoreError> {
        let stale = self.heal_header.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(copy) = stale else { return Ok(()) };
        self.leave_clean_state()?;
        self.latch(self.write_header(copy))?;
        self.latch(self.medium.sync().map_err(StoreError::Io))?;
        self.medium.reached("header: after healing");
        Ok(())
    }
}
