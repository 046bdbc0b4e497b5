//! A database edited in places the fuzzer chooses, opened with the right key and read: an error or
//! the data that was stored, never other data, never a panic. Each edit is 5 bytes: a position
//! (24 bits, scaled to the file), a length of 1 to 256, and what to XOR with.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use strongroom::medium::MemoryMedium;
use strongroom::redb::{ReadableDatabase, ReadableTable, TableDefinition};
use strongroom::{Builder, Error, RawKey};

const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("t");
const ROWS: u64 = 40;

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
            for row in rows {
                table.insert(row, &value(row)[..]).unwrap();
            }
        }
        write.commit().unwrap();
    }
    let unclean = medium.to_bytes();
    db.close().unwrap();
    [medium.to_bytes(), unclean]
});

fn read_all(image: Vec<u8>) -> Result<Vec<(u64, Vec<u8>)>, Error> {
    let medium = MemoryMedium::from_bytes(image);
    let db = Builder::new().cache_size(1 << 20).open_on(medium, &RawKey::new([7; 32]))?;
    let read = db.begin_read()?;
    let mut rows = Vec::new();
    for row in read.open_table(TABLE)?.iter()? {
        let (key, value) = row?;
        rows.push((key.value(), value.value().to_vec()));
    }
    Ok(rows)
}

fuzz_target!(|input: &[u8]| {
    let Some((which, edits)) = input.split_first() else { return };
    let mut image = IMAGES[usize::from(which % 2)].clone();
    for edit in edits.as_chunks::<5>().0 {
        let [a, b, c, len, xor] = *edit;
        let position = u32::from_le_bytes([a, b, c, 0]) as usize * image.len() / (1 << 24);
        for byte in image.iter_mut().skip(position).take(usize::from(len) + 1) {
            *byte ^= xor;
        }
    }
    if let Ok(rows) = read_all(image) {
        // An edit of the last sync of an unclean file may cost that sync, as a crash does.
        let expected = [ROWS, ROWS / 2].map(|rows| (0..rows).map(|row| (row, value(row))));
        let [all, half] = expected.map(Vec::from_iter);
        assert!(rows == all || (which % 2 == 1 && rows == half), "wrong data: {} rows", rows.len());
    }
});
