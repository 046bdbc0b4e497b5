//! Bytes that authenticate and mean nothing, by somebody who has the key: verify says so. Neither
//! a panic nor a hang, and where redb panics, that is caught.

use strongroom::medium::MemoryMedium;
use strongroom::redb::StorageBackend;
use strongroom::testkit::{Insider, SeededRandom};
use strongroom::{
    CopyId, EncryptedBackend, GroupNo, Severity, Trees, VerifyOptions, Where, verify_medium,
};

use crate::many;
use crate::subject::{PAGE, closed_file, history, key};

#[test]
fn root_records_and_tag_pages_sealed_anew_never_panic() {
    let unclean = history(false);
    let files = [closed_file(), unclean.image(unclean.last())];
    let (mut told, mut refused) = (0, 0);
    for seed in 0..many(400) {
        let mut random = SeededRandom::new(seed);
        let mut file = files[(seed % 2) as usize].clone();
        let insider = Insider::new(&file, &key()).unwrap();
        for _ in 0..random.between(1, 3) {
            let copy = CopyId::BOTH[random.below(2) as usize];
            let (at, len) = (random.below(4064) as usize, random.between(1, 8) as usize);
            // Half of the time among the fields that say how large the file is.
            let at = if random.chance(0.5) { at % 200 } else { at };
            let mut bytes = vec![0; len];
            random.fill(&mut bytes);
            let edit = |body: &mut [u8]| {
                let end = (at + len).min(body.len());
                body[at..end].copy_from_slice(&bytes[..end - at]);
            };
            match random.below(2) {
                0 => insider.edit_root(&mut file, copy, edit),
                _ => insider.edit_tag_page(&mut file, GroupNo(random.below(5)), copy, edit),
            };
        }
        let medium = MemoryMedium::from_bytes(file);
        match verify_medium(medium, &key(), &VerifyOptions::new().threads(1)) {
            Ok(report) => told += u64::from(report.counts.total() > 0),
            Err(_) => refused += 1,
        }
    }
    println!("figure: verify, insiders' files with findings = {told}");
    println!("figure: verify, insiders' files refused = {refused}");
    assert!(told > 100);
}

#[test]
fn authentic_pages_that_make_no_sense_are_called_inconsistent_trees() {
    let original = closed_file();
    let (mut sound, mut inconsistent, mut panicked) = (0, 0, 0);
    for seed in 0..many(150) {
        let mut random = SeededRandom::new(seed);
        let medium = MemoryMedium::from_bytes(original.clone());
        let backend = EncryptedBackend::open_on(medium.clone(), &key()).unwrap();
        let pages = backend.len().unwrap() / PAGE as u64;
        for _ in 0..random.between(1, 4) {
            let page = random.between(1, pages - 1);
            let mut bytes = vec![0; PAGE];
            backend.read(page * PAGE as u64, &mut bytes).unwrap();
            match random.below(3) {
                0 => bytes.fill(0),
                1 => random.fill(&mut bytes),
                _ => bytes[random.below(64) as usize] ^= 1 << random.below(8),
            }
            backend.write(page * PAGE as u64, &bytes).unwrap();
        }
        backend.sync_data().unwrap();
        backend.close().unwrap();
        drop(backend);
        let report = verify_medium(medium, &key(), &VerifyOptions::new().threads(1)).unwrap();
        assert_eq!((report.pages.bad, report.counts.spare), (0, 0), "{report}");
        let at = report.findings.first().map(|finding| (finding.severity, finding.at));
        match &report.trees {
            Trees::Sound => {
                assert!(report.is_spotless());
                sound += 1;
                continue;
            }
            Trees::Inconsistent(_) => inconsistent += 1,
            Trees::Panicked(_) => panicked += 1,
            other => panic!("{other}"),
        }
        assert_eq!(at, Some((Severity::Damage, Where::Trees)), "{report}");
    }
    println!("figure: verify, senseless pages that redb does not use = {sound}");
    println!("figure: verify, inconsistent trees = {inconsistent}");
    println!("figure: verify, panics of redb's caught = {panicked}");
    assert!(sound > 0 && inconsistent > 0);
}
