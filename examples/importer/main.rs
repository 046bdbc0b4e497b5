//! An importer: CSV files into an encrypted database, in batches, with progress, and resumable: cut
//! off at any point, by a kill or a power cut, the next run goes on after the last batch that was
//! durable, because how far it came is written in the same transaction as the rows.
//!
//! ```text
//! cargo run --release --example importer -- notes.room --key-file notes.key FILE.csv...
//! cargo run --release --example importer
//! ```
//!
//! Without arguments it shows itself on real data that is on every machine that can build it: every
//! line of strongroom's own sources, with file and line number, as one CSV file. It imports that,
//! is killed on the way and cut off again, and at the end compares every row with the file.

mod csv;
mod demo;
mod import;
mod progress;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use strongroom::{Database, KeyFile, OpenError};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match run(std::env::args_os().skip(1).map(PathBuf::from).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("importer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<PathBuf>) -> Result<()> {
    match arguments.as_slice() {
        [] => demo::run(),
        [room, option, key, files @ ..] if option.as_os_str() == "--key-file" => {
            let key = KeyFile::read(key)?;
            let db = match Database::builder().open(room, &key) {
                Err(OpenError::NotFound(_)) => Database::builder().create(room, &key)?,
                other => other?,
            };
            for file in files {
                let done = import::file(&db, file, import::BATCH_ROWS, |_| true)?;
                println!("{}: {} rows, {} of them new", file.display(), done.rows, done.new_rows);
            }
            Ok(db.close()?)
        }
        _ => Err("usage: importer ROOM --key-file KEY FILE.csv...".into()),
    }
}
