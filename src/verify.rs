//! Floor 7: verify. Looks at every byte that a database stands on and says what is wrong with it,
//! naming each place: both header copies, both root records, both copies of every tag page, every
//! data page, and redb's trees. Never changes the file.
//!
//! Offline it works on a survey (`store/survey.rs`), so that it goes on where an open would refuse,
//! and redb runs over a copy of what it would change, held in memory. Online it looks at the open
//! store while readers and the writer go on. What it says is in docs/verify.md.

mod finding;
mod offline;
mod online;
mod options;
mod report;
mod sweep;
mod trees;

pub use finding::{Finding, Flaw, Severity, Where};
pub use options::{VerifyOptions, VerifyPhase, VerifyProgress};
pub use report::{EpochPages, FindingCounts, PageCounts, Report, Trees};

pub(crate) use offline::verify_medium;
pub(crate) use online::verify_store;
