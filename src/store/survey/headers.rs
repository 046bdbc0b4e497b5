//! The two header copies of a surveyed file: what each of them is, and the keys behind the best.

use std::io;

use super::super::Options;
use super::super::header;
use crate::error::OpenError;
use crate::format::header::{NotAHeader, UnverifiedHeader};
use crate::keys::{self, Credential, Unlocked};
use crate::medium::Medium;
use crate::units::{CopyId, Generation};

/// What one header copy is, judged by the one that was unlocked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HeaderCopyState {
    /// It verifies, and says what the one says that was unlocked.
    Whole(Generation),
    /// It verifies, and is older: a header commit was cut off after the other copy.
    Older(Generation),
    /// It verifies and is newer, but the credential doesn't open it.
    Newer(Generation),
    /// It verifies and is as new, but says something else.
    Differs(Generation),
    /// Whole by its CRC, but not under the MAC of this file's root key: forged, altered with care,
    /// or of a time when the file had another root key.
    NotVerified(Generation),
    /// Its CRC doesn't fit: torn by a crash, or rotten.
    Torn,
    /// Zeros: never written, or wiped.
    Blank,
    /// Its CRC fits and its fields contradict each other.
    Malformed(&'static str),
    /// A header of another format version, or with features that this version doesn't have.
    Unsupported,
    /// Something else stands there.
    Foreign,
    /// It can't be read.
    Unreadable(io::ErrorKind),
}

pub(super) struct Headers {
    pub(super) unlocked: Unlocked,
    pub(super) copies: [HeaderCopyState; 2],
    /// Why an open would not have got here.
    pub(super) fault: Option<OpenError>,
}

/// Unlocks the header copy that an open would take or, where that one is lost, damaged or doesn't
/// know the credential, the other one.
///
/// # Errors
/// What an open says, where neither can be unlocked.
pub(super) fn unlock(
    medium: &dyn Medium,
    credential: &dyn Credential,
    options: &Options,
) -> Result<Headers, OpenError> {
    let looks = CopyId::BOTH.map(|copy| header::look(medium, copy));
    let mut candidates: Vec<UnverifiedHeader> =
        looks.iter().filter_map(|look| look.as_ref().ok()?.as_ref().ok()).cloned().collect();
    // A stable sort: of equal generations A goes first, as in an open.
    candidates.sort_by_key(|header| std::cmp::Reverse(header.generation()));
    // What an open says of both before it tries either: a newer version's copy, or no copy at all.
    let mut fault = header::read(medium).err();
    for header in &candidates {
        match keys::unlock(header, credential, &options.terms) {
            Ok(unlocked) => {
                let copies = looks.map(|look| judge(look, &unlocked));
                return Ok(Headers { unlocked, copies, fault });
            }
            Err(error @ (OpenError::Damaged(_) | OpenError::WrongKey)) => {
                fault.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(fault.unwrap_or(OpenError::HeaderLost))
}

/// What a copy is beside the header that was unlocked.
pub(in crate::store) fn judge(
    look: Result<header::Look, OpenError>,
    unlocked: &Unlocked,
) -> HeaderCopyState {
    let found = match look {
        Err(OpenError::Io { source, .. }) => return HeaderCopyState::Unreadable(source.kind()),
        Err(_) => return HeaderCopyState::Unreadable(io::ErrorKind::InvalidData),
        Ok(Err(fault)) => return state_of(fault),
        Ok(Ok(found)) => found,
    };
    let (generation, known) = (found.generation(), unlocked.header.generation);
    match found.verify(&unlocked.root.data_mac) {
        None => HeaderCopyState::NotVerified(generation),
        Some(header) if *header == unlocked.header => HeaderCopyState::Whole(generation),
        Some(_) if generation < known => HeaderCopyState::Older(generation),
        Some(_) if generation > known => HeaderCopyState::Newer(generation),
        Some(_) => HeaderCopyState::Differs(generation),
    }
}

fn state_of(fault: NotAHeader) -> HeaderCopyState {
    match fault {
        NotAHeader::Blank => HeaderCopyState::Blank,
        NotAHeader::BadMagic => HeaderCopyState::Foreign,
        NotAHeader::Version(_) | NotAHeader::Features(_) => HeaderCopyState::Unsupported,
        NotAHeader::Torn => HeaderCopyState::Torn,
        NotAHeader::Malformed(malformed) => HeaderCopyState::Malformed(malformed.0),
    }
}
