//! Who may ask: tokens that may do less, that end, that are renewed; and where they are found.

use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::json;
use strongroom::medium::MemoryMedium;
use strongroom::providers::kms::{TokenFrom, TransitKey, TransitOptions};
use strongroom::{Builder, ProviderFault};

use super::log::Log;
use super::service::{PLAIN, Service, service};
use super::slot::{made_with, words};

fn with_token(service: &Service, key: &str, token: &str) -> TransitOptions {
    let token = TokenFrom::File(service.write_token(token));
    let mut options = TransitOptions::new(&service.url(PLAIN), key, token);
    options.roots_file(service.authority.file());
    options
}

#[test]
fn a_token_that_may_only_decrypt_opens_files_and_makes_no_slot() {
    let Some(service) = service() else { return };
    let name = service.new_key();
    let wrapped = made_with(service.key(&name)).unwrap();
    let how = json!({"policies": ["opener"], "ttl": "1h"});
    // The second may not even look at itself.
    let bare = json!({"policies": ["opener"], "ttl": "1h", "no_default_policy": true});
    for how in [how, bare] {
        let options = with_token(service, &name, &service.token(&how));
        wrapped.unwrap_with(options.clone()).unwrap();
        let error = made_with(TransitKey::new(options).unwrap()).err().unwrap().to_string();
        assert!(error.contains("the token may not do this"), "{error}");
    }
    let nothing = service.token(&json!({"policies": ["default"], "ttl": "1h"}));
    let error = wrapped.refused(with_token(service, &name, &nothing), "Denied");
    assert!(error.contains("needs update on transit/encrypt"), "{error}");
}

#[test]
fn a_misspelt_name_makes_no_key_even_where_the_token_may_make_one() {
    let Some(service) = service() else { return };
    let careless = service.token(&json!({"policies": ["careless"], "ttl": "1h"}));
    let options = with_token(service, "misspelt", &careless);
    let error = made_with(TransitKey::new(options).unwrap()).err().unwrap().to_string();
    assert!(error.contains("\"misspelt\" in transit: effaced, or misspelt"), "{error}");
    assert_eq!(service.status("GET", "transit/keys/misspelt", None), 404);
}

/// Seconds that the server gives a token.
fn ttl(service: &Service, token: &str) -> u64 {
    let answer = service.ask("POST", "auth/token/lookup", &json!({"token": token}));
    answer["data"]["ttl"].as_u64().unwrap()
}

#[test]
fn a_token_is_renewed_below_half_its_time_unless_it_is_to_be_left_alone() {
    let Some(service) = service() else { return };
    let name = service.new_key();
    let wrapped = made_with(service.key(&name)).unwrap();
    let token = || service.token(&json!({"policies": ["user"], "ttl": "8s"}));
    let (kept, left) = (token(), token());
    let key = TransitKey::new(with_token(service, &name, &kept)).unwrap();
    let mut options = with_token(service, &name, &left);
    options.leave_token_alone();
    let alone = TransitKey::new(options).unwrap();
    let log = Log::default();
    let renew = || tracing::subscriber::with_default(log.clone(), || key.renew_token());
    assert!(renew().unwrap().unwrap() <= Duration::from_secs(8));
    assert_eq!(log.about("was renewed"), 0);
    wrapped.unwrap_by(&alone).unwrap();

    thread::sleep(Duration::from_millis(5200));
    wrapped.unwrap_by(&alone).unwrap();
    // A look changes nothing.
    let health = key.health();
    assert!(health.problem.is_none(), "{:?}", health.problem);
    assert!(health.token.unwrap().ttl.unwrap() < Duration::from_secs(4));
    assert!(ttl(service, &kept) < 4);
    assert!(renew().unwrap().unwrap() > Duration::from_secs(6));
    assert_eq!(log.about("was renewed"), 1);
    assert!(ttl(service, &kept) > 5);
    wrapped.unwrap_by(&key).unwrap();

    thread::sleep(Duration::from_millis(3600));
    let error = words(wrapped.unwrap_by(&alone), "Denied");
    assert!(error.contains("has expired"), "{error}");
    wrapped.unwrap_by(&key).unwrap();
}

#[test]
fn a_token_that_never_ends_and_one_that_cant_be_renewed_are_left_as_they_are() {
    let Some(service) = service() else { return };
    let name = service.new_key();
    let wrapped = made_with(service.key(&name)).unwrap();
    let batch = json!({"policies": ["user"], "ttl": "10m", "type": "batch"});
    let fixed = json!({"policies": ["user"], "ttl": "10m", "renewable": false});
    let endless = json!({"policies": ["root"]});
    for (how, ends) in [(batch, true), (fixed, true), (endless, false)] {
        let options = with_token(service, &name, &service.token(&how));
        let key = TransitKey::new(options).unwrap();
        assert_eq!(key.renew_token().unwrap().is_some(), ends, "{how}");
        wrapped.unwrap_by(&key).unwrap();
        let health = key.health();
        assert_eq!((health.may_wrap, health.may_unwrap), (Some(true), Some(true)), "{how}");
        let token = health.token.unwrap();
        assert_eq!((token.ttl.is_some(), token.renewable), (ends, false), "{how}");
        let warned = health.warnings(std::time::SystemTime::now());
        assert_eq!(warned.iter().any(|w| w.contains("can't be renewed")), ends, "{warned:?}");
    }
}

const CHILD: &str = "STRONGROOM_KMS_CHILD";

/// In a child process, since the environment is the process's.
#[test]
fn a_token_may_come_from_the_environment_and_a_proxy_may_not() {
    if let Ok(url) = std::env::var(CHILD) {
        let var = |name: &str| std::env::var(name).unwrap();
        let open = |token: &str| {
            let token = TokenFrom::Environment(token.to_owned());
            let mut options = TransitOptions::new(&url, &var("TEST_KEY"), token);
            options.roots_file(var("TEST_ROOTS"));
            let key = Arc::new(TransitKey::new(options).unwrap());
            let medium = MemoryMedium::new();
            Builder::new().create_on(medium.clone(), &key)?.close().unwrap();
            Builder::new().open_on(medium, &key).map(drop)
        };
        open("TEST_TOKEN").unwrap();
        let strongroom::OpenError::Provider(failure) = open("TEST_NO_TOKEN").unwrap_err() else {
            panic!("another error");
        };
        assert!(matches!(failure.fault, ProviderFault::Answered(_)));
        assert!(failure.to_string().contains("TEST_NO_TOKEN is not in the environment"));
        println!("the child opened it");
        return;
    }
    let Some(service) = service() else { return };
    let test = "tokens::a_token_may_come_from_the_environment_and_a_proxy_may_not";
    let token = service.token(&json!({"policies": ["user"], "ttl": "1h"}));
    // Nobody is at this address: whoever goes by a proxy gets nowhere.
    let proxies = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"];
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, service.url(PLAIN))
        .env("TEST_KEY", service.new_key())
        .env("TEST_ROOTS", service.authority.file())
        .env("TEST_TOKEN", token)
        .envs(proxies.map(|name| (name, "http://127.0.0.1:9")))
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("the child opened it"), "{text}");
}
