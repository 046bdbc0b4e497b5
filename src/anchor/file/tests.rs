use super::*;
use crate::medium::MemoryMedium;

#[test]
fn it_counts_refuses_to_skip_and_is_there_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("anchor");
    let made = FileAnchor::create(&path).unwrap();
    made.advance(1).unwrap();
    made.advance(2).unwrap();
    let again = FileAnchor::open(&path).unwrap();
    assert_eq!((again.read(), again.identity()), (Ok(2), made.identity()));
    for asked in [0, 1, 2, 4] {
        assert_eq!(again.advance(asked), Err(AnchorFault::OutOfStep { found: 2, asked }));
    }
    assert_eq!(made.read(), Ok(2));
    let exists = FileAnchor::create(&path).map_err(|error| error.kind());
    assert_eq!(exists.err(), Some(io::ErrorKind::AlreadyExists));
}

#[test]
#[cfg(unix)]
fn only_its_owner_reads_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("anchor");
    FileAnchor::create(&path).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn one_that_was_taken_away_comes_back_and_another_is_not_taken_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (path, away) = (folder.path().join("anchor"), folder.path().join("away"));
    let anchor = FileAnchor::create(&path).unwrap();
    std::fs::rename(&path, &away).unwrap();
    assert!(matches!(anchor.read(), Err(AnchorFault::Unreachable(_))));
    FileAnchor::create(&path).unwrap();
    assert!(matches!(anchor.read(), Err(AnchorFault::Damaged(_))));
    assert!(matches!(anchor.advance(1), Err(AnchorFault::Damaged(_))));
    std::fs::rename(&away, &path).unwrap();
    assert_eq!(anchor.advance(1), Ok(()));
}

#[test]
fn a_damaged_record_costs_no_count_and_two_are_damage() {
    let medium = MemoryMedium::new();
    let anchor = FileAnchor::create_on(medium.clone()).unwrap();
    anchor.advance(1).unwrap();
    for start in STARTS {
        medium.write_at(start + 33, &[0xff]).unwrap();
        assert_eq!(anchor.read(), Ok(1));
        let before = anchor.read().unwrap();
        assert!(anchor.advance(before).is_err(), "mends, and refuses");
        let choice = read(&medium).unwrap();
        assert!(!choice.unequal && choice.record.count == 1);
    }
    for start in STARTS {
        medium.write_at(start + 33, &[0xff]).unwrap();
    }
    assert!(matches!(anchor.read(), Err(AnchorFault::Damaged(_))));
    assert!(matches!(FileAnchor::open_on(medium), Err(AnchorFault::Damaged(_))));
    assert!(matches!(FileAnchor::open_on(MemoryMedium::new()), Err(AnchorFault::Damaged(_))));
}
