//! What verify, inspect and prove say of the golden files, in the sidecars' words.

use std::fs;
use std::path::Path;

use strongroom::{
    CopyLook, Credential, Error, ProveOptions, VerifyOptions, inspect, prove, verify_file,
};

use crate::{Expectation, NAMES, said, vectors};

/// Findings by severity, and the first of them.
pub fn verified(room: &Path, key: &dyn Credential) -> String {
    match verify_file(room, key, &VerifyOptions::new()) {
        Ok(report) => {
            let counts = report.counts;
            let first = report.findings.first().map(|found| format!(", first {}", found.at));
            let (damage, spare, leftover) = (counts.damage, counts.spare, counts.leftover);
            format!("{damage} + {spare} + {leftover}{}", first.unwrap_or_default())
        }
        Err(error) => said(&Error::from(error)),
    }
}

/// Both header copies, and the kinds of the slots.
pub fn inspected(room: &Path) -> String {
    let found = match inspect(room) {
        Ok(found) => found,
        Err(error) => return said(&Error::from(error)),
    };
    let word = |copy: &CopyLook| match copy {
        CopyLook::Whole(_) => "whole",
        CopyLook::Torn => "torn",
        _ => "other",
    };
    let [a, b] = found.copies.each_ref().map(word);
    let slots = found.header().map(|claims| claims.slots.iter().map(|slot| slot.kind));
    let slots: Vec<_> = slots.into_iter().flatten().collect();
    format!("A {a}, B {b}, slots {slots:?}")
}

#[test]
fn verify_inspect_and_prove_say_of_every_golden_file_what_they_always_said() {
    for name in NAMES {
        let room = vectors().join(format!("{name}.room"));
        let before = fs::read(&room).unwrap();
        let expectation = Expectation::read(&room.with_extension("expect"));
        assert_eq!(verified(&room, &*expectation.key()), expectation.get("verify"), "{name}");
        assert_eq!(inspected(&room), expectation.get("inspect"), "{name}");
        let proof = prove(&room, None, &ProveOptions::new().pattern(*b"two; changed")).unwrap();
        assert!(proof.holds(), "{name}: {proof}");
        assert!(fs::read(&room).unwrap() == before, "{name}: a golden file was changed");
    }
}
