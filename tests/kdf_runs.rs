//! Shows what a hint saves: how many times Argon2id runs when a passphrase is tried on a file of
//! twelve passphrase slots. Counted, not timed. One test in a binary of its own, since the count is
//! the process's; here too is the file that asks for 64 GiB, which must not get as far as a run.
#![cfg(feature = "testkit")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper that fails is a test")]

use strongroom::medium::MemoryMedium;
use strongroom::testkit::kdf_runs;
use strongroom::{
    Builder, KdfCost, KeyError, OpenError, Passphrase, RawKey, Role, SlotHint, SlotId, SlotRefused,
    SlotSpec,
};

const CHEAP: KdfCost = KdfCost { memory_kib: 19 * 1024, passes: 2, lanes: 1 };
const NOW: u64 = 1_800_000_000;

fn phrase(words: &str) -> Passphrase {
    Passphrase::new(words).cost(CHEAP)
}

fn runs<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let before = kdf_runs();
    let result = work();
    (kdf_runs() - before, result)
}

/// Peak memory of this process in KiB.
#[cfg(target_os = "linux")]
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmPeak:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_hint_saves_key_derivations() {
    let medium = MemoryMedium::new();
    let db = Builder::new().create_on(medium.clone(), &phrase("first")).unwrap();
    let mut admin = db.admin(&phrase("first")).unwrap();
    for number in 2..=12 {
        let spec = SlotSpec::data(format!("person {number}"));
        admin.add(&spec, &phrase(&format!("words of {number}"))).unwrap();
    }
    drop(admin);
    db.close().unwrap();
    let open = |hint: SlotHint, words: &str| {
        let medium = MemoryMedium::from_bytes(medium.to_bytes());
        let mut builder = Builder::new();
        runs(|| builder.hint(hint).open_on(medium, &phrase(words)).map(drop))
    };
    for (name, hint, words, expected, right) in [
        ("wrong, no hint", SlotHint::default(), "wrong", 12, false),
        ("wrong, label", SlotHint::label("person 7").unwrap(), "wrong", 1, false),
        ("wrong, slot number", SlotHint::slot(SlotId(12)), "wrong", 1, false),
        ("wrong, role admin", SlotHint::default().role(Role::Admin), "wrong", 1, false),
        ("right, label of the last", SlotHint::label("person 12").unwrap(), "words of 12", 1, true),
        ("right, no hint, last slot", SlotHint::default(), "words of 12", 12, true),
    ] {
        let (count, result) = open(hint, words);
        println!("figure: Argon2id runs of an open, {name} = {count}");
        assert_eq!(count, expected, "{name}");
        assert_eq!(result.is_ok(), right, "{name}: {result:?}");
        assert!(right || matches!(result, Err(OpenError::WrongKey)), "{name}: {result:?}");
    }
    let (count, result) = open(SlotHint::label("nobody").unwrap(), "wrong");
    assert_eq!(count, 0);
    assert!(matches!(result, Err(OpenError::Slot(SlotRefused::NoSuchSlot))), "{result:?}");
    // A credential of another kind costs none at all; an admin session tries admin slots only.
    let copy = MemoryMedium::from_bytes(medium.to_bytes());
    let (count, wrong) = runs(|| Builder::new().open_on(copy, &RawKey::new([1; 32])).map(drop));
    assert!(count == 0 && matches!(wrong, Err(OpenError::WrongKey)));
    let db = Builder::new()
        .hint(SlotHint::slot(SlotId(2)))
        .clock_at(NOW)
        .open_on(medium.clone(), &phrase("words of 2"))
        .unwrap();
    let (count, refused) = runs(|| db.admin(&phrase("words of 2")).map(drop));
    assert!(count == 1 && matches!(refused, Err(KeyError::NotAdmin)));
    let last = SlotHint::label("person 12").unwrap();
    let (count, found) = runs(|| db.test_credential(&phrase("words of 12"), last));
    assert_eq!((count, found.unwrap().id), (1, SlotId(12)), "not the hint that the open was given");
    drop(db);
    a_file_that_asks_for_64_gib_is_refused_before_a_run(&medium);
}

fn a_file_that_asks_for_64_gib_is_refused_before_a_run(medium: &MemoryMedium) {
    let mut bytes = medium.to_bytes();
    for copy in [0, 32_768] {
        for slot in 0..12 {
            let at = copy + 2048 + slot * 2048 + 8;
            bytes[at..at + 4].copy_from_slice(&(64_u32 << 20).to_le_bytes());
        }
        let crc = crc32fast::hash(&bytes[copy..copy + 32_764]).to_le_bytes();
        bytes[copy + 32_764..copy + 32_768].copy_from_slice(&crc);
    }
    #[cfg(target_os = "linux")]
    let before = peak_kib();
    let bomb = MemoryMedium::from_bytes(bytes);
    let (count, refused) = runs(|| Builder::new().open_on(bomb, &phrase("first")).map(drop));
    assert_eq!(count, 0);
    let Err(OpenError::KdfTooExpensive { memory_kib, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(memory_kib, 64 << 20);
    #[cfg(target_os = "linux")]
    {
        let grown = peak_kib() - before;
        println!("figure: address space that a 64 GiB bomb took, KiB = {grown}");
        assert!(grown < 1 << 20);
    }
}
