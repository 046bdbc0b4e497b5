//! Rows 17 to 20 and 23: parts of another database's header, another file in the place of this one,
//! costs and wrapped keys exchanged, names that lead elsewhere.

use std::fs;

use strongroom::medium::MemoryMedium;
use strongroom::testkit::{Attack, Edit, Part, Span};
use strongroom::{Builder, CopyId, Credential, Database, KdfCost, OpenError, Passphrase, RawKey};

use crate::judge::{Outcome, verdict, verdict_of_file};
use crate::rows::mend_crc;
use crate::victim::{Victim, builder, content, key, small};

fn header(copy: CopyId) -> Span {
    Part::Header(copy).file_pages().into()
}

/// Where things stand in a header copy: the first key slot, the wrapped data keys.
const SLOT: std::ops::Range<usize> = 2048..2560;
const WRAPPED: std::ops::Range<usize> = 26_624..26_752;

fn made(provider: &dyn Credential) -> Vec<u8> {
    let medium = MemoryMedium::new();
    Builder::new().create_on(medium.clone(), provider).unwrap().close().unwrap();
    medium.to_bytes()
}

#[test]
fn row_17_the_header_of_another_database() {
    for victim in &small(false) {
        let copy_in = |copy| Edit::CopyIn { pages: header(copy), to: header(copy).first };
        let both: Attack = CopyId::BOTH.map(copy_in).into_iter().collect();
        // Of the same credential: it unlocks, and nothing behind it opens.
        assert_eq!(verdict(victim, &both, true).outcome, Outcome::ErrorAtOpen);
        for copy in CopyId::BOTH {
            let outcome = verdict(victim, &copy_in(copy).into(), true).outcome;
            assert!(outcome <= Outcome::Current, "{copy}: {outcome:?}");
        }
        // Of another credential.
        let mut file = victim.attacker.current().to_vec();
        file[..65_536].copy_from_slice(&made(&RawKey::new([1; 32]))[..65_536]);
        let medium = MemoryMedium::from_bytes(file.clone());
        let error = builder().open_on(medium.clone(), &key()).unwrap_err();
        assert!(matches!(error, OpenError::WrongKey), "{error}");
        assert!(medium.to_bytes() == file);
    }
}

#[test]
fn row_18_a_raised_or_lowered_kdf_cost() {
    let cost = KdfCost { memory_kib: 19 * 1024 + 64, passes: 3, lanes: 1 };
    let file = made(&Passphrase::new("correct horse").cost(cost));
    let open = |[memory, passes, lanes]: [u32; 3]| {
        let mut file = file.clone();
        for start in [0, 32_768] {
            let copy = &mut file[start..start + 32_768];
            for (field, value) in copy[2056..2068].chunks_mut(4).zip([memory, passes, lanes]) {
                field.copy_from_slice(&value.to_le_bytes());
            }
            mend_crc(copy);
        }
        let medium = MemoryMedium::from_bytes(file.clone());
        let opened = Builder::new().open_on(medium.clone(), &Passphrase::new("correct horse"));
        assert!(opened.is_ok() || medium.to_bytes() == file);
        opened.map(drop)
    };
    open([19 * 1024 + 64, 3, 1]).unwrap();
    assert!(matches!(open([19 * 1024, 2, 1]), Err(OpenError::WrongKey)), "lowered to the floor");
    assert!(open([8, 1, 1]).is_err(), "lowered below it");
    assert!(matches!(open([u32::MAX, 3, 1]), Err(OpenError::KdfTooExpensive { .. })));
    assert!(matches!(open([19 * 1024 + 64, u32::MAX, 1]), Err(OpenError::KdfTooExpensive { .. })));
}

/// The file with bytes of both header copies taken from another one, the checksums put right.
fn spliced(victim: &Victim, other: &[u8], range: std::ops::Range<usize>) -> Vec<u8> {
    let mut file = victim.attacker.current().to_vec();
    for start in [0, 32_768] {
        let range = start + range.start..start + range.end;
        file[range.clone()].copy_from_slice(&other[range]);
        mend_crc(&mut file[start..start + 32_768]);
    }
    file
}

#[test]
fn row_19_wrapped_keys_of_another_database() {
    for victim in &small(false) {
        let other = made(&key());
        for range in [SLOT, WRAPPED, SLOT.start..WRAPPED.end] {
            let file = spliced(victim, &other, range.clone());
            assert!(file != victim.attacker.current(), "{range:?} holds keys");
            let outcome = verdict_of_file(victim, &file, false).outcome;
            assert_eq!(outcome, Outcome::ErrorAtOpen, "{range:?}");
        }
    }
}

#[test]
fn row_20_another_file_in_its_place() {
    let refused = |file: Vec<u8>| {
        let medium = MemoryMedium::from_bytes(file.clone());
        let error = builder().open_on(medium.clone(), &key()).unwrap_err();
        let read_only = builder().open_read_only_on(medium.clone(), &key()).unwrap_err();
        assert!(medium.to_bytes() == file);
        let kind = std::mem::discriminant::<OpenError>;
        assert_eq!(kind(&error), kind(&read_only), "{error}; {read_only}");
        error
    };
    assert!(matches!(refused(crate::others::plain_file(1)), OpenError::PlainRedb));
    assert!(matches!(refused(Vec::new()), OpenError::Empty));
    assert!(matches!(refused(vec![b'#'; 50_000]), OpenError::NotStrongroom));
    assert!(matches!(refused(made(&RawKey::new([2; 32]))), OpenError::WrongKey));
    // Of the same credential it is a database, but not this one: its file id tells.
    let db = builder().open_on(MemoryMedium::from_bytes(made(&key())), &key()).unwrap();
    assert!(content(&*db).is_err(), "no table of ours");
}

#[test]
fn row_23_other_names_of_an_open_file_lead_to_its_lock() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let db = Database::create(at("one.room"), key()).unwrap();
    fs::hard_link(at("one.room"), at("hard.room")).unwrap();
    std::os::unix::fs::symlink(at("one.room"), at("soft.room")).unwrap();
    for name in ["one.room", "hard.room", "soft.room"] {
        let error = Database::open(at(name), key()).unwrap_err();
        assert!(matches!(error, OpenError::AlreadyOpen), "{name}: {error}");
    }
    // Another file moved into its name while it is open is not written to.
    fs::write(at("decoy"), b"a decoy").unwrap();
    fs::rename(at("decoy"), at("one.room")).unwrap();
    let txn = db.begin_write().unwrap();
    txn.open_table(crate::victim::NOTES).unwrap().insert(1, &b"kept"[..]).unwrap();
    txn.commit().unwrap();
    db.close().unwrap();
    assert_eq!(fs::read(at("one.room")).unwrap(), b"a decoy");
    let db = Database::open(at("hard.room"), key()).unwrap();
    assert_eq!(content(&*db).unwrap()[&1], b"kept");
    // Nor does creating follow a link.
    std::os::unix::fs::symlink(at("nowhere.room"), at("trap.room")).unwrap();
    let error = Database::create(at("trap.room"), key()).unwrap_err();
    assert!(matches!(error, OpenError::AlreadyExists(_)), "{error}");
    assert!(!at("nowhere.room").exists());
}
