//! Shows that no flipped bit of a header copy is accepted, with its CRC as it was and with the CRC
//! put right, by which an attacker gets past the test for torn copies. For each flip the other copy
//! is blank, so that a file which opens has believed the flipped one. A sample of flips is done
//! again with the other copy whole: the file then opens as it was, or doesn't open.
//!
//! `HEADER_FLIPS=all` flips every bit of both copies; without it every 61st.
#![cfg(feature = "testkit")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

use std::collections::BTreeMap;

use strongroom::medium::MemoryMedium;
use strongroom::{Builder, KeyStatus, OpenError, RawKey, SlotSpec};

const COPY: usize = 32_768;
const CRC_AT: usize = COPY - 4;
const THREADS: usize = 2;

fn admin() -> RawKey {
    RawKey::new([0x42; 32])
}

/// Opens the data slot: whoever has no admin key can't check the admin MAC, and must see by the
/// data MAC alone.
fn key() -> RawKey {
    RawKey::new([0x43; 32])
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.cache_size(16 << 10).tag_cache_size(0).clock_at(1_800_000_000);
    builder
}

/// A closed database with an admin credential in slot 1 and a data credential of its kind in 2.
fn image() -> Vec<u8> {
    let medium = MemoryMedium::new();
    let db = builder().create_on(medium.clone(), &admin()).unwrap();
    db.admin(&admin()).unwrap().add(&SlotSpec::data("second"), &key()).unwrap();
    db.close().unwrap();
    medium.to_bytes()
}

fn status(bytes: Vec<u8>) -> Result<KeyStatus, OpenError> {
    let db = builder().open_read_only_on(MemoryMedium::from_bytes(bytes), &key())?;
    Ok(db.key_status())
}

fn mend_crc(copy: &mut [u8]) {
    let crc = crc32fast::hash(&copy[..CRC_AT]).to_le_bytes();
    copy[CRC_AT..].copy_from_slice(&crc);
}

/// Where a flip changes what the slot's secret, wrap key or commitment is derived from or compared
/// with, so that the right credential looks like a wrong one: file id, what is bound of slot 2, and
/// its commitment.
fn looks_like_another_key(at: usize) -> bool {
    let in_slot = at.wrapping_sub(4096);
    matches!(at, 40..56) || matches!(in_slot, 0..88 | 256..258 | 320..2048)
}

fn name(error: &OpenError) -> &'static str {
    match error {
        OpenError::WrongKey => "wrong key",
        OpenError::Damaged(_) => "damaged",
        OpenError::HeaderLost => "header lost",
        OpenError::UnsupportedVersion { .. } | OpenError::UnsupportedFeatures { .. } => "newer",
        OpenError::NotStrongroom => "not strongroom",
        _ => "other",
    }
}

type Counts = BTreeMap<(&'static str, &'static str), u64>;

struct Flips {
    whole: Vec<u8>,
    /// For each copy, the file with the other one blank.
    alone: [Vec<u8>; 2],
    usual: KeyStatus,
}

impl Flips {
    fn new() -> Self {
        let whole = image();
        let alone = [0, 1].map(|copy: usize| {
            let mut bytes = whole.clone();
            bytes[(1 - copy) * COPY..][..COPY].fill(0);
            bytes
        });
        let usual = status(whole.clone()).unwrap();
        for bytes in &alone {
            assert_eq!(status(bytes.clone()).unwrap(), usual, "one copy is enough");
        }
        Self { whole, alone, usual }
    }

    fn flip(&self, bit: usize, counts: &mut Counts) {
        let (copy, at, xor) = (bit / 8 / COPY, bit / 8 % COPY, 1 << (bit % 8));
        for mend in [false, true] {
            if mend && at >= CRC_AT {
                continue; // the flip would be undone
            }
            let changed = |mut bytes: Vec<u8>| {
                let copy = &mut bytes[copy * COPY..][..COPY];
                copy[at] ^= xor;
                if mend {
                    mend_crc(copy);
                }
                bytes
            };
            let crc = if mend { "CRC put right" } else { "CRC as it was" };
            let outcome = match status(changed(self.alone[copy].clone())) {
                Ok(_) => "accepted",
                Err(error) => name(&error),
            };
            *counts.entry((crc, outcome)).or_default() += 1;
            if outcome == "wrong key" && !(mend && looks_like_another_key(at)) {
                *counts.entry((crc, "wrong key where it should be damage")).or_default() += 1;
                println!("bit {bit}, byte {at} of a copy, {crc}");
            }
            if bit.is_multiple_of(3)
                && let Ok(found) = status(changed(self.whole.clone()))
                && found != self.usual
            {
                *counts.entry((crc, "accepted beside a whole copy")).or_default() += 1;
            }
        }
    }
}

#[test]
fn no_flipped_bit_of_a_header_is_accepted() {
    let all = std::env::var("HEADER_FLIPS").is_ok_and(|flips| flips == "all");
    let step = if all { 1 } else { 61 };
    let flips = Flips::new();
    let worker = |first: usize| {
        let mut counts = Counts::new();
        let bits = (0..2 * COPY * 8).step_by(step).skip(first).step_by(THREADS);
        bits.for_each(|bit| flips.flip(bit, &mut counts));
        counts
    };
    let mut counts = Counts::new();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || worker(n))).collect();
        for (key, count) in workers.into_iter().flat_map(|worker| worker.join().unwrap()) {
            *counts.entry(key).or_default() += count;
        }
    });
    for ((crc, outcome), count) in &counts {
        println!("figure: header bit flips, {crc}, {outcome} = {count}");
    }
    let sum = |wanted| -> u64 {
        counts.iter().filter(|((_, outcome), _)| *outcome == wanted).map(|(_, count)| count).sum()
    };
    let accepted = sum("accepted") + sum("accepted beside a whole copy");
    println!("figure: header bit flips, all = {}", counts.values().sum::<u64>());
    println!("figure: header bit flips, accepted = {accepted}");
    assert_eq!(accepted, 0);
    assert_eq!(sum("wrong key where it should be damage"), 0);
    assert_eq!(sum("other"), 0);
    assert!(sum("damaged") > 100 && sum("wrong key") > 10, "both answers were given");
    // Of the untouched file a wrong key is a wrong key.
    let medium = MemoryMedium::from_bytes(flips.whole);
    let wrong = builder().open_read_only_on(medium, &RawKey::new([0x44; 32])).map(drop);
    assert!(matches!(wrong, Err(OpenError::WrongKey)), "{wrong:?}");
}
