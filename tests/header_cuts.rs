//! Shows that every operation on the header, cut at every write, length change and sync and at
//! every named point, under all tearing models, and cut again at every operation of what comes
//! after, leaves the old header or the new one: never neither, never a mix, never other data.
//!
//! An operation is a change of slots, policy or keys on an open database; an open that heals a
//! copy; or putting a header back. For each, one uncut run counts its operations and says what the
//! new state is. Second cuts follow one in 17 of the first; `HEADER_CUTS=all` has them follow all.
//! A state is everything that a user can see of slots and policy, which of all
//! credentials open the file, and the row that was stored before.
#![cfg(feature = "testkit")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use strongroom::redb::{ReadableDatabase, TableDefinition};
use strongroom::testkit::{Crash, CrashMedium, Survival, Tearing};
use strongroom::{
    Builder, Credential, Database, KeyError, KeyStatus, OpenError, RawKey, SlotHint, SlotId,
    SlotSpec, TurnBack,
};

const NOTES: TableDefinition<u32, u32> = TableDefinition::new("notes");
const NOW: u64 = 1_800_000_000;
/// Every credential that any operation knows.
const KEYS: std::ops::RangeInclusive<u8> = 1..=6;
const COPY: usize = 32_768;

fn raw(byte: u8) -> RawKey {
    RawKey::new([byte; 32])
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.cache_size(64 << 10).clock_at(NOW);
    builder
}

/// What a user sees.
#[derive(Clone, PartialEq, Debug)]
struct Seen {
    admin_generation: u64,
    slots: String,
    policy: String,
    /// The slot that each credential opens.
    opens: Vec<Option<u32>>,
    row: u32,
}

fn look(db: &Database) -> Result<Seen, String> {
    let KeyStatus { admin_generation, slots, policy, .. } = db.key_status();
    let slot_of = |key| match db.test_credential(&raw(key), SlotHint::default()) {
        Ok(slot) => Ok(Some(slot.id.0)),
        Err(OpenError::WrongKey) => Ok(None),
        Err(error) => Err(format!("a slot of neither state: {error}")),
    };
    let row = db.begin_read().unwrap().open_table(NOTES).unwrap().get(1).unwrap().unwrap().value();
    let opens = KEYS.map(slot_of).collect::<Result<_, _>>()?;
    let (slots, policy) = (format!("{slots:?}"), format!("{policy:?}"));
    Ok(Seen { admin_generation, slots, policy, opens, row })
}

/// Opens with whichever credential opens.
fn open(medium: &CrashMedium) -> Result<Database, OpenError> {
    let mut last = OpenError::WrongKey;
    for key in KEYS {
        match builder().open_on(medium.clone(), &raw(key)) {
            Err(OpenError::WrongKey) => {}
            Err(error) => last = error,
            Ok(db) => return Ok(db),
        }
        if medium.is_off() {
            break;
        }
    }
    Err(last)
}

/// Admin 1, data 2 and 3, admin 4; closed cleanly. And a header backup of before slot 4 was there.
fn base() -> (Vec<u8>, Vec<u8>) {
    let medium = CrashMedium::new(1);
    let db = builder().create_on(medium.clone(), &raw(1)).unwrap();
    let txn = db.begin_write().unwrap();
    txn.open_table(NOTES).unwrap().insert(1, 7).unwrap();
    txn.commit().unwrap();
    let mut admin = db.admin(&raw(1)).unwrap();
    admin.add(&SlotSpec::data("two"), &raw(2)).unwrap();
    admin.add(&SlotSpec::data("three"), &raw(3)).unwrap();
    let backup = db.header_backup().unwrap();
    admin.add(&SlotSpec::admin("four"), &raw(4)).unwrap();
    drop(admin);
    db.close().unwrap();
    (medium.image(), backup)
}

type OnOpen = fn(&Database) -> Result<(), KeyError>;

/// Something that changes the header.
#[derive(Clone)]
enum Work {
    /// On an open database.
    Change(OnOpen),
    /// An open, which heals.
    Open,
    /// A backup put back.
    Restore(Vec<u8>, TurnBack),
    /// The older copy put back.
    Recover,
}

struct Operation {
    name: &'static str,
    image: Vec<u8>,
    work: Work,
}

const CHANGES: [(&str, OnOpen); 9] = [
    ("add", |db| db.admin(&raw(1))?.add(&SlotSpec::data("five"), &raw(5)).map(drop)),
    ("remove", |db| db.admin(&raw(1))?.remove(SlotId(3))),
    ("replace", |db| db.admin(&raw(1))?.replace(SlotId(1), &raw(6)).map(drop)),
    ("relabel", |db| db.admin(&raw(1))?.relabel(SlotId(2), "TWO")),
    ("not-after", |db| db.admin(&raw(1))?.set_not_after(SlotId(2), Some(NOW + 9))),
    ("policy", |db| {
        let mut admin = db.admin(&raw(1))?;
        let mut policy = admin.policy();
        policy.slots_min = 2;
        admin.set_policy(&policy)
    }),
    ("rewrap", |db| db.admin(&raw(1))?.rewrap_root_key()),
    ("revoke data", |db| db.admin(&raw(1))?.revoke_data(SlotId(2)).map(drop)),
    ("revoke admin", |db| {
        let keep: [(SlotId, &dyn Credential); 2] = [(SlotId(1), &raw(1)), (SlotId(3), &raw(3))];
        db.admin(&raw(1))?.revoke_admin(SlotId(4), &keep).map(drop)
    }),
];

fn damaged(image: &[u8], copies: &[usize]) -> Vec<u8> {
    let mut image = image.to_vec();
    // Half of a copy, as a torn write leaves it.
    copies.iter().for_each(|copy| image[copy * COPY + 9000..][..9000].fill(0x33));
    image
}

/// Copy A with a generation that was never written, under a right CRC.
fn forged(image: &[u8]) -> Vec<u8> {
    let mut image = image.to_vec();
    image[24..32].copy_from_slice(&999_u64.to_le_bytes());
    let crc = crc32fast::hash(&image[..COPY - 4]).to_le_bytes();
    image[COPY - 4..COPY].copy_from_slice(&crc);
    image
}

fn operations() -> Vec<Operation> {
    let (image, older) = base();
    let current = {
        let db = open(&CrashMedium::from_image(1, image.clone())).unwrap();
        db.header_backup().unwrap()
    };
    let mut all: Vec<_> = CHANGES
        .iter()
        .map(|(name, work)| Operation { name, image: image.clone(), work: Work::Change(*work) })
        .collect();
    let restore = |backup: &Vec<u8>, turn_back| Work::Restore(backup.clone(), turn_back);
    for (name, image, work) in [
        ("heal A", damaged(&image, &[0]), Work::Open),
        ("heal B", damaged(&image, &[1]), Work::Open),
        ("restore, both lost", damaged(&image, &[0, 1]), restore(&current, TurnBack::Refuse)),
        ("restore, A lost", damaged(&image, &[0]), restore(&current, TurnBack::Refuse)),
        ("restore an older one", image.clone(), restore(&older, TurnBack::Allow)),
        ("restore an older one, A lost", damaged(&image, &[0]), restore(&older, TurnBack::Allow)),
        ("recover", forged(&image), Work::Recover),
    ] {
        all.push(Operation { name, image, work });
    }
    all
}

impl Operation {
    /// The machine at the point where the operation begins, and the database if it is one's.
    fn begin(&self, seed: u64) -> (CrashMedium, Option<Database>) {
        let medium = CrashMedium::from_image(seed, self.image.clone());
        let db = match self.work {
            Work::Change(_) => Some(open(&medium).unwrap()),
            _ => None,
        };
        (medium, db)
    }

    fn run(&self, medium: &CrashMedium, db: Option<Database>) -> Result<(), String> {
        let fail = |error: KeyError| error.to_string();
        match (&self.work, db) {
            (Work::Change(work), Some(db)) => work(&db).map_err(fail),
            (Work::Restore(backup, turn_back), _) => builder()
                .restore_header_on(medium.clone(), backup, &raw(1), *turn_back)
                .map(drop)
                .map_err(fail),
            (Work::Recover, _) => builder()
                .recover_header_on(medium.clone(), &raw(1), TurnBack::Refuse)
                .map(drop)
                .map_err(fail),
            _ => open(medium).map(drop).map_err(|error| error.to_string()),
        }
    }

    /// What the file shows, or why it doesn't open.
    fn state(&self, medium: &CrashMedium) -> Result<Result<Seen, String>, String> {
        match open(medium) {
            Ok(db) => look(&db).map(Ok),
            Err(error) => Ok(Err(format!("{:?}", std::mem::discriminant(&error)))),
        }
    }
}

/// How the power goes.
fn crashes() -> Vec<Crash> {
    let mut crashes = vec![Crash::Kill];
    for tearing in Tearing::ALL {
        for survival in [0.0, 0.5, 1.0].map(Survival::Each) {
            crashes.push(Crash::PowerCut { tearing, survival });
        }
        for survival in [Survival::Prefix, Survival::AllButOne, Survival::OnlyOne] {
            crashes.push(Crash::PowerCut { tearing, survival });
        }
    }
    crashes
}

/// Where the power goes.
#[derive(Clone, Copy, Debug)]
enum Cut {
    After(u64),
    At(&'static str, u64),
    FailedSync(u64),
}

/// The named points that an operation can reach, and how often at most.
const POINTS: [(&str, u64); 10] = [
    ("sync: after tag pages", 2),
    ("sync: after root record", 2),
    ("sync: after fsync", 2),
    ("header: after copy A", 1),
    ("header: after copy B", 1),
    ("header: after root record", 1),
    ("header: after healing", 1),
    ("restore: after first copy", 1),
    ("restore: after second copy", 1),
    ("recovery: after fsync", 1),
];

#[derive(Default)]
struct Count {
    cuts: AtomicU64,
    nested: AtomicU64,
    old: AtomicU64,
    new: AtomicU64,
}

struct Trial<'a> {
    operation: &'a Operation,
    old: Result<Seen, String>,
    new: Seen,
    count: &'a Count,
    /// One in so many cuts is followed by second ones.
    nest: u64,
}

impl Trial<'_> {
    /// Cuts, crashes, and looks; then again with a second cut at each operation of what follows.
    fn cut(&self, cut: Cut, crash: Crash, seed: u64) -> Result<(), String> {
        let Some((after, done)) = self.crashed(cut, crash, seed)? else { return Ok(()) };
        self.count.cuts.fetch_add(1, Ordering::Relaxed);
        let began = after.operations();
        self.judge(&after, done)?;
        let follow_up = after.operations() - began;
        drop(after);
        if !seed.is_multiple_of(self.nest) {
            return Ok(());
        }
        for operations in 0..follow_up {
            let (again, _) = self.crashed(cut, crash, seed)?.ok_or("not the same twice")?;
            again.cut_after(operations);
            let _ = open(&again);
            if !again.is_off() {
                continue; // a failed open of the old state went no further
            }
            self.count.nested.fetch_add(1, Ordering::Relaxed);
            let again = again.crash(crash);
            self.judge(&again, done).map_err(|error| format!("nested {operations}: {error}"))?;
        }
        Ok(())
    }

    /// The machine after the crash and whether the operation had returned; `None` where the plan
    /// never came true.
    fn crashed(
        &self,
        cut: Cut,
        crash: Crash,
        seed: u64,
    ) -> Result<Option<(CrashMedium, bool)>, String> {
        let (medium, db) = self.operation.begin(seed);
        match cut {
            Cut::After(operations) => medium.cut_after(operations),
            Cut::At(point, nth) => medium.cut_at_point(point, nth),
            Cut::FailedSync(syncs) => {
                medium.fail_sync_after(syncs, Tearing::Sector512, Survival::Each(0.5));
            }
        }
        // The database is dropped within: its close may be cut as well.
        let result = self.operation.run(&medium, db);
        if !medium.is_off() && !medium.sync_failed() {
            return Ok(None);
        }
        if result.is_err() && !medium.is_off() && !medium.sync_failed() {
            return Err(format!("failed by itself: {result:?}"));
        }
        Ok(Some((medium.crash(crash), result.is_ok())))
    }

    fn judge(&self, medium: &CrashMedium, done: bool) -> Result<(), String> {
        let found = self.operation.state(medium)?;
        if found.as_ref() == Ok(&self.new) {
            self.count.new.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        if found != self.old {
            return Err(format!("neither old nor new: {found:?}"));
        }
        if done {
            return Err("it had returned, and is gone".to_owned());
        }
        self.count.old.fetch_add(1, Ordering::Relaxed);
        // It can be done again.
        let db = match self.operation.work {
            Work::Change(_) => Some(open(medium).map_err(|error| error.to_string())?),
            _ => None,
        };
        self.operation.run(medium, db).map_err(|error| format!("a second try: {error}"))?;
        let found = self.operation.state(medium)?;
        if found.as_ref() == Ok(&self.new) { Ok(()) } else { Err(format!("then: {found:?}")) }
    }
}

/// Every cut of one operation under every crash.
fn every_cut(operation: &Operation, count: &Count) -> Vec<String> {
    let (medium, db) = operation.begin(0);
    let old = match operation.work {
        // What it is before, seen on a machine of its own.
        Work::Open => Err("not looked at: an open heals".to_owned()),
        _ => operation.state(&CrashMedium::from_image(0, operation.image.clone())).unwrap(),
    };
    let began = medium.operations();
    operation.run(&medium, db).unwrap();
    let length = medium.operations() - began;
    let new = operation.state(&medium).unwrap().unwrap();
    assert!(length > 4, "{}: {length}", operation.name);
    if matches!(operation.work, Work::Change(_)) {
        assert_ne!(old.as_ref(), Ok(&new), "{}", operation.name);
    }
    let all = std::env::var("HEADER_CUTS").is_ok_and(|cuts| cuts == "all");
    let nest = if all { 1 } else { 17 };
    let trial = Trial { operation, old, new, count, nest };
    let cuts = (0..length).map(Cut::After);
    let points = POINTS.iter().flat_map(|(point, most)| (0..*most).map(|nth| Cut::At(point, nth)));
    let mut failures = Vec::new();
    for (number, cut) in cuts.chain(points).enumerate() {
        for (kind, crash) in crashes().into_iter().enumerate() {
            let seed = (number * crashes().len() + kind) as u64;
            if let Err(error) = trial.cut(cut, crash, seed) {
                failures.push(format!("{}, {cut:?}, {crash:?}: {error}", operation.name));
            }
        }
    }
    let landed = [0.0, 0.5, 1.0].map(Survival::Each);
    for syncs in 0..8 {
        for (kind, survival) in landed.into_iter().enumerate() {
            let crash = Crash::FailedSync { tearing: Tearing::Sector512, survival };
            let seed = 4096 + syncs * 64 + kind as u64;
            if let Err(error) = trial.cut(Cut::FailedSync(syncs), crash, seed) {
                failures.push(format!("{}, sync {syncs} fails: {error}", operation.name));
            }
        }
    }
    failures
}

#[test]
fn every_header_operation_leaves_the_old_header_or_the_new_one() {
    let (operations, count) = (operations(), Count::default());
    let next = AtomicUsize::new(0);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let worker = || {
            let mut failures = Vec::new();
            while let Some(operation) = operations.get(next.fetch_add(1, Ordering::Relaxed)) {
                failures.extend(every_cut(operation, &count));
            }
            failures
        };
        let workers = [scope.spawn(worker), scope.spawn(worker)];
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    failures.iter().take(10).for_each(|failure| println!("{failure}"));
    println!("figure: header operations = {}", operations.len());
    for (name, number) in [
        ("cuts", &count.cuts),
        ("nested cuts", &count.nested),
        ("old header", &count.old),
        ("new header", &count.new),
    ] {
        println!("figure: header cuts, {name} = {}", number.load(Ordering::Relaxed));
    }
    println!("figure: header cuts, neither or a mix = {}", failures.len());
    assert!(failures.is_empty(), "{} of them", failures.len());
    // Both outcomes were seen: the cuts fall before and behind the point of no return.
    assert!(count.old.into_inner() > 100 && count.new.into_inner() > 100);
}
