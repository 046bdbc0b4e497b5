//! The file that every case is about: slot 1 is a recovery key's, an administrator's; slot 2 is the
//! credential's under test. On a medium in memory. And its bytes, for an attacker who knows the
//! format and makes the CRC right.

use std::time::Duration;

use strongroom::redb::{ReadableDatabase, TableDefinition};
use strongroom::testkit::CrashMedium;
use strongroom::{Builder, Credential, Database, OpenError, RawKey, SlotHint, SlotId, SlotSpec};

use super::world::{Answer, When, World};

const NOTES: TableDefinition<u32, u32> = TableDefinition::new("notes");
const COPY: usize = 32_768;
const SLOTS: usize = 2048;
const SLOT: usize = 2048;
const BLOB_LEN: usize = 256;
const BLOB: usize = 320;

pub fn recovery() -> RawKey {
    RawKey::new([1; 32])
}

pub fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.cache_size(64 << 10).provider_timeout(Duration::from_secs(20));
    builder
}

/// A file that only the recovery key opens, with row 1.
pub fn without(seed: u64) -> CrashMedium {
    let medium = CrashMedium::new(seed);
    let db = builder().create_on(medium.clone(), &recovery()).unwrap();
    write(&db, 1);
    db.close().unwrap();
    medium
}

/// A file with a slot 2 for each of these, in order.
pub fn with(seed: u64, credentials: &[&dyn Credential]) -> CrashMedium {
    let medium = without(seed);
    let db = builder().open_on(medium.clone(), &recovery()).unwrap();
    for (credential, label) in credentials.iter().zip(["one", "two", "three"]) {
        db.admin(&recovery()).unwrap().add(&SlotSpec::data(label), *credential).unwrap();
    }
    db.close().unwrap();
    medium
}

/// The file as the case begins, and the right credential.
pub fn enrolled(world: &dyn World) -> (CrashMedium, Box<dyn Credential>) {
    let right = world.credential();
    (with(1, &[&*right]), right)
}

pub fn write(db: &Database, row: u32) {
    let txn = db.begin_write().unwrap();
    txn.open_table(NOTES).unwrap().insert(row, row * 7).unwrap();
    txn.commit().unwrap();
}

pub fn has(db: &Database, row: u32) -> bool {
    let table = db.begin_read().unwrap().open_table(NOTES).unwrap();
    table.get(row).unwrap().map(|value| value.value()) == Some(row * 7)
}

pub fn slots(db: &Database) -> Vec<u32> {
    db.key_status().slots.iter().map(|slot| slot.id.0).collect()
}

/// Opens, has row 1, and names the slot that opened it.
pub fn opens(medium: &CrashMedium, credential: &dyn Credential) -> u32 {
    let db = builder().open_on(medium.clone(), credential).unwrap();
    assert!(has(&db, 1));
    let slot = db.test_credential(credential, SlotHint::default()).unwrap().id.0;
    db.close().unwrap();
    slot
}

/// Does not open, for a reason that the world gave before, and nothing was written.
pub fn refused(medium: &CrashMedium, credential: &dyn Credential, allowed: &[Answer]) -> Answer {
    refused_by(&builder(), medium, credential, allowed)
}

pub fn refused_by(
    builder: &Builder,
    medium: &CrashMedium,
    credential: &dyn Credential,
    allowed: &[Answer],
) -> Answer {
    let before = medium.image();
    let error: OpenError = builder.open_on(medium.clone(), credential).map(drop).unwrap_err();
    assert!(medium.image() == before, "a failed open wrote: {error}");
    assert!(error.to_string().len() > 20, "says nothing: {error}");
    let answer = Answer::of(&error).unwrap_or_else(|| panic!("not a credential's: {error:?}"));
    assert!(allowed.contains(&answer), "{answer:?}, expected one of {allowed:?}: {error}");
    answer
}

/// A sentence for the table.
pub fn said(world: &dyn World, when: When, answer: Answer) -> String {
    assert!(world.expect(when).contains(&answer));
    format!("{answer:?}")
}

pub fn hinted(slot: u32) -> SlotHint {
    SlotHint::slot(SlotId(slot))
}

/// What slot number `nth` of the table, from 0, stores for its credential.
pub fn blob_of(image: &[u8], nth: usize) -> Vec<u8> {
    let slot = &image[SLOTS + nth * SLOT..][..SLOT];
    let len = usize::from(u16::from_le_bytes([slot[BLOB_LEN], slot[BLOB_LEN + 1]]));
    slot[BLOB..][..len].to_vec()
}

/// The image with one slot of both header copies changed, and their CRC made right.
pub fn forged(image: &[u8], nth: usize, change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut image = image.to_vec();
    for copy in image[..2 * COPY].chunks_mut(COPY) {
        change(&mut copy[SLOTS + nth * SLOT..][..SLOT]);
        let crc = crc32fast::hash(&copy[..COPY - 4]).to_le_bytes();
        copy[COPY - 4..].copy_from_slice(&crc);
    }
    image
}

pub fn put_blob(slot: &mut [u8], blob: &[u8]) {
    let len = u16::try_from(blob.len()).unwrap();
    slot[BLOB_LEN..][..2].copy_from_slice(&len.to_le_bytes());
    slot[BLOB..].fill(0);
    slot[BLOB..][..blob.len()].copy_from_slice(blob);
}

pub fn whole_slot(image: &[u8], nth: usize) -> Vec<u8> {
    image[SLOTS + nth * SLOT..][..SLOT].to_vec()
}
