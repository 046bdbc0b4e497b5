//! The cases with the backend within reach: a slot is made and opens; everything that is not the
//! right credential for the right slot of the right file is refused, by a name of its own, and the
//! recovery key goes on opening the file.

use std::collections::BTreeMap;

use strongroom::testkit::CrashMedium;
use strongroom::{Builder, KeyError, SlotId, SlotSpec};

use super::file::{
    blob_of, builder, enrolled, forged, has, hinted, opens, put_blob, recovery, refused, said,
    slots, whole_slot, with, without, write,
};
use super::world::{Answer, Case, DoesNotApply, When, World};

pub fn enrol(world: &dyn World) -> Case<String> {
    let medium = without(1);
    let db = builder().open_on(medium.clone(), &recovery()).unwrap();
    let right = world.credential();
    let mut admin = db.admin(&recovery()).unwrap();
    let slot = admin.add(&SlotSpec::data("under test"), &*right).unwrap();
    let found = admin.slots().into_iter().find(|info| info.id == slot).unwrap();
    assert_eq!((slot, found.label.as_str()), (SlotId(2), "under test"));
    // And in the place of another one.
    let replaced = admin.replace(slot, &*right).unwrap();
    drop(admin);
    db.close().unwrap();
    assert_eq!(opens(&medium, &*right), replaced.0);
    // A new file too.
    let medium = CrashMedium::new(2);
    let db = builder().create_on(medium.clone(), &*right).unwrap();
    write(&db, 1);
    db.close().unwrap();
    assert_eq!(opens(&medium, &*right), 1);
    let kept = blob_of(&medium.image(), 0).len();
    Ok(format!("added, replaced, a new file; {kept} bytes in the slot"))
}

pub fn open(world: &dyn World) -> Case<String> {
    let (medium, right) = enrolled(world);
    for _ in 0..3 {
        assert_eq!(opens(&medium, &*right), 2, "the same object, again");
    }
    let another = world.credential();
    assert_eq!(opens(&medium, &*another), 2, "a new object");
    let reader = builder().open_read_only_on(medium.clone(), &*another).unwrap();
    assert!(reader.key_status().slots.len() == 2);
    drop(reader);
    let db = builder().open_on(medium.clone(), &*another).unwrap();
    write(&db, 2);
    db.close().unwrap();
    let db = builder().open_on(medium, &*right).unwrap();
    assert!(has(&db, 2));
    Ok("writable, read-only, by a new object".to_owned())
}

pub fn wrong_credential(world: &dyn World) -> Case<String> {
    let (medium, right) = enrolled(world);
    let wrong = world.wrong()?;
    let answer = refused(&medium, &*wrong, world.expect(When::WrongCredential));
    // Nothing is made with it either.
    let db = builder().open_on(medium.clone(), &recovery()).unwrap();
    if answer != Answer::WrongKey && !world.wrong_enrols() {
        let mut admin = db.admin(&recovery()).unwrap();
        let error = admin.add(&SlotSpec::data("wrong"), &*wrong).unwrap_err();
        assert!(matches!(&error, KeyError::Open(error) if Answer::of(error) == Some(answer)));
    }
    assert_eq!(slots(&db), [1, 2]);
    db.close().unwrap();
    assert_eq!(opens(&medium, &*right), 2);
    Ok(said(world, When::WrongCredential, answer))
}

pub fn another_key(world: &dyn World) -> Case<String> {
    let (medium, right) = enrolled(world);
    let other = world.other_key();
    let answer = refused(&medium, &*other, world.expect(When::OtherKey));
    // Two slots of one kind: each key finds its own.
    let both = with(2, &[&*other, &*right]);
    assert_eq!((opens(&both, &*other), opens(&both, &*right)), (2, 3));
    Ok(format!("{answer:?}; two keys side by side find their slots"))
}

pub fn replaced_key(world: &dyn World) -> Case<String> {
    let (medium, right) = enrolled(world);
    world.replace_key()?;
    let answer = refused(&medium, &*world.credential(), world.expect(When::ReplacedKey));
    refused(&medium, &*right, world.expect(When::ReplacedKey));
    assert_eq!(opens(&medium, &recovery()), 1);
    // The way out: a slot for the new one.
    let db = builder().open_on(medium.clone(), &recovery()).unwrap();
    db.admin(&recovery()).unwrap().replace(SlotId(2), &*world.credential()).unwrap();
    db.close().unwrap();
    assert_eq!(opens(&medium, &*world.credential()), 3);
    Ok(said(world, When::ReplacedKey, answer))
}

pub fn tampered_blob(world: &dyn World) -> Case<String> {
    let (medium, right) = enrolled(world);
    let image = medium.image();
    let blob = blob_of(&image, 1);
    if blob.is_empty() {
        return Err(DoesNotApply("such a slot stores no blob"));
    }
    let mut answers = BTreeMap::new();
    let mut tried = 0;
    let mut try_it = |forged_blob: &[u8]| {
        let forged = forged(&image, 1, |slot| put_blob(slot, forged_blob));
        let forged = CrashMedium::from_image(1, forged);
        let answer = refused(&forged, &*right, world.expect(When::Tampered));
        *answers.entry(answer).or_insert(0) += 1;
        tried += 1;
    };
    for at in world.tampered_bytes(blob.len()) {
        let mut forged = blob.clone();
        forged[at] ^= 1;
        try_it(&forged);
    }
    // Cut short, grown, and nothing but the provider's name.
    try_it(&blob[..blob.len() - 1]);
    try_it(&[&blob[..], &[0]].concat());
    try_it(&blob[..1 + usize::from(blob[0])]);
    assert_eq!(opens(&medium, &*right), 2, "and it was not locked out by all that");
    Ok(format!("{tried} of a blob of {} bytes, 0 accepted: {answers:?}", blob.len()))
}

pub fn blob_of_another_slot(world: &dyn World) -> Case<String> {
    let right = world.credential();
    let medium = with(1, &[&*right, &*right]);
    let image = medium.image();
    let blobs = [1, 2].map(|nth| blob_of(&image, nth));
    if blobs[0].is_empty() {
        return Err(DoesNotApply("such a slot stores no blob"));
    }
    assert_ne!(blobs[0], blobs[1]);
    let swapped = forged(&image, 1, |slot| put_blob(slot, &blobs[1]));
    let swapped = forged(&swapped, 2, |slot| put_blob(slot, &blobs[0]));
    let swapped = CrashMedium::from_image(1, swapped);
    let answer = refused(&swapped, &*right, world.expect(When::Moved));
    for slot in [2, 3] {
        let mut by_slot: Builder = builder();
        by_slot.hint(hinted(slot));
        super::file::refused_by(&by_slot, &swapped, &*right, world.expect(When::Moved));
    }
    Ok(said(world, When::Moved, answer))
}

pub fn blob_of_another_file(world: &dyn World) -> Case<String> {
    let right = world.credential();
    let [image, other] = [1, 2].map(|seed| with(seed, &[&*right]).image());
    // The whole slot: whatever the kind, it is bound to its file.
    let slot_of_other = whole_slot(&other, 1);
    let moved = forged(&image, 1, |slot| slot.copy_from_slice(&slot_of_other));
    let by_slot = refused(
        &CrashMedium::from_image(1, moved),
        &*right,
        &[world.expect(When::Moved), &[Answer::WrongKey]].concat(),
    );
    let blob = blob_of(&other, 1);
    if blob.is_empty() {
        return Ok(format!("the whole slot: {by_slot:?}; it stores no blob"));
    }
    let moved = forged(&image, 1, |slot| put_blob(slot, &blob));
    let moved = CrashMedium::from_image(1, moved);
    let by_blob = refused(&moved, &*right, world.expect(When::Moved));
    Ok(format!("the whole slot: {by_slot:?}, its blob: {by_blob:?}"))
}

pub fn revoked_key(world: &dyn World) -> Case<String> {
    let (medium, right) = enrolled(world);
    let in_use = builder().open_on(medium.clone(), &*right).unwrap();
    world.revoke()?;
    // Who has the file open has the keys: a revocation is for the next open.
    write(&in_use, 2);
    in_use.close().unwrap();
    let answer = refused(&medium, &*right, world.expect(When::Revoked));
    refused(&medium, &*world.credential(), world.expect(When::Revoked));
    assert_eq!(opens(&medium, &recovery()), 1);
    Ok(said(world, When::Revoked, answer))
}

pub fn effacement(world: &dyn World) -> Case<String> {
    let (medium, right) = enrolled(world);
    let stolen = CrashMedium::from_image(1, medium.image());
    let backup = {
        let db = builder().open_on(medium.clone(), &recovery()).unwrap();
        let backup = db.header_backup().unwrap();
        db.admin(&recovery()).unwrap().remove(SlotId(2)).unwrap();
        db.close().unwrap();
        backup
    };
    refused(&medium, &*right, &[Answer::WrongKey]);
    // Removed from the file only: an old copy opens as before.
    assert_eq!(opens(&stolen, &*right), 2);
    world.destroy()?;
    let answer = refused(&stolen, &*right, world.expect(When::Destroyed));
    refused(&stolen, &*world.credential(), world.expect(When::Destroyed));
    refused(&medium, &*right, &[Answer::WrongKey]);
    assert_eq!((opens(&medium, &recovery()), opens(&stolen, &recovery())), (1, 1));
    // Neither does an old header that is put back help.
    let turn_back = strongroom::TurnBack::Allow;
    let restored = builder().restore_header_on(medium.clone(), &backup, &*right, turn_back);
    assert!(restored.is_err(), "the destroyed key vouches for nothing");
    world.destroy()?;
    Ok(format!("old copies of file and header: {answer:?}; the other slot opens"))
}
