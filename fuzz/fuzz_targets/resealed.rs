//! A database edited by somebody who has the key: fields of its root records, tag pages and header
//! copies are changed and sealed, MACed and counted again, so that the code behind the seals meets
//! them. No data is safe from such a one; but no panic, no hang and no absurd allocation may come
//! of it. Each edit is 5 bytes: what to edit, where in it (16 bits), how, and with which byte. An
//! edit goes to one byte, or to all eight of a number.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use strongroom::medium::MemoryMedium;
use strongroom::redb::{ReadableDatabase, ReadableTable, TableDefinition};
use strongroom::testkit::Insider;
use strongroom::{Builder, CopyId, Error, GroupNo, RawKey};

const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("t");

fn key() -> RawKey {
    RawKey::new([7; 32])
}

/// A cleanly closed database of two groups, and one as a crash leaves it.
static IMAGES: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let medium = MemoryMedium::new();
    let db = Builder::new().create_on(medium.clone(), &key()).unwrap();
    for rows in [0..20, 20..40_u64] {
        let write = db.begin_write().unwrap();
        {
            let mut table = write.open_table(TABLE).unwrap();
            for row in rows {
                table.insert(row, &[7; 15_000][..]).unwrap();
            }
        }
        write.commit().unwrap();
    }
    let unclean = medium.to_bytes();
    db.close().unwrap();
    [medium.to_bytes(), unclean]
});

fn read_all(image: Vec<u8>) -> Result<usize, Error> {
    let medium = MemoryMedium::from_bytes(image);
    let mut db = Builder::new().cache_size(1 << 20).open_on(medium, &key())?;
    let mut bytes = 0;
    {
        let read = db.begin_read()?;
        for row in read.open_table(TABLE)?.iter()? {
            bytes += row?.1.value().len();
        }
    }
    let write = db.begin_write()?;
    write.open_table(TABLE)?.insert(1000, &[1; 5000][..])?;
    write.commit()?;
    db.check_integrity()?;
    db.close()?;
    Ok(bytes)
}

fuzz_target!(|input: &[u8]| {
    let Some((which, edits)) = input.split_first() else { return };
    let mut image = IMAGES[usize::from(which % 2)].clone();
    let insider = Insider::new(&image, &key()).unwrap();
    for [what, low, high, how, with] in edits.as_chunks::<5>().0.iter().take(8) {
        let edit = |bytes: &mut [u8]| {
            let at = usize::from(u16::from_le_bytes([*low, *high])) % bytes.len();
            let count = if how % 2 == 0 { 1 } else { 8 };
            for byte in bytes.iter_mut().skip(at).take(count) {
                *byte = if how % 4 < 2 { *with } else { *byte ^ *with };
            }
        };
        let copy = CopyId::BOTH[usize::from(what % 2)];
        let _ = match what / 2 % 4 {
            0 => insider.edit_root(&mut image, copy, edit),
            1 => insider.edit_tag_page(&mut image, GroupNo(u64::from(what / 8 % 2)), copy, edit),
            2 => insider.edit_header(&mut image, copy, edit),
            _ => insider.edit_root(&mut image, copy, |body| edit(body.split_at_mut(160).0)),
        };
    }
    let _ = read_all(image);
});
