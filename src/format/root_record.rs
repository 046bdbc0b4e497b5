//! The root record (docs/format.md, "Root record"): the one page that says what state the file is
//! in. Its copy number is sealed into it, so copy A can't be put in B's place.

use super::FORMAT_VERSION;
use super::late_entry::{
    self, LATE_ENTRIES_BEFORE_PAGE_ZERO, LATE_ENTRIES_MAX, LateEntry, PAGE_ZERO_KEPT,
};
use super::record::Body;
use crate::crypto::digest::Digest;
use crate::layout::{self, JournalHalf, PAGE_BYTES, PAGE_ZERO_SIZE};
use crate::units::{Epoch, FileId, Generation, SyncSeq};
use crate::wire::{Malformed, Reader, Writer};

const FLAG_CLEAN: u32 = 1;
const FLAG_ROTATING: u32 = 2;
/// Byte 9 of redb's header is its "god byte"; this bit says that the last commit used two phases.
const GOD_BYTE: usize = 9;
const TWO_PHASE_COMMIT: u8 = 4;
/// Where the number of late entries stands, from the start of the page; they follow, 8 bytes on.
const LATE_COUNT_AT: usize = 208;
const LATE_ROOM: usize = 2048 - LATE_COUNT_AT - 8;
const _: () = assert!(LATE_ROOM / late_entry::LATE_ENTRY_SIZE == LATE_ENTRIES_BEFORE_PAGE_ZERO);

/// What lies behind the last page in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Tail {
    #[default]
    None,
    /// The clean index: `pages` pages from page `first` of the file.
    CleanIndex { first: u64, pages: u64 },
    /// The rotation journal.
    Journal { first: u64, pages: u64 },
}

/// Where a rotation stands: a hint where to go on; that one is due follows from the header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct RotationHint {
    pub(crate) from: Epoch,
    pub(crate) to: Epoch,
    /// The first group that may still name an older epoch.
    pub(crate) next_group: u64,
    /// The newest batch that was journaled.
    pub(crate) batch: u64,
    /// Pages sealed anew so far.
    pub(crate) resealed: u64,
    /// Pages given up so far, because they didn't open.
    pub(crate) lost: u64,
}

/// The fields of a root record, authentic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RootRecord {
    /// The data key that seals it, and whose digest subkey keys the digest; stands in the head.
    pub(crate) epoch: Epoch,
    /// Nothing was in flight when it was written: a tag page that doesn't fit is damage, not a
    /// crash.
    pub(crate) clean: bool,
    pub(crate) rotating: bool,
    /// Stops a root record of another file.
    pub(crate) file_id: FileId,
    /// Tells the newer copy; bounds the tag pages it speaks of.
    pub(crate) sync: SyncSeq,
    /// Stops an older header from being put back.
    pub(crate) generation: Generation,
    /// Stops truncation and extension: redb's length in bytes, whole pages.
    pub(crate) logical_len: u64,
    /// Stops tag pages from being zeroed: this many groups must have one.
    pub(crate) groups: u64,
    /// An upper bound of the pages sealed under this record's epoch, until the next root.
    pub(crate) sealed_pages: u64,
    /// Stops any older tag page, and with it any older page, from being put back.
    pub(crate) digest: Digest,
    pub(crate) tail: Tail,
    pub(crate) rotation: RotationHint,
    /// Entries newer than those of the tag pages, ascending by page; none where it is clean, or
    /// rotating.
    pub(crate) late: Vec<LateEntry>,
    /// Stops an older state of the whole file, together with the anchor; 0 where there is none.
    pub(crate) count: u64,
    /// The sync that first had this count; 0 where there is none.
    pub(crate) counted_at: SyncSeq,
    /// The first 2048 bytes of redb's page 0: the only page that redb overwrites in place.
    pub(crate) page_zero: Box<[u8; PAGE_ZERO_SIZE]>,
}

impl RootRecord {
    /// Whether redb's last commit in this state used two phases: then no page it can reach may be
    /// torn, and no lenience is due.
    pub(crate) fn two_phase_commit(&self) -> bool {
        let page_zero: &[u8; PAGE_ZERO_SIZE] = &self.page_zero;
        page_zero[GOD_BYTE] & TWO_PHASE_COMMIT != 0
    }

    /// See the table in docs/format.md; offsets there count from the start of the page.
    pub(crate) fn encode(&self) -> Body {
        let mut body = Body::blank();
        let mut writer = Writer::new(body.bytes_mut());
        writer.u32(u32::from(FORMAT_VERSION));
        writer.u32(u32::from(self.clean) * FLAG_CLEAN + u32::from(self.rotating) * FLAG_ROTATING);
        writer.bytes(&self.file_id.0);
        writer.u64(self.sync.0);
        writer.u64(self.generation.0);
        writer.u64(self.logical_len);
        writer.u64(self.groups);
        writer.u64(self.sealed_pages);
        writer.bytes(&self.digest.0);
        let (kind, first, pages) = match self.tail {
            Tail::None => (0, 0, 0),
            Tail::CleanIndex { first, pages } => (1, first, pages),
            Tail::Journal { first, pages } => (2, first, pages),
        };
        writer.u32(kind);
        writer.skip(4);
        writer.u64(first);
        writer.u64(pages);
        writer.u32(self.rotation.from.0);
        writer.u32(self.rotation.to.0);
        writer.u64(self.rotation.next_group);
        writer.u64(self.rotation.batch);
        writer.u64(self.rotation.resealed);
        writer.u64(self.rotation.lost);
        writer.u64(self.count);
        writer.u64(self.counted_at.0);
        writer.u32(u32::try_from(self.late.len()).unwrap_or(u32::MAX));
        writer.skip(4);
        late_entry::encode(&self.late, &mut writer, LATE_ROOM);
        let behind = self.late.get(LATE_ENTRIES_BEFORE_PAGE_ZERO..).unwrap_or_default();
        if behind.is_empty() {
            writer.bytes(&*self.page_zero);
        } else {
            writer.bytes(self.page_zero.get(..PAGE_ZERO_KEPT).unwrap_or_default());
            late_entry::encode(behind, &mut writer, PAGE_ZERO_SIZE - PAGE_ZERO_KEPT);
        }
        writer.finish();
        body
    }

    /// The fields of a record that the key of `epoch` opened.
    ///
    /// # Errors
    /// [`Malformed`], for bytes that no encoder writes.
    pub(crate) fn decode(body: &Body, epoch: Epoch) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body.bytes());
        if reader.u32()? != u32::from(FORMAT_VERSION) {
            return Err(Malformed("a root record of another format version"));
        }
        let flags = reader.u32()?;
        if flags & !(FLAG_CLEAN | FLAG_ROTATING) != 0 {
            return Err(Malformed("unknown flags in the root record"));
        }
        let file_id = FileId(reader.array()?);
        let sync = SyncSeq(reader.u64()?);
        let generation = Generation(reader.u64()?);
        let logical_len = reader.u64()?;
        let groups = reader.u64()?;
        let sealed_pages = reader.u64()?;
        let digest = Digest(reader.array()?);
        let kind = reader.u32()?;
        reader.zeros(4)?;
        let tail = match (kind, reader.u64()?, reader.u64()?) {
            (0, 0, 0) => Tail::None,
            (1, first, pages) => Tail::CleanIndex { first, pages },
            (2, first, pages) => Tail::Journal { first, pages },
            _ => return Err(Malformed("an unknown tail in the root record")),
        };
        let rotation = RotationHint {
            from: Epoch(reader.u32()?),
            to: Epoch(reader.u32()?),
            next_group: reader.u64()?,
            batch: reader.u64()?,
            resealed: reader.u64()?,
            lost: reader.u64()?,
        };
        let (count, counted_at) = (reader.u64()?, SyncSeq(reader.u64()?));
        if (count == 0) != (counted_at.0 == 0) || counted_at > sync {
            return Err(Malformed("an anchor count that makes no sense"));
        }
        let late_count = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        reader.zeros(4)?;
        if late_count > LATE_ENTRIES_MAX {
            return Err(Malformed("more late entries than a root record has room for"));
        }
        let mut late = Vec::new();
        late_entry::decode(late_count, &mut reader, LATE_ROOM, &mut late)?;
        let mut page_zero = Box::new([0; PAGE_ZERO_SIZE]);
        match late_count.checked_sub(LATE_ENTRIES_BEFORE_PAGE_ZERO) {
            None | Some(0) => *page_zero = reader.array()?,
            Some(behind) => {
                let kept = reader.slice(PAGE_ZERO_KEPT)?;
                page_zero.iter_mut().zip(kept).for_each(|(to, from)| *to = *from);
                let room = PAGE_ZERO_SIZE - PAGE_ZERO_KEPT;
                late_entry::decode(behind, &mut reader, room, &mut late)?;
            }
        }
        reader.finish()?;
        let root = Self {
            epoch,
            clean: flags & FLAG_CLEAN != 0,
            rotating: flags & FLAG_ROTATING != 0,
            file_id,
            sync,
            generation,
            logical_len,
            groups,
            sealed_pages,
            digest,
            tail,
            rotation,
            late,
            count,
            counted_at,
            page_zero,
        };
        root.check_geometry()?;
        Ok(root)
    }

    // A length and a number of groups that fit each other and could be allocated for.
    fn check_geometry(&self) -> Result<(), Malformed> {
        if !self.logical_len.is_multiple_of(PAGE_BYTES) {
            return Err(Malformed("a logical length that is not whole pages"));
        }
        let pages = layout::pages_in(self.logical_len);
        if self.groups > layout::groups_for(pages) {
            return Err(Malformed("more groups than the logical length has room for"));
        }
        if let Tail::Journal { first, pages } = self.tail
            && (self.clean
                || first != layout::journal_start(self.logical_len).0 / PAGE_BYTES
                || JournalHalf::of_journal(pages).is_none())
        {
            return Err(Malformed("a rotation journal where none can be"));
        }
        if !self.late.is_empty() && (self.clean || self.rotating) {
            return Err(Malformed("late entries where every tag page is to be written"));
        }
        late_entry::check(&self.late, self.logical_len, self.groups)?;
        if !layout::is_addressable(self.logical_len) {
            return Err(Malformed("a logical length beyond any file"));
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::format::tag_page::Entry;
    use crate::units::PageNo;
    use proptest::prelude::*;

    pub(crate) fn example(sync: u64) -> RootRecord {
        let mut page_zero = Box::new([0; PAGE_ZERO_SIZE]);
        page_zero[..4].copy_from_slice(b"redb");
        RootRecord {
            epoch: Epoch(1),
            clean: false,
            rotating: false,
            file_id: FileId([7; 16]),
            sync: SyncSeq(sync),
            generation: Generation(1),
            logical_len: 18 * 4096,
            groups: 1,
            sealed_pages: 256,
            digest: Digest([9; 32]),
            tail: Tail::None,
            rotation: RotationHint::default(),
            late: Vec::new(),
            count: 0,
            counted_at: SyncSeq(0),
            page_zero,
        }
    }

    pub(crate) fn late(page: u64, fresh: bool) -> LateEntry {
        let byte = u8::try_from(page % 251).unwrap();
        let entry = Entry { epoch: Epoch(1), nonce: [byte; 12], tag: [byte; 16] };
        LateEntry::new(PageNo(page), &entry, fresh, Epoch(1)).unwrap()
    }

    #[test]
    fn fields_come_back() {
        let mut root = example(3);
        root.clean = true;
        root.tail = Tail::CleanIndex { first: 40, pages: 1 };
        root.rotation = RotationHint {
            from: Epoch(1),
            to: Epoch(2),
            next_group: 3,
            batch: 4,
            resealed: 5,
            lost: 6,
        };
        (root.count, root.counted_at) = (7, SyncSeq(2));
        assert_eq!(RootRecord::decode(&root.encode(), Epoch(1)), Ok(root));
    }

    #[test]
    fn a_length_and_groups_that_do_not_fit_are_refused() {
        for (logical_len, groups) in [(4097, 1), (126 * 4096, 2), (0, 1), (u64::MAX - 4095, 1)] {
            let root = RootRecord { logical_len, groups, ..example(1) };
            assert!(
                RootRecord::decode(&root.encode(), Epoch(1)).is_err(),
                "{logical_len} {groups}"
            );
        }
    }

    #[test]
    fn late_entries_come_back_and_behind_a_short_page_zero_too() {
        for count in [1, 57, 58, LATE_ENTRIES_MAX] {
            let mut root = example(3);
            root.logical_len = 126 * 4096;
            root.late = (1..=count as u64).map(|page| late(page, page % 3 == 0)).collect();
            assert_eq!(RootRecord::decode(&root.encode(), Epoch(1)), Ok(root), "{count}");
        }
        let full = &mut [0; PAGE_ZERO_SIZE];
        assert!(late_entry::fit(LATE_ENTRIES_MAX, full) && !late_entry::fit(106, full));
        full[PAGE_ZERO_KEPT] = 1;
        assert!(late_entry::fit(57, full) && !late_entry::fit(58, full));
    }

    #[test]
    fn late_entries_of_no_page_or_in_a_clean_root_are_refused() {
        let with = |change: &dyn Fn(&mut RootRecord)| {
            let mut root = RootRecord { late: vec![late(1, true), late(2, false)], ..example(1) };
            change(&mut root);
            RootRecord::decode(&root.encode(), Epoch(1)).is_ok()
        };
        assert!(with(&|_| ()));
        assert!(!with(&|root| root.clean = true));
        assert!(!with(&|root| root.rotating = true));
        assert!(!with(&|root| root.late.reverse()));
        assert!(!with(&|root| root.late[1] = root.late[0]));
        assert!(!with(&|root| root.late.push(late(18, false))), "behind the last page");
        assert!(!with(&|root| root.groups = 0));
    }

    #[test]
    fn an_anchor_count_belongs_to_a_sync_that_was() {
        for (count, counted_at, good) in
            [(0, 0, true), (1, 3, true), (1, 2, true), (0, 1, false), (1, 0, false), (1, 4, false)]
        {
            let root = RootRecord { count, counted_at: SyncSeq(counted_at), ..example(3) };
            let decoded = RootRecord::decode(&root.encode(), Epoch(1));
            assert_eq!(decoded.is_ok(), good, "{count} {counted_at}");
        }
    }

    #[test]
    fn the_two_phase_bit_is_read_from_redbs_header() {
        let mut root = example(1);
        assert!(!root.two_phase_commit());
        root.page_zero[9] = 0b110;
        assert!(root.two_phase_commit());
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(
            at in 0usize..4064,
            xor in 1u8..,
            pages in 0u64..17,
        ) {
            let mut root = example(5);
            root.late = (1..=pages).map(|page| late(page, true)).collect();
            let mut body = root.encode();
            body.bytes_mut()[at] ^= xor;
            if let Ok(root) = RootRecord::decode(&body, Epoch(1)) {
                let encoded = root.encode();
                prop_assert_eq!(encoded.bytes(), body.bytes());
            }
        }

        #[test]
        fn any_bytes_decode_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 4064)) {
            let mut body = Body::blank();
            body.bytes_mut().copy_from_slice(&bytes);
            let _ = RootRecord::decode(&body, Epoch(1));
        }
    }

    #[test]
    fn a_journal_lies_behind_the_last_group_of_a_root_that_is_not_clean() {
        let first = layout::journal_start(18 * 4096).0 / PAGE_BYTES;
        let pages = 2 * JournalHalf::for_images(60).pages();
        for (clean, first, pages, good) in [
            (false, first, pages, true),
            (true, first, pages, false),
            (false, first + 1, pages, false),
            (false, first, 1, false),
            (true, first, 1, false),
            (true, first + 1, pages, false),
        ] {
            let root = RootRecord { clean, tail: Tail::Journal { first, pages }, ..example(1) };
            let decoded = RootRecord::decode(&root.encode(), Epoch(1));
            assert_eq!(decoded.is_ok(), good, "{clean} {first} {pages}");
        }
    }
}
