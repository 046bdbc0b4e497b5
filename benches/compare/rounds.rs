//! One round of the workloads on small records: every engine, on fresh files.

use std::path::Path;

use crate::Outcome;
use crate::records::{KEY_BYTES, VALUE_BYTES};
use crate::results::{Results, Unit};
use crate::settings::Settings;
use crate::store::{self, Picks};
use crate::turns::Round;

/// Room for everything in every workload but some.
pub(crate) const LARGE_CACHE_BYTES: usize = 1 << 30;
/// For cold reads. The operating system's cache stays warm.
const SMALL_CACHE_BYTES: usize = 1 << 20;
/// The least that "a tenth of the data" comes to, in a smoke test.
const TENTH_BYTES_MIN: usize = 64 << 10;

const SINGLES_PER_SLICE: u64 = 10;
const BATCHES_PER_SLICE: u64 = 2;
const BATCH_RECORDS: u64 = 1000;
const READ_SLICES: u64 = 10;
const READ_THREADS: u64 = 4;
/// Records that a range read goes over.
const RANGE_RECORDS: usize = 100;

const WORKLOADS: [&str; 16] = [
    "bulk_load",
    "single_commits",
    "batches",
    "hot_reads",
    "hot_reads_4_threads",
    "hot_ranges",
    "tenth_reads",
    "tenth_reads_4_threads",
    "tenth_ranges",
    "cold_reads",
    "scan",
    "removals",
    "file_size",
    "compaction",
    "compacted_size",
    "compacted_scan",
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
    let place = (number, directory, "records");
    let mut round = Round::create(settings, results, place, LARGE_CACHE_BYTES)?;
    let present = writes(&mut round)?;
    let reads = Reads::of(settings, number);
    if ["hot_reads", "hot_reads_4_threads", "hot_ranges"].iter().any(|name| settings.wants(name)) {
        round.for_each(|handle| handle.store().warm())?;
        reads.measure(&mut round, ["hot_reads", "hot_reads_4_threads", "hot_ranges"])?;
    }
    let tenth = ["tenth_reads", "tenth_reads_4_threads", "tenth_ranges"];
    if tenth.iter().any(|name| settings.wants(name)) {
        round.reopen(tenth_of(present))?;
        round.for_each(|handle| handle.store().warm())?;
        reads.measure(&mut round, tenth)?;
    }
    if settings.wants("cold_reads") {
        round.reopen(SMALL_CACHE_BYTES)?;
        reads.one_thread(&mut round, "cold_reads")?;
    }
    round.reopen(LARGE_CACHE_BYTES)?;
    if settings.wants("scan") {
        let (unit, slices) = ((Unit::PerRecord, present), 1);
        round.measure("scan", unit, slices, |handle, _| handle.store().scan())?;
    }
    shrink(&mut round)?;
    round.remove()
}

/// How many records there are afterwards.
fn writes(round: &mut Round<'_>) -> Outcome<u64> {
    let Settings { records, single_slices, batch_slices, .. } = *round.settings;
    let single_commits = single_slices * SINGLES_PER_SLICE;
    let batches = batch_slices * BATCHES_PER_SLICE;
    let mut present = records;
    round.measure("bulk_load", (Unit::PerRecord, records), 1, |handle, _| {
        handle.store().insert(0, records)
    })?;
    if round.settings.wants("single_commits") {
        let count = (Unit::PerCommit, single_commits);
        round.measure("single_commits", count, single_slices, |handle, slice| {
            let first = records + slice * SINGLES_PER_SLICE;
            store::commits(handle.store(), first, SINGLES_PER_SLICE, 1)
        })?;
        present += single_commits;
    }
    if round.settings.wants("batches") {
        let count = (Unit::PerCommit, batches);
        round.measure("batches", count, batch_slices, |handle, slice| {
            let first = records + single_commits + slice * BATCHES_PER_SLICE * BATCH_RECORDS;
            store::commits(handle.store(), first, BATCHES_PER_SLICE, BATCH_RECORDS)
        })?;
        present += batches * BATCH_RECORDS;
    }
    Ok(present)
}

fn tenth_of(records: u64) -> usize {
    let data = (KEY_BYTES + VALUE_BYTES) as u64 * records;
    usize::try_from(data / 10).unwrap_or(usize::MAX).max(TENTH_BYTES_MIN)
}

/// Random reads in slices, other records in every slice.
struct Reads {
    records: u64,
    per_slice: u64,
    ranges_per_slice: u64,
    seed: u64,
}

impl Reads {
    fn of(settings: &Settings, round: usize) -> Self {
        let per_slice = (settings.reads / READ_SLICES).next_multiple_of(READ_THREADS);
        let seed = round as u64 * READ_SLICES * per_slice;
        let ranges_per_slice = (per_slice / RANGE_RECORDS as u64).max(1);
        Self { records: settings.records, per_slice, ranges_per_slice, seed }
    }

    fn picks(&self, count: u64, slice: u64) -> Picks {
        Picks { records: self.records, count, seed: self.seed + slice * self.per_slice }
    }

    fn one_thread(&self, round: &mut Round<'_>, workload: &'static str) -> Outcome {
        let count = (Unit::PerRead, self.per_slice * READ_SLICES);
        round.measure(workload, count, READ_SLICES, |handle, slice| {
            handle.store().reads(self.picks(self.per_slice, slice))
        })
    }

    fn measure(&self, round: &mut Round<'_>, [one, many, ranges]: [&'static str; 3]) -> Outcome {
        if round.settings.wants(one) {
            self.one_thread(round, one)?;
        }
        if round.settings.wants(many) {
            let count = (Unit::PerRead, self.per_slice * READ_SLICES);
            round.measure(many, count, READ_SLICES, |handle, slice| {
                let picks = self.picks(self.per_slice, slice);
                store::parallel_reads(handle.store(), picks, READ_THREADS)
            })?;
        }
        if round.settings.wants(ranges) {
            let count = (Unit::PerRange, self.ranges_per_slice * READ_SLICES);
            round.measure(ranges, count, READ_SLICES, |handle, slice| {
                handle.store().ranges(self.picks(self.ranges_per_slice, slice), RANGE_RECORDS)
            })?;
        }
        Ok(())
    }
}

/// Removals, and giving back the room that they leave.
fn shrink(round: &mut Round<'_>) -> Outcome {
    let records = round.settings.records;
    let compacts = ["compaction", "compacted_size", "compacted_scan"];
    let compacts = compacts.iter().any(|name| round.settings.wants(name));
    if round.settings.wants("removals") || compacts {
        round.measure("removals", (Unit::PerRecord, records / 2), 1, |handle, _| {
            handle.store().remove_half(records)
        })?;
    }
    if round.settings.wants("file_size") {
        round.reopen(LARGE_CACHE_BYTES)?;
        round.note_sizes("file_size")?;
    }
    if compacts {
        round.measure("compaction", (Unit::PerCompaction, 1), 1, |handle, _| {
            handle.compact()?;
            Ok(0)
        })?;
        round.reopen(LARGE_CACHE_BYTES)?;
        round.note_sizes("compacted_size")?;
        round.measure("compacted_scan", (Unit::PerRecord, records), 1, |handle, _| {
            handle.store().scan()
        })?;
    }
    Ok(())
}
