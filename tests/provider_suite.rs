//! Shows what every kind of credential promises, by one suite for all: the table of cases is in
//! `provider_suite/suite.rs`. Here: passphrase, key file, and a key service in this process that
//! behaves as a good one does, so that the suite itself is tried where no token, chip or server is
//! installed. The real ones are in `provider_pkcs11.rs` and its neighbours.
#![cfg(feature = "testkit")]
#![allow(unreachable_pub, reason = "the modules of a test have no outside")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

use std::time::Duration;

use strongroom::{Credential, KdfCost, KeyFile, Passphrase};
use tempfile::TempDir;

#[path = "provider_suite/service.rs"]
mod service;
#[path = "provider_suite/suite.rs"]
mod suite;

use service::ServiceWorld;
use suite::{Answer, Case, DoesNotApply, When, World};

/// Nobody stands behind it, so nobody can be away, be slow, or say no.
const NOBODY: DoesNotApply = DoesNotApply("nobody is asked");
/// The cases that can't be staged without somebody behind the credential.
const ALONE: [&str; 8] = [
    "tampered blob",
    "blob of another slot",
    "provider gone at open",
    "provider gone in use",
    "slow provider",
    "revoked key",
    "removal with effacement",
    "power cuts in effacement",
];

struct Words;

impl Words {
    fn say(words: &str) -> Box<dyn Credential> {
        Box::new(Passphrase::new(words).cost(KdfCost {
            memory_kib: 19 * 1024,
            passes: 2,
            lanes: 1,
        }))
    }
}

impl World for Words {
    fn name(&self) -> String {
        "passphrase".to_owned()
    }

    fn credential(&self) -> Box<dyn Credential> {
        Self::say("right")
    }

    fn other_key(&self) -> Box<dyn Credential> {
        Self::say("another one")
    }

    fn wrong(&self) -> Case<Box<dyn Credential>> {
        Ok(Self::say("wrong"))
    }

    fn replace_key(&self) -> Case<()> {
        Err(DoesNotApply("a passphrase has no name that another could take"))
    }

    fn stop(&self) -> Case<()> {
        Err(NOBODY)
    }

    fn start(&self) {}

    fn slow(&self, _by: Duration) -> Case<()> {
        Err(NOBODY)
    }

    fn revoke(&self) -> Case<()> {
        Err(NOBODY)
    }

    fn destroy(&self) -> Case<()> {
        Err(DoesNotApply("who knows it goes on knowing it"))
    }

    fn expect(&self, _when: When) -> &'static [Answer] {
        &[Answer::WrongKey]
    }

    fn crashes_per_cut(&self) -> usize {
        1
    }
}

struct Files(TempDir);

impl World for Files {
    fn name(&self) -> String {
        "key file".to_owned()
    }

    fn credential(&self) -> Box<dyn Credential> {
        let path = self.0.path().join("right");
        Box::new(KeyFile::read(&path).or_else(|_| KeyFile::generate(&path)).unwrap())
    }

    fn other_key(&self) -> Box<dyn Credential> {
        let path = self.0.path().join("other");
        Box::new(KeyFile::read(&path).or_else(|_| KeyFile::generate(&path)).unwrap())
    }

    fn wrong(&self) -> Case<Box<dyn Credential>> {
        Err(DoesNotApply("nothing guards the key in it; another key file is `another key`"))
    }

    fn replace_key(&self) -> Case<()> {
        Err(DoesNotApply("a key file is read once; another one is `another key`"))
    }

    fn stop(&self) -> Case<()> {
        Err(NOBODY)
    }

    fn start(&self) {}

    fn slow(&self, _by: Duration) -> Case<()> {
        Err(NOBODY)
    }

    fn revoke(&self) -> Case<()> {
        Err(NOBODY)
    }

    fn destroy(&self) -> Case<()> {
        Err(DoesNotApply("who has a copy of the file goes on having it"))
    }

    fn expect(&self, _when: When) -> &'static [Answer] {
        &[Answer::WrongKey]
    }
}

#[test]
fn a_passphrase_keeps_what_it_promises() {
    let alone = [&["replaced key"], &ALONE[..]].concat();
    suite::run(&|| Box::new(Words), &alone);
}

#[test]
fn a_key_file_keeps_what_it_promises() {
    let alone = [&["wrong credential", "replaced key"], &ALONE[..]].concat();
    suite::run(&|| Box::new(Files(tempfile::tempdir().unwrap())), &alone);
}

#[test]
fn a_key_service_keeps_what_it_promises() {
    suite::run(&|| Box::new(ServiceWorld::new()), &[]);
}
