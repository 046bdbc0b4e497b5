//! What is a token's own.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cryptoki::object::{Attribute, AttributeInfo, AttributeType};
use strongroom::providers::pkcs11::{
    KeyKind, Pin, PinHealth, Pkcs11Error, Pkcs11Provider, Wrapping,
};
use strongroom::{Database, KeyProvider, OpenError, ProviderError, ProviderFailure, ProviderFault};

use super::hsm::{Hsm, PIN, make_aes_key, make_rsa_pair, with_softhsm};
use super::world::Holder;

/// A new file in the folder, with its one slot under this key.
fn file_of(hsm: &Hsm, name: &str, provider: &Pkcs11Provider) -> std::path::PathBuf {
    let path = hsm.folder.join(name);
    Database::create(&path, Arc::new(provider.clone())).unwrap().close().unwrap();
    path
}

fn opens(path: &std::path::Path, provider: &Pkcs11Provider) -> Result<(), ProviderError> {
    match Database::open(path, Arc::new(provider.clone())) {
        Ok(db) => {
            db.close().unwrap();
            Ok(())
        }
        Err(OpenError::WrongKey) => Err(ProviderError::NotMine),
        Err(OpenError::Provider(ProviderFailure {
            fault: ProviderFault::Answered(error), ..
        })) => Err(error),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn the_key_never_leaves_the_token() {
    with_softhsm("tokens::the_key_never_leaves_the_token", |hsm| {
        hsm.fresh(&["t"]);
        let provider = hsm.provider("token=t;object=k");
        assert!(matches!(provider.probe(), Err(Pkcs11Error::KeyAbsent(_))));
        assert_eq!(provider.generate_key(), Ok(KeyKind::Aes));
        let again = provider.generate_key();
        assert!(matches!(again, Err(Pkcs11Error::KeyExists(_))), "{again:?}");
        let found = provider.probe().unwrap();
        assert_eq!((found.kind, found.wrapping), (KeyKind::Aes, Wrapping::AesGcm));
        assert_eq!((found.label.as_str(), found.id.len()), ("k", 16));
        assert!(!found.extractable && found.token.pin == PinHealth::Good);
        let rsa = hsm.provider("token=t;object=r").wrapping(Wrapping::RsaOaep);
        assert_eq!(rsa.generate_key(), Ok(KeyKind::Rsa));
        let path = file_of(hsm, "rsa.room", &rsa);
        assert_eq!(opens(&path, &rsa), Ok(()));
        hsm.as_user("t", |session| {
            let classes = [("k", AttributeType::Value), ("r", AttributeType::PrivateExponent)];
            for (label, secret) in classes {
                let mut seen = 0;
                let private = [Attribute::Label(label.into()), Attribute::Private(true)];
                for key in session.find_objects(&private).unwrap() {
                    let kept = [
                        Attribute::NeverExtractable(true),
                        Attribute::AlwaysSensitive(true),
                        Attribute::Local(true),
                    ];
                    let asked = kept.clone().map(|attribute| attribute.attribute_type());
                    assert_eq!(session.get_attributes(key, &asked).unwrap(), kept);
                    let value = session.get_attribute_info(key, &[secret]).unwrap();
                    assert!(matches!(value[..], [AttributeInfo::Sensitive]), "{value:?}");
                    // And it can't be made so.
                    let loose = session.update_attributes(key, &[Attribute::Extractable(true)]);
                    assert!(loose.is_err());
                    seen += 1;
                }
                assert_eq!(seen, 1, "{label}");
            }
        });
        assert_eq!((rsa.efface(), rsa.efface()), (Ok(2), Ok(0)));
        assert_eq!((provider.efface(), provider.efface()), (Ok(1), Ok(0)));
        assert!(matches!(opens(&path, &rsa), Err(ProviderError::NoKey(_))));
    });
}

#[test]
fn a_wrong_pin_is_tried_once() {
    with_softhsm("tokens::a_wrong_pin_is_tried_once", |hsm| {
        hsm.fresh(&["t"]);
        let right = hsm.provider("token=t;object=k");
        right.generate_key().unwrap();
        let path = file_of(hsm, "file.room", &right);
        assert!(!hsm.saw_a_wrong_pin("t"));
        let wrong = hsm.provider_with("token=t;object=k", "4321");
        assert_eq!(opens(&path, &wrong), Err(ProviderError::Wrong));
        assert!(hsm.saw_a_wrong_pin("t"), "it was tried");
        assert_eq!(right.token().unwrap().pin, PinHealth::WrongBefore);
        assert_eq!(opens(&path, &right), Ok(()));
        assert!(!hsm.saw_a_wrong_pin("t"), "a right one sets the count back");
        for _ in 0..3 {
            assert_eq!(opens(&path, &wrong), Err(ProviderError::Wrong));
            assert_eq!(wrong.probe(), Err(Pkcs11Error::PinRefusedBefore));
            assert_eq!(wrong.clone().efface(), Err(Pkcs11Error::PinRefusedBefore));
        }
        assert!(!hsm.saw_a_wrong_pin("t"), "it was not tried again");
        assert_eq!(opens(&path, &right), Ok(()));
    });
}

#[test]
fn a_pin_comes_from_where_it_was_said() {
    with_softhsm("tokens::a_pin_comes_from_where_it_was_said", |hsm| {
        hsm.fresh(&["t"]);
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let ask = move || {
            count.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(400));
            Pin::new(PIN)
        };
        let absent = hsm.provider("token=none;object=k").ask_pin(ask.clone());
        assert!(matches!(absent.probe(), Err(Pkcs11Error::TokenAbsent(_))));
        assert_eq!(asked.load(Ordering::SeqCst), 0, "not for a token that is not there");
        let asking = hsm.provider("token=t;object=k").ask_pin(ask);
        // Whoever types may be slower than a token may.
        let asking = asking.timeout(Duration::from_millis(300));
        assert_eq!(asking.token().unwrap().label, "t");
        assert!(matches!(asking.probe(), Err(Pkcs11Error::KeyAbsent(_))));
        let asking = asking.timeout(Duration::from_secs(5));
        asking.generate_key().unwrap();
        let path = file_of(hsm, "file.room", &asking);
        assert_eq!(opens(&path, &asking), Ok(()));
        assert_eq!(asked.load(Ordering::SeqCst), 1, "a person is asked once");
        let pin_path = hsm.folder.join("pin");
        fs::write(&pin_path, format!("{PIN}\n")).unwrap();
        let uri = hsm.uri("token=t;object=k").to_string();
        let uri = format!("{uri}&pin-source=file:{}", pin_path.display()).parse().unwrap();
        let by_file = Pkcs11Provider::new(uri).unwrap();
        assert_eq!(opens(&path, &by_file), Ok(()));
        assert!(!format!("{by_file:?} {asking:?}").contains(PIN));
        let none = Pkcs11Provider::new(hsm.uri("token=t;object=k")).unwrap();
        assert_eq!(none.probe(), Err(Pkcs11Error::PinMissing));
        assert_eq!(none.token().unwrap().label, "t");
        fs::remove_file(&pin_path).unwrap();
        let lost = Pkcs11Provider::new(by_file.uri().clone()).unwrap();
        assert!(matches!(lost.probe(), Err(Pkcs11Error::PinUnreadable(_))));
    });
}

#[test]
fn a_login_lasts_as_long_as_its_call_and_leaves_that_of_the_application_alone() {
    let test = "a_login_lasts_as_long_as_its_call_and_leaves_that_of_the_application_alone";
    with_softhsm(&format!("tokens::{test}"), |hsm| {
        hsm.fresh(&["t"]);
        let right = hsm.provider("token=t;object=k");
        right.generate_key().unwrap();
        let path = file_of(hsm, "file.room", &right);
        assert_eq!(opens(&path, &right), Ok(()));
        // While somebody is logged in, a token takes any PIN: so nobody of ours is, after a call.
        let wrong = hsm.provider_with("token=t;object=k", "4321");
        assert_eq!(opens(&path, &wrong), Err(ProviderError::Wrong));
        let private = [Attribute::Private(true), Attribute::Label("k".into())];
        // Also where the application has a session of its own, not logged in: that is left so.
        hsm.as_anybody("t", |session| {
            assert_eq!(opens(&path, &right), Ok(()));
            assert_eq!(session.find_objects(&private).unwrap(), []);
            let wrong = hsm.provider_with("token=t;object=k", "4321");
            assert_eq!(opens(&path, &wrong), Err(ProviderError::Wrong));
        });
        hsm.as_user("t", |session| {
            assert_eq!(session.find_objects(&private).unwrap().len(), 1);
            assert_eq!(opens(&path, &right), Ok(()));
            assert_eq!(session.find_objects(&private).unwrap().len(), 1, "still logged in");
        });
    });
}

#[test]
fn every_misfortune_has_a_name() {
    with_softhsm("tokens::every_misfortune_has_a_name", |hsm| {
        hsm.fresh(&["t", "twin", "twin"]);
        hsm.as_user("t", |session| {
            make_aes_key(session, "twice", 32, &[]);
            make_aes_key(session, "twice", 32, &[]);
            make_aes_key(session, "weak", 16, &[]);
            let open = [Attribute::Sensitive(false), Attribute::Extractable(true)];
            make_aes_key(session, "open", 32, &open);
            make_rsa_pair(session, "short", 1024);
            make_aes_key(session, "can't", 32, &[]);
            make_aes_key(session, "good", 32, &[Attribute::Id(vec![0, 1, 0xFF])]);
        });
        let name =
            |error: &Pkcs11Error| format!("{error:?}").split(['(', ' ']).next().unwrap().to_owned();
        for (path, way, wanted) in [
            ("token=none;object=k", None, "TokenAbsent"),
            ("token=t;serial=0000;object=k", None, "TokenAbsent"),
            ("token=t;library-version=1.0;object=k", None, "TokenAbsent"),
            ("token=twin;object=k", None, "TokenAmbiguous"),
            ("token=t;object=none", None, "KeyAbsent"),
            ("token=t;object=good;type=private", None, "KeyAbsent"),
            ("token=t;object=good", Some(Wrapping::RsaOaep), "KeyAbsent"),
            ("token=t;object=good;id=%00", None, "KeyAbsent"),
            ("token=t;object=twice", None, "KeyAmbiguous"),
            ("token=t;object=weak", None, "KeyUnfit"),
            ("token=t;object=open", None, "KeyUnfit"),
            ("token=t;object=short", None, "KeyUnfit"),
        ] {
            let mut provider = hsm.provider(path);
            if let Some(way) = way {
                provider = provider.wrapping(way);
            }
            let error = provider.probe().unwrap_err();
            assert_eq!(name(&error), wanted, "{path}: {error}");
            assert!(error.to_string().len() > 20, "{error}");
            // The same at the seam, and no file is made.
            let new = hsm.folder.join("new.room");
            assert!(Database::create(&new, Arc::new(provider)).is_err() && !new.exists());
        }
        // Neither does an effacement guess.
        let twice = hsm.provider("token=t;object=twice");
        assert_eq!(twice.efface(), Err(Pkcs11Error::KeyAmbiguous(2)));
        assert!(matches!(twice.probe(), Err(Pkcs11Error::KeyAmbiguous(2))));
        // By either name or both, and by the token's other traits.
        let serial = hsm.serial("t");
        for path in [
            "token=t;object=good".to_owned(),
            "token=t;id=%00%01%FF".to_owned(),
            "token=t;object=good;id=%00%01%FF;type=secret-key".to_owned(),
            format!("serial={serial};object=good;model=SoftHSM%20v2"),
        ] {
            let found = hsm.provider(&path).probe().unwrap();
            assert_eq!((found.label.as_str(), &found.id[..]), ("good", &[0, 1, 0xFF][..]));
        }
        let elsewhere = "pkcs11:token=t;object=good?module-path=/nowhere/p11.so";
        let elsewhere = Pkcs11Provider::new(elsewhere.parse().unwrap()).unwrap();
        assert!(matches!(elsewhere.token(), Err(Pkcs11Error::Module { .. })));
        for incomplete in ["pkcs11:object=k", "pkcs11:token=t?module-path=/a.so"] {
            let refused = Pkcs11Provider::new(incomplete.parse().unwrap());
            assert!(matches!(refused, Err(Pkcs11Error::Incomplete(_))));
        }
    });
}

#[test]
fn what_one_way_wrapped_is_opened_whatever_is_the_first_choice_now() {
    let test = "what_one_way_wrapped_is_opened_whatever_is_the_first_choice_now";
    with_softhsm(&format!("tokens::{test}"), |hsm| {
        hsm.fresh(&["t"]);
        let provider = hsm.provider("token=t;object=k");
        provider.generate_key().unwrap();
        let ways = [Wrapping::AesGcm, Wrapping::AesKeyWrapPad];
        for way in ways {
            let path = file_of(hsm, "file.room", &provider.clone().wrapping(way));
            for other in ways {
                assert_eq!(opens(&path, &provider.clone().wrapping(other)), Ok(()));
            }
            assert_eq!(opens(&path, &provider), Ok(()));
            fs::remove_file(path).unwrap();
        }
        // An RSA pair beside it, of the same label: what was wrapped says which is meant.
        let path = file_of(hsm, "file.room", &provider);
        hsm.as_user("t", |session| make_rsa_pair(session, "k", 2048));
        assert_eq!(opens(&path, &provider), Ok(()));
        assert!(matches!(provider.probe(), Err(Pkcs11Error::KeyAmbiguous(2))));
    });
}

#[test]
fn a_token_pulled_out_while_the_module_runs_is_unavailable() {
    let test = "a_token_pulled_out_while_the_module_runs_is_unavailable";
    with_softhsm(&format!("tokens::{test}"), |hsm| {
        hsm.fresh(&["t"]);
        let provider = hsm.provider("token=t;object=k");
        provider.generate_key().unwrap();
        let path = file_of(hsm, "file.room", &provider);
        assert_eq!(opens(&path, &provider), Ok(()));
        // Without a word to the module.
        fs::rename(hsm.tokens(), hsm.folder.join("away")).unwrap();
        let gone = opens(&path, &provider);
        assert!(matches!(gone, Err(ProviderError::Unavailable(_))), "{gone:?}");
        assert!(matches!(provider.token(), Err(Pkcs11Error::TokenAbsent(_))));
        // Nobody took the PIN for a wrong one.
        fs::create_dir(hsm.tokens()).unwrap();
        hsm.put_back();
        assert_eq!(opens(&path, &provider), Ok(()));
    });
}

#[test]
fn a_module_that_hangs_is_left_and_used_again_when_it_is_back() {
    let test = "a_module_that_hangs_is_left_and_used_again_when_it_is_back";
    with_softhsm(&format!("tokens::{test}"), |hsm| {
        hsm.fresh(&["t"]);
        let provider = hsm.provider("token=t;object=k");
        provider.generate_key().unwrap();
        let path = file_of(hsm, "file.room", &provider);
        let limit = Duration::from_millis(250);
        let impatient = provider.clone().timeout(limit);
        let holder = Holder::of(&hsm.lock_file("t"));
        // The first hangs in the module, the second waits for the first.
        for _ in 0..2 {
            let began = Instant::now();
            assert_eq!(impatient.token(), Err(Pkcs11Error::TimedOut { after: limit }));
            let waited = began.elapsed();
            assert!(waited >= limit && waited < Duration::from_secs(3), "{waited:?}");
        }
        let hung = opens(&path, &impatient);
        assert!(matches!(hung, Err(ProviderError::Unavailable(_))), "{hung:?}");
        drop(holder);
        assert_eq!(opens(&path, &provider), Ok(()));
        assert_eq!(provider.name(), "pkcs11");
        // What one call costs where nothing hangs.
        let began = Instant::now();
        (0..20).for_each(|_| assert_eq!(opens(&path, &provider), Ok(())));
        let each = began.elapsed().as_micros() / 20;
        println!("figure: open by SoftHSM, login and logout included = {each} us");
    });
}

#[test]
fn many_at_once_take_turns() {
    with_softhsm("tokens::many_at_once_take_turns", |hsm| {
        hsm.fresh(&["t"]);
        let provider = hsm.provider("token=t;object=k");
        provider.generate_key().unwrap();
        let path = file_of(hsm, "file.room", &provider);
        // Each has a copy, or they would wait for the file's lock.
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let copy = hsm.folder.join(format!("{thread}.room"));
                fs::copy(&path, &copy).unwrap();
                let provider = match thread {
                    0 | 1 => provider.clone(), // one object
                    _ => hsm.provider("token=t;object=k"),
                };
                scope.spawn(move || {
                    (0..20).for_each(|_| assert_eq!(opens(&copy, &provider), Ok(())));
                });
            }
            let copy = hsm.folder.join("wrong.room");
            fs::copy(&path, &copy).unwrap();
            scope.spawn(move || {
                for _ in 0..20 {
                    // The others log in meanwhile; never for this one.
                    let wrong = hsm.provider_with("token=t;object=k", "4321");
                    assert_eq!(opens(&copy, &wrong), Err(ProviderError::Wrong));
                }
            });
        });
    });
}

#[test]
fn the_slot_holds_what_the_documentation_says() {
    with_softhsm("tokens::the_slot_holds_what_the_documentation_says", |hsm| {
        hsm.fresh(&["t"]);
        let aes = hsm.provider("token=t;object=k");
        aes.generate_key().unwrap();
        hsm.as_user("t", |session| make_rsa_pair(session, "r", 2048));
        let rsa = hsm.provider("token=t;object=r");
        let blob = |name: &str, provider: &Pkcs11Provider| {
            let path = file_of(hsm, name, provider);
            let bytes = fs::read(&path).unwrap();
            fs::remove_file(path).unwrap();
            let slot = &bytes[2048..4096];
            let len = usize::from(u16::from_le_bytes([slot[256], slot[257]]));
            slot[320..][..len].to_vec()
        };
        for (provider, way, mechanism, wrapped) in [
            (&aes, None, 1, 12 + 32 + 16),
            (&aes, Some(Wrapping::AesGcm), 1, 12 + 32 + 16),
            (&aes, Some(Wrapping::AesKeyWrapPad), 2, 80),
            (&rsa, None, 3, 256),
            (&rsa, Some(Wrapping::RsaOaep), 3, 256),
        ] {
            let forced = match way {
                Some(way) => provider.clone().wrapping(way),
                None => provider.clone(),
            };
            let id = forced.probe().unwrap().id;
            let id_len = u8::try_from(id.len()).unwrap();
            let head = [b"\x06pkcs11\x01", &[mechanism, id_len][..], &id].concat();
            let blob = blob("file.room", &forced);
            assert_eq!((&blob[..head.len()], blob.len()), (&head[..], head.len() + wrapped));
            println!("figure: bytes in the slot, mechanism {mechanism} = {}", blob.len());
        }
        let [one, two] = ["one.room", "two.room"].map(|name| blob(name, &aes));
        assert_ne!(one[26..38], two[26..38], "a nonce of its own each time");
    });
}
