//! A tag page (docs/format.md, "Tag page"): for each of a group's 126 pages which epoch sealed it,
//! with which nonce, and its tag. A data page is nothing without its entry here.

use super::associated_data::Place;
use super::record::{Body, SealedRecord};
use crate::layout::ENTRIES_PER_TAG_PAGE;
use crate::secret::SecretKey;
use crate::units::{Epoch, FileId, GroupNo, SyncSeq};
use crate::wire::{Malformed, Reader, Writer};

const LOST_EPOCH: Epoch = Epoch(u32::MAX);
const FRESH_MASK: u128 = (1 << ENTRIES_PER_TAG_PAGE) - 1;

/// One page's entry, 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Entry {
    /// The data key that sealed the page; 0 is no epoch.
    pub(crate) epoch: Epoch,
    /// 96 random bits.
    pub(crate) nonce: [u8; 12],
    /// Ties the entry to exactly one ciphertext: stops replay of an older one.
    pub(crate) tag: [u8; 16],
}

/// What an entry says about its page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum EntryState {
    /// Never written since the file grew here: reads as zeros, and because the entry is sealed
    /// inside its tag page, authentically so.
    Absent,
    /// Given up in a recovery: a read is an error, never zeros.
    Lost,
    /// Sealed under the entry's epoch.
    Sealed,
}

impl Entry {
    /// 32 zero bytes.
    pub(crate) const ABSENT: Self = Self { epoch: Epoch(0), nonce: [0; 12], tag: [0; 16] };
    /// Given up: no nonce, no tag.
    pub(crate) const LOST: Self = Self { epoch: LOST_EPOCH, nonce: [0; 12], tag: [0; 16] };

    pub(crate) fn state(&self) -> EntryState {
        match self.epoch {
            Epoch(0) => EntryState::Absent,
            LOST_EPOCH => EntryState::Lost,
            _ => EntryState::Sealed,
        }
    }

    fn is_well_formed(&self) -> bool {
        self.state() == EntryState::Sealed || (self.nonce == [0; 12] && self.tag == [0; 16])
    }
}

/// The fields of a tag page, authentic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TagPage {
    /// The sync that wrote it: tells the newer copy, and is part of the digest.
    pub(crate) sync: SyncSeq,
    /// Bit i: redb wrote page i since the sync before `sync`. After a power cut these pages, and
    /// no others, may be torn without anybody having tampered.
    fresh: u128,
    entries: [Entry; ENTRIES_PER_TAG_PAGE],
}

impl TagPage {
    /// A group of pages that were never written.
    pub(crate) fn absent() -> Self {
        Self { sync: SyncSeq(0), fresh: 0, entries: [Entry::ABSENT; ENTRIES_PER_TAG_PAGE] }
    }

    /// The entry at a place; places beyond the group are absent.
    pub(crate) fn entry(&self, place: usize) -> Entry {
        self.entries.get(place).copied().unwrap_or(Entry::ABSENT)
    }

    /// Bit i: redb wrote page i since the sync before this one.
    pub(crate) fn fresh(&self) -> u128 {
        self.fresh
    }

    /// Opens a tag page of a group with the key of its epoch; `None` where it isn't authentic or
    /// says what no encoder writes. Entry 0 of group 0 is logical page 0, which has no entry.
    pub(crate) fn open(
        record: &SealedRecord,
        key: &SecretKey,
        file_id: FileId,
        group: GroupNo,
    ) -> Option<Self> {
        let body = record.open(key, file_id, Place::TagPage(group)).ok()?;
        let page = Self::decode(&body).ok()?;
        let page_zero_has_an_entry = group == GroupNo(0) && page.entry(0) != Entry::ABSENT;
        (!page_zero_has_an_entry).then_some(page)
    }

    #[cfg(test)]
    pub(crate) fn is_fresh(&self, place: usize) -> bool {
        place < ENTRIES_PER_TAG_PAGE && self.fresh >> place & 1 == 1
    }

    /// Publishes a page that redb wrote.
    pub(crate) fn put_fresh(&mut self, place: usize, entry: Entry) {
        if let Some(slot) = self.entries.get_mut(place) {
            *slot = entry;
            self.fresh |= 1 << place;
        }
    }

    /// Makes one page absent: it reads as zeros from here on.
    pub(crate) fn make_absent(&mut self, place: usize) {
        if let Some(slot) = self.entries.get_mut(place) {
            *slot = Entry::ABSENT;
            self.fresh &= !(1 << place);
        }
    }

    /// Puts a page's new seal in the place of its old one: content and fresh bit stay as they are.
    pub(crate) fn reseal(&mut self, place: usize, entry: Entry) {
        if let Some(slot) = self.entries.get_mut(place) {
            *slot = entry;
        }
    }

    /// Gives a page up: reading it is an error from here on.
    pub(crate) fn mark_lost(&mut self, place: usize) {
        if let Some(slot) = self.entries.get_mut(place) {
            *slot = Entry { epoch: LOST_EPOCH, ..Entry::ABSENT };
            self.fresh &= !(1 << place);
        }
    }

    /// Every entry with its place.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.entries.iter().enumerate()
    }

    /// The entries of the pages that redb wrote since the last sync, with their places.
    pub(crate) fn fresh_entries(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.entries().filter(|(place, _)| self.fresh >> place & 1 == 1)
    }

    /// Makes every page from `place` on absent: the file was cut there.
    pub(crate) fn cut_from(&mut self, place: usize) {
        for slot in self.entries.iter_mut().skip(place) {
            *slot = Entry::ABSENT;
        }
        if place < ENTRIES_PER_TAG_PAGE {
            self.fresh &= (1 << place) - 1;
        }
    }

    /// Whether every page from `place` on is absent already.
    pub(crate) fn is_absent_from(&self, place: usize) -> bool {
        self.entries.iter().skip(place).all(|entry| entry.state() == EntryState::Absent)
    }

    /// A new interval between two syncs begins: nothing was written in it yet.
    pub(crate) fn clear_fresh(&mut self) {
        self.fresh = 0;
    }

    /// sync u64, fresh u128, 8 reserved, 126 x (epoch u32, nonce 12, tag 16).
    pub(crate) fn encode(&self) -> Body {
        let mut body = Body::blank();
        let mut writer = Writer::new(body.bytes_mut());
        writer.u64(self.sync.0);
        writer.bytes(&self.fresh.to_le_bytes());
        writer.skip(8);
        for entry in &self.entries {
            writer.u32(entry.epoch.0);
            writer.bytes(&entry.nonce);
            writer.bytes(&entry.tag);
        }
        writer.finish();
        body
    }

    /// # Errors
    /// [`Malformed`], for bytes that no encoder writes.
    pub(crate) fn decode(body: &Body) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body.bytes());
        let sync = SyncSeq(reader.u64()?);
        let fresh = u128::from_le_bytes(reader.array()?);
        if fresh & !FRESH_MASK != 0 {
            return Err(Malformed("fresh bits beyond the group"));
        }
        reader.zeros(8)?;
        let mut entries = [Entry::ABSENT; ENTRIES_PER_TAG_PAGE];
        for slot in &mut entries {
            let (epoch, nonce, tag) = (Epoch(reader.u32()?), reader.array()?, reader.array()?);
            *slot = Entry { epoch, nonce, tag };
            if !slot.is_well_formed() {
                return Err(Malformed("an absent or lost entry with a nonce or a tag"));
            }
        }
        reader.finish()?;
        Ok(Self { sync, fresh, entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sealed(number: u32) -> Entry {
        let byte = u8::try_from(number % 251).unwrap();
        Entry { epoch: Epoch(number), nonce: [byte; 12], tag: [byte; 16] }
    }

    #[test]
    fn fields_come_back() {
        let mut page = TagPage::absent();
        page.sync = SyncSeq(77);
        page.put_fresh(0, sealed(1));
        page.put_fresh(125, sealed(2));
        page.put_fresh(126, sealed(3));
        assert_eq!(TagPage::decode(&page.encode()), Ok(page.clone()));
        assert!(page.is_fresh(0) && page.is_fresh(125) && !page.is_fresh(1) && !page.is_fresh(126));
    }

    #[test]
    fn a_cut_makes_pages_absent_and_stale_bits_go() {
        let mut page = TagPage::absent();
        (0..126).for_each(|place| page.put_fresh(place, sealed(9)));
        page.cut_from(100);
        assert!(page.is_absent_from(100) && !page.is_absent_from(99));
        assert!(page.is_fresh(99) && !page.is_fresh(100));
    }

    #[test]
    fn half_absent_entries_and_stray_bits_are_refused() {
        let mut body = TagPage::absent().encode();
        body.bytes_mut()[32 + 5] = 1;
        assert!(TagPage::decode(&body).is_err(), "nonce without an epoch");
        let mut body = TagPage::absent().encode();
        body.bytes_mut()[8 + 15] = 0x40;
        assert!(TagPage::decode(&body).is_err(), "fresh bit 126");
        let mut body = TagPage::absent().encode();
        body.bytes_mut()[24] = 1;
        assert!(TagPage::decode(&body).is_err(), "reserved");
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(
            bytes in proptest::collection::vec(any::<u8>(), 4064),
            zero_reserved in any::<bool>(),
        ) {
            let mut body = Body::blank();
            body.bytes_mut().copy_from_slice(&bytes);
            if zero_reserved {
                body.bytes_mut()[23] &= 0x3F;
                body.bytes_mut()[24..32].fill(0);
            }
            if let Ok(page) = TagPage::decode(&body) {
                let encoded = page.encode();
                prop_assert_eq!(encoded.bytes(), body.bytes());
            } else {
                prop_assert!(!zero_reserved, "only reserved bits can be wrong in random entries");
            }
        }
    }

    #[test]
    fn each_change_of_an_entry_leaves_its_fresh_bit_as_it_says() {
        let mut page = TagPage::absent();
        (3..8).for_each(|place| page.put_fresh(place, sealed(9)));
        assert_eq!(page.fresh(), 0b1111_1000);
        page.make_absent(4);
        page.mark_lost(5);
        page.reseal(6, sealed(10));
        page.reseal(9, sealed(10));
        assert_eq!(page.fresh(), 0b1100_1000);
        let entries = [4, 5, 6, 7, 9].map(|place| page.entry(place));
        assert_eq!(entries, [Entry::ABSENT, Entry::LOST, sealed(10), sealed(9), sealed(10)]);
        let fresh: Vec<_> = page.fresh_entries().map(|(place, _)| place).collect();
        assert_eq!(fresh, [3, 6, 7]);
        page.clear_fresh();
        assert_eq!((page.fresh(), page.entry(7)), (0, sealed(9)));
    }
}
