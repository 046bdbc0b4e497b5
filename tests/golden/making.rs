//! How the golden files were made, for those that are missing.

use std::sync::Arc;

use strongroom::medium::MemoryMedium;
use strongroom::{AnchorPolicy, MemoryAnchor};

use crate::{Builder, Credential, KdfCost, NOTES, Passphrase, RawKey, open_read_only, said};

const PAGE: usize = 4096;
const HEADER: usize = 8 * PAGE;
const SECRET: [u8; 32] = [7; 32];
const COMMITS: [[(u32, &str); 2]; 3] =
    [[(1, "one"), (2, "two")], [(2, "two; changed"), (3, "three")], [(4, "four"), (5, "five")]];

fn hex(secret: [u8; 32]) -> String {
    secret.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The file after each of the commits, closed, and as the last one left it, open.
fn states(key: &dyn Credential) -> (Vec<Vec<u8>>, Vec<u8>) {
    let disk = MemoryMedium::new();
    let mut db = Builder::new().create_on(disk.clone(), key).unwrap();
    let (mut closed, mut open) = (Vec::new(), Vec::new());
    for rows in COMMITS {
        let txn = db.begin_write().unwrap();
        {
            let mut table = txn.open_table(NOTES).unwrap();
            rows.iter().for_each(|(key, value)| drop(table.insert(key, *value).unwrap()));
        }
        txn.commit().unwrap();
        open = disk.to_bytes();
        db.close().unwrap();
        closed.push(disk.to_bytes());
        db = Builder::new().open_on(disk.clone(), key).unwrap();
    }
    (closed, open)
}

/// What a read-only open of these bytes says.
fn outcome(file: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("probe.room");
    std::fs::write(&path, file).unwrap();
    match open_read_only(&Builder::new(), &path, &RawKey::new(SECRET)) {
        Ok(_) => "ok".to_owned(),
        Err(error) => said(&error),
    }
}

/// The first change of a data page that a reader notices as that page.
fn noticed(change: impl Fn(usize) -> Vec<u8>, pages: usize) -> (Vec<u8>, String) {
    let changed = (23..pages).map(change).map(|file| {
        let said = outcome(&file);
        (file, said)
    });
    changed.into_iter().find(|(_, said)| said.starts_with("tampered page=")).unwrap()
}

fn put_back(file: &[u8], older: &[u8], pages: std::ops::Range<usize>) -> Vec<u8> {
    let mut file = file.to_vec();
    let bytes = pages.start * PAGE..(pages.end * PAGE).min(file.len()).min(older.len());
    file[bytes.clone()].copy_from_slice(&older[bytes]);
    file
}

fn flipped(file: &[u8], bytes: &[usize]) -> Vec<u8> {
    let mut file = file.to_vec();
    bytes.iter().for_each(|byte| file[*byte] ^= 1);
    file
}

/// A golden file and its sidecar. What is expected is written here by hand, but for numbers.
pub fn golden(name: &str) -> (Vec<u8>, String) {
    let (closed, open) = states(&RawKey::new(SECRET));
    let [.., older, clean] = &*closed else { unreachable!() };
    let pages = clean.len() / PAGE;
    let same = |file: Vec<u8>, what: &str, expect: &str| {
        sidecar(file, what, &format!("raw {}", hex(SECRET)), expect, expect, "clean")
    };
    match name {
        "clean" => same(clean.clone(), "Three commits, closed.", "ok"),
        "passphrase" => {
            let cost = KdfCost { memory_kib: 19 * 1024, passes: 2, lanes: 1 };
            let (mut closed, _) = states(&Passphrase::new("correct horse").cost(cost));
            let what = "As clean, behind a passphrase at the least KDF cost.";
            sidecar(closed.remove(2), what, "passphrase correct horse", "ok", "ok", "clean")
        }
        "left-open" => {
            let what = "As the third commit left it, never closed: what kill -9 leaves.";
            let key = format!("raw {}", hex(SECRET));
            sidecar(open, what, &key, "ok", "needs recovery", "not closed")
        }
        "anchored" => {
            let (file, expect) = anchored(clean);
            (file, expect + "anchor: golden 5\n")
        }
        "anchored-rolled-back" => {
            let (file, _) = anchored(clean);
            let what = "Bound to an anchor that has seen a newer state.";
            let (file, expect) = same(file, what, "rolled back");
            (file, expect + "anchor: golden 6\n")
        }
        "anchored-no-anchor" => {
            let (file, _) = anchored(clean);
            same(file, "Bound to an anchor that nobody gives.", "anchor required")
        }
        "wrong-key" => {
            let what = "As clean, opened with another key.";
            let key = format!("raw {}", hex([8; 32]));
            sidecar(clean.clone(), what, &key, "wrong key", "wrong key", "clean")
        }
        "header-torn" => {
            let what = "Header copy A is garbage from the middle on; copy B is as good.";
            let mut file = clean.clone();
            file[HEADER / 2..HEADER].fill(0xA5);
            let key = format!("raw {}", hex(SECRET));
            sidecar(file, what, &key, "ok", "ok", "clean, healed header")
        }
        "header-lost" => {
            let file = flipped(clean, &[5000, HEADER + 5000]);
            same(file, "A bit flipped in each header copy.", "header lost")
        }
        "both-roots-lost" => {
            let file = flipped(clean, &[16 * PAGE + 900, 17 * PAGE + 900]);
            same(file, "A bit flipped in each root record.", "both roots lost")
        }
        "tampered-tag-page" => {
            let file = flipped(clean, &[20 * PAGE + 900, 21 * PAGE + 900]);
            same(file, "A bit flipped in both copies of the tag page.", "tampered tag page group=0")
        }
        "tampered-page" => {
            let change = |page: usize| flipped(clean, &[page * PAGE + 900]);
            let (file, said) = noticed(change, pages);
            same(file, "A bit flipped in a data page.", &said)
        }
        "older-page" => {
            let (file, said) = noticed(|page| put_back(clean, older, page..page + 1), pages);
            same(file, "A data page put back to what it was a commit before.", &said)
        }
        "older-group" => {
            let file = put_back(clean, older, 20..148);
            let said = outcome(&file);
            assert!(said.starts_with("older part") || said.starts_with("tampered tag"), "{said}");
            same(file, "All behind the root records put back to the commit before.", &said)
        }
        "truncated" => {
            let file = clean[..30 * PAGE].to_vec();
            let said = format!("truncated at={}", file.len());
            same(file, "Cut in the middle of the data pages.", &said)
        }
        other => panic!("{other} is no golden file"),
    }
}

/// The clean file, bound to the anchor `golden`, which stands at 5 when it is closed.
fn anchored(clean: &[u8]) -> (Vec<u8>, String) {
    let (disk, key) = (MemoryMedium::from_bytes(clean.to_vec()), RawKey::new(SECRET));
    let anchor = MemoryAnchor::new("golden");
    anchor.set(2);
    let db = Builder::new().open_on(disk.clone(), &key).unwrap();
    let policy = AnchorPolicy::default();
    db.admin(&key).unwrap().bind_anchor(Arc::new(anchor.clone()), policy).unwrap();
    db.close().unwrap();
    assert_eq!(anchor.count(), 5);
    let what = "As clean, bound to an anchor.";
    sidecar(disk.to_bytes(), what, &format!("raw {}", hex(SECRET)), "ok", "ok", "clean")
}

fn sidecar(
    file: Vec<u8>,
    what: &str,
    key: &str,
    expect: &str,
    read_only: &str,
    recovery: &str,
) -> (Vec<u8>, String) {
    let mut text = format!("# {what}\nformat: 1\nkey: {key}\nexpect: {expect}\n");
    text += &format!("expect read-only: {read_only}\n");
    if expect == "ok" {
        text += &format!("recovery: {recovery}\n");
        text += "rows: 1=one, 2=two; changed, 3=three, 4=four, 5=five\n";
    }
    (file, text)
}
