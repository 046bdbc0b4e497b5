//! Floor 3: memory outside the file. An [`Anchor`] remembers one number that only ever goes up; a
//! file that is bound to it can't be put back to an older state as a whole without somebody
//! noticing (docs/format.md, "Anchor"). Here are the seam, an anchor in a file of its own, one in
//! memory for tests, and how any of them is asked: on a thread, with a time limit.
//!
//! An anchor decides nothing: the store compares. It never sees a key or a byte of the file.

use std::fmt;

use crate::error::AnchorFault;

mod asking;
mod file;
mod memory;
mod record;

pub(crate) use asking::{ANCHOR_TIMEOUT, AskedAnchor};
pub use file::FileAnchor;
pub use memory::MemoryAnchor;

/// Something outside the file that remembers a number which never goes down: a counter of a TPM, a
/// row at a remote service, a file on another medium ([`FileAnchor`]). Implement it, put it into an
/// [`Arc`](std::sync::Arc), bind a file to it with
/// [`AdminSession::bind_anchor`](crate::AdminSession::bind_anchor), and give it to
/// [`Builder::anchor`](crate::Builder::anchor) at every open from then on.
/// `examples/remote_anchor.rs` is one.
///
/// One anchor serves one file. It may refuse, fail or be away; it must not forget: what was
/// advanced to is durable before [`Anchor::advance`] returns, and whoever can put the file back must
/// not be able to put the anchor back with it.
///
/// A counter that can only be read and increased by one is enough. The store makes a count durable
/// in the file first and advances the anchor after that, so the file is never behind by a crash,
/// and at most one ahead.
///
/// Each call runs on a thread of its own; one that takes longer than
/// [`Builder::anchor_timeout`](crate::Builder::anchor_timeout) is given up, and may still be carried
/// out. Calls for one file come one at a time, but one that was given up may still be running.
pub trait Anchor: fmt::Debug + Send + Sync + 'static {
    /// Bytes that name this anchor and never change: the file keeps a hash of them, so that another
    /// anchor is not taken for it. Not secret, never empty, of any length. An anchor that was
    /// made anew, and so counts from the start again, must have another identity where it can.
    ///
    /// # Errors
    /// [`AnchorFault`].
    fn identity(&self) -> Result<Vec<u8>, AnchorFault>;

    /// Where it stands.
    ///
    /// # Errors
    /// [`AnchorFault`].
    fn read(&self) -> Result<u64, AnchorFault>;

    /// Adds one, durably, if that makes it `to`.
    ///
    /// # Errors
    /// [`AnchorFault::OutOfStep`] where it stands elsewhere than one below: it must change nothing
    /// then, also where it stands at `to` already. Any other [`AnchorFault`] may or may not have
    /// added one; the store asks again.
    fn advance(&self, to: u64) -> Result<(), AnchorFault>;
}
