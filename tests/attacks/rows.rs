//! The rows of the attack matrix that are about one kind of edit, each on a small file, closed and
//! left open. Rows 2, 3, 6 and 24 stand at length in `mixes`; 17 to 20 and 23 in `replaced`.

use std::collections::BTreeSet;

use strongroom::medium::MemoryMedium;
use strongroom::redb::ReadableDatabase;
use strongroom::testkit::{Attack, Edit, Part, SeededRandom, Span};
use strongroom::{CopyId, GroupNo};

use crate::judge::{Outcome, Tally, Verdict, sweep, verdict, verdict_of_file};
use crate::victim::{NOTES, Victim, builder, content, key, small, small_without_late_entries};

/// The parts of a victim's file of one kind.
fn parts(victim: &Victim, wanted: impl Fn(Part) -> bool) -> Vec<Part> {
    let len = victim.attacker.current().len() as u64;
    Part::all_of(len).filter(|part| wanted(*part)).collect()
}

fn data_pages(victim: &Victim) -> Vec<Part> {
    parts(victim, |part| matches!(part, Part::DataPage(_)))
}

/// The data pages that the last sync wrote, and those that were written before it.
fn new_and_old(victim: &Victim) -> (Vec<Part>, Vec<Part>) {
    let changed: BTreeSet<u64> =
        victim.attacker.history().changed(victim.last()).into_iter().collect();
    data_pages(victim).into_iter().partition(|part| changed.contains(&part.file_pages().start))
}

/// The copy of a part that the last sync wrote.
fn newest(victim: &Victim, copies: [Part; 2]) -> Part {
    let change =
        |part: Part| victim.attacker.history().last_change(victim.last(), part.file_pages().start);
    if change(copies[1]) > change(copies[0]) { copies[1] } else { copies[0] }
}

fn newest_root(victim: &Victim) -> Part {
    newest(victim, CopyId::BOTH.map(Part::Root))
}

fn current_tag_page(victim: &Victim) -> Part {
    newest(victim, CopyId::BOTH.map(|copy| Part::TagPage(GroupNo(0), copy)))
}

fn zero(part: Part) -> Attack {
    Edit::Zero { pages: part.file_pages().into() }.into()
}

/// One flipped bit in the middle of a part.
fn flip(part: Part) -> Attack {
    Edit::Flip { byte: part.bytes().start + 2000, xor: 4 }.into()
}

fn each(victim: &Victim, what: &str, parts: &[Part]) -> Tally {
    sweep(victim, what, parts.iter().flat_map(|part| [flip(*part), zero(*part)]))
}

#[test]
fn row_01_a_flipped_bit_costs_its_page_and_no_other() {
    let [clean, unclean] = small(false);
    sweep(&unclean, "flipped bits", unclean.attacker.flips(61));
    let flips = sweep(&clean, "flipped bits", clean.attacker.flips(61));
    assert!(flips.of(Outcome::ErrorAtRead) > 100, "{flips:?}");
    // Beside a page that doesn't open, rows on other pages are still read, and rightly.
    let mut both = 0;
    for part in data_pages(&clean) {
        let file = clean.attacker.apply(&flip(part));
        let Ok(db) = builder().open_on(MemoryMedium::from_bytes(file), &key()) else { continue };
        let Ok(Ok(table)) = db.begin_read().map(|txn| txn.open_table(NOTES)) else { continue };
        let (mut right, mut errors) = (0, 0);
        for (row, value) in clean.now() {
            match table.get(row) {
                Ok(Some(found)) if found.value() == value => right += 1,
                Ok(other) => panic!("{part}: row {row} is {:?}", other.is_some()),
                Err(_) => errors += 1,
            }
        }
        both += u32::from(right > 0 && errors > 0);
    }
    println!("figure: attacks, pages that fail alone = {both}");
    assert!(both > 0);
}

#[test]
fn row_04_a_page_with_its_tag_page_put_back() {
    // With late entries most of these find the tag page as it is now, and change nothing.
    for victim in small(false).iter().chain(&small_without_late_entries()) {
        let history = victim.attacker.history();
        let tags = Part::TagPage(GroupNo(0), CopyId::A).file_pages().start;
        let tags = Span { first: tags, end: tags + 2 };
        let pages = data_pages(victim);
        let attacks = (0..history.last()).flat_map(|state| {
            let page = |part: &Part| Edit::Replay { pages: part.file_pages().into(), state };
            let pages: Vec<Edit> = pages.iter().map(page).collect();
            let all = pages.clone();
            // All but the clean index, which stands last: it is not asked which page is whose.
            let data = pages.split_last().map_or(&[][..], |(_, data)| data).to_vec();
            let singles = pages.into_iter().map(|page| vec![page]).chain([all, data]);
            singles.map(move |edits| {
                [Edit::Replay { pages: tags, state }].into_iter().chain(edits).collect()
            })
        });
        let attacks: Vec<Attack> = attacks.collect();
        let tally = sweep(victim, "pages with their tag pages", attacks);
        assert!(tally.errors() > 10, "{tally:?}");
    }
}

#[test]
fn row_05_the_whole_file_put_back_is_seen_by_its_number_only() {
    for victim in &small(false) {
        let mut opened = 0;
        for (state, attack) in victim.attacker.file_replays().enumerate() {
            let Some(truth) = &victim.truths[state] else { continue };
            let file = victim.attacker.apply(&attack);
            let db = builder().open_on(MemoryMedium::from_bytes(file), &key()).unwrap();
            assert_eq!(content(&*db).unwrap_or_default(), *truth.content);
            // What an application kept elsewhere tells: the number went down.
            let (then, now) = (db.recovery().sync.0, victim.truth(victim.last()).sync);
            assert!(then < now || *truth.content == *victim.now(), "{then} {now}");
            opened += 1;
        }
        println!("figure: attacks, {}, whole files put back = {opened}", victim.name);
        sweep(victim, "the whole file put back", victim.attacker.file_replays());
    }
}

#[test]
fn row_07_the_newest_records_of_a_clean_file_damaged() {
    let [clean, _] = small(false);
    for root in CopyId::BOTH.map(Part::Root) {
        for attack in [flip(root), zero(root)] {
            let Verdict { outcome, recovery, .. } = verdict(&clean, &attack, true);
            assert_eq!((outcome, recovery.healed_root), (Outcome::Current, true), "{attack}");
        }
    }
    for attack in [flip(current_tag_page(&clean)), zero(current_tag_page(&clean))] {
        let Verdict { outcome, error, .. } = verdict(&clean, &attack, true);
        assert!(outcome <= Outcome::ErrorAtRead, "{attack}: {outcome:?}");
        assert!(error.contains("tag page"), "{error}");
    }
    each(&clean, "damaged records", &parts(&clean, |part| !matches!(part, Part::DataPage(_))));
}

#[test]
fn row_08_the_newest_records_of_an_unclean_file_damaged() {
    let [_, late] = small(false);
    each(&late, "damaged records", &parts(&late, |part| !matches!(part, Part::DataPage(_))));
    let [_, unclean] = small_without_late_entries();
    let last = unclean.truth(unclean.last()).sync;
    for attack in [flip(newest_root(&unclean)), zero(newest_root(&unclean))] {
        let Verdict { outcome, recovery, .. } = verdict(&unclean, &attack, true);
        assert_eq!((outcome, recovery.unreadable_root), (Outcome::OneSync, true), "{attack}");
    }
    for attack in [flip(current_tag_page(&unclean)), zero(current_tag_page(&unclean))] {
        let Verdict { outcome, recovery, .. } = verdict(&unclean, &attack, true);
        assert_eq!(outcome, Outcome::OneSync, "{attack}");
        assert_eq!(recovery.recovered_from.map(|sync| sync.0), Some(last), "{attack}");
    }
    let records = parts(&unclean, |part| !matches!(part, Part::DataPage(_)));
    each(&unclean, "damaged records", &records);
}

#[test]
fn row_09_pages_of_the_last_commit_of_an_unclean_file_damaged() {
    let [_, unclean] = small(false);
    let (new, _) = new_and_old(&unclean);
    let tally = each(&unclean, "damaged pages of the last sync", &new);
    assert!(tally.of(Outcome::OneCommit) > 0 && tally.of(Outcome::OneSync) == 0, "{tally:?}");
    // Written in two phases, they were durable before any record named them: never a fallback.
    let [_, two_phases] = small(true);
    let tally = each(&two_phases, "damaged data pages", &data_pages(&two_phases));
    assert_eq!(tally.fallbacks(), 0, "{tally:?}");
    assert!(tally.errors() > 10, "{tally:?}");
}

#[test]
fn row_10_older_pages_of_an_unclean_file_damaged() {
    let [_, unclean] = small(false);
    let (_, old) = new_and_old(&unclean);
    let tally = each(&unclean, "damaged older pages", &old);
    assert_eq!(tally.fallbacks() + tally.of(Outcome::WholeState), 0, "{tally:?}");
    assert!(tally.errors() > 4, "some of them are in use: {tally:?}");
    // The page is refused, and by name; it is not given to redb as zeros, to make of it what it
    // can.
    for attack in old.iter().map(|part| flip(*part)) {
        let Verdict { outcome, error, .. } = verdict(&unclean, &attack, false);
        assert!(outcome == Outcome::Current || error.contains("altered, replayed"), "{error}");
    }
}

#[test]
fn row_11_zeroed_pages_tag_pages_groups_and_tails() {
    for victim in &small(false) {
        let tally = sweep(victim, "zeroed", victim.attacker.zeroings());
        assert!(tally.errors() > 0, "{tally:?}");
        let tags = Part::TagPage(GroupNo(0), CopyId::A).file_pages().start;
        let both: Attack = Edit::Zero { pages: Span { first: tags, end: tags + 2 } }.into();
        assert_eq!(verdict(victim, &both, true).outcome, Outcome::ErrorAtOpen, "both tag pages");
    }
}

#[test]
fn row_12_cut_extended_and_padded() {
    for victim in &small(false) {
        let tally = sweep(victim, "cut and extended", victim.attacker.cuts(509));
        assert!(tally.errors() > 200, "{tally:?}");
        let len = victim.attacker.current().len() as u64;
        for fill in [0, 0xA5] {
            let longer: Attack = Edit::Extend { len: len + 600_000, fill }.into();
            assert_eq!(verdict(victim, &longer, true).outcome, Outcome::Current);
        }
    }
}

#[test]
fn row_13_one_copy_over_the_other() {
    for victim in &small(false) {
        let tally = sweep(victim, "one copy over the other", victim.attacker.twins());
        assert!(tally.of(Outcome::Current) > 0 && tally.errors() > 0, "{tally:?}");
    }
}

/// Header copies are 32 KiB; the last 4 bytes are a CRC-32 of the rest, which anybody can compute.
pub fn mend_crc(copy: &mut [u8]) {
    let (covered, crc) = copy.split_at_mut(32_764);
    crc[..4].copy_from_slice(&crc32fast::hash(covered).to_le_bytes());
}

/// Opens it and expects an error and no write, or the current data (the other copy was good).
fn refused_or_healed(victim: &Victim, file: &[u8]) -> Outcome {
    let medium = MemoryMedium::from_bytes(file.to_vec());
    let opened = builder().open_on(medium.clone(), &key()).map(drop);
    if let Err(error) = opened {
        assert!(medium.to_bytes() == file, "written to before it was refused: {error}");
    }
    verdict_of_file(victim, file, false).outcome
}

#[test]
fn row_15_forged_headers_with_the_checksum_put_right() {
    let [clean, unclean] = small(false);
    let fields = (0..256).chain(2048..2560).chain(26_624..26_752).chain(30_720..31_400);
    let fields: Vec<usize> = fields.chain([300, 5000, 32_700]).collect();
    for victim in [&clean, &unclean] {
        let mut counts = [0; 2];
        for (byte, both) in fields.iter().flat_map(|byte| [(*byte, false), (*byte, true)]) {
            let mut file = victim.attacker.current().to_vec();
            for start in [0, 32_768].into_iter().take(1 + usize::from(both)) {
                file[start + byte] ^= 1;
                mend_crc(&mut file[start..start + 32_768]);
            }
            let outcome = refused_or_healed(victim, &file);
            assert!(outcome <= Outcome::Current, "byte {byte}, both {both}: {outcome:?}");
            assert!(!both || outcome != Outcome::Current, "byte {byte}: forged in both copies");
            counts[usize::from(outcome == Outcome::Current)] += 1;
        }
        let [refused, healed] = counts;
        println!("figure: attacks, {}, forged headers refused = {refused}", victim.name);
        println!("figure: attacks, {}, forged headers healed = {healed}", victim.name);
    }
}

#[test]
fn row_22_bytes_of_the_attackers_choice_are_never_read() {
    // redb's checksums are no secret: a plain redb file is full of pages that fit them.
    let [_, unclean] = small(false);
    let plain = crate::others::plain_file(7);
    let (new, old) = new_and_old(&unclean);
    let pages: Vec<&[u8]> = plain.chunks_exact(4096).filter(|page| page[0] != 0).collect();
    assert!(pages.len() > 5, "pages of trees");
    let mut outcomes = Tally::default();
    for part in new.iter().chain(&old) {
        for page in &pages {
            let mut file = unclean.attacker.current().to_vec();
            let bytes = part.bytes();
            file[bytes.start as usize..bytes.end as usize].copy_from_slice(page);
            let outcome = verdict_of_file(&unclean, &file, false).outcome;
            *outcomes.counts.entry(outcome).or_default() += 1;
        }
    }
    println!("figure: attacks, chosen pages put in = {}", outcomes.all());
    let wrong = outcomes.of(Outcome::Wrong) + outcomes.of(Outcome::Panic);
    println!("figure: attacks, chosen pages read = {wrong}");
    assert_eq!(wrong, 0);
}

#[test]
fn row_24_garbage_in_every_part() {
    let mut random = SeededRandom::new(5);
    for victim in &small(false) {
        let mut tally = Tally::default();
        for part in parts(victim, |_| true) {
            for _ in 0..4 {
                let mut file = victim.attacker.current().to_vec();
                let bytes = part.bytes();
                random.fill(&mut file[bytes.start as usize..bytes.end as usize]);
                let outcome = verdict_of_file(victim, &file, false).outcome;
                assert!(outcome < Outcome::Wrong, "{part}");
                *tally.counts.entry(outcome).or_default() += 1;
            }
        }
        println!("figure: attacks, {}, parts filled with garbage = {}", victim.name, tally.all());
        assert!(tally.errors() + tally.fallbacks() > 10, "{tally:?}");
    }
}
