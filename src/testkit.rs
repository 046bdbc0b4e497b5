//! Instruments that crash, fault and attack a store (feature `testkit`): a disk that loses power
//! ([`CrashMedium`]), the seeded randomness that makes each crash repeatable ([`SeededRandom`]),
//! and the known mistakes of such a store, to plant on purpose and see caught.
//!
//! Public, so that an application can crash its own database: run it on a [`CrashMedium`], cut
//! the power somewhere, open what [`CrashMedium::crash`] gives back, and look. Nothing here is
//! needed in production, and nothing in the store depends on it.

mod crash;
mod crash_log;
mod cuts;
mod decoders;
mod insider;
pub mod model;
mod rng;
mod yielding;

pub use crate::holes::Hole;
pub use crash::CrashMedium;
pub use crash_log::{Crash, Survival, Tearing};
pub use cuts::{Cut, Cuts, every_cut};
pub use decoders::{decode_anything, format_snapshot};
pub use insider::Insider;
pub use rng::SeededRandom;
pub use yielding::YieldingMedium;
