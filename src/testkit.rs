//! Instruments that crash, fault and attack a store (feature `testkit`): a disk that loses power
//! ([`CrashMedium`]), one that goes wrong as planned ([`FaultyMedium`]), somebody who edits and
//! puts back ([`Attacker`]), the seeded randomness that makes each of them repeatable
//! ([`SeededRandom`]), and the known mistakes of such a store, to plant on purpose and see caught.
//!
//! Public, so that an application can crash its own database: run it on a [`CrashMedium`], cut
//! the power somewhere, open what [`CrashMedium::crash`] gives back, and look. Nothing here is
//! needed in production, and nothing in the store depends on it.

mod attacker;
mod crash;
mod crash_directory;
mod crash_log;
mod cuts;
mod decoders;
mod faults;
mod insider;
pub mod model;
mod old_key;
mod rng;
mod sealer;
mod yielding;

pub use crate::holes::Hole;
pub use attacker::{Attack, AttackError, Attacker, Edit, FileHistory, Part, RecordingMedium, Span};
pub use crash::CrashMedium;
pub use crash_directory::CrashDirectory;
pub use crash_log::{Crash, Survival, Tearing};
pub use cuts::{Cut, Cuts, every_cut};
pub use decoders::{decode_anything, format_snapshot};
pub use faults::{Fault, FaultKind, FaultPlan, FaultPlanError, FaultyMedium, Place, When};
pub use insider::Insider;
pub use old_key::OldKey;
pub use rng::SeededRandom;
pub use sealer::Sealer;
pub use yielding::YieldingMedium;

/// How many times this process ran Argon2id, in all threads: to show what a hint saves without a
/// clock.
#[must_use]
pub fn kdf_runs() -> u64 {
    crate::keys::kdf_runs()
}

/// Begins to note every 32-byte key that comes into key memory, each byte xored with 0xA7: so that
/// a test can search its own memory and its files for them without holding what it searches for.
pub fn watch_keys() {
    crate::secret::watch::begin();
}

/// The keys noted since [`watch_keys`], each byte xored with 0xA7.
#[must_use]
pub fn watched_keys() -> Vec<[u8; 32]> {
    crate::secret::watch::kept()
}
