//! The choice between two copies, as pure functions of what was read. Everything that decides
//! which state of the file is the current one is in this file, and tested here as tables.

use super::clean_index::Row;
use super::root_record::RootRecord;
use crate::error::{Damage, OpenError};
use crate::units::{CopyId, Epoch, Generation, SyncSeq};

/// Both root records that opened, and what to make of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum RootChoice {
    /// The newest root says that nothing was in flight: this state and no other; whatever doesn't
    /// fit it is damage.
    Clean {
        root: Box<RootRecord>,
        copy: CopyId,
        /// The other copy is not the same clean root and wants to be rewritten as it.
        heal_other: bool,
    },
    /// It doesn't: the first candidate whose digest fits the tag pages is the state. The second
    /// one, if any, is of the sync right before.
    Unclean { candidates: Vec<(RootRecord, CopyId)> },
}

/// Chooses among the root records that opened (docs/format.md, "Open", 3 and 4).
///
/// # Errors
/// [`Damage::BothRoots`] where neither opened; [`Damage::Root`] where two claim one sync and are
/// not the two equal halves of a clean close.
pub(crate) fn choose_root(
    a: Option<RootRecord>,
    b: Option<RootRecord>,
) -> Result<RootChoice, Damage> {
    let (newest, copy, other) = match (a, b) {
        (None, None) => return Err(Damage::BothRoots),
        (Some(a), None) => (a, CopyId::A, None),
        (None, Some(b)) => (b, CopyId::B, None),
        (Some(a), Some(b)) if b.sync > a.sync => (b, CopyId::B, Some(a)),
        (Some(a), Some(b)) => (a, CopyId::A, Some(b)),
    };
    if let Some(other) = &other
        && other.sync == newest.sync
        && !(newest.clean && *other == newest)
    {
        return Err(Damage::Root {
            copy: copy.other(),
            why: "it claims the same sync as its twin",
        });
    }
    if newest.clean {
        let heal_other = other.as_ref() != Some(&newest);
        return Ok(RootChoice::Clean { root: Box::new(newest), copy, heal_other });
    }
    // A crash leaves the newest root and the one before it, never a gap: an older one beside a
    // newer was put there, and to fall back to it would go back by more than one sync.
    let before = other.filter(|other| other.sync.next() == newest.sync);
    let mut candidates = vec![(newest, copy)];
    candidates.extend(before.map(|before| (before, copy.other())));
    Ok(RootChoice::Unclean { candidates })
}

/// Whether header and root record are of one time: equal, or the header one commit ahead (a crash
/// fell between the header commit and the sync that names it).
///
/// # Errors
/// A smaller header was put back ([`OpenError::RolledBack`]); one further ahead belongs to another
/// time of the file.
pub(crate) fn check_generation(header: Generation, root: Generation) -> Result<(), OpenError> {
    if header < root {
        return Err(OpenError::RolledBack { found: header, expected: root });
    }
    if header.0 - root.0 > 1 {
        return Err(Damage::HeaderAhead { header, root }.into());
    }
    Ok(())
}

/// Whether a root record may stand beside the header of generation `header` whose active data key
/// is `active`. One that knows this header is sealed under that key: one under a retired key was
/// made by somebody who kept it.
///
/// # Errors
/// As [`check_generation`], or [`Damage::Root`].
pub(crate) fn check_time(
    header: Generation,
    active: Epoch,
    root: &RootRecord,
    copy: CopyId,
) -> Result<(), OpenError> {
    check_generation(header, root.generation)?;
    if root.generation == header && root.epoch != active {
        let why = "it is sealed under a data key that was retired before its time";
        return Err(Damage::Root { copy, why }.into());
    }
    Ok(())
}

/// What one copy of a tag page says of itself, authentic; `None` where it doesn't open.
pub(crate) type TagCopy = Option<(SyncSeq, [u8; 16])>;

/// The current tag page of a group in the state that sync `limit` made durable: the newest copy
/// that isn't newer. Copies of equal age are twins; either will do.
pub(crate) fn choose_tag_copy(copies: [TagCopy; 2], limit: SyncSeq) -> Option<Row> {
    let mut best: Option<Row> = None;
    for (copy, found) in CopyId::BOTH.into_iter().zip(copies) {
        if let Some((sync, tag)) = found
            && sync <= limit
            && best.is_none_or(|best| sync > best.sync)
        {
            best = Some(Row { sync, tag, copy });
        }
    }
    best
}

/// Whether a copy that wasn't chosen must be overwritten from the chosen one: it is newer than the
/// state (a sync that never finished left it, and a later sync would take it for its own), or it
/// doesn't open.
pub(crate) fn is_dead(copy: TagCopy, limit: SyncSeq) -> bool {
    copy.is_none_or(|(sync, _)| sync > limit)
}

#[cfg(test)]
mod tests {
    use super::super::root_record::tests::example;
    use super::*;

    fn root(sync: u64, clean: bool) -> RootRecord {
        RootRecord { clean, ..example(sync) }
    }

    fn describe(a: Option<RootRecord>, b: Option<RootRecord>) -> String {
        match choose_root(a, b) {
            Err(damage) => format!("{damage:?}"),
            Ok(RootChoice::Clean { root, copy, heal_other }) => {
                format!("clean {} {copy}{}", root.sync.0, if heal_other { " heal" } else { "" })
            }
            Ok(RootChoice::Unclean { candidates }) => {
                let names: Vec<_> = candidates
                    .iter()
                    .map(|(root, copy)| format!("{} {copy}", root.sync.0))
                    .collect();
                names.join(", ")
            }
        }
    }

    #[test]
    fn the_newest_root_decides() {
        let some = |sync, clean| Some(root(sync, clean));
        let twice = r#"Root { copy: B, why: "it claims the same sync as its twin" }"#;
        for (a, b, expected) in [
            (None, None, "BothRoots"),
            (some(5, false), None, "5 copy A"),
            (None, some(5, true), "clean 5 copy B heal"),
            (some(5, false), some(6, false), "6 copy B, 5 copy A"),
            (some(7, false), some(6, false), "7 copy A, 6 copy B"),
            // Not the state before: no crash left it there.
            (some(7, false), some(5, false), "7 copy A"),
            (some(3, true), some(7, false), "7 copy B"),
            // A clean close writes both copies alike.
            (some(6, true), some(6, true), "clean 6 copy A"),
            // It was cut off after the first: the other is the state before.
            (some(5, false), some(6, true), "clean 6 copy B heal"),
            // The first sync after a clean close: its root is newer and says unclean.
            (some(6, true), some(7, false), "7 copy B, 6 copy A"),
            // Two roots of one sync that differ were never written by us.
            (some(6, false), some(6, false), twice),
            (some(6, true), some(6, false), twice),
        ] {
            assert_eq!(describe(a, b), expected);
        }
    }

    #[test]
    fn two_clean_roots_of_one_sync_must_be_equal() {
        let mut other = root(6, true);
        other.logical_len += 4096;
        assert!(choose_root(Some(root(6, true)), Some(other)).is_err());
    }

    #[test]
    fn a_header_is_as_new_as_the_root_or_one_ahead() {
        let check = |header, root| check_generation(Generation(header), Generation(root));
        assert!(check(4, 4).is_ok() && check(5, 4).is_ok());
        assert!(matches!(check(3, 4), Err(OpenError::RolledBack { .. })));
        assert!(matches!(check(6, 4), Err(OpenError::Damaged(Damage::HeaderAhead { .. }))));
    }

    #[test]
    fn the_newest_tag_copy_within_the_limit_is_current() {
        let copy = |sync| Some((SyncSeq(sync), [u8::try_from(sync).unwrap(); 16]));
        let chosen = |a, b| choose_tag_copy([a, b], SyncSeq(5)).map(|row| (row.sync.0, row.copy));
        assert_eq!(chosen(copy(4), copy(5)), Some((5, CopyId::B)));
        assert_eq!(chosen(copy(5), copy(6)), Some((5, CopyId::A)), "6 never became durable");
        assert_eq!(chosen(copy(3), None), Some((3, CopyId::A)));
        assert_eq!(chosen(None, copy(3)), Some((3, CopyId::B)));
        assert_eq!(chosen(copy(3), copy(3)), Some((3, CopyId::A)), "twins");
        assert_eq!(chosen(copy(6), copy(7)), None);
        assert_eq!(chosen(None, None), None);
        assert!(is_dead(copy(6), SyncSeq(5)) && is_dead(None, SyncSeq(5)));
        assert!(!is_dead(copy(5), SyncSeq(5)) && !is_dead(copy(1), SyncSeq(5)));
    }

    #[test]
    fn a_root_that_knows_the_header_is_sealed_under_its_active_key() {
        // Generation and active key of the header, generation and epoch of the root.
        for (header, active, generation, epoch, good) in [
            (4, 2, 4, 2, true),
            (5, 2, 4, 2, true),
            (5, 2, 4, 1, true), // a rotation began, its first sync never landed
            (4, 2, 4, 1, false),
            (4, 2, 4, 3, false),
            (3, 2, 4, 2, false),
            (6, 2, 4, 2, false),
        ] {
            let (generation, epoch) = (Generation(generation), Epoch(epoch));
            let root = RootRecord { generation, epoch, ..example(1) };
            let checked = check_time(Generation(header), Epoch(active), &root, CopyId::A);
            assert_eq!(checked.is_ok(), good, "{header} {active} beside {root:?}");
        }
    }
}
