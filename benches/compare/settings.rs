//! What to run, and how much of it.

use std::path::PathBuf;
use std::str::FromStr;

use crate::Outcome;
use crate::engine::Engine;

/// Of the smoke test.
const SMOKE_SCALE: f64 = 0.01;

#[derive(Debug)]
pub(crate) struct Settings {
    /// Where the files go: a real disk, or the syncs mean nothing.
    pub(crate) directory: PathBuf,
    pub(crate) rounds: usize,
    pub(crate) scale: f64,
    /// Who takes part, from `ENGINES`; the base always does.
    pub(crate) engines: Vec<Engine>,
    filter: Option<String>,
    /// In the bulk load: 500,000 at `SCALE=2`.
    pub(crate) records: u64,
    /// Each of ten commits of one record.
    pub(crate) single_slices: u64,
    /// Each of two commits of a thousand records.
    pub(crate) batch_slices: u64,
    pub(crate) reads: u64,
    /// Transactions of 8 MiB of large values, for each of two sizes.
    pub(crate) value_slices: u64,
    /// Values of 60 KiB in the database whose opening is timed: 256 MiB.
    pub(crate) opened_values: u64,
    pub(crate) opens: usize,
}

impl Settings {
    pub(crate) fn read(args: impl Iterator<Item = String>) -> Outcome<Self> {
        let mut filter = None;
        let mut bench = false;
        for arg in args {
            match arg.as_str() {
                "--bench" => bench = true,
                // What a test runner may pass: nothing that matters here.
                flag if flag.starts_with('-') => {}
                _ => filter = Some(arg),
            }
        }
        let scale = from_env("SCALE", if bench { 1.0 } else { SMOKE_SCALE })?;
        if !(scale > 0.0 && scale <= 1000.0) {
            return Err("SCALE is a number above 0".into());
        }
        let directory = std::env::var_os("BENCH_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
        Ok(Self {
            directory,
            rounds: from_env("ROUNDS", if bench { 5 } else { 1 })?,
            scale,
            engines: engines()?,
            filter,
            records: scaled(250_000, scale),
            single_slices: scaled(50, scale),
            batch_slices: scaled(25, scale),
            reads: scaled(200_000, scale),
            value_slices: scaled(8, scale),
            opened_values: if bench { 4200 } else { 42 },
            opens: if bench { 10 } else { 2 },
        })
    }

    pub(crate) fn wants(&self, workload: &str) -> bool {
        self.filter.as_deref().is_none_or(|filter| workload.contains(filter))
    }
}

fn engines() -> Outcome<Vec<Engine>> {
    let asked = std::env::var("ENGINES").unwrap_or_default();
    let mut names: Vec<_> = asked.split([',', ' ']).filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        return Ok(Engine::ALL.to_vec());
    }
    names.push(Engine::BASE.name());
    if let Some(name) = names.iter().find(|name| Engine::from_name(name).is_none()) {
        let known: Vec<_> = Engine::ALL.iter().map(|engine| engine.name()).collect();
        return Err(format!("ENGINES: there is no {name}, only {}", known.join(", ")).into());
    }
    Ok(Engine::ALL.iter().copied().filter(|engine| names.contains(&engine.name())).collect())
}

fn from_env<T: FromStr>(name: &str, default: T) -> Outcome<T> {
    match std::env::var(name) {
        Err(_) => Ok(default),
        Ok(value) => value.parse().map_err(|_| format!("{name}={value} is not a number").into()),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few millions times a positive scale of at most a thousand"
)]
pub(crate) fn scaled(count: u64, scale: f64) -> u64 {
    ((count as f64 * scale) as u64).max(1)
}
