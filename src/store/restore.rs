//! Putting a header back: from a backup that lies elsewhere, or from the older of the two copies
//! in the file. Open never does either by itself: a fallback is a way to turn keys back. Both are
//! asked for by name, say what they put back, and refuse to go behind what a root record of the
//! file has seen unless that is asked for as well.
//!
//! The file must not be open. Nothing but the two header copies is written, the one that is worth
//! less first, so that a crash leaves what was there or what is put back.

use std::fmt;
use std::sync::Arc;

use super::header::{self, Found};
use super::recovery::PREAMBLE_CACHE_BYTES;
use super::{LockedMedium, Options, roots};
use crate::error::{Damage, KeyError, OpenError};
use crate::format::copies;
use crate::format::header::{HeaderBytes, UnverifiedHeader};
use crate::format::root_record::RootRecord;
use crate::keys::{self, Credential, SlotInfo, Unlocked};
use crate::layout::{self, HEADER_COPY_SIZE};
use crate::medium::{LockKind, Medium};
use crate::random;
use crate::units::{CopyId, Generation};

/// Whether a header may be put back that is older than what the file has seen: with it come the
/// slots, the policy and the keys of its time, revoked credentials included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TurnBack {
    /// Never.
    Refuse,
    /// If need be.
    Allow,
}

/// What was put back.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct HeaderRestored {
    /// The generation of the header that was put back.
    pub restored: Generation,
    /// The generation that the newest root record names. If it is greater, slots, policy and keys
    /// were turned back by the difference.
    pub newest_seen: Generation,
    /// The generation under which the header stands in the file now.
    pub generation: Generation,
    /// The slots that open the file now.
    pub slots: Vec<SlotInfo>,
}

impl fmt::Display for HeaderRestored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { restored, newest_seen, generation, slots } = self;
        write!(f, "the header of {restored} is back, as {generation}; {} slots open", slots.len())?;
        if restored < newest_seen {
            write!(f, "; slots, policy and keys were turned back from {newest_seen}")?;
        }
        Ok(())
    }
}

/// Puts a header backup back.
///
/// # Errors
/// [`KeyError::NotABackup`], [`KeyError::ForeignHeader`], [`KeyError::NoRootOpens`],
/// [`KeyError::WouldTurnBack`], or as an open says it. Nothing was changed then.
pub(crate) fn restore(
    medium: Arc<dyn Medium>,
    backup: &[u8],
    provider: &dyn Credential,
    options: &Options,
    turn_back: TurnBack,
) -> Result<HeaderRestored, KeyError> {
    let backup: &HeaderBytes =
        backup.try_into().map_err(|_| KeyError::NotABackup("a backup has 32768 bytes"))?;
    let backup = UnverifiedHeader::decode(backup, CopyId::A)
        .map_err(|_| KeyError::NotABackup("it is damaged, or of another format"))?;
    let medium = lock(medium, options)?;
    let [a, b] = header::read_each(&*medium)?;
    let unlocked = keys::unlock(&backup, provider, &options.terms)?;
    let seen = match Seen::read(&*medium, &unlocked) {
        Err(KeyError::NoRootOpens) => {
            let mut others = [&a, &b].into_iter().flatten().map(UnverifiedHeader::file_id);
            let (found, expected) = (backup.file_id(), others.find(|id| *id != backup.file_id()));
            return Err(expected.map_or(KeyError::NoRootOpens, |expected| {
                KeyError::ForeignHeader { found, expected }
            }));
        }
        seen => seen?,
    };
    let generation = seen.check(&unlocked, turn_back)?;
    let newer = [&a, &b].into_iter().flatten().map(UnverifiedHeader::generation).max();
    if let Some(newest) = newer.filter(|newest| *newest > backup.generation())
        && turn_back == TurnBack::Refuse
    {
        let (found, why) = (backup.generation(), "the file has a newer header copy");
        return Err(KeyError::WouldTurnBack { found, newest, why });
    }
    // The copy that an open would not use goes first, so that a cut leaves the other one.
    let first = match (&a, &b) {
        (None, Some(_)) => CopyId::A,
        (Some(a), Some(b)) if b.generation() > a.generation() => CopyId::A,
        _ => CopyId::B,
    };
    put_back(&*medium, unlocked, generation, first, &seen, options)
}

/// Goes back to the other header copy where the newest can't be used.
///
/// # Errors
/// [`KeyError::HeaderIntact`], [`KeyError::NoOtherCopy`], [`KeyError::NoRootOpens`],
/// [`KeyError::WouldTurnBack`], or as an open says it. Nothing was changed then.
pub(crate) fn recover(
    medium: Arc<dyn Medium>,
    provider: &dyn Credential,
    options: &Options,
    turn_back: TurnBack,
) -> Result<HeaderRestored, KeyError> {
    let medium = lock(medium, options)?;
    let Found { newest, other } = header::read(&*medium)?;
    let may_be_intact = match keys::unlock(&newest, provider, &options.terms) {
        Ok(_) => return Err(KeyError::HeaderIntact),
        Err(OpenError::Damaged(_)) => false,
        // Forged, or somebody else's who took this credential's slot away.
        Err(OpenError::WrongKey) => true,
        Err(error) => return Err(error.into()),
    };
    let other = other.ok_or(KeyError::NoOtherCopy)?;
    let unlocked = keys::unlock(&other, provider, &options.terms)?;
    let seen = Seen::read(&*medium, &unlocked)?;
    let generation = seen.check(&unlocked, turn_back)?;
    if may_be_intact && turn_back == TurnBack::Refuse {
        let why = "the newest header copy doesn't open with this credential, but may be intact for \
                   another one";
        let (found, newest) = (other.generation(), newest.generation());
        return Err(KeyError::WouldTurnBack { found, newest, why });
    }
    put_back(&*medium, unlocked, generation, newest.copy(), &seen, options)
}

// As an open does, and for the same reasons.
fn lock(medium: Arc<dyn Medium>, options: &Options) -> Result<LockedMedium, OpenError> {
    let medium = LockedMedium::lock(medium, LockKind::Exclusive, options.allow_unlocked)?;
    if medium.len().map_err(OpenError::io("measuring the file"))? == 0 {
        return Err(OpenError::Empty);
    }
    medium.sync().map_err(OpenError::io("syncing the file before reading it"))?;
    medium.drop_cache(0, PREAMBLE_CACHE_BYTES).map_err(OpenError::io("dropping cached bytes"))?;
    Ok(medium)
}

/// What the root records know of headers.
struct Seen {
    newest: Generation,
    both_open: bool,
}

impl Seen {
    fn read(medium: &dyn Medium, unlocked: &Unlocked) -> Result<Self, KeyError> {
        let [a, b] = CopyId::BOTH.map(|copy| roots::read(medium, &unlocked.keyring, copy));
        let roots: Vec<RootRecord> = [a?, b?].into_iter().flatten().collect();
        let newest = roots.iter().max_by_key(|root| root.sync).ok_or(KeyError::NoRootOpens)?;
        Ok(Self { newest: newest.generation, both_open: roots.len() == 2 })
    }

    /// The generation under which a header may be put back: its own where nothing is turned back,
    /// else one that the next sync makes the newest.
    fn check(&self, unlocked: &Unlocked, turn_back: TurnBack) -> Result<Generation, KeyError> {
        let (found, newest) = (unlocked.header.generation, self.newest);
        let refused = |why| Err(KeyError::WouldTurnBack { found, newest, why });
        let ahead = Generation(newest.0.saturating_add(1));
        match copies::check_generation(found, newest) {
            Ok(()) if self.both_open || turn_back == TurnBack::Allow => Ok(found),
            Ok(()) => refused(
                "one root record of the file doesn't open with its keys, and may have seen a newer \
                 header than the other",
            ),
            Err(OpenError::RolledBack { .. }) if turn_back == TurnBack::Allow => Ok(ahead),
            Err(OpenError::RolledBack { .. }) => refused("the file has seen a newer header"),
            Err(error) => Err(error.into()),
        }
    }
}

fn put_back(
    medium: &dyn Medium,
    mut unlocked: Unlocked,
    generation: Generation,
    first: CopyId,
    seen: &Seen,
    options: &Options,
) -> Result<HeaderRestored, KeyError> {
    let restored = std::mem::replace(&mut unlocked.header.generation, generation);
    for (copy, point) in
        [(first, "restore: after first copy"), (first.other(), "restore: after second copy")]
    {
        write_copy(medium, &unlocked, copy).map_err(OpenError::io("writing the header"))?;
        medium.reached(point);
    }
    let now = options.terms.clock.now_s();
    let slots = keys::list_slots(&unlocked.header, now);
    Ok(HeaderRestored { restored, newest_seen: seen.newest, generation, slots })
}

fn write_copy(medium: &dyn Medium, unlocked: &Unlocked, copy: CopyId) -> std::io::Result<()> {
    let start = layout::header_start(copy).0;
    let bytes = unlocked.header.encode(copy, &random::array()?, &unlocked.root.data_mac);
    medium.write_at(start, &*bytes)?;
    medium.sync()?;
    medium.drop_cache(0, PREAMBLE_CACHE_BYTES)?;
    let mut found = Box::new([0; HEADER_COPY_SIZE]);
    medium.read_at(start, found.as_mut_slice())?;
    if found == bytes {
        return Ok(());
    }
    Err(Damage::Header { copy, why: "it reads back otherwise than it was written" }.into())
}
