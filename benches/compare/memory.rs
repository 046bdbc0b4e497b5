//! Memory after the bulk load, in a process of its own for each engine.

use std::path::Path;
use std::process::Command;

use crate::Outcome;
use crate::engine::Engine;
use crate::results::{Results, Unit};
use crate::settings::Settings;
use crate::turns;

/// The argument that makes this program the child.
pub(crate) const CHILD: &str = "--memory-child";
/// redb's cache in this measurement: small, so that what comes on top of it shows.
const CACHE_BYTES: usize = 16 << 20;

pub(crate) fn run(
    settings: &Settings,
    round: usize,
    directory: &Path,
    results: &mut Results,
) -> Outcome {
    if !settings.wants("memory") || !Path::new("/proc/self/status").exists() {
        return Ok(());
    }
    for engine in turns::order(&settings.engines, round) {
        let path = turns::path(directory, "memory", engine);
        let output = Command::new(std::env::current_exe()?)
            .args([CHILD, engine.name()])
            .arg(&path)
            .arg(settings.records.to_string())
            .output()?;
        turns::remove(&path)?;
        let said = String::from_utf8(output.stdout)?;
        let bytes: u64 = said
            .trim()
            .parse()
            .map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())?;
        results.add("memory", Unit::Bytes, engine, bytes as f64);
    }
    Ok(())
}

/// Loads the records and says how much memory the process has then.
pub(crate) fn child(mut args: impl Iterator<Item = String>) -> Outcome {
    let mut next = || args.next().ok_or("an argument is missing");
    let engine = Engine::from_name(&next()?).ok_or("no such engine")?;
    let path = next()?;
    let records = next()?.parse()?;
    let handle = engine.create(Path::new(&path), CACHE_BYTES)?;
    handle.store().insert(0, records)?;
    println!("{}", resident_bytes()?);
    handle.close()
}

fn resident_bytes() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("no VmRSS")?;
    Ok(kib.trim().parse::<u64>()? * 1024)
}
