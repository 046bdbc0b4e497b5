//! Shows that the PKCS #11 provider keeps its promises against a real SoftHSM: the conformance suite
//! by each of the three ways to wrap, and what is a token's own: the key never leaves it, a PIN is
//! tried once, no login outlives a call, every misfortune has a name, a module that hangs is left.
//!
//! Skipped with a printed reason where SoftHSM is not installed (`apt-get install softhsm2`), unless
//! the environment variable `CI` is set.
#![cfg(all(feature = "testkit", feature = "pkcs11"))]
#![allow(unreachable_pub, reason = "the modules of a test have no outside")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

#[path = "provider_pkcs11/hsm.rs"]
mod hsm;
#[path = "provider_suite/suite.rs"]
mod suite;
#[path = "provider_pkcs11/tenants.rs"]
mod tenants;
#[path = "provider_pkcs11/tokens.rs"]
mod tokens;
#[path = "provider_pkcs11/world.rs"]
mod world;

use hsm::with_softhsm;
use strongroom::providers::pkcs11::Wrapping;
use world::Token;

fn conforms(test: &str, way: Wrapping) {
    with_softhsm(test, |hsm| suite::run(&|| Box::new(Token::new(hsm, way)), &[]));
}

#[test]
fn aes_gcm_keeps_what_it_promises() {
    conforms("aes_gcm_keeps_what_it_promises", Wrapping::AesGcm);
}

#[test]
fn aes_key_wrap_keeps_what_it_promises() {
    conforms("aes_key_wrap_keeps_what_it_promises", Wrapping::AesKeyWrapPad);
}

#[test]
fn rsa_oaep_keeps_what_it_promises() {
    conforms("rsa_oaep_keeps_what_it_promises", Wrapping::RsaOaep);
}

/// The other half of the slow token: see [`world::Holder`].
#[test]
fn hold_a_lock_for_another_test() {
    world::hold_a_lock();
}
