//! One round: every workload on both engines, one right after the other, on fresh files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use strongroom::redb::Database;

use crate::Outcome;
use crate::engine::{Engine, Handle};
use crate::results::{Results, Unit};
use crate::settings::Settings;
use crate::workloads;

/// Room for everything in every workload but one.
const LARGE_CACHE_BYTES: usize = 1 << 30;
/// redb's cache for cold reads. The operating system's cache stays warm.
const SMALL_CACHE_BYTES: usize = 1 << 20;

const SINGLES_PER_SLICE: u64 = 10;
const BATCHES_PER_SLICE: u64 = 2;
const BATCH_RECORDS: u64 = 1000;
const READ_SLICES: u64 = 10;

struct Round<'a> {
    settings: &'a Settings,
    results: &'a mut Results,
    open: Vec<(Engine, PathBuf, Handle)>,
}

impl Round<'_> {
    /// Times a workload of `slices` parts that does `count` things. The engines take turns with
    /// every part, so that a disk that is slow for a while is slow for both.
    fn measure(
        &mut self,
        workload: &'static str,
        unit: Unit,
        count: u64,
        slices: u64,
        work: impl Fn(&Database, u64) -> Outcome<u64>,
    ) -> Outcome {
        let mut elapsed = [Duration::ZERO; 2];
        for slice in 0..slices {
            let mut checksums = Vec::new();
            for ((_, _, handle), elapsed) in self.open.iter().zip(&mut elapsed) {
                let started = Instant::now();
                checksums.push(work(handle.db(), slice)?);
                *elapsed += started.elapsed();
            }
            same(workload, &checksums)?;
            // Who follows a sync of the other one waits for the disk: in turns.
            self.open.reverse();
            elapsed.reverse();
        }
        for ((engine, _, _), elapsed) in self.open.iter().zip(elapsed) {
            if self.settings.wants(workload) {
                self.results.add(workload, unit, *engine, micros(elapsed) / count as f64);
            }
        }
        Ok(())
    }

    fn reopen(&mut self, cache_bytes: usize) -> Outcome {
        for (engine, path, handle) in std::mem::take(&mut self.open) {
            handle.close()?;
            let handle = engine.open(&path, cache_bytes)?;
            self.open.push((engine, path, handle));
        }
        Ok(())
    }
}

fn micros(elapsed: Duration) -> f64 {
    elapsed.as_secs_f64() * 1e6
}

fn same(workload: &str, checksums: &[u64]) -> Outcome {
    match checksums {
        [first, rest @ ..] if rest.iter().any(|other| other != first) => {
            Err(format!("{workload}: the engines gave different answers").into())
        }
        _ => Ok(()),
    }
}

const WORKLOADS: [&str; 8] = [
    "bulk_load",
    "single_commits",
    "batches",
    "hot_reads",
    "cold_reads",
    "scan",
    "removals",
    "file_size",
];

pub(crate) fn run(
    settings: &Settings,
    number: usize,
    directory: &Path,
    results: &mut Results,
) -> Outcome {
    if !WORKLOADS.iter().any(|workload| settings.wants(workload)) {
        return Ok(());
    }
    let mut open = Vec::new();
    for engine in Engine::both(number) {
        let path = engine.path(directory, "records");
        let handle = engine.create(&path, LARGE_CACHE_BYTES)?;
        open.push((engine, path, handle));
    }
    let mut round = Round { settings, results, open };
    let Settings { records, single_slices, batch_slices, reads, .. } = *settings;
    let single_commits = single_slices * SINGLES_PER_SLICE;
    let batches = batch_slices * BATCHES_PER_SLICE;
    let slice_reads = reads / READ_SLICES;
    let reads = slice_reads * READ_SLICES;
    let read_slice = |db: &Database, slice: u64| {
        let seed = (number as u64 * READ_SLICES + slice) * reads;
        workloads::random_reads(db, records, slice_reads, seed)
    };

    let mut present = records;
    round.measure("bulk_load", Unit::PerRecord, records, 1, |db, _| {
        workloads::insert(db, 0, records)
    })?;
    if settings.wants("single_commits") {
        let commit = |db: &Database, slice: u64| {
            let first = records + slice * SINGLES_PER_SLICE;
            workloads::commits(db, first, SINGLES_PER_SLICE, 1)
        };
        round.measure("single_commits", Unit::PerCommit, single_commits, single_slices, commit)?;
        present += single_commits;
    }
    if settings.wants("batches") {
        round.measure("batches", Unit::PerCommit, batches, batch_slices, |db, slice| {
            let first = records + single_commits + slice * BATCHES_PER_SLICE * BATCH_RECORDS;
            workloads::commits(db, first, BATCHES_PER_SLICE, BATCH_RECORDS)
        })?;
        present += batches * BATCH_RECORDS;
    }
    if settings.wants("hot_reads") {
        for (_, _, handle) in &round.open {
            workloads::scan(handle.db())?;
        }
        round.measure("hot_reads", Unit::PerRead, reads, READ_SLICES, read_slice)?;
    }
    if settings.wants("cold_reads") {
        round.reopen(SMALL_CACHE_BYTES)?;
        round.measure("cold_reads", Unit::PerRead, reads, READ_SLICES, read_slice)?;
    }
    round.reopen(LARGE_CACHE_BYTES)?;
    if settings.wants("scan") {
        round.measure("scan", Unit::PerRecord, present, 1, |db, _| workloads::scan(db))?;
    }
    if settings.wants("removals") {
        round.measure("removals", Unit::PerRecord, records / 2, 1, |db, _| {
            workloads::remove_half(db, records)
        })?;
    }
    finish(round)
}

fn finish(round: Round<'_>) -> Outcome {
    for (engine, path, handle) in round.open {
        handle.close()?;
        if round.settings.wants("file_size") {
            let bytes = fs::metadata(&path)?.len();
            round.results.add("file_size", Unit::Bytes, engine, bytes as f64);
        }
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Opens a database of 256 MiB that was closed cleanly. It is made once for all rounds.
pub(crate) fn opens(
    settings: &Settings,
    number: usize,
    directory: &Path,
    results: &mut Results,
) -> Outcome {
    if !settings.wants("clean_open") {
        return Ok(());
    }
    let engines = Engine::both(number);
    for engine in engines {
        let path = engine.path(directory, "large");
        if !path.exists() {
            let handle = engine.create(&path, LARGE_CACHE_BYTES)?;
            workloads::fill_large(handle.db(), settings.large_values)?;
            handle.close()?;
        }
    }
    let mut elapsed = [Duration::ZERO; 2];
    for _ in 0..settings.opens {
        for (engine, elapsed) in engines.into_iter().zip(&mut elapsed) {
            let path = engine.path(directory, "large");
            let started = Instant::now();
            let handle = engine.open(&path, LARGE_CACHE_BYTES)?;
            *elapsed += started.elapsed();
            if !handle.opened_cleanly() {
                return Err("clean_open: the open was not a clean one".into());
            }
            handle.close()?;
        }
    }
    for (engine, elapsed) in engines.into_iter().zip(elapsed) {
        results.add("clean_open", Unit::PerOpen, engine, micros(elapsed) / settings.opens as f64);
    }
    Ok(())
}
