//! Random attacks: what verify calls sound opens and reads whole; what can't be read is called
//! damage. It never panics and always comes to an end.

use strongroom::medium::MemoryMedium;
use strongroom::testkit::Attacker;
use strongroom::{Report, Severity, VerifyOptions, Where, verify_medium};

use crate::many;
use crate::subject::{history, key, reads_whole};

// Damage that nothing in use hangs on: redb never reads it.
fn may_go_unread(report: &Report) -> bool {
    let damage = report.findings.iter().filter(|found| found.severity == Severity::Damage);
    damage.clone().all(|found| matches!(found.at, Where::TagPage(..) | Where::Page(_)))
}

#[test]
fn what_is_sound_reads_whole_and_what_is_not_does_not() {
    for closed in [true, false] {
        let attacker = Attacker::new(history(closed));
        let (mut sound, mut damaged, mut refused, mut unread) = (0, 0, 0, 0);
        for seed in 0..many(700) {
            let attack = attacker.random(seed);
            let file = attacker.apply(&attack);
            let medium = MemoryMedium::from_bytes(file.clone());
            let report = verify_medium(medium, &key(), &VerifyOptions::new().threads(1));
            let reads = reads_whole(&file);
            let Ok(report) = report else {
                assert!(reads.is_err(), "closed: {closed}, {attack}");
                refused += 1;
                continue;
            };
            match (report.is_sound(), reads) {
                (true, Ok(_)) => sound += 1,
                (false, Err(_)) => damaged += 1,
                (false, Ok(_)) if may_go_unread(&report) => unread += 1,
                (_, reads) => {
                    let reads = reads.map(|content| content.len());
                    panic!("closed: {closed}, {attack}\n{report}\n{reads:?}");
                }
            }
        }
        let file = if closed { "closed" } else { "not closed" };
        println!("figure: verify, attacks on a file {file}, sound and reads whole = {sound}");
        println!("figure: verify, attacks on a file {file}, damaged and does not = {damaged}");
        println!(
            "figure: verify, attacks on a file {file}, damaged where nothing reads = {unread}"
        );
        println!("figure: verify, attacks on a file {file}, no verify and no open = {refused}");
        assert!(sound > 20 && damaged > 100);
    }
}
