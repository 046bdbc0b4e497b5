//! Rows 2 to 6 at length: swaps and copies exhaustively on a small file, every older version of
//! everything in a 200-commit history, mixes of old and new states and of two timelines.

use std::sync::OnceLock;
use std::time::Instant;

use strongroom::testkit::{Edit, Span};

use crate::judge::{Outcome, sweep};
use crate::many;
use crate::victim::{Victim, big, small};

/// Made once: 200 commits, and every state of them opened.
fn victims() -> &'static [Victim; 2] {
    static VICTIMS: OnceLock<[Victim; 2]> = OnceLock::new();
    VICTIMS.get_or_init(|| {
        let victims = big();
        for victim in &victims {
            let history = victim.attacker.history();
            let pages = history.blocks_in(history.last());
            println!("figure: attacks, {}, recorded states = {}", victim.name, history.len());
            println!("figure: attacks, {}, pages of the file = {pages}", victim.name);
        }
        victims
    })
}

#[test]
fn row_02_every_swap_and_copy_within_a_file_and_from_another_one() {
    for victim in &small(false) {
        let attacker = &victim.attacker;
        sweep(victim, "every swap of two pages", attacker.swaps());
        sweep(victim, "every copy of a page over another", attacker.copies());
        let foreign = sweep(victim, "every page of another database", attacker.foreign_copies());
        assert!(foreign.errors() + foreign.fallbacks() > 300, "{foreign:?}");
        assert_eq!(foreign.of(Outcome::WholeState), 0);
    }
}

#[test]
fn row_03_every_older_version_of_every_page_put_back() {
    for victim in victims() {
        let started = Instant::now();
        let attacker = &victim.attacker;
        let pages = sweep(victim, "every older version of a page", attacker.replays());
        let parts = sweep(victim, "every older header copy and group", attacker.part_replays());
        println!("{}: {:?}", victim.name, started.elapsed());
        assert!(pages.errors() > 200 && pages.all() > 1500, "{pages:?}");
        if victim.clean {
            assert_eq!(pages.of(Outcome::WholeState) + parts.of(Outcome::WholeState), 0);
        }
    }
}

#[test]
fn row_04_all_groups_put_back_under_the_newest_roots() {
    for victim in victims() {
        let history = victim.attacker.history();
        let pages = history.blocks_in(history.last());
        // On the closed file all but its last page, the clean index, which then still fits.
        let all = Span { first: 20, end: pages - u64::from(victim.clean) };
        let put_back = |state| Edit::Replay { pages: all, state }.into();
        let tally = sweep(victim, "all groups put back", (0..history.last()).map(put_back));
        assert!(tally.errors() > 150, "{tally:?}");
    }
}

#[test]
fn row_06_mixes_of_old_and_new_states() {
    let mixes = many(10_000);
    for victim in victims() {
        let started = Instant::now();
        let attacker = &victim.attacker;
        let mixed = sweep(victim, "mixes of states", (0..mixes).map(|seed| attacker.mix(seed)));
        println!("{}: {:?}", victim.name, started.elapsed());
        assert!(mixed.errors() > mixed.all() / 4, "{mixed:?}");
    }
}

#[test]
fn row_06_mixes_of_two_timelines() {
    let mixes = many(1000);
    for victim in victims() {
        let attacker = &victim.attacker;
        let attacks = (0..mixes).map(|seed| attacker.mix_with_other(seed));
        let mixed = sweep(victim, "mixes of two timelines", attacks);
        assert!(mixed.errors() > mixed.all() / 4, "{mixed:?}");
    }
}

#[test]
fn row_24_random_edits_of_all_kinds() {
    let attacks = many(1000);
    for victim in victims() {
        let attacker = &victim.attacker;
        sweep(victim, "random edits", (0..attacks).map(|seed| attacker.random(seed)));
    }
}
