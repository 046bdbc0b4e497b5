//! The format is a test: whoever moves a field, a magic, a context string or a byte of a sealed
//! record changes tests/format_snapshot.txt with it, and docs/format.md, and the vectors.
#![cfg(feature = "testkit")]

#[test]
fn the_format_is_as_it_was() {
    let found = strongroom::testkit::format_snapshot().unwrap();
    let pinned = include_str!("format_snapshot.txt");
    if std::env::var_os("FORMAT_SNAPSHOT_WRITE").is_some() {
        std::fs::write("tests/format_snapshot.txt", &found).unwrap();
        return;
    }
    for (found, pinned) in found.lines().zip(pinned.lines()) {
        assert_eq!(found, pinned);
    }
    assert_eq!(found.lines().count(), pinned.lines().count());
}
