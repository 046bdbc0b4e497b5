//! Late entries (docs/format.md, "Late entries"): entries of tag pages that a root record carries
//! itself, because their tag pages are written by a later sync. A small commit then writes its pages,
//! one root record and one tag page.

use std::collections::BTreeMap;

use crate::layout::{self, PAGE_ZERO_SIZE};
use crate::units::{Epoch, GroupNo, PageNo};
use crate::wire::{Malformed, Reader, Writer};

use super::tag_page::Entry;

/// Bytes of one: page number and fresh bit, nonce, tag.
pub(crate) const LATE_ENTRY_SIZE: usize = 32;
/// There is room for these whatever page 0 holds.
pub(crate) const LATE_ENTRIES_BEFORE_PAGE_ZERO: usize = 57;
/// redb leaves page 0 empty from here on; late entries take the place of what is zeros.
pub(crate) const PAGE_ZERO_KEPT: usize = 512;
/// As many as fit where page 0 is zeros from [`PAGE_ZERO_KEPT`] on.
pub(crate) const LATE_ENTRIES_MAX: usize =
    LATE_ENTRIES_BEFORE_PAGE_ZERO + (PAGE_ZERO_SIZE - PAGE_ZERO_KEPT) / LATE_ENTRY_SIZE;

const FRESH: u32 = 1 << 31;

/// One page's entry, sealed under the epoch of the root record that carries it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LateEntry {
    pub(crate) page: PageNo,
    /// redb wrote the page since the sync before the root record's: a crash may have torn it.
    pub(crate) fresh: bool,
    nonce: [u8; 12],
    tag: [u8; 16],
}

impl LateEntry {
    /// `None` where a late entry can't say it: another epoch than the root record's, a page that
    /// is none, or one beyond 8 TiB.
    pub(crate) fn new(page: PageNo, entry: &Entry, fresh: bool, root_epoch: Epoch) -> Option<Self> {
        let fits = page.0 > 0 && page.0 < u64::from(FRESH) && entry.epoch == root_epoch;
        fits.then_some(Self { page, fresh, nonce: entry.nonce, tag: entry.tag })
    }

    /// The entry as its tag page will have it.
    pub(crate) fn entry(&self, root_epoch: Epoch) -> Entry {
        Entry { epoch: root_epoch, nonce: self.nonce, tag: self.tag }
    }
}

/// Whether so many late entries fit into a root record with this page 0.
pub(crate) fn fit(count: usize, page_zero: &[u8; PAGE_ZERO_SIZE]) -> bool {
    let blank = || page_zero.iter().skip(PAGE_ZERO_KEPT).all(|byte| *byte == 0);
    count <= LATE_ENTRIES_BEFORE_PAGE_ZERO || (count <= LATE_ENTRIES_MAX && blank())
}

/// The group whose tag page a sync writes all the same: that of the most entries, the first of them
/// where several have as many. `None` where nothing was published.
///
/// A root record that were all that a sync leaves could be put back, or lost, and nothing in the
/// file would tell: the tag page is the witness, by its place in the digest.
pub(crate) fn witness<'a>(
    published: impl Iterator<Item = &'a PageNo>,
    late: &[LateEntry],
) -> Option<GroupNo> {
    let mut counts: BTreeMap<GroupNo, usize> = BTreeMap::new();
    for page in published {
        *counts.entry(layout::place_of(*page).0).or_default() += 1;
    }
    for entry in late {
        if let Some(count) = counts.get_mut(&layout::place_of(entry.page).0) {
            *count += 1;
        }
    }
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(group, _)| group)
}

pub(crate) fn encode(entries: &[LateEntry], writer: &mut Writer<'_>, room: usize) {
    let kept = entries.get(..entries.len().min(room / LATE_ENTRY_SIZE)).unwrap_or_default();
    for entry in kept {
        let page = u32::try_from(entry.page.0).unwrap_or(0);
        writer.u32(page | if entry.fresh { FRESH } else { 0 });
        writer.bytes(&entry.nonce);
        writer.bytes(&entry.tag);
    }
    writer.skip(room - kept.len() * LATE_ENTRY_SIZE);
}

/// `count` late entries, and zeros in the rest of the room.
pub(crate) fn decode(
    count: usize,
    reader: &mut Reader<'_>,
    room: usize,
    out: &mut Vec<LateEntry>,
) -> Result<(), Malformed> {
    let count = count.min(room / LATE_ENTRY_SIZE);
    for _ in 0..count {
        let head = reader.u32()?;
        let page = PageNo(u64::from(head & !FRESH));
        let (nonce, tag) = (reader.array()?, reader.array()?);
        out.push(LateEntry { page, fresh: head & FRESH != 0, nonce, tag });
    }
    reader.zeros(room - count * LATE_ENTRY_SIZE)
}

/// Ascending, and each of a page that has a tag page below the length.
pub(crate) fn check(entries: &[LateEntry], logical_len: u64, groups: u64) -> Result<(), Malformed> {
    let ascending = entries.iter().zip(entries.iter().skip(1)).all(|(a, b)| a.page < b.page);
    let there = |entry: &LateEntry| {
        entry.page.0 > 0
            && entry.page.0 < layout::pages_in(logical_len)
            && layout::place_of(entry.page).0.0 < groups
    };
    if ascending && entries.iter().all(there) {
        Ok(())
    } else {
        Err(Malformed("late entries of pages that are not there, or out of order"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::PAGE_BYTES;

    #[test]
    fn the_witness_is_the_group_with_the_most_entries() {
        let entry = Entry { epoch: Epoch(1), nonce: [1; 12], tag: [1; 16] };
        let late = |page| LateEntry::new(PageNo(page), &entry, false, Epoch(1)).unwrap();
        let number = |published: &[u64], late: &[LateEntry]| {
            let published: Vec<_> = published.iter().copied().map(PageNo).collect();
            witness(published.iter(), late).map(|group| group.0)
        };
        assert_eq!(number(&[], &[late(1)]), None, "nothing changed");
        assert_eq!(number(&[7, 200, 300], &[]), Some(0), "the first of many");
        assert_eq!(number(&[7, 200, 201], &[]), Some(1));
        assert_eq!(number(&[7, 200, 201], &[late(8), late(9)]), Some(0), "older ones count");
        assert_eq!(number(&[200], &[late(8), late(9)]), Some(1), "but it must be dirty");
    }

    #[test]
    fn only_what_a_late_entry_can_say_becomes_one() {
        let entry = Entry { epoch: Epoch(1), nonce: [1; 12], tag: [1; 16] };
        let new = |page, epoch| LateEntry::new(PageNo(page), &entry, true, Epoch(epoch)).is_some();
        assert!(new(1, 1) && new((1 << 31) - 1, 1));
        assert!(!new(0, 1) && !new(1 << 31, 1) && !new(1, 2));
    }

    #[test]
    fn late_entries_are_of_pages_that_a_tag_page_has() {
        let late =
            |page| LateEntry { page: PageNo(page), fresh: true, nonce: [1; 12], tag: [1; 16] };
        let good = |page| check(&[late(page)], 200 * PAGE_BYTES, 1).is_ok();
        assert!(good(1) && good(125));
        assert!(!good(0), "logical page 0 has no entry");
        assert!(!good(126), "in a group without a tag page");
        assert!(check(&[late(199)], 200 * PAGE_BYTES, 2).is_ok());
        assert!(check(&[late(200)], 200 * PAGE_BYTES, 2).is_err(), "behind the last page");
    }
}
