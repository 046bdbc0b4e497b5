//! A plain redb file to an encrypted one and back: every page equal, the source untouched, nothing
//! ever replaced, and after a cut at any operation either the old file or the new one, whole and
//! under its right name.
//!
//! `CONVERT_MIB=200` makes the round trip that big; `a_conversion_beside_cp` is a measurement:
//! `CONVERT_MIB=1024 cargo test --release --features testkit --test convert -- --ignored
//! --nocapture`.
#![cfg(feature = "testkit")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use strongroom::convert::{self, Options, Phase, Report};
use strongroom::medium::MemoryMedium;
use strongroom::redb::{
    self, MultimapTableDefinition, ReadableDatabase, ReadableMultimapTable, ReadableTable,
    TableDefinition,
};
use strongroom::testkit::{Crash, CrashDirectory, SeededRandom};
use strongroom::{Builder, ConvertError, Database, OpenError, RawKey, VerifyOptions};

const ROWS: TableDefinition<u64, &[u8]> = TableDefinition::new("rows");
const MANY: MultimapTableDefinition<u64, u64> = MultimapTableDefinition::new("many");

type Content = (BTreeMap<u64, Vec<u8>>, Vec<(u64, u64)>);

fn key() -> RawKey {
    RawKey::new([7; 32])
}

fn options() -> Options<'static> {
    let mut options = Options::default();
    options.builder.cache_size(1 << 20);
    options
}

fn asked(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Some transactions with deletions in between, so that there are free pages.
fn fill(db: &redb::Database, mib: u64) {
    let mut random = SeededRandom::new(1);
    for part in 0..4 {
        let txn = db.begin_write().unwrap();
        {
            let (mut rows, mut many) =
                (txn.open_table(ROWS).unwrap(), txn.open_multimap_table(MANY).unwrap());
            for n in 0..mib * 64 {
                let value: Vec<u8> =
                    (0..512).flat_map(|_| random.next_u64().to_le_bytes()).collect();
                rows.insert(part * 1_000_000 + n, &value[..3500]).unwrap();
                many.insert(n % 7, part * 1_000_000 + n).unwrap();
            }
            rows.retain(|key, _| key % 5 != 0).unwrap();
        }
        txn.commit().unwrap();
    }
}

fn content(db: &impl ReadableDatabase) -> Content {
    let txn = db.begin_read().unwrap();
    let rows = txn.open_table(ROWS).unwrap();
    let rows = rows.iter().unwrap().map(|row| row.unwrap());
    let rows = rows.map(|(key, value)| (key.value(), value.value().to_vec())).collect();
    let many = txn.open_multimap_table(MANY).unwrap();
    let many = many.iter().unwrap().flat_map(|row| {
        let (key, values) = row.unwrap();
        let key = key.value();
        values.map(move |value| (key, value.unwrap().value())).collect::<Vec<_>>()
    });
    (rows, many.collect())
}

fn plain_file(path: &Path, mib: u64) -> Content {
    let db = redb::Database::create(path).unwrap();
    fill(&db, mib);
    let content = content(&db);
    drop(db);
    content
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_goes_in_and_comes_out_equal_byte_for_byte() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let mib = asked("CONVERT_MIB", 4);
    let expected = plain_file(&path("a.redb"), mib);
    let before = fs::read(path("a.redb")).unwrap();

    let seen = Mutex::new(Vec::new());
    let note = |progress| seen.lock().unwrap().push(progress);
    let options = Options { progress: Some(&note), ..options() };
    let report = convert::encrypt(path("a.redb"), path("a.room"), &key(), &options).unwrap();
    assert!(fs::read(path("a.redb")).unwrap() == before, "the source is as it was");
    assert_eq!(report.source_bytes, before.len() as u64);
    assert_eq!(report.target_bytes, fs::metadata(path("a.room")).unwrap().len());
    assert!(!report.repaired && !report.dry_run && report.abandoned.is_empty());
    let seen = seen.lock().unwrap().clone();
    for phase in [Phase::Copying, Phase::Verifying] {
        let of_phase: Vec<_> = seen.iter().filter(|progress| progress.phase == phase).collect();
        assert!(of_phase.is_sorted_by_key(|progress| progress.done_bytes));
        let last = of_phase.last().unwrap();
        assert_eq!(
            (last.done_bytes, last.total_bytes),
            (report.database_bytes, report.database_bytes)
        );
    }

    let sealed = fs::read(path("a.room")).unwrap();
    for window in [&before[4096..4128], &before[before.len() / 2..][..32]] {
        let plain =
            window.iter().any(|byte| *byte != 0) && sealed.windows(32).any(|found| found == window);
        assert!(!plain, "plaintext in the encrypted file");
    }
    convert::decrypt(path("a.room"), path("b.redb"), &key(), &options).unwrap();
    assert!(fs::read(path("b.redb")).unwrap() == before, "page for page as before");

    let verified = strongroom::verify_file(path("a.room"), &key(), &VerifyOptions::new()).unwrap();
    assert!(verified.is_spotless(), "{verified}");
    let mut db = Database::open(path("a.room"), key()).unwrap();
    assert!(db.check_integrity().unwrap());
    assert!(content(&*db) == expected, "another content");
    db.close().unwrap();
    // As redb and strongroom left it, not as it was made: equal in what it holds.
    convert::decrypt(path("a.room"), path("c.redb"), &key(), &options).unwrap();
    assert!(content(&redb::Database::open(path("c.redb")).unwrap()) == expected, "another content");
    assert_eq!(names(directory.path()), ["a.redb", "a.room", "b.redb", "c.redb"]);
    println!("figure: convert_round_trip_mib = {}", before.len() >> 20);
    println!("figure: convert_round_trip_rows = {}", expected.0.len());
}

#[test]
fn in_place_the_name_stays_and_the_file_is_the_other_kind() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes");
    let expected = plain_file(&path, 1);
    let before = fs::read(&path).unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    convert::encrypt_in_place(&link, &key(), &options()).unwrap();
    assert!(link.is_symlink(), "what the link leads to is converted");
    let again = convert::encrypt_in_place(&path, &key(), &options());
    assert!(matches!(again, Err(ConvertError::AlreadyEncrypted)), "{again:?}");
    let db = Database::open(&path, key()).unwrap();
    assert_eq!(content(&*db), expected);
    let busy = convert::decrypt_in_place(&path, &key(), &options());
    assert!(matches!(busy, Err(ConvertError::Open(OpenError::AlreadyOpen))), "{busy:?}");
    db.close().unwrap();
    let wrong = convert::decrypt_in_place(&path, &RawKey::new([8; 32]), &options());
    assert!(matches!(wrong, Err(ConvertError::Open(OpenError::WrongKey))), "{wrong:?}");
    convert::decrypt_in_place(&path, &key(), &options()).unwrap();
    assert_eq!(content(&redb::Database::open(&path).unwrap()), expected);
    assert_eq!(names(directory.path()), ["link", "notes"]);
    assert!(before.len() > 4096);

    fs::hard_link(&path, directory.path().join("other")).unwrap();
    let named = convert::encrypt_in_place(&path, &key(), &options());
    assert!(matches!(named, Err(ConvertError::OtherNames { names: 2 })), "{named:?}");
}

#[test]
fn split_roles_and_a_dry_run() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    plain_file(&path("a.redb"), 1);
    let (admin, data) = (RawKey::new([1; 32]), RawKey::new([2; 32]));
    let split = Options { data: Some(&data), ..options() };
    let dry = Options { dry_run: true, ..split.clone() };
    let said = convert::encrypt(path("a.redb"), path("a.room"), &admin, &dry).unwrap();
    assert!(said.dry_run && names(directory.path()) == ["a.redb"]);
    let done = convert::encrypt(path("a.redb"), path("a.room"), &admin, &split).unwrap();
    assert_eq!((said.target_bytes, said.database_bytes), (done.target_bytes, done.database_bytes));
    assert!(Database::open(path("a.room"), admin).is_err(), "administers, but opens no data");
    let dry = Options { dry_run: true, ..options() };
    let said = convert::decrypt(path("a.room"), path("b.redb"), &data, &dry).unwrap();
    assert_eq!(said.target_bytes, fs::metadata(path("a.redb")).unwrap().len());
    assert_eq!(names(directory.path()), ["a.redb", "a.room"]);
    Database::open(path("a.room"), data).unwrap().close().unwrap();
}

#[test]
fn nothing_is_replaced_and_what_is_in_use_or_no_redb_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let encrypt = |from: &str, to: &str| convert::encrypt(path(from), path(to), &key(), &options());
    plain_file(&path("a.redb"), 1);
    fs::write(path("taken"), b"precious").unwrap();
    let taken = encrypt("a.redb", "taken");
    assert!(matches!(taken, Err(ConvertError::TargetExists(_))), "{taken:?}");
    assert_eq!(fs::read(path("taken")).unwrap(), b"precious");

    let db = redb::Database::open(path("a.redb")).unwrap();
    let used = encrypt("a.redb", "a.room");
    assert!(matches!(used, Err(ConvertError::SourceInUse)), "{used:?}");
    drop(db);
    // And the other way round: redb is kept out for as long as a conversion takes.
    let kept_out = Mutex::new(None);
    let try_it = |_| {
        kept_out.lock().unwrap().get_or_insert_with(|| redb::Database::open(path("a.redb")).err());
    };
    let watched = Options { progress: Some(&try_it), ..options() };
    convert::encrypt(path("a.redb"), path("a.room"), &key(), &watched).unwrap();
    let kept_out = kept_out.into_inner().unwrap();
    assert!(matches!(kept_out, Some(Some(redb::DatabaseError::DatabaseAlreadyOpen))));

    let missing = encrypt("none.redb", "b.room");
    assert!(matches!(missing, Err(ConvertError::Open(OpenError::NotFound(_)))), "{missing:?}");
    let sealed = encrypt("a.room", "b.room");
    assert!(matches!(sealed, Err(ConvertError::AlreadyEncrypted)), "{sealed:?}");
    for (what, bytes) in [
        ("empty", Vec::new()),
        ("text", b"dear diary".repeat(1000)),
        ("odd length", [&fs::read(path("a.redb")).unwrap()[..], b"x"].concat()),
    ] {
        fs::write(path("other"), bytes).unwrap();
        let refused = encrypt("other", "b.room");
        assert!(matches!(refused, Err(ConvertError::NotPlainRedb { .. })), "{what}: {refused:?}");
    }
    let plain = convert::decrypt(path("a.redb"), path("b.redb"), &key(), &options());
    assert!(matches!(plain, Err(ConvertError::Open(OpenError::PlainRedb))), "{plain:?}");
    assert_eq!(names(directory.path()), ["a.redb", "a.room", "other", "taken"]);
}

/// As a crash leaves it: redb's header says that it must be repaired.
fn unclean(path: &Path) -> Content {
    let copy = path.with_extension("copy");
    let db = redb::Database::create(&copy).unwrap();
    fill(&db, 1);
    let expected = content(&db);
    fs::copy(&copy, path).unwrap();
    drop(db);
    fs::remove_file(copy).unwrap();
    expected
}

#[test]
fn a_file_that_wants_repair_is_repaired_in_the_copy_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (plain, room) = (directory.path().join("a.redb"), directory.path().join("a.room"));
    let expected = unclean(&plain);
    let before = fs::read(&plain).unwrap();
    let report = convert::encrypt(&plain, &room, &key(), &options()).unwrap();
    assert!(report.repaired && fs::read(&plain).unwrap() == before);
    let mut db = Database::open(&room, key()).unwrap();
    assert!(db.recovery().clean && db.check_integrity().unwrap());
    assert_eq!(content(&*db), expected);
}

#[test]
fn damage_in_the_plain_file_stops_the_conversion() {
    let directory = tempfile::tempdir().unwrap();
    let (plain, room) = (directory.path().join("a.redb"), directory.path().join("a.room"));
    plain_file(&plain, 1);
    let good = fs::read(&plain).unwrap();
    let mut random = SeededRandom::new(3);
    let (mut noticed, mut unused) = (0, 0);
    for _ in 0..asked("CONVERT_FLIPS", 60) {
        let at = usize::try_from(random.below(good.len() as u64)).unwrap();
        let mut bad = good.clone();
        bad[at] ^= 1 << random.below(8);
        fs::write(&plain, &bad).unwrap();
        match convert::encrypt(&plain, &room, &key(), &options()) {
            Err(_) => {
                noticed += 1;
                assert!(!room.exists() && names(directory.path()) == ["a.redb"]);
            }
            // A page that redb doesn't use.
            Ok(_) => {
                unused += 1;
                let mut db = Database::open(&room, key()).unwrap();
                assert!(db.check_integrity().unwrap());
                drop(db);
                fs::remove_file(&room).unwrap();
            }
        }
    }
    println!("figure: convert_flips_noticed = {noticed}");
    println!("figure: convert_flips_in_unused_pages = {unused}");
    assert!(noticed > unused);
}

#[test]
fn an_encrypted_file_that_was_not_closed_is_refused() {
    let medium = MemoryMedium::new();
    let db = Builder::new().create_on(medium.clone(), &key()).unwrap();
    fill(&db, 1);
    let directory = CrashDirectory::new();
    directory.put("a.room", medium.to_bytes(), 1);
    let refused = convert::decrypt_within(&directory, ("a.room", "a.redb"), &key(), &options());
    assert!(matches!(refused, Err(ConvertError::Open(OpenError::NeedsRecovery))), "{refused:?}");
}

// ---- cuts

fn small_plain() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("small");
    let db = redb::Database::create(&path).unwrap();
    let txn = db.begin_write().unwrap();
    for n in 0..40 {
        txn.open_table(ROWS).unwrap().insert(n, &[u8::try_from(n).unwrap(); 900][..]).unwrap();
    }
    txn.open_multimap_table(MANY).unwrap().insert(1, 2).unwrap();
    txn.commit().unwrap();
    drop(db);
    fs::read(path).unwrap()
}

fn is_plain(image: &[u8], expected: &[u8]) -> bool {
    image == expected
}

/// Whole: opens, its integrity check passes, and every page is what the plain file has.
fn is_sealed(image: &[u8], expected: &[u8]) -> bool {
    let directory = CrashDirectory::new();
    directory.put("a", image.to_vec(), 1);
    let decrypted = convert::decrypt_within(&directory, ("a", "b"), &key(), &options());
    decrypted.is_ok() && directory.image("b").is_some_and(|plain| plain == expected)
}

type Run<'a> = &'a dyn Fn(&CrashDirectory) -> Result<Report, ConvertError>;

/// Cuts a run at every operation, with every kind of crash: afterwards `source` is whole, or has
/// become `target` where they are one; `target` is whole or not there; and the run works again, and
/// leaves no other file.
fn cut_everywhere(
    start: &dyn Fn() -> CrashDirectory,
    run: Run<'_>,
    (source, target): (&str, &str),
    old: &dyn Fn(&[u8]) -> bool,
    new: &dyn Fn(&[u8]) -> bool,
) -> (u64, u64) {
    let whole = start();
    run(&whole).unwrap();
    let (mut cuts, mut finished) = (0, 0);
    // The last one is no cut: the power goes off when it was said to be done.
    for at in 0..=whole.operations() {
        for (kind, crash) in Crash::kinds().into_iter().enumerate() {
            let directory = start();
            directory.cut_after(at);
            let result = run(&directory);
            let after = directory.crash(crash, at * 13 + kind as u64);
            let names: Vec<String> = strongroom::medium::Directory::names(&after)
                .unwrap()
                .into_iter()
                .map(|name| name.into_string().unwrap())
                .collect();
            let case = format!("cut at {at}, {crash:?}: {names:?}, {result:?}");
            for name in &names {
                let unfinished = name.starts_with(target) && name.ends_with(".unfinished");
                assert!(unfinished || name == source || name == target, "{case}");
            }
            let in_source = after.image(source).expect(&case);
            let in_target = after.image(target);
            let done = in_target.as_deref().is_some_and(new);
            assert!(source == target || old(&in_source), "{case}");
            assert!(done || source == target || in_target.is_none(), "{case}");
            assert!(done || old(&in_source), "{case}");
            assert!(done || result.is_err(), "it was said to be durable: {case}");
            finished += u64::from(done);
            if !done {
                run(&after).expect(&case);
                assert!(after.image(target).is_some_and(|image| new(&image)), "{case}");
                let mut left = strongroom::medium::Directory::names(&after).unwrap();
                left.retain(|name| name != source && name != target);
                assert!(left.is_empty(), "{left:?} {case}");
            }
            cuts += 1;
        }
    }
    (cuts, finished)
}

#[test]
fn every_cut_leaves_the_old_file_or_the_new_one() {
    let plain = small_plain();
    let sealed = {
        let directory = CrashDirectory::new();
        directory.put("a", plain.clone(), 1);
        convert::encrypt_within(&directory, ("a", "b"), &key(), &options()).unwrap();
        directory.image("b").unwrap()
    };
    let one_thread = Options { threads: 1, ..options() };
    let with = |image: &Vec<u8>| {
        let image = image.clone();
        move || {
            let directory = CrashDirectory::new();
            directory.put("a", image.clone(), 1);
            directory
        }
    };
    let (from_plain, from_sealed) = (with(&plain), with(&sealed));
    let (plain_whole, sealed_whole) =
        (|image: &[u8]| is_plain(image, &plain), |image: &[u8]| is_sealed(image, &plain));
    let (mut cuts, mut finished) = (0, 0);
    for target in ["b", "a"] {
        let names = ("a", target);
        let encrypt: Run<'_> =
            &|directory| convert::encrypt_within(directory, names, &key(), &one_thread);
        let decrypt: Run<'_> =
            &|directory| convert::decrypt_within(directory, names, &key(), &one_thread);
        for (tried, done) in [
            cut_everywhere(&from_plain, encrypt, names, &plain_whole, &sealed_whole),
            cut_everywhere(&from_sealed, decrypt, names, &sealed_whole, &plain_whole),
        ] {
            cuts += tried;
            finished += done;
        }
    }
    println!("figure: convert_cuts = {cuts}");
    println!("figure: convert_cuts_after_which_it_was_done = {finished}");
    assert!(cuts > 750 && finished > 0);
}

/// Does something once, when the first piece was copied.
fn when_copied(act: impl Fn() + Sync) -> impl Fn(convert::Progress) + Sync {
    let done = std::sync::Once::new();
    move |_| done.call_once(&act)
}

fn only_draft(directory: &CrashDirectory) -> std::ffi::OsString {
    let names = strongroom::medium::Directory::names(directory).unwrap();
    names.into_iter().find(|name| name.to_str().unwrap().ends_with(".unfinished")).unwrap()
}

#[test]
fn a_copy_that_reads_back_otherwise_gets_no_name() {
    use strongroom::medium::Directory;
    let plain = small_plain();
    let start = CrashDirectory::new();
    start.put("a", plain.clone(), 1);
    convert::encrypt_within(&start, ("a", "b"), &key(), &options()).unwrap();
    let sealed = start.image("b").unwrap();
    for image in [&plain, &sealed] {
        let encrypts = image == &plain;
        let mut noticed = 0;
        // In pages that hold something: a page of zeros is not in the encrypted file at all.
        let at = plain.iter().enumerate().skip(8192).find(|(_, byte)| **byte != 0).unwrap().0;
        let at = if encrypts { sealed.len() - 2 * 4096 } else { at };
        let directory = CrashDirectory::new();
        directory.put("a", image.clone(), 1);
        let spoil = when_copied(|| {
            let draft = directory.open(&only_draft(&directory), true).unwrap();
            // Zeros, where there is ciphertext of the last pages, or a byte that is none.
            let bytes = if encrypts { vec![0; 8192] } else { vec![plain[at] ^ 1] };
            draft.write_at(at as u64, &bytes).unwrap();
        });
        let mut spoilt = Options { progress: Some(&spoil), threads: 1, check: false, ..options() };
        spoilt.builder.gathered_pages(0); // what was copied is on the medium
        let result = match encrypts {
            true => convert::encrypt_within(&directory, ("a", "b"), &key(), &spoilt),
            false => convert::decrypt_within(&directory, ("a", "b"), &key(), &spoilt),
        };
        match result {
            Err(ConvertError::ReadBack { .. }) if !encrypts => noticed += 1,
            // It doesn't even authenticate.
            Err(ConvertError::Open(OpenError::Damaged(_))) if encrypts => noticed += 1,
            other => panic!("{encrypts}: {other:?}"),
        }
        assert_eq!((noticed, directory.names().unwrap()), (1, vec!["a".into()]));
    }
}

#[test]
fn a_file_that_took_the_name_of_source_or_target_meanwhile_is_left_alone() {
    use strongroom::medium::Directory;
    let plain = small_plain();
    for target in ["a", "b"] {
        let directory = CrashDirectory::new();
        directory.put("a", plain.clone(), 1);
        directory.put("precious", b"precious".to_vec(), 2);
        let take = when_copied(|| directory.rename("precious".as_ref(), target.as_ref()).unwrap());
        let watched = Options { progress: Some(&take), ..options() };
        let result = convert::encrypt_within(&directory, ("a", target), &key(), &watched);
        let refused = match target {
            "a" => matches!(result, Err(ConvertError::SourceReplaced)),
            _ => matches!(result, Err(ConvertError::TargetExists(_))),
        };
        assert!(refused, "{result:?}");
        assert_eq!(directory.image(target).unwrap(), b"precious");
        assert!(directory.names().unwrap().iter().all(|name| name == "a" || name == target));
    }
}

#[test]
fn a_draft_that_somebody_is_at_work_on_is_left_alone() {
    let plain = small_plain();
    let directory = CrashDirectory::new();
    directory.put("a", plain, 1);
    directory.put("b.0123456789abcdef.unfinished", vec![1; 10], 2);
    directory.put("b.0123456789abcde0.unfinished", vec![1; 10], 3);
    use strongroom::medium::{Directory, LockKind};
    let held = directory.open("b.0123456789abcdef.unfinished".as_ref(), true).unwrap();
    assert!(held.try_lock(LockKind::Exclusive).unwrap());
    let dry = Options { dry_run: true, ..options() };
    let said = convert::encrypt_within(&directory, ("a", "b"), &key(), &dry).unwrap();
    assert_eq!(said.abandoned, [Path::new("b.0123456789abcde0.unfinished")]);
    assert_eq!(directory.names().unwrap().len(), 3);
    let done = convert::encrypt_within(&directory, ("a", "b"), &key(), &options()).unwrap();
    assert_eq!(done.abandoned, said.abandoned);
    let mut names = directory.names().unwrap();
    names.sort();
    assert_eq!(names, ["a", "b", "b.0123456789abcdef.unfinished"]);
}

#[test]
#[ignore = "a measurement: CONVERT_MIB, 200 unless set"]
fn a_conversion_beside_cp() {
    let directory =
        tempfile::tempdir_in(std::env::var("CONVERT_DIR").unwrap_or(".".into())).unwrap();
    let path = |name: &str| directory.path().join(name);
    let db = redb::Database::create(path("a.redb")).unwrap();
    let mib = asked("CONVERT_MIB", 200);
    fill(&db, mib);
    drop(db);
    let bytes = fs::metadata(path("a.redb")).unwrap().len();
    let rate = |seconds: f64| (bytes as f64 / seconds / (1 << 20) as f64).round();
    let mut best = [f64::MAX; 4];
    for _ in 0..3 {
        let timed = |what: &dyn Fn()| {
            let begun = Instant::now();
            what();
            begun.elapsed().as_secs_f64()
        };
        let cp = timed(&|| {
            fs::copy(path("a.redb"), path("copy")).unwrap();
            fs::File::open(path("copy")).unwrap().sync_all().unwrap();
        });
        let unchecked = Options { check: false, ..Options::default() };
        let encrypt = timed(&|| {
            convert::encrypt(path("a.redb"), path("a.room"), &key(), &Options::default()).unwrap();
        });
        fs::remove_file(path("a.room")).unwrap();
        let bare = timed(&|| {
            convert::encrypt(path("a.redb"), path("a.room"), &key(), &unchecked).unwrap();
        });
        let decrypt = timed(&|| {
            convert::decrypt(path("a.room"), path("b.redb"), &key(), &unchecked).unwrap();
        });
        assert!(fs::read(path("a.redb")).unwrap() == fs::read(path("b.redb")).unwrap());
        for (best, time) in best.iter_mut().zip([cp, encrypt, bare, decrypt]) {
            *best = best.min(time);
        }
        for name in ["copy", "a.room", "b.redb"] {
            fs::remove_file(path(name)).unwrap();
        }
    }
    let [cp, encrypt, bare, decrypt] = best;
    println!("figure: convert_mib = {}", bytes >> 20);
    println!("figure: cp_and_fsync_mib_per_s = {}", rate(cp));
    for (name, time) in
        [("encrypt", encrypt), ("encrypt_unchecked", bare), ("decrypt_unchecked", decrypt)]
    {
        println!("figure: {name}_mib_per_s = {}", rate(time));
        println!("figure: {name}_times_cp = {:.1}", time / cp);
    }
}
