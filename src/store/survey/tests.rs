//! The survey beside an open: where the one opens, the other has no fault and sees the same state;
//! where the one refuses, the other says why and goes on.

use super::*;
use crate::format::header::{Header, UnverifiedHeader};
use crate::keys::RawKey;
use crate::layout::{DATA_PAGES_PER_GROUP, PAGE_BYTES, PAGE_SIZE};
use crate::medium::MemoryMedium;
use crate::store::scan::Scanned;
use crate::store::{self, Store, Witness};
use crate::units::{Generation, SyncSeq};

fn key() -> RawKey {
    RawKey::new([7; 32])
}

fn surveyed(bytes: Vec<u8>) -> Result<Survey, OpenError> {
    Survey::of(Arc::new(MemoryMedium::from_bytes(bytes)), &key(), &Options::default())
}

fn opened(bytes: Vec<u8>) -> Result<Store, OpenError> {
    let medium = Arc::new(MemoryMedium::from_bytes(bytes));
    store::open(medium, &key(), &Options::default(), &Witness::default())
}

fn write(store: &Store, page: u64, byte: u8) {
    store.write_pages(PageNo(page), &[byte; PAGE_SIZE]).unwrap();
}

/// A file of three groups after each of some syncs, after a write that no sync followed, and
/// closed.
fn states() -> Vec<Vec<u8>> {
    let medium = MemoryMedium::new();
    let store = store::create(Arc::new(medium.clone()), &key(), None, &Options::default()).unwrap();
    store.finish_creation().unwrap();
    store.set_len(3 * DATA_PAGES_PER_GROUP * PAGE_BYTES).unwrap();
    let mut states = Vec::new();
    for (round, pages) in [[1, 130, 300], [2, 130, 301], [3, 4, 5], [1, 2, 377]].iter().enumerate()
    {
        pages.iter().for_each(|page| write(&store, *page, u8::try_from(round).unwrap()));
        store.sync().unwrap();
        states.push(medium.to_bytes());
    }
    write(&store, 130, 9);
    states.push(medium.to_bytes());
    store.close().unwrap();
    states.push(medium.to_bytes());
    states
}

#[test]
fn a_length_out_of_proportion_is_refused_and_one_of_before_a_shrink_is_nobodys_fault() {
    let medium = MemoryMedium::new();
    let store = store::create(Arc::new(medium.clone()), &key(), None, &Options::default()).unwrap();
    store.finish_creation().unwrap();
    store.set_len(2 << 40).unwrap();
    write(&store, 1, 7);
    store.sync().unwrap();
    let absurd = medium.to_bytes();
    let refused = opened(absurd.clone()).unwrap_err().to_string();
    assert!(refused.contains("out of all proportion"), "{refused}");
    assert_eq!(surveyed(absurd).unwrap().fault().unwrap().to_string(), refused);
    store.set_len(10 * PAGE_BYTES).unwrap();
    store.sync().unwrap();
    // The other root record still claims the length of before, and the file is what is left.
    assert_eq!(opened(medium.to_bytes()).unwrap().recovery().recovered_from, None);
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }
}

// One edit, of whole pages but for the flip.
fn edit(dice: &mut Dice, file: &mut Vec<u8>, states: &[Vec<u8>]) {
    let pages = |file: &Vec<u8>| file.len().div_ceil(PAGE_SIZE);
    // The preamble is small and decides most.
    let page = |dice: &mut Dice| match dice.below(2) {
        0 => dice.below(24),
        _ => dice.below(pages(&states[0])),
    };
    let page_of = |file: &[u8], page: usize| {
        let start = (page * PAGE_SIZE).min(file.len());
        file[start..(start + PAGE_SIZE).min(file.len())].to_vec()
    };
    let to = page(dice);
    let bytes = match dice.below(5) {
        0 => {
            let at = (to * PAGE_SIZE + dice.below(PAGE_SIZE)).min(file.len() - 1);
            file[at] ^= 1 << dice.below(8);
            return;
        }
        1 => return file.truncate(1 + dice.below(file.len())),
        2 => vec![0; PAGE_SIZE],
        3 => page_of(file, page(dice)),
        _ => page_of(&states[dice.below(states.len())], to),
    };
    let start = (to * PAGE_SIZE).min(file.len());
    let end = (start + bytes.len()).min(file.len());
    file[start..end].copy_from_slice(&bytes[..end - start]);
}

#[test]
fn a_survey_has_a_fault_exactly_where_an_open_refuses() {
    let (states, mut dice) = (states(), Dice(0x5EED_0006));
    let (mut both_open, mut faults, mut neither) = (0, 0, 0);
    for round in 0..4000 {
        let mut file = states[dice.below(states.len())].clone();
        for _ in 0..dice.below(4) {
            edit(&mut dice, &mut file, &states);
        }
        match (opened(file.clone()), surveyed(file)) {
            (Ok(store), Ok(survey)) => {
                assert!(survey.fault().is_none(), "{round}: {:?}", survey.fault());
                let (recovery, state) = (*store.recovery(), survey.state().unwrap());
                assert_eq!(recovery.sync, state.root.sync, "{round}");
                assert_eq!(recovery.clean, state.root.clean, "{round}");
                assert_eq!(recovery.recovered_from, state.passed_over, "{round}");
                assert!(state.adds_up, "{round}");
                both_open += 1;
            }
            (Err(refused), Ok(survey)) => {
                let fault = survey.fault().unwrap_or_else(|| panic!("{round}: {refused}"));
                assert_eq!(refused.to_string(), fault.to_string(), "{round}");
                read_all(&survey);
                faults += 1;
            }
            (Err(refused), Err(error)) => {
                assert_eq!(refused.to_string(), error.to_string(), "{round}");
                neither += 1;
            }
            (Ok(_), Err(error)) => panic!("{round}: opens, but {error}"),
        }
    }
    println!("figure: surveys of a file that opens = {both_open}");
    println!("figure: surveys that name a fault = {faults}");
    println!("figure: surveys refused as the open is = {neither}");
    assert!(both_open > 500 && faults > 500 && neither > 20);
}

fn read_all(survey: &Survey) -> u64 {
    let (mut opened, mut bytes) = (0, [0; PAGE_SIZE]);
    for page in (0..survey.pages()).map(PageNo) {
        for under in [Under::Current, Under::Twin] {
            opened += u64::from(matches!(
                survey.page(page, under, &mut bytes),
                PageVerdict::Opened | PageVerdict::InJournal
            ));
        }
    }
    opened
}

#[test]
fn a_whole_file_has_two_whole_copies_of_everything() {
    let clean = states().pop().unwrap();
    let survey = surveyed(clean).unwrap();
    assert!(survey.headers().iter().all(|copy| matches!(copy, HeaderCopyState::Whole(_))));
    assert!(survey.roots().iter().all(|root| matches!(root, RootCopyState::Opened(_))));
    assert_eq!((survey.groups(), survey.pages()), (3, 378));
    let state = survey.state().unwrap();
    assert_eq!((state.root.clean, state.clean_index), (true, Some(true)));
    let mut bytes = [0; PAGE_SIZE];
    assert!(matches!(survey.page(PageNo(130), Under::Current, &mut bytes), PageVerdict::Opened));
    assert_eq!(bytes, [9; PAGE_SIZE]);
    assert!(matches!(survey.page(PageNo(129), Under::Current, &mut bytes), PageVerdict::Absent));
    // Its older copy names the ciphertext that was overwritten.
    let twin = survey.page(PageNo(130), Under::Twin, &mut bytes);
    assert!(matches!(twin, PageVerdict::DoesNotOpen), "{twin:?}");
    assert_eq!(survey.tag_copies(GroupNo(1)).map(|copy| copy == TagCopyState::Current), {
        let copy = survey.rows[1].unwrap().copy;
        [copy == CopyId::A, copy == CopyId::B]
    });
}

#[test]
fn without_a_current_tag_page_the_other_copy_still_opens_what_did_not_change() {
    let mut file = states().pop().unwrap();
    let copy = surveyed(file.clone()).unwrap().rows[1].unwrap().copy;
    let at = usize::try_from(layout::tag_page_start(GroupNo(1), copy).0).unwrap();
    file[at + 100] ^= 1;
    let survey = surveyed(file).unwrap();
    // The clean index still adds up, so the file opens; the group doesn't.
    assert!(survey.fault().is_none());
    assert_eq!(survey.tag_copies(GroupNo(1))[usize::from(copy.index())], TagCopyState::DoesNotOpen);
    let mut bytes = [0; PAGE_SIZE];
    let mut look = |page, under| survey.page(PageNo(page), under, &mut bytes);
    assert!(matches!(look(130, Under::Current), PageVerdict::NoTagPage));
    assert!(matches!(look(130, Under::Twin), PageVerdict::DoesNotOpen), "it was overwritten since");
    assert!(matches!(look(1, Under::Current), PageVerdict::Opened), "another group");
}

#[test]
fn a_survey_is_shared_by_threads() {
    fn shared<T: Sync + Send>(_: &T) {}
    shared(&surveyed(states().pop().unwrap()).unwrap());
}

#[test]
fn a_copy_of_a_tag_page_is_judged_by_the_row_that_the_state_has() {
    let row = Row { sync: SyncSeq(5), tag: [5; 16], copy: CopyId::A };
    let opened =
        |sync, tag| Copy::Opened(Scanned { sync: SyncSeq(sync), tag: [tag; 16], fresh: 0 });
    for (copy, row, expected) in [
        (opened(5, 5), Some(row), TagCopyState::Current),
        (opened(5, 6), Some(row), TagCopyState::Stray(SyncSeq(5))),
        (opened(4, 5), Some(row), TagCopyState::Older(SyncSeq(4))),
        (opened(6, 5), Some(row), TagCopyState::Stray(SyncSeq(6))),
        (opened(4, 5), None, TagCopyState::Stray(SyncSeq(4))),
        (Copy::DoesNotOpen, Some(row), TagCopyState::DoesNotOpen),
        (Copy::Truncated, Some(row), TagCopyState::Truncated),
    ] {
        assert_eq!(groups::state_of(copy, row), expected);
    }
}

#[test]
fn a_header_copy_is_judged_by_the_one_that_was_unlocked() {
    let store = opened(states().pop().unwrap()).unwrap();
    let unlocked = store.unlocked();
    let generation = unlocked.header.generation.0;
    let judged = |change: &dyn Fn(&mut Header)| {
        let mut header = unlocked.header.clone();
        change(&mut header);
        let bytes = header.encode(CopyId::A, &[0; 32], &unlocked.root.data_mac);
        headers::judge(Ok(UnverifiedHeader::decode(&bytes, CopyId::A)), &unlocked)
    };
    let (older, newer) = (Generation(generation - 1), Generation(generation + 1));
    let whole = HeaderCopyState::Whole(Generation(generation));
    assert_eq!(judged(&|_| ()), whole);
    let differs = HeaderCopyState::Differs(Generation(generation));
    assert_eq!(judged(&|header| header.clock_high_water += 1), differs);
    assert_eq!(judged(&|header| header.generation = older), HeaderCopyState::Older(older));
    assert_eq!(judged(&|header| header.generation = newer), HeaderCopyState::Newer(newer));
}

#[test]
fn only_what_the_last_sync_wrote_may_be_torn_and_is_forgiven_after_one_phase() {
    let medium = MemoryMedium::new();
    let store = store::create(Arc::new(medium.clone()), &key(), None, &Options::default()).unwrap();
    store.finish_creation().unwrap();
    store.set_len(3 * DATA_PAGES_PER_GROUP * PAGE_BYTES).unwrap();
    let torn = |pages: &[u64]| {
        let bytes = medium.to_bytes();
        let survey = surveyed(bytes.clone()).unwrap();
        assert_eq!(survey.len(), bytes.len() as u64);
        let of = |is: &dyn Fn(PageNo) -> bool| -> Vec<u64> {
            (0..378).filter(|page| is(PageNo(*page))).collect()
        };
        assert_eq!(of(&|page| survey.may_be_torn(page)), pages);
        of(&|page| survey.is_forgiven(page))
    };
    [1, 130, 300].iter().for_each(|page| write(&store, *page, 1));
    store.sync().unwrap();
    assert_eq!(torn(&[1, 130, 300]), [1, 130, 300]);
    [2, 130].iter().for_each(|page| write(&store, *page, 2));
    store.sync().unwrap();
    assert_eq!(torn(&[2, 130]), [2, 130]);
    // Byte 9, bit 2 of redb's header: two phases.
    store.write_page_zero(9, &[4]).unwrap();
    write(&store, 301, 3);
    store.sync().unwrap();
    assert_eq!(torn(&[301]), [0; 0], "nothing is due to be forgiven");
    store.close().unwrap();
    assert_eq!(torn(&[]), [0; 0]);
}

#[test]
fn what_is_cut_off_is_told_from_what_does_not_open() {
    let clean = states().pop().unwrap();
    let root_b = usize::try_from(layout::root_start(CopyId::B).0).unwrap();
    let mut blank = clean.clone();
    blank[root_b..root_b + PAGE_SIZE].fill(0);
    for (len, state) in [
        (root_b + PAGE_SIZE, RootCopyState::DoesNotOpen),
        (root_b + PAGE_SIZE - 1, RootCopyState::Truncated),
        (blank.len(), RootCopyState::DoesNotOpen),
    ] {
        assert_eq!(surveyed(blank[..len].to_vec()).unwrap().roots()[1], state, "{len}");
    }
    let group_2 = layout::tag_page_start(GroupNo(2), CopyId::A).0;
    let survey = surveyed(clean[..usize::try_from(group_2).unwrap()].to_vec()).unwrap();
    let mut bytes = [0; PAGE_SIZE];
    let mut look = |page| survey.page(PageNo(page), Under::Current, &mut bytes);
    assert!(matches!(look(300), PageVerdict::Truncated));
    assert!(matches!(look(130), PageVerdict::Opened));
    let mut torn = clean;
    torn[40_000] ^= 1;
    let survey = surveyed(torn).unwrap();
    assert!(survey.is_whole_header(CopyId::A) && !survey.is_whole_header(CopyId::B));
}

#[test]
fn a_clean_file_without_a_group_ends_where_its_pages_would() {
    let medium = MemoryMedium::new();
    let store = store::create(Arc::new(medium.clone()), &key(), None, &Options::default()).unwrap();
    store.finish_creation().unwrap();
    store.set_len(DATA_PAGES_PER_GROUP * PAGE_BYTES).unwrap();
    store.close().unwrap();
    let survey = surveyed(medium.to_bytes()).unwrap();
    assert!(survey.fault().is_none(), "{:?}", survey.fault());
    let state = survey.state().unwrap();
    assert_eq!((state.root.clean, state.clean_index), (true, None));
}
