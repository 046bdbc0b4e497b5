//! Whether what a root record claims is in proportion to the file. redb allocates for the length
//! that it is told, some bits a page and some hundred bytes a region, before it looks at anything;
//! and a length is authentic only as far as everybody who ever had the key is honest. Pure.

use crate::format::root_record::RootRecord;
use crate::layout::{PAGE_BYTES, PAGE_ZERO_SIZE};

/// How far a length may be ahead of the file: redb grows to twice what it needs, and by a region
/// of 4 GiB beyond that, and nothing is written there before it is used.
const LENGTH_PER_FILE_BYTE: u64 = 64;
/// What is plausible for the smallest file, in bytes: redb makes each growth durable, and may hold
/// all that is to stand there in its cache.
const LENGTH_FREE_BYTES: u64 = 1 << 40;
/// More regions than a file of 256 TiB has as redb makes them, 4 GiB each.
const REGIONS_MAX: u64 = 1 << 16;

/// Where page 0 says how long a region is, in pages (redb's docs/design.md, "Database
/// super-header").
const REGION_HEADER_PAGES_AT: usize = 16;
const REGION_PAGES_AT: usize = 20;

/// What is out of all proportion, if something is. `file_len` is in bytes.
pub(crate) fn fault(root: &RootRecord, file_len: u64) -> Option<&'static str> {
    let plausible = file_len.saturating_mul(LENGTH_PER_FILE_BYTE).saturating_add(LENGTH_FREE_BYTES);
    if root.logical_len > plausible {
        return Some("it claims a length out of all proportion to the file's");
    }
    let region_pages = number(&root.page_zero, REGION_HEADER_PAGES_AT)
        .saturating_add(number(&root.page_zero, REGION_PAGES_AT));
    let region_bytes = region_pages.saturating_mul(PAGE_BYTES);
    // Zero is not a geometry; redb says so itself, and says "not a database" where page 0 is blank.
    let regions = root.logical_len.checked_div(region_bytes).unwrap_or(0);
    (regions > REGIONS_MAX).then_some("it cuts its length into more regions than any file has")
}

fn number(page_zero: &[u8; PAGE_ZERO_SIZE], at: usize) -> u64 {
    let bytes = page_zero.get(at..).and_then(|rest| rest.first_chunk::<4>());
    bytes.map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::root_record::tests::example;

    #[test]
    fn lengths_and_regions_that_no_honest_file_has() {
        const MIB: u64 = 1 << 20;
        // Length, file's length, pages of a region's header, pages of a region, plausible.
        let table = [
            (MIB, MIB, 0, 1 << 20, true),
            (8 << 30, MIB, 0, 1 << 20, true), // redb has grown, nothing is written yet
            ((1 << 40) + 64 * MIB, MIB, 0, 1 << 20, true),
            ((1 << 40) + 64 * MIB + 4096, MIB, 0, 1 << 20, false),
            (1 << 46, 1 << 46, 0, 1 << 20, true), // 64 TiB, written
            (1 << 59, 1 << 59, 0, u32::MAX, true), // sums that do not overflow
            (1 << 30, 1 << 30, 0, 4, true),       // 65,536 regions
            ((1 << 30) + (1 << 14), 1 << 30, 0, 4, false),
            ((1 << 30) + (1 << 14), 1 << 30, 1, 4, true), // a header makes a region longer
            (1 << 30, 1 << 30, 0, 0, true),               // no geometry at all: redb's to refuse
        ];
        for (logical_len, file_len, header_pages, pages, plausible) in table {
            let mut root = RootRecord { logical_len, ..example(1) };
            root.page_zero[16..20].copy_from_slice(&u32::to_le_bytes(header_pages));
            root.page_zero[20..24].copy_from_slice(&u32::to_le_bytes(pages));
            assert_eq!(
                fault(&root, file_len).is_none(),
                plausible,
                "{logical_len} of {file_len}, regions of {header_pages} + {pages}"
            );
        }
    }
}
