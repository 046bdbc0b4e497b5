//! What the figures were measured on, for the table's head.

use std::fs;
use std::path::Path;

use crate::Outcome;
use crate::settings::Settings;

pub(crate) fn describe(settings: &Settings) -> Outcome {
    let cpu = value_of("/proc/cpuinfo", "model name").unwrap_or_else(|| "?".to_owned());
    let cores = std::thread::available_parallelism()?;
    let kernel = first_line("/proc/sys/kernel/osrelease");
    let load = first_line("/proc/loadavg");
    let directory = fs::canonicalize(&settings.directory)?;
    let file_system = file_system_of(&directory).unwrap_or_else(|| "?".to_owned());
    println!("machine: {cpu}, {cores} cores, kernel {kernel}, load at the start {load}");
    println!("files on: {file_system}");
    println!(
        "sizes: SCALE={} ROUNDS={}, {} records, optimised: {}",
        settings.scale,
        settings.rounds,
        settings.records,
        !cfg!(debug_assertions)
    );
    if let Ok(cipher) = std::env::var("STRONGROOM_SIV") {
        if !cfg!(feature = "testkit") {
            return Err("STRONGROOM_SIV is heard with `--features testkit` only".into());
        }
        println!("cipher: {cipher}, by STRONGROOM_SIV");
    }
    println!();
    if file_system.starts_with("tmpfs") {
        eprintln!("a tmpfs has no disk to sync to: name another directory with BENCH_DIR");
    }
    Ok(())
}

fn first_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or("?").to_owned()
}

fn value_of(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The type of the file system that a directory is on: that of its longest mounted prefix.
fn file_system_of(directory: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let mut best = None;
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        let (Some(place), Some(kind)) = (words.next(), words.next()) else { continue };
        let longer = best.as_ref().is_none_or(|(length, _)| place.len() >= *length);
        if directory.starts_with(place) && longer {
            best = Some((place.len(), kind.to_owned()));
        }
    }
    best.map(|(_, kind)| kind)
}
