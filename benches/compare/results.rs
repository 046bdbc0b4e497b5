//! Medians, spreads and ratios, as a table and as lines for scripts.

use crate::engine::Engine;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    PerRecord,
    PerCommit,
    PerRead,
    PerOpen,
    Bytes,
}

impl Unit {
    /// For people.
    fn label(self) -> &'static str {
        match self {
            Self::PerRecord => "us/record",
            Self::PerCommit => "us/commit",
            Self::PerRead => "us/read",
            Self::PerOpen => "us/open",
            Self::Bytes => "MiB",
        }
    }

    /// For names of figures.
    fn suffix(self) -> &'static str {
        match self {
            Self::PerRecord => "us_per_record",
            Self::PerCommit => "us_per_commit",
            Self::PerRead => "us_per_read",
            Self::PerOpen => "us_per_open",
            Self::Bytes => "mib",
        }
    }

    fn convert(self, value: f64) -> f64 {
        if self == Self::Bytes { value / f64::from(1 << 20) } else { value }
    }
}

#[derive(Debug)]
struct Row {
    workload: &'static str,
    unit: Unit,
    redb: Vec<f64>,
    strongroom: Vec<f64>,
}

/// One value a round and engine.
#[derive(Debug, Default)]
pub(crate) struct Results {
    rows: Vec<Row>,
}

impl Results {
    pub(crate) fn add(&mut self, workload: &'static str, unit: Unit, engine: Engine, value: f64) {
        let index = self.rows.iter().position(|row| row.workload == workload);
        let index = index.unwrap_or_else(|| {
            self.rows.push(Row { workload, unit, redb: Vec::new(), strongroom: Vec::new() });
            self.rows.len() - 1
        });
        if let Some(row) = self.rows.get_mut(index) {
            let values = match engine {
                Engine::Redb => &mut row.redb,
                Engine::Strongroom => &mut row.strongroom,
            };
            values.push(unit.convert(value));
        }
    }

    pub(crate) fn print(&self) {
        if self.rows.is_empty() {
            return;
        }
        println!(
            "| workload | unit | redb (min..max) | strongroom (min..max) | ratio (min..max) |"
        );
        println!("|---|---|---:|---:|---:|");
        for row in &self.rows {
            let (redb, strongroom) = (Spread::of(&row.redb), Spread::of(&row.strongroom));
            let (workload, unit, ratio) = (row.workload, row.unit.label(), row.ratio());
            println!("| {workload} | {unit} | {redb} | {strongroom} | {ratio} |");
        }
        println!();
        for row in &self.rows {
            let (name, suffix) = (row.workload, row.unit.suffix());
            println!("figure: bench_{name}_ratio = {:.3}", row.ratio().median);
            println!("figure: bench_{name}_redb_{suffix} = {:.3}", Spread::of(&row.redb).median);
            let strongroom = Spread::of(&row.strongroom).median;
            println!("figure: bench_{name}_strongroom_{suffix} = {strongroom:.3}");
        }
        println!();
    }
}

impl Row {
    /// strongroom over redb, of each round by itself: what disturbs a round disturbs both.
    fn ratio(&self) -> Spread {
        let ratios: Vec<_> = self
            .strongroom
            .iter()
            .zip(&self.redb)
            .map(|(strongroom, redb)| strongroom / redb)
            .collect();
        Spread::of(&ratios)
    }
}

/// The middle and the ends.
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let last = sorted.len().saturating_sub(1);
        let median = (at(last / 2) + at(last.div_ceil(2))) / 2.0;
        Self { median, min: at(0), max: at(last) }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { median, min, max } = self;
        let digits = match *median {
            median if median >= 100.0 => 0,
            median if median >= 10.0 => 1,
            _ => 2,
        };
        write!(f, "{median:.digits$} ({min:.digits$}..{max:.digits$})")
    }
}
