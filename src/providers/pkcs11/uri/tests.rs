use super::*;

fn parsed(text: &str) -> Pkcs11Uri {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn uris_are_printed_back_in_one_order() {
    // Written, printed; with no second text it is printed as it was written.
    for (written, printed) in [
        ("pkcs11:", None),
        ("pkcs11:token=vault", None),
        ("PKCS11:token=vault", Some("pkcs11:token=vault")),
        ("pkcs11:object=k;token=t", Some("pkcs11:token=t;object=k")),
        ("pkcs11:id=%01%ff;object=k", Some("pkcs11:object=k;id=%01%FF")),
        // Every byte of an id is written so, whether it is a letter or not.
        ("pkcs11:id=abc", Some("pkcs11:id=%61%62%63")),
        ("pkcs11:token=%76ault%20%232", Some("pkcs11:token=vault%20%232")),
        ("pkcs11:token=a%3Bb%3Fc%25d%2Fe", None),
        ("pkcs11:token=a&b,c(d)=e", None),
        ("pkcs11:token=%C3%A4", None),
        ("pkcs11:token=", None),
        ("pkcs11:slot-id=42;type=secret-key", None),
        ("pkcs11:library-version=2.6;serial=fa355a;object=k;type=private", None),
        (
            "pkcs11:object=k?pin-source=file:/run/pin&module-path=/usr/lib/a.so",
            Some("pkcs11:object=k?module-path=/usr/lib/a.so&pin-source=file:/run/pin"),
        ),
        ("pkcs11:?module-path=/usr/lib/a%26b%3Fc.so", None),
        ("pkcs11:?module-path=/usr/lib/a?b.so", Some("pkcs11:?module-path=/usr/lib/a%3Fb.so")),
    ] {
        let uri = parsed(written);
        assert_eq!(uri.to_string(), printed.unwrap_or(written));
        assert_eq!(parsed(&uri.to_string()), uri, "{written}");
    }
}

#[test]
fn what_a_uri_says_comes_out() {
    let uri = parsed(
        "pkcs11:token=my%20token;object=k%3B1;id=%00%FE;type=private\
         ?module-path=/lib/m.so&pin-source=file:///run/pin",
    );
    assert_eq!((uri.token(), uri.object()), (Some("my token"), Some("k;1")));
    assert_eq!(uri.id(), Some(&[0, 0xFE][..]));
    assert_eq!(uri.object_type(), Some("private"));
    assert_eq!(uri.module_path(), Some(PathBuf::from("/lib/m.so")));
    assert_eq!(uri.pin_file(), Some(PathBuf::from("/run/pin")));
    let bare = parsed("pkcs11:");
    assert_eq!((bare.token(), bare.object(), bare.id()), (None, None, None));
    assert_eq!((bare.module_path(), bare.pin_file()), (None, None));
    for written in ["file:/a/b", "file:///a/b", "/a/b"] {
        let uri = parsed(&format!("pkcs11:?pin-source={written}"));
        assert_eq!(uri.pin_file(), Some(PathBuf::from("/a/b")), "{written}");
    }
}

#[test]
fn what_is_not_known_or_not_right_is_refused() {
    let value = |name, why| UriError::Value { name, why };
    for (text, error) in [
        ("", UriError::NotPkcs11),
        ("http:token=a", UriError::NotPkcs11),
        ("pkcs12:token=a", UriError::NotPkcs11),
        ("pkcs11", UriError::NotPkcs11),
        ("\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}", UriError::NotPkcs11),
        ("pkcs11:token", UriError::NoValue),
        ("pkcs11:token=a;", UriError::NoValue),
        ("pkcs11:token=a?", UriError::NoValue),
        ("pkcs11:?module-path=/a&", UriError::NoValue),
        ("pkcs11:tokens=a", UriError::Unknown("tokens".to_owned())),
        ("pkcs11:x-vendor=a", UriError::Unknown("x-vendor".to_owned())),
        // Each in its own place only.
        ("pkcs11:module-path=a", UriError::Unknown("module-path".to_owned())),
        ("pkcs11:?token=a", UriError::Unknown("token".to_owned())),
        ("pkcs11:?module-name=softhsm2", UriError::Unknown("module-name".to_owned())),
        ("pkcs11:token=a;token=a", UriError::Twice("token")),
        ("pkcs11:?pin-source=/a&pin-source=/b", UriError::Twice("pin-source")),
        ("pkcs11:token=a b", UriError::Escape("token")),
        ("pkcs11:token=\u{e4}", UriError::Escape("token")),
        ("pkcs11:token=a/b", UriError::Escape("token")),
        ("pkcs11:token=a%2", UriError::Escape("token")),
        ("pkcs11:token=a%+1", UriError::Escape("token")),
        ("pkcs11:token=a%zz", UriError::Escape("token")),
        ("pkcs11:token=%FF", value("token", "is not UTF-8")),
        ("pkcs11:token=%00", value("token", "has a zero byte")),
        ("pkcs11:id=", value("id", "is empty")),
        ("pkcs11:slot-id=x", value("slot-id", "is not a number")),
        ("pkcs11:library-version=2.x", value("library-version", "is not of the form 2.6")),
        ("pkcs11:?module-path=a.so", value("module-path", "is not an absolute path")),
        ("pkcs11:?pin-source=a", value("pin-source", "is not `file:` and an absolute path")),
        ("pkcs11:?pin-source=file:a", value("pin-source", "is not `file:` and an absolute path")),
        (
            "pkcs11:?pin-source=%7C/bin/pin",
            value("pin-source", "runs a command; name a file, or give the PIN in another way"),
        ),
        (
            "pkcs11:type=key",
            value("type", "is none of `public`, `private`, `cert`, `secret-key`, `data`"),
        ),
    ] {
        assert_eq!(text.parse::<Pkcs11Uri>(), Err(error), "{text}");
    }
}

#[test]
fn a_pin_in_a_uri_is_refused_and_not_repeated() {
    for text in ["pkcs11:?pin-value=hunter2", "pkcs11:pin-value=hunter2", "pkcs11:?pin-value=%zz"] {
        let error = text.parse::<Pkcs11Uri>().unwrap_err();
        assert_eq!(error, UriError::PinInUri);
        let said = error.to_string();
        assert!(said.contains("pin-source=file:") && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_token_fits_that_has_all_that_is_asked_for() {
    let token = TokenFacts {
        label: "vault".to_owned(),
        manufacturer: "SoftHSM project".to_owned(),
        model: "SoftHSM v2".to_owned(),
        serial: "fa355adf".to_owned(),
        slot_id: 7,
        slot_description: "a slot".to_owned(),
        slot_manufacturer: "somebody".to_owned(),
    };
    for (text, fits) in [
        ("pkcs11:", true),
        ("pkcs11:token=vault", true),
        ("pkcs11:token=Vault", false),
        ("pkcs11:token=vaul", false),
        ("pkcs11:token=", false),
        ("pkcs11:token=vault;serial=fa355adf;model=SoftHSM%20v2;slot-id=7", true),
        ("pkcs11:token=vault;serial=fa355ad0", false),
        ("pkcs11:slot-id=8", false),
        ("pkcs11:manufacturer=SoftHSM%20project;slot-description=a%20slot", true),
        ("pkcs11:slot-manufacturer=nobody", false),
        // Says nothing of the token.
        ("pkcs11:object=k;id=%01;type=secret-key", true),
    ] {
        assert_eq!(parsed(text).fits_token(&token), fits, "{text}");
    }
    let library = |text: &str| parsed(text).fits_library("SoftHSM", "Implementation", "2.6");
    assert!(library("pkcs11:library-version=2.6;library-manufacturer=SoftHSM"));
    assert!(!library("pkcs11:library-version=2.7"));
    assert!(!library("pkcs11:library-description=another"));
}
