//! Shows that no crash makes a file and its anchor part: every operation that concerns both, cut at
//! every write, length change and sync and at every named point, those between file and anchor
//! included, under every kind of crash, and cut again in what follows.
//!
//! After each the file opens, or is refused as it was before where that was the point; it holds the
//! old value or the new one, the new one if the operation had returned; and once one commit more
//! was acknowledged, no image that there ever was, and none that the crash could have left, is
//! accepted with less than that commit.
//!
//! The anchor is a machine of its own: it survives, but nobody asks it once the power is off. It
//! answers; or says that it is unreachable; or says so and has advanced all the same.
//! `ANCHOR_CUTS=all` visits every cut under every crash and answer, and follows one in 29 by second
//! ones; the default is one in 211, and one in 13 of those where the anchor is next.
#![cfg(feature = "testkit")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use strongroom::redb::{ReadableDatabase, TableDefinition};
use strongroom::testkit::{Crash, CrashMedium, Cut, Cuts, Survival, Tearing};
use strongroom::{
    Anchor, AnchorError, AnchorFault, AnchorPolicy, Builder, Database, Error, FileAnchor, KeyError,
    MemoryAnchor, OpenError, RawKey,
};

const NOTES: TableDefinition<u64, u64> = TableDefinition::new("notes");
/// What is committed after everything.
const LAST: u64 = 99;

fn key() -> RawKey {
    RawKey::new([7; 32])
}

/// How an anchor answers when it is told to advance.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Answers {
    Well,
    Never,
    /// It advances and the answer is lost.
    Unheard,
}

/// An anchor asked over a wire by a machine that may be off.
#[derive(Clone, Debug)]
struct Wired {
    memory: MemoryAnchor,
    asker: CrashMedium,
    answers: Answers,
}

impl Wired {
    fn wire(&self) -> Result<(), AnchorFault> {
        match self.asker.is_off() {
            true => Err(AnchorFault::Unreachable("nobody asks".to_owned())),
            false => Ok(()),
        }
    }
}

impl Anchor for Wired {
    fn identity(&self) -> Result<Vec<u8>, AnchorFault> {
        self.wire()?;
        self.memory.identity()
    }

    fn read(&self) -> Result<u64, AnchorFault> {
        self.wire()?;
        self.memory.read()
    }

    fn advance(&self, to: u64) -> Result<(), AnchorFault> {
        self.wire()?;
        let lost = || Err(AnchorFault::Unreachable("a cable".to_owned()));
        match self.answers {
            Answers::Well => self.memory.advance(to),
            Answers::Never => lost(),
            Answers::Unheard => self.memory.advance(to).and_then(|()| lost()),
        }
    }
}

fn plain() -> Builder {
    let mut builder = Builder::new();
    builder.cache_size(64 << 10).resume_rotation(false);
    builder
}

fn builder(anchor: &Wired) -> Builder {
    let mut builder = plain();
    builder.anchor(Arc::new(anchor.clone()));
    builder
}

fn put(db: &Database, value: u64) -> Result<(), Error> {
    let txn = db.begin_write()?;
    txn.open_table(NOTES)?.insert(1, value)?;
    Ok(txn.commit()?)
}

fn value(db: &Database) -> u64 {
    db.begin_read().unwrap().open_table(NOTES).unwrap().get(1).unwrap().unwrap().value()
}

type OnOpen = fn(Database, &Wired) -> Result<(), Error>;

#[derive(Clone, Copy)]
enum Work {
    OnOpen(OnOpen),
    Open,
    Accept,
}

/// An operation, and the world at its beginning.
struct Case {
    name: &'static str,
    image: Vec<u8>,
    /// Where the anchor stands.
    at: u64,
    /// What the file holds before; `None` where it is refused.
    old: Option<u64>,
    new: u64,
    work: Work,
    /// Every image that there was before.
    older: Vec<Vec<u8>>,
}

const ON_OPEN: [(&str, u64, OnOpen); 8] = [
    ("commit", 3, |db, _| put(&db, 3)),
    ("two commits", 3, |db, _| put(&db, 4).and_then(|()| put(&db, 3))),
    ("close", 2, |db, _| Ok(db.close()?)),
    ("unbind", 2, |db, _| Ok(db.admin(&key())?.unbind_anchor()?)),
    ("policy", 2, |db, _| Ok(db.admin(&key())?.set_anchor_policy(AnchorPolicy::default())?)),
    ("relabel", 2, |db, _| {
        let slot = db.key_status().slots[0].id;
        Ok(db.admin(&key())?.relabel(slot, "mine")?)
    }),
    ("new data key", 2, |db, _| Ok(db.rotate_by_steps()?.step().map(drop)?)),
    ("commit, close", 3, |db, _| put(&db, 3).and_then(|()| Ok(db.close()?))),
];

fn cases() -> Vec<Case> {
    let medium = CrashMedium::new(1);
    let memory = MemoryAnchor::new("a");
    let anchor = Wired { memory, asker: medium.clone(), answers: Answers::Well };
    let db = plain().create_on(medium.clone(), &key()).unwrap();
    put(&db, 1).unwrap();
    let unbound = medium.image();
    let mut admin = db.admin(&key()).unwrap();
    admin.bind_anchor(Arc::new(anchor.clone()), AnchorPolicy::every_commit()).unwrap();
    drop(admin);
    put(&db, 1).unwrap();
    let rolled_back = medium.image();
    put(&db, 2).unwrap();
    let (unclean, unclean_at) = (medium.image(), anchor.memory.count());
    db.close().unwrap();
    let (clean, at) = (medium.image(), anchor.memory.count());
    let older = vec![unbound.clone(), rolled_back.clone(), unclean.clone(), clean.clone()];

    let case = |name, image: &Vec<u8>, at, old, new, work| {
        let (image, older) = (image.clone(), older.clone());
        Case { name, image, at, old, new, work, older }
    };
    let mut cases = Vec::new();
    for (name, new, work) in ON_OPEN {
        cases.push(case(name, &clean, at, Some(2), new, Work::OnOpen(work)));
    }
    let bind: OnOpen = |db, anchor| {
        let anchor = Arc::new(anchor.clone());
        db.admin(&key())?.bind_anchor(anchor, AnchorPolicy::every_commit())?;
        Ok(())
    };
    cases.push(case("bind", &unbound, 0, Some(1), 1, Work::OnOpen(bind)));
    cases.push(case(
        "commit after a crash",
        &unclean,
        unclean_at,
        Some(2),
        3,
        Work::OnOpen(ON_OPEN[0].2),
    ));
    cases.push(case("open, level", &clean, at, Some(2), 2, Work::Open));
    cases.push(case("open, one ahead", &clean, at - 1, Some(2), 2, Work::Open));
    let ahead = unclean_at - 1;
    cases.push(case("open after a crash, one ahead", &unclean, ahead, Some(2), 2, Work::Open));
    cases.push(case("accept", &rolled_back, at, None, 1, Work::Accept));
    cases.push(case("accept, anchor reset", &clean, at - 4, None, 2, Work::Accept));
    cases
}

impl Case {
    fn anchor(&self, asker: &CrashMedium, answers: Answers) -> Wired {
        let memory = MemoryAnchor::new("a");
        memory.set(self.at);
        Wired { memory, asker: asker.clone(), answers }
    }

    fn open_first(&self, medium: &CrashMedium, anchor: &Wired) -> Option<Database> {
        let Work::OnOpen(_) = self.work else { return None };
        let builder = if self.at == 0 { plain() } else { builder(anchor) };
        Some(builder.open_on(medium.clone(), &key()).unwrap())
    }

    fn run(
        &self,
        medium: &CrashMedium,
        anchor: &Wired,
        db: Option<Database>,
    ) -> Result<(), String> {
        let said = |error: Error| error.to_string();
        match (self.work, db) {
            (Work::OnOpen(work), Some(db)) => work(db, anchor).map_err(said),
            (Work::Accept, _) => {
                let accepted = builder(anchor).accept_rollback_on(medium.clone(), &key(), &key());
                accepted.map(drop).map_err(|error| error.to_string())
            }
            _ => {
                builder(anchor).open_on(medium.clone(), &key()).map(drop).map_err(|e| e.to_string())
            }
        }
    }
}

#[derive(Default)]
struct Count {
    cuts: AtomicU64,
    nested: AtomicU64,
    old: AtomicU64,
    new: AtomicU64,
    put_back: AtomicU64,
}

struct Trial<'a> {
    case: &'a Case,
    count: &'a Count,
    nest: u64,
}

/// The machine after a crash, its anchor, whether the operation had returned, and what somebody may
/// have kept of the disk.
struct After {
    medium: CrashMedium,
    anchor: Wired,
    done: bool,
    kept: Vec<Vec<u8>>,
}

impl Trial<'_> {
    fn crashed(&self, cut: Cut, crash: Crash, answers: Answers, seed: u64) -> Option<After> {
        let medium = CrashMedium::from_image(seed, self.case.image.clone());
        let first = self.case.anchor(&medium, Answers::Well);
        let db = self.case.open_first(&medium, &first);
        let mut kept = vec![medium.image()];
        let anchor = Wired { answers, ..first };
        // The open database has the anchor that it was opened with: it fails as this one does.
        if answers == Answers::Never {
            anchor.memory.fail(Some(AnchorFault::Unreachable("a cable".to_owned())));
        }
        let planned = medium.clone();
        cut.plan(&planned);
        let result = self.case.run(&medium, &anchor, db);
        anchor.memory.fail(None);
        if !medium.is_off() {
            return None;
        }
        for part in [0.0, 0.5, 1.0] {
            let crash =
                Crash::PowerCut { tearing: Tearing::Sector512, survival: Survival::Each(part) };
            kept.push(medium.image_after(crash, seed).image());
        }
        let after = medium.crash(crash);
        let anchor = Wired { asker: after.clone(), answers: Answers::Well, ..anchor };
        Some(After { medium: after, anchor, done: result.is_ok(), kept })
    }

    /// Opens as the owner would, who doesn't know how far it got.
    fn open(&self, medium: &CrashMedium, anchor: &Wired) -> Result<Database, OpenError> {
        match builder(anchor).open_on(medium.clone(), &key()) {
            Err(OpenError::Anchor(AnchorError::NotBound)) => {
                plain().open_on(medium.clone(), &key())
            }
            opened => opened,
        }
    }

    fn cut(&self, cut: Cut, crash: Crash, answers: Answers, seed: u64) -> Result<(), String> {
        let Some(after) = self.crashed(cut, crash, answers, seed) else { return Ok(()) };
        self.count.cuts.fetch_add(1, Ordering::Relaxed);
        let began = after.medium.operations();
        let length = self.judge(after)? - began;
        let points = ["anchor: before advance", "anchor: after advance"];
        let points = points.map(|name| Cut::Point { name, nth: 0 });
        let each = (0..length).map(Cut::Operation);
        let all = if seed.is_multiple_of(self.nest) { usize::MAX } else { 0 };
        for nested in points.into_iter().chain(each.take(all)) {
            // How often a failed question is asked again hangs on the clock.
            let Some(again) = self.crashed(cut, crash, answers, seed) else { continue };
            nested.plan(&again.medium);
            drop(self.open(&again.medium, &again.anchor));
            if !again.medium.is_off() {
                continue;
            }
            self.count.nested.fetch_add(1, Ordering::Relaxed);
            let medium = again.medium.crash(crash);
            let anchor = Wired { asker: medium.clone(), ..again.anchor };
            self.judge(After { medium, anchor, ..again })
                .map_err(|error| format!("nested {nested:?}: {error}"))?;
        }
        Ok(())
    }

    /// Returns how many operations there were when it had opened.
    fn judge(&self, after: After) -> Result<u64, String> {
        let After { medium, anchor, done, kept } = after;
        let opened = self.open(&medium, &anchor);
        let operations = medium.operations();
        let db = match opened {
            Ok(db) => db,
            Err(OpenError::Anchor(
                error @ (AnchorError::RolledBack { .. } | AnchorError::AnchorReset { .. }),
            )) if self.case.old.is_none() => {
                if done {
                    return Err(format!("it had returned: {error}"));
                }
                // It can be done again.
                self.count.old.fetch_add(1, Ordering::Relaxed);
                let accepted = builder(&anchor).accept_rollback_on(medium.clone(), &key(), &key());
                accepted.map_err(|error: KeyError| format!("a second try: {error}"))?.0
            }
            Err(error) => return Err(format!("refused: {error}")),
        };
        let found = value(&db);
        let outcome = if found == self.case.new { &self.count.new } else { &self.count.old };
        outcome.fetch_add(1, Ordering::Relaxed);
        let between = self.case.name == "two commits" && found == 4;
        let is_old = Some(found) == self.case.old || between;
        if found != self.case.new && (done || !is_old) {
            return Err(format!("holds {found}, returned: {done}"));
        }
        self.finish(db, &medium, &anchor)?;
        self.put_back(&anchor, &kept)?;
        Ok(operations)
    }

    /// One commit more, which the anchor acknowledges.
    fn finish(&self, db: Database, medium: &CrashMedium, anchor: &Wired) -> Result<(), String> {
        let said = |error: Error| format!("afterwards: {error}");
        if db.anchor_status().is_none() {
            let mut admin = db.admin(&key()).map_err(|e| said(e.into()))?;
            admin
                .bind_anchor(Arc::new(anchor.clone()), AnchorPolicy::every_commit())
                .map_err(|e| said(e.into()))?;
        }
        if !db.anchor_status().unwrap().is_level() {
            return Err(format!("not level: {:?}", db.anchor_status()));
        }
        put(&db, LAST).map_err(said)?;
        db.close().map_err(|e| said(e.into()))?;
        let db = builder(anchor).open_on(medium.clone(), &key()).map_err(|e| said(e.into()))?;
        if value(&db) == LAST { Ok(()) } else { Err(format!("the last one is {}", value(&db))) }
    }

    fn put_back(&self, anchor: &Wired, kept: &[Vec<u8>]) -> Result<(), String> {
        let count = anchor.memory.count();
        for image in self.case.older.iter().chain(kept) {
            self.count.put_back.fetch_add(1, Ordering::Relaxed);
            let medium = CrashMedium::from_image(0, image.clone());
            match builder(anchor).open_on(medium, &key()) {
                Err(OpenError::Anchor(AnchorError::RolledBack { .. } | AnchorError::NotBound)) => {}
                Err(error) => return Err(format!("put back, and said: {error}")),
                Ok(db) => return Err(format!("put back: {}", value(&db))),
            }
        }
        if anchor.memory.count() == count { Ok(()) } else { Err("it advanced".to_owned()) }
    }
}

fn every_cut(case: &Case, count: &Count) -> Vec<String> {
    let all = std::env::var("ANCHOR_CUTS").is_ok_and(|cuts| cuts == "all");
    let trial = Trial { case, count, nest: 29 };
    let medium = CrashMedium::from_image(0, case.image.clone());
    let anchor = case.anchor(&medium, Answers::Well);
    let db = case.open_first(&medium, &anchor);
    let (began, points) = (medium.operations(), medium.points());
    case.run(&medium, &anchor, db).unwrap();
    let before = |name| points.iter().find(|(point, _)| *point == name).map_or(0, |(_, n)| *n);
    // Counted from when the operation begins.
    let cuts = Cuts::of(&medium).filter_map(|cut| match cut {
        Cut::Operation(at) => at.checked_sub(began).map(Cut::Operation),
        Cut::Point { name, nth } => {
            nth.checked_sub(before(name)).map(|nth| Cut::Point { name, nth })
        }
    });
    let (mut failures, mut seed) = (Vec::new(), 0_u64);
    for cut in cuts {
        for crash in Crash::kinds() {
            for answers in [Answers::Well, Answers::Never, Answers::Unheard] {
                seed += 1;
                let at = match cut {
                    Cut::Point { name, .. } => name,
                    Cut::Operation(_) => "",
                };
                let between = at.starts_with("anchor") || at == "sync: after root record";
                let visit = all || seed % 211 == 0 || (between && seed % 13 == 0);
                if !visit {
                    continue;
                }
                if let Err(error) = trial.cut(cut, crash, answers, seed) {
                    failures
                        .push(format!("{}, {cut:?}, {crash:?}, {answers:?}: {error}", case.name));
                }
            }
        }
    }
    failures
}

#[test]
fn no_crash_makes_a_file_and_its_anchor_part_and_none_lets_an_older_file_pass() {
    let (cases, count) = (cases(), Count::default());
    let next = AtomicUsize::new(0);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let worker = || {
            let mut failures = Vec::new();
            while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                failures.extend(every_cut(case, &count));
            }
            failures
        };
        let workers = [scope.spawn(worker), scope.spawn(worker)];
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    failures.iter().take(10).for_each(|failure| println!("{failure}"));
    println!("figure: anchor cuts, operations = {}", cases.len());
    for (name, number) in [
        ("cuts", &count.cuts),
        ("nested cuts", &count.nested),
        ("old", &count.old),
        ("new", &count.new),
        ("older and lost images put back", &count.put_back),
    ] {
        println!("figure: anchor cuts, {name} = {}", number.load(Ordering::Relaxed));
    }
    println!("figure: anchor cuts, refused or accepted wrongly = {}", failures.len());
    assert!(failures.is_empty(), "{} of them", failures.len());
    // Both were seen: the cuts fall before and behind the point of no return.
    assert!(count.old.into_inner() > 20 && count.new.into_inner() > 100);
}

#[test]
fn a_file_anchor_that_is_cut_stands_where_it_stood_or_one_further() {
    let mut cuts = 0;
    for crash in Crash::kinds() {
        for operations in 0..4 {
            for nested in 0..3 {
                let disk = CrashMedium::new(operations * 64 + nested);
                let anchor = FileAnchor::create_on(disk.clone()).unwrap();
                anchor.advance(1).unwrap();
                disk.cut_after(operations);
                assert!(anchor.advance(2).is_err());
                let mut disk = disk.crash(crash);
                // And cut again while it mends and goes on.
                let anchor = FileAnchor::open_on(disk.clone()).unwrap();
                let found = anchor.read().unwrap();
                assert!((1..=2).contains(&found), "{crash:?} {operations}");
                disk.cut_after(nested);
                let advanced = anchor.advance(found + 1).is_ok();
                disk = disk.crash(crash);
                let anchor = FileAnchor::open_on(disk.clone()).unwrap();
                let again = anchor.read().unwrap();
                assert!(again == found + 1 || (again == found && !advanced));
                anchor.advance(again + 1).unwrap();
                assert_eq!(FileAnchor::open_on(disk).unwrap().read(), Ok(again + 1));
                cuts += 1;
            }
        }
    }
    println!("figure: file anchor, cuts = {cuts}");
    println!("figure: file anchor, counts lost or made up = 0");
}
