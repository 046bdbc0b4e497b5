//! `check`: reads all of a vault and compares it with the hashes in it and, where directories are
//! named, with the files there.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use blake3::Hash;

use crate::args::KeySource;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::report::{self, Tally};
use crate::tables::{FileFacts, Reader};
use crate::tree::Roots;
use crate::vault::Readable;
use crate::{key, vault};

/// What reading a vault found.
#[derive(Debug)]
pub(crate) struct Checked {
    files: u64,
    /// What the files have by their metadata.
    total: u64,
    /// What could be read.
    bytes: u64,
    elapsed: Duration,
    mismatches: u64,
    finished: bool,
}

pub(crate) fn run(path: &Path, directories: &[PathBuf], key: &KeySource) -> Result<(), Failure> {
    let roots = Roots::new(directories)?;
    vault::must_exist(path)?;
    let provider = key::read(key)?;
    let checked = compare(|| Readable::open(path, &*provider), |_, _| None)?;
    let differences = if roots.is_empty() {
        0
    } else {
        let vault = Readable::open(path, &*provider)?;
        let differences = against(&vault, path, key, &roots)?;
        vault.close()?;
        differences
    };
    conclude(path, &checked)?;
    if differences > 0 {
        return Err(Failure::said(format!(
            "the vault is sound, but {differences} files differ from the directories"
        )));
    }
    Ok(())
}

/// Reads every file and compares its hash with the one in the vault and, where `other` knows
/// another one, with that. A file that can't be read is a mismatch; the rest is still read.
pub(crate) fn compare(
    open: impl Fn() -> Result<Readable, Failure>,
    other: impl Fn(&str, &FileFacts) -> Option<(Hash, &'static str)>,
) -> Result<Checked, Failure> {
    let started = Instant::now();
    let mut vault = open()?;
    let mut reader = Reader::new(&vault.begin_read()?)?;
    let all = reader.all()?;
    let total = all.iter().map(|(_, facts)| facts.len).sum();
    let mut progress = Progress::new("check", total);
    let mut mismatches = Tally::new("mismatch");
    let mut bytes = 0;
    for (name, facts) in &all {
        let wrong = match reader.read(name, facts, |_| Ok(())) {
            Err(Failure::Database(error)) => {
                // After one page that doesn't open, redb refuses to read on.
                drop((reader, vault));
                vault = open()?;
                reader = Reader::new(&vault.begin_read()?)?;
                Some(error.to_string())
            }
            Err(failure) => return Err(failure),
            Ok((len, hash)) => {
                bytes += len;
                progress.advance(len);
                let (expected, otherwise) =
                    other(name, facts).unwrap_or((facts.hash, "its hash is not the stored one"));
                let right = (len, hash) == (facts.len, facts.hash) && hash == expected;
                (!right).then(|| otherwise.to_owned())
            }
        };
        if let Some(wrong) = wrong {
            progress.clear();
            mismatches.add(name, wrong);
        }
    }
    let elapsed = started.elapsed();
    let (files, finished) = (all.len() as u64, reader.finished);
    drop(reader);
    vault.close()?;
    Ok(Checked { files, total, bytes, elapsed, mismatches: mismatches.count(), finished })
}

/// Prints the result; any mismatch is a failure.
pub(crate) fn conclude(path: &Path, checked: &Checked) -> Result<(), Failure> {
    let Checked { files, total, bytes, elapsed, mismatches, finished } = *checked;
    let speed = report::speed(bytes, elapsed);
    report::line(&format!(
        "read {files} files, {}, in {:.2} s: {speed:.0} MB/s with hashing; {mismatches} don't match",
        report::size(bytes),
        elapsed.as_secs_f64(),
    ))?;
    let file_size =
        fs::metadata(path).map_err(|error| Failure::io("measuring", path, &error))?.len();
    report::line(&format!(
        "the vault's file has {}, {:.2} times its content",
        report::size(file_size),
        file_size as f64 / total.max(1) as f64,
    ))?;
    if !finished {
        report::note("the last `store` was cut off; `store --add` goes on where it stopped");
    }
    report::figure("files", files)?;
    report::figure("bytes", bytes)?;
    report::figure("read_mb_s", format!("{speed:.1}"))?;
    report::figure("file_size", file_size)?;
    report::figure("mismatches", mismatches)?;
    if mismatches > 0 {
        return Err(Failure::said(format!("{mismatches} files don't match")));
    }
    Ok(())
}

// How many files are different in the directories, missing there, or not in the vault.
fn against(vault: &Readable, path: &Path, key: &KeySource, roots: &Roots) -> Result<u64, Failure> {
    let mut apart_from = vec![path];
    if let KeySource::File(key) | KeySource::Beside(key) = key {
        apart_from.push(key);
    }
    let files = roots.files(&apart_from, &mut Tally::new("skipped"));
    let mut progress =
        Progress::new("compare", files.iter().map(|found| found.metadata.len()).sum());
    let reader = Reader::new(&vault.begin_read()?)?;
    let mut stored: HashMap<_, _> =
        reader.all()?.into_iter().filter(|(name, _)| roots.contain(name)).collect();
    let mut differences = Tally::new("differs");
    let mut same = 0_u64;
    for found in files {
        let why = match (stored.remove(&found.name), hash_of(&found.path)) {
            (None, _) => "not in the vault".to_owned(),
            (Some(_), Err(error)) => error.to_string(),
            (Some(facts), Ok(hash)) if facts.hash == hash => {
                same += 1;
                progress.advance(facts.len);
                continue;
            }
            (Some(_), Ok(_)) => "changed since it was stored".to_owned(),
        };
        progress.clear();
        differences.add(&found.name, why);
    }
    for name in stored.keys() {
        differences.add(name, "in the vault, but not in the directory");
    }
    report::line(&format!(
        "compared with the directories: {same} files are the same, {} differ",
        differences.count()
    ))?;
    Ok(differences.count())
}

fn hash_of(path: &Path) -> io::Result<Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs::File::open(path)?)?;
    Ok(hasher.finalize())
}
