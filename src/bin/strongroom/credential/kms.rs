//! `--kms`: a key of a key service, the Transit engine of OpenBao or Vault.

use std::path::PathBuf;

use clap::{ArgAction, ArgGroup, ArgMatches, Command, value_parser};
#[cfg(not(feature = "kms"))]
use strongroom::Credential;

use super::provider::{self, Name, name};
#[cfg(not(feature = "kms"))]
use super::provider::{Health, Use};
#[cfg(not(feature = "kms"))]
use crate::failure::Failure;

const URL: Name = name!("kms");
const KEY: Name = name!("kms-key");
const MOUNT: Name = name!("kms-mount");
const NAMESPACE: Name = name!("kms-namespace");
const CA: Name = name!("kms-ca");
const PIN: Name = name!("kms-pin");
const CERT: Name = name!("kms-cert");
const CERT_KEY: Name = name!("kms-cert-key");
const TOKEN_FILE: Name = name!("kms-token-file");
const TOKEN_ENV: Name = name!("kms-token-env");
const TLS12: Name = name!("kms-allow-tls12");
/// One of them is wanted.
const TOKEN: Name = name!("kms-token");
const TRUST: Name = name!("kms-trust");

/// A key of a service, whom to believe, and who is asking.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Kms {
    url: String,
    key: String,
    mount: Option<String>,
    namespace: Option<String>,
    ca: Option<PathBuf>,
    /// As they were given.
    pins: Vec<String>,
    cert: Option<PathBuf>,
    cert_key: Option<PathBuf>,
    token_file: Option<PathBuf>,
    token_env: Option<String>,
    allow_tls12: bool,
}

pub(super) fn augment<const FOR: usize>(command: Command) -> Command {
    let has_it = cfg!(feature = "kms");
    let of = provider::of::<FOR>;
    let more = |name, value, help: &'static str| {
        provider::of_it::<FOR>(name, has_it).value_name(value).requires(of(URL)).help(help)
    };
    let file = |name, help| more(name, "FILE", help).value_parser(value_parser!(PathBuf));
    let url = provider::chooses::<FOR>(URL, has_it)
        .value_name("URL")
        .requires_all([of(KEY), of(TOKEN), of(TRUST)])
        .help("A key of OpenBao's or Vault's Transit engine at this https address");
    let tls12 = provider::of_it::<FOR>(TLS12, has_it)
        .requires(of(URL))
        .help("Take TLS 1.2 as well, where the service speaks nothing newer");
    command
        .arg(url)
        .arg(more(KEY, "NAME", "The key's name; the service is never asked to make one"))
        .arg(more(MOUNT, "PATH", "Where the Transit engine is mounted, `transit` unless said"))
        .arg(more(NAMESPACE, "PATH", "The namespace that mount and token belong to"))
        .arg(file(CA, "Certificates (PEM) of who may vouch for the service; never the system's"))
        .arg(
            more(
                PIN,
                "HASH",
                "What the service's certificate must be, spki:HEX or cert:HEX of its SHA-256; with \
                 --kms-ca both are wanted, alone it stands for name and chain. May be repeated",
            )
            .action(ArgAction::Append),
        )
        .arg(
            file(CERT, "A client certificate (PEM, with its chain), where the service wants one")
                .requires(of(CERT_KEY)),
        )
        .arg(file(CERT_KEY, "Its private key (PEM); may be the same file").requires(of(CERT)))
        .arg(file(TOKEN_FILE, "The file that holds the service's token, and nothing else"))
        .arg(more(
            TOKEN_ENV,
            "NAME",
            "The environment variable that holds the service's token; a file is better, since \
             every program that is started gets the variable",
        ))
        .arg(provider::flag(tls12))
        .group(ArgGroup::new(of(TRUST)).args([of(CA), of(PIN)]).multiple(true))
        .group(ArgGroup::new(of(TOKEN)).args([of(TOKEN_FILE), of(TOKEN_ENV)]))
}

pub(super) fn chosen<const FOR: usize>(matches: &ArgMatches) -> Option<Kms> {
    let of = provider::of::<FOR>;
    let text = |name| provider::text::<FOR>(matches, name);
    let path = |name| matches.get_one::<PathBuf>(of(name)).cloned();
    Some(Kms {
        url: text(URL)?,
        key: text(KEY).unwrap_or_default(),
        mount: text(MOUNT),
        namespace: text(NAMESPACE),
        ca: path(CA),
        pins: matches.get_many::<String>(of(PIN)).unwrap_or_default().cloned().collect(),
        cert: path(CERT),
        cert_key: path(CERT_KEY),
        token_file: path(TOKEN_FILE),
        token_env: text(TOKEN_ENV),
        allow_tls12: matches.get_flag(of(TLS12)),
    })
}

#[cfg(not(feature = "kms"))]
impl Kms {
    pub(super) fn credential(&self, _: Use) -> Result<Box<dyn Credential>, Failure> {
        Err(Failure::usage(provider::absent("key services", "kms")))
    }

    pub(super) fn health(&self) -> Health {
        Health::unreachable("transit", "key service", &provider::absent("key services", "kms"))
    }
}

#[cfg(feature = "kms")]
mod with_it {
    use std::sync::Arc;
    use std::time::{SystemTime, UNIX_EPOCH};

    use serde_json::json;
    use strongroom::Credential;
    use strongroom::providers::kms::{
        Pin, TokenFrom, TransitHealth, TransitKey, TransitOptions, TransitOptionsError,
    };

    use super::Kms;
    use crate::credential::provider::{Health, Use};
    use crate::credential::refuse_readable;
    use crate::failure::Failure;
    use crate::output::{moment, span};
    use crate::wording;

    impl Kms {
        pub(in crate::credential) fn credential(
            &self,
            how: Use,
        ) -> Result<Box<dyn Credential>, Failure> {
            for (path, what) in [(&self.token_file, "token file"), (&self.cert_key, "private key")]
            {
                if let Some(path) = path {
                    refuse_readable(path, what, how.allow_readable)?;
                }
            }
            Ok(Box::new(Arc::new(self.key(how.tries)?)))
        }

        fn key(&self, only_tries: bool) -> Result<TransitKey, Failure> {
            let token = match (&self.token_file, &self.token_env) {
                (Some(path), _) => TokenFrom::File(path.clone()),
                (None, name) => TokenFrom::Environment(name.clone().unwrap_or_default()),
            };
            let mut options = TransitOptions::new(&self.url, &self.key, token);
            if let Some(path) = &self.mount {
                options.mount(path);
            }
            if let Some(path) = &self.namespace {
                options.namespace(path);
            }
            if let Some(path) = &self.ca {
                options.roots_file(path);
            }
            for pin in &self.pins {
                options.pin(pin.parse::<Pin>().map_err(usage)?);
            }
            if let (Some(certificate), Some(key)) = (&self.cert, &self.cert_key) {
                options.client_certificate(certificate, key);
            }
            if self.allow_tls12 {
                options.allow_tls12();
            }
            if only_tries {
                // Renewing it would be a change.
                options.leave_token_alone();
            }
            TransitKey::new(options).map_err(usage)
        }

        pub(in crate::credential) fn health(&self) -> Health {
            match self.key(true) {
                Ok(key) => of_service(&self.url, &key.health(), SystemTime::now()),
                Err(failure) => {
                    let problem = failure.what().unwrap_or_default();
                    Health::unreachable("transit", "key service", &problem)
                }
            }
        }
    }

    fn usage(error: TransitOptionsError) -> Failure {
        Failure::usage(wording::in_our_words(&error.to_string()))
    }

    fn unix(time: SystemTime) -> u64 {
        time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }

    pub(super) fn of_service(url: &str, health: &TransitHealth, now: SystemTime) -> Health {
        let problem = health.problem.as_ref();
        let problem = problem.map(|problem| wording::in_our_words(&problem.to_string()));
        let mut first = format!("key service {url}: ");
        first.push_str(match (health.reachable, health.sealed) {
            (false, _) => "not reachable",
            (true, Some(true)) => "reachable, SEALED",
            (true, _) => "reachable",
        });
        if health.standby == Some(true) {
            first.push_str(", a standby");
        }
        if let Some(version) = &health.version {
            first.push_str(&format!(", version {version}"));
        }
        let mut lines = vec![first];
        lines.extend(health.token.map(|token| match token.ttl {
            None => "  token: never ends".to_owned(),
            Some(ttl) if token.renewable => {
                format!("  token: {} to live, can be renewed", span(ttl.as_secs()))
            }
            Some(ttl) => format!("  token: {} to live", span(ttl.as_secs())),
        }));
        lines.extend(health.key.map(|key| {
            let (latest, min) = (key.latest_version, key.min_decryption_version);
            format!("  key: version {latest}, opens from version {min} on")
        }));
        lines.extend(permissions(health));
        let ends = [
            ("service", health.service_certificate_ends),
            ("client", health.client_certificate_ends),
        ];
        for (whose, ends) in ends {
            lines.extend(
                ends.map(|ends| {
                    format!("  {whose} certificate: good until {}", moment(unix(ends)))
                }),
            );
        }
        lines.extend(problem.as_ref().map(|problem| format!("  problem: it {problem}")));
        Health { json: to_json(url, health, problem), lines, warnings: health.warnings(now) }
    }

    fn permissions(health: &TransitHealth) -> Option<String> {
        let words = match (health.may_wrap?, health.may_unwrap?) {
            (true, true) => "opens files and makes slots",
            (false, true) => "opens files, makes no slots",
            (true, false) => "makes slots, OPENS NO FILES",
            (false, false) => "NEITHER OPENS FILES NOR MAKES SLOTS",
        };
        Some(format!("  the token {words} with this key"))
    }

    fn to_json(url: &str, health: &TransitHealth, problem: Option<String>) -> serde_json::Value {
        json!({
            "provider": "transit",
            "url": url,
            "reachable": health.reachable,
            "sealed": health.sealed,
            "standby": health.standby,
            "version": health.version,
            "token": health.token.map(|token| json!({
                "ttl_s": token.ttl.map(|ttl| ttl.as_secs()), "renewable": token.renewable,
            })),
            "key": health.key.map(|key| json!({
                "latest_version": key.latest_version,
                "min_decryption_version": key.min_decryption_version,
                "deletion_allowed": key.deletion_allowed,
            })),
            "may_wrap": health.may_wrap,
            "may_unwrap": health.may_unwrap,
            "service_certificate_ends": health.service_certificate_ends.map(unix),
            "client_certificate_ends": health.client_certificate_ends.map(unix),
            "problem": problem,
        })
    }
}
