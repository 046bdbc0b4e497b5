//! Row 22: one flipped bit in each 512 bytes, in the file for good, and in what a read shows. And
//! row 23's disk that lies about a sync and then loses power.

use strongroom::testkit::{Crash, CrashMedium, FaultyMedium, SeededRandom, Survival, Tearing};

use crate::case::{Case, Phase};
use crate::work::{
    Content, Life, Outcome, base, builder, commits_until_fired, content, is_reported, key, look,
    run,
};
use crate::{each_series, is_all, seeds};

const SECTOR: usize = 512;

/// A byte of each sector with a bit of it; all eight bits if everything is wanted.
fn bits(len: usize) -> Vec<(usize, u8)> {
    let mut random = SeededRandom::new(len as u64);
    let one = |sector: usize, bit: u8| (sector + bit as usize * 61 % SECTOR, bit);
    (0..len)
        .step_by(SECTOR)
        .flat_map(|sector| {
            let bits = if is_all() {
                0..8
            } else {
                let bit = random.below(8) as u8;
                bit..bit + 1
            };
            bits.map(|bit| one(sector, bit)).collect::<Vec<_>>()
        })
        .filter(|(byte, _)| *byte < len)
        .collect()
}

#[test]
fn row_22_a_rotten_bit_in_every_sector() {
    let start = base(1);
    let files = [(false, start.clean), (true, start.unclean)];
    for (unclean, file) in files {
        let life = Life { states: vec![start.before.clone(), start.now.clone()], acknowledged: 1 };
        let tally = each_series(&bits(file.len()), |(byte, bit), tally| {
            let mut rotten = file.clone();
            rotten[*byte] ^= 1 << bit;
            let plan = format!("bit flip on read at byte {byte} bit {bit}").parse().unwrap();
            let case = Case { phase: Phase::Open, seed: 1, plan };
            let found = look(&rotten, &life, unclean, true);
            tally.count(&case, found.map(|outcome| (outcome, true)));
        });
        tally.print(if unclean { "rot in an unclean file" } else { "rot in a clean file" });
        assert!(tally.of(Outcome::Detected) > 20, "{tally:?}");
        assert_eq!(tally.of(Outcome::OneSync) > 0, unclean, "{tally:?}");
    }
}

#[test]
fn row_22_a_bit_that_reads_show_wrong() {
    let start = base(1);
    let files = [
        (Phase::Open, &start.clean),
        (Phase::ReadOnly, &start.clean),
        (Phase::Recover, &start.unclean),
    ];
    for (phase, file) in files {
        let tally = each_series(&bits(file.len()), |(byte, bit), tally| {
            let plan = format!("bit flip on read at byte {byte} bit {bit}").parse().unwrap();
            let case = Case { phase, seed: 1, plan };
            tally.count(&case, run(&case));
        });
        tally.print(&format!("bits shown wrong, {}", phase.name()));
        assert!(tally.of(Outcome::Error) > 0 && tally.of(Outcome::Detected) == 0, "{tally:?}");
    }
}

/// One lied sync, up to two commits more, then the power goes. What was lied about may be gone.
fn lied(seed: u64, passing: u64) -> Result<(Outcome, bool), String> {
    let start = base(seed);
    let machine = CrashMedium::from_image(seed * 1000 + passing, start.clean);
    let disk = FaultyMedium::new(machine);
    disk.arm(format!("lost fsync once after {passing}").parse().unwrap());
    let mut life = Life { states: vec![start.now], acknowledged: 0 };
    let more = passing % 3;
    commits_until_fired(&disk, seed, &mut life, more).map_err(|error| error.to_string())?;
    let fired = disk.fired() > 0;
    let tearing = Tearing::ALL[passing as usize % 3];
    let crash = Crash::PowerCut { tearing, survival: Survival::Each(0.5) };
    let after = disk.inner().crash(crash);
    let Ok(db) = builder().open_on(after, &key()) else { return Ok((Outcome::Detected, fired)) };
    let Ok(found) = content(&*db) else { return Ok((Outcome::Detected, fired)) };
    let expected: &Content = &life.states[life.acknowledged];
    if found == *expected {
        return Ok((Outcome::Right, fired));
    }
    let before = life.acknowledged.checked_sub(1).map(|before| &life.states[before]);
    if fired && before == Some(&found) && (is_reported(db.recovery()) || more == 0) {
        return Ok((Outcome::OneSync, fired));
    }
    Err("neither the last commit nor the one before".to_owned())
}

#[test]
fn row_23_a_sync_that_lies_before_a_power_cut() {
    let seeds: Vec<u64> = (seeds().start..seeds().end * 20).collect();
    let tally = each_series(&seeds, |seed, tally| {
        for passing in 0..24 {
            let plan = format!("lost fsync once after {passing}").parse().unwrap();
            let case = Case { phase: Phase::Use, seed: *seed, plan };
            tally.count(&case, lied(*seed, passing));
        }
    });
    tally.print("lied syncs and power cuts");
    assert!(tally.of(Outcome::OneSync) + tally.of(Outcome::Detected) > 0, "{tally:?}");
}
