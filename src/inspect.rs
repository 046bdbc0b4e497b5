//! Floor 7: what a file says of itself to somebody without a key. Nothing of it is authenticated:
//! whoever can write the file can write all of this. Nothing of it is secret either. Reads the two
//! header copies and the heads of the root records; takes no lock that it doesn't get.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::clock::Clock;
use crate::error::OpenError;
use crate::format::completion::Completion;
use crate::format::header::{EpochState, Header, NotAHeader};
use crate::format::key_slot::{Role, SlotKind};
use crate::format::policy::Policy;
use crate::keys::{SlotInfo, list_slots};
use crate::layout::{self, PAGE_BYTES, PAGE_SIZE};
use crate::medium::{LockKind, Medium};
use crate::store::{LockedMedium, look_at_header, read_header};
use crate::units::{CopyId, Epoch, FileId, Generation};

/// What a data key's record in the header claims. The key itself is wrapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct EpochClaim {
    /// Its number.
    pub epoch: Epoch,
    /// What it is at.
    pub state: EpochState,
    /// When it was made, Unix seconds.
    pub created: u64,
    /// When it was retired, Unix seconds; 0 while it is active.
    pub retired: u64,
    /// Pages sealed under it when it was retired; 0 while it is active.
    pub sealed_pages: u64,
}

/// What a header copy claims. Nothing of it is authenticated.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct HeaderClaims {
    /// The format version.
    pub version: u16,
    /// The file's id.
    pub file_id: FileId,
    /// How many header commits there were.
    pub generation: Generation,
    /// How many changes of slots or policy there were.
    pub admin_generation: u64,
    /// When the file was created, Unix seconds.
    pub created: u64,
    /// Whether an admin slot opens the data too.
    pub combined_roles: bool,
    /// The policy.
    pub policy: Policy,
    /// The key slots: kinds, roles, labels, costs, dates.
    pub slots: Vec<SlotInfo>,
    /// The data keys.
    pub epochs: Vec<EpochClaim>,
    /// The last finished rotations.
    pub rotations: Vec<Completion>,
}

impl HeaderClaims {
    fn of(header: &Header) -> Self {
        let epoch = |record: &crate::format::header::EpochRecord| EpochClaim {
            epoch: record.epoch,
            state: record.state,
            created: record.created,
            retired: record.retired,
            sealed_pages: record.sealed_pages,
        };
        Self {
            version: crate::format::FORMAT_VERSION,
            file_id: header.file_id,
            generation: header.generation,
            admin_generation: header.admin_generation,
            created: header.created,
            combined_roles: header.combined_roles,
            policy: header.policy,
            slots: list_slots(header, Clock::default().now_s()),
            epochs: header.epochs.iter().map(epoch).collect(),
            rotations: header.rotations.clone(),
        }
    }
}

/// What a header copy looks like.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CopyLook {
    /// Whole by its checksum, which stops no attacker; every field makes sense.
    Whole(Box<HeaderClaims>),
    /// Its checksum doesn't fit: torn by a crash, or rotten.
    Torn,
    /// Zeros, or no bytes at all.
    Blank,
    /// Of a format version that this program doesn't know.
    OtherVersion(u16),
    /// With features that this program doesn't know.
    UnknownFeatures(u64),
    /// Its checksum fits and its fields contradict each other.
    Malformed(&'static str),
    /// Something else.
    Foreign,
    /// It can't be read.
    Unreadable(io::ErrorKind),
}

impl fmt::Display for CopyLook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(claims) => write!(f, "whole, {}", claims.generation),
            Self::Torn => f.write_str("its checksum does not fit: torn or rotten"),
            Self::Blank => f.write_str("zeros, or no bytes at all"),
            Self::OtherVersion(version) => write!(f, "of format version {version}"),
            Self::UnknownFeatures(bits) => write!(f, "with unknown features ({bits:#x})"),
            Self::Malformed(why) => write!(f, "malformed: {why}"),
            Self::Foreign => f.write_str("something else"),
            Self::Unreadable(kind) => write!(f, "can't be read: {kind}"),
        }
    }
}

/// What a root record looks like: without a key, only its first bytes say anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RootLook {
    /// Some bytes stand there; the data key that they claim to be sealed under.
    Sealed(Epoch),
    /// Zeros.
    Blank,
    /// The file ends before it does.
    Missing,
    /// It can't be read.
    Unreadable(io::ErrorKind),
}

/// What a file says of itself. [`fmt::Display`] writes it for people.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Inspection {
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Groups of 126 data pages that a file of this length has, the last one perhaps in part, and
    /// whatever lies behind the last page counted in.
    pub groups_by_length: u64,
    /// Whether somebody has the file open for writing, so that all of this may change at any time.
    pub in_use: bool,
    /// Header copy A and B.
    pub copies: [CopyLook; 2],
    /// Root record A and B.
    pub roots: [RootLook; 2],
}

impl Inspection {
    /// The copy that an open would try, if there is one: the newer one that is whole.
    #[must_use]
    pub fn header(&self) -> Option<&HeaderClaims> {
        let mut best: Option<&HeaderClaims> = None;
        for copy in &self.copies {
            if let CopyLook::Whole(claims) = copy
                && best.is_none_or(|best| claims.generation > best.generation)
            {
                best = Some(claims);
            }
        }
        best
    }
}

/// Looks at a medium without a key.
///
/// # Errors
/// [`OpenError::Empty`], [`OpenError::PlainRedb`], [`OpenError::NotStrongroom`], or the medium's.
pub(crate) fn inspect(medium: &Arc<dyn Medium>) -> Result<Inspection, OpenError> {
    let lock = LockedMedium::lock(Arc::clone(medium), LockKind::Shared, true);
    let in_use = matches!(&lock, Err(OpenError::AlreadyOpen));
    // Given back at once: whoever opens the file while it is looked at must not find it in use.
    drop(lock);
    if let Err(error @ (OpenError::Empty | OpenError::PlainRedb | OpenError::NotStrongroom)) =
        read_header(&**medium)
    {
        return Err(error);
    }
    let file_bytes = medium.len().map_err(OpenError::io("measuring the file"))?;
    Ok(Inspection {
        file_bytes,
        groups_by_length: layout::groups_in(file_bytes),
        in_use,
        copies: CopyId::BOTH.map(|copy| copy_look(&**medium, copy)),
        roots: CopyId::BOTH.map(|copy| root_look(&**medium, file_bytes, copy)),
    })
}

fn copy_look(medium: &dyn Medium, copy: CopyId) -> CopyLook {
    match look_at_header(medium, copy) {
        Err(OpenError::Io { source, .. }) => CopyLook::Unreadable(source.kind()),
        Err(_) => CopyLook::Unreadable(io::ErrorKind::Other),
        Ok(Ok(header)) => CopyLook::Whole(Box::new(HeaderClaims::of(header.claims()))),
        Ok(Err(fault)) => match fault {
            NotAHeader::Blank => CopyLook::Blank,
            NotAHeader::BadMagic => CopyLook::Foreign,
            NotAHeader::Version(version) => CopyLook::OtherVersion(version),
            NotAHeader::Features(bits) => CopyLook::UnknownFeatures(bits),
            NotAHeader::Torn => CopyLook::Torn,
            NotAHeader::Malformed(malformed) => CopyLook::Malformed(malformed.0),
        },
    }
}

fn root_look(medium: &dyn Medium, len: u64, copy: CopyId) -> RootLook {
    let start = layout::root_start(copy).0;
    if start.saturating_add(PAGE_BYTES) > len {
        return RootLook::Missing;
    }
    let mut bytes = [0; PAGE_SIZE];
    match medium.read_at(start, &mut bytes) {
        Err(error) => RootLook::Unreadable(error.kind()),
        Ok(()) if bytes == [0; PAGE_SIZE] => RootLook::Blank,
        Ok(()) => {
            let [a, b, c, d, ..] = bytes;
            RootLook::Sealed(Epoch(u32::from_le_bytes([a, b, c, d])))
        }
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Nothing below is authenticated: whoever can write the file can write it.")?;
        let use_ = if self.in_use { ", open for writing elsewhere" } else { "" };
        writeln!(f, "{} bytes, room for {} groups{use_}", self.file_bytes, self.groups_by_length)?;
        for (copy, look) in CopyId::BOTH.into_iter().zip(&self.copies) {
            writeln!(f, "header, {copy}: {look}")?;
        }
        for (copy, look) in CopyId::BOTH.into_iter().zip(&self.roots) {
            match look {
                RootLook::Sealed(epoch) => {
                    writeln!(f, "root record, {copy}: claims data key {}", epoch.0)?;
                }
                RootLook::Blank => writeln!(f, "root record, {copy}: zeros")?,
                RootLook::Missing => writeln!(f, "root record, {copy}: the file ends before it")?,
                RootLook::Unreadable(kind) => {
                    writeln!(f, "root record, {copy}: can't be read: {kind}")?;
                }
            }
        }
        match self.header() {
            Some(claims) => write!(f, "{claims}"),
            None => write!(f, "no header copy is whole: no credential opens the file"),
        }
    }
}

impl fmt::Display for HeaderClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roles = if self.combined_roles { "combined" } else { "split" };
        write!(
            f,
            "format version {}, file {}, created {}, roles {roles}, {} changes of slots or policy",
            self.version, self.file_id, self.created, self.admin_generation
        )?;
        for slot in &self.slots {
            // A label is anybody's text: nothing of it may move a terminal's cursor.
            write!(
                f,
                "\n{}: {}, {}, label {:?}",
                slot.id,
                kind(slot.kind),
                role(slot.role),
                slot.label
            )?;
            if let Some(cost) = slot.kdf {
                let (memory, passes, lanes) = (cost.memory_kib, cost.passes, cost.lanes);
                write!(f, ", Argon2id {memory} KiB, {passes} passes, {lanes} lanes")?;
            }
            if let Some(not_after) = slot.not_after {
                write!(f, ", not after {not_after}")?;
            }
        }
        for EpochClaim { epoch, state, created, sealed_pages, .. } in &self.epochs {
            write!(f, "\ndata key {}: {}, created {created}", epoch.0, epoch_state(*state))?;
            if *state != EpochState::Active {
                write!(f, ", {sealed_pages} pages sealed")?;
            }
        }
        write!(f, "\n{} rotations on record", self.rotations.len())
    }
}

fn kind(kind: SlotKind) -> &'static str {
    match kind {
        SlotKind::RawKey => "raw key",
        SlotKind::KeyFile => "key file",
        SlotKind::Passphrase => "passphrase",
        SlotKind::RecoveryCode => "recovery code",
        SlotKind::AllOf => "several together",
        SlotKind::Provider => "provider",
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Data => "data",
        Role::Admin => "admin",
    }
}

fn epoch_state(state: EpochState) -> &'static str {
    match state {
        EpochState::Active => "active",
        EpochState::Retired => "retired",
        EpochState::Compromised => "compromised",
    }
}
