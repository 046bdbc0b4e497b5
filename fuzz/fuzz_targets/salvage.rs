//! A database edited in places the fuzzer chooses, salvaged with the right key: rows that a commit
//! held, or an error; never other rows, never a panic. Each edit is 5 bytes: a position (24 bits, scaled to the
//! file), a length of 1 to 256, and what to XOR with; a length of 256 cuts the file there instead.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use strongroom::medium::MemoryMedium;
use strongroom::redb::{
    MultimapTableDefinition, ReadableDatabase, ReadableMultimapTable, ReadableTable,
    TableDefinition,
};
use strongroom::{Builder, RawKey, SalvageError, SalvageOptions, SalvageTarget};

const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("t");
const TAGS: MultimapTableDefinition<&str, u64> = MultimapTableDefinition::new("m");
const ROWS: u64 = 60;

fn value(row: u64) -> Vec<u8> {
    row.to_le_bytes().repeat(40)
}

/// A cleanly closed database, and one as a crash leaves it.
static IMAGES: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let medium = MemoryMedium::new();
    let db = Builder::new().create_on(medium.clone(), &RawKey::new([7; 32])).unwrap();
    for rows in [0..ROWS / 2, ROWS / 2..ROWS] {
        let write = db.begin_write().unwrap();
        {
            let mut table = write.open_table(TABLE).unwrap();
            let mut tags = write.open_multimap_table(TAGS).unwrap();
            for row in rows {
                table.insert(row, &value(row)[..]).unwrap();
                tags.insert("all", row << 32).unwrap();
            }
        }
        write.commit().unwrap();
    }
    let unclean = medium.to_bytes();
    db.close().unwrap();
    [medium.to_bytes(), unclean]
});

fn edited(which: u8, edits: &[u8]) -> Vec<u8> {
    let mut image = IMAGES[usize::from(which % 2)].clone();
    for edit in edits.as_chunks::<5>().0 {
        let [a, b, c, len, xor] = *edit;
        let position = u32::from_le_bytes([a, b, c, 0]) as usize * image.len() / (1 << 24);
        if len == u8::MAX {
            image.truncate(position);
            continue;
        }
        for byte in image.iter_mut().skip(position).take(usize::from(len) + 1) {
            *byte ^= xor;
        }
    }
    image
}

fuzz_target!(|input: &[u8]| {
    let Some((which, edits)) = input.split_first() else { return };
    let (from, to) = (MemoryMedium::from_bytes(edited(*which, edits)), MemoryMedium::new());
    // Whole and encrypted, as an application would: it is opened again by strongroom.
    let key = RawKey::new([7; 32]);
    let target = SalvageTarget::EncryptedMemory(to.clone(), &key);
    match Builder::new().salvage_on(from, &key, target, SalvageOptions::new()) {
        Ok(report) => {
            let db = Builder::new().open_on(to, &key).unwrap();
            let read = db.begin_read().unwrap();
            let mut found = 0;
            for row in read.open_table(TABLE).iter().flat_map(|table| table.iter().unwrap()) {
                let (row, bytes) = row.unwrap();
                assert!(row.value() < ROWS && bytes.value() == value(row.value()));
                found += 1;
            }
            let tags = read.open_multimap_table(TAGS);
            for row in tags.iter().flat_map(|table| table.iter().unwrap()) {
                let (key, values) = row.unwrap();
                assert_eq!(key.value(), "all");
                for value in values {
                    let value = value.unwrap().value();
                    assert!(value >> 32 < ROWS && value.trailing_zeros() >= 32);
                    found += 1;
                }
            }
            assert_eq!(report.rows_saved(), found);
        }
        Err(SalvageError::Source(_) | SalvageError::NothingLeft) => {}
        Err(error) => panic!("{error:?}"),
    }
});
