//! The world of the conformance suite in which the key is a TPM's: a key of its own in swtpm, bound
//! to a PIN and a PCR.

use std::sync::Arc;
use std::time::Duration;

use strongroom::Credential;

use super::slots::{KEY, provider};
use super::suite::{self, Answer, Case, When, World};
use super::swtpm::Swtpm;

const OTHER: u32 = KEY + 1;
/// Bytes of the provider's name and its length, before what the provider stores.
const NAME: usize = 5;

struct Chip(Swtpm);

impl Chip {
    fn new() -> Self {
        let chip = Self(Swtpm::patient());
        for handle in [KEY, OTHER] {
            provider(chip.0.tcti(), "right").key_at(handle).generate_key().unwrap();
        }
        chip
    }

    fn key(&self, handle: u32, pin: &str) -> Box<dyn Credential> {
        Box::new(Arc::new(provider(self.0.tcti(), pin).key_at(handle).pcrs(&[16])))
    }
}

impl World for Chip {
    fn name(&self) -> String {
        "TPM 2.0 (swtpm)".to_owned()
    }

    fn credential(&self) -> Box<dyn Credential> {
        self.key(KEY, "right")
    }

    fn other_key(&self) -> Box<dyn Credential> {
        self.key(OTHER, "right")
    }

    fn wrong(&self) -> Case<Box<dyn Credential>> {
        Ok(self.key(KEY, "wrong"))
    }

    fn wrong_enrols(&self) -> bool {
        true
    }

    fn replace_key(&self) -> Case<()> {
        let key = provider(self.0.tcti(), "").key_at(KEY);
        key.efface().unwrap();
        key.generate_key().unwrap();
        Ok(())
    }

    fn stop(&self) -> Case<()> {
        self.0.cut();
        Ok(())
    }

    fn start(&self) {
        self.0.boot();
    }

    /// It is frozen until it is told to be quick again.
    fn slow(&self, by: Duration) -> Case<()> {
        self.0.freeze(!by.is_zero());
        Ok(())
    }

    /// The machine is in another state.
    fn revoke(&self) -> Case<()> {
        self.0.extend_pcr_16();
        Ok(())
    }

    fn destroy(&self) -> Case<()> {
        provider(self.0.tcti(), "").key_at(KEY).efface().unwrap();
        Ok(())
    }

    fn expect(&self, when: When) -> &'static [Answer] {
        match when {
            When::WrongCredential => &[Answer::Wrong],
            When::OtherKey => &[Answer::WrongKey],
            // The parent's name is in the slot, so it is known that the key was replaced.
            When::ReplacedKey | When::Destroyed => &[Answer::NoKey],
            // The handle: not this provider's. The salt and the cost: another authorisation value,
            // so a wrong one. The parent's name: another TPM's. The PCRs: another state.
            When::Tampered => {
                &[Answer::WrongKey, Answer::Damaged, Answer::Wrong, Answer::NoKey, Answer::Denied]
            }
            When::Moved => &[Answer::Damaged],
            When::Gone => &[Answer::Unavailable],
            When::Revoked => &[Answer::Denied],
        }
    }

    /// Each field at its first byte, and one in eleven of the rest.
    fn tampered_bytes(&self, blob_len: usize) -> Vec<usize> {
        let fields = [0, 1, 5, 9, 13, 17, 21, 53, 85, 117, 149, 150, 151].map(|at| NAME + at);
        let every = (0..blob_len).step_by(11).chain([blob_len - 1]);
        let mut bytes: Vec<_> = fields.into_iter().chain(every).collect();
        bytes.sort_unstable();
        bytes.dedup();
        bytes
    }
}

pub fn the_suite_of_all_credentials() {
    suite::run(&|| Box::new(Chip::new()), &[]);
}
