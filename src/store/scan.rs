//! Which tag pages are current: from the clean index, or from reading both copies of every one.
//! Reads only; what follows from it is decided in `recovery` and `format/copies.rs`.

use super::debris::PageSet;
use crate::crypto::digest::{Digest, DigestKey};
use crate::error::{Damage, OpenError};
use crate::format::associated_data::Place;
use crate::format::clean_index::{self, Row};
use crate::format::copies::{self, TagCopy};
use crate::format::record::SealedRecord;
use crate::format::root_record::{RootRecord, Tail};
use crate::format::tag_page::TagPage;
use crate::keys::Keyring;
use crate::layout::{self, PAGE_BYTES, ROWS_PER_INDEX_PAGE};
use crate::medium::Medium;
use crate::units::{CopyId, Epoch, GroupNo, SyncSeq};

/// One copy of a tag page as a scan found it, authentic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scanned {
    pub(super) sync: SyncSeq,
    pub(super) tag: [u8; 16],
    pub(super) fresh: u128,
}

impl Scanned {
    pub(super) fn of(record: &SealedRecord, page: &TagPage) -> Self {
        Self { sync: page.sync, tag: record.tag(), fresh: page.fresh() }
    }
}

/// Opens one copy of a tag page; `None` where it isn't authentic.
pub(super) fn open_tag_page(
    keyring: &Keyring,
    group: GroupNo,
    record: &SealedRecord,
) -> Option<TagPage> {
    let key = keyring.get(record.epoch())?;
    TagPage::open(record, &key.tag_page, keyring.file_id(), group)
}

pub(super) type ScannedPair = [Option<Scanned>; 2];

pub(super) fn tag_copies(pair: &ScannedPair) -> [TagCopy; 2] {
    pair.map(|copy| copy.map(|copy| (copy.sync, copy.tag)))
}

/// The tag pages of a file that is being opened.
#[derive(Clone, Copy)]
pub(super) struct TagPages<'a> {
    pub(super) medium: &'a dyn Medium,
    pub(super) keyring: &'a Keyring,
}

impl TagPages<'_> {
    /// Both copies of every tag page of `groups` groups. A copy that doesn't open is `None`.
    pub(super) fn scan(&self, groups: u64, len: u64) -> Result<Vec<ScannedPair>, OpenError> {
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
        let opened = open_tag_page(self.keyring, group, &record);
        Ok(opened.map(|page| Scanned::of(&record, &page)))
    }

    /// The tag pages that are current in the state of `root`, if they add up to its digest.
    pub(super) fn rows_for(
        &self,
        root: &RootRecord,
        scan: &[ScannedPair],
    ) -> Result<Vec<Row>, Damage> {
        let mut rows = Vec::with_capacity(scan.len());
        for group in (0..root.groups).map(GroupNo) {
            let pair = usize::try_from(group.0).ok().and_then(|index| scan.get(index));
            let row = pair.and_then(|pair| copies::choose_tag_copy(tag_copies(pair), root.sync));
            let offset = layout::tag_page_start(group, CopyId::A);
            rows.push(row.ok_or(Damage::TagPage { group, offset })?);
        }
        if self.digest_of(&rows, root.epoch) == Some(root.digest) {
            Ok(rows)
        } else {
            Err(Damage::Digest { sync: root.sync })
        }
    }

    // Keyed by the data key that sealed the root record.
    fn digest_of(&self, rows: &[Row], epoch: Epoch) -> Option<Digest> {
        let key = self.keyring.get(epoch)?;
        let mut key = DigestKey::new(&key.digest, self.keyring.file_id());
        let mut digest = Digest::default();
        for (group, row) in (0..).map(GroupNo).zip(rows) {
            key.toggle(&mut digest, group, row.sync, &row.tag);
        }
        Some(digest)
    }

    /// The rows that the clean index has, if it is all there and adds up; any doubt is a scan.
    pub(super) fn read_clean_index(&self, root: &RootRecord) -> Option<Vec<Row>> {
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
        (self.digest_of(&rows, root.epoch) == Some(root.digest)).then_some(rows)
    }
}

/// The pages that the last sync wrote.
pub(super) fn fresh(root: &RootRecord, rows: &[Row], scan: &[ScannedPair]) -> PageSet {
    let mut fresh = PageSet::new();
    for ((group, row), [a, b]) in (0..).map(GroupNo).zip(rows).zip(scan) {
        let scanned = match row.copy {
            CopyId::A => a,
            CopyId::B => b,
        };
        if let Some(scanned) = scanned
            && scanned.sync == root.sync
            && scanned.fresh != 0
        {
            fresh.insert(group, scanned.fresh);
        }
    }
    for late in root.late.iter().filter(|late| late.fresh) {
        let (group, place) = layout::place_of(late.page);
        *fresh.entry(group).or_default() |= 1 << place;
    }
    fresh
}

/// Those of them that a crash in it may have torn although redb needs them. None where redb's last
/// commit used two phases: it wrote its header only after its pages were durable.
pub(super) fn forgiven(root: &RootRecord, fresh: &PageSet) -> PageSet {
    if root.clean || root.two_phase_commit() { PageSet::new() } else { fresh.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::root_record::RotationHint;
    use crate::format::root_record::tests::late;
    use crate::units::{FileId, Generation};

    fn root(clean: bool, god_byte: u8) -> RootRecord {
        let mut page_zero = Box::new([0; layout::PAGE_ZERO_SIZE]);
        page_zero[9] = god_byte;
        RootRecord {
            epoch: Epoch(1),
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
            late: Vec::new(),
            count: 0,
            counted_at: SyncSeq(0),
            page_zero,
        }
    }

    #[test]
    fn only_what_the_last_sync_wrote_after_a_one_phase_commit_is_forgiven() {
        let copy = |sync, fresh| Some(Scanned { sync: SyncSeq(sync), tag: [0; 16], fresh });
        let row = |sync, copy| Row { sync: SyncSeq(sync), tag: [0; 16], copy };
        let scan = [[copy(5, 0b10), copy(4, 0b1)], [copy(5, 0b1), copy(3, 0b100)]];
        let rows = [row(5, CopyId::A), row(3, CopyId::B)];
        let found = |root: RootRecord| forgiven(&root, &fresh(&root, &rows, &scan));
        assert_eq!(found(root(false, 0b010)), PageSet::from([(GroupNo(0), 0b10)]));
        assert!(found(root(false, 0b110)).is_empty(), "two phases");
        assert!(found(root(true, 0b010)).is_empty(), "clean");
        let entries = vec![late(3, true), late(4, false), late(130, true)];
        let expected = PageSet::from([(GroupNo(0), 0b1010), (GroupNo(1), 1 << 4)]);
        assert_eq!(found(RootRecord { late: entries, ..root(false, 0b010) }), expected);
    }
}
