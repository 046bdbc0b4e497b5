//! A TPM's counter as an anchor: what it does by itself, and what a file that is bound to it gains.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use strongroom::providers::tpm::{TpmCounter, TpmCounterAnchor};
use strongroom::testkit::{Crash, CrashMedium};
use strongroom::{Anchor, AnchorError, AnchorFault, AnchorPolicy, Builder, Database, OpenError};

use super::slots::{builder, recovery, right, value, write};
use super::swtpm::Swtpm;
use super::wire::{At, Wire};

pub const INDEX: u32 = 0x0150_0100;
/// It ends in zeros, which a TPM doesn't keep.
pub const AUTH: [u8; 32] = {
    let mut auth = [7; 32];
    (auth[30], auth[31]) = (0, 0);
    auth
};

pub fn counter(tpm: &Swtpm) -> TpmCounter {
    TpmCounter::new(tpm.tcti(), INDEX, &AUTH).unwrap()
}

fn anchored(anchor: &TpmCounterAnchor) -> Builder {
    let mut anchored = builder();
    anchored.anchor(Arc::new(anchor.clone()));
    anchored
}

/// A file that counts each commit, of value 1.
fn bound(anchor: &TpmCounterAnchor) -> CrashMedium {
    let medium = CrashMedium::new(1);
    let db = builder().create_on(medium.clone(), &recovery()).unwrap();
    write(&db, 1);
    let policy = AnchorPolicy::every_commit();
    db.admin(&recovery()).unwrap().bind_anchor(Arc::new(anchor.clone()), policy).unwrap();
    db.close().unwrap();
    medium
}

fn open(anchor: &TpmCounterAnchor, image: &[u8]) -> Result<Database, AnchorError> {
    let medium = CrashMedium::from_image(1, image.to_vec());
    anchored(anchor).open_on(medium, &recovery()).map_err(|error| match error {
        OpenError::Anchor(error) => error,
        other => panic!("{other:?}"),
    })
}

fn rolled_back(anchor: &TpmCounterAnchor, image: &[u8]) {
    match open(anchor, image).map(drop) {
        Err(AnchorError::RolledBack { found, expected }) => assert!(found < expected),
        other => panic!("{other:?}"),
    }
}

pub fn a_counter_counts_by_one_and_never_down() {
    let tpm = Swtpm::new();
    let place = counter(&tpm);
    let missing = place.open().map(drop).unwrap_err();
    assert!(matches!(&missing, AnchorFault::Damaged(why) if why.contains("cleared")), "{missing}");
    let anchor = place.create().unwrap();
    let first = anchor.read().unwrap();
    assert!(first > 0);
    for wrong in [0, first, first + 2, u64::MAX] {
        let expected = AnchorFault::OutOfStep { found: first, asked: wrong };
        assert_eq!(anchor.advance(wrong), Err(expected));
    }
    assert_eq!(anchor.read(), Ok(first), "nothing was changed");
    for to in first + 1..first + 6 {
        anchor.advance(to).unwrap();
        // Durable before it returns.
        tpm.cut();
        assert!(matches!(anchor.read(), Err(AnchorFault::Unreachable(_))));
        tpm.boot();
        assert_eq!(anchor.read(), Ok(to));
    }
    let opened = place.open().unwrap();
    assert_eq!((opened.identity(), opened.read()), (anchor.identity(), anchor.read()));
    let again = place.create().map(drop).unwrap_err();
    assert!(matches!(&again, AnchorFault::Denied(why) if why.contains("already")), "{again}");
}

pub fn only_the_authorisation_value_counts_and_it_locks_nobody_out() {
    let tpm = Swtpm::new();
    let anchor = counter(&tpm).create().unwrap();
    let first = anchor.read().unwrap();
    for _ in 0..10 {
        let wrong = TpmCounter::new(tpm.tcti(), INDEX, &[8; 32]).unwrap().open().map(drop);
        let error = wrong.unwrap_err();
        assert!(matches!(&error, AnchorFault::Denied(why) if why.contains("value")), "{error}");
    }
    assert_eq!(right(&tpm).probe().unwrap().lockout.failed, 0);
    anchor.advance(first + 1).unwrap();
    // An owner's value is wanted for making and removing only.
    tpm.own(b"the owner's");
    anchor.advance(first + 2).unwrap();
    let error = counter(&tpm).remove().unwrap_err();
    assert!(matches!(&error, AnchorFault::Denied(why) if why.contains("owner_auth")), "{error}");
    counter(&tpm).owner_auth("the owner's").unwrap().remove().unwrap();
    // Another program's index is left alone: 8 bytes, plain, for owner and authorisation.
    let public = [0, 14, 1, 0x50, 1, 1, 0, 0x0B, 0, 6, 0, 6, 0, 0, 0, 8];
    let other = TpmCounter::new(tpm.tcti(), INDEX + 1, &AUTH).unwrap();
    tpm.own_no_more(b"the owner's");
    tpm.nv_define(&AUTH, &public);
    for error in [
        other.open().map(drop).unwrap_err(),
        other.create().map(drop).unwrap_err(),
        other.remove().unwrap_err(),
    ] {
        assert!(matches!(&error, AnchorFault::Denied(why) if why.contains("another program's")));
    }
    assert_eq!(tpm.nv_public(INDEX + 1), public);
    let no_index = TpmCounter::new(tpm.tcti(), 0x8100_0000, &AUTH);
    assert!(matches!(no_index, Err(AnchorFault::Denied(_))));
}

pub fn a_counter_that_is_made_anew_is_another_one_and_above_all_that_were() {
    let tpm = Swtpm::new();
    let anchor = counter(&tpm).create().unwrap();
    let first = anchor.read().unwrap();
    for to in first + 1..first + 6 {
        anchor.advance(to).unwrap();
    }
    counter(&tpm).remove().unwrap();
    counter(&tpm).remove().unwrap();
    assert!(matches!(anchor.read(), Err(AnchorFault::Damaged(_))));
    let anew = counter(&tpm).create().unwrap();
    assert_ne!(anew.identity(), anchor.identity());
    let above = anew.read().unwrap();
    println!("figure: counter at {}, removed and made anew = {above}", first + 5);
    assert!(above > first + 5);
    let error = anchor.read().unwrap_err();
    assert!(matches!(&error, AnchorFault::Damaged(why) if why.contains("another counter")));
    // An attacker who owns the TPM copies the public area, and so the name. He gains nothing: it
    // is above as well.
    let mut public = tpm.nv_public(INDEX);
    assert_eq!(public[8] & 0x20, 0x20, "written");
    public[8] &= !0x20;
    tpm.nv_undefine(INDEX);
    tpm.nv_define(&AUTH, &public);
    let cut_off = counter(&tpm).open().map(drop).unwrap_err();
    assert!(matches!(&cut_off, AnchorFault::Damaged(why) if why.contains("create it again")));
    let same_name = counter(&tpm).create().unwrap();
    assert_eq!(same_name.identity(), anew.identity());
    assert!(anew.read().unwrap() > above);
}

pub fn a_whole_file_that_is_put_back_is_refused() {
    let tpm = Swtpm::new();
    let anchor = counter(&tpm).create().unwrap();
    let medium = bound(&anchor);
    let snapshot = (medium.image(), tpm.state());
    let mut older = vec![medium.image()];
    let db = anchored(&anchor).open_on(medium.clone(), &recovery()).unwrap();
    for number in 2..12 {
        write(&db, number);
        older.push(medium.image());
    }
    db.close().unwrap();
    let newest = medium.image();
    for image in &older {
        rolled_back(&anchor, image);
    }
    println!("figure: whole files put back, refused by the TPM's counter = {}", older.len());
    let db = open(&anchor, &newest).unwrap();
    assert_eq!(value(&db), 11);
    drop(db);
    // By a process that starts now, too.
    rolled_back(&counter(&tpm).open().unwrap(), older.last().unwrap());
    // The TPM alone is put back: noticed. Both together, as a virtual machine's snapshot does:
    // nobody can notice.
    tpm.put_back(&snapshot.1);
    let alone = open(&anchor, &newest).map(drop).unwrap_err();
    assert!(matches!(alone, AnchorError::AnchorReset { .. }), "{alone:?}");
    assert_eq!(value(&open(&anchor, &snapshot.0).unwrap()), 1);
}

pub fn a_cleared_tpm_is_told_and_the_file_can_be_taken_with_a_new_counter() {
    let tpm = Swtpm::new();
    let anchor = counter(&tpm).create().unwrap();
    let medium = bound(&anchor);
    let was = anchor.read().unwrap();
    tpm.clear();
    let error = open(&anchor, &medium.image()).map(drop).unwrap_err();
    assert!(matches!(&error, AnchorError::Fault(AnchorFault::Damaged(_))), "{error:?}");
    let message = error.to_string();
    assert!(message.contains("cleared") && message.contains("accept_rollback"), "{message}");
    let anew = counter(&tpm).create().unwrap();
    println!("figure: counter at {was}, TPM cleared, made anew = {}", anew.read().unwrap());
    assert!(anew.read().unwrap() > was, "a clear doesn't turn it back");
    let other = open(&anew, &medium.image()).map(drop).unwrap_err();
    assert!(matches!(other, AnchorError::WrongAnchor), "{other:?}");
    let key = recovery();
    anchored(&anew).accept_rollback_on(medium.clone(), &key, &key).unwrap();
    let db = anchored(&anew).open_on(medium, &key).unwrap();
    assert_eq!(value(&db), 1);
    db.close().unwrap();
}

pub fn a_tpm_that_restarts_in_use_costs_no_commit() {
    let tpm = Swtpm::new();
    let anchor = counter(&tpm).create().unwrap();
    let medium = bound(&anchor);
    let db = anchored(&anchor).open_on(medium.clone(), &recovery()).unwrap();
    tpm.cut();
    write(&db, 2);
    let status = db.anchor_status().unwrap();
    assert!(matches!(status.fault, Some(AnchorFault::Unreachable(_))), "{status:?}");
    let behind = medium.image();
    tpm.boot();
    write(&db, 3);
    db.close().unwrap();
    assert_eq!(value(&open(&anchor, &medium.image()).unwrap()), 3);
    rolled_back(&anchor, &behind);
}

pub fn a_count_that_was_given_up_is_counted_once() {
    let tpm = Swtpm::new();
    let place = counter(&tpm).timeout(Duration::from_millis(400));
    let anchor = place.create().unwrap();
    let to = anchor.read().unwrap() + 1;
    tpm.freeze(true);
    let given_up = anchor.advance(to).unwrap_err();
    assert!(matches!(&given_up, AnchorFault::Unreachable(why) if why.contains("400 ms")));
    // It may still arrive: nobody counts before that is known, another anchor neither.
    let mut another = anchor.clone();
    for asked in [&anchor, &mut another] {
        let waiting = asked.advance(to).unwrap_err();
        assert!(matches!(&waiting, AnchorFault::Unreachable(why) if why.contains("on its way")));
    }
    tpm.freeze(false);
    let mut answer = anchor.advance(to);
    for _ in 0..100 {
        if !matches!(answer, Err(AnchorFault::Unreachable(_))) {
            break;
        }
        thread::sleep(Duration::from_millis(20));
        answer = anchor.advance(to);
    }
    assert_eq!(answer, Err(AnchorFault::OutOfStep { found: to, asked: to }), "it had arrived");
    assert_eq!(anchor.read(), Ok(to), "once");
}

/// A counter that nobody asks once the machine is off.
#[derive(Debug)]
struct OffWith(TpmCounterAnchor, CrashMedium);

impl OffWith {
    fn power(&self) -> Result<(), AnchorFault> {
        match self.1.is_off() {
            true => Err(AnchorFault::Unreachable("the machine is off".to_owned())),
            false => Ok(()),
        }
    }
}

impl Anchor for OffWith {
    fn identity(&self) -> Result<Vec<u8>, AnchorFault> {
        self.power().and_then(|()| self.0.identity())
    }

    fn read(&self) -> Result<u64, AnchorFault> {
        self.power().and_then(|()| self.0.read())
    }

    fn advance(&self, to: u64) -> Result<(), AnchorFault> {
        self.power().and_then(|()| self.0.advance(to))
    }
}

/// Machine and TPM lose their power at the points between file and counter, and before and after
/// every command of a count.
pub fn a_cut_between_file_and_counter_is_healed() {
    let wire = Wire::to(Swtpm::patient());
    let place = TpmCounter::new(wire.tcti(), INDEX, &AUTH).unwrap();
    let anchor = place.create().unwrap();
    let mut medium = bound(&anchor);
    let db = anchored(&anchor).open_on(medium.clone(), &recovery()).unwrap();
    wire.plan(None);
    write(&db, 1);
    let commands = wire.commands();
    db.close().unwrap();
    let points = ["anchor: before advance", "anchor: after advance"];
    let points = points.map(|point| (Some(point), None));
    let each = (0..commands).flat_map(|nth| [At::Before(nth), At::After(nth)]);
    let (mut number, mut acknowledged) = (1, 0);
    for (point, at) in points.into_iter().chain(each.map(|at| (None, Some(at)))) {
        let mut off_with_it = builder();
        off_with_it.anchor(Arc::new(OffWith(anchor.clone(), medium.clone())));
        let db = off_with_it.open_on(medium.clone(), &recovery()).unwrap();
        let older = medium.image();
        if let Some(point) = point {
            medium.cut_at_point(point, 0);
        }
        wire.plan(at);
        number += 1;
        // The file is written first: it has the commit, whatever becomes of the count.
        write(&db, number);
        acknowledged += u32::from(db.anchor_status().unwrap().is_level());
        let after = medium.crash(Crash::Kill);
        wire.tpm.cut();
        drop(db);
        wire.plan(None);
        wire.tpm.boot();
        let db = anchored(&anchor).open_on(after.clone(), &recovery()).unwrap();
        assert_eq!(value(&db), number, "{point:?} {at:?}");
        assert!(db.anchor_status().unwrap().is_level(), "{point:?} {at:?}");
        rolled_back(&anchor, &older);
        db.close().unwrap();
        medium = after;
    }
    println!("figure: commands of one count = {commands}, cuts = {}", number - 1);
    println!("figure: cuts after which the count was acknowledged all the same = {acknowledged}");
    assert!(acknowledged < number - 1);
    opens_last(&anchor, &medium, number);
}

fn opens_last(anchor: &TpmCounterAnchor, medium: &CrashMedium, number: u32) {
    let db = anchored(anchor).open_on(medium.clone(), &recovery()).unwrap();
    assert_eq!(value(&db), number);
    db.close().unwrap();
}
