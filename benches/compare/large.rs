//! Large values: written in durable transactions of 8 MiB, read once each after a reopen, when
//! redb's cache has none of them and the system's cache has all; and opening a large file.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::results::{Results, Unit};
use crate::rounds::LARGE_CACHE_BYTES;
use crate::settings::Settings;
use crate::turns::{self, Round};

const TRANSACTION_BYTES: usize = 8 << 20;
/// A little less than the 64 KiB that redb keeps it in.
const OPENED_VALUE_BYTES: usize = 60 << 10;

struct Size {
    bytes: usize,
    stem: &'static str,
    write: &'static str,
    read: &'static str,
}

const SIZES: [Size; 2] = [
    Size {
        bytes: 64 << 10,
        stem: "values_64_kib",
        write: "values_64_kib_write",
        read: "values_64_kib_read",
    },
    Size {
        bytes: 1 << 20,
        stem: "values_1_mib",
        write: "values_1_mib_write",
        read: "values_1_mib_read",
    },
];

pub(crate) fn values(
    settings: &Settings,
    number: usize,
    directory: &Path,
    results: &mut Results,
) -> Outcome {
    for Size { bytes, stem, write, read } in SIZES {
        if !settings.wants(write) && !settings.wants(read) {
            continue;
        }
        let place = (number, directory, stem);
        let mut round = Round::create(settings, results, place, LARGE_CACHE_BYTES)?;
        let per_slice = (TRANSACTION_BYTES / bytes) as u64;
        let slices = settings.value_slices;
        let count = (Unit::PerValue, per_slice * slices);
        round.measure(write, count, slices, |handle, slice| {
            handle.store().put_values(bytes, slice * per_slice, per_slice)
        })?;
        round.reopen(LARGE_CACHE_BYTES)?;
        round.measure(read, count, slices, |handle, slice| {
            handle.store().read_values(slice * per_slice, per_slice)
        })?;
        round.remove()?;
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
    for engine in &settings.engines {
        let path = turns::path(directory, "opened", *engine);
        if !path.exists() {
            let handle = engine.create(&path, LARGE_CACHE_BYTES)?;
            handle.store().put_values(OPENED_VALUE_BYTES, 0, settings.opened_values)?;
            handle.close()?;
        }
    }
    let mut elapsed = vec![Duration::ZERO; settings.engines.len()];
    for turn in 0..settings.opens {
        for engine in turns::order(&settings.engines, number + turn) {
            let path = turns::path(directory, "opened", engine);
            let started = Instant::now();
            let handle = engine.open(&path, LARGE_CACHE_BYTES)?;
            let took = started.elapsed();
            if !handle.opened_cleanly() {
                return Err("clean_open: the open was not a clean one".into());
            }
            handle.close()?;
            for (other, elapsed) in settings.engines.iter().zip(&mut elapsed) {
                *elapsed += if *other == engine { took } else { Duration::ZERO };
            }
        }
    }
    for (engine, elapsed) in settings.engines.iter().zip(elapsed) {
        let each = turns::micros(elapsed) / settings.opens as f64;
        results.add("clean_open", Unit::PerOpen, *engine, each);
    }
    Ok(())
}
