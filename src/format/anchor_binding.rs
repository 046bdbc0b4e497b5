//! What ties a file to its anchor (docs/format.md, "Anchor"): the binding in the header, and the
//! choice whether a file is as new as its anchor. Pure; `store/anchoring.rs` asks and obeys.

use super::root_record::RootRecord;
use crate::crypto::derive::{self, Purpose};
use crate::error::{AnchorError, Damage};
use crate::units::{CopyId, FileId, Generation};
use crate::wire::{Malformed, Reader, Writer};

const BINDING_SIZE: usize = 64;
const FLAG_AT_CLOSE: u8 = 1;
const FLAG_AT_KEY_CHANGES: u8 = 2;

/// When a file's count goes up, and its anchor with it. An older state that is put back is noticed
/// if the count has gone up since. Every open for writing counts besides.
///
/// It is kept in the header, under the administrator's signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct AnchorPolicy {
    /// At a clean close.
    pub at_close: bool,
    /// When slots, policy or keys change: at each header commit.
    pub at_key_changes: bool,
    /// At every so manyth durable commit; 0 is at none, 1 at each. A commit in two phases counts
    /// as two.
    pub commits: u32,
    /// At the first durable commit so many seconds after the count last went up, by the system's
    /// monotonic clock; 0 is never.
    pub seconds: u32,
}

impl Default for AnchorPolicy {
    /// At a close and when keys change.
    fn default() -> Self {
        Self { at_close: true, at_key_changes: true, commits: 0, seconds: 0 }
    }
}

impl AnchorPolicy {
    /// At each durable commit, and whatever else there is: a commit that returned is never lost to
    /// a rollback, and takes an answer of the anchor.
    #[must_use]
    pub fn every_commit() -> Self {
        Self { commits: 1, ..Self::default() }
    }

    /// # Errors
    /// It never counts.
    pub(crate) fn check(&self) -> Result<(), AnchorError> {
        let never = Self { at_close: false, at_key_changes: false, commits: 0, seconds: 0 };
        match *self == never {
            true => Err(AnchorError::BadPolicy("it never counts; unbind the file instead")),
            false => Ok(()),
        }
    }
}

/// The anchor that a file is bound to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AnchorBinding {
    /// Stops another anchor from being taken for it: [`identity_hash`].
    pub(crate) identity: [u8; 32],
    /// The generation of the header that it came with.
    pub(crate) since: Generation,
    /// The file's count as long as no root record knows that header; never 0.
    pub(crate) first: u64,
    pub(crate) policy: AnchorPolicy,
}

/// What a header keeps of an anchor's identity: bound to the file, so that two headers don't show
/// that they have one.
pub(crate) fn identity_hash(identity: &[u8], file_id: FileId) -> [u8; 32] {
    *derive::bytes(Purpose::AnchorIdentity, &[identity, &file_id.0])
}

impl AnchorBinding {
    /// `None` is 64 zero bytes.
    pub(crate) fn encode(binding: Option<&Self>) -> [u8; BINDING_SIZE] {
        let mut bytes = [0; BINDING_SIZE];
        let Some(Self { identity, since, first, policy }) = binding else { return bytes };
        let mut writer = Writer::new(&mut bytes);
        writer.bytes(identity);
        writer.u64(since.0);
        writer.u64(*first);
        writer.u8(u8::from(policy.at_close) * FLAG_AT_CLOSE
            + u8::from(policy.at_key_changes) * FLAG_AT_KEY_CHANGES);
        writer.skip(3);
        writer.u32(policy.commits);
        writer.u32(policy.seconds);
        writer.skip(4);
        writer.finish();
        bytes
    }

    pub(super) fn decode(bytes: &[u8; BINDING_SIZE]) -> Result<Option<Self>, Malformed> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let mut reader = Reader::new(bytes);
        let identity = reader.array()?;
        let (since, first) = (Generation(reader.u64()?), reader.u64()?);
        let flags = reader.u8()?;
        reader.zeros(3)?;
        let policy = AnchorPolicy {
            at_close: flags & FLAG_AT_CLOSE != 0,
            at_key_changes: flags & FLAG_AT_KEY_CHANGES != 0,
            commits: reader.u32()?,
            seconds: reader.u32()?,
        };
        reader.zeros(4)?;
        reader.finish()?;
        let known = flags & !(FLAG_AT_CLOSE | FLAG_AT_KEY_CHANGES) == 0;
        if !known || first == 0 || policy.check().is_err() {
            return Err(Malformed("an anchor binding that makes no sense"));
        }
        Ok(Some(Self { identity, since, first, policy }))
    }
}

/// The count of the state that a header and a root record make up; 0 where the file is not bound.
/// Where a crash came between a header that binds and the first root record that knows it, the
/// header's word counts.
///
/// # Errors
/// A root record of the header's own generation that contradicts it.
pub(crate) fn count_of(
    binding: Option<&AnchorBinding>,
    header: Generation,
    root: &RootRecord,
    copy: CopyId,
) -> Result<u64, Damage> {
    let contradiction =
        Damage::Root { copy, why: "its anchor count contradicts the header's anchor binding" };
    match binding {
        None if root.count == 0 || root.generation < header => Ok(0),
        None => Err(contradiction),
        Some(binding) if root.generation < binding.since => Ok(binding.first),
        Some(binding) if root.count >= binding.first => Ok(root.count),
        Some(_) => Err(contradiction),
    }
}

/// How a file stands to its anchor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// The anchor has acknowledged its count.
    Level,
    /// It is one ahead: a crash, or an anchor out of reach, came between the two.
    Ahead,
}

/// Whether a file of this count is the newest that its anchor knows of.
///
/// # Errors
/// [`AnchorError::RolledBack`], [`AnchorError::AnchorReset`].
pub(crate) fn check_count(file: u64, anchor: u64) -> Result<Standing, AnchorError> {
    if file < anchor {
        return Err(AnchorError::RolledBack { found: file, expected: anchor });
    }
    match file.saturating_sub(anchor) {
        0 => Ok(Standing::Level),
        1 => Ok(Standing::Ahead),
        _ => Err(AnchorError::AnchorReset { found: anchor, expected: file }),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::format::root_record::tests::example;
    use crate::units::SyncSeq;

    pub(crate) fn made(since: u64, first: u64) -> AnchorBinding {
        let policy = AnchorPolicy { seconds: 60, ..AnchorPolicy::every_commit() };
        AnchorBinding { identity: [10; 32], since: Generation(since), first, policy }
    }

    #[test]
    fn fields_come_back_and_what_makes_no_sense_is_refused() {
        for binding in [None, Some(made(3, 9))] {
            let bytes = AnchorBinding::encode(binding.as_ref());
            assert_eq!(AnchorBinding::decode(&bytes), Ok(binding));
        }
        let never = AnchorPolicy { at_close: false, at_key_changes: false, commits: 0, seconds: 0 };
        let bytes = AnchorBinding::encode(Some(&made(3, 9)));
        for (at, byte) in [(48, 7), (49, 1), (63, 1), (40, 0)] {
            let mut changed = bytes;
            changed[at] = byte;
            assert!(AnchorBinding::decode(&changed).is_err(), "byte {at}");
        }
        let never = AnchorBinding { policy: never, ..made(3, 9) };
        assert!(AnchorBinding::decode(&AnchorBinding::encode(Some(&never))).is_err());
    }

    #[test]
    fn the_count_is_the_roots_or_the_headers_where_no_root_knows_the_binding() {
        let count = |binding: Option<(u64, u64)>, header, root_generation, root_count| {
            let binding = binding.map(|(since, first)| made(since, first));
            let root = RootRecord {
                generation: Generation(root_generation),
                count: root_count,
                counted_at: SyncSeq(root_count),
                ..example(99)
            };
            count_of(binding.as_ref(), Generation(header), &root, CopyId::A).ok()
        };
        for (bound, header, root, root_count, expected) in [
            (None, 4, 4, 0, Some(0)),
            // Unbound, and the root that says so never landed.
            (None, 5, 4, 7, Some(0)),
            (None, 4, 4, 7, None),
            (Some((3, 6)), 4, 4, 7, Some(7)),
            (Some((3, 6)), 5, 4, 6, Some(6)),
            // Bound, and the root that says so never landed.
            (Some((5, 6)), 5, 4, 0, Some(6)),
            // The same of a file that another binding had counted for.
            (Some((5, 6)), 5, 4, 99, Some(6)),
            // The first root that knows it.
            (Some((5, 6)), 5, 5, 7, Some(7)),
            (Some((3, 6)), 4, 4, 0, None),
            (Some((3, 6)), 4, 4, 5, None),
        ] {
            assert_eq!(count(bound, header, root, root_count), expected, "{bound:?} {root_count}");
        }
    }

    #[test]
    fn a_file_is_level_one_ahead_or_refused_by_name() {
        assert_eq!(check_count(5, 5), Ok(Standing::Level));
        assert_eq!(check_count(6, 5), Ok(Standing::Ahead));
        let rolled_back = AnchorError::RolledBack { found: 4, expected: 5 };
        assert_eq!(check_count(4, 5), Err(rolled_back));
        let reset = AnchorError::AnchorReset { found: 5, expected: 7 };
        assert_eq!(check_count(7, 5), Err(reset));
        assert!(check_count(0, u64::MAX).is_err() && check_count(u64::MAX, 0).is_err());
    }

    #[test]
    fn an_identity_is_another_one_in_another_file() {
        let (one, two) = (FileId([1; 16]), FileId([2; 16]));
        assert_ne!(identity_hash(b"a", one), identity_hash(b"a", two));
        assert_ne!(identity_hash(b"a", one), identity_hash(b"b", one));
    }
}
