//! Power cuts at every write and sync, and at every named point, while a slot is made, changed or
//! removed: whatever the crash keeps, the recovery key opens the file, and the credential does
//! exactly where its slot is. Up to four kinds of crash a cut; `PROVIDER_CUTS=all` tries all 13.

use strongroom::testkit::{Crash, CrashMedium, Survival, Tearing};
use strongroom::{Database, KeyError, SlotId, SlotSpec};

use super::file::{builder, has, opens, recovery, refused, slots, with, without};
use super::world::{Answer, Case, When, World};

fn crashes(world: &dyn World) -> Vec<Crash> {
    if std::env::var("PROVIDER_CUTS").is_ok_and(|cuts| cuts == "all") {
        return Crash::kinds();
    }
    let keeps = [1.0, 0.0, 0.5].map(|part| {
        let survival = Survival::Each(part);
        Crash::PowerCut { tearing: Tearing::Sector512, survival }
    });
    keeps.into_iter().rev().chain([Crash::Kill]).take(world.crashes_per_cut()).collect()
}

#[derive(Clone, Copy, Debug)]
enum Cut {
    Operation(u64),
    Point(&'static str, u64),
}

/// Every place where the power can go while `work` is done on the open file.
fn cuts(image: &[u8], work: &dyn Fn(&Database) -> Result<(), KeyError>) -> Vec<Cut> {
    let medium = CrashMedium::from_image(1, image.to_vec());
    let db = builder().open_on(medium.clone(), &recovery()).unwrap();
    let (began, reached) = (medium.operations(), medium.points());
    work(&db).unwrap();
    let operations = (0..medium.operations() - began).map(Cut::Operation);
    let earlier = |point| reached.iter().find(|(name, _)| *name == point).map_or(0, |(_, n)| *n);
    let points = medium
        .points()
        .into_iter()
        .flat_map(|(name, times)| (0..times - earlier(name)).map(move |nth| Cut::Point(name, nth)));
    let all: Vec<_> = operations.chain(points).collect();
    assert!(all.len() > 6, "{all:?}");
    all
}

/// What a cut left, and whether the work had returned.
fn each_cut(
    world: &dyn World,
    image: &[u8],
    work: &dyn Fn(&Database) -> Result<(), KeyError>,
    mut judge: impl FnMut(CrashMedium, bool),
) -> usize {
    let (mut visited, mut seed) = (0, 0);
    for cut in cuts(image, work) {
        for crash in crashes(world) {
            seed += 1;
            let medium = CrashMedium::from_image(seed, image.to_vec());
            let db = builder().open_on(medium.clone(), &recovery()).unwrap();
            match cut {
                Cut::Operation(nth) => medium.cut_after(nth),
                Cut::Point(name, nth) => medium.cut_at_point(name, nth),
            }
            let done = work(&db).is_ok();
            assert!(medium.is_off(), "{cut:?} never came");
            let after = medium.crash(crash);
            drop(db);
            judge(after, done);
            visited += 1;
        }
    }
    visited
}

/// The slots of a file that was crashed. Always: the recovery key opens it, and row 1 is there.
fn survived(medium: &CrashMedium) -> Vec<u32> {
    let db = builder().open_on(medium.clone(), &recovery()).unwrap();
    assert!(has(&db, 1));
    let slots = slots(&db);
    db.close().unwrap();
    slots
}

pub fn enrolment(world: &dyn World) -> Case<String> {
    let image = without(1).image();
    let right = world.credential();
    let add = |db: &Database| {
        db.admin(&recovery())?.add(&SlotSpec::data("under test"), &*right).map(drop)
    };
    let (mut made, mut not_made) = (0, 0);
    let added = each_cut(world, &image, &add, |medium, done| match survived(&medium)[..] {
        [1, 2] => {
            assert_eq!(opens(&medium, &*right), 2);
            made += 1;
        }
        [1] => {
            assert!(!done, "it had returned, and is gone");
            not_made += 1;
            // At every tenth the second try too.
            if not_made % 10 == 1 {
                add(&builder().open_on(medium.clone(), &recovery()).unwrap()).unwrap();
                assert_eq!(opens(&medium, &*right), 2);
            }
        }
        ref other => panic!("slots {other:?}"),
    });
    // In another one's place: the old one or the new one.
    let old = strongroom::RawKey::new([9; 32]);
    let image = with(1, &[&old]).image();
    let replace = |db: &Database| db.admin(&recovery())?.replace(SlotId(2), &*right).map(drop);
    let replaced = each_cut(world, &image, &replace, |medium, done| match survived(&medium)[..] {
        [1, 3] => {
            assert_eq!(opens(&medium, &*right), 3);
            refused(&medium, &old, &[Answer::WrongKey]);
            made += 1;
        }
        [1, 2] => {
            assert!(!done, "it had returned, and is gone");
            assert_eq!(opens(&medium, &old), 2);
            not_made += 1;
        }
        ref other => panic!("slots {other:?}"),
    });
    assert!(made > 0 && not_made > 0, "cuts before and behind the point of no return");
    Ok(format!("{} cuts: {made} times the new slot, {not_made} times the old", added + replaced))
}

pub fn effacement(world: &dyn World) -> Case<String> {
    let right = world.credential();
    let image = with(1, &[&*right]).image();
    let remove = |db: &Database| db.admin(&recovery())?.remove(SlotId(2));
    let (mut there, mut gone, mut last_there) = (0, 0, None);
    // The slot goes first, and the key only once that has returned: until then all opens.
    let visited = each_cut(world, &image, &remove, |medium, done| match survived(&medium)[..] {
        [1, 2] => {
            assert!(!done, "it had returned, and is back");
            assert_eq!(opens(&medium, &*right), 2);
            there += 1;
            last_there = Some(medium);
        }
        [1] => {
            refused(&medium, &*right, &[Answer::WrongKey]);
            gone += 1;
        }
        ref other => panic!("slots {other:?}"),
    });
    assert!(there > 0 && gone > 0, "cuts before and behind the point of no return");
    // The key is destroyed, and the power goes before anybody notes it: again does no harm. And in
    // the wrong order, key first, the file still opens by what was promised, and the slot goes.
    let last_there = last_there.unwrap();
    world.destroy()?;
    world.destroy()?;
    refused(&last_there, &*right, world.expect(When::Destroyed));
    let removed = each_cut(world, &image, &remove, |medium, done| {
        let left = survived(&medium);
        assert!(left == [1] || !done && left == [1, 2], "{left:?}");
        let db = builder().open_on(medium.clone(), &recovery()).unwrap();
        if left == [1, 2] {
            remove(&db).unwrap();
        }
        assert_eq!(slots(&db), [1]);
        db.close().unwrap();
    });
    Ok(format!("{} cuts: {there} times still there, {gone} times gone", visited + removed))
}
