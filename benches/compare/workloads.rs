//! What is done to redb, whatever it lies on.

use strongroom::redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
};

use crate::Outcome;
use crate::records::{LargeValue, add, add_pages, key, scatter, value};
use crate::store::{Picks, Store};

const RECORDS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("records");
const LARGE: TableDefinition<u64, &[u8]> = TableDefinition::new("large");

impl Store for Database {
    fn insert(&self, first: u64, count: u64) -> Outcome<u64> {
        let transaction = self.begin_write()?;
        {
            let mut table = transaction.open_table(RECORDS)?;
            for record in first..first + count {
                table.insert(key(record).as_slice(), value(record).as_slice())?;
            }
        }
        transaction.commit()?;
        Ok(count)
    }

    fn reads(&self, picks: Picks) -> Outcome<u64> {
        let table = self.begin_read()?.open_table(RECORDS)?;
        let mut checksum = 0;
        for read in 0..picks.count {
            let record = scatter(read.wrapping_add(picks.seed)) % picks.records;
            match table.get(key(record).as_slice())? {
                Some(value) => checksum = add(checksum, value.value()),
                None => return Err(format!("record {record} is gone").into()),
            }
        }
        Ok(checksum)
    }

    fn ranges(&self, picks: Picks, length: usize) -> Outcome<u64> {
        let table = self.begin_read()?.open_table(RECORDS)?;
        let mut checksum = 0;
        for read in 0..picks.count {
            let record = scatter(read.wrapping_add(picks.seed)) % picks.records;
            for row in table.range(key(record).as_slice()..)?.take(length) {
                checksum = add(checksum, row?.1.value());
            }
        }
        Ok(checksum)
    }

    fn scan(&self) -> Outcome<u64> {
        let table = self.begin_read()?.open_table(RECORDS)?;
        let mut checksum = 0;
        for row in table.iter()? {
            checksum = add(checksum, row?.1.value());
        }
        Ok(checksum)
    }

    fn remove_half(&self, records: u64) -> Outcome<u64> {
        let transaction = self.begin_write()?;
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

    fn put_values(&self, size: usize, first: u64, count: u64) -> Outcome<u64> {
        let mut value = LargeValue::new(size);
        let transaction = self.begin_write()?;
        {
            let mut table = transaction.open_table(LARGE)?;
            for number in first..first + count {
                table.insert(number, value.number(number))?;
            }
        }
        transaction.commit()?;
        Ok(count)
    }

    fn read_values(&self, first: u64, count: u64) -> Outcome<u64> {
        let table = self.begin_read()?.open_table(LARGE)?;
        let mut checksum = 0;
        for number in first..first + count {
            let value = table.get(number)?.ok_or_else(|| format!("value {number} is gone"))?;
            checksum = add_pages(checksum, value.value());
        }
        Ok(checksum)
    }
}
