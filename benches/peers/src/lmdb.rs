//! LMDB with page encryption, by heed3: one file, the unnamed table, numbers as big-endian keys.

use std::ops::Bound;
use std::path::Path;

use chacha20poly1305::ChaCha20Poly1305;
use heed3::types::Bytes;
use heed3::{CommitOrAbort, EncryptedDatabase, EncryptedEnv, EnvFlags, EnvOpenOptions};

use crate::Outcome;
use crate::records::{LargeValue, add, add_pages, key, scatter, value};
use crate::store::{Picks, Store};

/// The largest that the file may get.
const MAP_BYTES: usize = 16 << 30;

pub(crate) struct Lmdb {
    env: EncryptedEnv,
    table: EncryptedDatabase<'static, Bytes, Bytes>,
}

pub(crate) fn version() -> String {
    format!("{}, ChaCha20-Poly1305", heed3::lmdb_version().string)
}

impl Lmdb {
    pub(crate) fn open(path: &Path) -> Outcome<Self> {
        let mut options = EnvOpenOptions::new();
        options.map_size(MAP_BYTES);
        // SAFETY: NO_SUB_DIR makes the file itself the path, no more; and nobody else has the file,
        // which lies in a temporary directory of this process, open or mapped.
        let env: EncryptedEnv = unsafe {
            options.flags(EnvFlags::NO_SUB_DIR);
            options.open_encrypted::<ChaCha20Poly1305, _>([0x5a; 32].into(), path)?
        };
        let transaction = env.write_txn()?;
        let made = env.create_databases_and_commit(transaction, |opener, transaction| {
            opener.create_database(transaction, None).map(CommitOrAbort::<_, ()>::Commit)
        })?;
        let CommitOrAbort::Commit(table) = made else { return Err("no table".into()) };
        Ok(Self { env, table })
    }

    pub(crate) fn close(self) -> Outcome {
        self.env.prepare_for_closing().wait();
        Ok(())
    }
}

impl Store for Lmdb {
    fn insert(&self, first: u64, count: u64) -> Outcome<u64> {
        let mut transaction = self.env.write_txn()?;
        for record in first..first + count {
            self.table.put(&mut transaction, &key(record), &value(record))?;
        }
        transaction.commit()?;
        Ok(count)
    }

    fn reads(&self, picks: Picks) -> Outcome<u64> {
        let mut transaction = self.env.read_txn()?;
        let mut checksum = 0;
        for read in 0..picks.count {
            let record = scatter(read.wrapping_add(picks.seed)) % picks.records;
            match self.table.get(&mut transaction, &key(record))? {
                Some(value) => checksum = add(checksum, value),
                None => return Err(format!("record {record} is gone").into()),
            }
        }
        Ok(checksum)
    }

    fn ranges(&self, picks: Picks, length: usize) -> Outcome<u64> {
        let mut transaction = self.env.read_txn()?;
        let mut checksum = 0;
        for read in 0..picks.count {
            let record = scatter(read.wrapping_add(picks.seed)) % picks.records;
            let first = key(record);
            let range = (Bound::Included(first.as_slice()), Bound::Unbounded);
            for row in self.table.range(&mut transaction, &range)?.take(length) {
                checksum = add(checksum, row?.1);
            }
        }
        Ok(checksum)
    }

    fn scan(&self) -> Outcome<u64> {
        let mut transaction = self.env.read_txn()?;
        let mut checksum = 0;
        for row in self.table.iter(&mut transaction)? {
            checksum = add(checksum, row?.1);
        }
        Ok(checksum)
    }

    fn remove_half(&self, records: u64) -> Outcome<u64> {
        let mut transaction = self.env.write_txn()?;
        for record in (0..records).step_by(2) {
            if !self.table.delete(&mut transaction, &key(record))? {
                return Err(format!("record {record} is gone").into());
            }
        }
        let left = self.table.len(&transaction)?;
        transaction.commit()?;
        Ok(left)
    }

    fn put_values(&self, size: usize, first: u64, count: u64) -> Outcome<u64> {
        let mut value = LargeValue::new(size);
        let mut transaction = self.env.write_txn()?;
        for number in first..first + count {
            self.table.put(&mut transaction, &number.to_be_bytes(), value.number(number))?;
        }
        transaction.commit()?;
        Ok(count)
    }

    fn read_values(&self, first: u64, count: u64) -> Outcome<u64> {
        let mut transaction = self.env.read_txn()?;
        let mut checksum = 0;
        for number in first..first + count {
            match self.table.get(&mut transaction, &number.to_be_bytes())? {
                Some(value) => checksum = add_pages(checksum, value),
                None => return Err(format!("value {number} is gone").into()),
            }
        }
        Ok(checksum)
    }
}
