//! Verify only reads: no write, no change of length, no sync; a shared lock; it says how far it
//! is, stops when told, and takes what the storage refuses for what it is.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use strongroom::medium::{LockKind, Medium, MemoryMedium};
use strongroom::{
    Flaw, OpenError, PageNo, RawKey, Severity, Trees, VerifyOptions, VerifyPhase, Where,
    verify_file, verify_medium,
};

use crate::subject::{PAGE, builder, closed_file, fill, history, key, verify_bytes};

/// Takes no write of any kind, and can't read some pages of the file.
#[derive(Debug)]
struct ReadOnly {
    memory: MemoryMedium,
    bad: Vec<u64>,
}

impl Medium for ReadOnly {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let pages = offset..offset + out.len() as u64;
        if self.bad.iter().any(|page| pages.contains(&(page * PAGE as u64))) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.memory.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, _data: &[u8]) -> io::Result<()> {
        panic!("verify writes at {offset}")
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        panic!("verify sets the length to {len}")
    }

    fn sync(&self) -> io::Result<()> {
        panic!("verify syncs")
    }

    fn try_lock(&self, kind: LockKind) -> io::Result<bool> {
        assert_eq!(kind, LockKind::Shared);
        self.memory.try_lock(kind)
    }

    fn unlock(&self) -> io::Result<()> {
        self.memory.unlock()
    }
}

fn read_only(file: Vec<u8>, bad: &[u64]) -> ReadOnly {
    ReadOnly { memory: MemoryMedium::from_bytes(file), bad: bad.to_vec() }
}

#[test]
fn nothing_is_written_whatever_state_the_file_is_in() {
    let mut files = vec![closed_file()];
    for history in [history(true), history(false)] {
        files.extend((3..history.len()).map(|state| history.image(state)));
    }
    let mut unclean = 0;
    for file in files {
        let report = verify_medium(read_only(file, &[]), &key(), &VerifyOptions::new()).unwrap();
        assert!(report.is_sound(), "{report}");
        unclean += u64::from(!report.closed);
        assert_eq!(report.trees, Trees::Sound, "{report}");
    }
    assert!(unclean > 10);
}

#[test]
fn what_the_storage_refuses_is_no_alteration() {
    let file = closed_file();
    // Header B, root B, tag page A of group 0, pages 3 and 4, the last page of the file.
    for (page, at) in [
        (9, Where::Header(strongroom::CopyId::B)),
        (17, Where::Root(strongroom::CopyId::B)),
        (25, Where::Page(PageNo(3))),
        (26, Where::Page(PageNo(4))),
    ] {
        let medium = read_only(file.clone(), &[page]);
        let report = verify_medium(medium, &key(), &VerifyOptions::new()).unwrap();
        let found = report.findings.iter().find(|found| found.at == at).unwrap();
        assert_eq!(found.flaw, Flaw::Unreadable(io::ErrorKind::TimedOut), "{report}");
        assert!(found.severity >= Severity::Spare);
    }
    // An open stops at a root record or header that can't be read.
    let report = verify_medium(read_only(file, &[17]), &key(), &VerifyOptions::new()).unwrap();
    assert!(!report.is_sound() && report.pages.bad == 0, "{report}");
}

#[test]
fn progress_is_told_and_may_stop_it() {
    let file = closed_file();
    let pages = verify_bytes(&file).groups * 126;
    let (told, last) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let options = VerifyOptions::new().threads(2).progress({
        let (told, last) = (Arc::clone(&told), Arc::clone(&last));
        move |at| {
            if at.phase == VerifyPhase::Pages {
                told.fetch_add(1, Ordering::Relaxed);
                last.fetch_max(at.done, Ordering::Relaxed);
                assert_eq!(at.total, pages);
            }
            ControlFlow::Continue(())
        }
    });
    let medium = MemoryMedium::from_bytes(file.clone());
    assert!(verify_medium(medium, &key(), &options).unwrap().is_spotless());
    assert_eq!((told.load(Ordering::Relaxed), last.load(Ordering::Relaxed)), (pages / 126, pages));

    for phase in [VerifyPhase::Pages, VerifyPhase::Trees] {
        let options = VerifyOptions::new().progress(move |at| match at.phase == phase {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        });
        let medium = MemoryMedium::from_bytes(file.clone());
        let report = verify_medium(medium, &key(), &options).unwrap();
        assert!(!report.complete && !report.is_spotless(), "{report}");
        assert!(matches!(report.trees, Trees::NotChecked(_)), "{report}");
        assert_eq!(report.counts.total(), 0);
        assert!(report.to_string().ends_with("stopped: nothing worse was found until then"));
    }
}

#[test]
fn a_file_is_shared_with_readers_and_refused_beside_a_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.room");
    let db = builder().create(&path, &key()).unwrap();
    fill(&db);
    let verified = || verify_file(&path, &key(), &VerifyOptions::new());
    assert!(matches!(verified(), Err(OpenError::AlreadyOpen)));
    db.close().unwrap();
    let reader = builder().open_read_only(&path, &key()).unwrap();
    let before = std::fs::metadata(&path).unwrap().modified().unwrap();
    let report = verified().unwrap();
    assert!(report.is_spotless(), "{report}");
    assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), before);
    let report = reader.verify(&VerifyOptions::new()).unwrap();
    assert!(report.is_spotless() && report.online, "{report}");
    drop(reader);
    // The lock is given back.
    builder().open(&path, &key()).unwrap().close().unwrap();

    let wrong = verify_file(&path, &RawKey::new([0; 32]), &VerifyOptions::new());
    assert!(matches!(wrong, Err(OpenError::WrongKey)));
    let missing = verify_file(folder.path().join("no"), &key(), &VerifyOptions::new());
    assert!(matches!(missing, Err(OpenError::NotFound(_))));
}
