//! `--pkcs11`: a key in a PKCS #11 token, named by a URI of RFC 7512.

use clap::{ArgMatches, Command};
#[cfg(not(feature = "pkcs11"))]
use strongroom::Credential;

use super::provider::{self, Name, name};
#[cfg(not(feature = "pkcs11"))]
use super::provider::{Health, Use};
#[cfg(not(feature = "pkcs11"))]
use crate::failure::Failure;

const URI: Name = name!("pkcs11");
const GENERATE: Name = name!("pkcs11-generate");

/// A key in a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pkcs11 {
    /// As it was given: whether it is one is told when it is used.
    uri: String,
    pin_fd: Option<u32>,
    generate: bool,
}

impl Pkcs11 {
    pub(super) fn by_uri(uri: &str) -> Self {
        Self { uri: uri.to_owned(), pin_fd: None, generate: false }
    }
}

pub(super) fn augment<const FOR: usize>(command: Command) -> Command {
    let has_it = cfg!(feature = "pkcs11");
    let uri = provider::chooses::<FOR>(URI, has_it)
        .value_name("URI")
        .group(provider::of::<FOR>(provider::PINNED))
        .help(
            "A key in a PKCS #11 token, as pkcs11:token=T;object=KEY?module-path=/LIBRARY.so; the \
             PIN is asked for unless the URI has a pin-source=file:/PATH",
        );
    let command = command.arg(uri);
    if !provider::makes(FOR) {
        return command;
    }
    let generate = provider::of_it::<FOR>(GENERATE, has_it)
        .requires(provider::of::<FOR>(URI))
        .help("Make the key in the token, where it isn't there yet");
    command.arg(provider::flag(generate))
}

pub(super) fn chosen<const FOR: usize>(
    matches: &ArgMatches,
    pin_fd: Option<u32>,
) -> Option<Pkcs11> {
    let uri = provider::text::<FOR>(matches, URI)?;
    let generate = provider::makes(FOR) && matches.get_flag(provider::of::<FOR>(GENERATE));
    Some(Pkcs11 { uri, pin_fd, generate })
}

#[cfg(not(feature = "pkcs11"))]
impl Pkcs11 {
    pub(super) fn credential(&self, _: Use) -> Result<Box<dyn Credential>, Failure> {
        Err(Failure::usage(provider::absent("PKCS #11 tokens", "pkcs11")))
    }

    pub(super) fn health(&self) -> Health {
        let what = provider::absent("PKCS #11 tokens", "pkcs11");
        Health::unreachable("pkcs11", "PKCS #11", &what)
    }
}

#[cfg(feature = "pkcs11")]
mod with_it {
    use std::sync::Arc;

    use serde_json::json;
    use strongroom::providers::pkcs11::{
        Pin, PinHealth, Pkcs11Error, Pkcs11Provider, Pkcs11Uri, TokenReport,
    };
    use strongroom::{Credential, ProviderError};

    use super::Pkcs11;
    use crate::credential::provider::{self, Health, Use};
    use crate::credential::refuse_readable;
    use crate::failure::Failure;
    use crate::prompt;

    impl Pkcs11 {
        pub(in crate::credential) fn credential(
            &self,
            how: Use,
        ) -> Result<Box<dyn Credential>, Failure> {
            let provider = self.provider()?;
            let provider = match (self.pin_fd, provider.uri().pin_file()) {
                (None, Some(path)) => {
                    refuse_readable(&path, "PIN file", how.allow_readable)?;
                    provider
                }
                (None, None) => {
                    // Nobody types a PIN for a token that isn't there.
                    let token = provider.token().map_err(failed)?;
                    match token.pin {
                        PinHealth::Locked => return Err(failed(Pkcs11Error::PinLocked)),
                        PinHealth::LastTry => return Err(failed(Pkcs11Error::LastTry)),
                        _ if !token.wants_pin => provider,
                        _ => self.asked(provider, &token)?,
                    }
                }
                (Some(_), _) => {
                    let pin = provider::pin(self.pin_fd, || prompt::pin("PIN"))?;
                    provider.pin(kept(&pin)?)
                }
            };
            if self.generate {
                match provider.generate_key() {
                    Ok(_) | Err(Pkcs11Error::KeyExists(_)) => {}
                    Err(error) => return Err(failed(error)),
                }
            }
            Ok(Box::new(Arc::new(provider)))
        }

        fn provider(&self) -> Result<Pkcs11Provider, Failure> {
            let uri: Pkcs11Uri = self.uri.parse().map_err(|error| {
                Failure::usage(format!("{error}")).hint(
                    "a URI looks like \
                     'pkcs11:token=T;object=KEY?module-path=/usr/lib/softhsm/libsofthsm2.so'; \
                     quote it, the shell reads `;` and `?` too",
                )
            })?;
            Pkcs11Provider::new(uri).map_err(|error| Failure::usage(error.to_string()))
        }

        fn asked(
            &self,
            provider: Pkcs11Provider,
            token: &TokenReport,
        ) -> Result<Pkcs11Provider, Failure> {
            let what = format!("PIN of token {:?}", token.label);
            let pin = provider::pin(None, || prompt::pin(&what))?;
            Ok(provider.pin(kept(&pin)?))
        }

        pub(in crate::credential) fn health(&self) -> Health {
            let token = match self.provider() {
                Ok(provider) => provider.token().map_err(|error| error.to_string()),
                Err(failure) => Err(failure.what().unwrap_or_default()),
            };
            match token {
                Ok(token) => of_token(&token),
                Err(problem) => Health::unreachable("pkcs11", "PKCS #11 token", &problem),
            }
        }
    }

    fn kept(pin: &[u8]) -> Result<Pin, Failure> {
        Pin::new(pin).map_err(Failure::io("keeping the PIN in memory"))
    }

    fn failed(error: Pkcs11Error) -> Failure {
        let what = error.to_string();
        let exit = crate::exit::of_provider(&ProviderError::from(error));
        Failure::new(exit, crate::wording::in_our_words(&what))
    }

    pub(super) fn of_token(token: &TokenReport) -> Health {
        let TokenReport { label, manufacturer, model, serial, library, pin, .. } = token;
        let (name, words, warning) = match pin {
            PinHealth::Good => ("good", "PIN good", None),
            PinHealth::WrongBefore => {
                let warning = "a wrong PIN was tried since the last right one";
                ("wrong_before", "PIN good, wrong before", Some(warning))
            }
            PinHealth::LastTry => {
                ("last_try", "PIN at its last try", Some("one more wrong PIN locks the token"))
            }
            PinHealth::Locked => {
                let warning = "the token's PIN is locked until its security officer sets a new one";
                ("locked", "PIN LOCKED", Some(warning))
            }
            _ => ("unknown", "PIN unknown", None),
        };
        Health {
            json: json!({
                "provider": "pkcs11", "reachable": true, "token": label,
                "manufacturer": manufacturer, "model": model, "serial": serial,
                "library": library, "pin": name, "problem": null,
            }),
            lines: vec![format!(
                "PKCS #11 token {label:?}: present, {manufacturer} {model}, serial {serial}, {words}"
            )],
            warnings: warning.map(str::to_owned).into_iter().collect(),
        }
    }
}
