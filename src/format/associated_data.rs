//! What a seal is bound to (docs/format.md, "Sealed page or record"): format version, purpose,
//! epoch, file id and place, 40 bytes. Stops a page from being accepted at another place, in
//! another file, under another key, or as another kind of record.

use super::FORMAT_VERSION;
use crate::units::{CopyId, Epoch, FileId, GroupNo, PageNo};
use crate::wire::Writer;

/// Bytes of associated data.
pub(crate) const SIZE: usize = 40;

/// What a sealed thing is and where it belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// A data page: id 1, page number.
    Page(PageNo),
    /// A tag page: id 2, group number. Not the copy: a copy may be overwritten byte for byte from
    /// its twin.
    TagPage(GroupNo),
    /// A root record: id 3, copy number.
    Root(CopyId),
    /// An index page of the rotation journal: id 4, batch and its number there.
    JournalIndex { batch: u64, page: u64 },
    /// A page of the clean index: id 5, number of its first row.
    IndexFrom(u64),
    /// The manifest of a backup: id 6, where it starts there and its length.
    Manifest { at: u64, len: u64 },
}

impl Place {
    // Bytes 32..40, zero for everything but the journal and a backup.
    fn second_number(self) -> u64 {
        match self {
            Self::JournalIndex { page, .. } => page,
            Self::Manifest { len, .. } => len,
            _ => 0,
        }
    }

    fn purpose_and_number(self) -> (u16, u64) {
        match self {
            Self::Page(page) => (1, page.0),
            Self::TagPage(group) => (2, group.0),
            Self::Root(copy) => (3, u64::from(copy.index())),
            Self::JournalIndex { batch, .. } => (4, batch),
            Self::IndexFrom(row) => (5, row),
            Self::Manifest { at, .. } => (6, at),
        }
    }
}

/// version u16, purpose u16, epoch u32, file id 16, place u64, second number u64.
pub(crate) fn associated_data(file_id: FileId, epoch: Epoch, place: Place) -> [u8; SIZE] {
    let (purpose, number) = place.purpose_and_number();
    let mut bytes = [0; SIZE];
    let mut writer = Writer::new(&mut bytes);
    writer.u16(FORMAT_VERSION);
    writer.u16(purpose);
    writer.u32(epoch.0);
    writer.bytes(&file_id.0);
    writer.u64(number);
    writer.u64(place.second_number());
    writer.finish();
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_its_purpose_and_two_numbers() {
        for (place, purpose, first, second) in [
            (Place::Page(PageNo(7)), 1, 7, 0),
            (Place::TagPage(GroupNo(8)), 2, 8, 0),
            (Place::Root(CopyId::B), 3, 1, 0),
            (Place::JournalIndex { batch: 9, page: 10 }, 4, 9, 10),
            (Place::IndexFrom(11), 5, 11, 0),
            (Place::Manifest { at: 12, len: 13 }, 6, 12, 13),
        ] {
            let mut expected = [0; SIZE];
            (expected[0], expected[2], expected[4]) = (1, purpose, 5);
            expected[8..24].fill(6);
            (expected[24], expected[32]) = (first, second);
            assert_eq!(associated_data(FileId([6; 16]), Epoch(5), place), expected, "{place:?}");
        }
    }
}
