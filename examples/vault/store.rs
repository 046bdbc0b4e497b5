//! `store`: walk, write in batches, close, open again, read back and compare.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use blake3::Hash;
use strongroom::{Credential, Database};

use crate::args::KeySource;
use crate::check;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::report::{self, Tally};
use crate::tables::{CHUNK_BYTES, NotStored, Writer};
use crate::tree::{Found, Roots};
use crate::{key, vault};

/// A transaction is committed once it holds this much.
const BATCH_BYTES: u64 = 16 << 20;

/// What one run stored.
#[derive(Debug, Default)]
struct Stored {
    bytes: u64,
    unchanged: u64,
    commits: u64,
    /// The hash of what was read from each file, remembered outside of the vault.
    hashes: HashMap<String, Hash>,
}

pub(crate) fn run(
    path: &Path,
    directories: &[PathBuf],
    key: &KeySource,
    add: bool,
) -> Result<(), Failure> {
    let roots = Roots::new(directories)?;
    match path.symlink_metadata() {
        _ if add => vault::must_exist(path)?,
        Ok(_) => return Err(vault::exists(path)),
        Err(_) => {}
    }
    let provider = if add { key::read(key) } else { key::read_or_make(key) }?;
    let db = if add { vault::open(path, &*provider) } else { vault::create(path, &*provider) }?;

    let mut skipped = Tally::new("skipped");
    let mut apart_from = vec![path];
    if let KeySource::File(key) | KeySource::Beside(key) = key {
        apart_from.push(key);
    }
    let files = roots.files(&apart_from, &mut skipped);
    let started = Instant::now();
    let stored = write_all(&db, &files, &mut skipped)?;
    db.close()?;
    let elapsed = started.elapsed();
    summary(&stored, elapsed, skipped.count())?;
    read_back(path, &*provider, &stored)
}

fn write_all(db: &Database, files: &[Found], skipped: &mut Tally) -> Result<Stored, Failure> {
    let total = files.iter().map(|found| found.metadata.len()).sum();
    let mut progress = Progress::new("store", total);
    let mut stored = Stored::default();
    let mut chunk = vec![0; CHUNK_BYTES];
    // From here on it is a vault, an unfinished one.
    commit(db, |writer| writer.set_finished(false))?;
    let mut files = files.iter().peekable();
    let mut finished = false;
    while !finished {
        commit(db, |writer| {
            let mut batch_bytes = 0;
            while batch_bytes < BATCH_BYTES
                && let Some(found) = files.next()
            {
                if writer.facts(&found.name)?.is_some_and(|facts| facts.describes(&found.metadata))
                {
                    stored.unchanged += 1;
                    progress.pass_over(found.metadata.len());
                    continue;
                }
                match writer.store(found, &mut chunk) {
                    Ok(facts) => {
                        batch_bytes += facts.len;
                        progress.advance(facts.len);
                        stored.hashes.insert(found.name.clone(), facts.hash);
                    }
                    Err(NotStored::Unreadable(error)) => {
                        progress.clear();
                        progress.pass_over(found.metadata.len());
                        skipped.add(&found.name, error);
                    }
                    Err(NotStored::Failed(failure)) => return Err(failure),
                }
            }
            finished = files.peek().is_none();
            stored.bytes += batch_bytes;
            stored.commits += 1;
            writer.set_finished(finished)
        })?;
    }
    Ok(stored)
}

fn commit(
    db: &Database,
    change: impl FnOnce(&mut Writer<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let transaction = db.begin_write()?;
    change(&mut Writer::new(&transaction)?)?;
    Ok(transaction.commit()?)
}

fn summary(stored: &Stored, elapsed: Duration, skipped: u64) -> Result<(), Failure> {
    let speed = report::speed(stored.bytes, elapsed);
    report::line(&format!(
        "stored {} files, {}, in {:.2} s and {} commits: {speed:.0} MB/s with reading and hashing \
         them ({} unchanged, {skipped} skipped)",
        stored.hashes.len(),
        report::size(stored.bytes),
        elapsed.as_secs_f64(),
        stored.commits,
        stored.unchanged,
    ))?;
    report::figure("write_mb_s", format!("{speed:.1}"))
}

fn read_back(path: &Path, key: &dyn Credential, stored: &Stored) -> Result<(), Failure> {
    let open = || vault::Readable::open(path, key);
    let checked = check::compare(open, |name, _| {
        // What an earlier run stored is compared with the hash it left in the vault.
        stored.hashes.get(name).map(|hash| (*hash, "it is not what was read from the file"))
    })?;
    check::conclude(path, &checked)
}
