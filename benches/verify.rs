//! What verify and prove cost, beside a plain sequential read of the same file in the same run
//! (docs/performance.md).
//!
//! ```text
//! cargo bench --bench verify                         256 MiB, three rounds
//! VERIFY_MIB=2048 ROUNDS=1 cargo bench --bench verify
//! ```
//!
//! Every look is made cold, with the file dropped from the system's cache, and warm. Without the
//! `--bench` that `cargo bench` passes, it is a smoke test of a second.
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "figures for people; a bench that fails may panic"
)]

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use strongroom::medium::{FileMedium, Medium};
use strongroom::redb::TableDefinition;
use strongroom::{Builder, ProveOptions, RawKey, VerifyOptions, prove, verify_file};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("table");
const VALUE: usize = 60 << 10;

fn key() -> RawKey {
    RawKey::new([9; 32])
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A closed database of about so many MiB: values of 60 KiB, and small ones between them.
fn make(path: &Path, mib: u64) -> Outcome<u64> {
    let db = Builder::new().create(path, &key())?;
    let rows = (mib << 20) / VALUE as u64;
    for first in (0..rows).step_by(64) {
        let txn = db.begin_write()?;
        {
            let mut table = txn.open_table(TABLE)?;
            for row in first..rows.min(first + 64) {
                table.insert(row, &*vec![row as u8; VALUE])?;
                table.insert(1 << 40 | row, &[1; 100][..])?;
            }
        }
        txn.commit()?;
    }
    db.close()?;
    Ok(std::fs::metadata(path)?.len())
}

fn drop_from_cache(path: &Path) -> Outcome {
    let medium = FileMedium::open(path)?;
    medium.sync()?;
    medium.drop_cache(0, 0)?;
    Ok(())
}

fn read_all(path: &Path) -> Outcome {
    let (mut file, mut room) = (File::open(path)?, vec![0; 512 << 10]);
    while file.read(&mut room)? > 0 {}
    Ok(())
}

fn verify(path: &Path, threads: usize, trees: bool) -> Outcome {
    let options = VerifyOptions::new().threads(threads).check_trees(trees).allow_cached(true);
    let report = verify_file(path, &key(), &options)?;
    if report.is_spotless() { Ok(()) } else { Err(report.to_string().into()) }
}

fn proved(path: &Path, with_key: bool) -> Outcome {
    let (key, options) = (key(), ProveOptions::new().pattern(*b"a word that is not there"));
    let proof = prove(path, with_key.then_some(&key as &dyn strongroom::Credential), &options)?;
    if proof.holds() { Ok(()) } else { Err(proof.to_string().into()) }
}

type Look = (&'static str, fn(&Path) -> Outcome);

const LOOKS: [Look; 7] = [
    ("plain read, 512 KiB at a time", |path| read_all(path)),
    ("verify, one thread, pages", |path| verify(path, 1, false)),
    ("verify, two threads, pages", |path| verify(path, 2, false)),
    ("verify, two threads, pages and trees", |path| verify(path, 2, true)),
    ("verify, open database, all cores", verify_open),
    ("prove, without a key", |path| proved(path, false)),
    ("prove, with a key", |path| proved(path, true)),
];

fn verify_open(path: &Path) -> Outcome {
    let db = Builder::new().open(path, &key())?;
    let report = db.verify(&VerifyOptions::new())?;
    db.close()?;
    if report.is_spotless() { Ok(()) } else { Err(report.to_string().into()) }
}

/// Processor time of this process so far, in seconds, user and system: what a busy machine does not
/// change. 0 where the system doesn't tell.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = behind_name.split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn main() -> Outcome {
    let bench = std::env::args().any(|argument| argument == "--bench");
    let mib = number("VERIFY_MIB", if bench { 256 } else { 4 });
    let rounds = number("ROUNDS", if bench { 3 } else { 1 });
    let folder = tempfile::tempdir_in(std::env::var("VERIFY_DIR").unwrap_or(".".to_owned()))?;
    let path = folder.path().join("verify.room");
    let bytes = make(&path, mib)?;
    println!("file: {:.0} MiB, {rounds} rounds, the best of each", bytes as f64 / 1048576.0);
    let cores = std::thread::available_parallelism()?;
    println!("cores: {cores}");
    for (name, look) in LOOKS {
        for cold in [true, false] {
            let (mut best, mut cpu) = (f64::INFINITY, 0.0);
            for _ in 0..rounds {
                if cold {
                    drop_from_cache(&path)?;
                } else {
                    read_all(&path)?;
                }
                let (began, cpu_began) = (Instant::now(), cpu_s());
                look(&path)?;
                cpu += cpu_s() - cpu_began;
                best = best.min(began.elapsed().as_secs_f64());
            }
            let rate = bytes as f64 / 1048576.0 / best;
            let cache = if cold { "cold" } else { "warm" };
            println!("figure: {name}, {cache}, MiB/s = {rate:.0}");
            let per_gib = cpu / rounds as f64 / (bytes as f64 / (1 << 30) as f64);
            println!("figure: {name}, {cache}, processor seconds a GiB = {per_gib:.2}");
        }
    }
    Ok(())
}
