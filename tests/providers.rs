//! Shows what an application's own key provider may do to a database, and what it can't: a service
//! that is down, slow, stuck, says no, is locked out, panics, or gives back something else is a
//! typed error that leaves the file as it was; it is asked at most once a slot and open, and never
//! about another provider's slots. Then the credentials that come in parts: recovery codes, and
//! several together with each part missing or wrong. Last, locked memory and a hardened process,
//! each in a child process, since limits are the process's.
#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use strongroom::{
    AllOf, AllOfError, Builder, CodeError, Credential, Database, KdfCost, KeyError, KeyFile,
    KeyProvider, LockMemory, OpenError, Passphrase, ProviderError, ProviderFailure, ProviderFault,
    ProviderSlot, RawKey, RecoveryCode, SlotKind, SlotSecret, SlotSpec, harden_process,
};
use tempfile::TempDir;

const CHEAP: KdfCost = KdfCost { memory_kib: 19 * 1024, passes: 2, lanes: 1 };
/// A slot's blob begins in header copy A, with its length two bytes at 256 of the slot.
const SLOT_START: usize = 2048;

/// What the service does next.
#[derive(Clone, Debug)]
enum Mood {
    Up,
    Answers(ProviderError),
    Hangs(Duration),
    Panics,
    GivesAnotherSecret,
}

/// A provider whose key is XORed over the secret: what a blob looks like is beside the point here.
#[derive(Debug)]
struct Service {
    name: String,
    mood: Mood,
    key: u8,
    blob_len: usize,
    unwraps: AtomicU32,
}

impl Service {
    fn new(mood: Mood) -> Self {
        let unwraps = AtomicU32::new(0);
        Self { name: "test-service".to_owned(), mood, key: 0x5A, blob_len: 68, unwraps }
    }

    fn up() -> Arc<Self> {
        Arc::new(Self::new(Mood::Up))
    }

    fn mood(&self) -> Result<(), ProviderError> {
        match &self.mood {
            Mood::Up | Mood::GivesAnotherSecret => Ok(()),
            Mood::Answers(error) => Err(error.clone()),
            Mood::Hangs(time) => {
                std::thread::sleep(*time);
                Ok(())
            }
            Mood::Panics => panic!("the test's provider panics on purpose"),
        }
    }
}

impl KeyProvider for Service {
    fn name(&self) -> &str {
        &self.name
    }

    fn wrap_secret(
        &self,
        slot: &ProviderSlot,
        secret: &SlotSecret,
    ) -> Result<Vec<u8>, ProviderError> {
        let mut blob = slot.associated_data().to_vec();
        blob.extend(secret.expose().map(|byte| byte ^ self.key));
        blob.resize(self.blob_len, 0);
        Ok(blob)
    }

    fn unwrap_secret(&self, slot: &ProviderSlot, blob: &[u8]) -> Result<SlotSecret, ProviderError> {
        self.unwraps.fetch_add(1, Ordering::SeqCst);
        self.mood()?;
        let damaged = || ProviderError::Damaged("not what this service wrapped".to_owned());
        let (bound, wrapped) = blob.split_at_checked(36).ok_or_else(damaged)?;
        if bound != slot.associated_data() {
            return Err(ProviderError::NotMine);
        }
        let mut secret: Vec<u8> = wrapped.iter().take(32).map(|byte| byte ^ self.key).collect();
        if matches!(self.mood, Mood::GivesAnotherSecret) {
            secret.fill(7);
        }
        SlotSecret::from_bytes(&secret).ok_or_else(damaged)
    }
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.room");
    (folder, path)
}

fn made(key: impl Credential) -> (TempDir, PathBuf) {
    let (folder, path) = folder();
    Database::create(&path, key).unwrap().close().unwrap();
    (folder, path)
}

/// The error of an open, which leaves the file as it was.
fn refused(path: &Path, builder: &Builder, key: &dyn Credential) -> OpenError {
    let before = fs::read(path).unwrap();
    let error = builder.open(path, key).map(drop).unwrap_err();
    assert!(fs::read(path).unwrap() == before, "the file was changed: {error}");
    assert!(error.to_string().len() > 20, "{error}");
    error
}

fn fault(error: OpenError) -> ProviderFault {
    match error {
        OpenError::Provider(ProviderFailure { provider, slot: 1, fault }) => {
            assert_eq!(provider, "test-service");
            fault
        }
        other => panic!("not a provider's failure: {other:?}"),
    }
}

fn short_time() -> Builder {
    let mut builder = Builder::new();
    builder.provider_timeout(Duration::from_millis(200));
    builder
}

#[test]
fn a_provider_that_the_policy_forbids_is_not_asked() {
    let (_folder, path) = folder();
    let admin_key = RawKey::new([1; 32]);
    let db = Builder::new().create(&path, &admin_key).unwrap();
    let mut admin = db.admin(&admin_key).unwrap();
    let (allowed, forbidden) = (Service::up(), Service::up());
    admin.add(&SlotSpec::data("service"), &allowed).unwrap();
    assert_eq!(allowed.unwraps.load(Ordering::SeqCst), 1, "a slot that is made is tried");
    let mut policy = admin.policy();
    policy.set_allowed(SlotKind::Provider, false);
    admin.set_policy(&policy).unwrap();
    let refused = admin.add(&SlotSpec::data("another"), &forbidden);
    assert!(matches!(refused, Err(KeyError::KindNotAllowed)), "{refused:?}");
    assert_eq!(forbidden.unwraps.load(Ordering::SeqCst), 0);
    drop(admin);
    db.close().unwrap();
    Database::open(&path, allowed).unwrap().close().unwrap();
}

#[test]
fn a_provider_makes_a_slot_and_opens_it_again() {
    let service = Service::up();
    let (_folder, path) = made(Arc::clone(&service));
    let asked = service.unwraps.load(Ordering::SeqCst);
    assert_eq!(asked, 1, "a new slot's secret is unwrapped once, to compare");
    Database::open(&path, Arc::clone(&service)).unwrap().close().unwrap();
    Database::open_read_only(&path, service.clone() as Arc<dyn KeyProvider>).unwrap();
    assert_eq!(service.unwraps.load(Ordering::SeqCst), asked + 2, "once an open");
}

#[test]
fn what_the_provider_answers_is_what_the_caller_reads() {
    let (_folder, path) = made(Service::up());
    for error in [
        ProviderError::Wrong,
        ProviderError::LockedOut { retry_after: Some(Duration::from_secs(1000)) },
        ProviderError::LockedOut { retry_after: None },
        ProviderError::Unavailable("connection refused".to_owned()),
        ProviderError::Denied("key is disabled".to_owned()),
        ProviderError::NoKey("destroyed".to_owned()),
        ProviderError::Damaged("bad tag".to_owned()),
    ] {
        let service = Arc::new(Service::new(Mood::Answers(error.clone())));
        let found = refused(&path, &Builder::new(), &service);
        assert_eq!(service.unwraps.load(Ordering::SeqCst), 1, "asked once: {error:?}");
        assert!(found.to_string().contains(&error.to_string()));
        assert_eq!(fault(found), ProviderFault::Answered(error));
    }
    let service = Arc::new(Service::new(Mood::Answers(ProviderError::NotMine)));
    let found = refused(&path, &Builder::new(), &service);
    assert!(matches!(found, OpenError::WrongKey), "{found:?}");
}

#[test]
fn a_provider_that_hangs_is_waited_for_no_longer_than_was_said() {
    let (_folder, path) = made(Service::up());
    let service = Arc::new(Service::new(Mood::Hangs(Duration::from_secs(3))));
    let start = Instant::now();
    let found = refused(&path, &short_time(), &service);
    let waited = start.elapsed();
    println!("figure: waited for a provider that hangs, limit 200 ms = {} ms", waited.as_millis());
    assert_eq!(fault(found), ProviderFault::TimedOut { after: Duration::from_millis(200) });
    assert!(waited < Duration::from_secs(2), "{waited:?}");
    // Slow is not stuck; and the file's lock was given back.
    let slow = Arc::new(Service::new(Mood::Hangs(Duration::from_millis(20))));
    short_time().open(&path, &slow).unwrap().close().unwrap();
    // The same for a new file: nothing is made.
    let (_other, new) = folder();
    let found = short_time().create(&new, &service).unwrap_err();
    assert!(matches!(fault(found), ProviderFault::TimedOut { .. }));
    assert!(!new.exists());
}

#[test]
fn a_panic_stays_in_the_provider() {
    let (_folder, path) = made(Service::up());
    let service = Arc::new(Service::new(Mood::Panics));
    assert_eq!(fault(refused(&path, &Builder::new(), &service)), ProviderFault::Panicked);
    let (other, new) = folder();
    assert_eq!(fault(Database::create(&new, service).unwrap_err()), ProviderFault::Panicked);
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0, "nothing was left");
    Database::open(&path, Service::up()).unwrap();
}

#[test]
fn a_slot_that_would_never_open_is_not_made() {
    let (folder, path) = folder();
    let service = Arc::new(Service::new(Mood::GivesAnotherSecret));
    assert_eq!(fault(Database::create(&path, service).unwrap_err()), ProviderFault::Unfaithful);
    for name in ["", "Upper", "a name", &"x".repeat(33)] {
        let service = Service { name: name.to_owned(), ..Service::new(Mood::Up) };
        let found = Database::create(&path, Arc::new(service)).unwrap_err();
        let bad = matches!(&found, OpenError::Provider(failure)
            if failure.fault == ProviderFault::BadName);
        assert!(bad, "{found:?}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was left");
}

#[test]
fn a_blob_fills_the_slot_and_no_more() {
    let room = 1728 - 1 - "test-service".len();
    let largest = Arc::new(Service { blob_len: room, ..Service::new(Mood::Up) });
    let (_folder, path) = made(largest);
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes[SLOT_START + 256..][..2], 1728_u16.to_le_bytes(), "with the name");
    Database::open(&path, Service::up()).unwrap();
    let larger = Arc::new(Service { blob_len: room + 1, ..Service::new(Mood::Up) });
    let (other, new) = folder();
    let found = fault(Database::create(&new, larger).unwrap_err());
    assert_eq!(found, ProviderFault::BlobTooLong { found: room + 1, max: room });
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0, "nothing was left");
}

#[test]
fn providers_of_other_names_and_other_kinds_are_not_asked() {
    let (_folder, path) = made(Service::up());
    let other = Service { name: "another-service".to_owned(), ..Service::new(Mood::Panics) };
    let other = Arc::new(other);
    let found = refused(&path, &Builder::new(), &other);
    assert!(matches!(found, OpenError::WrongKey), "{found:?}");
    assert_eq!(other.unwraps.load(Ordering::SeqCst), 0);
    let (_folder, path) = made(RawKey::new([1; 32]));
    let service = Arc::new(Service::new(Mood::Panics));
    assert!(matches!(refused(&path, &Builder::new(), &service), OpenError::WrongKey));
    assert_eq!(service.unwraps.load(Ordering::SeqCst), 0);
}

#[test]
fn a_provider_with_another_key_opens_nothing() {
    // This one notices nothing itself; the slot's commitment does.
    let (_folder, path) = made(Service::up());
    let service = Arc::new(Service { key: 0x5B, ..Service::new(Mood::Up) });
    assert!(matches!(refused(&path, &Builder::new(), &service), OpenError::WrongKey));
}

#[test]
fn a_changed_blob_opens_nothing_whether_the_provider_notices_or_not() {
    // 32 bytes more than the service looks at: those too are bound into the slot.
    let (_folder, path) = made(Arc::new(Service { blob_len: 100, ..Service::new(Mood::Up) }));
    let good = fs::read(&path).unwrap();
    let blob_len = 1 + "test-service".len() + 100;
    let (mut wrong, mut answered) = (0, 0);
    for at in 0..blob_len {
        let mut bytes = good.clone();
        for copy in [0, 32 * 1024] {
            bytes[copy + SLOT_START + 320 + at] ^= 1;
            let crc = crc32fast::hash(&bytes[copy..][..32_764]);
            bytes[copy + 32_764..][..4].copy_from_slice(&crc.to_le_bytes());
        }
        fs::write(&path, &bytes).unwrap();
        match refused(&path, &Builder::new(), &Service::up()) {
            OpenError::WrongKey => wrong += 1,
            error => {
                assert!(matches!(fault(error), ProviderFault::Answered(_)));
                answered += 1;
            }
        }
    }
    println!("figure: blob bytes changed, CRC made right, accepted = 0 of {blob_len}");
    assert_eq!(wrong + answered, blob_len);
}

#[test]
fn a_recovery_code_opens_what_it_made_however_it_is_typed() {
    let code = RecoveryCode::generate().unwrap();
    let paper = code.reveal().to_string();
    let (_folder, path) = made(code);
    let typed = paper.to_lowercase().replace('-', " ").replace('0', "O").replace('1', "l");
    Database::open(&path, RecoveryCode::parse(&typed).unwrap()).unwrap().close().unwrap();
    let other = RecoveryCode::generate().unwrap();
    assert!(matches!(refused(&path, &Builder::new(), &other), OpenError::WrongKey));
    // A kind of its own, also for the same 256 bits.
    let raw = refused(&path, &Builder::new(), &RawKey::new([0; 32]));
    assert!(matches!(raw, OpenError::WrongKey));
    let wrong = if paper.starts_with('2') { "3" } else { "2" };
    let found = RecoveryCode::parse(&format!("{wrong}{}", &paper[1..])).unwrap_err();
    let OpenError::RecoveryCode(CodeError::Groups(groups)) = &found else { panic!("{found:?}") };
    assert_eq!(groups.iter().collect::<Vec<_>>(), [1]);
    assert!(found.to_string().contains("group 1 of 11"), "{found}");
}

fn words(words: &str) -> Passphrase {
    Passphrase::new(words).cost(CHEAP)
}

#[test]
fn several_together_open_only_together() {
    let (folder, path) = folder();
    let [key_path, other_path] = ["key", "other"].map(|name| folder.path().join(name));
    KeyFile::generate(&key_path).unwrap();
    KeyFile::generate(&other_path).unwrap();
    let file = || KeyFile::read(&key_path).unwrap();
    let other_file = || KeyFile::read(&other_path).unwrap();
    let service = Service::up();
    let three = |said, file, service| AllOf::new(words(said), file).and(service);
    Database::create(&path, three("right", file(), Service::up())).unwrap().close().unwrap();
    // Whatever the order.
    let again = AllOf::new(service.clone(), file()).and(words("right"));
    Database::open(&path, again).unwrap().close().unwrap();
    let with_other_key = Arc::new(Service { key: 1, ..Service::new(Mood::Up) });
    let wrong: [(&str, Box<dyn Credential>); 10] = [
        ("passphrase wrong", Box::new(three("wrong", file(), Service::up()))),
        ("key file wrong", Box::new(three("right", other_file(), Service::up()))),
        ("provider wrong", Box::new(three("right", file(), with_other_key))),
        ("passphrase missing", Box::new(AllOf::new(file(), Service::up()))),
        ("key file missing", Box::new(AllOf::new(words("right"), Service::up()))),
        ("provider missing", Box::new(AllOf::new(words("right"), file()))),
        ("passphrase alone", Box::new(words("right"))),
        ("key file alone", Box::new(file())),
        ("provider alone", Box::new(Service::up())),
        ("one too many", Box::new(three("right", file(), Service::up()).and(other_file()))),
    ];
    for (what, credential) in wrong {
        let found = refused(&path, &Builder::new(), &*credential);
        assert!(matches!(found, OpenError::WrongKey), "{what}: {found:?}");
    }
    // A part's own trouble is told as such.
    let denied = ProviderError::Denied("no".to_owned());
    let down = Arc::new(Service::new(Mood::Answers(denied.clone())));
    let found = refused(&path, &Builder::new(), &three("right", file(), down));
    assert_eq!(fault(found), ProviderFault::Answered(denied));
}

#[test]
fn several_together_have_bounds() {
    let (folder, path) = folder();
    let refused = |all: AllOf| match Database::create(&path, all).unwrap_err() {
        OpenError::AllOf(error) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(AllOf::new(words("a"), words("b"))), AllOfError::TwoPassphrases);
    let raw = |byte| RawKey::new([byte; 32]);
    let five = AllOf::new(raw(1), raw(2)).and(raw(3)).and(raw(4)).and(raw(5));
    assert_eq!(refused(five), AllOfError::TooMany { found: 5 });
    assert_eq!(refused(AllOf::new(raw(1), AllOf::new(raw(2), raw(3)))), AllOfError::Nested);
    // Count, then kind and length of each of two parts, of which the other one stores nothing.
    let beside = 1 + 3 + 3;
    let room = 1728 - beside - 1 - "test-service".len();
    let long = |blob_len| Arc::new(Service { blob_len, ..Service::new(Mood::Up) });
    let too_long = refused(AllOf::new(raw(1), long(room + 1)));
    assert_eq!(too_long, AllOfError::BlobTooLong { found: 1729, max: 1728 });
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was left");
    Database::create(&path, AllOf::new(raw(1), long(room))).unwrap().close().unwrap();
    Database::open(&path, AllOf::new(raw(1), Service::up())).unwrap();
}

/// Runs one test of this binary again in a child, started by `before` if its rights matter.
fn in_a_child(test: &str, before: &[&str]) -> String {
    let this = std::env::current_exe().unwrap();
    let itself = [this.to_str().unwrap(), "--exact", test, "--nocapture", "--test-threads", "1"];
    let words = [before, &itself].concat();
    let (program, arguments) = words.split_first().unwrap();
    let mut command = Command::new(program);
    let output = command.args(arguments).env("STRONGROOM_CHILD", "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn is_child() -> bool {
    std::env::var_os("STRONGROOM_CHILD").is_some()
}

#[test]
#[cfg(target_os = "linux")]
fn required_locking_is_refused_where_the_system_locks_nothing() {
    let (_folder, path) = folder();
    let key = RawKey::new([1; 32]);
    let mut require = Builder::new();
    require.lock_memory(LockMemory::Require);
    if is_child() {
        let found = require.create(&path, &key).unwrap_err();
        assert!(matches!(found, OpenError::MemoryNotLocked { limit_bytes: Some(0) }), "{found:?}");
        assert!(!path.exists());
        let db = Builder::new().lock_memory(LockMemory::Prefer).create(&path, &key).unwrap();
        assert!(!db.key_memory_is_locked(), "the limit bites");
        db.close().unwrap();
        let found = refused(&path, &require, &key);
        assert!(matches!(found, OpenError::MemoryNotLocked { .. }), "{found:?}");
        println!("the child was refused");
        return;
    }
    // Root may lock whatever the limit says, unless that right is taken away.
    let script = "ulimit -l 0 && exec \"$@\"";
    let sh = ["sh", "-c", script, "sh"];
    let no_right = ["setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock"];
    let root = fs::read_to_string("/proc/self/status").unwrap().contains("\nUid:\t0\t");
    let before = if root { [&no_right[..], &sh].concat() } else { sh.to_vec() };
    let test = "required_locking_is_refused_where_the_system_locks_nothing";
    assert!(in_a_child(test, &before).contains("the child was refused"));
    // Here it is locked, if the limit allows two pages; then both are the same.
    let db = Builder::new().create(&path, &key).unwrap();
    if db.key_memory_is_locked() {
        db.close().unwrap();
        let db = require.open(&path, &key).unwrap();
        assert!(db.key_memory_is_locked());
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_hardened_process_dumps_no_core() {
    use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};
    if is_child() {
        assert_ne!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        let hardening = harden_process();
        assert!(hardening.not_dumpable && hardening.no_core_file, "{hardening:?}");
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        let limit = getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
        // Key memory works as before, and again is as good as once.
        let (_folder, path) = made(RawKey::new([1; 32]));
        Database::open(&path, RawKey::new([1; 32])).unwrap();
        assert_eq!(harden_process(), hardening);
        println!("the child is hardened");
        return;
    }
    let text = in_a_child("a_hardened_process_dumps_no_core", &[]);
    assert!(text.contains("the child is hardened"));
}
