//! The same small workload on plain redb and on strongroom, in turns, so that what slows the machine
//! down slows both.

use std::fs;
use std::path::Path;
use std::time::Instant;

use strongroom::redb::{self, ReadableDatabase, ReadableTable, TableDefinition};
use strongroom::{Error, RawKey};

use super::median;
use crate::exit::Exit;
use crate::failure::Failure;

const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("bench");
const COMMITS: u64 = 100;
const WORKLOADS: [&str; 4] = ["load in one commit", "100 commits of one", "random reads", "scan"];

/// Seconds of each workload, and what it added up to, so that both did the same.
pub(super) struct Run {
    seconds: Vec<f64>,
    checksum: u64,
}

/// One round: plain redb and strongroom.
pub(super) struct Round {
    plain: Run,
    sealed: Run,
}

/// A workload over all rounds, medians.
pub(super) struct Ratio {
    pub(super) workload: &'static str,
    pub(super) plain_s: f64,
    pub(super) sealed_s: f64,
    pub(super) ratio: f64,
}

impl Ratio {
    pub(super) fn line(&self) -> String {
        let Self { workload, plain_s, sealed_s, ratio } = self;
        format!("{workload:<28}{plain_s:>7.3} s  {sealed_s:>8.3} s  {ratio:>5.2}")
    }
}

pub(super) fn ratios(rounds: &[Round]) -> Vec<Ratio> {
    let of = |(index, workload): (usize, &'static str)| {
        let seconds = |run: &Run| run.seconds.get(index).copied().unwrap_or(0.0);
        let plain_s = median(rounds.iter().map(|round| seconds(&round.plain)).collect());
        let sealed_s = median(rounds.iter().map(|round| seconds(&round.sealed)).collect());
        let ratio = |round: &Round| seconds(&round.sealed) / seconds(&round.plain).max(1e-9);
        Ratio { workload, plain_s, sealed_s, ratio: median(rounds.iter().map(ratio).collect()) }
    };
    WORKLOADS.into_iter().enumerate().map(of).collect()
}

/// Both on fresh files; who is first changes with the round.
pub(super) fn round(directory: &Path, records: u64, round: u64) -> Result<Round, Failure> {
    let plain = || {
        let path = directory.join("plain.redb");
        let db = redb::Database::create(&path)?;
        let run = run(&db, records)?;
        drop(db);
        removed(&path)?;
        Ok::<_, Failure>(run)
    };
    let sealed = || {
        let path = directory.join("sealed.room");
        let key = RawKey::generate().map_err(Failure::io("making a key"))?;
        let db = strongroom::Database::create(&path, key)?;
        let run = run(&db, records)?;
        db.close()?;
        removed(&path)?;
        Ok::<_, Failure>(run)
    };
    let both = if round.is_multiple_of(2) {
        let plain = plain()?;
        Round { plain, sealed: sealed()? }
    } else {
        let sealed = sealed()?;
        Round { plain: plain()?, sealed }
    };
    match both.plain.checksum == both.sealed.checksum {
        true => Ok(both),
        false => Err(Failure::new(Exit::Damaged, "redb and strongroom read different records")),
    }
}

fn removed(path: &Path) -> Result<(), Failure> {
    fs::remove_file(path).map_err(Failure::io("removing a scratch file"))
}

fn key(number: u64) -> [u8; 24] {
    // An odd factor turns numbers in order into numbers in none, each once.
    let mut key = [b'k'; 24];
    let scattered = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
    key.iter_mut().zip(scattered).for_each(|(to, from)| *to = from);
    key
}

fn run(db: &redb::Database, records: u64) -> Result<Run, Failure> {
    let (mut seconds, mut checksum) = (Vec::new(), 0_u64);
    let value = [0x5a; 150];
    let mut timed = |work: &mut dyn FnMut() -> Result<(), Error>| {
        let begun = Instant::now();
        work()?;
        seconds.push(begun.elapsed().as_secs_f64());
        Ok::<_, Failure>(())
    };
    timed(&mut || insert(db, 0..records, &value))?;
    timed(&mut || (0..COMMITS).try_for_each(|at| insert(db, records + at..=records + at, &value)))?;
    timed(&mut || {
        let read = db.begin_read()?;
        let table = read.open_table(TABLE)?;
        for at in 0..records / 4 {
            let key = key(at.wrapping_mul(2_654_435_761) % records);
            let found = table.get(key.as_slice())?;
            checksum += found.map_or(0, |value| value.value().len() as u64);
        }
        Ok(())
    })?;
    timed(&mut || {
        let read = db.begin_read()?;
        for record in read.open_table(TABLE)?.iter()? {
            let (key, value) = record?;
            checksum += (key.value().len() + value.value().len()) as u64;
        }
        Ok(())
    })?;
    Ok(Run { seconds, checksum })
}

fn insert(
    db: &redb::Database,
    numbers: impl Iterator<Item = u64>,
    value: &[u8],
) -> Result<(), Error> {
    let write = db.begin_write()?;
    let mut table = write.open_table(TABLE)?;
    for number in numbers {
        table.insert(key(number).as_slice(), value)?;
    }
    drop(table);
    write.commit()?;
    Ok(())
}
