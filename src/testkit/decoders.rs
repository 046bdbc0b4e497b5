//! The format seen from outside: as text for a snapshot test, and as decoders for a fuzzer. Both
//! panic where a promise is broken, as a test should.

use crate::format::FORMAT_VERSION;
use crate::format::backup::frame::GroupPages;
use crate::format::backup::manifest::Manifest;
use crate::format::backup::{Head, Trailer};
use crate::format::clean_index;
use crate::format::header::{HeaderBytes, MAGIC, UnverifiedHeader};
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
    decode_backup(bytes);
}

fn decode_backup(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::decode(bytes) {
        assert_eq!(manifest.encode(), bytes, "manifest");
    }
    if let Some((head, _)) = bytes.split_first_chunk()
        && let Ok(found) = Head::decode(head)
    {
        assert_eq!(found.encode(), *head, "head of a backup");
    }
    if let Some((_, trailer)) = bytes.split_last_chunk()
        && let Ok(found) = Trailer::decode(trailer)
    {
        assert_eq!(found.encode(), *trailer, "trailer of a backup");
    }
    let (mut group, mut rest) = (GroupPages::blank(), bytes);
    if let Ok(Ok(())) = group.decode(|out| std::io::Read::read_exact(&mut rest, out)) {
        let mut again = Vec::new();
        let _ = group.encode(|part| {
            again.extend_from_slice(part);
            Ok(())
        });
        assert_eq!(Some(again.as_slice()), bytes.get(..bytes.len() - rest.len()), "frame");
    }
}

// As they are; with the CRC put right; and with the magic and the version that let a decoder go on.
fn decode_header(bytes: &[u8]) {
    let mut header: Box<HeaderBytes> = Box::new([0; HEADER_COPY_SIZE]);
    copy_into(bytes, &mut *header);
    try_header(&header);
    put_crc_right(&mut header);
    try_header(&header);
    stamp(&mut *header);
    put_crc_right(&mut header);
    try_header(&header);
}

fn stamp(header: &mut [u8]) {
    let version = FORMAT_VERSION.to_le_bytes();
    let length = (HEADER_COPY_SIZE as u64).to_le_bytes();
    let (length, _) = length.split_at(4);
    copy_into(&[&MAGIC[..], &version, &[0; 2], length].concat(), header);
}

fn put_crc_right(header: &mut HeaderBytes) {
    if let Some((covered, crc)) = header.split_last_chunk_mut::<4>() {
        *crc = UnverifiedHeader::crc(covered);
    }
}

fn try_header(header: &HeaderBytes) {
    for copy in CopyId::BOTH {
        if let Ok(decoded) = UnverifiedHeader::decode(header, copy) {
            assert!(decoded.encodes_to_itself(), "header copy {copy:?}");
        }
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

    use crate::format::tag_page::Entry;
    use crate::format::{key_slot, root_record};
    use crate::layout;
    use crate::medium::MemoryMedium;
    use crate::{Builder, RawKey};

    fn header() -> Vec<u8> {
        let medium = MemoryMedium::new();
        Builder::new().create_on(medium.clone(), &RawKey::new([7; 32])).unwrap().close().unwrap();
        let start = usize::try_from(layout::header_start(CopyId::A).0).unwrap();
        medium.to_bytes()[start..start + HEADER_COPY_SIZE].to_vec()
    }

    #[test]
    fn a_header_encodes_to_itself_and_one_with_an_overlooked_byte_would_not() {
        let bytes = header();
        decode_anything(&bytes);
        let mut header: HeaderBytes = bytes.try_into().unwrap();
        let decoded = UnverifiedHeader::decode(&header, CopyId::A).unwrap();
        assert!(decoded.encodes_to_itself());
        // The first pass of a fuzzer reaches the fields without knowing magic, version or CRC.
        header[..24].fill(0);
        stamp(&mut header);
        put_crc_right(&mut header);
        assert!(UnverifiedHeader::decode(&header, CopyId::A).is_ok());
    }

    /// The seeds that the fuzzer starts from, `fuzz/seeds/decoders`.
    #[test]
    #[ignore = "writes files: run it where a record's fields change"]
    fn write_the_seeds_of_the_fuzzer() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/decoders");
        std::fs::create_dir_all(folder).unwrap();
        let put = |name: &str, bytes: &[u8]| {
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            std::fs::write(format!("{folder}/{name}"), &bytes[..end]).unwrap();
        };
        let mut page = TagPage::absent();
        let entry = Entry { epoch: Epoch(1), nonce: [5; 12], tag: [6; 16] };
        page.put_fresh(3, entry);
        put("tag_page", page.encode().bytes());
        put("root_record", root_record::tests::example(3).encode().bytes());
        let row =
            clean_index::Row { sync: crate::units::SyncSeq(3), tag: [9; 16], copy: CopyId::B };
        put("clean_index", clean_index::encode(&[row; 2]).bytes());
        let mut slot = [0; SLOT_SIZE];
        key_slot::tests::example(1).encode(&mut slot);
        put("key_slot", &slot);
        // Up to the first data key: what follows is zeros in a small header.
        put("header", &header()[..26_752]);
    }

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
