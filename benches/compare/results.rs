//! Medians, spreads and ratios, as a table and as lines for scripts.
//!
//! Two ratios of the same values: `ratio`, an engine's time (or bytes) over the base's, above 1 is
//! slower or larger; and `throughput`, the base's time over the engine's, above 1 is faster.

use crate::engine::Engine;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    PerRecord,
    PerCommit,
    PerRead,
    PerRange,
    PerValue,
    PerOpen,
    PerCompaction,
    Bytes,
}

impl Unit {
    /// For people.
    fn label(self) -> &'static str {
        match self {
            Self::PerRecord => "us/record",
            Self::PerCommit => "us/commit",
            Self::PerRead => "us/read",
            Self::PerRange => "us/range",
            Self::PerValue => "us/value",
            Self::PerOpen => "us/open",
            Self::PerCompaction => "us/compaction",
            Self::Bytes => "MiB",
        }
    }

    /// For names of figures.
    fn suffix(self) -> String {
        match self {
            Self::Bytes => "mib".to_owned(),
            time => time.label().replace('/', "_per_"),
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
    /// By engine, a value a round.
    values: Vec<(Engine, Vec<f64>)>,
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
            self.rows.push(Row { workload, unit, values: Vec::new() });
            self.rows.len() - 1
        });
        if let Some(row) = self.rows.get_mut(index) {
            row.add(engine, unit.convert(value));
        }
    }

    pub(crate) fn print(&self, engines: &[Engine]) {
        if self.rows.is_empty() {
            return;
        }
        let others: Vec<_> = engines.iter().copied().filter(|e| *e != Engine::BASE).collect();
        let mut head = vec!["workload".to_owned(), "unit".to_owned()];
        head.extend(engines.iter().map(|engine| engine.name().to_owned()));
        for engine in &others {
            head.extend(["ratio", "throughput"].map(|what| format!("{} {what}", engine.name())));
        }
        println!("| {} |", head.join(" | "));
        println!("|---|---|{}", "---:|".repeat(head.len() - 2));
        for row in &self.rows {
            println!("| {} |", row.cells(engines, &others).join(" | "));
        }
        println!();
        for row in &self.rows {
            row.print_figures(&others);
        }
        println!();
    }
}

impl Row {
    fn add(&mut self, engine: Engine, value: f64) {
        match self.values.iter_mut().find(|(known, _)| *known == engine) {
            Some((_, values)) => values.push(value),
            None => self.values.push((engine, vec![value])),
        }
    }

    fn of(&self, engine: Engine) -> &[f64] {
        let found = self.values.iter().find(|(known, _)| *known == engine);
        found.map_or(&[], |(_, values)| values)
    }

    /// One over the other, of each round by itself: what disturbs a round disturbs both.
    fn divided(&self, over: Engine, under: Engine) -> Option<Spread> {
        let pairs = self.of(over).iter().zip(self.of(under));
        let ratios: Vec<_> = pairs.map(|(over, under)| over / under).collect();
        (!ratios.is_empty()).then(|| Spread::of(&ratios))
    }

    fn ratio(&self, engine: Engine) -> Option<Spread> {
        self.divided(engine, Engine::BASE)
    }

    fn throughput(&self, engine: Engine) -> Option<Spread> {
        let spread = || self.divided(Engine::BASE, engine);
        if self.unit == Unit::Bytes { None } else { spread() }
    }

    fn cells(&self, engines: &[Engine], others: &[Engine]) -> Vec<String> {
        let cell = |spread: Option<Spread>| spread.map_or("-".to_owned(), |it| it.to_string());
        let mut cells = vec![self.workload.to_owned(), self.unit.label().to_owned()];
        for engine in engines {
            let values = self.of(*engine);
            cells.push(cell((!values.is_empty()).then(|| Spread::of(values))));
        }
        for engine in others {
            cells.extend([cell(self.ratio(*engine)), cell(self.throughput(*engine))]);
        }
        cells
    }

    fn print_figures(&self, others: &[Engine]) {
        let workload = self.workload.replace(' ', "_");
        for (engine, values) in &self.values {
            let (name, suffix) = (engine.name(), self.unit.suffix());
            println!("figure: bench_{workload}_{name}_{suffix} = {:.3}", Spread::of(values).median);
        }
        for engine in others {
            // strongroom's own ratio goes without its name: most of the docs are about it.
            let name = match engine.name() {
                "strongroom" => String::new(),
                other => format!("_{other}"),
            };
            if let Some(ratio) = self.ratio(*engine) {
                println!("figure: bench_{workload}{name}_ratio = {:.3}", ratio.median);
            }
            if let Some(throughput) = self.throughput(*engine) {
                println!("figure: bench_{workload}{name}_throughput = {:.3}", throughput.median);
            }
        }
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
