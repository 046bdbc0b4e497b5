//! Attacks print and parse back, do what they say, and are as many as there are.

use proptest::prelude::*;

use super::{Attack, Attacker, Edit, FileHistory, Part, Span};
use crate::units::{CopyId, GroupNo, PageNo};

fn edit() -> impl Strategy<Value = Edit> {
    let span = || any::<(u64, u64)>().prop_map(|(first, end)| Span { first, end });
    prop_oneof![
        any::<(u64, u8)>().prop_map(|(byte, xor)| Edit::Flip { byte, xor }),
        (span(), any::<usize>()).prop_map(|(pages, state)| Edit::Replay { pages, state }),
        any::<usize>().prop_map(|state| Edit::ReplayFile { state }),
        (span(), any::<u64>()).prop_map(|(pages, to)| Edit::Copy { pages, to }),
        (span(), any::<u64>()).prop_map(|(pages, to)| Edit::CopyIn { pages, to }),
        (span(), any::<u64>()).prop_map(|(pages, with)| Edit::Swap { pages, with }),
        span().prop_map(|pages| Edit::Zero { pages }),
        any::<u64>().prop_map(|len| Edit::Cut { len }),
        any::<(u64, u8)>().prop_map(|(len, fill)| Edit::Extend { len, fill }),
    ]
}

proptest! {
    #[test]
    fn an_attack_prints_and_parses_back(edits in proptest::collection::vec(edit(), 0..5)) {
        let attack = Attack { edits };
        prop_assert_eq!(attack.to_string().parse::<Attack>(), Ok(attack));
    }

    #[test]
    fn no_attack_panics(edits in proptest::collection::vec(edit(), 0..5)) {
        let _ = small().apply(&Attack { edits });
    }
}

/// Blocks of two bytes; three states of `aabb`, `aaccdd`, `eeccdd`.
fn small() -> Attacker {
    let mut history = FileHistory::with_block_size(2);
    assert!(history.record(b"aabb") && !history.record(b"aabb"));
    assert!(history.record(b"aaccdd") && history.record(b"eeccdd"));
    Attacker::new(history).with_other(b"xxyyzz".to_vec())
}

#[test]
fn edits_do_what_they_say() {
    let after = |attack: &str| {
        let attack: Attack = attack.parse().unwrap();
        String::from_utf8(small().apply(&attack)).unwrap()
    };
    assert_eq!(after("nothing"), "eeccdd");
    assert_eq!(after("flip byte 2 by 1; flip byte 99 by 1"), "eebcdd");
    assert_eq!(after("replay pages 0..1 of state 0"), "aaccdd");
    assert_eq!(after("replay pages 0..9 of state 0"), "aabbdd");
    assert_eq!(after("replay file of state 0"), "aabb");
    assert_eq!(after("copy pages 0..2 to 1"), "eeeecc");
    assert_eq!(after("copy in pages 1..2 to 0"), "yyccdd");
    assert_eq!(after("swap pages 0..1 with 2"), "ddccee");
    assert_eq!(after("zero pages 1..3"), "ee\0\0\0\0");
    assert_eq!(after("cut to 3 bytes; extend to 5 bytes of 65"), "eecAA");
    assert_eq!(after("cut to 2 bytes; replay pages 2..3 of state 1"), "ee\0\0dd");
}

#[test]
fn nonsense_is_refused() {
    for text in ["", "flip", "replay pages 1 of state 2", "cut to x bytes", "zero pages 1..2; "] {
        let error = text.parse::<Attack>().unwrap_err();
        assert!(error.to_string().contains("is not an edit"), "{error}");
    }
}

#[test]
fn a_history_knows_versions_and_changes() {
    let attacker = small();
    let history = attacker.history();
    assert_eq!((history.len(), history.last(), history.blocks_in(0)), (3, 2, 2));
    assert_eq!([0, 1, 2].map(|block| history.older_versions(block)), [vec![0], vec![0], vec![]]);
    assert_eq!((history.changed(1), history.changed(2)), (vec![1, 2], vec![0]));
    assert_eq!((history.last_change(1, 0), history.last_change(2, 1)), (Some(0), Some(1)));
    assert_eq!(history.up_to(1).image(1), b"aaccdd");
    assert_eq!((history.image(7), history.block(0, 2)), (vec![], None));
}

#[test]
fn single_edits_are_all_there() {
    let attacker = small();
    assert_eq!(attacker.replays().count(), 2);
    assert_eq!(attacker.swaps().count(), 3);
    assert_eq!(attacker.copies().count(), 6);
    assert_eq!(attacker.foreign_copies().count(), 9);
    assert_eq!(attacker.flips(1).count(), 6);
    assert_eq!(attacker.file_replays().count(), 2);
    assert_eq!(attacker.cuts(1).count(), 6 + 6);
    let distinct: std::collections::BTreeSet<String> =
        (0..100).map(|seed| attacker.random(seed).to_string()).collect();
    assert!(distinct.len() > 90);
    assert_eq!(attacker.mix(3), attacker.mix(3));
}

#[test]
fn every_byte_has_its_part() {
    let parts: Vec<Part> = Part::all_of(24 * 4096).collect();
    assert_eq!(
        parts,
        [
            Part::Header(CopyId::A),
            Part::Header(CopyId::B),
            Part::Root(CopyId::A),
            Part::Root(CopyId::B),
            Part::Reserved,
            Part::TagPage(GroupNo(0), CopyId::A),
            Part::TagPage(GroupNo(0), CopyId::B),
            Part::DataPage(PageNo(0)),
            Part::DataPage(PageNo(1)),
        ]
    );
    for part in Part::all_of(300 * 4096) {
        let bytes = part.bytes();
        assert_eq!((Part::at(bytes.start), Part::at(bytes.end - 1)), (part, part));
    }
    assert_eq!(Part::at(u64::MAX).to_string().split(' ').next(), Some("data"));
}

/// A file of a preamble and one group with one data page, all blank but for what is set.
fn file(pages: &[(u64, u8)]) -> Vec<u8> {
    let mut file = vec![0; 24 * 4096];
    for (page, byte) in pages {
        let start = usize::try_from(page * 4096).unwrap();
        file[start..start + 4096].fill(*byte);
    }
    file
}

#[test]
fn a_whole_state_is_told_from_a_part_of_it() {
    // Root records on pages 16 and 17, tag pages on 20 and 21, data on 23.
    let mut history = FileHistory::new();
    history.record(&file(&[(16, 1), (20, 1), (23, 1)]));
    history.record(&file(&[(16, 1), (17, 2), (20, 1), (21, 2), (23, 2)]));
    history.record(&file(&[(16, 3), (17, 2), (20, 3), (21, 2), (23, 3)]));
    let attacker = Attacker::new(history);
    let put_back = |attack: &str| {
        let attack: Attack = attack.parse().unwrap();
        attacker.states_put_back(&attacker.apply(&attack))
    };
    assert_eq!(put_back("nothing"), [0_usize; 0]);
    // State 1 needs root 17 and tag page 21, which are still there: the newer root is in the way.
    assert_eq!(put_back("replay pages 20..21 of state 1"), [0_usize; 0]);
    assert_eq!(put_back("replay pages 16..17 of state 1"), [1]);
    assert_eq!(put_back("zero pages 16..17"), [1]);
    assert_eq!(put_back("replay pages 16..17 of state 0"), [1]);
    assert_eq!(put_back("zero pages 16..17; zero pages 21..22"), [0_usize; 0]);
    assert_eq!(put_back("replay pages 16..18 of state 0"), [0_usize; 0]);
    assert_eq!(put_back("replay pages 16..18 of state 0; replay pages 20..21 of state 0"), [0]);
    assert_eq!(put_back("replay file of state 0"), [0]);
}
