//! A file that is bound to an anchor: whatever older state of the whole file is put back is refused
//! by name, whatever the anchor does costs no commit, and each way in and out of a binding does as
//! docs/format.md, "Anchor", says. Crashes are in `tests/anchor_cuts.rs`.
#![cfg(feature = "testkit")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use strongroom::medium::MemoryMedium;
use strongroom::redb::{ReadableDatabase, TableDefinition};
use strongroom::testkit::{Attacker, Edit, FaultyMedium, RecordingMedium};
use strongroom::{
    Anchor, AnchorError, AnchorFault, AnchorPolicy, Builder, CheckpointToken, Damage, Database,
    KeyError, MemoryAnchor, OpenError, RawKey, SlotSpec, TokenError, TurnBack,
};

const NOTES: TableDefinition<u64, u64> = TableDefinition::new("notes");

fn key() -> RawKey {
    RawKey::new([7; 32])
}

fn builder(anchor: &MemoryAnchor) -> Builder {
    let mut builder = plain();
    builder.anchor(Arc::new(anchor.clone()));
    builder
}

fn plain() -> Builder {
    let mut builder = Builder::new();
    builder.cache_size(64 << 10);
    builder
}

fn put(db: &Database, value: u64) {
    let txn = db.begin_write().unwrap();
    txn.open_table(NOTES).unwrap().insert(1, value).unwrap();
    txn.commit().unwrap();
}

fn value(db: &Database) -> u64 {
    db.begin_read().unwrap().open_table(NOTES).unwrap().get(1).unwrap().unwrap().value()
}

fn bind(db: &Database, anchor: &MemoryAnchor, policy: AnchorPolicy) {
    let status = db.admin(&key()).unwrap().bind_anchor(Arc::new(anchor.clone()), policy).unwrap();
    assert!(status.is_level() && status.count == anchor.count(), "{status:?}");
}

fn view(image: &[u8]) -> MemoryMedium {
    MemoryMedium::from_bytes(image.to_vec())
}

fn anchor_error<T>(result: Result<T, OpenError>) -> AnchorError {
    match result.err().unwrap() {
        OpenError::Anchor(error) => error,
        other => panic!("{other:?}"),
    }
}

fn admin_error<T>(result: Result<T, KeyError>) -> AnchorError {
    match result.err().unwrap() {
        KeyError::Open(OpenError::Anchor(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// Bound, with value 1, closed; what it was before it was bound.
fn bound(policy: AnchorPolicy) -> (MemoryMedium, MemoryAnchor, Vec<u8>) {
    let (disk, anchor) = (MemoryMedium::new(), MemoryAnchor::new("a"));
    let db = plain().create_on(disk.clone(), &key()).unwrap();
    put(&db, 1);
    let before = disk.to_bytes();
    bind(&db, &anchor, policy);
    db.close().unwrap();
    (disk, anchor, before)
}

#[test]
fn each_of_200_older_states_of_the_whole_file_is_refused_by_name() {
    let (memory, anchor) = (MemoryMedium::new(), MemoryAnchor::new("a"));
    let disk = RecordingMedium::new(memory.clone());
    let db = plain().create_on(disk.clone(), &key()).unwrap();
    bind(&db, &anchor, AnchorPolicy::every_commit());
    let mut commits = Vec::new();
    for commit in 0..=200 {
        put(&db, commit);
        commits.push(memory.to_bytes());
    }
    // Not closed: the last state is a commit's.
    let newest = commits.pop().unwrap();
    assert_eq!(anchor.count(), db.anchor_status().unwrap().count);
    let mut refused = 0;
    for (commit, image) in commits.iter().enumerate() {
        match anchor_error(builder(&anchor).open_on(view(image), &key())) {
            AnchorError::RolledBack { found, expected } => {
                assert!(found < expected && expected == anchor.count(), "commit {commit}");
            }
            other => panic!("commit {commit}: {other:?}"),
        }
        refused += 1;
    }
    // And whatever else ever was durable, between commits and before.
    let attacker = Attacker::new(disk.history());
    let states = attacker.history().last();
    let mut other_states = 0;
    for state in 0..states {
        let image = attacker.apply(&Edit::ReplayFile { state }.into());
        let opened = builder(&anchor).open_on(MemoryMedium::from_bytes(image), &key());
        match opened {
            Ok(db) => assert_eq!(value(&db), 200, "state {state}"),
            Err(
                OpenError::Anchor(AnchorError::RolledBack { .. } | AnchorError::NotBound)
                | OpenError::HeaderLost
                | OpenError::Empty
                | OpenError::Damaged(Damage::BothRoots | Damage::Truncated { .. }),
            ) => other_states += 1,
            Err(other) => panic!("state {state}: {other:?}"),
        }
    }
    assert_eq!(value(&builder(&anchor).open_on(view(&newest), &key()).unwrap()), 200);
    println!("figure: anchor, older states put back, of a history of 201 commits = {refused}");
    println!("figure: anchor, other older states put back = {other_states} of {states}");
    println!("figure: anchor, older states accepted = 0");
    assert_eq!(refused, 200);
}

#[test]
fn without_an_anchor_with_another_or_with_one_that_was_reset_it_is_refused() {
    let (disk, anchor, before) = bound(AnchorPolicy::default());
    let image = disk.to_bytes();
    assert_eq!(anchor_error(plain().open_on(view(&image), &key())), AnchorError::Required);
    let other = MemoryAnchor::new("b");
    other.set(anchor.count());
    let opened = builder(&other).open_on(view(&image), &key());
    assert_eq!(anchor_error(opened), AnchorError::WrongAnchor);
    // What it was before it was bound opens for who doesn't insist, and not for who does.
    assert!(plain().open_on(view(&before), &key()).is_ok());
    let opened = builder(&anchor).open_on(view(&before), &key());
    assert_eq!(anchor_error(opened), AnchorError::NotBound);
    let count = anchor.count();
    for (at, expected) in [
        (count + 1, AnchorError::RolledBack { found: count, expected: count + 1 }),
        (count - 2, AnchorError::AnchorReset { found: count - 2, expected: count }),
    ] {
        anchor.set(at);
        let opened = builder(&anchor).open_on(view(&image), &key());
        assert_eq!(anchor_error(opened), expected);
        let opened = builder(&anchor).open_read_only_on(view(&image), &key());
        assert_eq!(anchor_error(opened.map(drop)), expected);
    }
    // A refused file was not changed, not even where a copy of its header, of its root record or,
    // without a clean index, of a tag page wants to be healed.
    for pages in [0..0, 0..1, 16..17, 17..18, 20..21] {
        let mut image = image.clone();
        image[pages.start * 4096..pages.end * 4096].fill(0x33);
        if pages.start == 20 {
            let len = image.len();
            image[len - 4096..].fill(0x33);
        }
        let medium = view(&image);
        let opened = builder(&anchor).open_on(medium.clone(), &key());
        assert!(matches!(anchor_error(opened), AnchorError::AnchorReset { .. }), "{pages:?}");
        assert!(medium.to_bytes() == image, "{pages:?}");
        let at = anchor.count();
        anchor.set(count);
        drop(builder(&anchor).open_on(medium, &key()).unwrap());
        anchor.set(at);
    }
}

#[test]
fn a_read_only_open_checks_and_advances_nothing() {
    let (disk, anchor, _) = bound(AnchorPolicy::default());
    let (count, image) = (anchor.count(), disk.to_bytes());
    for at in [count, count - 1] {
        anchor.set(at);
        let db = builder(&anchor).open_read_only_on(view(&image), &key()).unwrap();
        db.close().unwrap();
        assert_eq!(anchor.count(), at);
    }
    // An open for writing heals the difference, and counts.
    let db = builder(&anchor).open_on(view(&image), &key()).unwrap();
    assert_eq!(anchor.count(), count + 1);
    assert!(db.anchor_status().unwrap().is_level());
}

#[test]
fn each_policy_counts_when_it_says() {
    let policies = [
        // redb's own close makes three syncs that each change its header.
        ("every commit", AnchorPolicy::every_commit(), [1, 1, 1, 1], 3 + 1),
        ("every third", policy(|p| p.commits = 3), [0, 0, 1, 0], 1),
        ("every second", policy(|p| p.seconds = 1), [0, 0, 0, 1], 0),
        ("at close", policy(|p| p.at_close = true), [0, 0, 0, 0], 1),
    ];
    for (name, policy, expected, at_close) in policies {
        let (disk, anchor, _) = bound(policy);
        let db = builder(&anchor).open_on(disk.clone(), &key()).unwrap();
        let commits = [0, 1, 2, 3].map(|commit| {
            let before = anchor.count();
            if commit == 3 {
                std::thread::sleep(Duration::from_millis(1100));
            }
            put(&db, commit);
            anchor.count() - before
        });
        assert_eq!(commits, expected, "{name}");
        let before = anchor.count();
        db.admin(&key()).unwrap().relabel(db.key_status().slots[0].id, "mine").unwrap();
        assert_eq!(anchor.count() - before, u64::from(policy.at_key_changes), "{name}, keys");
        let before = anchor.count();
        db.close().unwrap();
        assert_eq!(anchor.count() - before, at_close, "{name}, close");
    }
}

fn policy(change: impl FnOnce(&mut AnchorPolicy)) -> AnchorPolicy {
    let mut policy = AnchorPolicy::default();
    (policy.at_close, policy.at_key_changes) = (false, false);
    change(&mut policy);
    policy
}

#[test]
fn a_policy_that_never_counts_is_refused_and_policies_can_be_changed() {
    let (disk, anchor, _) = bound(AnchorPolicy::default());
    let db = builder(&anchor).open_on(disk, &key()).unwrap();
    let mut admin = db.admin(&key()).unwrap();
    let refused = admin.set_anchor_policy(policy(|_| ()));
    assert!(matches!(admin_error(refused), AnchorError::BadPolicy(_)));
    let bound_again = admin.bind_anchor(Arc::new(anchor.clone()), AnchorPolicy::default());
    assert_eq!(admin_error(bound_again), AnchorError::AlreadyBound);
    admin.set_anchor_policy(AnchorPolicy::every_commit()).unwrap();
    assert_eq!(db.anchor_status().unwrap().policy, AnchorPolicy::every_commit());
    let before = anchor.count();
    put(&db, 9);
    assert_eq!(anchor.count(), before + 1);
}

#[test]
fn an_anchor_that_is_away_costs_no_commit_is_reported_and_catches_up() {
    let away = || AnchorFault::Unreachable("unplugged".to_owned());
    let (disk, anchor, _) = bound(AnchorPolicy::every_commit());
    anchor.fail(Some(away()));
    let opened = builder(&anchor).open_on(disk.clone(), &key());
    assert_eq!(anchor_error(opened), AnchorError::Fault(away()));
    anchor.fail(None);

    let db = builder(&anchor).open_on(disk.clone(), &key()).unwrap();
    let count = anchor.count();
    anchor.fail(Some(away()));
    let begun = Instant::now();
    (0..20).for_each(|commit| put(&db, commit));
    assert!(begun.elapsed() < Duration::from_secs(5), "nobody waits for it");
    let status = db.anchor_status().unwrap();
    assert_eq!((status.count, status.acknowledged), (count + 1, count), "one ahead, no more");
    assert_eq!(status.fault, Some(away()));
    let held = disk.to_bytes();
    // Back: the next commits catch up and count on.
    anchor.fail(None);
    std::thread::sleep(Duration::from_millis(50));
    put(&db, 20);
    assert_eq!(db.anchor_status().unwrap().acknowledged, anchor.count());
    assert_eq!(anchor.count(), count + 2);
    let opened = builder(&anchor).open_on(view(&held), &key());
    assert!(matches!(anchor_error(opened), AnchorError::RolledBack { .. }));
    // Away again until after the close, which says so.
    anchor.fail(Some(away()));
    put(&db, 21);
    let behind =
        AnchorError::Behind { count: count + 3, acknowledged: count + 2, fault: Some(away()) };
    assert_eq!(anchor_error(db.close()), behind);
    anchor.fail(None);
    let db = builder(&anchor).open_on(disk, &key()).unwrap();
    assert!(db.recovery().clean && db.anchor_status().unwrap().is_level());
    assert_eq!((value(&db), anchor.count()), (21, count + 4));
}

/// Takes its time in `advance`, and shows when it is in there.
#[derive(Debug)]
struct Slow(MemoryAnchor, Duration, Arc<AtomicBool>);

impl Anchor for Slow {
    fn identity(&self) -> Result<Vec<u8>, AnchorFault> {
        self.0.identity()
    }

    fn read(&self) -> Result<u64, AnchorFault> {
        self.0.read()
    }

    fn advance(&self, to: u64) -> Result<(), AnchorFault> {
        self.2.store(true, Ordering::SeqCst);
        std::thread::sleep(self.1);
        self.2.store(false, Ordering::SeqCst);
        self.0.advance(to)
    }
}

#[test]
fn readers_do_not_wait_for_an_anchor_and_commits_no_longer_than_its_time() {
    let (disk, anchor, _) = bound(AnchorPolicy::every_commit());
    let inside = Arc::new(AtomicBool::new(false));
    let slow = Slow(anchor.clone(), Duration::from_millis(400), Arc::clone(&inside));
    let mut builder = plain();
    // No cache: each read asks the store.
    builder.cache_size(0).anchor(Arc::new(slow));
    let db = builder.open_on(disk.clone(), &key()).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| put(&db, 5));
        while !inside.load(Ordering::SeqCst) {
            assert!(!writer.is_finished(), "a commit that didn't wait");
            std::thread::yield_now();
        }
        let mut reads = 0_u64;
        while inside.load(Ordering::SeqCst) {
            value(&db);
            assert!(db.anchor_status().is_some() && db.checkpoint_token().is_ok());
            reads += 1;
        }
        assert!(reads > 20, "{reads} reads while the anchor was asked");
    });
    db.close().unwrap();
    // One that takes longer than it is given: commits go on; it was carried out all the same.
    builder.anchor_timeout(Duration::from_millis(100));
    let db = builder.open_on(disk, &key()).unwrap();
    assert!(!db.anchor_status().unwrap().is_level());
    std::thread::sleep(Duration::from_millis(1500));
    put(&db, 6);
    let status = db.anchor_status().unwrap();
    assert_eq!(status.fault, Some(AnchorFault::TimedOut { after: Duration::from_millis(100) }));
    assert_eq!(value(&db), 6);
}

#[test]
fn two_that_advance_one_anchor_are_told() {
    let (disk, anchor, _) = bound(AnchorPolicy::every_commit());
    let copy = view(&disk.to_bytes());
    // A copy of the file, opened elsewhere.
    let one = builder(&anchor).open_on(disk, &key()).unwrap();
    let two = builder(&anchor).open_on(copy, &key());
    assert!(matches!(anchor_error(two), AnchorError::RolledBack { .. }));
    // Or another file that was given the same anchor.
    let other = plain().create_on(MemoryMedium::new(), &key()).unwrap();
    bind(&other, &anchor, AnchorPolicy::every_commit());
    put(&one, 3);
    let status = one.anchor_status().unwrap();
    assert!(!status.is_level());
    assert!(matches!(status.fault, Some(AnchorFault::OutOfStep { .. })), "{status:?}");
    assert!(matches!(anchor_error(one.close()), AnchorError::Behind { .. }));
}

#[test]
fn an_unbound_file_opens_without_an_anchor_and_its_older_copies_do_not() {
    let (disk, anchor, _) = bound(AnchorPolicy::default());
    let while_bound = disk.to_bytes();
    let db = builder(&anchor).open_on(disk.clone(), &key()).unwrap();
    db.admin(&key()).unwrap().unbind_anchor().unwrap();
    assert_eq!(db.anchor_status(), None);
    let again = db.admin(&key()).unwrap().unbind_anchor();
    assert_eq!(admin_error(again), AnchorError::NotBound);
    put(&db, 2);
    db.close().unwrap();
    assert_eq!(anchor_error(plain().open_on(view(&while_bound), &key())), AnchorError::Required);
    let opened = builder(&anchor).open_on(view(&disk.to_bytes()), &key());
    assert_eq!(anchor_error(opened), AnchorError::NotBound);
    let db = plain().open_on(disk.clone(), &key()).unwrap();
    assert_eq!(value(&db), 2);
    // Bound again to the same anchor: what was bound before is older.
    bind(&db, &anchor, AnchorPolicy::default());
    db.close().unwrap();
    let opened = builder(&anchor).open_on(view(&while_bound), &key());
    assert!(matches!(anchor_error(opened), AnchorError::RolledBack { .. }));
    assert_eq!(value(&builder(&anchor).open_on(disk, &key()).unwrap()), 2);
}

#[test]
fn nothing_from_before_a_bind_passes_under_the_header_that_bound() {
    let (disk, anchor) = (MemoryMedium::new(), MemoryAnchor::new("a"));
    let db = plain().create_on(disk.clone(), &key()).unwrap();
    put(&db, 1);
    let older = disk.to_bytes();
    put(&db, 2);
    bind(&db, &anchor, AnchorPolicy::default());
    let bound = disk.to_bytes();
    // The headers of now, the roots, tag pages and pages of then: one generation apart, as a crash
    // in the header commit would leave it.
    let mixed = [&bound[..16 * 4096], &older[16 * 4096..]].concat();
    let opened = builder(&anchor).open_on(view(&mixed), &key());
    let count = anchor.count();
    let expected = AnchorError::RolledBack { found: count - 1, expected: count };
    assert_eq!(anchor_error(opened), expected);
    assert_eq!(value(&builder(&anchor).open_on(view(&bound), &key()).unwrap()), 2);
}

#[test]
fn a_count_that_was_written_and_lost_does_not_pass_later() {
    let (disk, anchor, _) = bound(policy(|p| p.at_close = true));
    let db = builder(&anchor).open_on(disk.clone(), &key()).unwrap();
    put(&db, 2);
    let durable = disk.to_bytes();
    // The close counts; the power goes before any of it is durable and before the anchor hears of
    // it, but somebody has copied it.
    anchor.fail(Some(AnchorFault::Unreachable("no power".to_owned())));
    assert!(matches!(anchor_error(db.close()), AnchorError::Behind { .. }));
    let copied = disk.to_bytes();
    anchor.fail(None);
    let disk = view(&durable);
    let db = builder(&anchor).open_on(disk.clone(), &key()).unwrap();
    put(&db, 3);
    db.close().unwrap();
    let opened = builder(&anchor).open_on(view(&copied), &key());
    assert!(matches!(anchor_error(opened), AnchorError::RolledBack { .. }));
    assert_eq!(value(&builder(&anchor).open_on(disk, &key()).unwrap()), 3);
}

#[test]
fn a_header_backup_brings_its_binding_back() {
    let (disk, anchor) = (MemoryMedium::new(), MemoryAnchor::new("a"));
    let db = plain().create_on(disk.clone(), &key()).unwrap();
    put(&db, 1);
    let backup = db.header_backup().unwrap();
    bind(&db, &anchor, AnchorPolicy::default());
    let newer = db.header_backup().unwrap();
    db.close().unwrap();
    let refused = plain().restore_header_on(disk.clone(), &backup, &key(), TurnBack::Refuse);
    assert!(matches!(refused, Err(KeyError::WouldTurnBack { .. })));
    plain().restore_header_on(disk.clone(), &newer, &key(), TurnBack::Refuse).unwrap();
    drop(builder(&anchor).open_on(disk.clone(), &key()).unwrap());
    plain().restore_header_on(disk.clone(), &backup, &key(), TurnBack::Allow).unwrap();
    let opened = builder(&anchor).open_on(disk.clone(), &key());
    assert_eq!(anchor_error(opened), AnchorError::NotBound);
    let db = plain().open_on(disk.clone(), &key()).unwrap();
    put(&db, 2);
    db.close().unwrap();
    assert_eq!(value(&plain().open_on(disk, &key()).unwrap()), 2);
}

#[test]
fn who_may_not_administrate_binds_nothing_and_what_he_changes_is_damage() {
    let (disk, anchor, _) = bound(AnchorPolicy::default());
    let db = builder(&anchor).open_on(disk.clone(), &key()).unwrap();
    let data = RawKey::new([8; 32]);
    db.admin(&key()).unwrap().add(&SlotSpec::data("data"), &data).unwrap();
    assert!(matches!(db.admin(&data), Err(KeyError::NotAdmin)));
    db.close().unwrap();
    let accepted = builder(&anchor).accept_rollback_on(disk.clone(), &data, &data);
    assert_eq!(admin_error(accepted), AnchorError::NothingToAccept);
    anchor.set(anchor.count() + 5);
    let accepted = builder(&anchor).accept_rollback_on(disk, &data, &data);
    assert!(matches!(accepted, Err(KeyError::NotAdmin)));
}

#[test]
fn an_accepted_rollback_is_the_file_from_then_on() {
    let (disk, anchor, _) = bound(AnchorPolicy::every_commit());
    let db = builder(&anchor).open_on(disk.clone(), &key()).unwrap();
    put(&db, 2);
    let (older, older_count) = (disk.to_bytes(), anchor.count());
    let mut lost = Vec::new();
    for commit in 3..8 {
        put(&db, commit);
        lost.push(disk.to_bytes());
    }
    db.close().unwrap();
    lost.push(disk.to_bytes());
    let opened = builder(&anchor).open_on(view(&disk.to_bytes()), &key());
    drop(opened.unwrap());
    let was_at = anchor.count();

    let medium = view(&older);
    let opened = builder(&anchor).open_on(medium.clone(), &key());
    assert!(matches!(anchor_error(opened), AnchorError::RolledBack { .. }));
    let none = plain().accept_rollback_on(medium.clone(), &key(), &key());
    assert_eq!(admin_error(none), AnchorError::NoAnchor);
    let epoch = {
        let accepted = builder(&anchor).accept_rollback_on(medium.clone(), &key(), &key());
        let (db, accepted) = accepted.unwrap();
        assert_eq!((accepted.anchor_was_at, accepted.slots.len()), (was_at, 1));
        assert_eq!(accepted.file_was_at, older_count);
        assert_eq!(value(&db), 2);
        assert!(db.anchor_status().unwrap().is_level());
        put(&db, 99);
        let epoch = db.active_epoch();
        db.close().unwrap();
        epoch
    };
    assert_eq!(epoch.0, 2, "a new data key");
    let again = builder(&anchor).accept_rollback_on(view(&medium.to_bytes()), &key(), &key());
    assert_eq!(admin_error(again), AnchorError::NothingToAccept);
    // The timeline that was lost is refused as a whole, and so is its body under the new header.
    lost.push(older);
    let accepted = medium.to_bytes();
    for image in lost {
        let opened = builder(&anchor).open_on(view(&image), &key());
        assert!(matches!(anchor_error(opened), AnchorError::RolledBack { .. }));
        let mixed = [&accepted[..16 * 4096], &image[16 * 4096..]].concat();
        assert!(builder(&anchor).open_on(view(&mixed), &key()).is_err());
        let mixed = [&accepted[..17 * 4096], &image[17 * 4096..]].concat();
        match builder(&anchor).open_on(view(&mixed), &key()) {
            Ok(db) => panic!("{}", value(&db)),
            Err(OpenError::Anchor(_) | OpenError::Damaged(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(value(&builder(&anchor).open_on(medium, &key()).unwrap()), 99);
}

#[test]
fn a_lost_anchor_is_replaced_by_an_administrator() {
    let (disk, anchor, _) = bound(AnchorPolicy::default());
    let image = disk.to_bytes();
    let new = MemoryAnchor::new("new");
    let (db, accepted) = builder(&new).accept_rollback_on(disk.clone(), &key(), &key()).unwrap();
    assert_eq!(accepted.anchor_was_at, 0);
    db.close().unwrap();
    assert_eq!(value(&builder(&new).open_on(disk, &key()).unwrap()), 1);
    let old = builder(&new).open_on(view(&image), &key());
    assert_eq!(anchor_error(old), AnchorError::WrongAnchor);
    // The same of an anchor that was reset.
    let at = anchor.count();
    anchor.set(0);
    let opened = builder(&anchor).open_on(view(&image), &key());
    assert_eq!(anchor_error(opened), AnchorError::AnchorReset { found: 0, expected: at });
    let medium = view(&image);
    drop(builder(&anchor).accept_rollback_on(medium.clone(), &key(), &key()).unwrap());
    assert_eq!(value(&builder(&anchor).open_on(medium, &key()).unwrap()), 1);
}

#[test]
fn an_unclean_file_whose_last_commit_was_acknowledged_can_not_be_turned_back_by_damage() {
    let (disk, anchor, _) = bound(AnchorPolicy::every_commit());
    let db = builder(&anchor).open_on(disk.clone(), &key()).unwrap();
    for commit in 2..6 {
        put(&db, commit);
    }
    // Never closed. Any single page of it destroyed: the last commit, or an error.
    let image = disk.to_bytes();
    let (mut refused, mut whole) = (0, 0);
    for page in 16..image.len() / 4096 {
        let mut changed = image.clone();
        changed[page * 4096..][..4096].iter_mut().for_each(|byte| *byte ^= 0x55);
        let opened = builder(&anchor).open_on(view(&changed), &key());
        match opened {
            Ok(db) => {
                assert_eq!(value(&db), 5, "page {page}");
                whole += 1;
            }
            Err(_) => refused += 1,
        }
        // An open that succeeded counted.
        anchor.set(db.anchor_status().unwrap().count);
    }
    println!("figure: anchor, damaged pages of an unclean file = {}", refused + whole);
    println!("figure: anchor, of these refused = {refused}");
    assert!(refused > 3 && whole > 0, "{refused} {whole}");
}

#[test]
fn a_token_is_of_a_durable_state_and_refuses_what_is_older_or_forked() {
    let disk = MemoryMedium::new();
    let db = plain().create_on(disk.clone(), &key()).unwrap();
    put(&db, 1);
    let older = disk.to_bytes();
    put(&db, 2);
    let (token, same) = (db.checkpoint_token().unwrap(), disk.to_bytes());
    assert_eq!(token.to_string().parse(), Ok(token));
    let txn = db.begin_write().unwrap();
    txn.open_table(NOTES).unwrap().insert(1, 3).unwrap();
    assert_eq!(db.checkpoint_token().unwrap(), token, "nothing more is durable");
    txn.commit().unwrap();
    let committed = db.checkpoint_token().unwrap();
    assert!(committed.sync() > token.sync());
    db.close().unwrap();
    let at_least = |token: CheckpointToken, image: &[u8]| {
        let opened = plain().at_least(token).open_on(view(image), &key());
        opened.map(|db| value(&db))
    };
    let token_error = |result: Result<u64, OpenError>| match result {
        Err(OpenError::Token(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(at_least(token, &same).unwrap(), 2);
    assert_eq!(at_least(token, &disk.to_bytes()).unwrap(), 3, "newer");
    assert_eq!(at_least(committed, &disk.to_bytes()).unwrap(), 3, "the close made one sync more");
    let rolled_back = token_error(at_least(token, &older));
    assert!(
        matches!(rolled_back, TokenError::RolledBack { expected, .. } if expected == token.sync())
    );
    // A fork: another commit on the older state, up to the same sync.
    let fork = view(&older);
    let db = plain().open_on(fork.clone(), &key()).unwrap();
    while db.checkpoint_token().unwrap().sync() < committed.sync() {
        put(&db, 66);
    }
    let forked = token_error(at_least(committed, &fork.to_bytes()));
    assert_eq!(forked, TokenError::Forked { sync: committed.sync() });
    // Beyond it, nothing tells.
    put(&db, 66);
    assert_eq!(at_least(committed, &fork.to_bytes()).unwrap(), 66);
    let other = MemoryMedium::new();
    plain().create_on(other.clone(), &key()).unwrap().close().unwrap();
    let opened = plain().at_least(token).open_on(other, &key()).map(|db| value(&db));
    assert!(matches!(token_error(opened), TokenError::OtherFile { .. }));
    // Read-only as well.
    let image = disk.to_bytes();
    let opened = plain().at_least(committed).open_read_only_on(view(&image), &key());
    assert!(opened.is_ok());
}

#[test]
fn a_rotation_and_its_syncs_neither_count_nor_stop_counting() {
    let (disk, anchor, _) = bound(AnchorPolicy::every_commit());
    let db = builder(&anchor).open_on(disk.clone(), &key()).unwrap();
    for commit in 0..50 {
        put(&db, commit);
    }
    let before = anchor.count();
    db.rotate().unwrap().wait().unwrap();
    let advanced = anchor.count() - before;
    assert_eq!(advanced, 2, "its two header commits, and none of its steps");
    put(&db, 77);
    db.close().unwrap();
    assert_eq!(value(&builder(&anchor).open_on(disk, &key()).unwrap()), 77);
}

#[test]
fn what_a_failed_sync_may_have_lost_is_not_acknowledged() {
    let (disk, anchor, _) = bound(AnchorPolicy::every_commit());
    let faulty = FaultyMedium::new(disk);
    let db = builder(&anchor).open_on(faulty.clone(), &key()).unwrap();
    put(&db, 2);
    let count = anchor.count();
    faulty.arm("fsync error".parse().unwrap());
    let txn = db.begin_write().unwrap();
    txn.open_table(NOTES).unwrap().insert(0, 3).unwrap();
    assert!(txn.commit().is_err());
    assert_eq!(anchor.count(), count);
    drop(db);
    assert_eq!(anchor.count(), count);
    faulty.disarm();
    drop(builder(&anchor).open_on(faulty, &key()).unwrap());
}

#[test]
fn a_close_catches_up_with_the_anchor_before_it_counts() {
    let (disk, anchor, _) = bound(AnchorPolicy::every_commit());
    let db = builder(&anchor).open_on(disk.clone(), &key()).unwrap();
    let count = anchor.count();
    anchor.fail(Some(AnchorFault::Unreachable("unplugged".to_owned())));
    put(&db, 2);
    anchor.fail(None);
    db.close().unwrap();
    assert_eq!(anchor.count(), count + 2, "the commit's count, and the close's");
    assert_eq!(value(&builder(&anchor).open_on(disk, &key()).unwrap()), 2);
}
