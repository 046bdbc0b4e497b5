//! What the service says, and what it comes to: facts of its health, sealed, revoked, effaced,
//! other namespaces, keys of the wrong kind; and no secret in anything that is said.

use std::time::{Duration, SystemTime};

use serde_json::json;
use strongroom::medium::MemoryMedium;
use strongroom::providers::kms::{TokenFrom, TransitKey, TransitOptions};
use strongroom::{Builder, KeyProvider, RawKey, SlotSecret, SlotSpec};

use super::certificates::Ends;
use super::log::{Below, Log};
use super::service::{EXPIRED, MUTUAL, PLAIN, Service, program, service};
use super::slot::{made_with, words};
use super::world::Wire;

#[test]
fn a_sealed_service_is_unavailable_until_it_is_unsealed() {
    let Some(bao) = program() else { return };
    // One of its own: nobody else could use it meanwhile.
    let service = Service::start(&bao);
    let name = service.new_key();
    let wrapped = made_with(service.key(&name)).unwrap();
    let key = service.key(&name);
    wrapped.unwrap_by(&key).unwrap();
    service.ask("PUT", "sys/seal", &json!({}));
    let error = words(wrapped.unwrap_by(&key), "Unavailable");
    assert!(error.contains("is sealed"), "{error}");
    let health = key.health();
    assert!(health.reachable && health.sealed == Some(true), "{health:?}");
    assert!(words(health.problem.map_or(Ok(()), Err), "Unavailable").contains("is sealed"));
    service.unseal();
    wrapped.unwrap_by(&key).unwrap();
    assert!(key.health().problem.is_none());
}

#[test]
fn below_the_keys_minimum_version_a_slot_is_revoked() {
    let Some(service) = service() else { return };
    let name = service.new_key();
    let first = made_with(service.key(&name)).unwrap();
    service.ask("POST", &format!("transit/keys/{name}/rotate"), &json!({}));
    let second = made_with(service.key(&name)).unwrap();
    let key = service.key(&name);
    // A new version alone revokes nothing.
    first.unwrap_by(&key).unwrap();
    let config = format!("transit/keys/{name}/config");
    service.ask("POST", &config, &json!({"min_decryption_version": 2}));
    let error = words(first.unwrap_by(&key), "Denied");
    assert!(error.contains(&format!("revoked: version 1 of key \"{name}\"")), "{error}");
    second.unwrap_by(&key).unwrap();
    let facts = key.health().key.unwrap();
    assert_eq!((facts.latest_version, facts.min_decryption_version), (2, 2));
    // It can be taken back, as long as the version isn't trimmed.
    service.ask("POST", &config, &json!({"min_decryption_version": 1}));
    first.unwrap_by(&key).unwrap();
}

#[test]
fn effacing_a_key_needs_leave_and_is_for_good() {
    let Some(service) = service() else { return };
    let name = service.new_key();
    let wrapped = made_with(service.key(&name)).unwrap();
    let neighbour = service.new_key();
    let other = made_with(service.key(&neighbour)).unwrap();
    let user = service.key(&name);
    assert!(words(user.efface(), "Denied").contains("the token may not do this"));
    let token = service.token(&json!({"policies": ["user", "eraser"], "ttl": "1h"}));
    let token = TokenFrom::File(service.write_token(&token));
    let mut options = TransitOptions::new(&service.url(PLAIN), &name, token);
    options.roots_file(service.authority.file());
    let eraser = TransitKey::new(options).unwrap();
    let error = words(eraser.efface(), "Denied");
    assert!(error.contains("set its deletion_allowed first"), "{error}");
    wrapped.unwrap_by(&user).unwrap();
    let config = format!("transit/keys/{name}/config");
    service.ask("POST", &config, &json!({"deletion_allowed": true}));
    assert!(eraser.health().key.unwrap().deletion_allowed);
    assert!(eraser.efface().unwrap());
    assert!(!eraser.efface().unwrap(), "it is gone already");
    let error = words(wrapped.unwrap_by(&user), "NoKey");
    assert!(error.contains("effaced, or misspelt"), "{error}");
    other.unwrap_by(&service.key(&neighbour)).unwrap();
    // Nothing is mounted there: that is not a key which is gone.
    let mut elsewhere = service.options(PLAIN, &name);
    elsewhere.mount("nowhere");
    let error = words(TransitKey::new(elsewhere).unwrap().efface(), "Denied");
    assert!(error.len() > 20, "{error}");
}

#[test]
fn a_namespace_and_a_mount_of_another_name_are_found() {
    let Some(service) = service() else { return };
    service.ask("POST", "sys/namespaces/team", &json!({}));
    service.ask("POST", "team::sys/mounts/deep/transit", &json!({"type": "transit"}));
    service.ask("POST", "team::deep/transit/keys/theirs", &json!({}));
    let token =
        TokenFrom::File(service.write_token(&service.token(&json!({"policies": ["root"]}))));
    let options = |namespace: Option<&str>, mount: &str| {
        let mut options = TransitOptions::new(&service.url(PLAIN), "theirs", token.clone());
        options.roots_file(service.authority.file()).mount(mount);
        namespace.map(|namespace| options.namespace(namespace));
        options
    };
    let right = options(Some("team"), "deep/transit");
    let wrapped = made_with(TransitKey::new(right.clone()).unwrap()).unwrap();
    wrapped.unwrap_with(right).unwrap();
    let error = wrapped.refused(options(None, "deep/transit"), "Denied");
    assert!(error.contains("nothing is mounted at deep/transit"), "{error}");
    wrapped.refused(options(Some("team"), "transit"), "Denied");
    wrapped.refused(options(None, "transit"), "NoKey");
}

#[test]
fn a_key_that_cant_bind_is_refused_when_a_slot_is_made() {
    let Some(service) = service() else { return };
    for (how, good) in [
        (json!({"type": "chacha20-poly1305"}), true),
        (json!({"type": "aes128-gcm96"}), true),
        (json!({"type": "ed25519"}), false),
        (json!({"type": "aes256-gcm96", "derived": true}), false),
    ] {
        let name = format!("kind-{}", how.to_string().len());
        service.ask("POST", &format!("transit/keys/{name}"), &how);
        let made = made_with(service.key(&name));
        assert_eq!(made.is_ok(), good, "{how}");
        if let Err(error) = made {
            assert!(error.to_string().contains("can't bind a secret to its slot"), "{error}");
        }
    }
}

#[test]
fn health_tells_what_there_is_to_know() {
    let Some(service) = service() else { return };
    let name = service.new_key();
    let soon = service.authority.sign("soon", "DNS:us", Ends::InDays(5));
    let mut options = service.options(MUTUAL, &name);
    options.client_certificate(&soon.0, &soon.1);
    let key = TransitKey::new(options).unwrap();
    let health = key.health();
    assert!(health.problem.is_none(), "{health:?}");
    assert!(health.reachable && health.sealed == Some(false) && health.standby == Some(false));
    assert_eq!((health.may_wrap, health.may_unwrap), (Some(true), Some(true)));
    let facts = health.key.unwrap();
    assert_eq!((facts.latest_version, facts.min_decryption_version), (1, 1));
    assert!(!facts.deletion_allowed && health.version.as_deref() == Some("2.7.2"));
    let token = health.token.unwrap();
    assert!(token.renewable && token.ttl.unwrap() > Duration::from_secs(3000));
    let day = Duration::from_secs(86_400);
    let now = SystemTime::now();
    let in_days =
        |ends: Option<SystemTime>| ends.unwrap().duration_since(now).unwrap().div_duration_f64(day);
    assert!((89.0..90.1).contains(&in_days(health.service_certificate_ends)));
    assert!((4.0..5.1).contains(&in_days(health.client_certificate_ends)));
    let warnings = health.warnings(now);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("the client's certificate expires on "), "{warnings:?}");
    // In the log once, not at each call.
    let mut options = service.options(MUTUAL, &name);
    options.client_certificate(&soon.0, &soon.1);
    let (key, log) = (TransitKey::new(options).unwrap(), Log::default());
    let wrapped = made_with(service.key(&name)).unwrap();
    tracing::subscriber::with_default(log.clone(), || {
        for _ in 0..3 {
            wrapped.unwrap_by(&key).unwrap();
        }
    });
    assert_eq!(log.about("the client's certificate expires on"), 1, "{}", log.text());

    let opener = service.token(&json!({"policies": ["opener"], "ttl": "1h"}));
    let with = |listener, token: &str| {
        let token = TokenFrom::File(service.write_token(token));
        let mut options = TransitOptions::new(&service.url(listener), &name, token);
        options.roots_file(service.authority.file());
        TransitKey::new(options).unwrap().health()
    };
    let health = with(PLAIN, &opener);
    assert!(health.problem.is_none(), "{health:?}");
    assert_eq!((health.may_wrap, health.may_unwrap), (Some(false), Some(true)));
    assert!(health.key.is_none());
    let health = with(PLAIN, "s.nonsense");
    assert!(health.reachable && health.token.is_none());
    words(health.problem.map_or(Ok(()), Err), "Denied");
    let health = with(EXPIRED, &opener);
    assert!(!health.reachable && health.service_certificate_ends.unwrap() < now);
    words(health.problem.map_or(Ok(()), Err), "Unavailable");
}

#[test]
fn a_slow_service_is_given_up_within_the_time_out_and_another_slot_opens() {
    let Some(service) = service() else { return };
    let wire = Wire::new(service.port(PLAIN));
    let mut options = TransitOptions::new(
        &wire.url(),
        &service.new_key(),
        TokenFrom::File(service.token_file("user")),
    );
    options.roots_file(service.authority.file()).timeout(Duration::from_millis(400));
    let key = std::sync::Arc::new(TransitKey::new(options).unwrap());
    let (medium, recovery) = (MemoryMedium::new(), RawKey::new([1; 32]));
    let db = Builder::new().create_on(medium.clone(), &recovery).unwrap();
    db.admin(&recovery).unwrap().add(&SlotSpec::data("kms"), &key).unwrap();
    db.close().unwrap();
    wire.delay(Duration::from_secs(8));
    let began = std::time::Instant::now();
    let error = Builder::new().open_on(medium.clone(), &key).map(drop).unwrap_err().to_string();
    assert!(error.contains("no whole answer within 400 ms"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    Builder::new().open_on(medium.clone(), &recovery).unwrap().close().unwrap();
    wire.delay(Duration::ZERO);
    Builder::new().open_on(medium, &key).unwrap().close().unwrap();
}

#[test]
fn no_secret_is_in_a_log_an_error_or_a_debug_output() {
    let Some(service) = service() else { return };
    let name = service.new_key();
    let token = service.token(&json!({"policies": ["user"], "ttl": "1h"}));
    let with = |listener, key: &str, token: &str| {
        let token = TokenFrom::File(service.write_token(token));
        let mut options = TransitOptions::new(&service.url(listener), key, token);
        options.roots_file(service.authority.file());
        options
    };
    let options = with(PLAIN, &name, &token);
    let mut said = format!("{options:?}\n");
    let key = TransitKey::new(options).unwrap();
    let wrapped = made_with(service.key(&name)).unwrap();
    let secret = *b"a secret that no log is to tell.";
    let below = Below::listen();
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), || {
        let slot_secret = SlotSecret::from_bytes(&secret).unwrap();
        let blob = key.wrap_secret(&wrapped.slot, &slot_secret).unwrap();
        let back = key.unwrap_secret(&wrapped.slot, &blob).unwrap();
        assert_eq!(back.expose(), &secret);
        said += &format!("{key:?} {back:?} {}\n", String::from_utf8_lossy(&blob));
        for options in [
            with(PLAIN, &name, &format!("{token}x")),
            with(EXPIRED, &name, &token),
            with(MUTUAL, &name, &token),
        ] {
            let error = wrapped.unwrap_with(options).unwrap_err();
            said += &format!("{error:?} {error}\n");
        }
        said += &format!("{:?}\n", key.health());
    });
    said += &log.text();
    said += &below.text();
    assert!(log.about("the key service wrapped a secret") == 1, "{}", log.text());
    assert!(below.text().contains("ureq") && below.text().contains("rustls"), "nothing was heard");
    let base64 = "YSBzZWNyZXQgdGhhdCBubyBsb2cgaXMgdG8gdGVsbC4=";
    for hidden in [&token, base64, "a secret that no log", "97, 32, 115, 101"] {
        assert!(!said.contains(hidden), "{hidden}");
    }
    println!("figure: bytes of log and errors searched for secrets = {}", said.len());
}
