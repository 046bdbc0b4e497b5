//! Opening (docs/format.md, "Open"): lock, `fsync`, forget cached bytes, and only then read; let
//! the newest root record decide; make sure that nothing of a sync that never finished can be
//! taken for part of a later one. The choices are pure and live in `format/copies.rs`; this file
//! reads, asks, and does as it is told.
//!
//! Nothing is written before the credential has opened the header and a state was chosen, and
//! then only copies that no state needs.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, RwLock};

use super::guard::Guard;
use super::state::State;
use super::tags::TagCache;
use super::{LockedMedium, Options, Store, header, roots};
use crate::crypto::digest::{Digest, DigestKey};
use crate::error::{Damage, OpenError};
use crate::format::associated_data::Place;
use crate::format::clean_index::{self, Row};
use crate::format::copies::{self, RootChoice, TagCopy};
use crate::format::header::Header;
use crate::format::record::SealedRecord;
use crate::format::root_record::{RootRecord, Tail};
use crate::format::tag_page::TagPage;
use crate::keys::{self, KeyProvider, Keyring};
use crate::layout::{self, PAGE_BYTES, PREAMBLE_BYTES, ROWS_PER_INDEX_PAGE};
use crate::medium::{LockKind, Medium};
use crate::random::NonceSource;
use crate::units::{CopyId, FileOffset, Generation, GroupNo, SyncSeq};

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
}

/// The state that was chosen.
struct Chosen {
    root: RootRecord,
    copy: CopyId,
    rows: Vec<Row>,
    /// The pages that a crash may have torn without anybody having tampered.
    forgiven: HashMap<GroupNo, u128>,
}

pub(super) fn open(
    medium: Arc<dyn Medium>,
    provider: &dyn KeyProvider,
    options: &Options,
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
    drop_cache(&*medium, options, PREAMBLE_BYTES)?;

    let found = header::read(&*medium)?;
    let unlocked = keys::unlock(&found.newest, provider, &options.kdf_limits)?;
    let keyring = &unlocked.keyring;
    let header_generation = unlocked.header.generation;
    refuse_rotation(&unlocked.header)?;
    refuse_cut_preamble(&*medium)?;
    let [a, b] = [CopyId::A, CopyId::B].map(|copy| roots::read(&*medium, keyring, copy));
    let (a, b) = (a?, b?);
    let unreadable_root = a.is_none() || b.is_none();
    if [&a, &b].into_iter().flatten().any(is_rotating) {
        return Err(OpenError::Rotating);
    }
    let choice = copies::choose_root(a, b)?;
    let stale_header = found.stale(&unlocked).filter(|_| !read_only);
    let mut recovery =
        Recovery { unreadable_root, healed_header: stale_header.is_some(), ..Recovery::default() };
    let opening = Opening { medium: &*medium, keyring, header_generation, read_only };
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
    let guard = if read_only { Guard::off() } else { Guard::recovering(chosen.forgiven) };
    let sealed_pages = chosen.root.sealed_pages;
    let cache = TagCache::new(options.tag_cache_bytes);
    let mut state = State::new(chosen.root, chosen.copy, chosen.rows, cache);
    // A crash between a header commit and the sync that names it: the next sync does.
    state.dirty = header_generation != state.generation;
    state.generation = header_generation;
    Ok(Store {
        medium,
        unlocked,
        nonces: NonceSource::default(),
        holes: options.holes,
        read_only,
        latched: AtomicBool::new(false),
        write_failed: AtomicBool::new(false),
        closed: AtomicBool::new(false),
        guard: Mutex::new(guard),
        sealed_pages: AtomicU64::new(sealed_pages),
        sealed_pages_bound: AtomicU64::new(sealed_pages),
        seal_reserve: options.seal_reserve,
        syncing: Mutex::new(()),
        resizing: RwLock::new(()),
        state: RwLock::new(state),
        recovery,
        heal_header: Mutex::new(stale_header),
    })
}

// After a failed `fsync` the system's cache may show bytes that never became durable and that a
// second `fsync` won't write: read what the storage itself has. Length 0 is all of it.
fn drop_cache(medium: &dyn Medium, options: &Options, len: u64) -> Result<(), OpenError> {
    if !options.holes.no_cache_drop() {
        medium.drop_cache(0, len).map_err(OpenError::io("dropping cached bytes"))?;
    }
    Ok(())
}

// The format has room for a rotation, this version has no code for one: its next sync would drop
// the journal, and it knows the digest of one epoch only.
fn refuse_rotation(header: &Header) -> Result<(), OpenError> {
    if header.epochs.len() > 1 { Err(OpenError::Rotating) } else { Ok(()) }
}

// A file that ends before its root records was cut; without this they would count as unreadable.
fn refuse_cut_preamble(medium: &dyn Medium) -> Result<(), OpenError> {
    let len = medium.len().map_err(OpenError::io("measuring the file"))?;
    if len < layout::root_start(CopyId::B).0 + PAGE_BYTES {
        return Err(Damage::Truncated { offset: FileOffset(len) }.into());
    }
    Ok(())
}

fn is_rotating(root: &RootRecord) -> bool {
    root.rotating || matches!(root.tail, Tail::Journal { .. })
}

/// One copy of a tag page as a scan found it, authentic.
#[derive(Clone, Copy)]
struct Scanned {
    sync: SyncSeq,
    tag: [u8; 16],
    fresh: u128,
}

type ScannedPair = [Option<Scanned>; 2];

fn tag_copies(pair: &ScannedPair) -> [TagCopy; 2] {
    pair.map(|copy| copy.map(|copy| (copy.sync, copy.tag)))
}

struct Opening<'a> {
    medium: &'a dyn Medium,
    keyring: &'a Keyring,
    header_generation: Generation,
    read_only: bool,
}

impl Opening<'_> {
    /// Case A: the newest root says clean. This state and no other.
    fn clean(
        &self,
        root: RootRecord,
        copy: CopyId,
        heal_other: bool,
        recovery: &mut Recovery,
    ) -> Result<Chosen, OpenError> {
        copies::check_generation(self.header_generation, root.generation)?;
        let len = self.medium.len().map_err(OpenError::io("measuring the file"))?;
        let end = layout::data_end(root.logical_len);
        if len < end.0 {
            return Err(Damage::Truncated { offset: FileOffset(len) }.into());
        }
        let rows = match self.read_clean_index(&root) {
            Some(rows) => rows,
            None => {
                recovery.scanned = true;
                let scan = self.scan(root.groups, len)?;
                let rows = self.rows_for(&root, &scan)?;
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
        Ok(Chosen { root, copy, rows, forgiven: HashMap::new() })
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
        let scan = self.scan(groups, len)?;
        let mut first_failure = None;
        for (root, copy) in candidates {
            match self.rows_for(&root, &scan) {
                Err(damage) => {
                    first_failure.get_or_insert(damage);
                    recovery.recovered_from = recovery.recovered_from.max(Some(root.sync));
                }
                Ok(rows) => {
                    copies::check_generation(self.header_generation, root.generation)?;
                    if !options.holes.dead_timeline() {
                        recovery.erased_tag_pages = self.erase_dead(&rows, &scan, root.sync)?;
                    }
                    let forgiven = forgiven(&root, &rows, &scan);
                    return Ok(Chosen { root, copy, rows, forgiven });
                }
            }
        }
        Err(first_failure.unwrap_or(Damage::BothRoots).into())
    }

    /// Both copies of every tag page of `groups` groups. A copy that doesn't open is `None`.
    fn scan(&self, groups: u64, len: u64) -> Result<Vec<ScannedPair>, OpenError> {
        let mut scan = Vec::new();
        for group in (0..groups).map(GroupNo) {
            if layout::tag_page_start(group, CopyId::A).0 >= len {
                // The file is shorter: nothing there opens, and nothing is allocated for it.
                break;
            }
            let mut pair = [None, None];
            for (copy, place) in CopyId::BOTH.into_iter().zip(&mut pair) {
                *place = self.read_tag_copy(group, copy)?;
            }
            scan.push(pair);
        }
        Ok(scan)
    }

    fn read_tag_copy(&self, group: GroupNo, copy: CopyId) -> Result<Option<Scanned>, OpenError> {
        let mut record = SealedRecord::blank();
        let offset = layout::tag_page_start(group, copy).0;
        match self.medium.read_at(offset, record.bytes_mut()) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(OpenError::io("reading a tag page")(error)),
        }
        let opened = self
            .keyring
            .get(record.epoch())
            .and_then(|key| TagPage::open(&record, &key.tag_page, self.keyring.file_id(), group));
        Ok(opened.map(|page| Scanned { sync: page.sync, tag: record.tag(), fresh: page.fresh() }))
    }

    /// The tag pages that are current in the state of `root`, if they add up to its digest.
    fn rows_for(&self, root: &RootRecord, scan: &[ScannedPair]) -> Result<Vec<Row>, Damage> {
        let mut rows = Vec::with_capacity(scan.len());
        for group in (0..root.groups).map(GroupNo) {
            let pair = usize::try_from(group.0).ok().and_then(|index| scan.get(index));
            let row = pair.and_then(|pair| copies::choose_tag_copy(tag_copies(pair), root.sync));
            let offset = layout::tag_page_start(group, CopyId::A);
            rows.push(row.ok_or(Damage::TagPage { group, offset })?);
        }
        if self.digest_of(&rows) == root.digest {
            Ok(rows)
        } else {
            Err(Damage::Digest { sync: root.sync })
        }
    }

    fn digest_of(&self, rows: &[Row]) -> Digest {
        let key = self.keyring.active();
        let mut key = DigestKey::new(&key.digest, self.keyring.file_id());
        let mut digest = Digest::default();
        for (group, row) in (0..).map(GroupNo).zip(rows) {
            key.toggle(&mut digest, group, row.sync, &row.tag);
        }
        digest
    }

    /// The rows that the clean index has, if it is all there and adds up; any doubt is a scan.
    fn read_clean_index(&self, root: &RootRecord) -> Option<Vec<Row>> {
        let start = layout::clean_index_start(root.logical_len).0;
        let pages = layout::clean_index_pages(root.groups);
        match root.tail {
            Tail::None if pages == 0 => {}
            Tail::CleanIndex { first, pages: named }
                if first == start / PAGE_BYTES && named == pages => {}
            _ => return None,
        }
        let mut rows = Vec::new();
        for page in 0..pages {
            let first_row = page * ROWS_PER_INDEX_PAGE as u64;
            let count = usize::try_from(root.groups - first_row).unwrap_or(usize::MAX);
            let mut record = SealedRecord::blank();
            self.medium.read_at(start + page * PAGE_BYTES, record.bytes_mut()).ok()?;
            let key = self.keyring.get(record.epoch())?;
            let place = Place::IndexFrom(first_row);
            let body = record.open(&key.clean_index, self.keyring.file_id(), place).ok()?;
            rows.extend(clean_index::decode(&body, count).ok()?);
        }
        (self.digest_of(&rows) == root.digest).then_some(rows)
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
            let [a, b] = tag_copies(pair);
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
        let key = self.keyring.active();
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

/// The pages that the last sync wrote and that a crash in it may have torn. None of them where
/// redb's last commit used two phases: it wrote its header only after its pages were durable.
fn forgiven(root: &RootRecord, rows: &[Row], scan: &[ScannedPair]) -> HashMap<GroupNo, u128> {
    let mut forgiven = HashMap::new();
    if root.clean || root.two_phase_commit() {
        return forgiven;
    }
    for ((group, row), [a, b]) in (0..).map(GroupNo).zip(rows).zip(scan) {
        let scanned = match row.copy {
            CopyId::A => a,
            CopyId::B => b,
        };
        if let Some(scanned) = scanned
            && scanned.sync == root.sync
            && scanned.fresh != 0
        {
            forgiven.insert(group, scanned.fresh);
        }
    }
    forgiven
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::digest::Digest;
    use crate::format::root_record::RotationHint;
    use crate::units::FileId;

    fn root(clean: bool, god_byte: u8) -> RootRecord {
        let mut page_zero = Box::new([0; layout::PAGE_ZERO_SIZE]);
        page_zero[9] = god_byte;
        RootRecord {
            clean,
            rotating: false,
            file_id: FileId([0; 16]),
            sync: SyncSeq(5),
            generation: Generation(1),
            logical_len: 0,
            groups: 2,
            sealed_pages: 0,
            digest: Digest::default(),
            tail: Tail::None,
            rotation: RotationHint::default(),
            page_zero,
        }
    }

    #[test]
    fn only_what_the_last_sync_wrote_after_a_one_phase_commit_is_forgiven() {
        let copy = |sync, fresh| Some(Scanned { sync: SyncSeq(sync), tag: [0; 16], fresh });
        let row = |sync, copy| Row { sync: SyncSeq(sync), tag: [0; 16], copy };
        let scan = [[copy(5, 0b10), copy(4, 0b1)], [copy(5, 0b1), copy(3, 0b100)]];
        let rows = [row(5, CopyId::A), row(3, CopyId::B)];
        let found = |root| forgiven(&root, &rows, &scan);
        assert_eq!(found(root(false, 0b010)), HashMap::from([(GroupNo(0), 0b10)]));
        assert!(found(root(false, 0b110)).is_empty(), "two phases");
        assert!(found(root(true, 0b010)).is_empty(), "clean");
    }
}
