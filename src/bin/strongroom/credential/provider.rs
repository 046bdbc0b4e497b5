//! Keys that something else keeps: a PKCS #11 token, a TPM, a key service. One of them is named by
//! the options of its own file beside this one; here is what they have in common. None of these
//! options holds a secret: PINs are typed or come from a descriptor, tokens from a file or a
//! variable.
//!
//! The options are known to every binary, so that one that was built without a provider can say so
//! (`absent`); they are shown only by those that have it.

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::{Value, json};
use strongroom::Credential;
#[cfg(any(feature = "pkcs11", feature = "tpm"))]
use zeroize::Zeroizing;

use super::kms::Kms;
use super::pkcs11::Pkcs11;
use super::tpm::Tpm;
use super::{KdfArgs, kms, pkcs11, tpm};
use crate::failure::Failure;

/// What the credential that the options name is for.
pub(crate) const OPENS: usize = 0;
/// It opens a file that is made now: with what is said only once of a slot.
pub(crate) const CREATES: usize = 1;
pub(crate) const ADMINISTERS: usize = 2;
pub(crate) const IS_NEW: usize = 3;

/// An option's name by what the credential is for.
pub(super) type Name = [&'static str; 4];

macro_rules! name {
    ($name:literal) => {
        [$name, $name, concat!("admin-", $name), concat!("new-", $name)]
    };
}
pub(super) use name;

const PIN_FD: Name = name!("pin-fd");
const GROUP: Name = ["credential", "credential", "admin_credential", "new_credential"];
/// Those that want a PIN.
pub(super) const PINNED: Name = name!("pinned");
const HEADING: Name = [
    "Key in a token, a TPM or a key service",
    "Key in a token, a TPM or a key service",
    "Administrator's key in a token, a TPM or a key service",
    "New key in a token, a TPM or a key service",
];

pub(super) fn of<const FOR: usize>(name: Name) -> &'static str {
    let [opens, creates, administers, is_new] = name;
    match FOR {
        OPENS => opens,
        CREATES => creates,
        ADMINISTERS => administers,
        _ => is_new,
    }
}

/// Whether it makes a slot, so that there is more to say.
pub(super) const fn makes(purpose: usize) -> bool {
    purpose == CREATES || purpose == IS_NEW
}

/// An option that says which provider; it excludes every other credential.
pub(super) fn chooses<const FOR: usize>(name: Name, has_it: bool) -> Arg {
    of_it::<FOR>(name, has_it).group(of::<FOR>(GROUP)).hide_short_help(false)
}

/// An option that says more about it.
pub(super) fn of_it<const FOR: usize>(name: Name, has_it: bool) -> Arg {
    let name = of::<FOR>(name);
    let heading = of::<FOR>(HEADING);
    Arg::new(name).long(name).help_heading(heading).hide(!has_it).hide_short_help(true)
}

pub(super) fn flag(arg: Arg) -> Arg {
    arg.action(ArgAction::SetTrue)
}

pub(super) fn text<const FOR: usize>(matches: &ArgMatches, name: Name) -> Option<String> {
    matches.get_one::<String>(of::<FOR>(name)).cloned()
}

/// The provider that the options name, if they name one.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProviderArgs<const FOR: usize>(Option<Box<Chosen>>);

/// Where a key is that something else keeps, and what is said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Chosen {
    Pkcs11(Pkcs11),
    Tpm(Tpm),
    Kms(Kms),
}

/// What is done with it.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(
    not(all(feature = "pkcs11", feature = "tpm", feature = "kms")),
    allow(dead_code, reason = "each field is for some providers only")
)]
pub(crate) struct Use {
    /// A new slot is made.
    pub(crate) makes: bool,
    /// It is only tried: whatever keeps it is left as it is, as far as that can be.
    pub(crate) tries: bool,
    /// Files with secrets may be readable by others than their owner.
    pub(crate) allow_readable: bool,
    /// What a guess shall cost.
    pub(crate) kdf: KdfArgs,
}

/// How a provider is: as an object, in words, and what somebody should see to.
#[derive(Debug)]
pub(crate) struct Health {
    pub(crate) json: Value,
    pub(crate) lines: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

impl<const FOR: usize> ProviderArgs<FOR> {
    pub(crate) fn chosen(&self) -> Option<&Chosen> {
        self.0.as_deref()
    }

    pub(crate) fn to_chosen(&self) -> Option<Box<Chosen>> {
        self.0.clone()
    }
}

impl<const FOR: usize> clap::Args for ProviderArgs<FOR> {
    fn augment_args(command: Command) -> Command {
        let command = pkcs11::augment::<FOR>(command);
        let command = tpm::augment::<FOR>(command);
        let pinned = of_it::<FOR>(PIN_FD, cfg!(any(feature = "pkcs11", feature = "tpm")))
            .value_name("N")
            .value_parser(value_parser!(u32))
            .requires(of::<FOR>(PINNED))
            .help("Read the PIN, one line, from this file descriptor instead of asking for it");
        kms::augment::<FOR>(command.arg(pinned))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<const FOR: usize> clap::FromArgMatches for ProviderArgs<FOR> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let pin_fd = matches.get_one::<u32>(of::<FOR>(PIN_FD)).copied();
        let chosen = pkcs11::chosen::<FOR>(matches, pin_fd).map(Chosen::Pkcs11);
        let chosen = chosen.or_else(|| tpm::chosen::<FOR>(matches, pin_fd).map(Chosen::Tpm));
        let chosen = chosen.or_else(|| kms::chosen::<FOR>(matches).map(Chosen::Kms));
        match chosen.as_ref().and_then(Chosen::absent) {
            Some(what) => Err(clap::Error::raw(ErrorKind::InvalidValue, format!("{what}\n"))),
            None => Ok(Self(chosen.map(Box::new))),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Chosen {
    /// By a PKCS #11 URI, or this machine's TPM.
    pub(crate) fn by_name(name: &str) -> Box<Self> {
        Box::new(match name {
            "tpm" => Self::Tpm(Tpm::of_this_machine()),
            uri => Self::Pkcs11(Pkcs11::by_uri(uri)),
        })
    }

    /// What to say where this binary doesn't have it.
    fn absent(&self) -> Option<String> {
        let (has_it, what, feature) = match self {
            Self::Pkcs11(_) => (cfg!(feature = "pkcs11"), "PKCS #11 tokens", "pkcs11"),
            Self::Tpm(_) => (cfg!(feature = "tpm"), "TPMs", "tpm"),
            Self::Kms(_) => (cfg!(feature = "kms"), "key services", "kms"),
        };
        (!has_it).then(|| absent(what, feature))
    }

    /// For people: what is tried.
    pub(crate) fn title(&self) -> &'static str {
        match self {
            Self::Pkcs11(_) => "PKCS #11 token",
            Self::Tpm(_) => "TPM",
            Self::Kms(_) => "key service",
        }
    }

    /// The credential. Asks for a PIN where one is wanted and nothing says where it is, and makes
    /// the key where that is asked for.
    pub(crate) fn credential(&self, how: Use) -> Result<Box<dyn Credential>, Failure> {
        let costs = how.kdf.cost().is_some();
        if costs && !matches!(self, Self::Tpm(_)) {
            return Err(Failure::usage(
                "--kdf-memory and --kdf-passes are for passphrases and a TPM's PIN",
            ));
        }
        match self {
            Self::Pkcs11(token) => token.credential(how),
            Self::Tpm(tpm) => tpm.credential(how),
            Self::Kms(service) => service.credential(how),
        }
    }

    /// How the provider is. Tries no PIN, and changes nothing.
    pub(crate) fn health(&self) -> Health {
        match self {
            Self::Pkcs11(token) => token.health(),
            Self::Tpm(tpm) => tpm.health(),
            Self::Kms(service) => service.health(),
        }
    }
}

/// This binary can't do what it is asked to.
pub(crate) fn absent(what: &str, feature: &str) -> String {
    format!(
        "this strongroom was built without {what}; build it with them: `cargo install strongroom \
         --features cli,{feature}`"
    )
}

impl Health {
    /// Nothing could be found out.
    pub(super) fn unreachable(provider: &str, title: &str, problem: &str) -> Self {
        Self {
            json: json!({ "provider": provider, "reachable": false, "problem": problem }),
            lines: vec![format!("{title}: {problem}")],
            warnings: Vec::new(),
        }
    }
}

/// A PIN from a descriptor, or typed.
#[cfg(any(feature = "pkcs11", feature = "tpm"))]
pub(super) fn pin(
    fd: Option<u32>,
    type_it: impl FnOnce() -> Result<Zeroizing<String>, Failure>,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    match fd {
        Some(fd) => super::line_from_fd(fd, "PIN"),
        None => Ok(Zeroizing::new(type_it()?.as_bytes().to_vec())),
    }
}

/// What a provider says before a file is looked at.
#[cfg(feature = "tpm")]
pub(super) fn failed(whose: &str, error: &strongroom::ProviderError) -> Failure {
    let what = crate::wording::in_our_words(&format!("the {whose} {error}"));
    Failure::new(crate::exit::of_provider(error), what)
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;

    fn parsed<const FOR: usize>(line: &str) -> Result<Option<Chosen>, String> {
        let command = ProviderArgs::<FOR>::augment_args(Command::new("t").no_binary_name(true));
        let matches = command.try_get_matches_from(line.split_whitespace());
        let matches = matches.map_err(|error| error.to_string())?;
        let args = ProviderArgs::<FOR>::from_arg_matches(&matches);
        args.map(|args| args.0.map(|chosen| *chosen)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_binary_takes_the_providers_that_it_has_and_says_which_it_has_not() {
        for (line, has_it, feature) in [
            ("--pkcs11 pkcs11:object=k", cfg!(feature = "pkcs11"), "pkcs11"),
            ("--tpm --pin-fd 3", cfg!(feature = "tpm"), "tpm"),
            (
                "--kms https://h --kms-key k --kms-token-env T --kms-ca c",
                cfg!(feature = "kms"),
                "kms",
            ),
        ] {
            match parsed::<OPENS>(line) {
                Ok(chosen) => assert!(chosen.is_some() && has_it, "{line}"),
                Err(text) => {
                    assert!(!has_it, "{line}: {text}");
                    assert!(text.contains(&format!("--features cli,{feature}")), "{text}");
                }
            }
        }
        assert_eq!(parsed::<OPENS>(""), Ok(None));
    }

    #[test]
    fn options_that_belong_together_are_wanted_together() {
        for line in [
            "--pin-fd 3",
            "--kms-key k",
            "--kms https://h",
            "--kms https://h --kms-key k",
            "--kms https://h --kms-key k --kms-token-env T --kms-token-file F",
            "--kms https://h --kms-key k --kms-token-env T --kms-cert F",
            "--kms https://h --kms-key k --kms-token-env T --pin-fd 3",
            "--pkcs11 pkcs11: --tpm",
            "--tpm-key 0x81000100",
            // Of an opening credential nothing is made.
            "--pkcs11 pkcs11: --pkcs11-generate",
            "--tpm --tpm-pcrs 7",
            "--tpm --tpm-key 0x81000100 --tpm-generate",
        ] {
            let error = parsed::<OPENS>(line).unwrap_err();
            assert!(!error.contains("built without"), "{line}: {error}");
        }
    }

    #[test]
    fn each_credential_has_options_of_its_own() {
        for (line, name) in [("--new-tpm", "new"), ("--admin-tpm", "admin"), ("--tpm", "tpm")] {
            let found =
                [parsed::<OPENS>(line), parsed::<ADMINISTERS>(line), parsed::<IS_NEW>(line)];
            let known = found.map(|found| match found {
                Ok(chosen) => chosen.is_some(),
                Err(text) => text.contains("built without"),
            });
            assert_eq!(known, [name == "tpm", name == "admin", name == "new"], "{line}");
        }
    }
}
