//! Shows that no key of the hierarchy (root, admin, data and slot wrap keys, and everything derived
//! from them) stands in the file after any operation on slots and keys, nor in the memory of the
//! process after close. The testkit notes each key under a mask as it comes into key memory, and
//! the masked bytes are what is searched for: in the file, and through `/proc/self/mem`. While the
//! database is open the same search finds those that are in use.
//!
//! One test in a binary of its own: nothing else in the process may hold a key.
#![cfg(all(feature = "testkit", target_os = "linux"))]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a helper that fails is a test that fails"
)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;

use strongroom::testkit::{watch_keys, watched_keys};
use strongroom::{Builder, Credential, RawKey, SlotId, SlotSpec, TurnBack};

const MASK: u8 = 0xA7;

struct Needles {
    masked: Vec<[u8; 32]>,
    /// By first byte, unmasked: the candidates.
    by_first: Vec<Vec<usize>>,
}

impl Needles {
    fn new() -> Self {
        let masked = watched_keys();
        let mut by_first = vec![Vec::new(); 256];
        for (number, key) in masked.iter().enumerate() {
            by_first[usize::from(key[0] ^ MASK)].push(number);
        }
        Self { masked, by_first }
    }

    /// Which of them stand in these bytes.
    fn add_hits(&self, bytes: &[u8], hits: &mut BTreeSet<usize>) {
        for at in 0..bytes.len().saturating_sub(31) {
            for number in &self.by_first[usize::from(bytes[at])] {
                let key = &self.masked[*number];
                if bytes[at..at + 32].iter().zip(key).all(|(byte, masked)| byte ^ MASK == *masked) {
                    hits.insert(*number);
                }
            }
        }
    }

    fn in_file(&self, path: &Path) -> usize {
        let mut hits = BTreeSet::new();
        self.add_hits(&fs::read(path).unwrap(), &mut hits);
        hits.len()
    }

    /// How many of them stand in this process's memory.
    fn in_memory(&self) -> usize {
        let memory = File::open("/proc/self/mem").unwrap();
        let mut buffer = vec![0; 1 << 20];
        let own = buffer.as_ptr() as u64;
        let own = own..own + buffer.len() as u64;
        let mut hits = BTreeSet::new();
        for line in fs::read_to_string("/proc/self/maps").unwrap().lines() {
            let mut fields = line.split_whitespace();
            let (range, access) = (fields.next().unwrap(), fields.next().unwrap());
            if !access.starts_with('r') || line.contains("[v") {
                continue;
            }
            let (start, end) = range.split_once('-').unwrap();
            let mut at = u64::from_str_radix(start, 16).unwrap();
            let end = u64::from_str_radix(end, 16).unwrap();
            while at < end {
                if own.contains(&at) {
                    at = own.end;
                    continue;
                }
                let stop = if at < own.start { end.min(own.start) } else { end };
                let len = (stop - at).min(buffer.len() as u64) as usize;
                let read = memory.read_at(&mut buffer[..len], at).unwrap_or(0);
                self.add_hits(&buffer[..read], &mut hits);
                black_box(&mut buffer).fill(0);
                // Chunks overlap by what a needle could straddle.
                at += if len == buffer.len() { len as u64 - 31 } else { len as u64 };
            }
        }
        hits.len()
    }
}

/// Uses the stack that earlier calls left behind, as a program that goes on does.
#[inline(never)]
fn use_the_stack_again() {
    let mut frame = [0_u8; 256 * 1024];
    black_box(&mut frame);
}

fn raw(byte: u8) -> RawKey {
    RawKey::new(std::array::from_fn(|at| byte.wrapping_mul(31).wrapping_add(at as u8 * 7)))
}

/// Everything that changes the header; after each, no key is in the file.
fn work(path: &Path) -> usize {
    let searched = |what: &str| {
        let needles = Needles::new();
        assert!(!needles.masked.is_empty());
        assert_eq!(needles.in_file(path), 0, "a key in the file after {what}");
    };
    let db = Builder::new().create(path, &raw(1)).unwrap();
    searched("create");
    let mut admin = db.admin(&raw(1)).unwrap();
    for number in 2..=4 {
        admin.add(&SlotSpec::data(format!("{number}")), &raw(number)).unwrap();
    }
    admin.add(&SlotSpec::admin("second"), &raw(5)).unwrap();
    searched("add");
    admin.replace(SlotId(2), &raw(6)).unwrap();
    admin.relabel(SlotId(3), "three").unwrap();
    admin.remove(SlotId(4)).unwrap();
    searched("replace, relabel, remove");
    admin.rewrap_root_key().unwrap();
    searched("a new root key");
    let _ = admin.revoke_data(SlotId(3)).unwrap();
    searched("revoke, data");
    let keep: [(SlotId, &dyn Credential); 2] = [(SlotId(1), &raw(1)), (SlotId(6), &raw(6))];
    let _ = admin.revoke_admin(SlotId(5), &keep).unwrap();
    searched("revoke, admin");
    drop(admin);
    let in_use = Needles::new().in_memory();
    let backup = db.header_backup().unwrap();
    db.close().unwrap();
    searched("close");
    let restored = Builder::new().restore_header(path, &backup, &raw(6), TurnBack::Refuse);
    drop(restored.unwrap());
    searched("restore");
    let db = Builder::new().open(path, &raw(6)).unwrap();
    db.close().unwrap();
    in_use
}

#[test]
fn no_key_is_in_the_file_at_any_time_nor_in_memory_after_close() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.room");
    watch_keys();
    let in_use = work(&path);
    use_the_stack_again();
    let needles = Needles::new();
    let left = needles.in_memory();
    println!("figure: keys that were in key memory = {}", needles.masked.len());
    println!("figure: of these, found in memory while open = {in_use}");
    println!("figure: of these, found in memory after close = {left}");
    println!("figure: of these, found in the file after any operation = 0");
    // The root key with two subkeys and the data key's six: older root and admin keys and all slot
    // keys are gone while the database is open. A file has one data key here; each one that a
    // rotation has not removed yet is six more.
    assert!((9..=12).contains(&in_use), "the search bites, and finds what is in use only");
    assert_eq!(left, 0);
}
