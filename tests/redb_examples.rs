//! Shows that redb's own documented example programs run on strongroom unchanged but for the line
//! that opens the database (and what each prints a thousand times, which is counted instead):
//! `examples/int_keys.rs`, `examples/multithread.rs` and the crate's front page of redb 4.6.0.
#![allow(
    clippy::unwrap_used,
    clippy::result_large_err,
    clippy::cast_possible_truncation,
    reason = "as redb's examples have it"
)]

use std::time::Instant;
use std::{sync::Arc, time::Duration};

use strongroom::redb::{self, Error, ReadableDatabase, TableDefinition, TableHandle};

fn key() -> strongroom::RawKey {
    strongroom::RawKey::new([0x52; 32])
}

#[test]
fn int_keys_runs() -> Result<(), Error> {
    const TABLE: TableDefinition<u64, u64> = TableDefinition::new("my_data");

    let directory = tempfile::tempdir().unwrap();
    let db = strongroom::Database::create(directory.path().join("int_keys.room"), key()).unwrap();
    let write_txn = db.begin_write()?;
    {
        let mut table = write_txn.open_table(TABLE)?;
        table.insert(0, 0)?;
    }
    write_txn.commit()?;

    let read_txn = db.begin_read()?;
    let table = read_txn.open_table(TABLE)?;
    assert_eq!(table.get_owned(0)?.unwrap().value(), 0);

    Ok(())
}

#[test]
fn the_front_page_runs() -> Result<(), Error> {
    const TABLE: TableDefinition<&str, u64> = TableDefinition::new("my_data");

    let directory = tempfile::tempdir().unwrap();
    let db = strongroom::Database::create(directory.path().join("front.room"), key()).unwrap();
    let write_txn = db.begin_write()?;
    {
        let mut table = write_txn.open_table(TABLE)?;
        table.insert("my_key", &123)?;
    }
    write_txn.commit()?;

    let read_txn = db.begin_read()?;
    let table = read_txn.open_table(TABLE)?;
    assert_eq!(table.get_owned("my_key")?.unwrap().value(), 123);

    Ok(())
}

#[test]
fn multithread_runs() -> Result<(), Error> {
    let directory = tempfile::tempdir().unwrap();
    let db = strongroom::Database::create(directory.path().join("my_db.room"), key()).unwrap();
    let definition: TableDefinition<&str, u32> = TableDefinition::new("my_data");

    let db = Arc::new(db);
    // Seed the database with some information
    let write_txn = db.begin_write()?;
    {
        let mut table = write_txn.open_table(definition)?;
        table.insert(&0.to_string().as_str(), 0_u32)?;
        // The resulting table should have a different "a" value each time this example is run
        table.insert("a".to_string().as_str(), 0_u32)?;
    }
    write_txn.commit()?;

    let read_threads = 8;
    let write_threads = 2;
    let mut handles = Vec::with_capacity(read_threads + write_threads);
    for _ in 0..read_threads {
        let db = db.clone();
        let h = std::thread::spawn(move || -> Result<usize, Error> {
            let (start, mut pairs) = (Instant::now(), 0);
            while start.elapsed() < Duration::from_millis(100) {
                let read_txn = db.begin_read()?;
                // Print every (key, value) pair in the table
                let table = read_txn.open_table(definition)?;
                for (k, v) in table.range_owned("0"..)?.flatten() {
                    assert!(!k.value().is_empty() && v.value() < 2);
                    pairs += 1;
                }
            }
            Ok(pairs)
        });
        handles.push(h);
    }

    for i in 0..write_threads {
        let db = db.clone();
        let h = std::thread::spawn(move || -> Result<usize, Error> {
            let (start, mut commits) = (Instant::now(), 0);
            while start.elapsed() < Duration::from_millis(100) {
                let write_txn = db.begin_write()?;
                {
                    let mut table = write_txn.open_table(definition)?;
                    table.insert(&i.to_string().as_str(), i as u32)?;
                    // The resulting table should have a different "a" value each time this example
                    // is run
                    table.insert("a".to_string().as_str(), i as u32)?;
                    commits += 1;
                }
                write_txn.commit()?;
            }
            Ok(commits)
        });
        handles.push(h);
    }

    // See if there any errors were returned from the threads
    for handle in handles {
        assert!(handle.join().unwrap()? > 0, "every thread got its turn");
    }

    // Check that the `Database` has the table (and only the table) that we created
    let read_txn = db.begin_read()?;
    let tables: Vec<_> = read_txn.list_tables()?.map(|table| table.name().to_owned()).collect();
    assert_eq!(tables, ["my_data"]);

    let table = read_txn.open_table(definition)?;
    let pairs = table.range_owned("0"..)?.collect::<Result<Vec<_>, redb::StorageError>>()?;
    let keys: Vec<_> = pairs.iter().map(|(key, _)| key.value().to_owned()).collect();
    assert_eq!(keys, ["0", "1", "a"]);

    Ok(())
}
