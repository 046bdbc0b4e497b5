//! Shows with random programs that strongroom stores what it was given. The bare backend is held
//! against a plain byte array: any offset and length, resize, sync, close, reopen, and a copy of
//! the medium after a sync. The database is held against the testkit's model, `BTreeMap`s with
//! commit semantics, over redb's table API: several tables, a multimap, savepoints of both kinds,
//! every durability, abort, held readers, compaction, clean reopens, and, in a test of its own,
//! crashes and faults in all of that. `PROPTEST_CASES` sets the number of programs.
#![cfg(feature = "testkit")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a helper that fails is a test that fails"
)]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use strongroom::medium::MemoryMedium;
use strongroom::redb::{ReadableDatabase, StorageBackend};
use strongroom::testkit::model::{
    self, Fault, Kind, Life, Nested, Op, Program, Round, Settings, Step, Tables, Transaction,
    Vault, Verdict,
};
use strongroom::testkit::{Crash, CrashMedium, Survival, Tearing};
use strongroom::{EncryptedBackend, RawKey};

const PAGE: usize = 4096;
/// Two and a half groups of 126 pages.
const PAGES_MAX: usize = 315;

fn config(cases: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let (cases, max_shrink_iters) = (asked.unwrap_or(cases), 2_000);
    ProptestConfig { cases, max_shrink_iters, failure_persistence: None, ..Default::default() }
}

fn key() -> RawKey {
    RawKey::new([0x61; 32])
}

#[derive(Clone, Debug)]
enum Call {
    Read(usize, usize),
    Write(usize, usize, u8),
    Resize(usize),
    ResizeToPartOfAPage(usize, usize),
    Sync,
    SyncAndOpenACopy,
    CloseAndReopen,
}

// Offsets near page and group boundaries as often as anywhere else.
fn offset() -> impl Strategy<Value = usize> {
    let anywhere = 0..PAGES_MAX * PAGE;
    let near = (0..PAGES_MAX, 0..64usize).prop_map(|(page, by)| (page * PAGE + by).max(32) - 32);
    let group = (0..3usize, 0..5usize).prop_map(|(group, by)| (group * 126 + by).max(2) * PAGE);
    prop_oneof![anywhere, near, group, Just(0), Just(2040)]
}

fn length() -> impl Strategy<Value = usize> {
    let pages = (1..140usize).prop_map(|pages| pages * PAGE);
    prop_oneof![2 => 0..100usize, 2 => 0..3 * PAGE, 2 => pages, 1 => Just(320), 1 => 0..80 * PAGE]
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        4 => (offset(), length()).prop_map(|(at, len)| Call::Read(at, len)),
        8 => (offset(), length(), any::<u8>()).prop_map(|(at, len, b)| Call::Write(at, len, b)),
        3 => (0..PAGES_MAX).prop_map(Call::Resize),
        1 => Just(Call::Resize(0)),
        1 => (0..PAGES_MAX, 1..PAGE).prop_map(|(page, by)| Call::ResizeToPartOfAPage(page, by)),
        2 => Just(Call::Sync),
        1 => Just(Call::SyncAndOpenACopy),
        1 => Just(Call::CloseAndReopen),
    ]
}

fn content(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| seed.wrapping_mul(31).wrapping_add((i / 7) as u8) ^ i as u8).collect()
}

fn check_all(backend: &EncryptedBackend, model: &[u8]) -> TestCaseResult {
    prop_assert_eq!(backend.len().unwrap(), model.len() as u64);
    let mut found = vec![0xEE; model.len()];
    backend.read(0, &mut found).unwrap();
    let differs = found.iter().zip(model).position(|(found, byte)| found != byte);
    prop_assert_eq!(differs, None, "first byte that differs");
    Ok(())
}

/// Whether the array takes the write too; page 0 keeps only zeros behind byte 2048.
fn model_write(model: &mut [u8], at: usize, data: &[u8]) -> bool {
    let Some(place) = model.get_mut(at..at + data.len()) else { return false };
    let beyond_2048 =
        |(index, byte): (usize, &u8)| *byte != 0 && (2048..PAGE).contains(&(at + index));
    if data.iter().enumerate().any(beyond_2048) {
        return false;
    }
    place.copy_from_slice(data);
    true
}

fn run_backend(calls: Vec<Call>) -> TestCaseResult {
    let medium = MemoryMedium::new();
    let mut model: Vec<u8> = Vec::new();
    let mut backend = EncryptedBackend::create_on(medium.clone(), &key()).unwrap();
    for call in calls {
        match call {
            Call::Read(at, len) => {
                let mut found = vec![0xEE; len];
                let read = backend.read(at as u64, &mut found);
                match model.get(at..at + len) {
                    Some(expected) => prop_assert!(read.is_ok() && found == expected, "{at} {len}"),
                    None => prop_assert!(read.is_err(), "a read past the end"),
                }
            }
            Call::Write(at, len, seed) => {
                // Behind byte 2048 page 0 takes zeros only: half of the writes there are.
                let data = if seed < 128 && at < PAGE { vec![0; len] } else { content(len, seed) };
                let written = backend.write(at as u64, &data);
                prop_assert_eq!(written.is_ok(), model_write(&mut model, at, &data));
            }
            Call::Resize(pages) => {
                backend.set_len((pages * PAGE) as u64).unwrap();
                model.resize(pages * PAGE, 0);
            }
            Call::ResizeToPartOfAPage(pages, by) => {
                prop_assert!(backend.set_len((pages * PAGE + by) as u64).is_err());
            }
            Call::Sync => backend.sync_data().unwrap(),
            Call::SyncAndOpenACopy => {
                backend.sync_data().unwrap();
                let copy = MemoryMedium::from_bytes(medium.to_bytes());
                let copy = EncryptedBackend::open_on(copy, &key()).unwrap();
                check_all(&copy, &model)?;
            }
            Call::CloseAndReopen => {
                // As redb does: what no sync followed is not promised to outlast a close.
                backend.sync_data().unwrap();
                backend.close().unwrap();
                drop(backend);
                backend = EncryptedBackend::open_on(medium.clone(), &key()).unwrap();
                prop_assert!(backend.recovery().clean);
            }
        }
    }
    check_all(&backend, &model)
}

fn op() -> impl Strategy<Value = Op> {
    let table = 0..3usize;
    let key = 0..200u32;
    let length = prop_oneof![5 => 0..200u32, 2 => 0..6_000u32, 1 => 20_000..120_000u32];
    let place = (table.clone(), key.clone());
    let range = (table.clone(), key.clone(), 0..100u32);
    prop_oneof![
        10 => (place.clone(), length, 0..9u64)
            .prop_map(|((table, key), length, seed)| Op::Put { table, key, length, seed }),
        3 => place.prop_map(|(table, key)| Op::Remove { table, key }),
        2 => range.clone().prop_map(|(table, low, by)| Op::Range(table, low, low + by)),
        1 => range.prop_map(|(table, low, by)| Op::Extract(table, low, low + by)),
        1 => table.clone().prop_map(Op::PopFirst),
        1 => table.clone().prop_map(Op::PopLast),
        1 => (table.clone(), 2..9u32).prop_map(|(table, divisor)| Op::Retain(table, divisor)),
        1 => table.prop_map(Op::DropTable),
        4 => (0..9u32, 0..400u32).prop_map(|(key, value)| Op::Pair(key, value)),
        1 => (0..9u32, 0..400u32).prop_map(|(key, value)| Op::Unpair(key, value)),
        1 => (0..9u32).prop_map(Op::UnpairAll),
    ]
}

fn transaction() -> impl Strategy<Value = Transaction> {
    let kind = || prop_oneof![Just(Kind::Ephemeral), Just(Kind::Persistent)];
    let flags =
        (prop::bool::weighted(0.7), any::<bool>(), any::<bool>(), prop::bool::weighted(0.15));
    let savepoints = (
        prop::option::weighted(0.3, kind()),
        prop::option::weighted(0.2, (kind(), 0..4usize)),
        prop::option::weighted(0.1, 0..4usize),
    );
    (vec(op(), 0..25), flags, savepoints).prop_map(|(ops, flags, savepoints)| {
        let (durable, two_phase, quick_repair, abort) = flags;
        let (make, restore, delete) = savepoints;
        Transaction { durable, two_phase, quick_repair, abort, make, restore, delete, ops }
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => transaction().prop_map(Step::Transaction),
        2 => Just(Step::Reopen),
        1 => Just(Step::Compact),
        1 => Just(Step::CheckIntegrity),
        1 => Just(Step::ForgetSavepoints),
        1 => Just(Step::Hold),
        2 => Just(Step::CheckHeld),
        1 => Just(Step::Release),
        2 => (1..40_u64).prop_map(Step::Rotate),
    ]
}

/// Small caches, so that pages are evicted in the middle of transactions and read again.
fn settings() -> impl Strategy<Value = Settings> {
    let cache_bytes = prop_oneof![Just(0), Just(256 << 10)];
    let seal_reserve = prop::option::of(5..300u64);
    let gathered_pages = prop::option::of(0..9usize);
    let late_entries = prop::option::of(0..40usize);
    let drawn = (cache_bytes, seal_reserve, gathered_pages, late_entries);
    drawn.prop_map(|(cache_bytes, seal_reserve, gathered_pages, late_entries)| Settings {
        cache_bytes,
        tag_cache_bytes: Some(0),
        seal_reserve,
        gathered_pages,
        late_entries,
        hole: None,
    })
}

fn loss() -> impl Strategy<Value = (Tearing, Survival)> {
    let tearing =
        prop_oneof![Just(Tearing::WholeWrite), Just(Tearing::Page4096), Just(Tearing::Sector512)];
    let survival = prop_oneof![
        Just(Survival::Each(0.0)),
        Just(Survival::Each(0.5)),
        Just(Survival::Prefix),
        Just(Survival::AllButOne),
        Just(Survival::OnlyOne),
    ];
    (tearing, survival)
}

fn crash() -> impl Strategy<Value = Crash> {
    let power_cut = |(tearing, survival)| Crash::PowerCut { tearing, survival };
    prop_oneof![1 => Just(Crash::Kill), 3 => loss().prop_map(power_cut)]
}

fn fault(horizon: u64) -> impl Strategy<Value = Fault> {
    let fail_sync = (0..horizon.div_ceil(8), loss())
        .prop_map(|(after, (tearing, survival))| Fault::FailSync { after, tearing, survival });
    let fail_write = (0..horizon).prop_map(Fault::FailWrite);
    prop_oneof![3 => (0..horizon).prop_map(Fault::Cut), 1 => fail_sync, 1 => fail_write]
}

fn round() -> impl Strategy<Value = Round> {
    let nested = (fault(32), crash()).prop_map(|(fault, crash)| Nested { fault, crash });
    let planned = prop::option::weighted(0.9, (0..6usize, fault(200)));
    (vec(step(), 1..10), planned, prop::bool::weighted(0.2), crash(), vec(nested, 0..3)).prop_map(
        |(steps, fault, close, crash, nested)| Round { steps, fault, close, crash, nested },
    )
}

fn program() -> impl Strategy<Value = Program> {
    let cut_creation = prop::option::weighted(0.1, (0..40u64, crash()));
    (any::<u64>(), settings(), cut_creation, vec(round(), 1..4)).prop_map(
        |(seed, settings, cut_creation, rounds)| Program { seed, settings, cut_creation, rounds },
    )
}

/// Every step, with all that the tables hold compared after it, and at the end once more in a
/// database opened for reading.
fn run_database(settings: Settings, steps: &[Step]) -> TestCaseResult {
    let mut life = Life::<Vault>::new(CrashMedium::new(1), settings);
    prop_assert_eq!(life.create(), Ok(true));
    for step in steps {
        prop_assert_eq!(life.step(step), Ok(()), "{:?}", step);
        prop_assert_eq!(life.step(&Step::ReadAll), Ok(()), "after {:?}", step);
        if *step == Step::Reopen {
            prop_assert!(life.db.as_ref().unwrap().0.recovery().clean);
        }
    }
    prop_assert_eq!(life.close(), Ok(()));
    let builder = Vault::builder(settings);
    let db = builder.open_read_only_on(life.medium.clone(), &Vault::key()).unwrap();
    let found = Tables::read(&db.begin_read().unwrap());
    prop_assert!(found.as_ref() == Ok(&*life.history.newest().tables), "opened read-only");
    Ok(())
}

proptest! {
    #![proptest_config(config(150))]
    #[test]
    fn the_backend_is_a_byte_array(calls in vec(call(), 1..40)) {
        run_backend(calls)?;
    }
}

proptest! {
    #![proptest_config(config(200))]
    #[test]
    fn the_database_is_a_few_btree_maps(settings in settings(), steps in vec(step(), 1..30)) {
        run_database(settings, &steps)?;
    }
}

proptest! {
    #![proptest_config(config(400))]
    #[test]
    fn a_crash_leaves_what_was_committed(program in program()) {
        let verdict = model::run::<Vault>(&program).verdict;
        prop_assert!(matches!(verdict, Verdict::Fine | Verdict::CreationCut), "{:?}", verdict);
    }
}
