//! Opens what an attack left, reads it all, checks it, and says what came of it. Allowed are errors
//! and the current data. On an unclean file also what docs/threat-model.md calls *one sync*: the
//! state before the last sync, or the commit before, and only where the attack touched what the
//! last sync wrote, and only reported. A file that is an older state in whole is counted apart.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use strongroom::medium::MemoryMedium;
use strongroom::redb;
use strongroom::testkit::{Attack, Part};
use strongroom::{Error, OpenError, Recovery};

use crate::victim::{Content, Victim, builder, content, key};

const THREADS: usize = 2;

/// What came of an attack.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Outcome {
    ErrorAtOpen,
    ErrorAtRead,
    Current,
    /// The state before the last sync, reported.
    OneSync,
    /// The commit before, because pages of the last sync didn't open; counted in `torn_pages`.
    OneCommit,
    /// Both of them at once, both reported: the most that is known.
    OneSyncAndOneCommit,
    /// The file is an older state, or another timeline, in whole: nothing inside it can tell.
    WholeState,
    Wrong,
    Panic,
}

/// An outcome, with what opening reported and the content, where it got that far.
pub struct Verdict {
    pub outcome: Outcome,
    pub recovery: Recovery,
    pub error: String,
}

fn is_reported(recovery: Recovery) -> bool {
    recovery.recovered_from.is_some()
        || recovery.unreadable_root
        || recovery.erased_tag_pages > 0
        || recovery.torn_pages > 0
}

/// Whether the file differs from the current one in a page of this kind that the last sync wrote.
fn touches(victim: &Victim, file: &[u8], wanted: impl Fn(Part) -> bool) -> bool {
    let written = victim.attacker.history().changed(victim.last());
    written.into_iter().any(|page| {
        let start = page as usize * 4096;
        let bytes = |file: &'_ [u8]| file.get(start..start + 4096).map(<[u8]>::to_vec);
        wanted(Part::at(start as u64)) && bytes(file) != bytes(victim.attacker.current())
    })
}

/// What the content is, on a file that opened at this recovery.
fn judge(victim: &Victim, file: &[u8], recovery: Recovery, found: &Content) -> Outcome {
    if found == victim.now() {
        return Outcome::Current;
    }
    let torn = recovery.torn_pages > 0;
    let is_commit_before =
        |state| torn && victim.commit_before(state).is_some_and(|before| before == found);
    let last = victim.last();
    let touches_data = || touches(victim, file, |part| matches!(part, Part::DataPage(_)));
    let touches_records = || touches(victim, file, |part| !matches!(part, Part::DataPage(_)));
    if !victim.clean && recovery.sync.0 == victim.truth(last).sync {
        let excused = is_commit_before(last) && touches_data();
        return if excused { Outcome::OneCommit } else { Outcome::Wrong };
    }
    let before = victim.truths[last - 1].as_ref();
    let at_the_sync_before = before.is_some_and(|before| before.sync == recovery.sync.0);
    if !victim.clean && at_the_sync_before && is_reported(recovery) && touches_records() {
        if before.is_some_and(|before| *before.content == *found) {
            return Outcome::OneSync;
        }
        if is_commit_before(last - 1) {
            return Outcome::OneSyncAndOneCommit;
        }
    }
    if is_whole(victim, file, recovery, found) { Outcome::WholeState } else { Outcome::Wrong }
}

/// Whether the file is an older state in whole, or the other timeline's. If that state was an
/// unclean one, it falls back as unclean files do: a root record of the very next sync may have
/// been passed over, and reported, and a commit taken back, and counted.
fn is_whole(victim: &Victim, file: &[u8], recovery: Recovery, found: &Content) -> bool {
    let torn = recovery.torn_pages > 0;
    let passed_over = recovery.recovered_from == Some(recovery.sync.next());
    let without = |root: usize| {
        let mut file = file.to_vec();
        file[root * 4096..(root + 1) * 4096].fill(0);
        file
    };
    let is_state = |victim: &Victim, state: usize| {
        let Some(truth) = &victim.truths[state] else { return false };
        let same = *truth.content == *found
            || (torn && victim.commit_before(state).is_some_and(|before| before == found));
        let holds = |file: &[u8]| victim.attacker.holds_state(file, state);
        let held = || holds(file) || (passed_over && (holds(&without(16)) || holds(&without(17))));
        truth.sync == recovery.sync.0 && same && held()
    };
    let older = (0..victim.last()).any(|state| is_state(victim, state));
    older
        || victim
            .fork
            .as_ref()
            .is_some_and(|fork| (0..=fork.last()).any(|state| is_state(fork, state)))
}

/// An error is what an attack deserves, but on a clean file with its own root records it must be
/// ours: if redb finds a page corrupted, it was handed one that isn't current.
fn refused(victim: &Victim, file: &[u8], verdict: Verdict, error: Error) -> Verdict {
    let of_redb = match &error {
        Error::Open(OpenError::Corrupted(_)) => true,
        Error::Redb(error) => matches!(**error, redb::Error::Corrupted(_)),
        _ => false,
    };
    let roots = 16 * 4096..18 * 4096;
    let same_roots = file.get(roots.clone()) == victim.attacker.current().get(roots);
    let outcome =
        if victim.clean && same_roots && of_redb { Outcome::Wrong } else { verdict.outcome };
    Verdict { outcome, error: error.to_string(), ..verdict }
}

/// Opens the file for writing, reads, checks, closes; `again` opens what that left once more.
fn open_for_writing(victim: &Victim, file: &[u8], again: bool) -> Verdict {
    let medium = MemoryMedium::from_bytes(file.to_vec());
    let mut verdict = Verdict {
        outcome: Outcome::ErrorAtOpen,
        recovery: Recovery::default(),
        error: String::new(),
    };
    let mut db = match builder().open_on(medium.clone(), &key()) {
        Ok(db) => db,
        Err(error) => return refused(victim, file, verdict, error.into()),
    };
    verdict.recovery = db.recovery();
    verdict.outcome = Outcome::ErrorAtRead;
    let found = match content(&*db) {
        Ok(found) => found,
        Err(error) => return refused(victim, file, verdict, error.into()),
    };
    // Whatever was read was read: an error later on doesn't make it right.
    let outcome = judge(victim, file, verdict.recovery, &found);
    if outcome == Outcome::Wrong {
        return Verdict { outcome, error: format!("{} rows", found.len()), ..verdict };
    }
    match db.check_integrity() {
        Ok(true) => {}
        Ok(false) => return Verdict { error: "redb repaired something".to_owned(), ..verdict },
        Err(error) => return refused(victim, file, verdict, error),
    }
    if let Err(error) = db.close() {
        return Verdict { error: error.to_string(), ..verdict };
    }
    if again {
        let db = builder().open_on(medium, &key()).unwrap();
        assert!(db.recovery().clean && content(&*db).unwrap() == found, "as it was closed");
    }
    Verdict { outcome, ..verdict }
}

/// A clean file can be opened read-only too, which changes nothing and has to be as careful.
fn open_read_only(victim: &Victim, file: &[u8]) -> Outcome {
    let medium = MemoryMedium::from_bytes(file.to_vec());
    let Ok(db) = builder().open_read_only_on(medium.clone(), &key()) else {
        return Outcome::ErrorAtOpen;
    };
    let found = content(&*db);
    assert!(medium.to_bytes() == file, "a read-only open changed the file");
    match found {
        Err(_) => Outcome::ErrorAtRead,
        Ok(found) if found == *victim.now() => Outcome::Current,
        Ok(found) => {
            let is_state = |state: usize| {
                let truth = victim.truths[state].as_ref();
                truth.is_some_and(|truth| *truth.content == found)
                    && victim.attacker.holds_state(file, state)
            };
            let fork = victim.fork.as_ref().is_some_and(|fork| {
                let same = |state: usize| fork.truths[state].as_ref();
                (0..=fork.last()).any(|state| {
                    same(state).is_some_and(|truth| *truth.content == found)
                        && fork.attacker.holds_state(file, state)
                })
            });
            let whole = fork || (0..victim.last()).any(is_state);
            if whole { Outcome::WholeState } else { Outcome::Wrong }
        }
    }
}

/// Carries an attack out on a copy and judges it.
pub fn verdict(victim: &Victim, attack: &Attack, again: bool) -> Verdict {
    verdict_of_file(victim, &victim.attacker.apply(attack), again)
}

pub fn verdict_of_file(victim: &Victim, file: &[u8], again: bool) -> Verdict {
    let judged = catch_unwind(AssertUnwindSafe(|| {
        let verdict = open_for_writing(victim, file, again);
        let read_only = open_read_only(victim, file);
        if read_only == Outcome::Wrong {
            return Verdict { outcome: Outcome::Wrong, error: "read-only".to_owned(), ..verdict };
        }
        verdict
    }));
    judged.unwrap_or(Verdict {
        outcome: Outcome::Panic,
        recovery: Recovery::default(),
        error: "panic".to_owned(),
    })
}

/// How often what came of the attacks.
#[derive(Default, Debug)]
pub struct Tally {
    pub counts: BTreeMap<Outcome, u64>,
}

impl Tally {
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.counts.get(&outcome).copied().unwrap_or(0)
    }

    pub fn all(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Errors, wherever.
    pub fn errors(&self) -> u64 {
        self.of(Outcome::ErrorAtOpen) + self.of(Outcome::ErrorAtRead)
    }

    /// Older data by a fallback that the threat model names.
    pub fn fallbacks(&self) -> u64 {
        let kinds = [Outcome::OneSync, Outcome::OneCommit, Outcome::OneSyncAndOneCommit];
        kinds.into_iter().map(|kind| self.of(kind)).sum()
    }
}

/// Judges every attack, prints the figures, and fails on a wrong read or a panic.
pub fn sweep(victim: &Victim, what: &str, attacks: impl IntoIterator<Item = Attack>) -> Tally {
    let attacks: Vec<Attack> = attacks.into_iter().collect();
    let worker = |first: usize| {
        let mut counts: BTreeMap<Outcome, u64> = BTreeMap::new();
        for (number, attack) in attacks.iter().enumerate().skip(first).step_by(THREADS) {
            let verdict = verdict(victim, attack, number % 16 == 0);
            *counts.entry(verdict.outcome).or_default() += 1;
            if verdict.outcome >= Outcome::Wrong {
                println!(
                    "{}, {what}: {:?} ({}, {:?})\n  replay: ATTACK_ON='{}' ATTACK='{attack}' {}",
                    victim.name,
                    verdict.outcome,
                    verdict.error,
                    verdict.recovery,
                    victim.name,
                    crate::REPLAY
                );
            }
        }
        counts
    };
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || worker(n))).collect();
        for (outcome, count) in workers.into_iter().flat_map(|worker| worker.join().unwrap()) {
            *tally.counts.entry(outcome).or_default() += count;
        }
    });
    println!("figure: attacks, {}, {what}, all = {}", victim.name, tally.all());
    for (outcome, count) in &tally.counts {
        println!("figure: attacks, {}, {what}, {outcome:?} = {count}", victim.name);
    }
    let bad = [tally.of(Outcome::Wrong), tally.of(Outcome::Panic)];
    println!("figure: attacks, {}, {what}, wrong reads and panics = {bad:?}", victim.name);
    assert_eq!(bad, [0, 0], "{}, {what}", victim.name);
    if victim.clean {
        assert_eq!(tally.fallbacks(), 0, "{}, {what}: a clean file never falls back", victim.name);
    }
    tally
}
