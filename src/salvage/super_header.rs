//! redb's page 0 as redb 4.6 writes it (its docs/design.md, "Database super-header"): the geometry
//! of its regions, and two commit slots that each point to the root of a tree of tables. Pure, and
//! bounds-checked throughout: the bytes are authentic, but may be an older or a foreign writer's.

use std::ops::Range;

use super::xxh3;
use crate::layout::{PAGE_BYTES, PAGE_ZERO_SIZE};

const MAGIC: &[u8; 9] = b"redb\x1a\x0a\xa9\x0d\x0a";
const GOD_BYTE: usize = 9;
const PRIMARY: u8 = 1;
const TWO_PHASE: u8 = 4;
const PAGE_SIZE_AT: usize = 12;
const REGION_HEADER_PAGES_AT: usize = 16;
const REGION_PAGES_AT: usize = 20;
const SLOTS_AT: usize = 64;
const SLOT_SIZE: usize = 128;
const SLOT_CHECKSUM_AT: usize = 112;
const FORMAT_VERSION: u8 = 3;
/// A page index has 20 bits, and so has a region number.
const PAGES_PER_REGION_MAX: u64 = 1 << 20;

/// Where a tree of redb's begins: the root page, its checksum, and how many rows the tree has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Root {
    pub(super) at: Pointer,
    pub(super) checksum: u128,
    pub(super) rows: u64,
}

impl Root {
    /// As it stands in a commit slot, a table definition or a multimap's row: 32 bytes.
    pub(super) fn decode(bytes: &[u8; 32]) -> Self {
        let [a, b, c, d] = quarters(bytes);
        Self { at: Pointer(a), checksum: u128::from(c) << 64 | u128::from(b), rows: d }
    }
}

fn quarters(bytes: &[u8; 32]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

/// A page of redb's: 2^order pages of 4096 bytes, by region and index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pointer(pub(super) u64);

/// How regions lie one behind another; what turns a [`Pointer`] into pages of 4096 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Geometry {
    region_header_pages: u64,
    region_pages: u64,
}

impl Default for Geometry {
    /// As redb makes it unless told otherwise: regions of 4 GiB, without headers.
    fn default() -> Self {
        Self { region_header_pages: 0, region_pages: PAGES_PER_REGION_MAX }
    }
}

impl Geometry {
    /// The pages of 4096 bytes that a pointer names; `None` for one that no writer makes.
    pub(super) fn pages(&self, pointer: Pointer) -> Option<Range<u64>> {
        let order = u32::try_from(pointer.0 >> 59).ok()?;
        let index = pointer.0 & ((PAGES_PER_REGION_MAX - 1) >> order);
        let region = (pointer.0 >> 20) & (PAGES_PER_REGION_MAX - 1);
        let pages = 1_u64.checked_shl(order)?;
        let within = index.checked_mul(pages)?;
        if within.checked_add(pages)? > self.region_pages {
            return None;
        }
        let per_region = self.region_header_pages.checked_add(self.region_pages)?;
        let start = region.checked_mul(per_region)?.checked_add(self.region_header_pages)?;
        let start = start.checked_add(1)?.checked_add(within)?;
        Some(start..start.checked_add(pages)?)
    }
}

/// One of the two commit slots, its checksum verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Commit {
    /// redb's number of the transaction.
    pub(super) transaction: u64,
    /// The tree of the user's tables; `None` where there are none.
    pub(super) tables: Option<Root>,
}

/// What page 0 says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SuperHeader {
    pub(super) geometry: Geometry,
    /// The last commit used two phases: its pages were durable before its slot was.
    pub(super) two_phase: bool,
    /// The slot that the header names; `None` where its checksum doesn't fit.
    pub(super) primary: Option<Commit>,
    /// The other one: the commit before, as a rule.
    pub(super) secondary: Option<Commit>,
}

impl SuperHeader {
    /// Reads page 0; `None` where it is not a header of redb's current format with pages of 4096
    /// bytes, or neither slot is whole.
    pub(super) fn decode(page_zero: &[u8; PAGE_ZERO_SIZE]) -> Option<Self> {
        let bytes: &[u8] = page_zero;
        if !bytes.starts_with(MAGIC) || u64::from(u32_at(bytes, PAGE_SIZE_AT)?) != PAGE_BYTES {
            return None;
        }
        let god_byte = *bytes.get(GOD_BYTE)?;
        let geometry = Geometry {
            region_header_pages: u64::from(u32_at(bytes, REGION_HEADER_PAGES_AT)?),
            region_pages: u64::from(u32_at(bytes, REGION_PAGES_AT)?),
        };
        let sound = 1..=PAGES_PER_REGION_MAX;
        if !sound.contains(&geometry.region_pages)
            || geometry.region_header_pages > PAGES_PER_REGION_MAX
        {
            return None;
        }
        let slot = |number: usize| {
            let start = SLOTS_AT + number * SLOT_SIZE;
            bytes.get(start..start + SLOT_SIZE).and_then(commit)
        };
        let primary = usize::from(god_byte & PRIMARY != 0);
        let (primary, secondary) = (slot(primary), slot(1 - primary));
        primary.or(secondary)?;
        Some(Self { geometry, two_phase: god_byte & TWO_PHASE != 0, primary, secondary })
    }
}

fn commit(slot: &[u8]) -> Option<Commit> {
    let (covered, checksum) = slot.split_at_checked(SLOT_CHECKSUM_AT)?;
    if xxh3::checksum(covered)? != u128::from_le_bytes(*checksum.first_chunk()?)
        || *slot.first()? != FORMAT_VERSION
    {
        return None;
    }
    let there = *slot.get(1)? != 0;
    let root = Root::decode(slot.get(8..)?.first_chunk()?);
    let transaction = u64::from_le_bytes(*slot.get(104..)?.first_chunk()?);
    Some(Commit { transaction, tables: there.then_some(root) })
}

/// A little-endian number of 32 bits.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_names_pages_behind_the_super_header_and_its_regions() {
        let geometry = Geometry { region_header_pages: 0, region_pages: 16 };
        let pages = |order: u64, region: u64, index: u64| {
            geometry.pages(Pointer(order << 59 | region << 20 | index))
        };
        assert_eq!(pages(0, 0, 0), Some(1..2));
        assert_eq!(pages(0, 0, 15), Some(16..17));
        assert_eq!(pages(2, 0, 3), Some(13..17));
        assert_eq!(pages(0, 2, 1), Some(34..35));
        assert_eq!(pages(0, 0, 16), None, "beyond its region");
        assert_eq!(pages(5, 0, 0), None, "larger than a region");
        assert_eq!(pages(31, 0, 0), None);
        let with_headers = Geometry { region_header_pages: 2, region_pages: 16 };
        assert_eq!(with_headers.pages(Pointer(1 << 20)), Some(21..22));
    }
}
