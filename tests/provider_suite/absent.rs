//! The cases with the backend out of reach, slow, or not needed.

use std::time::{Duration, Instant};

use strongroom::{Database, KeyError, SlotId, SlotSpec};

use super::file::{
    builder, enrolled, has, opens, recovery, refused, refused_by, said, slots, with, write,
};
use super::world::{Answer, Case, When, World};

pub fn gone_at_open(world: &dyn World) -> Case<String> {
    let (medium, right) = enrolled(world);
    world.stop()?;
    let began = Instant::now();
    let answer = refused(&medium, &*right, world.expect(When::Gone));
    let waited = began.elapsed();
    assert_eq!(opens(&medium, &recovery()), 1, "the other slot opens meanwhile");
    world.start();
    assert_eq!(opens(&medium, &*world.credential()), 2);
    assert_eq!(opens(&medium, &*right), 2, "the same object, as soon as it is back");
    Ok(format!("{} in {} ms", said(world, When::Gone, answer), waited.as_millis()))
}

pub fn gone_in_use(world: &dyn World) -> Case<String> {
    let (medium, right) = enrolled(world);
    let db = builder().open_on(medium.clone(), &*right).unwrap();
    world.stop()?;
    write(&db, 2);
    db.rotate().unwrap().wait().unwrap();
    write(&db, 3);
    // What needs it fails and changes nothing; what doesn't goes on.
    let mut admin = db.admin(&recovery()).unwrap();
    for error in [
        admin.add(&SlotSpec::data("another"), &*right).unwrap_err(),
        admin.replace(SlotId(2), &*right).unwrap_err(),
    ] {
        let KeyError::Open(error) = &error else { panic!("{error:?}") };
        let answer = Answer::of(error);
        assert!(answer.is_some_and(|answer| world.expect(When::Gone).contains(&answer)));
    }
    assert_eq!(slots(&db), [1, 2]);
    admin.relabel(SlotId(2), "the token").unwrap();
    drop(admin);
    db.close().unwrap();
    world.start();
    let db = builder().open_on(medium, &*right).unwrap();
    assert!(has(&db, 2) && has(&db, 3));
    Ok("reads, writes, rotates, relabels, closes; a new slot is refused".to_owned())
}

pub fn slow(world: &dyn World) -> Case<String> {
    let (medium, right) = enrolled(world);
    let mut impatient = builder();
    impatient.provider_timeout(Duration::from_millis(300));
    world.slow(Duration::from_secs(4))?;
    let began = Instant::now();
    refused_by(&impatient, &medium, &*right, &[Answer::TimedOut]);
    let waited = began.elapsed();
    assert!(waited < Duration::from_secs(3), "waited {waited:?}");
    assert_eq!(opens(&medium, &recovery()), 1, "the file's lock was given back");
    world.slow(Duration::ZERO).unwrap();
    assert_eq!(opens(&medium, &*right), 2, "slow is not gone");
    Ok(format!("given up after {} ms of 4 s, with a limit of 300", waited.as_millis()))
}

pub fn root_key_rotation(world: &dyn World) -> Case<String> {
    let right = world.credential();
    let other = strongroom::RawKey::new([9; 32]);
    let medium = with(1, &[&*right, &other]);
    // Whether it can be taken away or not, nobody may ask for it.
    let stopped = world.stop().is_ok();
    let change = |what: &dyn Fn(&Database)| {
        let db = builder().open_on(medium.clone(), &recovery()).unwrap();
        what(&db);
        db.close().unwrap();
    };
    change(&|db| db.admin(&recovery()).unwrap().rewrap_root_key().unwrap());
    change(&|db| assert!(db.rotate_anew().unwrap().wait().is_ok()));
    change(&|db| assert!(db.admin(&recovery()).unwrap().revoke_data(SlotId(3)).is_ok()));
    refused(&medium, &other, &[Answer::WrongKey]);
    if stopped {
        world.start();
    }
    assert_eq!(opens(&medium, &*right), 2);
    assert_eq!(opens(&medium, &*world.credential()), 2);
    Ok(format!("backend {}", if stopped { "stopped" } else { "not asked" }))
}
