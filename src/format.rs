//! Floor 4: bytes to structs and back (docs/format.md). No I/O, no choice of what to do about it:
//! a decoder takes any bytes, refuses what it doesn't know, and never panics; for every accepted
//! `b`, `encode(decode(b)) == b`.

pub(crate) mod anchor_binding;
pub(crate) mod associated_data;
pub(crate) mod backup;
pub(crate) mod checkpoint;
pub(crate) mod clean_index;
pub(crate) mod completion;
pub(crate) mod copies;
pub(crate) mod header;
pub(crate) mod journal;
pub(crate) mod key_slot;
pub(crate) mod late_entry;
pub(crate) mod policy;
pub(crate) mod record;
pub(crate) mod root_record;
#[cfg(feature = "testkit")]
pub(crate) mod snapshot;
pub(crate) mod tag_page;

/// The format's major version, and with it the cipher suite.
pub(crate) const FORMAT_VERSION: u16 = 1;
