//! A real fork with a database open: the child has no keys and says so, writes nothing, and takes
//! nothing from the parent, whose database goes on. One test, so that no other thread is in the
//! middle of something when it forks.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::exit;

use fork::{Fork, fork, waitpid};
use strongroom::medium::FileMedium;
use strongroom::redb::{ReadableDatabase, StorageBackend, TableDefinition};
use strongroom::{Builder, Database, EncryptedBackend, KdfCost, Passphrase, RawKey};

const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("t");

fn put(db: &Database, row: u64) -> Result<(), strongroom::Error> {
    let write = db.begin_write()?;
    write.open_table(TABLE)?.insert(row, &[7; 9000][..])?;
    write.commit()?;
    Ok(())
}

/// What a child met: a bit for each thing that was as it must be. Its panics are not seen.
fn in_child(db: Database, backend: EncryptedBackend, passphrase: &Passphrase, other: &str) -> i32 {
    let says_so = |error: &dyn ToString| error.to_string().contains("after the fork");
    let mut met = 0;
    met |= i32::from(put(&db, 2).is_err_and(|error| says_so(&error)));
    let read = backend.read(4096, &mut [0; 4096]);
    met |= i32::from(read.is_err_and(|error| says_so(&error))) << 1;
    let opened = Builder::new().open(other, passphrase);
    met |= i32::from(opened.is_err_and(|error| says_so(&error))) << 2;
    drop(db);
    drop(backend);
    // What is made after the fork is the child's own.
    let own =
        Builder::new().create_on(strongroom::medium::MemoryMedium::new(), &RawKey::new([9; 32]));
    met |= i32::from(own.is_ok_and(|db| put(&db, 1).is_ok())) << 3;
    met
}

#[test]
fn a_forked_child_has_no_keys_and_the_parent_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let key = || RawKey::new([7; 32]);
    let db = Database::create(path("a.room"), key()).unwrap();
    put(&db, 1).unwrap();
    drop(Database::create(path("b.room"), key()).unwrap());
    let backend = EncryptedBackend::open_on(FileMedium::open(path("b.room")).unwrap(), &key());
    let backend = backend.unwrap();
    let cost = KdfCost { memory_kib: 19 * 1024, passes: 2, lanes: 1 };
    let passphrase = Passphrase::new(b"correct horse").cost(cost);
    drop(Builder::new().create(path("c.room"), &passphrase).unwrap());
    let before = fs::read(path("a.room")).unwrap();

    match fork().unwrap() {
        Fork::Child => {
            let met = || in_child(db, backend, &passphrase, &path("c.room"));
            // A panic that unwound would remove the parent's directory.
            exit(catch_unwind(AssertUnwindSafe(met)).unwrap_or(0))
        }
        Fork::Parent(child) => {
            let status = waitpid(child).unwrap();
            assert_eq!(status, 0b1111 << 8, "exit code and signal: {status:#x}");
            assert!(fs::read(path("a.room")).unwrap() == before, "the child wrote");
            // The lock is still the parent's.
            assert!(Database::open(path("a.room"), key()).is_err());
            put(&db, 3).unwrap();
            backend.read(4096, &mut [0; 4096]).unwrap();
            db.close().unwrap();
            let db = Database::open(path("a.room"), key()).unwrap();
            let read = db.begin_read().unwrap().open_table(TABLE).unwrap();
            let row = |row| read.get(row).unwrap().map(|value| value.value().len());
            assert_eq!([row(1), row(2), row(3)], [Some(9000), None, Some(9000)]);
        }
    }
}
