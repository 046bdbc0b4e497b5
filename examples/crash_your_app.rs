//! How to crash your own application: a bank whose invariant is that the sum never changes, and
//! that a transfer that was confirmed is there. Power cuts, kills and failed syncs, 1,000 of them,
//! each at another moment, on a disk in memory. Copy this, and put your application's calls and
//! your invariant in the places of `transfer` and `check`.
//!
//! `cargo run --release --features testkit --example crash_your_app`

use std::error::Error;

use strongroom::redb::{ReadableDatabase, ReadableTable, TableDefinition};
use strongroom::testkit::{Crash, CrashMedium, SeededRandom, Survival, Tearing};
use strongroom::{Builder, Database, RawKey};

const ACCOUNTS: TableDefinition<u64, u64> = TableDefinition::new("accounts");
const JOURNAL: TableDefinition<u64, (u64, u64, u64)> = TableDefinition::new("journal");
const COUNT: u64 = 100;
const START: u64 = 1000;
const CRASHES: u64 = 1000;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn key() -> RawKey {
    RawKey::new([7; 32])
}

/// The application: moves money and writes it down, in one transaction.
fn transfer(db: &Database, number: u64, random: &mut SeededRandom) -> Result<()> {
    let write = db.begin_write()?;
    {
        let mut accounts = write.open_table(ACCOUNTS)?;
        let (from, to) = (random.below(COUNT), random.below(COUNT));
        let had = accounts.get(from)?.map_or(0, |balance| balance.value());
        let amount = random.between(0, had);
        accounts.insert(from, had - amount)?;
        let had = accounts.get(to)?.map_or(0, |balance| balance.value());
        accounts.insert(to, had + amount)?;
        write.open_table(JOURNAL)?.insert(number, (from, to, amount))?;
    }
    Ok(write.commit()?)
}

/// The invariant, in whatever a crash left. Returns how many transfers there are.
fn check(db: &Database, confirmed: u64) -> Result<u64> {
    let read = db.begin_read()?;
    let (mut sum, mut transfers) = (0, 0);
    for row in read.open_table(ACCOUNTS)?.iter()? {
        sum += row?.1.value();
    }
    for row in read.open_table(JOURNAL)?.iter()? {
        row?;
        transfers += 1;
    }
    if sum != COUNT * START {
        return Err(format!("the sum is {sum}, not {}", COUNT * START).into());
    }
    if !(confirmed..=confirmed + 1).contains(&transfers) {
        return Err(format!("{transfers} transfers, {confirmed} were confirmed").into());
    }
    Ok(transfers)
}

fn open_bank() -> Result<CrashMedium> {
    let disk = CrashMedium::new(0);
    let db = Builder::new().create_on(disk.clone(), &key())?;
    let write = db.begin_write()?;
    {
        let mut accounts = write.open_table(ACCOUNTS)?;
        write.open_table(JOURNAL)?;
        for number in 0..COUNT {
            accounts.insert(number, START)?;
        }
    }
    write.commit()?;
    db.close()?;
    Ok(disk)
}

fn main() -> Result<()> {
    let mut disk = open_bank()?;
    let (mut confirmed, mut in_flight, mut in_recovery) = (0, 0, 0);
    for seed in 0..CRASHES {
        let mut random = SeededRandom::new(seed);
        let tearing = *random.pick(&Tearing::ALL).ok_or("no tearing")?;
        let survival = Survival::Each(0.5);
        // The power goes off, or a sync fails, somewhere in what follows: perhaps in the open.
        let crash = match random.below(4) {
            0 => {
                disk.fail_sync_after(random.below(20), tearing, survival);
                Crash::Kill
            }
            kind => {
                disk.cut_after(random.below(150));
                if kind == 1 { Crash::Kill } else { Crash::PowerCut { tearing, survival } }
            }
        };
        match Builder::new().cache_size(1 << 20).open_on(disk.clone(), &key()) {
            Ok(db) => {
                while transfer(&db, confirmed, &mut random).is_ok() {
                    confirmed += 1;
                }
            }
            Err(_) => in_recovery += 1,
        }
        disk = disk.crash(crash);
        // Nothing is planned any more: this open must come through.
        let db = Builder::new().open_on(disk.clone(), &key())?;
        let found = check(&db, confirmed).map_err(|error| format!("seed {seed}: {error}"))?;
        in_flight += found - confirmed;
        confirmed = found;
    }
    println!("{CRASHES} crashes, {in_recovery} of them in recovery: the sum never changed.");
    println!(
        "{confirmed} transfers, none lost; {in_flight} were made by a commit that the crash cut."
    );
    Ok(())
}
