//! Shows that bad input is answered by a typed error that says what to do, that nothing panics, and
//! that the file is left as it was: missing, taken, empty, foreign, truncated and versioned files,
//! wrong keys, bad key files, KDF bombs, second opens (here and from a child process), media that
//! can't lock or can't be written, and a disk that is full at any byte of a commit.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a helper that fails is a test that fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use strongroom::medium::{LockKind, Medium, MemoryMedium};
use strongroom::redb::{self, ReadableDatabase, ReadableTable, TableDefinition};
use strongroom::{
    Builder, Damage, Database, Error, KdfCost, KdfLimits, KeyFile, OpenError, Passphrase, RawKey,
};
use tempfile::TempDir;

const NOTES: TableDefinition<u32, &[u8]> = TableDefinition::new("notes");
const CHEAP: KdfCost = KdfCost { memory_kib: 19 * 1024, passes: 2, lanes: 1 };

fn key() -> RawKey {
    RawKey::new([0x37; 32])
}

fn commit(db: &redb::Database, number: u32, len: usize) -> Result<(), redb::Error> {
    let txn = db.begin_write()?;
    txn.open_table(NOTES)?.insert(number, &*vec![number as u8; len])?;
    txn.commit()?;
    Ok(())
}

fn content(db: &impl ReadableDatabase) -> BTreeMap<u32, usize> {
    let table = db.begin_read().unwrap().open_table(NOTES).unwrap();
    let entries = table.iter().unwrap().map(Result::unwrap);
    entries.map(|(key, value)| (key.value(), value.value().len())).collect()
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.room");
    (folder, path)
}

/// A cleanly closed database with one note.
fn made(path: &Path) -> Vec<u8> {
    let db = Database::create(path, key()).unwrap();
    commit(&db, 1, 5000).unwrap();
    db.close().unwrap();
    fs::read(path).unwrap()
}

fn names(folder: &TempDir) -> BTreeSet<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn says(error: &impl ToString, phrases: &[&str]) {
    let text = error.to_string();
    assert!(phrases.iter().all(|phrase| text.contains(phrase)), "{phrases:?} in: {text}");
}

/// The error of opening for writing and of opening read-only, which must be of one kind and leave
/// the file alone.
fn refused(path: &Path) -> OpenError {
    let before = fs::read(path).ok();
    let read_only = Database::open_read_only(path, key()).map(drop).unwrap_err();
    let error = Database::open(path, key()).map(drop).unwrap_err();
    let kind = std::mem::discriminant::<OpenError>;
    assert_eq!(kind(&read_only), kind(&error), "{read_only}; {error}");
    assert!(fs::read(path).ok() == before, "the file was changed: {error}");
    error
}

#[test]
fn a_missing_file_is_not_created() {
    let (folder, path) = folder();
    let error = refused(&path);
    assert!(matches!(&error, OpenError::NotFound(named) if *named == path));
    says(&error, &["there is no", "file.room", "`create`"]);
    assert!(names(&folder).is_empty());
}

#[test]
fn a_directory_is_called_one() {
    let (folder, _) = folder();
    let error = refused(folder.path());
    assert!(matches!(error, OpenError::IsDirectory(_)));
    says(&error, &["is a directory", "name a file in it"]);
    let error = Database::create(folder.path(), key()).unwrap_err();
    assert!(matches!(error, OpenError::IsDirectory(_)));
    assert!(names(&folder).is_empty());
}

#[test]
fn creating_never_replaces_anything() {
    let (folder, path) = folder();
    let before = made(&path);
    let error = Database::create(&path, key()).unwrap_err();
    assert!(matches!(&error, OpenError::AlreadyExists(named) if *named == path));
    says(&error, &["exists", "open it", "another name"]);
    assert!(fs::read(&path).unwrap() == before);
    for content in [&b""[..], b"something else"] {
        fs::write(&path, content).unwrap();
        assert!(matches!(Database::create(&path, key()), Err(OpenError::AlreadyExists(_))));
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    assert!(matches!(Database::create(&link, key()), Err(OpenError::AlreadyExists(_))));
    assert_eq!(names(&folder).len(), 2, "no temporary file is left: {:?}", names(&folder));
    let error = Builder::new().create_on(MemoryMedium::from_bytes(vec![0]), &key()).unwrap_err();
    assert!(matches!(error, OpenError::NotEmpty));
    says(&error, &["empty one"]);
}

#[test]
fn creating_in_a_missing_directory_names_the_directory() {
    let (folder, _) = folder();
    let error = Database::create(folder.path().join("no/file.room"), key()).unwrap_err();
    assert!(matches!(&error, OpenError::NotFound(path) if *path == folder.path().join("no")));
    says(&error, &["there is no", "existing directory"]);
}

#[test]
fn files_of_something_else_are_told_apart() {
    let (_folder, path) = folder();
    fs::write(&path, b"").unwrap();
    let error = refused(&path);
    assert!(matches!(error, OpenError::Empty));
    says(&error, &["empty", "delete it"]);

    drop(fs::remove_file(&path));
    drop(redb::Database::create(&path).unwrap());
    let error = refused(&path);
    assert!(matches!(error, OpenError::PlainRedb));
    says(&error, &["plain", "redb database", "convert::encrypt"]);

    let mut dice = 88_172_645_463_325_252_u64;
    for len in [1, 15, 16, 100, 4096, 32_768, 65_537, 100_000, 200_000] {
        let next = |_| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            (dice >> 11) as u8
        };
        fs::write(&path, (0..len).map(next).collect::<Vec<_>>()).unwrap();
        let error = refused(&path);
        assert!(matches!(error, OpenError::NotStrongroom), "{len}: {error}");
        says(&error, &["not a strongroom database"]);
    }
}

#[test]
fn another_format_version_asks_for_a_newer_program() {
    let (_folder, path) = folder();
    let mut bytes = made(&path);
    (bytes[16], bytes[32_768 + 16]) = (2, 2);
    fs::write(&path, bytes).unwrap();
    let error = refused(&path);
    assert!(matches!(error, OpenError::UnsupportedVersion { found: 2 }));
    says(&error, &["version 2", "use a newer"]);
}

#[test]
fn one_whole_header_copy_of_another_version_is_not_healed_away() {
    // As an upgrade by a newer program leaves it that was cut off between the copies.
    for start in [0, 32_768] {
        let (_folder, path) = folder();
        let mut bytes = made(&path);
        let copy = &mut bytes[start..start + 32_768];
        copy[16] = 2;
        let crc = crc32fast::hash(&copy[..32_764]).to_le_bytes();
        copy[32_764..].copy_from_slice(&crc);
        fs::write(&path, bytes).unwrap();
        assert!(matches!(refused(&path), OpenError::UnsupportedVersion { found: 2 }));
    }
}

#[test]
fn a_truncated_file_is_refused_at_every_length() {
    let (_folder, path) = folder();
    let whole = made(&path);
    let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
    let data_end = whole.len() - 4096;
    for len in (1..300).chain((300..whole.len()).step_by(509)).chain([data_end - 1]) {
        fs::write(&path, &whole[..len]).unwrap();
        if len >= data_end {
            // Only the clean index is cut off, which is a cache.
            let db = Database::open_read_only(&path, key()).unwrap();
            assert_eq!(content(&*db), BTreeMap::from([(1, 5000)]));
            *kinds.entry("opened: only the clean index was cut".to_owned()).or_default() += 1;
            continue;
        }
        let error = refused(&path);
        let kind = match &error {
            OpenError::NotStrongroom => "not strongroom".to_owned(),
            OpenError::HeaderLost => "header lost".to_owned(),
            OpenError::Damaged(Damage::BothRoots) => "both roots".to_owned(),
            OpenError::Damaged(Damage::Truncated { .. }) => "truncated".to_owned(),
            other => panic!("{len}: {other:?}"),
        };
        *kinds.entry(kind).or_default() += 1;
    }
    for (kind, count) in kinds {
        println!("figure: truncated files, {kind} = {count}");
    }
    fs::write(&path, &whole).unwrap();
    Database::open(&path, key()).unwrap();
}

#[test]
fn a_wrong_key_changes_nothing_not_even_the_time() {
    let (_folder, path) = folder();
    made(&path);
    // As after a crash as well, when opening would write.
    let db = Database::open(&path, key()).unwrap();
    commit(&db, 2, 100).unwrap();
    let crashed = path.with_extension("crashed");
    fs::copy(&path, &crashed).unwrap();
    db.close().unwrap();
    for path in [path, crashed] {
        let (bytes, time) = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap());
        for attempt in [
            Database::open(&path, RawKey::new([0; 32])).map(drop),
            Database::open(&path, Passphrase::new("another kind of key")).map(drop),
            Database::open_read_only(&path, RawKey::new([0; 32])).map(drop),
        ] {
            let error = attempt.unwrap_err();
            assert!(matches!(error, OpenError::WrongKey), "{error}");
            says(&error, &["wrong key", "nothing was changed"]);
        }
        assert!(fs::read(&path).unwrap() == bytes);
        let after = fs::metadata(&path).unwrap();
        assert_eq!((after.mtime(), after.mtime_nsec()), (time.mtime(), time.mtime_nsec()));
        Database::open(&path, key()).unwrap();
    }
}

#[test]
fn bad_key_files_are_told_apart() {
    let (folder, path) = folder();
    let key_path = folder.path().join("key");
    assert!(matches!(KeyFile::read(&key_path), Err(OpenError::KeyFileNotFound(_))));
    for len in [0_usize, 1, 31, 33, 63, 64, 67, 4096] {
        fs::write(&key_path, vec![b'z'; len]).unwrap();
        let error = KeyFile::read(&key_path).unwrap_err();
        let found = len as u64;
        assert!(matches!(error, OpenError::KeyFileLength { found: f } if f == found), "{error}");
        says(&error, &["exactly 32 random bytes", "64 hexadecimal digits"]);
    }
    assert!(KeyFile::read(folder.path()).is_err(), "a directory");
    fs::remove_file(&key_path).unwrap();
    let made = KeyFile::generate(&key_path).unwrap();
    Database::create(&path, made).unwrap().close().unwrap();
    Database::open(&path, KeyFile::read(&key_path).unwrap()).unwrap().close().unwrap();
    let before = fs::read(&key_path).unwrap();
    assert!(matches!(KeyFile::generate(&key_path), Err(OpenError::AlreadyExists(_))));
    assert_eq!(fs::read(&key_path).unwrap(), before);
    assert_eq!(fs::metadata(&key_path).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_missing_key_file_is_called_a_key_file() {
    let (folder, _) = folder();
    let error = KeyFile::read(folder.path().join("key")).unwrap_err();
    assert!(!error.to_string().contains("new database"), "said of a key file: {error}");
}

/// The slot's KDF cost stands at byte 2056 of a header copy, its CRC-32 at byte 32764.
fn ask_for(bytes: &mut [u8], cost: [u32; 3]) {
    for (field, value) in bytes[2056..2068].chunks_mut(4).zip(cost) {
        field.copy_from_slice(&value.to_le_bytes());
    }
    let crc = !bytes[..32_764].iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 * (crc & 1)))
    });
    bytes[32_764..32_768].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn passphrases_have_bounds_on_both_sides() {
    let (folder, path) = folder();
    let error = Database::create(&path, Passphrase::new("")).unwrap_err();
    assert!(matches!(error, OpenError::EmptyPassphrase));
    says(&error, &["empty", "choose one"]);
    let cheap = Passphrase::new("x").cost(KdfCost { memory_kib: 1024, ..CHEAP });
    assert!(matches!(Database::create(&path, cheap), Err(OpenError::KdfTooCheap)));
    assert!(names(&folder).is_empty());

    Database::create(&path, Passphrase::new("correct horse").cost(CHEAP)).unwrap();
    let bytes = fs::read(&path).unwrap();
    let wrong = |passphrase: &str| Database::open(&path, Passphrase::new(passphrase)).unwrap_err();
    assert!(matches!(wrong("correct horsf"), OpenError::WrongKey));
    assert!(matches!(wrong(""), OpenError::EmptyPassphrase));
    let limits = KdfLimits { memory_kib_max: 1024, ..KdfLimits::default() };
    let mut builder = Builder::new();
    let error = builder.kdf_limits(limits).open(&path, &Passphrase::new("x")).unwrap_err();
    assert!(matches!(
        error,
        OpenError::KdfTooExpensive { memory_kib: 19_456, passes: 2, lanes: 1 }
    ));
    says(&error, &["19456 KiB", "`Builder::kdf_limits`"]);
    assert!(fs::read(&path).unwrap() == bytes);
    for cost in [[u32::MAX, 3, 1], [19_456, u32::MAX, 1], [1 << 20, 3, 9]] {
        let mut bomb = bytes.clone();
        ask_for(&mut bomb, cost);
        fs::write(&path, bomb).unwrap();
        let error = wrong("correct horse");
        assert!(matches!(error, OpenError::KdfTooExpensive { .. }), "{cost:?}: {error}");
    }
}

/// Runs the test of this name in another process, told to do `what` to `path`.
fn in_a_child(binary: &Path, what: &str, path: &Path, user: Option<u32>) -> io::Result<String> {
    let mut command = Command::new(binary);
    command.args(["--exact", "a_child_process_does_as_it_is_told", "--nocapture"]);
    command.env("STRONGROOM_TELL", what).env("STRONGROOM_PATH", path);
    if let Some(user) = user {
        command.gid(user).uid(user);
    }
    Ok(String::from_utf8_lossy(&command.output()?.stdout).into_owned())
}

#[test]
fn a_child_process_does_as_it_is_told() {
    let Ok(what) = std::env::var("STRONGROOM_TELL") else { return };
    let path = PathBuf::from(std::env::var("STRONGROOM_PATH").unwrap());
    let result = match &*what {
        "open" => Database::open(&path, key()).map(drop),
        "create" => Database::create(&path, key()).map(drop),
        _ => Database::open_read_only(&path, key()).map(drop),
    };
    match result {
        Ok(()) => println!("child: fine"),
        Err(error) => println!("child: {error:?}: {error}"),
    }
}

#[test]
fn a_second_open_is_refused_here_and_in_another_process() {
    let (_folder, path) = folder();
    made(&path);
    let this = std::env::current_exe().unwrap();
    let db = Database::open(&path, key()).unwrap();
    commit(&db, 2, 10).unwrap();
    let error = Database::open(&path, key()).unwrap_err();
    assert!(matches!(error, OpenError::AlreadyOpen));
    says(&error, &["open elsewhere", "close it there"]);
    assert!(matches!(Database::open_read_only(&path, key()), Err(OpenError::AlreadyOpen)));
    for what in ["open", "read"] {
        let child = in_a_child(&this, what, &path, None).unwrap();
        assert!(child.contains("child: AlreadyOpen: the database is open elsewhere"), "{child}");
    }
    // What the second opens did, the lock included, leaves the first alone.
    commit(&db, 3, 10).unwrap();
    db.close().unwrap();
    assert!(in_a_child(&this, "open", &path, None).unwrap().contains("child: fine"));

    let first = Database::open_read_only(&path, key()).unwrap();
    let second = Database::open_read_only(&path, key()).unwrap();
    assert_eq!(content(&*first), content(&*second));
    assert!(in_a_child(&this, "read", &path, None).unwrap().contains("child: fine"));
    assert!(in_a_child(&this, "open", &path, None).unwrap().contains("child: AlreadyOpen"));
}

#[test]
fn a_file_or_directory_that_may_not_be_written_says_so() {
    const NOBODY: u32 = 65_534;
    let (folder, path) = folder();
    let before = made(&path);
    fs::set_permissions(&path, PermissionsExt::from_mode(0o444)).unwrap();
    // Root may write anything: a child that is nobody, with a binary that nobody can run.
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let binary = folder.path().join("this");
    fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o555)).unwrap();
    let user = root.then_some(NOBODY);
    match in_a_child(&binary, "open", &path, user) {
        Err(error) => println!("note: no child as another user here: {error}"),
        Ok(child) => {
            assert!(child.contains("child: ReadOnly"), "{child}");
            assert!(child.contains("open it read-only, or mend the permissions"), "{child}");
            let child = in_a_child(&binary, "read", &path, user).unwrap();
            assert!(child.contains("child: fine"), "{child}");
            let other = folder.path().join("other.room");
            let child = in_a_child(&binary, "create", &other, user).unwrap();
            assert!(child.contains("child: ReadOnly"), "{child}");
            fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).unwrap();
            let child = in_a_child(&binary, "read", &path, user).unwrap();
            assert!(child.contains("child: ReadOnly") && child.contains("permissions"), "{child}");
        }
    }
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    assert!(fs::read(&path).unwrap() == before);
}

/// Memory that can be full, read-only, or without locks.
#[derive(Debug)]
struct Limited {
    bytes: MemoryMedium,
    lockable: bool,
    room: Mutex<Room>,
}

#[derive(Debug)]
struct Room {
    /// Bytes that may still be written, and what the one after that is answered.
    bytes: u64,
    then: io::ErrorKind,
    /// There is room again after one failure.
    once: bool,
    failures: u32,
}

impl Limited {
    fn over(bytes: MemoryMedium) -> Self {
        let then = io::ErrorKind::StorageFull;
        let room = Room { bytes: u64::MAX, then, once: false, failures: 0 };
        Self { bytes, lockable: true, room: Mutex::new(room) }
    }

    /// How many of `len` bytes still go.
    fn take(&self, len: u64) -> (u64, io::Result<()>) {
        let mut room = self.room.lock().unwrap();
        let taken = len.min(room.bytes);
        room.bytes -= taken;
        if taken == len {
            return (taken, Ok(()));
        }
        room.failures += 1;
        if room.once {
            room.bytes = u64::MAX;
        }
        (taken, Err(room.then.into()))
    }
}

#[derive(Debug, Clone)]
struct Shared(std::sync::Arc<Limited>);

impl Shared {
    fn new(limited: Limited) -> Self {
        Self(std::sync::Arc::new(limited))
    }

    fn leave_room(&self, bytes: u64, then: io::ErrorKind) {
        let mut room = self.0.room.lock().unwrap();
        (room.bytes, room.then) = (bytes, then);
    }
}

impl Medium for Shared {
    fn len(&self) -> io::Result<u64> {
        self.0.bytes.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.bytes.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let (taken, result) = self.0.take(data.len() as u64);
        self.0.bytes.write_at(offset, &data[..taken as usize])?;
        result
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.take(1).1?;
        self.0.bytes.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn try_lock(&self, kind: LockKind) -> io::Result<bool> {
        if self.0.lockable {
            self.0.bytes.try_lock(kind)
        } else {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    fn unlock(&self) -> io::Result<()> {
        self.0.bytes.unlock()
    }
}

#[test]
fn a_medium_that_cant_lock_is_refused_unless_allowed() {
    let bytes = MemoryMedium::new();
    let medium = || Shared::new(Limited { lockable: false, ..Limited::over(bytes.clone()) });
    let error = Builder::new().create_on(medium(), &key()).unwrap_err();
    assert!(matches!(error, OpenError::CannotLock));
    says(&error, &["can't be locked", "`Builder::allow_unlocked`"]);
    let mut bold = Builder::new();
    bold.allow_unlocked(true);
    let db = bold.create_on(medium(), &key()).unwrap();
    commit(&db, 1, 10).unwrap();
    db.close().unwrap();
    let before = bytes.to_bytes();
    assert!(matches!(Builder::new().open_on(medium(), &key()), Err(OpenError::CannotLock)));
    let read_only = Builder::new().open_read_only_on(medium(), &key());
    assert!(matches!(read_only, Err(OpenError::CannotLock)));
    assert!(bytes.to_bytes() == before);
    assert_eq!(content(&*bold.open_on(medium(), &key()).unwrap()), BTreeMap::from([(1, 10)]));
}

#[test]
fn a_medium_that_turns_read_only_is_an_error_and_opens_read_only() {
    let medium = Shared::new(Limited::over(MemoryMedium::new()));
    let db = Builder::new().create_on(medium.clone(), &key()).unwrap();
    commit(&db, 1, 10).unwrap();
    db.close().unwrap();
    let before = medium.0.bytes.to_bytes();
    medium.leave_room(0, io::ErrorKind::ReadOnlyFilesystem);
    let error = Builder::new().open_on(medium.clone(), &key()).unwrap_err();
    match &error {
        OpenError::Io { source, .. } => {
            assert_eq!(source.kind(), io::ErrorKind::ReadOnlyFilesystem);
        }
        other => panic!("{other:?}"),
    }
    assert!(medium.0.bytes.to_bytes() == before);
    let db = Builder::new().open_read_only_on(medium.clone(), &key()).unwrap();
    assert_eq!(content(&*db), BTreeMap::from([(1, 10)]));
}

#[test]
fn a_full_disk_fails_the_commit_and_the_last_one_is_there_at_the_next_open() {
    let (mut failed, mut latched) = (0, 0);
    let step = if cfg!(debug_assertions) { 2503 } else { 211 };
    for (room, once) in (0..).step_by(step).flat_map(|room| [(room, false), (room, true)]) {
        let medium = Shared::new(Limited::over(MemoryMedium::new()));
        let mut builder = Builder::new();
        builder.cache_size(64 * 1024);
        let db = builder.create_on(medium.clone(), &key()).unwrap();
        commit(&db, 1, 100).unwrap();
        medium.0.room.lock().unwrap().once = once;
        medium.leave_room(room, io::ErrorKind::StorageFull);
        let full = commit(&db, 2, 150_000).map_err(Error::from);
        medium.leave_room(u64::MAX, io::ErrorKind::StorageFull);
        if medium.0.room.lock().unwrap().failures == 0 {
            full.unwrap();
            println!("figure: bytes that the commit writes, at most = {room}");
            break;
        }
        says(&full.expect_err("a failed write, and the commit says it is durable"), &["storage"]);
        failed += 1;
        // There is room again, but what is durable is known only after a reopen.
        let later = commit(&db, 3, 10).map_err(Error::from);
        assert!(later.is_err(), "room {room}: a commit after a failed one");
        latched += u64::from(matches!(later, Err(Error::Store(strongroom::StoreError::Latched))));
        drop(db);
        let db = builder.open_on(medium, &key()).unwrap();
        assert_eq!(content(&*db), BTreeMap::from([(1, 100)]), "room {room}");
        commit(&db, 4, 10).unwrap();
    }
    println!("figure: disks full in a commit = {failed}");
    println!("figure: of them the next call met our latch (else redb's) = {latched}");
    assert!(failed > 20);
}

#[test]
fn a_disk_full_in_creation_leaves_no_database() {
    let mut failed = 0;
    for room in (0..).step_by(4001) {
        let medium = Shared::new(Limited::over(MemoryMedium::new()));
        medium.leave_room(room, io::ErrorKind::StorageFull);
        if Builder::new().create_on(medium.clone(), &key()).is_ok() {
            break;
        }
        failed += 1;
        medium.leave_room(u64::MAX, io::ErrorKind::StorageFull);
        // All of it but the end of the second header copy: that is a database, and an empty one.
        let fine = match Builder::new().open_on(medium, &key()) {
            Ok(db) => db.begin_read().unwrap().list_tables().unwrap().next().is_none(),
            Err(error) => matches!(error, OpenError::Empty | OpenError::HeaderLost),
        };
        assert!(fine, "room {room}");
    }
    assert!(failed > 5);
}
