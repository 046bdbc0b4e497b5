//! One layer alone: pages through the encrypting backend over memory, beside redb's memory
//! backend, which only copies. The best of many samples: the code's time, not the machine's load.

use std::time::Instant;

use strongroom::EncryptedBackend;
use strongroom::medium::MemoryMedium;
use strongroom::redb::{StorageBackend, backends::InMemoryBackend};

use crate::Outcome;
use crate::engine;
use crate::results::Spread;
use crate::settings::{self, Settings};

const PAGE_BYTES: usize = 4096;
/// Data pages under one tag page: runs start at such a boundary, as redb's large writes may.
const GROUP_PAGES: usize = 126;
const GROUPS: usize = 4;
const RUNS: [usize; 3] = [1, 8, 126];
/// Reads or writes in one sample.
const REPEATS: u64 = 4;

pub(crate) fn run(settings: &Settings) -> Outcome {
    if !settings.wants("pages") {
        return Ok(());
    }
    let plain = InMemoryBackend::new();
    let sealed = EncryptedBackend::create_on(MemoryMedium::new(), &engine::key())?;
    println!(
        "| pages in one call | what | memory alone, ns/page | sealed: best | sealed: median |"
    );
    println!("|---:|---|---:|---:|---:|");
    let samples = settings::scaled(2000, settings.scale.min(1.0));
    let mut figures = Vec::new();
    for pages in RUNS {
        for what in ["write", "read"] {
            let copied = sample(&plain, what, pages, samples)?;
            let spread = sample(&sealed, what, pages, samples)?;
            println!(
                "| {pages} | {what} | {:.0} | {:.0} | {:.0} |",
                copied.min, spread.min, spread.median
            );
            figures.push(format!("bench_pages_{what}_{pages}_ns_per_page = {:.0}", spread.min));
        }
    }
    println!();
    for figure in figures {
        println!("figure: {figure}");
    }
    Ok(())
}

fn sample(
    backend: &impl StorageBackend,
    what: &str,
    pages: usize,
    samples: u64,
) -> Outcome<Spread> {
    let len = (GROUP_PAGES * GROUPS * PAGE_BYTES) as u64;
    if backend.len()? < len {
        backend.set_len(len)?;
        let group = vec![0xa5; GROUP_PAGES * PAGE_BYTES];
        // The first group has page 0 in it, which is no page like others.
        for group_no in 1..GROUPS {
            backend.write((group_no * group.len()) as u64, &group)?;
        }
    }
    let mut buffer = vec![0x3c; pages * PAGE_BYTES];
    let mut nanos = Vec::new();
    // Fewer samples of the long runs: the same time for each.
    for _ in 0..(samples / pages as u64).max(20) {
        let started = Instant::now();
        for repeat in 0..REPEATS {
            let group_no = 1 + repeat % (GROUPS as u64 - 1);
            let offset = group_no * (GROUP_PAGES * PAGE_BYTES) as u64;
            if what == "write" {
                backend.write(offset, &buffer)?;
            } else {
                backend.read(offset, &mut buffer)?;
            }
        }
        let calls = (REPEATS * pages as u64) as f64;
        nanos.push(started.elapsed().as_secs_f64() * 1e9 / calls);
        if what == "write" {
            // Short writes are gathered until then: what is read next is to be opened.
            backend.sync_data()?;
        }
    }
    Ok(Spread::of(&nanos))
}
