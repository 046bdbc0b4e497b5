//! A file with a TPM's slot: what opens it, what doesn't, and in which words.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use strongroom::providers::tpm::{Tcti, TpmProvider};
use strongroom::redb::{ReadableDatabase, TableDefinition};
use strongroom::testkit::CrashMedium;
use strongroom::{
    Builder, Credential, Database, KdfCost, KeyError, KeyProvider, OpenError, ProviderError,
    ProviderFailure, ProviderFault, ProviderSlot, RawKey, SlotId, SlotSecret, SlotSpec,
};

use super::swtpm::Swtpm;
use super::wire::Wire;

pub const NOTES: TableDefinition<u32, u32> = TableDefinition::new("notes");
pub const KEY: u32 = 0x8100_4242;
const CHEAP: KdfCost = KdfCost { memory_kib: 19 * 1024, passes: 2, lanes: 1 };

pub fn recovery() -> RawKey {
    RawKey::new([1; 32])
}

pub fn provider(tcti: Tcti, pin: &str) -> TpmProvider {
    TpmProvider::new(tcti, pin).cost(CHEAP)
}

pub fn right(tpm: &Swtpm) -> Arc<TpmProvider> {
    Arc::new(provider(tpm.tcti(), "right"))
}

pub fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.cache_size(64 << 10);
    builder
}

pub fn write(db: &Database, value: u32) {
    let txn = db.begin_write().unwrap();
    txn.open_table(NOTES).unwrap().insert(1, value).unwrap();
    txn.commit().unwrap();
}

pub fn value(db: &Database) -> u32 {
    db.begin_read().unwrap().open_table(NOTES).unwrap().get(1).unwrap().unwrap().value()
}

/// Slot 1 is the recovery key's, slot 2 this one's.
pub fn file_with(credential: &dyn Credential) -> CrashMedium {
    let medium = CrashMedium::new(1);
    let db = builder().create_on(medium.clone(), &recovery()).unwrap();
    write(&db, 1);
    db.admin(&recovery()).unwrap().add(&SlotSpec::data("tpm"), credential).unwrap();
    db.close().unwrap();
    medium
}

pub fn opens(medium: &CrashMedium, credential: &dyn Credential) {
    let db = builder().open_on(medium.clone(), credential).unwrap();
    assert_eq!(value(&db), 1);
    db.close().unwrap();
}

/// What the provider said, and the whole message.
pub fn refused(medium: &CrashMedium, credential: &dyn Credential) -> (ProviderError, String) {
    let before = medium.image();
    let error = builder().open_on(medium.clone(), credential).map(drop).unwrap_err();
    assert!(medium.image() == before, "a failed open wrote: {error}");
    let message = error.to_string();
    match error {
        OpenError::Provider(ProviderFailure { fault: ProviderFault::Answered(answer), .. }) => {
            (answer, message)
        }
        other => panic!("{other:?}"),
    }
}

pub fn a_slot_opens_for_the_pin_on_this_tpm_after_a_restart_too() {
    let tpm = Swtpm::new();
    let medium = file_with(&right(&tpm));
    opens(&medium, &right(&tpm));
    tpm.cut();
    let (answer, message) = refused(&medium, &right(&tpm));
    assert!(matches!(answer, ProviderError::Unavailable(_)), "{message}");
    opens(&medium, &recovery());
    tpm.boot();
    opens(&medium, &right(&tpm));
    // In use: nothing of an open database is in the TPM.
    let db = builder().open_on(medium.clone(), &right(&tpm)).unwrap();
    tpm.cut();
    write(&db, 1);
    let mut admin = db.admin(&recovery()).unwrap();
    let failed = admin.add(&SlotSpec::data("second"), &right(&tpm)).unwrap_err();
    assert!(failed.to_string().contains("can't be reached"), "{failed}");
    tpm.boot();
    admin.add(&SlotSpec::data("second"), &right(&tpm)).unwrap();
    drop(admin);
    db.close().unwrap();
    opens(&medium, &right(&tpm));
}

pub fn a_wrong_pin_costs_one_attempt_and_a_locked_tpm_says_for_how_long() {
    let tpm = Swtpm::new();
    tpm.limits(3, 1000);
    let medium = file_with(&right(&tpm));
    let failed = || right(&tpm).probe().unwrap().lockout.failed;
    assert_eq!(failed(), 0);
    for attempt in 1..=3 {
        let wrong = Arc::new(provider(tpm.tcti(), "wrong"));
        assert_eq!(refused(&medium, &wrong).0, ProviderError::Wrong);
        assert_eq!(failed(), attempt, "one open is one attempt");
        // A loop round an open is none.
        assert_eq!(refused(&medium, &wrong).0, ProviderError::Wrong);
        assert_eq!(failed(), attempt, "the same object doesn't try its PIN again");
    }
    let lockout = right(&tpm).probe().unwrap().lockout;
    assert!(lockout.is_locked() && lockout.max == 3);
    // The right PIN too, and it is said until when.
    let (answer, message) = refused(&medium, &right(&tpm));
    let retry_after = Some(Duration::from_secs(1000));
    assert_eq!(answer, ProviderError::LockedOut { retry_after });
    assert!(message.contains("1000 s"), "{message}");
    opens(&medium, &recovery());
    tpm.unlock();
    opens(&medium, &right(&tpm));
    // One that takes no attempts at all has no time to tell.
    tpm.limits(0, 1000);
    assert_eq!(refused(&medium, &right(&tpm)).0, ProviderError::LockedOut { retry_after: None });
    // And one whose attempts are forgotten at once never locks itself.
    tpm.limits(1, 0);
    for _ in 0..3 {
        let wrong = Arc::new(provider(tpm.tcti(), "wrong"));
        assert_eq!(refused(&medium, &wrong).0, ProviderError::Wrong);
    }
    let lockout = right(&tpm).probe().unwrap().lockout;
    assert!(!lockout.is_locked(), "{lockout:?}");
    opens(&medium, &right(&tpm));
}

pub fn the_pcrs_are_part_of_it_where_asked() {
    let tpm = Swtpm::new();
    let bound = || Arc::new(provider(tpm.tcti(), "right").pcrs(&[7, 16]));
    let medium = file_with(&bound());
    opens(&medium, &bound());
    opens(&medium, &right(&tpm)); // the slot says which PCRs
    tpm.extend_pcr_16();
    let (answer, message) = refused(&medium, &bound());
    assert!(matches!(&answer, ProviderError::Denied(why) if why.contains("PCRs")), "{message}");
    assert_eq!(bound().probe().unwrap().lockout.failed, 0, "no attempt at the PIN");
    opens(&medium, &recovery());
    tpm.reset_pcr_16();
    opens(&medium, &bound());
    let wrong = Arc::new(provider(tpm.tcti(), "wrong"));
    assert_eq!(refused(&medium, &wrong).0, ProviderError::Wrong, "the PIN still counts");
}

pub fn a_cleared_tpm_and_another_one_say_so_and_the_recovery_slot_opens() {
    let (tpm, another) = (Swtpm::new(), Swtpm::new());
    let medium = file_with(&right(&tpm));
    let (answer, message) = refused(&medium, &right(&another));
    assert!(matches!(answer, ProviderError::NoKey(_)), "{message}");
    assert!(message.contains("another TPM") && message.contains("recovery slot"), "{message}");
    assert!(message.contains(&right(&tpm).probe().unwrap().key_name), "{message}");
    assert!(message.contains(&right(&another).probe().unwrap().key_name), "{message}");
    opens(&medium, &right(&tpm));
    tpm.clear();
    let (answer, message) = refused(&medium, &right(&tpm));
    assert!(matches!(answer, ProviderError::NoKey(_)), "{message}");
    assert!(message.contains("cleared"), "{message}");
    assert_eq!(right(&tpm).probe().unwrap().lockout.failed, 0, "no attempt at the PIN");
    opens(&medium, &recovery());
    // The way out, and a second machine beside it.
    let db = builder().open_on(medium.clone(), &recovery()).unwrap();
    let mut admin = db.admin(&recovery()).unwrap();
    admin.replace(SlotId(2), &right(&tpm)).unwrap();
    admin.add(&SlotSpec::data("second machine"), &right(&another)).unwrap();
    drop(admin);
    db.close().unwrap();
    opens(&medium, &right(&tpm));
    opens(&medium, &right(&another));
}

pub fn a_key_of_its_own_can_be_effaced() {
    let tpm = Swtpm::new();
    let keyed = || Arc::new(provider(tpm.tcti(), "right").key_at(KEY));
    let medium = file_with(&recovery_two());
    let add = |credential: &dyn Credential| -> Result<(), KeyError> {
        let db = builder().open_on(medium.clone(), &recovery()).unwrap();
        let added = db.admin(&recovery())?.add(&SlotSpec::data("keyed"), credential).map(drop);
        db.close().unwrap();
        added
    };
    let error = add(&keyed()).unwrap_err().to_string();
    assert!(error.contains("no such key"), "{error}");
    keyed().generate_key().unwrap();
    let again = keyed().generate_key().unwrap_err();
    assert!(matches!(&again, ProviderError::Denied(why) if why.contains("already")), "{again}");
    add(&keyed()).unwrap();
    opens(&medium, &keyed());
    let stolen = CrashMedium::from_image(1, medium.image());
    tpm.cut();
    tpm.boot();
    opens(&stolen, &keyed());
    // Slots of the primary are not this one's, nor the other way round.
    let error = builder().open_on(medium.clone(), &right(&tpm)).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::WrongKey), "{error:?}");
    keyed().efface().unwrap();
    keyed().efface().unwrap();
    let (answer, message) = refused(&stolen, &keyed());
    assert!(matches!(answer, ProviderError::NoKey(_)), "{message}");
    assert!(matches!(keyed().probe(), Err(ProviderError::NoKey(_))));
    // Another key in its place is not it.
    keyed().generate_key().unwrap();
    let (answer, message) = refused(&stolen, &keyed());
    assert!(matches!(answer, ProviderError::NoKey(_)), "{message}");
    opens(&stolen, &recovery());
    // The primary can't be destroyed, and no handle of somebody else's can be named.
    assert!(matches!(right(&tpm).efface(), Err(ProviderError::Denied(_))));
    let foreign = provider(tpm.tcti(), "right").key_at(0x0150_0000);
    assert!(matches!(foreign.efface(), Err(ProviderError::Denied(_))));
}

fn recovery_two() -> RawKey {
    RawKey::new([2; 32])
}

pub fn an_owner_with_an_authorisation_value_is_asked_for_it() {
    let tpm = Swtpm::new();
    let medium = file_with(&right(&tpm));
    tpm.own(b"the owner's");
    let (answer, message) = refused(&medium, &right(&tpm));
    assert!(matches!(answer, ProviderError::Denied(_)), "{message}");
    assert!(message.contains("owner_auth"), "{message}");
    assert_eq!(right(&tpm).probe().map(drop).unwrap_err(), answer);
    let owned = Arc::new(provider(tpm.tcti(), "right").owner_auth("the owner's"));
    opens(&medium, &owned);
    let wrong = Arc::new(provider(tpm.tcti(), "right").owner_auth("not the owner's"));
    assert!(matches!(refused(&medium, &wrong).0, ProviderError::Denied(_)));
}

pub fn what_makes_no_sense_is_refused_before_the_tpm_is_asked() {
    // Nobody listens there.
    let tcti = || "swtpm:host=127.0.0.1,port=1".parse::<Tcti>().unwrap();
    let medium = CrashMedium::new(1);
    for (provider, words) in [
        (provider(tcti(), ""), "the PIN is empty"),
        (provider(tcti(), "p").pcrs(&[24]), "0 to 23"),
        (provider(tcti(), "p").key_at(7), "persistent handle"),
        (
            provider(tcti(), "p").cost(KdfCost { memory_kib: 8, passes: 1, lanes: 1 }),
            "deriving from the PIN",
        ),
    ] {
        let error = builder().create_on(medium.clone(), &Arc::new(provider)).map(drop);
        let error = error.unwrap_err().to_string();
        assert!(error.contains(words), "{words}: {error}");
    }
    let nobody = provider(tcti(), "4711");
    assert!(matches!(nobody.probe(), Err(ProviderError::Unavailable(_))));
    let shown = format!("{nobody:?}");
    assert!(shown.contains("port=1") && !shown.contains("4711"), "{shown}");
}

/// A TPM's provider that keeps the secret that it was given.
#[derive(Debug)]
struct Overheard(TpmProvider, Mutex<Vec<u8>>);

impl KeyProvider for Overheard {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn wrap_secret(
        &self,
        slot: &ProviderSlot,
        secret: &SlotSecret,
    ) -> Result<Vec<u8>, ProviderError> {
        *self.1.lock().unwrap() = secret.expose().to_vec();
        self.0.wrap_secret(slot, secret)
    }

    fn unwrap_secret(&self, slot: &ProviderSlot, blob: &[u8]) -> Result<SlotSecret, ProviderError> {
        self.0.unwrap_secret(slot, blob)
    }
}

pub fn nothing_on_the_wire_is_the_secret() {
    let wire = Wire::to(Swtpm::new());
    for pcrs in [&[][..], &[16]] {
        wire.plan(None);
        let provider = provider(wire.tcti(), "right").pcrs(pcrs);
        let overheard = Arc::new(Overheard(provider, Mutex::default()));
        let medium = file_with(&overheard);
        opens(&medium, &overheard);
        let (messages, secret) = (wire.heard(), overheard.1.lock().unwrap().clone());
        let heard = messages.concat();
        println!("figure: PCRs {pcrs:?}: enrolment and open = {} commands", wire.commands());
        assert!(heard.len() > 2000 && secret.len() == 32);
        // A part of it would do as well.
        for part in secret.chunks(8) {
            assert!(!heard.windows(8).any(|bytes| bytes == part), "the secret passed in the clear");
        }
        let bound = b"strongroom slot";
        assert!(!heard.windows(bound.len()).any(|bytes| bytes == bound));
        // One session of each conversation is not salted: there is no key to salt it with before
        // the primary is made in it.
        let (start, make_primary, null) = (0x176_u32, 0x131_u32, 0x4000_0007_u32);
        let of =
            |code: u32| messages.iter().filter(move |message| message[6..10] == code.to_be_bytes());
        let unsalted = of(start).filter(|message| message[10..14] == null.to_be_bytes()).count();
        assert_eq!((unsalted, of(make_primary).count()), (3, 3));
        assert!(of(start).count() >= 3 + 5, "seal, and twice load and unseal");
    }
}
