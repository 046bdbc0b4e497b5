//! Files replaced on disk under a provider that goes on living: each is used by the next call.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use strongroom::providers::kms::{TokenFrom, TransitKey, TransitOptions};

use super::certificates::{Authority, Ends};
use super::service::{MUTUAL, PLAIN, RENEWED, service};
use super::slot::{made_with, words};

/// As files are replaced: another one is renamed over them.
fn replace(file: &Path, by: &Path) {
    let next = file.with_extension("next");
    fs::copy(by, &next).unwrap();
    fs::rename(next, file).unwrap();
}

#[test]
fn a_file_replaced_on_disk_is_used_by_the_next_call() {
    let Some(service) = service() else { return };
    let name = service.new_key();
    let wrapped = made_with(service.key(&name)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = |file: &str| folder.path().join(file);
    let past = service.authority.sign("replaced-1", "DNS:us", Ends::LongAgo);
    let good = service.authority.sign("replaced-2", "DNS:us", Ends::InDays(9));
    let better = service.authority.sign("replaced-3", "DNS:us", Ends::InDays(90));
    let other = Authority::new(&service.folder, "replaced-authority");
    let token = service.token_file("user");
    for (file, by) in [("us.pem", &past.0), ("us.key", &past.1), ("token", &token)] {
        replace(&at(file), by);
    }
    replace(&at("roots.pem"), &service.authority.file());
    let token_from = TokenFrom::File(at("token"));
    let mut options = TransitOptions::new(&service.url(MUTUAL), &name, token_from);
    options.roots_file(at("roots.pem")).client_certificate(at("us.pem"), at("us.key"));
    let key = TransitKey::new(options).unwrap();
    let refused = |kind: &str, what: &str| {
        let error = words(wrapped.unwrap_by(&key), kind);
        assert!(error.contains(what), "{what}: {error}");
    };

    refused("Denied", "which expired on 2020-02-01");
    replace(&at("us.pem"), &good.0);
    refused("Unavailable", "don't belong together");
    replace(&at("us.key"), &good.1);
    wrapped.unwrap_by(&key).unwrap();
    let ends = key.health().client_certificate_ends.unwrap();
    replace(&at("us.key"), &better.1);
    replace(&at("us.pem"), &better.0);
    wrapped.unwrap_by(&key).unwrap();
    assert!(key.health().client_certificate_ends.unwrap() > ends);

    replace(&at("roots.pem"), &other.file());
    refused("Unavailable", "none of the roots");
    replace(&at("roots.pem"), &service.authority.file());
    wrapped.unwrap_by(&key).unwrap();

    replace(&at("token"), &service.write_token("s.NoSuchToken"));
    refused("Denied", "the token may not do this");
    fs::remove_file(at("token")).unwrap();
    refused("Denied", "no token in");
    replace(&at("token"), &service.token_file("user"));
    wrapped.unwrap_by(&key).unwrap();

    for file in ["us.pem", "us.key", "roots.pem"] {
        let whole = fs::read(at(file)).unwrap();
        for bytes in [&b""[..], b"no PEM", &whole[..whole.len() / 2], &vec![b'-'; 2 << 20]] {
            fs::write(at(file), bytes).unwrap();
            refused("Unavailable", file);
        }
        fs::remove_file(at(file)).unwrap();
        refused("Unavailable", file);
        fs::write(at(file), whole).unwrap();
        wrapped.unwrap_by(&key).unwrap();
    }
}

#[test]
fn a_certificate_that_the_server_replaces_is_met_without_a_restart() {
    let Some(service) = service() else { return };
    let name = service.new_key();
    let wrapped = made_with(service.key(&name)).unwrap();
    let key = TransitKey::new(service.options(RENEWED, &name)).unwrap();
    assert!(words(wrapped.unwrap_by(&key), "Unavailable").contains("expired on 2020-02-01"));
    let ended = key.health().service_certificate_ends.unwrap();
    let ours = "DNS:localhost,IP:127.0.0.1";
    service.authority.sign("renewed", ours, Ends::InDays(20));
    service.reload();
    let began = Instant::now();
    while let Err(error) = wrapped.unwrap_by(&key) {
        assert!(began.elapsed() < Duration::from_secs(10), "{error}");
        thread::sleep(Duration::from_millis(50));
    }
    let health = key.health();
    assert!(health.service_certificate_ends.unwrap() > ended && health.problem.is_none());
    let warnings = health.warnings(std::time::SystemTime::now());
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("the key service's certificate expires on "), "{warnings:?}");
    // The other listeners' certificates have more time.
    let plain = TransitKey::new(service.options(PLAIN, &name)).unwrap();
    assert_eq!(plain.health().warnings(std::time::SystemTime::now()), [""; 0]);
}
