//! What a key rotation costs, beside a plain copy of the same file in one run, and what the
//! application notices of it (docs/performance.md).
//!
//! ```text
//! cargo bench --bench rotation                       1 GiB, three rounds
//! ROTATE_MIB=64 ROUNDS=1 cargo bench --bench rotation
//! ```
//!
//! Without the `--bench` that `cargo bench` passes, it is a smoke test of a second.
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    reason = "figures for people; a bench that fails may panic"
)]

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use strongroom::medium::{CacheDrop, FileMedium, LockKind, Medium};
use strongroom::redb::{ReadableDatabase, TableDefinition};
use strongroom::{Builder, Database, RawKey, Throttle};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const LARGE: TableDefinition<u64, &[u8]> = TableDefinition::new("large");
const SMALL: TableDefinition<u64, &[u8]> = TableDefinition::new("small");
const LARGE_SIZE: usize = 60 << 10;
const CHUNK: usize = 4 << 20;

/// A file that counts the bytes written to it.
#[derive(Debug)]
struct Counting {
    file: FileMedium,
    written: Arc<AtomicU64>,
}

impl Medium for Counting {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.written.fetch_add(data.len() as u64, Ordering::Relaxed);
        self.file.write_at(offset, data)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn try_lock(&self, kind: LockKind) -> io::Result<bool> {
        self.file.try_lock(kind)
    }

    fn unlock(&self) -> io::Result<()> {
        self.file.unlock()
    }

    fn drop_cache(&self, offset: u64, len: u64) -> io::Result<CacheDrop> {
        self.file.drop_cache(offset, len)
    }
}

fn asked(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn fill(db: &Database, mib: u64) -> Outcome {
    let value = vec![0xA5; LARGE_SIZE];
    for first in (0..mib * 16).step_by(256) {
        let txn = db.begin_write()?;
        {
            let mut table = txn.open_table(LARGE)?;
            for key in first..(first + 256).min(mib * 16) {
                table.insert(key, &*value)?;
            }
        }
        txn.commit()?;
    }
    commits(db, Duration::from_millis(1))?;
    Ok(())
}

/// The file read, written and synced, 4 MiB at a time: seconds.
fn copy(from: &Path, to: &Path) -> Outcome<f64> {
    let begun = Instant::now();
    let (mut source, mut target) = (File::open(from)?, File::create(to)?);
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = source.read(&mut chunk)?;
        if count == 0 {
            break;
        }
        target.write_all(&chunk[..count])?;
        target.sync_data()?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    std::fs::remove_file(to)?;
    Ok(seconds)
}

/// Durable commits of one record each: a second.
fn commits(db: &Database, time: Duration) -> Outcome<f64> {
    let (begun, mut count) = (Instant::now(), 0_u64);
    while begun.elapsed() < time {
        let txn = db.begin_write()?;
        txn.open_table(SMALL)?.insert(count % 5000, &[7; 150][..])?;
        txn.commit()?;
        count += 1;
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

/// Random reads of large values, most of them not in redb's cache: a second.
fn reads(db: &Database, time: Duration, keys: u64) -> Outcome<f64> {
    let (begun, mut count, mut key) = (Instant::now(), 0_u64, 1_u64);
    let read = db.begin_read()?;
    let table = read.open_table(LARGE)?;
    while begun.elapsed() < time {
        key = key.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let value = table.get((key >> 33) % keys)?.ok_or("a record is missing")?;
        assert_eq!(value.value()[0], 0xA5);
        count += 1;
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

/// The most memory that a rotation at full speed adds.
fn idle_rotation(db: &Database) -> Outcome<(f64, u64)> {
    let (before, stop, most) = (resident_bytes(), AtomicBool::new(false), AtomicU64::new(0));
    let seconds = std::thread::scope(|scope| -> Outcome<f64> {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                most.fetch_max(resident_bytes().saturating_sub(before), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let begun = Instant::now();
        let rotation = db.rotate()?;
        rotation.throttle(Throttle::None);
        let ended = rotation.wait();
        stop.store(true, Ordering::Relaxed);
        ended?;
        Ok(begun.elapsed().as_secs_f64())
    })?;
    Ok((seconds, most.into_inner()))
}

fn main() -> Outcome {
    let bench = std::env::args().any(|arg| arg == "--bench");
    let mib = asked("ROTATE_MIB", if bench { 1024 } else { 4 });
    let rounds = asked("ROUNDS", if bench { 3 } else { 1 });
    let slice = Duration::from_millis(if bench { 2000 } else { 50 });
    let directory = std::env::var_os("BENCH_DIR")
        .map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), std::path::PathBuf::from);
    let directory = tempfile::Builder::new().prefix("bench-").tempdir_in(directory)?;
    let path = directory.path().join("room");
    let written = Arc::new(AtomicU64::new(0));
    let key = RawKey::new([7; 32]);
    let medium = Counting { file: FileMedium::create_new(&path)?, written: Arc::clone(&written) };
    let db = Builder::new().cache_size(8 << 20).create_on(medium, &key)?;
    fill(&db, mib)?;

    let (mut copies, mut ratios, mut speeds) = (Vec::new(), Vec::new(), Vec::new());
    let (mut amplification, mut memory) = (Vec::new(), 0);
    for _ in 0..rounds {
        let bytes = std::fs::metadata(&path)?.len() as f64;
        let copied = copy(&path, &directory.path().join("copy"))?;
        let before = written.load(Ordering::Relaxed);
        let (rotated, most) = idle_rotation(&db)?;
        amplification.push((written.load(Ordering::Relaxed) - before) as f64 / bytes);
        copies.push(bytes / copied / 1e6);
        speeds.push(bytes / rotated / 1e6);
        ratios.push(copied / rotated);
        memory = memory.max(most);
    }
    println!("figure: rotation_copy_loop = {:.0} MB/s", median(copies));
    println!("figure: rotation_idle = {:.0} MB/s", median(speeds));
    println!("figure: rotation_idle_to_copy = {:.2}", median(ratios));
    println!("figure: rotation_bytes_written_per_byte = {:.2}", median(amplification));
    println!("figure: rotation_memory = {:.1} MiB", memory as f64 / f64::from(1 << 20));

    let (mut commit_ratios, mut read_ratios, mut polite) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (plain_commits, plain_reads) = (commits(&db, slice)?, reads(&db, slice, mib * 16)?);
        let rotation = db.rotate()?;
        let passed = rotation.progress().pages_done;
        let during = commits(&db, slice)?;
        polite.push(
            (rotation.progress().pages_done - passed) as f64 * 4096.0 / 1e6 / slice.as_secs_f64(),
        );
        let still = rotation.progress().state;
        let reading = reads(&db, slice, mib * 16)?;
        println!("rotation: {still:?}, then {:?}", rotation.progress().state);
        commit_ratios.push(during / plain_commits);
        read_ratios.push(reading / plain_reads);
        rotation.throttle(Throttle::None);
        rotation.wait()?;
    }
    println!("figure: rotation_commits_during = {:.2} of those without", median(commit_ratios));
    println!("figure: rotation_speed_beside_commits = {:.0} MB/s", median(polite));
    println!("figure: rotation_reads_during = {:.2} of those without", median(read_ratios));
    Ok(db.close()?)
}
