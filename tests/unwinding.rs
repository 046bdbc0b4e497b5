//! Panics of the application, and what its destructors do meanwhile: redb then skips part of its
//! own shutdown, so that the file may be shorter than its logical length when the store closes.
#![cfg(feature = "testkit")]
#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use strongroom::medium::MemoryMedium;
use strongroom::redb::{ReadableDatabase, ReadableTableMetadata, TableDefinition};
use strongroom::testkit::{Crash, CrashMedium, Survival, Tearing};
use strongroom::{Builder, Database, RawKey};

const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("table");

fn key() -> RawKey {
    RawKey::new([7; 32])
}

fn fill(db: &Database, records: u64) {
    let txn = db.begin_write().unwrap();
    for key in 0..records {
        txn.open_table(TABLE).unwrap().insert(key, &[1; 1000][..]).unwrap();
    }
    txn.commit().unwrap();
}

fn records(db: &Database) -> u64 {
    db.begin_read().unwrap().open_table(TABLE).unwrap().len().unwrap()
}

#[test]
fn a_power_cut_while_a_panic_closes_the_database_loses_nothing() {
    let crashes = [
        (Tearing::Page4096, Survival::OnlyOne),
        (Tearing::WholeWrite, Survival::Each(0.5)),
        (Tearing::Page4096, Survival::Each(0.5)),
        (Tearing::Sector512, Survival::Each(0.9)),
    ];
    let mut cut = 0;
    for seed in 0..40 {
        for (tearing, survival) in crashes {
            let disk = CrashMedium::new(seed);
            let db = Builder::new().create_on(disk.clone(), &key()).unwrap();
            fill(&db, 300 + seed);
            disk.cut_at_point("close: after first clean root", 0);
            let unwound = catch_unwind(AssertUnwindSafe(move || {
                let _db = db;
                resume_unwind(Box::new("the application"));
            }));
            assert!(unwound.is_err() && disk.is_off(), "the close was not reached");
            cut += 1;
            let disk = disk.crash(Crash::PowerCut { tearing, survival });
            let db = Builder::new().open_on(disk, &key()).unwrap();
            assert_eq!(records(&db), 300 + seed);
        }
    }
    println!("figure: power cuts in the close of a panicking thread = {cut}");
}

#[test]
fn a_commit_in_a_destructor_while_a_panic_unwinds_leaves_the_database_usable() {
    struct FillOnDrop<'a>(&'a Database);
    impl Drop for FillOnDrop<'_> {
        fn drop(&mut self) {
            fill(self.0, 10);
        }
    }
    let db = Builder::new().create_on(MemoryMedium::new(), &key()).unwrap();
    fill(&db, 5);
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _fill = FillOnDrop(&db);
        resume_unwind(Box::new("the application"));
    }));
    assert!(unwound.is_err());
    assert_eq!(records(&db), 10);
    fill(&db, 20);
    assert_eq!(records(&db), 20);
}
