//! `bench`: what encryption costs on this machine and this disk.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::Output;

mod cipher;
mod syncs;
mod workloads;

use cipher::Cipher;
use syncs::Syncs;
use workloads::Ratio;

/// Measure this machine: cipher, sync, and a small workload beside plain redb
///
/// Writes scratch files below the given directory, up to a few hundred MiB, and removes them. A
/// ratio is strongroom's time over plain redb's in the same round, median of the rounds: 1.5 takes
/// half as long again. Measure on the disk that the file shall be on, with nothing else running.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom bench
  strongroom bench /srv/data --records 1000000 --json")]
pub(crate) struct Bench {
    /// A directory on the disk to measure
    #[arg(default_value = ".")]
    directory: PathBuf,
    /// Records of the workload, of 24 and 150 bytes
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(100..=100_000_000))]
    records: u64,
    /// Rounds of the workload
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    rounds: u64,
}

impl Bench {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        let scratch = Scratch::below(&self.directory)?;
        let progress = out.progress("measuring", "steps");
        let steps = self.rounds + 2;
        let cipher = cipher::measure()?;
        progress.at(1, steps);
        let syncs = syncs::measure(&scratch.directory)?;
        progress.at(2, steps);
        let mut rounds = Vec::new();
        for round in 0..self.rounds {
            rounds.push(workloads::round(&scratch.directory, self.records, round)?);
            progress.at(3 + round, steps);
        }
        progress.end();
        let ratios = workloads::ratios(&rounds);
        if out.is_json() {
            return out.json(&to_json(&cipher, &syncs, &ratios, self.records, self.rounds));
        }
        let Cipher { seal_mib_s, open_mib_s } = cipher;
        out.line(format_args!("cipher, one thread: seals {seal_mib_s:.0} MiB/s"))?;
        out.line(format_args!("                    opens {open_mib_s:.0} MiB/s"))?;
        out.line(format_args!(
            "a sync of 4 KiB: {:.2} ms, median of {}; a commit waits for at least two",
            syncs.median_ms, syncs.count
        ))?;
        let head = format!("{} records, rounds: {}", self.records, self.rounds);
        out.line(format_args!("{head:<28}{:>9}  {:>10}  ratio", "redb", "strongroom"))?;
        for ratio in &ratios {
            out.line(ratio.line())?;
        }
        Ok(())
    }
}

fn to_json(cipher: &Cipher, syncs: &Syncs, ratios: &[Ratio], records: u64, rounds: u64) -> Value {
    let workloads = ratios.iter().map(|ratio| {
        json!({
            "workload": ratio.workload,
            "redb_s": ratio.plain_s,
            "strongroom_s": ratio.sealed_s,
            "ratio": ratio.ratio,
        })
    });
    json!({
        "cipher": { "seal_mib_s": cipher.seal_mib_s, "open_mib_s": cipher.open_mib_s },
        "sync": { "median_ms": syncs.median_ms, "count": syncs.count },
        "records": records,
        "rounds": rounds,
        "workloads": workloads.collect::<Vec<_>>(),
    })
}

/// A directory of our own, removed when dropped.
struct Scratch {
    directory: PathBuf,
}

impl Scratch {
    fn below(parent: &Path) -> Result<Self, Failure> {
        let directory = parent.join(format!("strongroom-bench-{}", std::process::id()));
        let doing = format!("making {}", directory.display());
        fs::create_dir(&directory).map_err(Failure::io(doing))?;
        Ok(Self { directory })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What can't be removed was named when it was made.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The middle one, or the mean of the two in the middle; 0 of none.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let at = |index: usize| figures.get(index).copied().unwrap_or(0.0);
    let half = figures.len() / 2;
    match figures.len() % 2 {
        1 => at(half),
        _ => (at(half.saturating_sub(1)) + at(half)) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(vec![]), 0.0);
        assert_eq!(median(vec![3.0]), 3.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
    }
}
