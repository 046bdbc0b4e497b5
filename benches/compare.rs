//! Plain redb beside strongroom, in one process and interleaved (docs/performance.md).
//!
//! ```text
//! cargo bench --bench compare                  everything, in under four minutes
//! cargo bench --bench compare -- cold          the workloads with `cold` in their names
//! SCALE=2 ROUNDS=7 BENCH_DIR=/mnt/disk cargo bench --bench compare         500,000 records
//! ENGINES=strongroom cargo bench --bench compare            without the one by a memory map
//! STRONGROOM_SIV=portable cargo bench --features testkit --bench compare
//! ```
//!
//! Without the `--bench` that `cargo bench` passes, it is a smoke test of a few seconds. All
//! engines must give the same answers: every workload returns a checksum, and they are compared.

#[path = "compare/engine.rs"]
mod engine;
#[path = "compare/keys.rs"]
mod keys;
#[path = "compare/large.rs"]
mod large;
#[path = "compare/machine.rs"]
mod machine;
#[path = "compare/memory.rs"]
mod memory;
#[path = "compare/pages.rs"]
mod pages;
#[path = "compare/records.rs"]
mod records;
#[path = "compare/results.rs"]
mod results;
#[path = "compare/rounds.rs"]
mod rounds;
#[path = "compare/settings.rs"]
mod settings;
#[path = "compare/store.rs"]
mod store;
#[path = "compare/turns.rs"]
mod turns;
#[path = "compare/workloads.rs"]
mod workloads;

use results::Results;
use settings::Settings;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some(memory::CHILD) {
        return memory::child(args);
    }
    let settings = Settings::read(std::env::args().skip(1))?;
    let directory = tempfile::Builder::new().prefix("bench-").tempdir_in(&settings.directory)?;
    machine::describe(&settings)?;

    let mut results = Results::default();
    for round in 0..settings.rounds {
        eprintln!("round {} of {}", round + 1, settings.rounds);
        rounds::run(&settings, round, directory.path(), &mut results)?;
        large::values(&settings, round, directory.path(), &mut results)?;
        large::opens(&settings, round, directory.path(), &mut results)?;
        memory::run(&settings, round, directory.path(), &mut results)?;
    }
    results.print(&settings.engines);
    keys::run(&settings, directory.path())?;
    pages::run(&settings)
}
