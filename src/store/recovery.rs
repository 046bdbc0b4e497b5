//! Opening (docs/format.md, "Open"): lock, `fsync`, forget cached bytes, and only then read; let
//! the newest root record decide; make sure that nothing of a sync that never finished can be
//! taken for part of a later one. The choices are pure and live in `format/copies.rs`; this file
//! reads, asks, and does as it is told.
//!
//! Nothing is written before the credential has opened the header and a state was chosen, and
//! then only copies that no state needs.

use std::sync::Arc;

use super::debris::PageSet;
use super::guard::Guard;
use super::scan::{self, ScannedPair, TagPages};
use super::state::State;
use super::sync::RESERVE_MIN;
use super::tags::TagCache;
use super::witness::{Observed, Testimony, Witness};
use super::{LockedMedium, Options, Store, header, plausible, roots};
use crate::error::{Damage, OpenError};
use crate::format::associated_data::Place;
use crate::format::clean_index::Row;
use crate::format::copies::{self, RootChoice};
use crate::format::record::SealedRecord;
use crate::format::root_record::RootRecord;
use crate::keys::{self, Credential, Keyring};
use crate::layout::{self, PAGE_BYTES, PREAMBLE_BYTES};
use crate::locks::{AtomicU64, Mutex};
use crate::medium::{LockKind, Medium};
use crate::random::NonceSource;
use crate::units::{CopyId, FileOffset, Generation, GroupNo, SyncSeq};

/// Linux skips a part of its cache that reaches beyond the range to be dropped, and caches files in
/// parts of up to 2 MiB: a range of the preamble's length would leave the root records cached in a
/// file that was copied in one go.
pub(super) const PREAMBLE_CACHE_BYTES: u64 = 2 << 20;
const _: () = assert!(PREAMBLE_CACHE_BYTES >= PREAMBLE_BYTES);

/// What opening a database found and did about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Recovery {
    /// The database had been closed cleanly.
    pub clean: bool,
    /// The sync whose state was opened.
    pub sync: SyncSeq,
    /// A newer root record whose tag pages did not all become durable was passed over: the last
    /// sync before the crash never finished.
    pub recovered_from: Option<SyncSeq>,
    /// One of the two root records didn't open: torn by a crash in the last sync, or damaged. The
    /// other one decided.
    pub unreadable_root: bool,
    /// All tag pages were read, because there was no clean index that fits.
    pub scanned: bool,
    /// Second copies of tag pages that a sync which never finished had left, or that didn't open,
    /// and that were overwritten from their twins.
    pub erased_tag_pages: u64,
    /// The second copy of the root record was rewritten.
    pub healed_root: bool,
    /// The second copy of the header was rewritten.
    pub healed_header: bool,
    /// Torn pages of the last, unacknowledged sync that redb's repair was given as zeros.
    pub torn_pages: u64,
    /// Pages that redb doesn't use and that the crash left unreadable, given up: debris.
    pub lost_pages: u64,
    /// Pages that a key rotation was overwriting and that its journal brought back.
    pub journaled_pages: u64,
}

/// The state that was chosen.
struct Chosen {
    root: RootRecord,
    copy: CopyId,
    rows: Vec<Row>,
    /// The pages that a crash may have torn without anybody having tampered.
    forgiven: PageSet,
    /// The pages that the last sync wrote; none where the database was closed cleanly.
    fresh: PageSet,
    observed: Observed,
}

pub(super) fn open(
    medium: Arc<dyn Medium>,
    provider: &dyn Credential,
    options: &Options,
    witness: &Witness,
    read_only: bool,
) -> Result<Store, OpenError> {
    let kind = if read_only { LockKind::Shared } else { LockKind::Exclusive };
    let medium = if options.holes.lock_late() {
        LockedMedium::not_locked(medium)
    } else {
        LockedMedium::lock(medium, kind, options.allow_unlocked)?
    };
    if medium.len().map_err(OpenError::io("measuring the file"))? == 0 {
        return Err(OpenError::Empty);
    }
    if !read_only && !options.holes.no_sync_at_open() {
        // Bytes that were written but not made durable before a crash of the process are readable
        // now and may be gone after a power cut: make them durable before believing them.
        medium.sync().map_err(OpenError::io("syncing the file before reading it"))?;
        medium.reached("recovery: after fsync");
    }
    drop_cache(&*medium, options, PREAMBLE_CACHE_BYTES)?;

    let found = header::read(&*medium)?;
    let unlocked = keys::unlock(&found.newest, provider, &options.terms)?;
    let keyring = &unlocked.keyring;
    let header_generation = unlocked.header.generation;
    let testimony = witness.testify(&unlocked.header)?;
    refuse_cut_preamble(&*medium)?;
    let [a, b] = [CopyId::A, CopyId::B].map(|copy| roots::read(&*medium, keyring, copy));
    let (a, b) = (a?, b?);
    let unreadable_root = a.is_none() || b.is_none();
    let choice = copies::choose_root(a, b)?;
    let stale_header = found.stale(&unlocked).filter(|_| !read_only);
    let mut recovery =
        Recovery { unreadable_root, healed_header: stale_header.is_some(), ..Recovery::default() };
    let tag_pages = TagPages { medium: &*medium, keyring };
    let opening =
        Opening { medium: &*medium, keyring, tag_pages, header_generation, testimony, read_only };
    let chosen = match choice {
        RootChoice::Clean { root, copy, heal_other } => {
            recovery.clean = true;
            opening.clean(*root, copy, heal_other, &mut recovery)?
        }
        RootChoice::Unclean { .. } if read_only => return Err(OpenError::NeedsRecovery),
        RootChoice::Unclean { candidates } => {
            drop_cache(&*medium, options, 0)?;
            opening.unclean(candidates, options, &mut recovery)?
        }
    };
    recovery.sync = chosen.root.sync;
    if options.holes.lock_late() {
        medium.lock_now(kind)?;
    }
    let guard =
        if read_only { Guard::off() } else { Guard::recovering(chosen.forgiven, chosen.fresh) };
    // A crash may have come after the header commit of a new key and before the first root record
    // under it: what that sync can have sealed.
    let sealed_pages = match chosen.root.epoch == unlocked.keyring.active().epoch {
        true => chosen.root.sealed_pages,
        false => chosen.root.groups.saturating_add(RESERVE_MIN),
    };
    let unclean_root = (!chosen.root.clean).then(|| chosen.root.clone());
    let cache = TagCache::new(options.tag_cache_bytes);
    let mut state = State::new(chosen.root, chosen.copy, chosen.rows, cache);
    // A crash between a header commit and the sync that names it: the next sync does.
    state.dirty = header_generation != state.generation;
    state.generation = header_generation;
    let mut store = Store::new(medium, unlocked, options, guard, state);
    store.read_only = read_only;
    store.sealed_pages = AtomicU64::new(sealed_pages);
    store.sealed_pages_bound = AtomicU64::new(sealed_pages);
    store.recovery = recovery;
    store.heal_header = Mutex::new(stale_header);
    store.take_observed(&chosen.observed);
    match unclean_root {
        None => Ok(store),
        Some(root) => {
            store.take_late_entries(&root)?;
            recover_rotation(store, &root)
        }
    }
}

// Pages that a rotation was overwriting; what its journal brings back is named by the sync that
// ends the recovery.
fn recover_rotation(mut store: Store, root: &RootRecord) -> Result<Store, OpenError> {
    store.recovery.journaled_pages = store.apply_journal(root)?;
    Ok(store)
}

// After a failed `fsync` the system's cache may show bytes that never became durable and that a
// second `fsync` won't write: read what the storage itself has. Length 0 is all of it.
fn drop_cache(medium: &dyn Medium, options: &Options, len: u64) -> Result<(), OpenError> {
    if !options.holes.no_cache_drop() {
        medium.drop_cache(0, len).map_err(OpenError::io("dropping cached bytes"))?;
    }
    Ok(())
}

/// A file that ends before its root records was cut; without this they would count as unreadable.
pub(super) fn refuse_cut_preamble(medium: &dyn Medium) -> Result<(), OpenError> {
    let len = medium.len().map_err(OpenError::io("measuring the file"))?;
    if len < layout::root_start(CopyId::B).0 + PAGE_BYTES {
        return Err(Damage::Truncated { offset: FileOffset(len) }.into());
    }
    Ok(())
}

struct Opening<'a> {
    medium: &'a dyn Medium,
    keyring: &'a Keyring,
    tag_pages: TagPages<'a>,
    header_generation: Generation,
    testimony: Testimony,
    read_only: bool,
}

// Asked of the record that is taken only: the other one may be of before a shrink, and the file has
// been cut since. No crash makes such a one the newest, so nothing is gone back to instead.
fn refuse_absurd(root: &RootRecord, copy: CopyId, file_len: u64) -> Result<(), Damage> {
    plausible::fault(root, file_len).map_or(Ok(()), |why| Err(Damage::Root { copy, why }))
}

impl Opening<'_> {
    // And the anchor and the caller's token have seen no newer state. Nothing was changed before.
    fn check_time(&self, root: &RootRecord, copy: CopyId) -> Result<Observed, OpenError> {
        let active = self.keyring.active().epoch;
        copies::check_time(self.header_generation, active, root, copy)?;
        self.testimony.check(self.keyring, self.header_generation, root, copy)
    }

    /// Case A: the newest root says clean. This state and no other.
    fn clean(
        &self,
        root: RootRecord,
        copy: CopyId,
        heal_other: bool,
        recovery: &mut Recovery,
    ) -> Result<Chosen, OpenError> {
        let observed = self.check_time(&root, copy)?;
        let len = self.medium.len().map_err(OpenError::io("measuring the file"))?;
        let end = layout::data_end(root.logical_len);
        if len < end.0 {
            return Err(Damage::Truncated { offset: FileOffset(len) }.into());
        }
        refuse_absurd(&root, copy, len)?;
        let rows = match self.tag_pages.read_clean_index(&root) {
            Some(rows) => rows,
            None => {
                recovery.scanned = true;
                let scan = self.tag_pages.scan(root.groups, len)?;
                let rows = self.tag_pages.rows_for(&root, &scan)?;
                if !self.read_only {
                    recovery.erased_tag_pages = self.erase_dead(&rows, &scan, root.sync)?;
                }
                rows
            }
        };
        if heal_other && !self.read_only {
            self.heal_root(&root, copy.other())?;
            recovery.healed_root = true;
        }
        let (forgiven, fresh) = (PageSet::new(), PageSet::new());
        Ok(Chosen { root, copy, rows, forgiven, fresh, observed })
    }

    /// Case B: a crash. The first candidate whose digest fits the tag pages.
    fn unclean(
        &self,
        candidates: Vec<(RootRecord, CopyId)>,
        options: &Options,
        recovery: &mut Recovery,
    ) -> Result<Chosen, OpenError> {
        recovery.scanned = true;
        let len = self.medium.len().map_err(OpenError::io("measuring the file"))?;
        let groups = candidates.iter().map(|(root, _)| root.groups).max().unwrap_or(0);
        let scan = self.tag_pages.scan(groups, len)?;
        let mut first_failure = None;
        for (root, copy) in candidates {
            match self.tag_pages.rows_for(&root, &scan) {
                Err(damage) => {
                    first_failure.get_or_insert(damage);
                    recovery.recovered_from = recovery.recovered_from.max(Some(root.sync));
                }
                Ok(rows) => {
                    let observed = self.check_time(&root, copy)?;
                    refuse_absurd(&root, copy, len)?;
                    if !options.holes.dead_timeline() {
                        recovery.erased_tag_pages = self.erase_dead(&rows, &scan, root.sync)?;
                    }
                    let fresh = scan::fresh(&root, &rows, &scan);
                    let forgiven = match observed.acknowledged_sync {
                        true => PageSet::new(),
                        false => scan::forgiven(&root, &fresh),
                    };
                    return Ok(Chosen { root, copy, rows, forgiven, fresh, observed });
                }
            }
        }
        Err(first_failure.unwrap_or(Damage::BothRoots).into())
    }

    /// Overwrites every copy that no state needs and that a later sync could take for its own:
    /// idempotent, one `fsync`, and durable before anything else is written.
    fn erase_dead(
        &self,
        rows: &[Row],
        scan: &[ScannedPair],
        limit: SyncSeq,
    ) -> Result<u64, OpenError> {
        let mut erased = 0;
        for ((group, row), pair) in (0..).map(GroupNo).zip(rows).zip(scan) {
            let [a, b] = scan::tag_copies(pair);
            let other = match row.copy {
                CopyId::A => b,
                CopyId::B => a,
            };
            if copies::is_dead(other, limit) {
                self.overwrite_twin(group, row).map_err(OpenError::io("erasing a tag page"))?;
                erased += 1;
            }
        }
        if erased > 0 {
            self.medium.reached("recovery: before the erase is durable");
            self.medium.sync().map_err(OpenError::io("syncing erased tag pages"))?;
            self.medium.reached("recovery: after erase");
        }
        Ok(erased)
    }

    fn overwrite_twin(&self, group: GroupNo, row: &Row) -> std::io::Result<()> {
        let mut record = SealedRecord::blank();
        self.medium.read_at(layout::tag_page_start(group, row.copy).0, record.bytes_mut())?;
        if record.tag() != row.tag {
            let offset = layout::tag_page_start(group, row.copy);
            return Err(Damage::TagPage { group, offset }.into());
        }
        self.medium.write_at(layout::tag_page_start(group, row.copy.other()).0, record.bytes())
    }

    fn heal_root(&self, root: &RootRecord, copy: CopyId) -> Result<(), OpenError> {
        let healing = || OpenError::io("healing a root record");
        // As its twin is sealed: both copies of a clean root record are alike.
        let key = self.keyring.get(root.epoch).unwrap_or_else(|| self.keyring.active());
        let nonce = NonceSource::default().next().map_err(healing())?;
        let record = root.encode().seal(
            &key.root_record,
            nonce,
            self.keyring.file_id(),
            key.epoch,
            Place::Root(copy),
        );
        self.medium.write_at(layout::root_start(copy).0, record.bytes()).map_err(healing())?;
        self.medium.sync().map_err(healing())?;
        self.medium.reached("recovery: after healing a root");
        Ok(())
    }
}
