//! Files of format version 1 that every later version must read as this one does: committed, never
//! changed, never removed. Each `tests/vectors/NAME.room` has a sidecar `NAME.expect` that says
//! with which credential it is opened, what must come of it, for writing and read-only, what it
//! holds, and what verify and inspect say of it (damaged + spare + what a crash explains). They are opened as copies; the originals stay byte for byte.
//!
//! A missing one is made, with new keys and nonces, by
//! `cargo test --release --test golden -- --ignored`; one that is there is never replaced.
#![allow(unreachable_pub, reason = "the modules of a test have no outside")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a helper that fails is a test that fails"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use strongroom::redb::{ReadableDatabase, ReadableTable, TableDefinition};
use strongroom::{
    AnchorError, Builder, Credential, Damage, Error, KdfCost, MemoryAnchor, OpenError, Passphrase,
    RawKey,
};

#[path = "golden/checks.rs"]
mod checks;
#[path = "golden/making.rs"]
mod making;

const NOTES: TableDefinition<u32, &str> = TableDefinition::new("notes");
const NAMES: [&str; 15] = [
    "clean",
    "anchored",
    "anchored-no-anchor",
    "anchored-rolled-back",
    "both-roots-lost",
    "header-lost",
    "header-torn",
    "left-open",
    "older-group",
    "older-page",
    "passphrase",
    "tampered-page",
    "tampered-tag-page",
    "truncated",
    "wrong-key",
];

type Rows = BTreeMap<u32, String>;

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

/// A sidecar: lines of `word: value`, and `#` for what a reader should know.
struct Expectation {
    lines: BTreeMap<String, String>,
}

impl Expectation {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let pair = |line: &str| {
            let (word, value) = line.split_once(": ").unwrap();
            (word.to_owned(), value.to_owned())
        };
        Self { lines: lines.map(pair).collect() }
    }

    fn get(&self, word: &str) -> &str {
        self.lines.get(word).unwrap_or_else(|| panic!("no `{word}` in the sidecar"))
    }

    fn key(&self) -> Box<dyn Credential> {
        match self.get("key").split_once(' ').unwrap() {
            ("raw", hex) => {
                let byte = |at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap();
                Box::new(RawKey::new(std::array::from_fn(byte)))
            }
            ("passphrase", words) => Box::new(Passphrase::new(words)),
            (other, _) => panic!("what is a {other}?"),
        }
    }

    /// A builder that has the anchor that the sidecar names, as it stands there.
    fn builder(&self) -> Builder {
        let mut builder = Builder::new();
        builder.cache_size(1 << 20);
        if let Some(anchor) = self.lines.get("anchor") {
            let (name, count) = anchor.split_once(' ').unwrap();
            let anchor = MemoryAnchor::new(name);
            anchor.set(count.parse().unwrap());
            builder.anchor(Arc::new(anchor));
        }
        builder
    }

    fn rows(&self) -> Rows {
        let pairs = self.get("rows").split(", ").map(|pair| pair.split_once('=').unwrap());
        pairs.map(|(key, value)| (key.parse().unwrap(), value.to_owned())).collect()
    }
}

fn rows(db: &impl ReadableDatabase) -> Result<Rows, Error> {
    let mut rows = Rows::new();
    for entry in db.begin_read()?.open_table(NOTES)?.iter()? {
        let (key, value) = entry?;
        rows.insert(key.value(), value.value().to_owned());
    }
    Ok(rows)
}

/// An error in the sidecars' words.
fn said(error: &Error) -> String {
    match error {
        Error::Open(OpenError::WrongKey) => "wrong key".to_owned(),
        Error::Open(OpenError::HeaderLost) => "header lost".to_owned(),
        Error::Open(OpenError::NeedsRecovery) => "needs recovery".to_owned(),
        Error::Open(
            OpenError::RolledBack { .. } | OpenError::Anchor(AnchorError::RolledBack { .. }),
        ) => "rolled back".to_owned(),
        Error::Open(OpenError::Anchor(AnchorError::Required)) => "anchor required".to_owned(),
        Error::Damage(damage) => match damage {
            Damage::Page { page, .. } => format!("tampered page={}", page.0),
            Damage::TagPage { group, .. } => format!("tampered tag page group={}", group.0),
            Damage::Digest { sync } => format!("older part sync={}", sync.0),
            Damage::BothRoots => "both roots lost".to_owned(),
            Damage::Truncated { offset } => format!("truncated at={}", offset.0),
            other => format!("{other:?}"),
        },
        other => format!("{other:?}"),
    }
}

/// Opens a copy for writing and reads it all; what came of it, and what it holds.
fn open(builder: &Builder, path: &Path, key: &dyn Credential) -> Result<(Rows, String), Error> {
    let mut db = builder.open(path, key)?;
    let (found, recovery) = (rows(&*db)?, db.recovery());
    assert!(db.check_integrity()?, "redb repaired something");
    let mut recovered = vec![if recovery.clean { "clean" } else { "not closed" }];
    recovered.extend(recovery.healed_header.then_some("healed header"));
    recovered.extend(recovery.healed_root.then_some("healed root"));
    db.close()?;
    let db = builder.open(path, key)?;
    assert!(db.recovery().clean && rows(&*db)? == found, "as it was closed");
    Ok((found, recovered.join(", ")))
}

fn open_read_only(builder: &Builder, path: &Path, key: &dyn Credential) -> Result<Rows, Error> {
    let before = fs::read(path).unwrap();
    let result = builder.open_read_only(path, key).map_err(Error::from);
    let result = result.and_then(|db| rows(&*db));
    assert!(fs::read(path).unwrap() == before, "a read-only open wrote");
    result
}

#[test]
fn every_golden_file_is_read_as_it_always_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = 0;
    for name in NAMES {
        let golden = vectors().join(format!("{name}.room"));
        let file = fs::read(&golden).unwrap_or_else(|error| panic!("{name}: {error}"));
        let expectation = Expectation::read(&golden.with_extension("expect"));
        let key = expectation.key();
        let copy = |to: &str| {
            let path = folder.path().join(format!("{name}.{to}"));
            fs::copy(&golden, &path).unwrap();
            path
        };
        let path = copy("rw");
        let said_at_open = match open(&expectation.builder(), &path, &*key) {
            Ok((found, recovery)) => {
                assert_eq!(found, expectation.rows(), "{name}");
                assert_eq!(recovery, expectation.get("recovery"), "{name}");
                "ok".to_owned()
            }
            Err(error) => said(&error),
        };
        assert_eq!(said_at_open, expectation.get("expect"), "{name}");
        let said_read_only = match open_read_only(&expectation.builder(), &copy("ro"), &*key) {
            Ok(found) => {
                assert_eq!(found, expectation.rows(), "{name}, read-only");
                "ok".to_owned()
            }
            Err(error) => said(&error),
        };
        assert_eq!(said_read_only, expectation.get("expect read-only"), "{name}, read-only");
        assert!(fs::read(&golden).unwrap() == file, "{name}: a golden file was changed");
        bytes += file.len();
    }
    println!("figure: golden files = {}", NAMES.len());
    println!("figure: golden files, bytes = {bytes}");
    assert!(bytes < 3 << 20);
}

#[test]
fn every_golden_file_is_known_here() {
    let entries = fs::read_dir(vectors()).unwrap().map(|entry| entry.unwrap().path());
    let rooms = entries.filter(|path| path.extension().is_some_and(|kind| kind == "room"));
    for path in rooms {
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(NAMES.contains(&name), "{name}.room is opened by no test");
    }
}

#[test]
#[ignore = "writes to tests/vectors where a golden file is missing"]
fn missing_golden_files_are_made() {
    for name in NAMES {
        let room = vectors().join(format!("{name}.room"));
        if room.exists() {
            continue;
        }
        let (file, mut expect) = making::golden(name);
        fs::write(room.with_extension("expect"), &expect).unwrap();
        fs::write(&room, file).unwrap();
        let key = Expectation::read(&room.with_extension("expect")).key();
        expect.push_str(&format!("verify: {}\n", checks::verified(&room, &*key)));
        expect.push_str(&format!("inspect: {}\n", checks::inspected(&room)));
        fs::write(room.with_extension("expect"), expect).unwrap();
        println!("made {}", room.display());
    }
}
