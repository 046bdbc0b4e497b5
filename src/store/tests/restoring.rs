//! Putting a header back: which copy goes first, and what is refused unless it is asked for.

use super::restore::{TurnBack, restore};
use super::*;
use crate::error::KeyError;
use crate::layout::HEADER_COPY_SIZE;

/// A file and a backup of its header, before a header commit and after it.
fn two_headers() -> [(Vec<u8>, Vec<u8>); 2] {
    let memory = MemoryMedium::new();
    let store = created(memory.clone(), 1);
    write(&store, 1, 1);
    store.sync().unwrap();
    let state = || (memory.to_bytes(), store.header_backup().unwrap());
    let before = state();
    let bumped = |unlocked: &Unlocked| -> Result<Unlocked, StoreError> {
        let mut next = unlocked.clone();
        next.header.clock_high_water += 7;
        Ok(next)
    };
    store.commit_header(bumped).unwrap();
    [before, state()]
}

/// Header copy A of one file, copy B of another one, the rest of a third.
fn mixed(a: &[u8], b: &[u8], rest: &[u8]) -> Vec<u8> {
    let (b_at, end) = (HEADER_COPY_SIZE, 2 * HEADER_COPY_SIZE);
    [&a[..b_at], &b[b_at..end], &rest[end..]].concat()
}

fn put_back(file: Vec<u8>, backup: &[u8], turn_back: TurnBack) -> Result<String, KeyError> {
    let medium = Arc::new(MemoryMedium::from_bytes(file));
    restore(medium, backup, &key(), &Options::default(), turn_back).map(|done| done.to_string())
}

#[test]
fn the_copy_that_an_open_would_not_use_goes_first() {
    let [(old, _), (new, backup)] = two_headers();
    let lost = vec![0; new.len()];
    for (what, a, b, first) in [
        ("equal", &new, &new, CopyId::B),
        ("A lost", &lost, &new, CopyId::A),
        ("B lost", &new, &lost, CopyId::B),
        ("both lost", &lost, &lost, CopyId::B),
        ("A older", &old, &new, CopyId::A),
        ("B older", &new, &old, CopyId::B),
    ] {
        let memory = MemoryMedium::from_bytes(mixed(a, b, &new));
        let watched = Watched { memory, ..Watched::default() };
        let writes = Arc::clone(&watched.writes);
        let options = Options::default();
        restore(Arc::new(watched), &backup, &key(), &options, TurnBack::Refuse).unwrap();
        let starts: Vec<_> = writes.lock().unwrap().iter().map(|(at, _)| *at).collect();
        assert_eq!(
            starts,
            [first, first.other()].map(|copy| layout::header_start(copy).0),
            "{what}"
        );
    }
}

#[test]
fn nothing_is_turned_back_unless_it_is_asked_for() {
    let [(old, old_backup), (new, new_backup)] = two_headers();
    let mut one_root = new.clone();
    let root = usize::try_from(layout::root_start(CopyId::A).0).unwrap();
    one_root[root..root + PAGE_SIZE].fill(0);
    let said = put_back(new.clone(), &new_backup, TurnBack::Refuse).unwrap();
    assert!(!said.contains("turned back"), "{said}");
    for (what, file, backup, turns_back) in [
        ("the roots have seen a newer header", new.clone(), &old_backup, true),
        ("a newer header copy lies there", mixed(&new, &new, &old), &old_backup, false),
        ("one that nobody named yet", mixed(&old, &new, &old), &old_backup, false),
        ("a root that doesn't open may have seen one", one_root, &new_backup, false),
    ] {
        let refused = put_back(file.clone(), backup, TurnBack::Refuse);
        assert!(matches!(refused, Err(KeyError::WouldTurnBack { .. })), "{what}: {refused:?}");
        let said = put_back(file, backup, TurnBack::Allow).unwrap();
        assert_eq!(said.contains("turned back"), turns_back, "{what}: {said}");
    }
}
