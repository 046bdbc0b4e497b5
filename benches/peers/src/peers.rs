//! Encrypted stores that people use in strongroom's place, beside plain redb and strongroom in one
//! run: the workloads, the turns and the table of `benches/compare.rs`, whose files these are.
//!
//! ```text
//! cargo bench --manifest-path benches/peers/Cargo.toml
//! SCALE=2 ROUNDS=5 ENGINES=strongroom,sqlcipher cargo bench --manifest-path benches/peers/Cargo.toml
//! ```
//!
//! What each peer is, how it is set and what it cannot do is in `engine.rs`. All of them sync every
//! commit.

#[path = "engine.rs"]
mod engine;
#[path = "../../compare/large.rs"]
mod large;
#[path = "lmdb.rs"]
mod lmdb;
#[path = "../../compare/machine.rs"]
mod machine;
#[path = "../../compare/memory.rs"]
mod memory;
#[path = "../../../tests/backends/naive.rs"]
mod naive;
#[path = "../../compare/records.rs"]
mod records;
#[path = "../../compare/results.rs"]
mod results;
#[path = "../../compare/rounds.rs"]
mod rounds;
#[path = "../../compare/settings.rs"]
mod settings;
#[path = "sqlcipher.rs"]
mod sqlcipher;
#[path = "../../compare/store.rs"]
mod store;
#[path = "../../compare/turns.rs"]
mod turns;
#[path = "../../compare/workloads.rs"]
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
    println!("sqlcipher: {}", sqlcipher::version()?);
    println!("lmdb: {}\n", lmdb::version());

    let mut results = Results::default();
    for round in 0..settings.rounds {
        eprintln!("round {} of {}", round + 1, settings.rounds);
        rounds::run(&settings, round, directory.path(), &mut results)?;
        large::values(&settings, round, directory.path(), &mut results)?;
        large::opens(&settings, round, directory.path(), &mut results)?;
        memory::run(&settings, round, directory.path(), &mut results)?;
    }
    results.print(&settings.engines);
    Ok(())
}
