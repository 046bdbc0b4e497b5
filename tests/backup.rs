//! Backups of a database in use: consistent beside a writer, restored to exactly the state of one
//! commit, one increment or a hundred, and nothing of a chain that was tampered with is accepted.
//!
//! `BACKUP_INCREMENTS=100` is the long run; `a_writer_beside_a_backup` is a measurement:
//! `BACKUP_MIB=200 cargo test --release --features testkit --test backup -- --ignored --nocapture`.
#![cfg(feature = "testkit")]
#![allow(unreachable_pub, reason = "the modules of a test have no outside")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use strongroom::backup::{self, BackupKind, Chain, Options, Parent, Rekey, RestoreOptions};
use strongroom::medium::{Directory, MemoryMedium};
use strongroom::redb::{Durability, TableDefinition};
use strongroom::testkit::{Crash, CrashDirectory, SeededRandom};
use strongroom::{
    Anchor, AnchorError, AnchorPolicy, BackupError, Database, MemoryAnchor, OpenError, RawKey,
    StoreError,
};

#[path = "backup/setting.rs"]
mod setting;
#[path = "backup/under_load.rs"]
mod under_load;

use setting::{
    Content, ROWS, asked, builder, change, check, content, full, key, more, new_db, number_in,
    restored, restored_with, write_number,
};

#[test]
fn a_restored_copy_of_an_anchored_file_opens_by_accepting_it_and_not_otherwise() {
    let (_, db) = new_db();
    let (mut model, mut random) = (Content::new(), SeededRandom::new(3));
    change(&db, &mut model, &mut random, 60);
    let anchor = Arc::new(MemoryAnchor::new("restored"));
    let mut admin = db.admin(&key()).unwrap();
    admin
        .bind_anchor(Arc::clone(&anchor) as Arc<dyn Anchor>, AnchorPolicy::every_commit())
        .unwrap();
    drop(admin);
    change(&db, &mut model, &mut random, 9);
    let (bytes, _) = full(&db);
    db.close().unwrap();
    let copy = MemoryMedium::from_bytes(restored(&[bytes]).unwrap());
    let mut with = builder();
    with.anchor(anchor);
    let refused = with.open_on(copy.clone(), &key()).unwrap_err();
    let rolled_back = matches!(refused, OpenError::Anchor(AnchorError::RolledBack { .. }));
    assert!(rolled_back, "{refused:?}");
    let (db, _) = with.accept_rollback_on(copy, &key(), &key()).unwrap();
    assert_eq!(content(&db), model);
}

#[test]
fn every_increment_restores_the_commit_it_was_made_after() {
    let count = usize::try_from(asked("BACKUP_INCREMENTS", 12)).unwrap();
    let (_, db) = new_db();
    let (mut model, mut random) = (Content::new(), SeededRandom::new(1));
    for _ in 0..10 {
        change(&db, &mut model, &mut random, 60);
    }
    let (bytes, mut report) = full(&db);
    assert_eq!((report.kind, report.number), (BackupKind::Full, 0));
    assert_eq!(report.copied_groups, report.groups);
    let (mut chain, mut states) = (vec![bytes], vec![model.clone()]);
    let mut copied = 0;
    for number in 1..=count {
        for _ in 0..random.between(0, 3) {
            let rows = random.between(1, 4);
            change(&db, &mut model, &mut random, rows);
        }
        let (bytes, next) = more(&db, &report.parent);
        assert_eq!((next.kind, next.number), (BackupKind::Incremental, number));
        assert_eq!(Parent::of_bytes(&bytes).unwrap(), next.parent);
        assert_eq!(Parent::of_bytes(&next.parent.to_bytes()).unwrap(), next.parent);
        copied += next.copied_groups;
        report = next;
        chain.push(bytes);
        states.push(model.clone());
    }
    for (last, state) in states.iter().enumerate() {
        check(restored(&chain[..=last]).unwrap(), &key(), state);
    }
    println!("figure: backup_increments = {count}");
    println!("figure: backup_states_restored = {}", states.len());
    println!("figure: backup_groups_in_all = {}", report.groups);
    println!("figure: backup_groups_copied_per_increment = {:.1}", copied as f64 / count as f64);
}

#[test]
fn an_increment_without_a_change_holds_no_group() {
    let (_, db) = new_db();
    let (bytes, report) = full(&db);
    let (nothing, next) = more(&db, &report.parent);
    assert_eq!(next.copied_groups, 0);
    check(restored(&[bytes, nothing]).unwrap(), &key(), &Content::new());
}

/// Lets the other thread go, also where this one panics.
struct SetWhenDropped<'a>(&'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn beside_a_writer_each_backup_is_one_commit() {
    let (rows, backups) = (300, asked("BACKUP_RACES", 24));
    let (_, db) = new_db();
    write_number(&db, 1, rows, 4000);
    let (done, committed) = (AtomicBool::new(false), AtomicU64::new(1));
    let (mut found, mut kept_up) = (Vec::new(), 0);
    std::thread::scope(|scope| {
        let _stop = SetWhenDropped(&done);
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let number = committed.load(Ordering::Acquire) + 1;
                write_number(&db, number, rows, 4000);
                committed.store(number, Ordering::Release);
            }
        });
        let mut chain: Vec<Vec<u8>> = Vec::new();
        let mut parent: Option<Parent> = None;
        for n in 0..backups {
            let before = committed.load(Ordering::Acquire);
            let mut bytes = Vec::new();
            // Given up after each eighth, so that full ones are tried as well.
            if n % 8 == 0 {
                (parent, chain) = (None, Vec::new());
            }
            // A slow place: the writer commits several times while a backup is written.
            let slowly = |_| std::thread::sleep(Duration::from_millis(10));
            let options = Options { progress: Some(&slowly), ..Options::default() };
            let report = match &parent {
                None => backup::snapshot(&db, &mut bytes, &options),
                Some(parent) => backup::incremental(&db, parent, &mut bytes, &options),
            }
            .unwrap();
            let after = committed.load(Ordering::Acquire) + 1;
            kept_up += u64::from(after > before + 2);
            parent = Some(report.parent);
            chain.push(bytes);
            found.push((before, chain.clone(), after));
        }
    });
    for (before, chain, after) in &found {
        let image = restored(chain).unwrap();
        let mut copy = builder().open_on(MemoryMedium::from_bytes(image), &key()).unwrap();
        assert!(copy.check_integrity().unwrap());
        let number = number_in(&copy, rows);
        assert!((*before..=*after).contains(&number), "{before} {number} {after}");
    }
    println!("figure: backups_beside_a_writer = {}", found.len());
    println!("figure: backups_during_which_it_committed = {kept_up}");
    println!("figure: commits_beside_backups = {}", committed.into_inner());
    assert!(kept_up > 0, "the writer never got a commit in: nothing was shown");
}

#[test]
fn commits_between_the_picture_and_the_last_group_do_not_show() {
    let (_, db) = new_db();
    for number in 1..=5 {
        write_number(&db, number, 300, 4000);
    }
    let next = AtomicU64::new(6);
    let interfere = |_| {
        for _ in 0..4 {
            write_number(&db, next.fetch_add(1, Ordering::AcqRel), 300, 4000);
        }
    };
    let options = Options { progress: Some(&interfere), ..Options::default() };
    let mut bytes = Vec::new();
    let report = backup::snapshot(&db, &mut bytes, &options).unwrap();
    assert!(report.groups > 3, "{report:?}");
    let image = restored(&[bytes]).unwrap();
    let copy = builder().open_on(MemoryMedium::from_bytes(image), &key()).unwrap();
    assert_eq!(number_in(&copy, 300), 5);
}

#[test]
fn persistent_savepoints_shrinks_and_non_durable_commits_beside_a_backup() {
    let (_, db) = new_db();
    for number in 1..=6 {
        write_number(&db, number, 300, 4000);
    }
    let txn = db.begin_write().unwrap();
    let savepoint = txn.persistent_savepoint().unwrap();
    txn.commit().unwrap();
    write_number(&db, 7, 300, 4000);
    let first = AtomicBool::new(true);
    let interfere = |_| {
        if first.swap(false, Ordering::AcqRel) {
            let txn = db.begin_write().unwrap();
            assert!(txn.delete_persistent_savepoint(savepoint).unwrap());
            txn.open_table(ROWS).unwrap().retain(|key, _| key < 3).unwrap();
            txn.commit().unwrap();
        }
        for number in 8..12 {
            let mut txn = db.begin_write().unwrap();
            txn.set_durability(Durability::None).unwrap();
            txn.open_table(ROWS).unwrap().insert(number, &[9; 3000][..]).unwrap();
            txn.commit().unwrap();
        }
        for _ in 0..3 {
            let txn = db.begin_write().unwrap();
            txn.open_table(ROWS).unwrap().remove(8).unwrap();
            txn.commit().unwrap();
        }
    };
    let options = Options { progress: Some(&interfere), ..Options::default() };
    let mut bytes = Vec::new();
    backup::snapshot(&db, &mut bytes, &options).unwrap();
    let image = restored(&[bytes]).unwrap();
    let mut copy = builder().open_on(MemoryMedium::from_bytes(image), &key()).unwrap();
    assert_eq!(number_in(&copy, 300), 7);
    let mut txn = copy.begin_write().unwrap();
    assert_eq!(txn.list_persistent_savepoints().unwrap().collect::<Vec<_>>(), [savepoint]);
    let saved = txn.get_persistent_savepoint(savepoint).unwrap();
    txn.restore_savepoint(&saved).unwrap();
    txn.commit().unwrap();
    assert_eq!(number_in(&copy, 300), 6);
    assert!(copy.check_integrity().unwrap());
}

#[test]
fn what_is_cut_off_the_file_beside_a_backup_is_in_it() {
    let (medium, db) = new_db();
    for number in 1..4 {
        write_number(&db, number, 900, 4000);
    }
    let before = medium.to_bytes().len();
    let first = AtomicBool::new(true);
    let cut = |_| {
        if !first.swap(false, Ordering::AcqRel) {
            return;
        }
        let txn = db.begin_write().unwrap();
        txn.open_table(ROWS).unwrap().retain(|key, _| key < 3).unwrap();
        txn.commit().unwrap();
        for number in 0..20 {
            let txn = db.begin_write().unwrap();
            txn.open_table(ROWS).unwrap().insert(number % 3, &[1; 8][..]).unwrap();
            txn.commit().unwrap();
        }
    };
    let options = Options { progress: Some(&cut), ..Options::default() };
    let mut bytes = Vec::new();
    let report = backup::snapshot(&db, &mut bytes, &options).unwrap();
    let after = medium.to_bytes().len();
    assert!(after * 2 < before && report.groups > 6, "{before} {after} {report:?}");
    let image = restored(&[bytes]).unwrap();
    let mut copy = builder().open_on(MemoryMedium::from_bytes(image), &key()).unwrap();
    assert_eq!(number_in(&copy, 900), 3);
    assert!(copy.check_integrity().unwrap());
}

#[test]
fn a_compacted_file_and_one_that_grew_are_restored_from_one_chain() {
    let (_, mut db) = new_db();
    write_number(&db, 1, 900, 4000);
    let (bytes, report) = full(&db);
    let txn = db.begin_write().unwrap();
    txn.open_table(ROWS).unwrap().retain(|key, _| key < 40).unwrap();
    txn.commit().unwrap();
    db.compact().unwrap();
    let (smaller, second) = more(&db, &report.parent);
    assert!(second.groups < report.groups, "{} {}", second.groups, report.groups);
    let small = content(&db);
    write_number(&db, 2, 1200, 4000);
    let (bigger, third) = more(&db, &second.parent);
    assert!(third.groups > report.groups);
    let big = content(&db);
    let chain = [bytes, smaller, bigger];
    check(restored(&chain[..2]).unwrap(), &key(), &small);
    check(restored(&chain).unwrap(), &key(), &big);
}

#[test]
fn a_key_rotation_before_within_and_after_a_chain() {
    let (_, db) = new_db();
    let mut model = Content::new();
    let mut random = SeededRandom::new(5);
    change(&db, &mut model, &mut random, 200);
    let (bytes, report) = full(&db);
    let (mut chain, mut states) = (vec![bytes], vec![model.clone()]);
    let mut parent = report.parent;
    let mut steps = db.rotate_by_steps().unwrap();
    for _ in 0..3 {
        change(&db, &mut model, &mut random, 5);
        assert!(steps.step().unwrap().is_none());
        let (bytes, report) = more(&db, &parent);
        parent = report.parent;
        chain.push(bytes);
        states.push(model.clone());
    }
    for (last, state) in states.iter().enumerate() {
        let image = restored(&chain[..=last]).unwrap();
        let db = builder().open_on(MemoryMedium::from_bytes(image), &key()).unwrap();
        assert!(content(&db) == *state);
        // Goes on with the rotation, if the backup caught one.
        if let Some(rotation) = db.rotation() {
            rotation.wait().unwrap();
        }
        assert_eq!(db.key_status().epochs.len(), 1);
    }
    while steps.step().unwrap().is_none() {}
    let gone = backup::incremental(&db, &parent, &mut Vec::new(), &Options::default());
    // The last increment was sealed under the new key already.
    assert!(gone.is_ok(), "{gone:?}");
    let old = Parent::of_bytes(&chain[0]).unwrap();
    let gone = backup::incremental(&db, &old, &mut Vec::new(), &Options::default());
    assert!(matches!(gone, Err(BackupError::ParentKeyGone)), "{gone:?}");
    check(restored(&chain[..1]).unwrap(), &key(), &states[0]);
}

#[test]
fn a_rotation_ends_only_after_the_backup_beside_it() {
    let (_, db) = new_db();
    write_number(&db, 1, 900, 4000);
    let rotation = std::sync::Mutex::new(None);
    let ended_beside = AtomicBool::new(false);
    let beside = |progress: backup::Progress| {
        let mut rotation = rotation.lock().unwrap();
        let handle = rotation.get_or_insert_with(|| db.rotate().unwrap());
        // Time enough to end, if nothing kept it from that.
        let mut waits = if progress.done_groups == progress.total_groups { 100 } else { 1 };
        while waits > 0 && handle.progress().state == strongroom::RotationState::Running {
            std::thread::sleep(Duration::from_millis(20));
            waits -= 1;
        }
        let ended = handle.progress().state == strongroom::RotationState::Finished;
        ended_beside.fetch_or(ended, Ordering::AcqRel);
    };
    let mut bytes = Vec::new();
    let options = Options { progress: Some(&beside), ..Options::default() };
    let report = backup::snapshot(&db, &mut bytes, &options).unwrap();
    assert!(report.groups > 3 && !ended_beside.load(Ordering::Acquire));
    rotation.into_inner().unwrap().unwrap().wait().unwrap();
    let image = restored(&[bytes]).unwrap();
    let copy = builder().open_on(MemoryMedium::from_bytes(image), &key()).unwrap();
    assert_eq!(number_in(&copy, 900), 1);
}

#[test]
fn sequences_that_repeat_on_another_timeline_do_not_fool_an_increment() {
    let (medium, db) = new_db();
    let mut model = Content::new();
    let mut random = SeededRandom::new(6);
    for _ in 0..5 {
        change(&db, &mut model, &mut random, 40);
    }
    let (bytes, report) = full(&db);
    db.close().unwrap();
    let fork = medium.to_bytes();
    // Two timelines of the same number of syncs each.
    let timeline = |seed, parent: &Parent| {
        let db = builder().open_on(MemoryMedium::from_bytes(fork.clone()), &key()).unwrap();
        let (mut model, mut random) = (model.clone(), SeededRandom::new(seed));
        for _ in 0..6 {
            change(&db, &mut model, &mut random, 10);
        }
        let (bytes, report) = more(&db, parent);
        (db, model, bytes, report)
    };
    let (_, ours, our_bytes, our_report) = timeline(1, &report.parent);
    let (their_db, theirs, their_bytes, _) = timeline(2, &report.parent);
    check(restored(&[bytes.clone(), our_bytes.clone()]).unwrap(), &key(), &ours);
    check(restored(&[bytes.clone(), their_bytes.clone()]).unwrap(), &key(), &theirs);
    // Their database on top of our increment: everything that differs is copied.
    let (across, report) = more(&their_db, &our_report.parent);
    assert!(report.sync == our_report.sync && report.copied_groups > 0, "{report:?}");
    check(restored(&[bytes.clone(), our_bytes, across.clone()]).unwrap(), &key(), &theirs);
    let mixed = restored(&[bytes, their_bytes, across]);
    assert!(matches!(mixed, Err(BackupError::NotOfChain { number: 1, .. })), "{mixed:?}");
}

#[test]
fn a_restored_copy_can_have_keys_of_its_own() {
    let (_, db) = new_db();
    let mut model = Content::new();
    let mut random = SeededRandom::new(7);
    change(&db, &mut model, &mut random, 100);
    let (bytes, report) = full(&db);
    change(&db, &mut model, &mut random, 10);
    let (second, _) = more(&db, &report.parent);
    let (admin, data) = (RawKey::new([1; 32]), RawKey::new([2; 32]));
    let rekey = Rekey { key: &admin, data: Some(&data) };
    let options =
        RestoreOptions { rekey: Some(rekey), builder: builder(), ..RestoreOptions::default() };
    let image = restored_with(&[bytes, second], &key(), &options).unwrap();
    let old = key();
    let open = |key: &RawKey| builder().open_on(MemoryMedium::from_bytes(image.clone()), key);
    assert!(matches!(open(&old), Err(OpenError::WrongKey)));
    assert!(open(&admin).is_err(), "it administers, and opens no data");
    let copy = open(&data).unwrap();
    assert_ne!(copy.key_status().file_id, db.key_status().file_id);
    drop(copy);
    check(image, &data, &model);
}

#[test]
fn what_outruns_the_memory_fails_the_backup_and_not_the_writer() {
    let (_, db) = new_db();
    for number in 1..=20 {
        write_number(&db, number, 300, 4000);
    }
    let next = AtomicU64::new(21);
    let interfere = |_| {
        for _ in 0..5 {
            write_number(&db, next.fetch_add(1, Ordering::AcqRel), 300, 4000);
        }
    };
    let options =
        Options { progress: Some(&interfere), kept_bytes_max: 8192, ..Options::default() };
    let outrun = backup::snapshot(&db, &mut Vec::new(), &options);
    let found =
        matches!(outrun, Err(BackupError::Open(OpenError::Store(StoreError::Outrun { .. }))));
    assert!(found, "{outrun:?}");
    assert_eq!(number_in(&db, 300), next.load(Ordering::Acquire) - 1);
    let (bytes, _) = full(&db);
    restored(&[bytes]).unwrap();
}

#[test]
fn one_backup_at_a_time_and_none_of_damage() {
    let (medium, db) = new_db();
    write_number(&db, 1, 300, 4000);
    let second = std::sync::Mutex::new(None);
    let try_it = |_| {
        let mut second = second.lock().unwrap();
        second.get_or_insert_with(|| {
            backup::snapshot(&db, &mut Vec::new(), &Options::default()).err()
        });
    };
    let options = Options { progress: Some(&try_it), ..Options::default() };
    backup::snapshot(&db, &mut Vec::new(), &options).unwrap();
    let second = second.into_inner().unwrap().unwrap().unwrap();
    assert!(second.to_string().contains("under way"), "{second}");
    db.close().unwrap();

    let mut image = medium.to_bytes();
    let at = image.len() / 2;
    for byte in &mut image[at..at + (64 << 10)] {
        *byte ^= 1;
    }
    let db = builder().open_on(MemoryMedium::from_bytes(image), &key()).unwrap();
    let refused = backup::snapshot(&db, &mut Vec::new(), &Options::default());
    assert!(matches!(refused, Err(BackupError::Unreadable { pages: 16.., .. })), "{refused:?}");
    let allow = Options { allow_unreadable: true, ..Options::default() };
    let mut bytes = Vec::new();
    let report = backup::snapshot(&db, &mut bytes, &allow).unwrap();
    assert!(report.unreadable_pages >= 16);
    let in_use = restored(&[bytes]);
    assert!(in_use.is_err(), "redb needs them");
}

#[test]
fn files_and_directories() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let db = Database::create(path("a.room"), key()).unwrap();
    write_number(&db, 1, 50, 4000);
    std::fs::create_dir(path("backups")).unwrap();
    for number in 2..5 {
        backup::to_directory(&db, path("backups"), &Options::default()).unwrap();
        write_number(&db, number, 50, 4000);
    }
    let report = backup::to_file(&db, None, path("one"), &Options::default()).unwrap();
    let taken = backup::to_file(&db, None, path("one"), &Options::default());
    assert!(matches!(taken, Err(BackupError::TargetExists(_))), "{taken:?}");
    assert_eq!(Parent::of_file(path("one")).unwrap(), report.parent);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(path("one")).unwrap().permissions().mode() & 0o777, 0o600);
    for newest in [0, 1, 2] {
        let chain = Chain::of_directory(path("backups"), Some(newest)).unwrap();
        let target = path(&format!("copy{newest}"));
        backup::restore(chain, &target, &key(), &RestoreOptions::default()).unwrap();
        let copy = Database::open(&target, key()).unwrap();
        assert_eq!(number_in(&copy, 50), newest as u64 + 1);
    }
    let chain = Chain::of_directory(path("backups"), None).unwrap();
    let taken = backup::restore(chain, path("copy0"), &key(), &RestoreOptions::default());
    assert!(matches!(taken, Err(BackupError::TargetExists(_))), "{taken:?}");
    let chain = Chain::of_directory(path("backups"), None).unwrap();
    let wrong =
        backup::restore(chain, path("b"), &RawKey::new([8; 32]), &RestoreOptions::default());
    assert!(matches!(wrong, Err(BackupError::Open(OpenError::WrongKey))), "{wrong:?}");
    let none = restored(&[]);
    assert!(matches!(none, Err(BackupError::NoBackup)), "{none:?}");
}

#[test]
fn a_backup_or_a_restore_that_is_cut_off_leaves_nothing_that_restores_or_opens() {
    let (_, db) = new_db();
    let mut model = Content::new();
    let mut random = SeededRandom::new(8);
    change(&db, &mut model, &mut random, 3);
    let (bytes, _) = full(&db);
    let (mut cuts, mut whole) = (0, 0);
    let run_backup = |directory: &CrashDirectory| {
        backup::to_directory_within(&db, directory, &Options::default()).map(drop)
    };
    let run_restore = |directory: &CrashDirectory| {
        let chain = Chain::of_bytes([bytes.clone()]);
        let options = RestoreOptions { builder: builder(), ..RestoreOptions::default() };
        backup::restore_within(chain, directory, "copy", &key(), &options).map(drop)
    };
    type Run<'a> = &'a dyn Fn(&CrashDirectory) -> Result<(), BackupError>;
    let runs: [(Run<'_>, &str); 2] = [(&run_backup, "000000.backup"), (&run_restore, "copy")];
    for (run, name) in runs {
        let counted = CrashDirectory::new();
        run(&counted).unwrap();
        // The last one is no cut: the power goes off when it was said to be done.
        for at in 0..=counted.operations() {
            for (kind, crash) in Crash::kinds().into_iter().enumerate() {
                let directory = CrashDirectory::new();
                directory.cut_after(at);
                let result = run(&directory);
                let after = directory.crash(crash, at * 13 + kind as u64);
                let names = after.names().unwrap();
                let case = format!("{name}, cut at {at}, {crash:?}: {names:?} {result:?}");
                let mut unfinished = names.iter().filter(|found| *found != name);
                assert!(unfinished.all(|name| name.to_str().unwrap().ends_with(".unfinished")));
                match after.image(name) {
                    None => assert!(result.is_err(), "it was said to be durable: {case}"),
                    Some(image) => {
                        whole += 1;
                        let image =
                            if name == "copy" { image } else { restored(&[image]).unwrap() };
                        check(image, &key(), &model);
                        continue;
                    }
                }
                run(&after).unwrap();
                assert_eq!(after.names().unwrap(), [name], "{case}");
                cuts += 1;
            }
        }
    }
    println!("figure: backup_cuts = {}", cuts + whole);
    println!("figure: backup_cuts_after_which_it_was_whole = {whole}");
    assert!(whole > 0);
}

#[test]
#[ignore = "a measurement: BACKUP_MIB, 200 unless set"]
fn a_writer_beside_a_backup() {
    let directory =
        tempfile::tempdir_in(std::env::var("BACKUP_DIR").unwrap_or(".".into())).unwrap();
    let path = |name: &str| directory.path().join(name);
    let db = Database::create(path("a.room"), key()).unwrap();
    let mib = asked("BACKUP_MIB", 200);
    let big = TableDefinition::<u64, &[u8]>::new("big");
    let value: Vec<u8> = (0..3500_u32).map(|n| n.to_le_bytes()[0]).collect();
    for part in 0..mib.div_ceil(8) {
        let txn = db.begin_write().unwrap();
        for row in 0..2048 {
            txn.open_table(big).unwrap().insert(part * 2048 + row, &value[..]).unwrap();
        }
        txn.commit().unwrap();
    }
    let rows = mib.div_ceil(8) * 2048;
    let mut random = SeededRandom::new(9);
    let mut commit = || {
        let txn = db.begin_write().unwrap();
        for _ in 0..10 {
            txn.open_table(big).unwrap().insert(random.below(rows), &value[..]).unwrap();
        }
        txn.commit().unwrap();
    };
    let rate = |commits: u64, time: Duration| commits as f64 / time.as_secs_f64();
    let begun = Instant::now();
    let mut alone = 0;
    while begun.elapsed() < Duration::from_secs(3) {
        commit();
        alone += 1;
    }
    let alone = rate(alone, begun.elapsed());
    let done = AtomicBool::new(false);
    let (mut beside, mut bytes, mut took) = (0, 0, Duration::ZERO);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _stop = SetWhenDropped(&done);
            for n in 0..3 {
                let report =
                    backup::to_file(&db, None, path(&n.to_string()), &Options::default()).unwrap();
                (bytes, took) = (bytes + report.bytes, took + report.took);
            }
        });
        while !done.load(Ordering::Acquire) {
            commit();
            beside += 1;
        }
    });
    let beside = rate(beside, took);
    let begun = Instant::now();
    let parent = Parent::of_file(path("2")).unwrap();
    let report = backup::to_file(&db, Some(&parent), path("3"), &Options::default()).unwrap();
    println!("figure: incremental_ms = {}", begun.elapsed().as_millis());
    println!("figure: incremental_groups = {} of {}", report.copied_groups, report.groups);
    let begun = Instant::now();
    let chain = Chain::of_files([path("2"), path("3")]).unwrap();
    let restored =
        backup::restore(chain, path("copy"), &key(), &RestoreOptions::default()).unwrap();
    let restore = begun.elapsed();
    println!("figure: backup_mib = {}", (bytes / 3) >> 20);
    println!("figure: commits_per_s_alone = {alone:.0}");
    println!("figure: commits_per_s_beside_a_backup = {beside:.0}");
    println!("figure: commits_beside_over_alone = {:.2}", beside / alone);
    println!("figure: backup_mib_per_s = {:.0}", (bytes >> 20) as f64 / took.as_secs_f64());
    println!(
        "figure: restore_mib_per_s = {:.0}",
        (restored.bytes >> 20) as f64 / restore.as_secs_f64()
    );
}
