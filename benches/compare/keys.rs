//! What a credential costs at open: plain redb, a raw key, a raw key in the last of twelve slots,
//! and a passphrase, on the same small database, opens taking turns; and Argon2id by itself.

use std::path::Path;
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Params, Version};
use strongroom::{Builder, Credential, KdfCost, Passphrase, RawKey, SlotSpec, redb};

use crate::Outcome;
use crate::results::Spread;
use crate::settings::Settings;

const CACHE_BYTES: usize = 1 << 20;
const ROUNDS: usize = 41;
/// The floor; what a calibrated slot costs more is Argon2id's.
const COST: KdfCost = KdfCost { memory_kib: 19 * 1024, passes: 2, lanes: 1 };
const ROWS: redb::TableDefinition<u64, u64> = redb::TableDefinition::new("rows");

fn fill(db: &redb::Database) -> Outcome {
    let txn = db.begin_write()?;
    {
        let mut table = txn.open_table(ROWS)?;
        for row in 0..100 {
            table.insert(row, row)?;
        }
    }
    Ok(txn.commit()?)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.cache_size(CACHE_BYTES);
    builder
}

fn make(path: &Path, key: &dyn Credential, slots: u8) -> Outcome {
    let db = builder().create(path, key)?;
    fill(&db)?;
    let mut admin = db.admin(key)?;
    for number in 2..=slots {
        admin.add(&SlotSpec::data(format!("{number}")), &RawKey::new([number; 32]))?;
    }
    drop(admin);
    Ok(db.close()?)
}

fn open(path: &Path, key: &dyn Credential) -> Outcome<Duration> {
    let started = Instant::now();
    let db = builder().open(path, key)?;
    let elapsed = started.elapsed();
    db.close()?;
    Ok(elapsed)
}

fn open_redb(path: &Path) -> Outcome<Duration> {
    let started = Instant::now();
    let db = redb::Builder::new().set_cache_size(CACHE_BYTES).open(path)?;
    let elapsed = started.elapsed();
    db.close()?;
    Ok(elapsed)
}

fn kdf() -> Outcome<Duration> {
    let params = Params::new(COST.memory_kib, COST.passes, COST.lanes, Some(32))
        .map_err(|error| error.to_string())?;
    let started = Instant::now();
    let mut secret = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(b"words", &[0; 32], &mut secret)
        .map_err(|error| error.to_string())?;
    Ok(started.elapsed())
}

pub(crate) fn run(settings: &Settings, directory: &Path) -> Outcome {
    if !settings.wants("key_open") {
        return Ok(());
    }
    let path = |name: &str| directory.join(name);
    let (raw, last) = (RawKey::new([1; 32]), RawKey::new([12; 32]));
    let passphrase = Passphrase::new("words").cost(COST);
    let plain = redb::Builder::new().create(path("keys.redb"))?;
    fill(&plain)?;
    plain.close()?;
    make(&path("keys.raw"), &raw, 1)?;
    make(&path("keys.twelve"), &raw, 12)?;
    make(&path("keys.passphrase"), &passphrase, 1)?;
    let mut times: [Vec<f64>; 5] = Default::default();
    for _ in 0..ROUNDS {
        let round = [
            open_redb(&path("keys.redb"))?,
            open(&path("keys.raw"), &raw)?,
            open(&path("keys.twelve"), &last)?,
            open(&path("keys.passphrase"), &passphrase)?,
            kdf()?,
        ];
        for (times, elapsed) in times.iter_mut().zip(round) {
            times.push(elapsed.as_secs_f64() * 1e6);
        }
    }
    for (name, values) in ["redb", "raw", "raw_last_of_12", "passphrase", "kdf"].iter().zip(&times)
    {
        print(name, values);
    }
    let [redb, raw, last, passphrase, kdf] = &times;
    print("raw_beyond_redb", &beyond(raw, redb));
    print("raw_last_of_12_beyond_redb", &beyond(last, redb));
    print("passphrase_beyond_kdf_and_redb", &beyond(&beyond(passphrase, kdf), redb));
    println!();
    Ok(())
}

/// Round by round: what disturbs a round disturbs both.
fn beyond(more: &[f64], less: &[f64]) -> Vec<f64> {
    more.iter().zip(less).map(|(more, less)| more - less).collect()
}

fn print(name: &str, values: &[f64]) {
    println!("figure: key_open_{name}_us = {:.0}", Spread::of(values).median);
}
