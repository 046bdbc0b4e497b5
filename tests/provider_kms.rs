//! Shows what the key service over TLS does, against a real OpenBao server: the conformance suite
//! of all credentials; each handshake that must fail, with its own words; files replaced on disk;
//! a server that is sealed, slow, misbehaving; tokens; revocation and effacement; and that no
//! secret gets into a log or an error.
//!
//! Needs `bao` and `openssl`; skipped with a line that says so where they are not installed, and
//! never where `CI` is set. `.ci/bao` installs `bao`.
#![cfg(all(feature = "kms", feature = "testkit"))]
#![allow(unreachable_pub, reason = "the modules of a test have no outside")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

#[path = "provider_kms/answers.rs"]
mod answers;
#[path = "provider_kms/certificates.rs"]
mod certificates;
#[path = "provider_kms/files.rs"]
mod files;
#[path = "provider_kms/handshakes.rs"]
mod handshakes;
#[path = "provider_kms/log.rs"]
mod log;
#[path = "provider_kms/misbehaviour.rs"]
mod misbehaviour;
#[path = "provider_kms/service.rs"]
mod service;
#[path = "provider_kms/slot.rs"]
mod slot;
#[path = "provider_suite/suite.rs"]
mod suite;
#[path = "provider_kms/tokens.rs"]
mod tokens;
#[path = "provider_kms/world.rs"]
mod world;

use service::service;
use world::TransitWorld;

#[test]
fn the_key_service_keeps_what_it_promises() {
    let Some(service) = service() else { return };
    suite::run(&|| Box::new(TransitWorld::new(service)), &[]);
}
