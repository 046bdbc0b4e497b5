//! The power goes before and after every command that the provider gives the TPM: the file always
//! opens by what was promised, and what was cut off can be done again.

use std::sync::Arc;

use strongroom::providers::tpm::{TpmCounter, TpmProvider};
use strongroom::testkit::{Crash, CrashMedium};
use strongroom::{Anchor, AnchorFault, ProviderError, SlotId, SlotSpec};

use super::counter::{AUTH, INDEX};
use super::slots::{KEY, builder, file_with, opens, provider, recovery, value, write};
use super::swtpm::Swtpm;
use super::wire::{At, Wire};

/// Cuts before and after each command of `work`, and judges what is left once the TPM is on again;
/// `work` says whether it was done, and gives the same commands each time.
fn each_cut(
    what: &str,
    wire: &Wire,
    work: &mut dyn FnMut() -> bool,
    judge: &mut dyn FnMut(At, bool),
) {
    let (mut nth, mut cuts, mut done_all_the_same) = (0, 0, 0);
    loop {
        for at in [At::Before(nth), At::After(nth)] {
            wire.plan(Some(at));
            let done = work();
            let cut = wire.commands() > nth;
            wire.plan(None);
            if !cut {
                assert!(done, "{what}: it was not cut, and failed");
                assert!(cuts >= 8, "{what}: {cuts} cuts");
                judge(at, done);
                println!("figure: {what}: commands = {nth}, cuts = {cuts}");
                println!("figure: {what}: done in spite of the cut = {done_all_the_same}");
                return;
            }
            wire.tpm.cut();
            wire.tpm.boot();
            judge(at, done);
            cuts += 1;
            done_all_the_same += u32::from(done);
        }
        nth += 1;
    }
}

fn slots(medium: &CrashMedium) -> Vec<SlotId> {
    let db = builder().open_on(medium.clone(), &recovery()).unwrap();
    assert_eq!(value(&db), 1);
    let slots = db.key_status().slots.iter().map(|slot| slot.id).collect();
    db.close().unwrap();
    slots
}

pub fn enrolment_cut_at_every_command() {
    let wire = Wire::to(Swtpm::patient());
    let tpm = Arc::new(provider(wire.tcti(), "right").pcrs(&[16]));
    let image = {
        let medium = CrashMedium::new(1);
        let db = builder().create_on(medium.clone(), &recovery()).unwrap();
        write(&db, 1);
        db.close().unwrap();
        medium.image()
    };
    let mut after = CrashMedium::new(0);
    let left = std::cell::RefCell::new(&mut after);
    let add = |medium: &CrashMedium| {
        let db = builder().open_on(medium.clone(), &recovery()).unwrap();
        let done = db.admin(&recovery()).unwrap().add(&SlotSpec::data("tpm"), &tpm).is_ok();
        (db, done)
    };
    let mut work = || {
        let medium = CrashMedium::from_image(1, image.clone());
        let (db, done) = add(&medium);
        **left.borrow_mut() = medium.crash(Crash::Kill);
        drop(db);
        done
    };
    let mut second_tries = 0;
    let mut judge = |at: At, done: bool| {
        let medium = left.borrow().clone();
        match slots(&medium)[..] {
            [SlotId(1), SlotId(2)] => opens(&medium, &tpm),
            [SlotId(1)] => assert!(!done, "{at:?}: it had returned, and is gone"),
            ref other => panic!("{at:?}: {other:?}"),
        }
        if let (false, At::After(nth)) = (done, at)
            && nth % 10 == 0
        {
            second_tries += 1;
            assert!(add(&medium).1, "the second try");
            opens(&medium, &tpm);
        }
    };
    each_cut("enrolment with PCRs", &wire, &mut work, &mut judge);
    assert!(second_tries > 0);
}

pub fn opening_cut_at_every_command() {
    let wire = Wire::to(Swtpm::patient());
    let tpm = Arc::new(provider(wire.tcti(), "right").pcrs(&[16]));
    let medium = file_with(&tpm);
    let mut work = || match builder().open_on(medium.clone(), &tpm) {
        Ok(db) => {
            db.close().unwrap();
            true
        }
        Err(error) => {
            assert!(error.to_string().contains("can't be reached"), "{error}");
            false
        }
    };
    let mut judge = |_, _| {
        opens(&medium, &recovery());
        opens(&medium, &tpm);
    };
    each_cut("open with PCRs", &wire, &mut work, &mut judge);
}

pub fn a_key_cut_at_every_command_of_its_making_and_effacement() {
    let wire = Wire::to(Swtpm::patient());
    let keyed: Arc<TpmProvider> = Arc::new(provider(wire.tcti(), "right").key_at(KEY));
    let there = || match keyed.probe() {
        Ok(_) => true,
        Err(ProviderError::NoKey(_)) => false,
        Err(other) => panic!("{other}"),
    };
    let mut judge = |at: At, done: bool| {
        assert!(there() || !done, "{at:?}: it had returned, and is gone");
        if !there() {
            keyed.generate_key().unwrap();
        }
        keyed.efface().unwrap();
        assert!(!there());
    };
    each_cut("making a key", &wire, &mut || keyed.generate_key().is_ok(), &mut judge);

    keyed.generate_key().unwrap();
    let stolen = std::cell::RefCell::new(file_with(&keyed));
    // The slot has gone from the file before; here is a copy of it from then.
    let mut judge = |at: At, done: bool| {
        assert_eq!(slots(&stolen.borrow()), [SlotId(1), SlotId(2)]);
        assert!(!(there() && done), "{at:?}: it had returned, and is back");
        if there() {
            opens(&stolen.borrow(), &keyed);
        } else {
            let refused = builder().open_on(stolen.borrow().clone(), &keyed).map(drop);
            assert!(refused.unwrap_err().to_string().contains("no such key"));
            keyed.generate_key().unwrap();
            *stolen.borrow_mut() = file_with(&keyed);
        }
    };
    each_cut("effacement", &wire, &mut || keyed.efface().is_ok(), &mut judge);
}

pub fn a_counter_cut_at_every_command_of_its_making_and_removal() {
    let wire = Wire::to(Swtpm::patient());
    let place = TpmCounter::new(wire.tcti(), INDEX, &AUTH).unwrap();
    let mut highest = 0;
    let mut judge = |at: At, done: bool| {
        // As the owner would, who doesn't know how far it got.
        let anchor = match place.create() {
            Err(AnchorFault::Denied(why)) if why.contains("already") => place.open(),
            created => {
                assert!(!done, "{at:?}: it had returned, and is gone");
                created
            }
        };
        let stands_at = anchor.unwrap().read().unwrap();
        assert!(stands_at > highest, "{at:?}: {stands_at} after {highest}");
        highest = stands_at;
        place.remove().unwrap();
    };
    each_cut("making a counter", &wire, &mut || place.create().is_ok(), &mut judge);
    let make = || drop(place.create().unwrap());
    make();
    let mut judge = |at: At, done: bool| match place.open() {
        Ok(_) => assert!(!done, "{at:?}: it had returned, and is back"),
        Err(AnchorFault::Damaged(_)) => make(),
        Err(other) => panic!("{at:?}: {other}"),
    };
    each_cut("removing a counter", &wire, &mut || place.remove().is_ok(), &mut judge);
}
