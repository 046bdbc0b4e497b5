//! What a crash leaves is no damage: whatever the power cut, kill or failed sync, verify calls the
//! file sound where it opens, says what the open will find, and leaves the machine as it was. Once
//! it was opened and closed, it is whole again.

use strongroom::redb;
use strongroom::testkit::{Crash, CrashMedium, SeededRandom, Survival, Tearing};
use strongroom::{Builder, Error, Flaw, OpenError, Severity, Trees, VerifyOptions, verify_medium};

use crate::many;
use crate::subject::{NOTES, builder, content, key, verify_on};

#[derive(Clone, Copy)]
struct Work {
    quick_repair: bool,
    two_phase: bool,
    rotate: bool,
}

fn commit(db: &redb::Database, work: Work, round: u32) -> Result<(), Error> {
    let mut txn = db.begin_write()?;
    txn.set_quick_repair(work.quick_repair);
    txn.set_two_phase_commit(work.two_phase);
    {
        let mut table = txn.open_table(NOTES)?;
        for row in 0..20 {
            table.insert(round * 7 + row, &*vec![round as u8; 900])?;
        }
        table.insert(9000 + round % 3, &*vec![round as u8; 30_000])?;
        if round > 2 {
            table.remove((round - 2) * 7)?;
        }
    }
    Ok(txn.commit()?)
}

fn run(disk: &CrashMedium, work: Work) -> Result<(), Error> {
    let mut builder = Builder::new();
    builder.cache_size(64 * 1024).rotation_batch(126);
    let db = builder.create_on(disk.clone(), &key())?;
    for round in 0..12 {
        commit(&db, work, round)?;
        if round == 6 && work.rotate {
            let mut steps = db.rotate_by_steps()?;
            for more in 20..24 {
                steps.step()?;
                commit(&db, work, more)?;
            }
        }
    }
    Ok(db.close()?)
}

fn crash(random: &mut SeededRandom) -> Crash {
    let tearing = *random.pick(&Tearing::ALL).unwrap();
    let survival = match random.below(5) {
        0 => Survival::Each(0.1),
        1 => Survival::Each(0.9),
        2 => Survival::Prefix,
        3 => Survival::AllButOne,
        _ => Survival::OnlyOne,
    };
    match random.below(4) {
        0 => Crash::Kill,
        1 => Crash::FailedSync { tearing, survival },
        _ => Crash::PowerCut { tearing, survival },
    }
}

#[test]
fn what_a_crash_leaves_is_no_damage() {
    let works =
        [(false, false, false), (false, true, false), (true, false, false), (false, false, true)]
            .map(|(quick_repair, two_phase, rotate)| Work { quick_repair, two_phase, rotate });
    let operations = works.map(|work| {
        let disk = CrashMedium::new(0);
        run(&disk, work).unwrap();
        disk.operations()
    });
    let (mut seen, mut leftovers, mut spotless, mut journaled, mut debris, mut torn) =
        (0, 0, 0, 0, 0, 0);
    for seed in 0..many(400) {
        let mut random = SeededRandom::new(seed);
        let which = random.below(4) as usize;
        let disk = CrashMedium::new(seed);
        match random.below(3) {
            // Where the root record may land without the pages that it speaks of.
            0 => disk.cut_at_point("sync: after root record", random.below(25)),
            _ => disk.cut_after(random.below(operations[which])),
        }
        let _ = run(&disk, works[which]);
        let after = disk.crash(crash(&mut random));
        let before = after.operations();
        let report = verify_medium(after.clone(), &key(), &VerifyOptions::new().threads(1));
        assert_eq!(after.operations(), before, "seed {seed}: verify wrote");
        let opened = builder().resume_rotation(false).open_on(after.clone(), &key());
        let report = match (report, opened) {
            (Ok(report), Ok(db)) => {
                assert!(report.is_sound(), "seed {seed}: {report}");
                let recovery = db.recovery();
                assert_eq!(report.sync, Some(recovery.sync), "seed {seed}: {report}");
                // What redb's repair is forgiven there, it is forgiven here.
                assert_eq!(report.trees, Trees::Sound, "seed {seed}: {report}");
                assert_eq!(report.closed, recovery.clean, "seed {seed}: {report}");
                assert_eq!(report.pages.in_journal, recovery.journaled_pages, "seed {seed}");
                torn += recovery.torn_pages;
                content(&*db).unwrap();
                db.close().unwrap();
                report
            }
            // A creation that was cut off.
            (Err(OpenError::HeaderLost | OpenError::Empty), Err(_)) => continue,
            (report, opened) => panic!("seed {seed}: {report:?} {opened:?}"),
        };
        seen += 1;
        journaled += report.pages.in_journal;
        leftovers += report.counts.leftover;
        spotless += u64::from(report.is_spotless());
        assert_eq!(report.counts.spare, 0, "seed {seed}: {report}");
        let later = verify_on(after);
        let unused = |finding: &strongroom::Finding| finding.flaw == Flaw::Unused;
        if works[which].quick_repair || works[which].two_phase {
            // No walk told what is free: debris of pages that an earlier sync wrote stays.
            assert!(later.findings.iter().all(unused), "seed {seed}: {later}");
            debris += later.counts.total();
        } else {
            assert!(later.is_spotless(), "seed {seed}: {later}");
        }
        assert!(later.findings.iter().all(|finding| finding.severity == Severity::Spare));
    }
    println!("figure: verify, crashed files = {seen}");
    println!("figure: verify, of them spotless = {spotless}");
    println!("figure: verify, leftovers of crashes = {leftovers}");
    println!("figure: verify, pages in a rotation's journal = {journaled}");
    println!("figure: verify, torn pages that redb's repair was given as zeros = {torn}");
    println!("figure: verify, debris that stays after an open = {debris}");
    assert!(seen > 100 && leftovers > 100 && torn > 0);
}
