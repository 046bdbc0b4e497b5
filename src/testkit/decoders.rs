//! The format seen from outside: as text for a snapshot test, and as decoders for a fuzzer. Both
//! panic where a promise is broken, as a test should.

use crate::format::clean_index;
use crate::format::header::{HeaderBytes, UnverifiedHeader};
use crate::format::journal;
use crate::format::key_slot::{KeySlot, SLOT_SIZE};
use crate::format::record::Body;
use crate::format::root_record::RootRecord;
use crate::format::snapshot;
use crate::format::tag_page::TagPage;
use crate::layout::{HEADER_COPY_SIZE, ROWS_PER_INDEX_PAGE};
use crate::units::{CopyId, Epoch};

/// Everything the format pins, as text: offsets, magics, context strings, worked bytes.
///
/// # Errors
/// No key memory.
pub fn format_snapshot() -> std::io::Result<String> {
    snapshot::snapshot()
}

/// Runs every decoder over the bytes as an attacker could place them: sealed bodies as if the
/// attacker had the key, header copies with the CRC put right.
///
/// # Panics
/// Where what a decoder accepted doesn't encode to the same bytes; a decoder itself never panics.
pub fn decode_anything(bytes: &[u8]) {
    let mut body = Body::blank();
    copy_into(bytes, body.bytes_mut());
    if let Ok(page) = TagPage::decode(&body) {
        assert_eq!(page.encode().bytes(), body.bytes(), "tag page");
    }
    if let Ok(root) = RootRecord::decode(&body, Epoch(1)) {
        assert_eq!(root.encode().bytes(), body.bytes(), "root record");
    }
    if let Ok((batch, images)) = journal::decode(&body) {
        assert_eq!(journal::encode(batch, &images).bytes(), body.bytes(), "journal");
    }
    let rows = bytes.first().map_or(0, |byte| usize::from(*byte)).min(ROWS_PER_INDEX_PAGE);
    if let Ok(found) = clean_index::decode(&body, rows) {
        assert_eq!(clean_index::encode(&found).bytes(), body.bytes(), "clean index");
    }
    let mut slot_bytes = [0; SLOT_SIZE];
    copy_into(bytes, &mut slot_bytes);
    if let Ok(Some(slot)) = KeySlot::decode(&slot_bytes) {
        let mut again = [0; SLOT_SIZE];
        slot.encode(&mut again);
        assert!(again == slot_bytes, "key slot");
    }
    decode_header(bytes);
}

fn decode_header(bytes: &[u8]) {
    let mut header: Box<HeaderBytes> = Box::new([0; HEADER_COPY_SIZE]);
    copy_into(bytes, &mut *header);
    for copy in CopyId::BOTH {
        let _ = UnverifiedHeader::decode(&header, copy);
    }
    let (covered, crc) = header.split_at_mut(HEADER_COPY_SIZE - 4);
    crc.copy_from_slice(&UnverifiedHeader::crc(covered));
    for copy in CopyId::BOTH {
        let _ = UnverifiedHeader::decode(&header, copy);
    }
}

fn copy_into(bytes: &[u8], room: &mut [u8]) {
    for (room, byte) in room.iter_mut().zip(bytes) {
        *room = *byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::SeededRandom;

    #[test]
    fn random_bytes_never_panic() {
        let mut random = SeededRandom::new(1);
        let mut bytes = vec![0; HEADER_COPY_SIZE];
        for _ in 0..200 {
            random.fill(&mut bytes);
            decode_anything(&bytes);
        }
        decode_anything(&[]);
    }
}
