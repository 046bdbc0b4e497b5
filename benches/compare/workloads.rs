//! What is done to a database. Every workload returns a checksum of what it saw, and does the same
//! to both engines: keys and values come from the number of the record.

use strongroom::redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
};

use crate::Outcome;

/// Small records: 24-byte keys in random order, 150-byte values, as in redb's own benchmark.
const RECORDS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("records");
const LARGE: TableDefinition<u64, &[u8]> = TableDefinition::new("large");

const KEY_BYTES: usize = 24;
const VALUE_BYTES: usize = 150;
/// A little less than the 64 KiB that redb keeps it in.
const LARGE_BYTES: usize = 60 << 10;

/// A bijection that scatters: the output function of SplitMix64.
fn scatter(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn fill(bytes: &mut [u8], seed: u64) {
    for (index, part) in (0..).zip(bytes.chunks_mut(8)) {
        let random = scatter(seed.wrapping_add(index)).to_le_bytes();
        for (byte, random) in part.iter_mut().zip(random) {
            *byte = random;
        }
    }
}

fn key(record: u64) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    fill(&mut key, scatter(record));
    key
}

fn value(record: u64) -> [u8; VALUE_BYTES] {
    let mut value = [0; VALUE_BYTES];
    fill(&mut value, !scatter(record));
    value
}

fn add(checksum: u64, value: &[u8]) -> u64 {
    let first = value.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    checksum.rotate_left(5).wrapping_add(first)
}

/// Inserts records `first..first + count` in one durable transaction.
pub(crate) fn insert(db: &Database, first: u64, count: u64) -> Outcome<u64> {
    let transaction = db.begin_write()?;
    {
        let mut table = transaction.open_table(RECORDS)?;
        for record in first..first + count {
            table.insert(key(record).as_slice(), value(record).as_slice())?;
        }
    }
    transaction.commit()?;
    Ok(count)
}

/// Inserts `commits` times `count` records, each time in one durable transaction.
pub(crate) fn commits(db: &Database, first: u64, commits: u64, count: u64) -> Outcome<u64> {
    for commit in 0..commits {
        insert(db, first + commit * count, count)?;
    }
    Ok(commits)
}

/// Reads `reads` of the first `records` records in random order.
pub(crate) fn random_reads(db: &Database, records: u64, reads: u64, seed: u64) -> Outcome<u64> {
    let table = db.begin_read()?.open_table(RECORDS)?;
    let mut checksum = 0;
    for read in 0..reads {
        let record = scatter(read.wrapping_add(seed)) % records;
        match table.get(key(record).as_slice())? {
            Some(value) => checksum = add(checksum, value.value()),
            None => return Err(format!("record {record} is gone").into()),
        }
    }
    Ok(checksum)
}

/// Reads every record in order.
pub(crate) fn scan(db: &Database) -> Outcome<u64> {
    let table = db.begin_read()?.open_table(RECORDS)?;
    let mut checksum = 0;
    for row in table.iter()? {
        checksum = add(checksum, row?.1.value());
    }
    Ok(checksum)
}

/// Removes every second of the first `records` records in one durable transaction.
pub(crate) fn remove_half(db: &Database, records: u64) -> Outcome<u64> {
    let transaction = db.begin_write()?;
    let left = {
        let mut table = transaction.open_table(RECORDS)?;
        for record in (0..records).step_by(2) {
            if table.remove(key(record).as_slice())?.is_none() {
                return Err(format!("record {record} is gone").into());
            }
        }
        table.len()?
    };
    transaction.commit()?;
    Ok(left)
}

/// Fills a database with `count` large values.
pub(crate) fn fill_large(db: &Database, count: u64) -> Outcome {
    let mut value = vec![0; LARGE_BYTES];
    let transaction = db.begin_write()?;
    {
        let mut table = transaction.open_table(LARGE)?;
        for number in 0..count {
            fill(&mut value, number);
            table.insert(number, value.as_slice())?;
        }
    }
    Ok(transaction.commit()?)
}
