//! One damage at a time, each at a known place: the report names that place and no other.

use strongroom::testkit::Part;
use strongroom::{CopyId, Flaw, GroupNo, PageNo, Report, Severity, Trees, Where};

use crate::subject::{PAGE, closed_file, flip, history, reads_whole, verify_bytes};

fn places(report: &Report) -> Vec<(Severity, Where)> {
    report.findings.iter().map(|finding| (finding.severity, finding.at)).collect()
}

fn pages(file: &[u8]) -> impl Iterator<Item = u64> {
    Part::all_of(file.len() as u64).filter_map(|part| match part {
        Part::DataPage(page) if page.0 > 0 => Some(page.0),
        _ => None,
    })
}

#[test]
fn a_whole_file_is_spotless_and_every_page_is_accounted_for() {
    let report = verify_bytes(&closed_file());
    println!("{report}");
    assert!(report.is_spotless() && report.is_sound() && report.closed && !report.online);
    let pages = report.pages;
    assert_eq!((pages.bad, pages.in_journal, pages.unknown), (0, 0, 0));
    assert_eq!(pages.opened, pages.sealed);
    assert_eq!(pages.sealed + pages.absent + pages.lost + 1, report.logical_pages);
    assert_eq!(report.epochs.iter().map(|epoch| epoch.pages).sum::<u64>(), pages.sealed);
    assert_eq!(report.trees, Trees::Sound);
    let used = pages.used.unwrap();
    assert!(used > 100 && used < pages.sealed, "some pages are free: {used} of {}", pages.sealed);
    assert!(report.to_string().ends_with("whole: nothing wrong was found"));
}

#[test]
fn each_page_that_is_altered_is_named_and_called_damage_exactly_where_redb_needs_it() {
    let file = closed_file();
    let (whole, mut used, mut free, mut absent) = (verify_bytes(&file), 0, 0, 0);
    for page in pages(&file) {
        let mut altered = file.clone();
        flip(&mut altered, Part::DataPage(PageNo(page)), 777);
        let report = verify_bytes(&altered);
        let named = places(&report);
        let reads = reads_whole(&altered);
        match named[..] {
            // Nothing is in its place, or the clean index is.
            [] => {
                assert!(reads.is_ok(), "page {page}");
                absent += 1;
            }
            [(Severity::Spare, Where::CleanIndex)] => {
                assert!(reads.is_ok(), "page {page}");
                assert!(page >= whole.logical_pages);
            }
            [(Severity::Damage, Where::Page(named))] => {
                assert_eq!(named, PageNo(page));
                assert!(reads.is_err(), "page {page} is called damage, and all can be read");
                used += 1;
            }
            [(Severity::Spare, Where::Page(named))] => {
                assert_eq!((named, &report.findings[0].flaw), (PageNo(page), &Flaw::Unused));
                assert!(reads.is_ok(), "page {page} is called unused, and {reads:?}");
                free += 1;
            }
            _ => panic!("page {page}: {report}"),
        }
        assert_eq!(report.is_sound(), reads.is_ok(), "page {page}");
    }
    println!("figure: verify, altered pages called damage = {used}");
    println!("figure: verify, altered pages called unused = {free}");
    println!("figure: verify, altered places that hold no page = {absent}");
    // redb needs what it walked; page 0 is not among the places.
    assert_eq!((used, used + free), (whole.pages.used.unwrap(), whole.pages.sealed));
}

#[test]
fn each_copy_of_each_tag_page_is_named() {
    let file = closed_file();
    let groups = verify_bytes(&file).groups;
    let (mut current, mut second) = (0, 0);
    for (group, copy) in (0..groups).flat_map(|group| CopyId::BOTH.map(|copy| (group, copy))) {
        let mut altered = file.clone();
        flip(&mut altered, Part::TagPage(GroupNo(group), copy), 99);
        let report = verify_bytes(&altered);
        let [finding] = &report.findings[..] else { panic!("{report}") };
        assert_eq!(finding.at, Where::TagPage(GroupNo(group), copy));
        assert_eq!(finding.flaw, Flaw::DoesNotOpen);
        assert_eq!(
            finding.at.offset().unwrap().0,
            81920 + group * 524_288 + { u64::from(copy.index()) * 4096 }
        );
        let sound = finding.severity == Severity::Spare;
        assert_eq!(reads_whole(&altered).is_ok(), sound, "group {group}, {copy}");
        match sound {
            true => second += 1,
            false => {
                assert!(report.pages.unknown > 0);
                current += 1;
            }
        }
    }
    // Of a group that was written once, both copies are the state's, and either will do.
    println!("figure: verify, tag pages that a state hangs on = {current} of {}", 2 * groups);
    assert_eq!(current + second, 2 * groups);
    assert!(current > 1 && second > current);
}

#[test]
fn without_both_tag_pages_the_pages_are_unknown_and_two_places_are_named() {
    let mut file = closed_file();
    for copy in CopyId::BOTH {
        flip(&mut file, Part::TagPage(GroupNo(1), copy), 4000);
    }
    let report = verify_bytes(&file);
    let named = CopyId::BOTH.map(|copy| (Severity::Damage, Where::TagPage(GroupNo(1), copy)));
    assert_eq!(places(&report), named);
    assert_eq!((report.pages.unknown, report.pages.unknown_opened), (126, 0));
}

#[test]
fn headers_root_records_and_reserved_pages_are_named() {
    let file = closed_file();
    for copy in CopyId::BOTH {
        // A close writes its two root records one after the other: a crash tears one.
        for (part, at, severity, flaw) in [
            (Part::Header(copy), Where::Header(copy), Severity::Spare, Flaw::Torn),
            (Part::Root(copy), Where::Root(copy), Severity::Leftover, Flaw::MayBeTorn),
        ] {
            let mut altered = file.clone();
            flip(&mut altered, part, 1234);
            let report = verify_bytes(&altered);
            assert_eq!(places(&report), [(severity, at)], "{report}");
            assert_eq!(report.findings[0].flaw, flaw);
            assert!(report.is_sound() && !report.is_spotless() && reads_whole(&altered).is_ok());
            // Zeros, and another page of the file, in its place.
            let bytes = part.bytes();
            let place = bytes.start as usize..bytes.end as usize;
            altered[place.clone()].fill(0);
            assert_eq!(places(&verify_bytes(&altered)), [(severity, at)]);
            altered[place].copy_from_slice(&file[81920..][..(bytes.end - bytes.start) as usize]);
            assert_eq!(places(&verify_bytes(&altered)), [(severity, at)]);
        }
    }
    for page in [18, 19] {
        let mut altered = file.clone();
        altered[page * PAGE + 4095] = 1;
        let report = verify_bytes(&altered);
        assert_eq!(places(&report), [(Severity::Spare, Where::Reserved(page as u64))]);
    }
}

#[test]
fn without_a_root_record_both_are_named_and_pages_still_open_under_the_tag_pages() {
    let mut file = closed_file();
    let sealed = verify_bytes(&file).pages.sealed;
    for copy in CopyId::BOTH {
        flip(&mut file, Part::Root(copy), 50);
    }
    let report = verify_bytes(&file);
    let named = [Where::Root(CopyId::A), Where::Root(CopyId::B), Where::State]
        .map(|at| (Severity::Damage, at));
    assert_eq!(places(&report)[..3], named);
    assert_eq!((report.sync, report.pages.sealed, report.pages.bad), (None, sealed, 0));
    assert!(matches!(report.trees, Trees::NotChecked(_)));
}

#[test]
fn an_older_version_of_each_page_and_tag_page_is_named() {
    let history = history(true);
    let (last, mut named) = (history.last(), 0);
    let file = history.image(last);
    for part in Part::all_of(file.len() as u64) {
        let block = part.file_pages().start;
        let Some(older) = history.older_versions(block).pop() else { continue };
        let mut altered = file.clone();
        let bytes = history.block(older, block).unwrap();
        altered[block as usize * PAGE..][..PAGE].copy_from_slice(bytes);
        let report = verify_bytes(&altered);
        let expected = match part {
            Part::DataPage(page) => Where::Page(page),
            Part::TagPage(group, copy) => Where::TagPage(group, copy),
            Part::Root(copy) => Where::Root(copy),
            _ => continue,
        };
        let found = places(&report);
        match &found[..] {
            // A copy that is not the state's, or a page that is not sealed now: an older version of
            // it is what it is.
            [] => assert!(reads_whole(&altered).is_ok(), "{expected}"),
            [(_, Where::CleanIndex)] => {}
            [(severity, at)] => {
                assert_eq!(*at, expected, "{report}");
                let reads = reads_whole(&altered).is_ok();
                assert_eq!(*severity != Severity::Damage, reads, "{report}");
                named += 1;
            }
            _ => panic!("{expected}: {report}"),
        }
    }
    println!("figure: verify, older versions that are named = {named}");
    assert!(named > 50);
}

#[test]
fn a_cut_file_names_where_it_ends_and_every_page_that_is_gone() {
    let file = closed_file();
    let whole = verify_bytes(&file);
    let end = 81920 + 524_288 + 40 * PAGE;
    let report = verify_bytes(&file[..end]);
    let gone = |finding: &&strongroom::Finding| matches!(finding.at, Where::Page(_));
    let first = report.findings.iter().find(gone).unwrap();
    assert_eq!((first.at, &first.flaw), (Where::Page(PageNo(126 + 38)), &Flaw::Truncated));
    let refused = |finding: &strongroom::Finding| matches!(&finding.flaw, Flaw::Refused(why) if why.contains("truncated"));
    assert!(report.findings.iter().any(refused));
    let pages = report.pages;
    assert_eq!(pages.sealed + pages.absent + pages.lost + pages.unknown, whole.logical_pages - 1);
    assert!(pages.unknown >= 126 && pages.bad > 10);
}

#[test]
fn planted_damage_is_counted_exactly_and_listed_up_to_the_limit() {
    use strongroom::medium::MemoryMedium;
    use strongroom::{VerifyOptions, verify_medium};

    let mut file = closed_file();
    let sealed = verify_bytes(&file).pages.sealed;
    let pages: Vec<u64> = pages(&file).collect();
    for page in &pages {
        flip(&mut file, Part::DataPage(PageNo(*page)), 5);
    }
    let options = VerifyOptions::new().findings_max(7).threads(3);
    let medium = MemoryMedium::from_bytes(file);
    let report = verify_medium(medium, &crate::subject::key(), &options).unwrap();
    assert_eq!((report.pages.bad, report.pages.sealed), (sealed, sealed));
    assert_eq!((report.counts.damage, report.findings.len()), (sealed, 7));
    // The clean index lies where a page would, and was hit too.
    assert_eq!((report.counts.spare, report.counts.leftover), (1, 0));
    assert_eq!(report.findings[0].at, Where::Page(PageNo(1)));
    assert!(report.to_string().contains(&format!("and {} more", sealed + 1 - 7)));
}

/// A page that a rotation was told to give up is lost, and no finding by itself. In use it is
/// damage all the same.
#[test]
fn a_page_in_use_that_was_given_up_is_damage() {
    use crate::subject::{builder, key, verify_on};
    use strongroom::medium::{Medium, MemoryMedium};

    let file = closed_file();
    let mut in_use = 0;
    for page in pages(&file).step_by(7).take(30) {
        let medium = MemoryMedium::from_bytes(file.clone());
        let db = builder().open_on(medium.clone(), &key()).unwrap();
        let at = Part::DataPage(PageNo(page)).bytes().start + 99;
        medium.write_at(at, &[file[at as usize] ^ 1]).unwrap();
        let rotation = db.rotate().unwrap();
        if rotation.wait().is_err() {
            rotation.give_up_unreadable();
            assert_eq!(rotation.wait().unwrap().lost, 1);
        }
        if db.close().is_err() {
            continue; // redb wanted the page to note what is free
        }
        let (report, reads) = (verify_on(medium.clone()), reads_whole(&medium.to_bytes()));
        assert_eq!((report.pages.bad, report.is_sound()), (0, reads.is_ok()), "{page}: {report}");
        if let Err(error) = reads {
            assert!(error.to_string().contains("was lost"), "{error}");
            assert_eq!(places(&report), [(Severity::Damage, Where::Trees)], "{report}");
            assert_eq!(report.pages.lost, 1);
            in_use += 1;
        }
    }
    println!("figure: verify, pages given up in use and called damage = {in_use}");
    assert!(in_use > 2);
}
