//! A disk that lies: some syncs return at once and make nothing durable. Then a power cut can take
//! commits that had returned, and nothing that a store does alone can help. What it must do even
//! so: show a state that was committed, or say that the file is damaged; never a mix or a panic.

use strongroom::testkit::model::{
    Found, Life, NotOpened, Observed, Program, Room, Step, Taste, Vault,
};
use strongroom::testkit::model::{Menu, Transaction};
use strongroom::testkit::{Crash, CrashMedium, SeededRandom, Survival, Tearing};

/// What became of files on lying disks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lied {
    /// Power cuts after at least one sync that was a lie.
    pub cuts: u64,
    /// Files that open says are damaged, or that can't be read.
    pub refused: u64,
    /// Files that hold an older commit: what the disk has lost.
    pub older: u64,
    /// Files that hold the newest commit, or one in flight.
    pub newest: u64,
}

/// One file.
pub fn lying_disk(seed: u64, lied: &mut Lied) -> Result<(), String> {
    let mut random = SeededRandom::new(seed);
    let settings = Program::draw(&mut random, Menu::PowerCuts, None).settings;
    let taste = Taste::draw(&mut random);
    let mut life = Life::<Vault>::new(CrashMedium::new(random.next_u64()), settings);
    life.create().map_err(|verdict| format!("{verdict:?}"))?;
    let fill = |life: &mut Life<Vault>, random: &mut SeededRandom| {
        let filling = Transaction::filling(random, &taste, 10);
        life.step(&Step::Transaction(filling)).map_err(|trouble| trouble.to_string())
    };
    fill(&mut life, &mut random)?;
    let lies = random.between(1, 12);
    life.medium.lose_syncs_after(random.below(4), lies);
    for _ in 0..random.between(1, 8) {
        let step = Step::draw(&mut random, &taste);
        // A clean shutdown that was a lie is found out by the next open, on this disk or later.
        life.step(&step).map_err(|trouble| trouble.to_string())?;
    }
    fill(&mut life, &mut random)?;
    if life.medium.syncs_lost() == 0 {
        return Ok(());
    }
    let tearing = *random.pick(&Tearing::ALL).ok_or("no tearing")?;
    let survival = *random
        .pick(&[Survival::Each(0.0), Survival::Each(0.5), Survival::Prefix, Survival::OnlyOne])
        .ok_or("no survival")?;
    let mut after = life.after(Crash::PowerCut { tearing, survival }, seed);
    lied.cuts += 1;
    let observed = match Vault::open(after.medium.clone(), after.settings) {
        Ok(db) => Observed::read(db.redb()),
        Err(NotOpened::Failed(error) | NotOpened::CreationCut(error)) => Err(error),
    };
    let Ok(observed) = observed else {
        lied.refused += 1;
        return Ok(());
    };
    match after.history.find(&observed) {
        Found::Allowed => lied.newest += 1,
        Found::Older(_) => lied.older += 1,
        Found::None => return Err(observed.difference(life.history.newest())),
    }
    Ok(())
}
