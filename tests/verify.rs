//! Shows that verify names every damage by its place and says how bad it is, that what it calls
//! sound opens and reads whole and what it calls damaged doesn't, that it tells what a crash leaves
//! from damage, that it never writes and never panics, and that beside a writer and a rotation it
//! finds nothing.
//!
//! `VERIFY=10 cargo test --release --features testkit --test verify -- --nocapture` runs ten times
//! as many random cases.
#![cfg(feature = "testkit")]
#![allow(unreachable_pub, reason = "the modules of a test have no outside")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "test code: a panic is a failed test, and sizes are small"
)]

#[path = "verify/crashes.rs"]
mod crashes;
#[path = "verify/damage.rs"]
mod damage;
#[path = "verify/insiders.rs"]
mod insiders;
#[path = "verify/online.rs"]
mod online;
#[path = "verify/random.rs"]
mod random;
#[path = "verify/reading.rs"]
mod reading;
#[path = "verify/subject.rs"]
mod subject;

/// So many random cases, times `VERIFY`; a tenth of it in a debug build.
fn many(usual: u64) -> u64 {
    let times = std::env::var("VERIFY").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    usual * times / if cfg!(debug_assertions) { 10 } else { 1 }
}
