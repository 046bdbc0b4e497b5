//! Files that the command line doesn't make itself. Each is of the sandbox's `KEY`, a key file that
//! every fixture makes if it is not there.

use std::path::Path;

use strongroom::redb::{self, MultimapTableDefinition, TableDefinition};
use strongroom::{Database, KeyFile};

fn key(sandbox: &Path) -> KeyFile {
    let path = sandbox.join("KEY");
    if path.exists() { KeyFile::read(path).unwrap() } else { KeyFile::generate(path).unwrap() }
}

pub(crate) fn make(name: &str, sandbox: &Path) {
    match name {
        "mixed.room" => mixed(sandbox),
        "plain.redb" => drop(redb::Database::create(sandbox.join(name)).unwrap()),
        other => panic!("no fixture {other}"),
    }
}

/// A text table, and two that the command line can't read.
fn mixed(sandbox: &Path) {
    let db = Database::create(sandbox.join("mixed.room"), key(sandbox)).unwrap();
    let write = db.begin_write().unwrap();
    let notes = TableDefinition::<&str, &str>::new("notes");
    write.open_table(notes).unwrap().insert("today", "rain").unwrap();
    let pairs = TableDefinition::<(u64, &str), i128>::new("pairs");
    write.open_table(pairs).unwrap().insert((1, "a"), -1).unwrap();
    let tags = MultimapTableDefinition::<&str, &str>::new("tags");
    write.open_multimap_table(tags).unwrap().insert("a", "b").unwrap();
    write.commit().unwrap();
    db.close().unwrap();
}
