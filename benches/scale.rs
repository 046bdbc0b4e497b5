//! How costs grow with the file (docs/performance.md, "How it grows"): the encrypting layer alone on
//! sparse files, and opening databases that were closed cleanly, plain redb beside strongroom.
//!
//! ```text
//! cargo bench --bench scale                                     small: half a minute
//! SCALE_MIB=64,1024,16384 SCALE_OPEN_MIB=64,1024,8192 cargo bench --bench scale
//! ```
//!
//! Without the `--bench` that `cargo bench` passes, it is a smoke test of a second. The sparse
//! files are as long as asked, with a page in each of some scattered groups; on disk they take the
//! tag pages, a 63rd of their length. The databases are full. Each size is measured in a process of
//! its own, so that its memory is its own.
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    reason = "figures for people; a bench that fails may panic"
)]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use strongroom::medium::FileMedium;
use strongroom::redb::{self, StorageBackend, TableDefinition};
use strongroom::{Builder, EncryptedBackend, RawKey};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const PAGE: u64 = 4096;
/// Logical bytes of a group of pages that share a tag page.
const GROUP: u64 = 126 * PAGE;
/// Groups that hold data, and that reads and commits go to.
const SCATTERED: u64 = 1000;
const SYNCS: u64 = 300;
const LARGE: TableDefinition<u64, &[u8]> = TableDefinition::new("large");
const LARGE_SIZE: usize = 60 << 10;

fn key() -> RawKey {
    RawKey::new([9; 32])
}

fn asked(name: &str, default: &str) -> Outcome<Vec<u64>> {
    let text = std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let sizes = text.split(',').map(|size| size.trim().parse::<u64>());
    sizes.collect::<Result<_, _>>().map_err(|_| format!("{name}={text}: MiB, by commas").into())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn micros(elapsed: Duration) -> f64 {
    elapsed.as_secs_f64() * 1e6
}

fn timed<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<(f64, T)> {
    let begun = Instant::now();
    let done = work()?;
    Ok((micros(begun.elapsed()), done))
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Where the `n`-th page with data lies: page after page in other groups, spread over the file.
fn page(n: u64, groups: u64) -> u64 {
    let used = groups.min(SCATTERED);
    let group = n % used * (groups / used);
    group * GROUP + (1 + n / used % 124) * PAGE
}

fn page_bytes(n: u64) -> Vec<u8> {
    vec![n as u8 | 1; PAGE as usize]
}

/// A store of so many logical bytes with data here and there, closed cleanly. It grows in steps of
/// 64 MiB with a sync each, as a database would: a group has a tag page from when its first page, or
/// one behind it, is written, and tag pages wait in memory for a sync.
fn make_sparse(path: &Path, bytes: u64) -> Outcome {
    let store = EncryptedBackend::create_on(FileMedium::create_new(path)?, &key())?;
    let groups = bytes / GROUP;
    for first in (0..groups).step_by(130) {
        let end = (first + 130).min(groups);
        store.set_len(end * GROUP)?;
        store.write(end * GROUP - PAGE, &page_bytes(0))?;
        store.sync_data()?;
    }
    for n in 0..SCATTERED {
        store.write(page(n, groups), &page_bytes(n))?;
    }
    store.sync_data()?;
    Ok(store.close()?)
}

/// In a process of its own: figures of one sparse file.
fn measure_sparse(path: &Path, label: &str) -> Outcome {
    let open = || -> Outcome<EncryptedBackend> {
        Ok(EncryptedBackend::open_on(FileMedium::open(path)?, &key())?)
    };
    // The first one, before the allocator has anything to use again.
    let before = resident_bytes();
    let mut store = open()?;
    let opened = resident_bytes().saturating_sub(before);
    let mut opens = Vec::new();
    for _ in 0..15 {
        store.close()?;
        let (took, again) = timed(open)?;
        opens.push(took);
        store = again;
    }
    let groups = store.len()? / GROUP;

    let (mut first_reads, mut reads, mut out) = (Vec::new(), Vec::new(), vec![0; PAGE as usize]);
    for times in [&mut first_reads, &mut reads] {
        for n in 0..SCATTERED {
            let (took, ()) = timed(|| Ok(store.read(page(n, groups), &mut out)?))?;
            if out != page_bytes(n) {
                return Err(format!("{label}: page {n} reads wrong").into());
            }
            times.push(took);
        }
    }
    let read = resident_bytes().saturating_sub(before);

    let mut syncs = Vec::new();
    for n in 0..SYNCS {
        for at in 0..8 {
            store.write(page(8 * n + at, groups), &page_bytes(8 * n + at))?;
        }
        let (took, ()) = timed(|| Ok(store.sync_data()?))?;
        syncs.push(took);
    }
    let mean = syncs.iter().sum::<f64>() / syncs.len() as f64;
    let (closing, ()) = timed(|| Ok(store.close()?))?;
    println!("figure: scale_sparse_{label}_open_us = {:.0}", median(opens));
    println!("figure: scale_sparse_{label}_open_memory_mib = {:.2}", mib(opened));
    println!("figure: scale_sparse_{label}_first_read_us = {:.2}", median(first_reads));
    println!("figure: scale_sparse_{label}_read_us = {:.2}", median(reads));
    println!("figure: scale_sparse_{label}_memory_after_reads_mib = {:.2}", mib(read));
    println!("figure: scale_sparse_{label}_sync_us = {:.0}", median(syncs));
    println!("figure: scale_sparse_{label}_sync_mean_us = {mean:.0}");
    println!("figure: scale_sparse_{label}_close_us = {closing:.0}");
    Ok(())
}

fn fill(db: &redb::Database, bytes: u64) -> Outcome {
    let value = vec![0xa5; LARGE_SIZE];
    let values = bytes >> 16;
    for first in (0..values).step_by(512) {
        let txn = db.begin_write()?;
        {
            let mut table = txn.open_table(LARGE)?;
            for number in first..(first + 512).min(values) {
                table.insert(number, &*value)?;
            }
        }
        txn.commit()?;
    }
    Ok(())
}

const CACHE_BYTES: usize = 8 << 20;

fn redb_builder() -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.cache_size(CACHE_BYTES);
    builder
}

/// In a process of its own: opens of one full database, the engines taking turns.
fn measure_opens(plain: &Path, sealed: &Path, label: &str, opens: usize) -> Outcome {
    let (mut redb, mut strongroom, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..opens {
        let (plainly, db) = timed(|| Ok(redb_builder().open(plain)?))?;
        db.close()?;
        let (took, db) = timed(|| Ok(builder().open(sealed, &key())?))?;
        if !db.recovery().clean || db.recovery().scanned {
            return Err("the open was not a clean one".into());
        }
        db.close()?;
        redb.push(plainly);
        strongroom.push(took);
        ratios.push(plainly / took);
    }
    println!("figure: scale_open_{label}_redb_us = {:.0}", median(redb));
    println!("figure: scale_open_{label}_strongroom_us = {:.0}", median(strongroom));
    println!("figure: scale_open_{label}_throughput = {:.3}", median(ratios));
    Ok(())
}

/// Measured in a process of its own.
fn child(arguments: &[&str]) -> Outcome {
    let status = Command::new(std::env::current_exe()?).arg("--child").args(arguments).status()?;
    if status.success() { Ok(()) } else { Err("a child failed".into()) }
}

fn main() -> Outcome {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["--child", "sparse", path, label] => return measure_sparse(Path::new(path), label),
        ["--child", "opens", plain, sealed, label, opens] => {
            return measure_opens(Path::new(plain), Path::new(sealed), label, opens.parse()?);
        }
        _ => {}
    }
    let bench = args.contains(&"--bench");
    let sparse = asked("SCALE_MIB", if bench { "64,1024" } else { "8" })?;
    let full = asked("SCALE_OPEN_MIB", if bench { "64,256" } else { "8" })?;
    let directory = std::env::var_os("BENCH_DIR")
        .map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), std::path::PathBuf::from);
    let directory = tempfile::Builder::new().prefix("bench-").tempdir_in(directory)?;
    let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();

    for size in sparse {
        let (room, label) = (path("sparse"), format!("{size}_mib"));
        let (took, ()) = timed(|| make_sparse(Path::new(&room), size << 20))?;
        eprintln!("{label}, sparse, was made in {:.1} s", took / 1e6);
        child(&["sparse", &room, &label])?;
        std::fs::remove_file(&room)?;
    }
    for size in full {
        let (plain, sealed, label) = (path("redb"), path("room"), format!("{size}_mib"));
        let (took, ()) = timed(|| {
            let db = redb_builder().create(&plain)?;
            fill(&db, size << 20)?;
            db.close()?;
            let db = builder().create(&sealed, &key())?;
            fill(&db, size << 20)?;
            Ok(db.close()?)
        })?;
        eprintln!("{label}, full, twice, was made in {:.1} s", took / 1e6);
        child(&["opens", &plain, &sealed, &label, if bench { "21" } else { "2" }])?;
        for file in [plain, sealed] {
            std::fs::remove_file(file)?;
        }
    }
    Ok(())
}
