//! Whom the client believes and who may ask, against a server with a listener for each case.

use std::collections::BTreeSet;
use std::time::Instant;

use strongroom::providers::kms::{Pin, TokenFrom, TransitOptions};

use super::certificates::{Authority, Ends, fingerprint};
use super::service::{EXPIRED, MUTUAL, OLD, PLAIN, STRANGER, service};
use super::slot::made_with;

#[test]
fn each_handshake_that_must_fail_says_why() {
    let Some(service) = service() else { return };
    let name = service.new_key();
    let wrapped = made_with(service.key(&name)).unwrap();
    let other = Authority::new(&service.folder, "other-authority");
    let foreign = other.sign("foreign", "DNS:us", Ends::InDays(90));
    let ours = service.authority.sign("ours", "DNS:us", Ends::InDays(90));
    let past = service.authority.sign("past", "DNS:us", Ends::LongAgo);
    let with = |listener, change: &dyn Fn(&mut TransitOptions)| {
        let mut options = service.options(listener, &name);
        change(&mut options);
        options
    };
    let as_it_is = |_: &mut TransitOptions| {};
    let client = |files: &(std::path::PathBuf, std::path::PathBuf)| {
        let (certificate, key) = files.clone();
        move |options: &mut TransitOptions| {
            options.client_certificate(&certificate, &key);
        }
    };

    for options in [
        with(PLAIN, &as_it_is),
        with(PLAIN, &client(&ours)),
        with(MUTUAL, &client(&ours)),
        with(OLD, &|options| {
            options.allow_tls12();
        }),
    ] {
        wrapped.unwrap_with(options).unwrap();
    }

    let mut said = BTreeSet::new();
    for (what, options, kind, words) in [
        (
            "wrong CA",
            with(PLAIN, &|options| {
                options.roots_file(other.file());
            }),
            "Unavailable",
            "leads to none of the roots in ",
        ),
        ("wrong host name", with(STRANGER, &as_it_is), "Unavailable", "is for another host name"),
        ("expired", with(EXPIRED, &as_it_is), "Unavailable", "certificate expired on 2020-02-01"),
        ("no client certificate", with(MUTUAL, &as_it_is), "Denied", "certificate and none is set"),
        ("foreign client", with(MUTUAL, &client(&foreign)), "Denied", "refuses the client certif"),
        ("past client", with(MUTUAL, &client(&past)), "Denied", "which expired on 2020-02-01"),
        ("TLS 1.2 only", with(OLD, &as_it_is), "Unavailable", "speaks no TLS 1.3"),
    ] {
        let error = wrapped.refused(options, kind);
        assert!(error.contains(words), "{what}: {error}");
        println!("{what}: {error}");
        assert!(said.insert(error), "{what}: said before");
    }
    println!("figure: handshakes refused, each in its own words = {}", said.len());

    let key = service.key(&name);
    wrapped.unwrap_by(&key).unwrap();
    let mut times: Vec<_> = (0..21)
        .map(|_| {
            let began = Instant::now();
            wrapped.unwrap_by(&key).unwrap();
            began.elapsed().as_micros()
        })
        .collect();
    times.sort_unstable();
    println!(
        "figure: a secret unwrapped, connection and handshake in it, median us = {}",
        times[10]
    );
}

#[test]
fn a_pin_stands_for_a_chain_and_a_name_or_beside_them() {
    let Some(service) = service() else { return };
    let name = service.new_key();
    let wrapped = made_with(service.key(&name)).unwrap();
    let pin = |stem: &str, of_public_key| {
        let certificate = service.folder.join(format!("{stem}.pem"));
        let kind = if of_public_key { "spki" } else { "cert" };
        format!("{kind}:{}", fingerprint(&certificate, of_public_key)).parse::<Pin>().unwrap()
    };
    let rooted = |listener, pin| {
        let mut options = service.options(listener, &name);
        options.pin(pin);
        options
    };
    let pinned = |listener, pin| {
        let token = TokenFrom::File(service.token_file("user"));
        let mut options = TransitOptions::new(&service.url(listener), &name, token);
        options.pin(pin);
        options
    };
    for of_public_key in [true, false] {
        wrapped.unwrap_with(pinned(PLAIN, pin("server", of_public_key))).unwrap();
        wrapped.unwrap_with(rooted(PLAIN, pin("server", of_public_key))).unwrap();
        // Without roots the name doesn't matter; with them it does.
        wrapped.unwrap_with(pinned(STRANGER, pin("stranger", of_public_key))).unwrap();
        let error =
            wrapped.refused(rooted(STRANGER, pin("stranger", of_public_key)), "Unavailable");
        assert!(error.contains("another host name"), "{error}");
        // The dates always do.
        let error = wrapped.refused(pinned(EXPIRED, pin("expired", of_public_key)), "Unavailable");
        assert!(error.contains("expired on 2020-02-01"), "{error}");
        for options in
            [pinned(PLAIN, pin("stranger", of_public_key)), rooted(PLAIN, pin("stranger", true))]
        {
            let error = wrapped.refused(options, "Unavailable");
            let shown = pin("server", true).to_string();
            assert!(error.contains("not a pinned one") && error.contains(&shown), "{error}");
        }
    }
    // One of two is enough: the next key can be pinned before it is used.
    let mut both = pinned(PLAIN, pin("stranger", true));
    both.pin(pin("server", true));
    wrapped.unwrap_with(both).unwrap();
}
