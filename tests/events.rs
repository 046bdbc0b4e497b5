//! What a log gets to hear (feature `tracing`): an open, a recovery, healing, damage, a rotation, a
//! store that stopped writing, each once; and no key, passphrase or plaintext in any of it.
#![cfg(feature = "testkit")]
#![allow(clippy::unwrap_used, reason = "test code: a panic is a failed test")]

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use strongroom::medium::MemoryMedium;
use strongroom::redb::{ReadableDatabase, ReadableTable, TableDefinition};
use strongroom::testkit::{Crash, CrashMedium, Survival, Tearing};
use strongroom::{Builder, RawKey};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

const TABLE: TableDefinition<u64, &str> = TableDefinition::new("t");
const SECRET: [u8; 32] = *b"a key that no log is to tell of.";
const PLAIN: &str = "a text that no log is to tell of";

/// Writes every event down as one line.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "strongroom"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Log {
    /// The lines since the last call.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn fill(db: &strongroom::Database, rows: u64) -> Result<(), strongroom::Error> {
    let txn = db.begin_write()?;
    {
        let mut table = txn.open_table(TABLE)?;
        (0..rows).for_each(|row| drop(table.insert(row, PLAIN).unwrap()));
    }
    Ok(txn.commit()?)
}

#[test]
fn a_log_hears_of_what_matters_and_of_no_secret() {
    let log = Log::default();
    tracing::subscriber::set_global_default(log.clone()).unwrap();
    let key = RawKey::new(SECRET);
    let mut all = Vec::new();
    let mut hear = |words: &[&str]| {
        let lines = log.take();
        for word in words {
            let heard = lines.iter().filter(|line| line.contains(word)).count();
            assert_eq!(heard, 1, "{word:?} in {lines:#?}");
        }
        all.extend(lines);
    };

    let medium = CrashMedium::new(7);
    let db = Builder::new().create_on(medium.clone(), &key).unwrap();
    fill(&db, 3000).unwrap();
    db.rotate().unwrap().wait().unwrap();
    hear(&["INFO message=rotation goes on", "INFO message=rotation ended"]);
    fill(&db, 10).unwrap();
    let crash = Crash::PowerCut { tearing: Tearing::Page4096, survival: Survival::Each(0.0) };
    let after = medium.image_after(crash, 1);
    db.close().unwrap();
    hear(&[]);
    let db = Builder::new().open_on(after, &key).unwrap();
    hear(&["WARN message=opened after a crash"]);
    db.close().unwrap();

    let disk = MemoryMedium::new();
    let db = Builder::new().create_on(disk.clone(), &key).unwrap();
    fill(&db, 3000).unwrap();
    db.close().unwrap();
    let closed = disk.to_bytes();
    let _ = Builder::new().open_on(MemoryMedium::from_bytes(closed.clone()), &RawKey::new([0; 32]));
    hear(&["WARN message=not opened error=WrongKey"]);
    let mut torn = closed.clone();
    torn[16 * 4096 + 99] ^= 1;
    drop(Builder::new().open_on(MemoryMedium::from_bytes(torn), &key).unwrap());
    hear(&["INFO message=opened", "WARN message=second copies were written anew"]);
    let mut damaged = closed;
    let pages = damaged.len() / 4096 - 1;
    (23..pages).for_each(|page| damaged[page * 4096 + 99] ^= 1);
    if let Ok(db) = Builder::new().open_on(MemoryMedium::from_bytes(damaged), &key) {
        let txn = db.begin_read().unwrap();
        let table = txn.open_table(TABLE).unwrap();
        assert!(table.iter().unwrap().any(|row| row.is_err()));
    }
    assert!(log.0.lock().unwrap().iter().any(|line| line.contains("ERROR message=damage was met")));
    log.take().into_iter().for_each(drop);

    let medium = CrashMedium::new(9);
    let db = Builder::new().create_on(medium.clone(), &key).unwrap();
    fill(&db, 10).unwrap();
    hear(&[]);
    medium.fail_sync_after(0, Tearing::Page4096, Survival::Each(0.5));
    assert!(fill(&db, 20).is_err());
    drop(db);
    hear(&["ERROR message=nothing is written any more"]);

    let told = all.join("\n");
    println!("figure: events = {}", all.len());
    let hex: String = SECRET.iter().map(|byte| format!("{byte:02x}")).collect();
    let numbers = format!("{SECRET:?}");
    for secret in
        [PLAIN, std::str::from_utf8(&SECRET).unwrap(), &hex, numbers.trim_matches(['[', ']'])]
    {
        assert!(!told.contains(secret), "{secret:?} is in the log");
    }
}
