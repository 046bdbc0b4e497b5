//! Shows that `prove` finds no plaintext in strongroom files of every state and finds all of it in
//! others: plain redb files, a page, a sector, a pattern across a border; that it accounts for each
//! page of a file; and that `inspect` says what a file claims, without a key, and nothing secret.
//!
//! `PROVE=10 cargo test --release --features testkit --test prove_inspect -- --nocapture` runs ten
//! times as many random cases.
#![cfg(feature = "testkit")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "test code: a panic is a failed test, and sizes are small"
)]

use std::fs;

use strongroom::medium::MemoryMedium;
use strongroom::redb::{self, TableDefinition};
use strongroom::testkit::{RecordingMedium, SeededRandom};
use strongroom::{
    Builder, CopyId, CopyLook, Credential, Database, Epoch, FileOffset, KdfCost, OpenError,
    PageKind, Passphrase, Proof, ProveOptions, RawKey, Role, RootLook, SlotKind, SlotSpec,
    Suspicion, inspect, inspect_medium, prove, prove_medium,
};

const TABLE: TableDefinition<u32, &[u8]> = TableDefinition::new("table");
const PAGE: usize = 4096;
const WORD: &[u8] = b"a word that was stored many times";

/// So many random cases, times `PROVE`.
fn many(usual: u64) -> u64 {
    usual * std::env::var("PROVE").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

fn key() -> RawKey {
    RawKey::new([0x21; 32])
}

fn put(db: &redb::Database, rows: std::ops::Range<u32>) {
    let txn = db.begin_write().unwrap();
    for row in rows {
        let value = WORD.repeat(1 + row as usize % 100);
        txn.open_table(TABLE).unwrap().insert(row, &*value).unwrap();
    }
    txn.commit().unwrap();
}

/// The file at each sync: grown, rewritten, some of it removed, closed.
fn states() -> Vec<Vec<u8>> {
    let disk = RecordingMedium::new(MemoryMedium::new());
    let mut builder = Builder::new();
    builder.cache_size(256 * 1024).rotation_batch(126);
    let db = builder.create_on(disk.clone(), &key()).unwrap();
    put(&db, 0..400);
    put(&db, 100..200);
    let mut steps = db.rotate_by_steps().unwrap();
    for _ in 0..3 {
        steps.step().unwrap();
        put(&db, 0..3);
    }
    drop(steps);
    db.close().unwrap();
    let history = disk.history();
    (0..history.len()).map(|state| history.image(state)).collect()
}

fn proven(file: &[u8], key: Option<&dyn Credential>) -> Result<Proof, OpenError> {
    let options = ProveOptions::new().threads(2).pattern(WORD).pattern(&WORD[7..20]);
    prove_medium(MemoryMedium::from_bytes(file.to_vec()), key, &options)
}

fn accounted(proof: &Proof) {
    let mut pages = 0;
    for (kind, count) in &proof.kinds {
        let sum = count.zeros + count.authenticated + count.random + count.suspicious;
        assert_eq!(sum, count.pages, "{kind}: {proof}");
        pages += count.pages;
    }
    assert_eq!(pages, proof.file_bytes.div_ceil(PAGE as u64), "{proof}");
}

#[test]
fn no_state_of_a_file_holds_plaintext() {
    let (mut files, mut measured, mut lowest, mut journals) = (0, 0, 8.0_f64, 0);
    for file in states().iter().skip(3) {
        let proof = proven(file, None).unwrap();
        assert!(proof.holds(), "{proof}");
        accounted(&proof);
        let with_key = proven(file, Some(&key())).unwrap();
        assert!(with_key.holds(), "{with_key}");
        accounted(&with_key);
        let roots = with_key.of(PageKind::Root);
        assert!(roots.authenticated >= 1 && roots.authenticated + roots.zeros >= 1);
        journals += with_key.of(PageKind::Journal).authenticated;
        measured += proof.measured;
        files += 1;
        lowest = lowest.min(proof.lowest_bits.unwrap());
        assert!(proof.false_alarm_log2 < -90.0, "{proof}");
    }
    println!("figure: prove, files = {files}");
    println!("figure: prove, pages measured = {measured}");
    println!("figure: prove, lowest entropy of a page, bits a byte = {lowest:.3}");
    println!("figure: prove, pages of rotation journals that authenticate = {journals}");
    assert!(files > 10 && journals > 0);
}

#[test]
fn with_the_key_each_page_of_a_closed_file_authenticates_or_is_not_in_use() {
    let file = states().pop().unwrap();
    let proof = proven(&file, Some(&key())).unwrap();
    println!("{proof}");
    assert!(proof.holds() && proof.to_string().ends_with("looks like plaintext"));
    let whole = |kind: PageKind, pages| {
        let count = proof.of(kind);
        assert_eq!((count.pages, count.authenticated), (pages, pages), "{kind}: {proof}");
    };
    let headers = proof.of(PageKind::Header);
    assert_eq!((headers.pages, headers.authenticated + headers.zeros), (16, 16), "{proof}");
    whole(PageKind::Root, 2);
    whole(PageKind::CleanIndex, 1);
    let tag_pages = proof.of(PageKind::TagPage);
    assert_eq!(tag_pages.authenticated, tag_pages.pages);
    assert_eq!(proof.of(PageKind::Reserved).zeros, 2);
    let report = strongroom::verify_medium(
        MemoryMedium::from_bytes(file),
        &key(),
        &strongroom::VerifyOptions::new(),
    );
    let sealed = report.unwrap().pages.sealed;
    assert_eq!(proof.of(PageKind::Data).authenticated, sealed);
}

#[test]
fn plaintext_is_found_wherever_it_is_put() {
    let file = states().pop().unwrap();
    let mut random = SeededRandom::new(11);
    let pages = file.len() / PAGE;
    let text = b"The quick brown fox jumps over the lazy dog. Pack my box with five dozen jugs. ";
    let (mut sectors, mut patterns, mut magics) = (0, 0, 0);
    for _ in 0..many(40) {
        let page = random.between(16, pages as u64 - 1) as usize;
        if [18, 19].contains(&page) {
            continue;
        }
        // A sector of text, where something stands already.
        let mut altered = file.clone();
        let sector = page * PAGE + 512 * random.below(8) as usize;
        altered[sector..sector + 512].copy_from_slice(&text.repeat(7)[..512]);
        let proof = proven(&altered, None).unwrap();
        let at = FileOffset((page * PAGE) as u64);
        let [suspect] = &proof.suspects[..] else { panic!("{proof}") };
        assert!(matches!(suspect.what, Suspicion::Entropy(_)) && suspect.offset == at, "{proof}");
        sectors += 1;
        // A word, anywhere, across borders of pages and groups too.
        let at = match random.below(3) {
            0 => page * PAGE - random.below(13) as usize,
            1 => 81_920 + 524_288 - random.below(13) as usize,
            _ => random.between(70_000, file.len() as u64 - 100) as usize,
        };
        let mut altered = file.clone();
        altered[at..at + 13].copy_from_slice(&WORD[7..20]);
        let proof = proven(&altered, None).unwrap();
        let hit = proof.suspects.iter().find(|found| found.what == Suspicion::Pattern(1)).unwrap();
        assert_eq!(hit.offset, FileOffset(at as u64));
        patterns += 1;
        let mut altered = file.clone();
        altered[at..at + 9].copy_from_slice(b"redb\x1A\x0A\xA9\x0D\x0A");
        let proof = proven(&altered, Some(&key()));
        // With a key, an altered root record or tag page does not stop the scan.
        let proof = proof.unwrap();
        let hit = proof.suspects.iter().find(|found| found.what == Suspicion::RedbMagic).unwrap();
        assert_eq!(hit.offset, FileOffset(at as u64));
        magics += 1;
    }
    println!("figure: prove, sectors of text found = {sectors}");
    println!("figure: prove, patterns found = {patterns}");
    println!("figure: prove, magics found = {magics}");
}

#[test]
fn a_plain_redb_file_is_plaintext_from_end_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plain.redb");
    let db = redb::Database::create(&path).unwrap();
    put(&db, 0..400);
    drop(db);
    let options = ProveOptions::new().pattern(WORD).suspects_max(50);
    let proof = prove(&path, None, &options).unwrap();
    assert!(!proof.holds() && proof.suspects.len() == 50 && proof.suspects_total > 500, "{proof}");
    let kinds = [Suspicion::RedbMagic, Suspicion::Pattern(0)];
    assert!(kinds.iter().all(|kind| proof.suspects.iter().any(|found| found.what == *kind)));
    let suspicious: u64 = proof.kinds.iter().map(|(_, count)| count.suspicious).sum();
    let zeros: u64 = proof.kinds.iter().map(|(_, count)| count.zeros).sum();
    let pages = proof.file_bytes / PAGE as u64;
    println!("figure: prove, pages of a plain file = {pages}");
    println!("figure: prove, of them suspicious = {suspicious}");
    println!("figure: prove, of them zeros = {zeros}");
    assert_eq!(suspicious + zeros, pages, "{proof}");
    assert!(proof.to_string().ends_with("PLACES MAY BE PLAINTEXT"));
}

#[test]
fn what_can_not_be_proved_is_an_error() {
    let file = states().pop().unwrap();
    let medium = || MemoryMedium::from_bytes(file.clone());
    let short = prove_medium(medium(), None, &ProveOptions::new().pattern(*b"abc"));
    assert!(short.unwrap_err().to_string().contains("random bytes hold it too"));
    let wrong = prove_medium(medium(), Some(&RawKey::new([0; 32])), &ProveOptions::new());
    assert!(matches!(wrong, Err(OpenError::WrongKey)));
    let open = medium();
    let db = Builder::new().open_on(open.clone(), &key()).unwrap();
    let in_use = prove_medium(open.clone(), None, &ProveOptions::new());
    assert!(matches!(in_use, Err(OpenError::AlreadyOpen)));
    db.close().unwrap();
    let empty = prove_medium(MemoryMedium::new(), None, &ProveOptions::new());
    assert!(matches!(empty, Err(OpenError::Empty)));
}

#[test]
fn a_file_says_what_it_claims_to_somebody_without_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("claims.room");
    let cost = KdfCost { memory_kib: 19 * 1024, passes: 2, lanes: 1 };
    let db = Database::create(&path, key()).unwrap();
    let mut admin = db.admin(&key()).unwrap();
    let words = Passphrase::new("correct horse").cost(cost);
    admin.add(&SlotSpec::data("a laptop").not_after(4_000_000_000), &words).unwrap();
    drop(admin);
    put(&db, 0..10);
    db.rotate().unwrap().wait().unwrap();
    let while_open = inspect(&path).unwrap();
    assert!(while_open.in_use, "{while_open}");
    db.close().unwrap();
    let before = fs::read(&path).unwrap();

    let found = inspect(&path).unwrap();
    println!("{found}");
    assert!(!found.in_use && found.file_bytes == before.len() as u64);
    assert_eq!(found.groups_by_length, (before.len() as u64 - 81_920).div_ceil(524_288));
    let claims = found.header().unwrap();
    assert_eq!((claims.version, claims.slots.len()), (1, 2));
    let slot = &claims.slots[1];
    assert_eq!((slot.kind, slot.role, slot.kdf), (SlotKind::Passphrase, Role::Data, Some(cost)));
    assert_eq!((&*slot.label, slot.not_after), ("a laptop", Some(4_000_000_000)));
    assert_eq!((claims.epochs.len(), claims.epochs[0].epoch), (1, Epoch(2)));
    assert_eq!(claims.rotations.len(), 1);
    assert_eq!(found.roots, [RootLook::Sealed(Epoch(2)); 2]);
    assert!(matches!(&found.copies[1], CopyLook::Whole(other) if **other == *claims));
    let text = found.to_string();
    for phrase in [
        "Nothing below is authenticated",
        "passphrase, data, label \"a laptop\", Argon2id 19456 KiB, 2 passes, 1 lanes",
        "raw key, admin",
        "1 rotations on record",
    ] {
        assert!(text.contains(phrase), "{phrase} in {text}");
    }
    // An older copy beside it, as a header commit that was cut off leaves it.
    let mut cut_off = before.clone();
    cut_off[24] -= 1;
    let crc = crc32fast::hash(&cut_off[..32_764]).to_le_bytes();
    cut_off[32_764..32_768].copy_from_slice(&crc);
    let newer = inspect_medium(MemoryMedium::from_bytes(cut_off)).unwrap();
    assert!(matches!(&newer.copies[0], CopyLook::Whole(older) if *older.as_ref() != *claims));
    assert_eq!(newer.header(), Some(claims), "the newer one is what an open would try");
    // Nothing is authenticated: an altered label with a mended checksum is shown, and can't reach
    // the terminal.
    let mut forged = before.clone();
    let label = 2048 + 2048 + 208;
    assert_eq!(&forged[label..label + 8], b"a laptop");
    forged[label..label + 8].copy_from_slice(b"b LAPTOP");
    let crc = crc32fast::hash(&forged[..32_764]).to_le_bytes();
    forged[32_764..32_768].copy_from_slice(&crc);
    let shown = inspect_medium(MemoryMedium::from_bytes(forged)).unwrap();
    assert_eq!(shown.header().unwrap().slots[1].label, "b LAPTOP");
    assert!(fs::read(&path).unwrap() == before, "inspect wrote");
}

#[test]
fn each_state_of_a_header_copy_is_told() {
    let file = states().pop().unwrap();
    let look = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut altered = file.clone();
        change(&mut altered);
        inspect_medium(MemoryMedium::from_bytes(altered)).unwrap()
    };
    let mend = |file: &mut Vec<u8>| {
        let crc = crc32fast::hash(&file[..32_764]).to_le_bytes();
        file[32_764..32_768].copy_from_slice(&crc);
    };
    assert_eq!(look(&|file| file[100] ^= 1).copies[0], CopyLook::Torn);
    assert_eq!(look(&|file| file[..32_768].fill(0)).copies[0], CopyLook::Blank);
    assert_eq!(look(&|file| file[..32_768].fill(7)).copies[0], CopyLook::Foreign);
    let version = look(&|file| {
        file[16] = 9;
        mend(file);
    });
    assert_eq!(version.copies[0], CopyLook::OtherVersion(9));
    let features = look(&|file| {
        file[64] = 4;
        mend(file);
    });
    assert_eq!(features.copies[0], CopyLook::UnknownFeatures(4));
    let malformed = look(&|file| {
        file[57] = 3;
        mend(file);
    });
    assert!(matches!(malformed.copies[0], CopyLook::Malformed(_)));
    assert!(malformed.header().is_some(), "copy B is whole");
    let cut = look(&|file| file.truncate(68_000));
    assert_eq!(cut.roots, [RootLook::Missing; 2]);
    let both = look(&|file| {
        file[100] ^= 1;
        file[32_768 + 100] ^= 1;
    });
    assert!(both.header().is_none() && both.to_string().contains("no credential opens"));
    let blank = look(&|file| file[65_536..69_632].fill(0));
    assert_eq!(blank.roots[0], RootLook::Blank);
    assert!(matches!(look(&|_| ()).copies[usize::from(CopyId::B.index())], CopyLook::Whole(_)));
    for (file, what) in [(vec![7; 100_000], "NotStrongroom"), (Vec::new(), "Empty")] {
        let error = inspect_medium(MemoryMedium::from_bytes(file)).unwrap_err();
        assert_eq!(format!("{error:?}"), what);
    }
}

#[test]
fn random_bytes_never_make_an_inspection_or_a_proof_panic() {
    let file = states().pop().unwrap();
    for seed in 0..many(60) {
        let mut random = SeededRandom::new(seed);
        let mut altered = file.clone();
        altered.truncate(random.between(1, file.len() as u64) as usize);
        for _ in 0..random.between(1, 40) {
            let at = random.below(altered.len() as u64) as usize;
            altered[at] = random.below(256) as u8;
        }
        if random.chance(0.5) && altered.len() > 32_768 {
            let crc = crc32fast::hash(&altered[..32_764]).to_le_bytes();
            altered[32_764..32_768].copy_from_slice(&crc);
        }
        let _ = inspect_medium(MemoryMedium::from_bytes(altered.clone())).map(|i| i.to_string());
        accounted(&proven(&altered, None).unwrap());
        let _ = proven(&altered, Some(&key())).map(|proof| accounted(&proof));
    }
}
