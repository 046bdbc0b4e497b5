//! Files that lost something in particular: a header copy, a root record, tag pages, their end,
//! redb's own header.

use std::collections::BTreeSet;

use strongroom::medium::MemoryMedium;
use strongroom::testkit::Insider;
use strongroom::{
    Builder, CopyId, PageLoss, PageNo, SalvageError, SalvageHow, SavedAs, SavedCommit,
};

use super::oracle::Paths;
use super::room::{PAGE, all_rows, header_at, key, offset_of, root_at, tag_page_at};
use super::{ROOM, SMALL, saved, saved_as};

fn wiped(image: &[u8], at: usize, len: usize) -> Vec<u8> {
    let mut image = image.to_vec();
    image[at..at + len].fill(0xAA);
    image
}

#[test]
fn a_file_without_one_of_its_copies_is_saved_whole() {
    for copy in [0, 1] {
        for (what, at) in [("header", header_at(copy)), ("root record", root_at(copy))] {
            let (report, rows) = saved(wiped(&ROOM.image, at, PAGE));
            assert!(report.is_complete() && report.saved_as == SavedAs::Image, "{report}");
            assert!(rows == *ROOM.last());
            let pair = if at == header_at(copy) { report.headers } else { report.roots };
            assert_eq!(pair, [copy == 1, copy == 0]);
            assert!(report.lost_pages.is_empty());
            let (saved, all) = (rows.len(), ROOM.last().len());
            println!("figure: {what}, copy {copy}, lost: rows saved = {saved} of {all}");
        }
    }
    let (report, rows) = saved(ROOM.image.clone());
    assert!(report.is_complete() && rows == *ROOM.last());
}

#[test]
fn of_an_unclean_file_without_its_newest_root_record_the_sync_before_is_saved() {
    let (report, rows) = saved(ROOM.unclean.clone());
    assert!(rows == *ROOM.last() && report.commit == SavedCommit::Last, "{report}");
    let (newest, sync) = (report.root.unwrap(), report.sync.unwrap());
    let at = root_at(usize::from(newest.index()));
    let (report, rows) = saved(wiped(&ROOM.unclean, at, PAGE));
    assert_eq!((report.root, report.sync.unwrap().0), (Some(newest.other()), sync.0 - 1));
    assert!(ROOM.has_held(&rows, report.tables.iter().all(|table| !table.older)), "{report}");
    let before = &ROOM.states[ROOM.states.len() - 2];
    let found = rows.intersection(before).count();
    println!(
        "figure: newest root record lost: rows of the commit before = {found} of {}",
        before.len()
    );
    assert!(found * 10 > before.len() * 9, "{report}");
}

// A crash tears pages of the commit in flight, and redb goes back to the one before: so does a
// salvage, where a page of the user's tables is among them. A page that no crash can have torn is damage: an
// open refuses it, and a salvage loses what lies below it.
#[test]
fn a_commit_that_a_crash_tore_is_not_mixed_with_the_one_before() {
    let before = &SMALL.states[SMALL.states.len() - 2];
    let (mut torn, mut damaged) = (0, 0);
    for page in 1..SMALL.pages() {
        let mut image = SMALL.unclean.clone();
        let Some(byte) = image.get_mut(offset_of(page)) else { continue };
        *byte ^= 1;
        let (report, rows) = saved(image.clone());
        let opened = Builder::new().open_on(MemoryMedium::from_bytes(image), &key());
        if let Ok(db) = opened {
            // Or the last commit, whole: of a page of redb's own tables only redb takes notice.
            let found = all_rows(&db);
            assert!(rows == found || rows == *SMALL.last(), "page {page}: a mix\n{report}");
            assert_eq!(report.commit == SavedCommit::Before, rows == *before, "page {page}");
            torn += usize::from(rows == *before);
        } else {
            // Some pages only redb's repair needs: an open stops there, a salvage loses nothing.
            assert!(rows.is_subset(SMALL.last()) && report.commit == SavedCommit::Last);
            assert_eq!(report.is_complete(), rows == *SMALL.last(), "page {page}\n{report}");
            damaged += usize::from(!report.is_complete());
        }
    }
    println!(
        "figure: unclean file, one page: back to the commit before = {torn}, lossy = {damaged}"
    );
    assert!(torn > 0 && damaged > 0);
}

#[test]
fn without_a_root_record_older_definitions_lead_to_what_is_left() {
    for image in [&ROOM.image, &ROOM.unclean] {
        let (report, rows) = saved(wiped(image, root_at(0), 2 * PAGE));
        assert_eq!((report.root, report.commit), (None, SavedCommit::Found), "{report}");
        assert!(ROOM.has_held(&rows, false));
        let found = rows.intersection(ROOM.last()).count();
        println!(
            "figure: both root records lost: rows of the last commit = {found} of {}",
            ROOM.last().len()
        );
        assert!(found * 2 > ROOM.last().len(), "{report}");
    }
    // Nothing at all is left where the pages are gone too.
    let gone = wiped(&SMALL.image, root_at(0), SMALL.image.len() - root_at(0));
    assert!(matches!(saved_as(gone, SalvageHow::Auto), Err(SalvageError::NothingLeft)));
}

#[test]
fn a_lost_tag_page_costs_what_its_twin_does_not_open() {
    let paths = Paths::of(&ROOM);
    let groups = ROOM.pages().div_ceil(126);
    let (mut by_twin, mut in_group) = (0, 0);
    for group in 0..groups {
        let pages: BTreeSet<u64> = (group * 126..(group + 1) * 126).collect();
        let without = paths.savable(&pages);
        for copies in [&[0][..], &[1], &[0, 1]] {
            let mut image = ROOM.image.clone();
            copies.iter().for_each(|copy| image[tag_page_at(group, *copy) + 99] ^= 1);
            let (report, rows) = saved(image);
            assert!(without.is_subset(&rows), "group {group}, copies {copies:?}\n{report}");
            let older = report.tables.iter().any(|table| table.older);
            assert!(ROOM.has_held(&rows, !older), "group {group}\n{report}");
            if copies.len() == 2 {
                let lost = report.lost_pages.iter().find(|range| range.loss == PageLoss::NoTagPage);
                let lost = lost.unwrap();
                assert!(lost.first >= PageNo(group * 126) && lost.pages > 0);
                assert!(older || rows == without);
            } else if !report.is_complete() && !older {
                by_twin += rows.difference(&without).count();
                in_group += ROOM.last().difference(&without).count();
            }
        }
    }
    println!("figure: current tag page lost: rows that its twin opens = {by_twin} of {in_group}");
    assert!(by_twin > 0);
}

#[test]
fn of_a_truncated_file_everything_before_its_end_is_saved() {
    let (paths, mut some) = (Paths::of(&ROOM), 0);
    let end = |page: &u64| offset_of(*page) + PAGE;
    // In the middle of things; and right behind the root of the tree of tables, wherever that is.
    let behind_root = paths.on_every_path().last().map(end).unwrap();
    let len = ROOM.image.len();
    for kept in [len / 5, len / 2, len * 4 / 5 + 1000, len * 9 / 10, behind_root] {
        let mut image = ROOM.image.clone();
        image.truncate(kept);
        let gone: BTreeSet<u64> =
            (1..ROOM.pages()).filter(|page| end(page) > image.len()).collect();
        let (savable, all) = (paths.savable(&gone).len(), ROOM.last().len());
        let (report, rows, _) = match saved_as(image, SalvageHow::Auto) {
            Ok(saved) => saved,
            Err(SalvageError::NothingLeft) => {
                println!("figure: cut to {kept} bytes: nothing left, savable = {savable} of {all}");
                assert_eq!(savable, 0);
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        assert!(paths.savable(&gone).is_subset(&rows), "{report}");
        assert!(ROOM.has_held(&rows, report.tables.iter().all(|table| !table.older)), "{report}");
        assert!(!report.adds_up && !report.is_complete());
        let rows = rows.len();
        println!("figure: cut to {kept} bytes: rows saved = {rows}, savable = {savable} of {all}");
        some += usize::from(savable > 0);
    }
    assert!(some > 0);
}

// Edits redb's page 0, as only somebody with the key can: it lies in the second half of the record.
fn with_page_zero(image: &[u8], edit: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut image = image.to_vec();
    let insider = Insider::new(&image, &key()).unwrap();
    for copy in CopyId::BOTH {
        assert!(insider.edit_root(&mut image, copy, |body| {
            let start = body.len() - 2048;
            edit(&mut body[start..]);
        }));
    }
    image
}

#[test]
fn where_redbs_header_is_damaged_its_other_commit_or_the_search_helps() {
    // A byte of the commit slot that the header names (byte 9, bit 0 says which): of the checksum of
    // its root; of its transaction number, which only the slot's own checksum guards.
    for at in [20, 104] {
        let image =
            with_page_zero(&ROOM.image, |page| page[64 + 128 * usize::from(page[9] & 1) + at] ^= 1);
        let (report, rows) = saved(image);
        assert_eq!(report.commit, SavedCommit::Before, "{report}");
        assert!(ROOM.has_held(&rows, true) && rows.len() * 10 > ROOM.last().len() * 9);
    }
    for edit in [
        (|page| page[3] ^= 1) as fn(&mut [u8]), // the magic
        |page| page[12] ^= 1,                   // the page size
        |page| page[64..64 + 256].fill(0xFF),   // both slots
        |page| page.fill(0),
    ] {
        let (report, rows) = saved(with_page_zero(&ROOM.image, edit));
        assert_eq!((report.commit, report.saved_as), (SavedCommit::Found, SavedAs::Tables));
        assert!(ROOM.has_held(&rows, false) && rows.len() * 2 > ROOM.last().len(), "{report}");
    }
}

#[test]
fn where_the_newest_root_record_has_no_header_of_redbs_the_other_one_helps() {
    let (report, _) = saved(ROOM.unclean.clone());
    let (newest, sync) = (report.root.unwrap(), report.sync);
    let mut image = ROOM.unclean.clone();
    let insider = Insider::new(&image, &key()).unwrap();
    assert!(insider.edit_root(&mut image, newest, |body| {
        let start = body.len() - 2048;
        body[start..].fill(0);
    }));
    let (report, rows) = saved(image);
    assert_eq!((report.root, report.passed_over), (Some(newest.other()), sync), "{report}");
    assert!(report.commit != SavedCommit::Found && !report.is_complete());
    assert!(ROOM.has_held(&rows, report.tables.iter().all(|table| !table.older)));
    let before = &ROOM.states[ROOM.states.len() - 2];
    assert!(rows.intersection(before).count() * 10 > before.len() * 9, "{report}");
}

// redb takes the newer of two commits, whichever its header names; a salvage goes by the header, and
// must not give out redb's image for what it counted.
#[test]
fn an_image_that_redb_reads_otherwise_is_not_taken() {
    let before = &SMALL.states[SMALL.states.len() - 2];
    let (report, rows) = saved(with_page_zero(&SMALL.unclean, |page| page[9] ^= 1));
    assert!(rows == *before && report.saved_as == SavedAs::Tables, "{report}");
    assert!(report.no_image.unwrap().contains("another commit"));
}
