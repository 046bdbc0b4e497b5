//! The two header copies in the file: reading the newer one, and writing back a stale or torn
//! second copy.

use std::sync::PoisonError;

use super::Store;
use crate::error::{OpenError, StoreError};
use crate::format::header::{HeaderBytes, NotAHeader, UnverifiedHeader};
use crate::keys::Unlocked;
use crate::layout::{self, HEADER_COPY_SIZE};
use crate::medium::Medium;
use crate::random;
use crate::units::CopyId;

/// The header copy to go by, and what is to be said of the other one.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) newest: UnverifiedHeader,
    /// The other copy, if it is one that could be tried.
    other: Option<UnverifiedHeader>,
}

impl Found {
    /// The copy that is missing, torn, older or altered, and wants to be rewritten from the one
    /// that was unlocked.
    pub(super) fn stale(&self, unlocked: &Unlocked) -> Option<CopyId> {
        let twin = self.other.as_ref().and_then(|other| other.verify(&unlocked.data_mac_key));
        (twin != Some(&unlocked.header)).then(|| self.newest.copy().other())
    }
}

/// Reads both copies and takes the highest generation; never a lower one, whatever happens later.
///
/// # Errors
/// Says what the bytes are where neither is a header copy that can be tried.
pub(super) fn read(medium: &dyn Medium) -> Result<Found, OpenError> {
    let len = medium.len().map_err(OpenError::io("measuring the file"))?;
    if len == 0 {
        return Err(OpenError::Empty);
    }
    let a_bytes = read_copy(medium, len, CopyId::A)?;
    let a = UnverifiedHeader::decode(&a_bytes, CopyId::A);
    let b_bytes = read_copy(medium, len, CopyId::B)?;
    let b = UnverifiedHeader::decode(&b_bytes, CopyId::B);
    for (fault, bytes) in [(a.as_ref().err(), &a_bytes), (b.as_ref().err(), &b_bytes)] {
        // A whole copy that says "not for you" is believed, even beside one of ours: a newer version
        // may have been cut off while it upgraded the file.
        if let Some(fault) = fault
            && UnverifiedHeader::crc_fits(bytes)
        {
            refuse_newer(*fault)?;
        }
    }
    match (a, b) {
        (Ok(a), Ok(b)) if b.generation() > a.generation() => {
            Ok(Found { newest: b, other: Some(a) })
        }
        (Ok(a), b) => Ok(Found { newest: a, other: b.ok() }),
        (Err(_), Ok(newest)) => Ok(Found { newest, other: None }),
        (Err(a), Err(b)) => Err(neither(&a_bytes, a, b)),
    }
}

fn refuse_newer(fault: NotAHeader) -> Result<(), OpenError> {
    match fault {
        NotAHeader::Version(found) => Err(OpenError::UnsupportedVersion { found }),
        NotAHeader::Features(bits) => Err(OpenError::UnsupportedFeatures { bits }),
        _ => Ok(()),
    }
}

// What stands there instead of a header.
fn neither(a_bytes: &HeaderBytes, a: NotAHeader, b: NotAHeader) -> OpenError {
    if a_bytes.starts_with(b"redb\x1a\x0a\xa9\x0d\x0a") {
        return OpenError::PlainRedb;
    }
    if let Err(newer) = refuse_newer(a).and(refuse_newer(b)) {
        return newer;
    }
    // A copy that was ours once, or nothing at all where both should be: a header was lost, or its
    // file never finished.
    let was_ours = |fault| matches!(fault, NotAHeader::Torn | NotAHeader::Malformed(_));
    let both_blank = (a, b) == (NotAHeader::Blank, NotAHeader::Blank);
    if was_ours(a) || was_ours(b) || both_blank {
        return OpenError::HeaderLost;
    }
    OpenError::NotStrongroom
}

// What the file has of a copy; bytes beyond its end are zeros.
fn read_copy(medium: &dyn Medium, len: u64, copy: CopyId) -> Result<Box<HeaderBytes>, OpenError> {
    let start = layout::header_start(copy).0;
    let mut bytes = Box::new([0; HEADER_COPY_SIZE]);
    let there = len.saturating_sub(start).min(HEADER_COPY_SIZE as u64);
    let there = usize::try_from(there).unwrap_or(HEADER_COPY_SIZE);
    let room = bytes.get_mut(..there).unwrap_or_default();
    medium.read_at(start, room).map_err(OpenError::io("reading the header"))?;
    Ok(bytes)
}

impl Store {
    /// Writes the current header to one copy; not durable before the next `fsync`.
    pub(super) fn write_header(&self, copy: CopyId) -> Result<(), StoreError> {
        let salt = random::array()?;
        let bytes = self.unlocked.header.encode(copy, &salt, &self.unlocked.data_mac_key);
        self.medium.write_at(layout::header_start(copy).0, &*bytes)?;
        Ok(())
    }

    /// Rewrites the copy that was found stale or torn at open, if any.
    pub(super) fn heal_header(&self) -> Result<(), StoreError> {
        let stale = self.heal_header.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(copy) = stale else { return Ok(()) };
        self.leave_clean_state()?;
        self.latch(self.write_header(copy))?;
        self.latch(self.medium.sync().map_err(StoreError::Io))?;
        self.medium.reached("header: after healing");
        Ok(())
    }
}
