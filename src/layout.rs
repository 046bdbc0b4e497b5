//! Floor 1: where everything lies in the file (docs/format.md, "Map of the file"). The only place
//! that multiplies by a page size. Pure arithmetic, saturating: an offset that would overflow lies
//! beyond any file and a read there fails as one past the end.
#![deny(clippy::arithmetic_side_effects)]

use crate::units::{CopyId, FileOffset, GroupNo, PageNo};

/// Bytes in a page.
pub(crate) const PAGE_SIZE: usize = 4096;
/// The same as a `u64`, for offsets.
pub(crate) const PAGE_BYTES: u64 = 4096;
/// Bytes in one header copy.
pub(crate) const HEADER_COPY_SIZE: usize = 32 * 1024;
/// Data pages that share one tag page.
pub(crate) const DATA_PAGES_PER_GROUP: u64 = 126;
/// The same, to size arrays.
pub(crate) const ENTRIES_PER_TAG_PAGE: usize = 126;
/// Pages of a group in the file: two tag pages and the data pages.
pub(crate) const PAGES_PER_GROUP: u64 = 128;
/// Bytes of a group in the file.
pub(crate) const GROUP_BYTES: u64 = PAGES_PER_GROUP * PAGE_BYTES;
/// Rows of one page of the clean index.
pub(crate) const ROWS_PER_INDEX_PAGE: usize = 127;
/// Bytes of logical page 0 that the root record carries; the rest of page 0 reads as zeros.
pub(crate) const PAGE_ZERO_SIZE: usize = 2048;

/// Rows of one index page of the rotation journal.
pub(crate) const ROWS_PER_JOURNAL_PAGE: usize = 56;

const HEADER_PAGES: u64 = 8;
const ROOT_A_PAGE: u64 = 16;
const GROUPS_PAGE: u64 = 20;

const _: () = assert!(HEADER_COPY_SIZE as u64 == HEADER_PAGES * PAGE_BYTES);
const _: () = assert!(2 * HEADER_PAGES == ROOT_A_PAGE);
const _: () = assert!(DATA_PAGES_PER_GROUP + 2 == PAGES_PER_GROUP);
const _: () = assert!(ENTRIES_PER_TAG_PAGE as u64 == DATA_PAGES_PER_GROUP);
const _: () = assert!(64 + 32 * ENTRIES_PER_TAG_PAGE == PAGE_SIZE);
const _: () = assert!(32 + 32 * ROWS_PER_INDEX_PAGE == PAGE_SIZE);
const _: () = assert!(32 + 16 + 72 * ROWS_PER_JOURNAL_PAGE + 16 == PAGE_SIZE);

/// Bytes before the first group: both header copies, both root records, two reserved pages.
pub(crate) const PREAMBLE_BYTES: u64 = GROUPS_PAGE * PAGE_BYTES;

fn page_start(file_page: u64) -> FileOffset {
    FileOffset(file_page.saturating_mul(PAGE_BYTES))
}

/// Where a header copy starts.
pub(crate) fn header_start(copy: CopyId) -> FileOffset {
    page_start(match copy {
        CopyId::A => 0,
        CopyId::B => HEADER_PAGES,
    })
}

/// Where a root record starts.
pub(crate) fn root_start(copy: CopyId) -> FileOffset {
    page_start(ROOT_A_PAGE.saturating_add(u64::from(copy.index())))
}

/// Pages of the file between root records and groups: zeros.
pub(crate) const RESERVED_PAGES: std::ops::Range<u64> = 18..GROUPS_PAGE;
const _: () = assert!(RESERVED_PAGES.start == ROOT_A_PAGE + 2);

/// Where a reserved page of the file starts.
pub(crate) fn reserved_start(file_page: u64) -> FileOffset {
    page_start(file_page)
}

fn group_first_page(group: GroupNo) -> u64 {
    group.0.saturating_mul(PAGES_PER_GROUP).saturating_add(GROUPS_PAGE)
}

/// Where a copy of a group's tag page starts; copy B follows copy A.
pub(crate) fn tag_page_start(group: GroupNo, copy: CopyId) -> FileOffset {
    page_start(group_first_page(group).saturating_add(u64::from(copy.index())))
}

/// Where a data page's ciphertext starts.
pub(crate) fn data_page_start(page: PageNo) -> FileOffset {
    let (group, place) = place_of(page);
    page_start(group_first_page(group).saturating_add(2).saturating_add(place as u64))
}

/// The group that holds a page, and its place there: `p / 126`, `p % 126`.
pub(crate) fn place_of(page: PageNo) -> (GroupNo, usize) {
    let place = page.0 % DATA_PAGES_PER_GROUP;
    (GroupNo(page.0 / DATA_PAGES_PER_GROUP), usize::try_from(place).unwrap_or(0))
}

/// The page at a place of a group.
pub(crate) fn page_at(group: GroupNo, place: usize) -> PageNo {
    PageNo(group.0.saturating_mul(DATA_PAGES_PER_GROUP).saturating_add(place as u64))
}

/// Pages in a logical length of whole pages.
pub(crate) fn pages_in(logical_bytes: u64) -> u64 {
    logical_bytes / PAGE_BYTES
}

/// Whether pages of a logical length lie where a file can have bytes.
pub(crate) fn is_addressable(logical_bytes: u64) -> bool {
    data_page_start(PageNo(pages_in(logical_bytes))).0 < u64::MAX / 2
}

/// Groups that a number of pages touches.
pub(crate) fn groups_for(pages: u64) -> u64 {
    pages.div_ceil(DATA_PAGES_PER_GROUP)
}

/// Groups that a file of this length has, the last one perhaps in part.
pub(crate) fn groups_in(file_bytes: u64) -> u64 {
    file_bytes.saturating_sub(PREAMBLE_BYTES).div_ceil(GROUP_BYTES)
}

/// The end of the last page that a logical length uses: nothing behind it belongs to the database
/// but the clean index.
pub(crate) fn data_end(logical_bytes: u64) -> FileOffset {
    match pages_in(logical_bytes).checked_sub(1) {
        None => FileOffset(PREAMBLE_BYTES),
        Some(last) => FileOffset(data_page_start(PageNo(last)).0.saturating_add(PAGE_BYTES)),
    }
}

/// Where the clean index starts: right behind the last page in use.
pub(crate) fn clean_index_start(logical_bytes: u64) -> FileOffset {
    data_end(logical_bytes)
}

/// Pages that the clean index of this many groups takes.
pub(crate) fn clean_index_pages(groups: u64) -> u64 {
    groups.div_ceil(ROWS_PER_INDEX_PAGE as u64)
}

/// Where the rotation journal starts: behind the last group of the logical length.
pub(crate) fn journal_start(logical_bytes: u64) -> FileOffset {
    page_start(group_first_page(GroupNo(groups_for(pages_in(logical_bytes)))))
}

/// The shape of a rotation journal whose halves hold batches of up to `images` pages: index pages
/// first, then the images.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct JournalHalf {
    images: u64,
    index_pages: u64,
}

impl JournalHalf {
    /// A half with room for this many images.
    pub(crate) fn for_images(images: u64) -> Self {
        Self { images, index_pages: images.div_ceil(ROWS_PER_JOURNAL_PAGE as u64) }
    }

    /// The half of a journal of this many pages, both halves together; `None` where no journal has
    /// that many.
    pub(crate) fn of_journal(pages: u64) -> Option<Self> {
        let half = pages / 2;
        // An index page goes with up to 56 images: about one page in 57 of a half is one.
        let about = half.saturating_sub(half.div_ceil(57));
        (about.saturating_sub(1)..=about.saturating_add(1))
            .map(Self::for_images)
            .find(|found| found.images > 0 && found.pages().saturating_mul(2) == pages)
    }

    /// Images a half has room for.
    pub(crate) fn images(self) -> u64 {
        self.images
    }

    /// Index pages of a half.
    pub(crate) fn index_pages(self) -> u64 {
        self.index_pages
    }

    /// Pages of a half.
    pub(crate) fn pages(self) -> u64 {
        self.images.saturating_add(self.index_pages)
    }

    /// Where an index page of a batch lies in a journal that starts at `start`: batches alternate
    /// between the halves.
    pub(crate) fn index_at(self, start: FileOffset, batch: u64, page: u64) -> FileOffset {
        let half = (batch % 2).saturating_mul(self.pages());
        let page = half.saturating_add(page);
        FileOffset(start.0.saturating_add(page_start(page).0))
    }

    /// Where an image of a batch lies.
    pub(crate) fn image_at(self, start: FileOffset, batch: u64, image: u64) -> FileOffset {
        self.index_at(start, batch, self.index_pages.saturating_add(image))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_of_the_file_is_as_documented() {
        assert_eq!(header_start(CopyId::A), FileOffset(0));
        assert_eq!(header_start(CopyId::B), FileOffset(32 * 1024));
        assert_eq!(root_start(CopyId::A), FileOffset(16 * 4096));
        assert_eq!(root_start(CopyId::B), FileOffset(17 * 4096));
        assert_eq!(tag_page_start(GroupNo(0), CopyId::A), FileOffset(20 * 4096));
        assert_eq!(tag_page_start(GroupNo(1), CopyId::B), FileOffset((20 + 128 + 1) * 4096));
        assert_eq!(data_page_start(PageNo(0)), FileOffset(22 * 4096));
        assert_eq!(data_page_start(PageNo(125)), FileOffset((22 + 125) * 4096));
        assert_eq!(data_page_start(PageNo(126)), FileOffset((20 + 128 + 2) * 4096));
        assert_eq!(page_at(GroupNo(1), 3), PageNo(129));
        assert_eq!(place_of(PageNo(129)), (GroupNo(1), 3));
    }

    #[test]
    fn a_journal_lies_behind_the_last_group_and_its_size_tells_its_shape() {
        assert_eq!(journal_start(18 * 4096), FileOffset((20 + 128) * 4096));
        assert_eq!(journal_start(126 * 4096), FileOffset((20 + 128) * 4096));
        assert_eq!(journal_start(127 * 4096), FileOffset((20 + 256) * 4096));
        for images in (1..200).chain([1008, 5000, 1 << 20]) {
            let half = JournalHalf::for_images(images);
            assert_eq!(JournalHalf::of_journal(2 * half.pages()), Some(half), "{images}");
        }
        assert_eq!(JournalHalf::of_journal(0), None);
        assert_eq!(JournalHalf::of_journal(2), None, "an index page without an image");
        assert_eq!(JournalHalf::of_journal(5), None, "halves of one size");
        let half = JournalHalf::for_images(57);
        assert_eq!(half.image_at(FileOffset(0), 4, 0), FileOffset(2 * 4096));
        assert_eq!(half.index_at(FileOffset(0), 5, 1), FileOffset(60 * 4096));
    }

    #[test]
    fn ends_and_counts() {
        assert_eq!(data_end(0), FileOffset(20 * 4096));
        assert_eq!(data_end(18 * 4096), FileOffset(40 * 4096));
        assert_eq!(groups_for(0), 0);
        assert_eq!(groups_for(126), 1);
        assert_eq!(groups_for(127), 2);
        assert_eq!(clean_index_pages(127), 1);
        assert_eq!(clean_index_pages(128), 2);
    }

    #[test]
    fn huge_numbers_saturate_instead_of_wrapping() {
        assert_eq!(data_page_start(PageNo(u64::MAX)), FileOffset(u64::MAX));
        assert_eq!(tag_page_start(GroupNo(u64::MAX), CopyId::A), FileOffset(u64::MAX));
    }
}
