//! `--tpm`: a slot sealed by a TPM 2.0, for who knows its PIN.

use clap::{ArgMatches, Command, value_parser};
#[cfg(not(feature = "tpm"))]
use strongroom::Credential;

use super::provider::{self, Name, name};
#[cfg(not(feature = "tpm"))]
use super::provider::{Health, Use};
#[cfg(not(feature = "tpm"))]
use crate::failure::Failure;

const TCTI: Name = name!("tpm");
const KEY: Name = name!("tpm-key");
const OWNER_FD: Name = name!("tpm-owner-fd");
const PCRS: Name = name!("tpm-pcrs");
const GENERATE: Name = name!("tpm-generate");
/// The kernel's resource manager.
pub(crate) const DEFAULT_TCTI: &str = "device:/dev/tpmrm0";

/// A TPM, and what is said of the slot that it seals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tpm {
    /// As it was given: whether it is one is told when it is used.
    tcti: String,
    key: Option<u32>,
    pin_fd: Option<u32>,
    owner_fd: Option<u32>,
    pcrs: Vec<u8>,
    generate: bool,
}

impl Tpm {
    pub(super) fn of_this_machine() -> Self {
        let tcti = DEFAULT_TCTI.to_owned();
        Self { tcti, key: None, pin_fd: None, owner_fd: None, pcrs: Vec::new(), generate: false }
    }
}

pub(super) fn augment<const FOR: usize>(command: Command) -> Command {
    let has_it = cfg!(feature = "tpm");
    let of = provider::of::<FOR>;
    let command = command
        .arg(
            provider::chooses::<FOR>(TCTI, has_it)
                .value_name("TCTI")
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value(DEFAULT_TCTI)
                .group(of(provider::PINNED))
                .help(
                    "A TPM 2.0, on this machine's own unless said, as in \
                     --tpm=swtpm:host=127.0.0.1,port=2321; its PIN is asked for",
                ),
        )
        .arg(
            provider::of_it::<FOR>(KEY, has_it)
                .value_name("HANDLE")
                .value_parser(handle)
                .requires(of(TCTI))
                .help(
                    "The TPM's storage key at this persistent handle, 0x81000000 and up, instead \
                     of its storage primary: one that can be destroyed",
                ),
        )
        .arg(
            provider::of_it::<FOR>(OWNER_FD, has_it)
                .value_name("N")
                .value_parser(value_parser!(u32))
                .requires(of(TCTI))
                .help("Read the authorisation value of the TPM's owner, if it has one, from here"),
        );
    if !provider::makes(FOR) {
        return command;
    }
    let generate = provider::of_it::<FOR>(GENERATE, has_it)
        .requires(of(KEY))
        .help("Make the storage key in the TPM, where nothing is at its handle yet");
    let pcrs = provider::of_it::<FOR>(PCRS, has_it)
        .value_name("LIST")
        .value_delimiter(',')
        .value_parser(value_parser!(u8).range(0..=23))
        .requires(of(TCTI))
        .help(
            "The slot opens only while these PCRs (SHA-256) are as they are now, as in 7 or 7,11: \
             after a change of firmware or boot loader it does not",
        );
    command.arg(pcrs).arg(provider::flag(generate))
}

/// `0x81000100`, or the same in decimal digits.
pub(crate) fn handle(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| "a handle is a number of 32 bits, as 0x81000100".to_owned())
}

pub(super) fn chosen<const FOR: usize>(matches: &ArgMatches, pin_fd: Option<u32>) -> Option<Tpm> {
    let of = provider::of::<FOR>;
    let number = |name| matches.get_one::<u32>(of(name)).copied();
    let tcti = provider::text::<FOR>(matches, TCTI)?;
    let pcrs = match provider::makes(FOR) {
        true => matches.get_many::<u8>(of(PCRS)).unwrap_or_default().copied().collect(),
        false => Vec::new(),
    };
    let generate = provider::makes(FOR) && matches.get_flag(of(GENERATE));
    Some(Tpm { tcti, key: number(KEY), pin_fd, owner_fd: number(OWNER_FD), pcrs, generate })
}

#[cfg(not(feature = "tpm"))]
impl Tpm {
    pub(super) fn credential(&self, _: Use) -> Result<Box<dyn Credential>, Failure> {
        Err(Failure::usage(provider::absent("TPMs", "tpm")))
    }

    pub(super) fn health(&self) -> Health {
        Health::unreachable("tpm2", "TPM", &provider::absent("TPMs", "tpm"))
    }
}

/// The TSS library writes every refusal to standard error by itself, beside what we say of it, unless
/// a variable says no. A process can't set its own environment without unsafe code, so where a TPM
/// is named this one begins again with it: same process, same descriptors.
#[cfg(feature = "tpm")]
pub(crate) fn hush_its_library() {
    use std::os::unix::process::CommandExt;

    const LOG: &str = "TSS2_LOG";
    let names_one = |argument: &std::ffi::OsString| {
        let argument = argument.as_encoded_bytes();
        argument.windows(3).any(|part| part == b"tpm")
    };
    if std::env::var_os(LOG).is_some() || !std::env::args_os().skip(1).any(|it| names_one(&it)) {
        return;
    }
    // Where that doesn't work, there are more lines than need be.
    if let Ok(us) = std::env::current_exe() {
        let _ = std::process::Command::new(us)
            .args(std::env::args_os().skip(1))
            .env(LOG, "all+NONE")
            .exec();
    }
}

#[cfg(feature = "tpm")]
mod with_it {
    use std::sync::Arc;
    use std::time::Duration;

    use serde_json::json;
    use strongroom::providers::tpm::{Tcti, TpmHealth, TpmProvider};
    use strongroom::{Credential, ProviderError};

    use super::Tpm;
    use crate::credential::line_from_fd;
    use crate::credential::provider::{self, Health, Use};
    use crate::failure::Failure;
    use crate::prompt;

    impl Tpm {
        pub(in crate::credential) fn credential(
            &self,
            how: Use,
        ) -> Result<Box<dyn Credential>, Failure> {
            let owner = self.owner_fd.map(|fd| line_from_fd(fd, "owner's value")).transpose()?;
            let with = |pin: &[u8]| -> Result<TpmProvider, Failure> {
                let mut tpm = TpmProvider::new(self.tcti()?, pin).pcrs(&self.pcrs);
                if let Some(handle) = self.key {
                    tpm = tpm.key_at(handle);
                }
                if let Some(owner) = &owner {
                    tpm = tpm.owner_auth(owner.as_slice());
                }
                Ok(match how.kdf.cost() {
                    Some(cost) => tpm.cost(cost),
                    None => tpm,
                })
            };
            let unpinned = with(b"")?;
            if self.generate {
                match unpinned.probe() {
                    Err(ProviderError::NoKey(_)) => unpinned.generate_key().map_err(failed)?,
                    Err(error) => return Err(failed(error)),
                    Ok(_) => {}
                }
            }
            if self.pin_fd.is_none() {
                // Nobody types a PIN for a TPM that isn't there, or takes none.
                let health = unpinned.probe().map_err(failed)?;
                if health.lockout.is_locked() {
                    let retry_after = health.lockout.retry_after();
                    return Err(failed(ProviderError::LockedOut { retry_after }));
                }
            }
            // A slot's PIN is chosen with the slot: a slip of the finger would lock it for good.
            let pin = provider::pin(self.pin_fd, || match how.makes {
                true => prompt::new_pin("New PIN for the TPM"),
                false => prompt::pin("PIN for the TPM"),
            })?;
            Ok(Box::new(Arc::new(with(&pin)?)))
        }

        fn tcti(&self) -> Result<Tcti, Failure> {
            self.tcti.parse().map_err(|error| Failure::usage(format!("{error}")))
        }

        pub(in crate::credential) fn health(&self) -> Health {
            let tcti = match self.tcti() {
                Ok(tcti) => tcti,
                Err(failure) => {
                    return Health::unreachable("tpm2", "TPM", &failure.what().unwrap_or_default());
                }
            };
            let tpm = TpmProvider::new(tcti, b"");
            let tpm = match self.key {
                Some(handle) => tpm.key_at(handle),
                None => tpm,
            };
            match tpm.probe() {
                Ok(health) => of_tpm(&health),
                Err(error) => {
                    let problem = crate::wording::in_our_words(&error.to_string());
                    Health::unreachable("tpm2", "TPM", &problem)
                }
            }
        }
    }

    fn failed(error: ProviderError) -> Failure {
        provider::failed("TPM", &error)
    }

    pub(super) fn of_tpm(health: &TpmHealth) -> Health {
        let TpmHealth { manufacturer, lockout, key_name, .. } = health;
        let seconds = |time: Duration| time.as_secs();
        let wait = lockout.retry_after().map(seconds);
        let state = match (lockout.is_locked(), wait) {
            (false, _) => format!("{} of {} wrong attempts", lockout.failed, lockout.max),
            (true, Some(wait)) => format!("LOCKED for at most {wait} s"),
            (true, None) => "LOCKED until somebody unlocks it".to_owned(),
        };
        let warning = lockout
            .is_locked()
            .then(|| "the TPM takes no PIN now; another slot opens the file, or wait".to_owned());
        Health {
            json: json!({
                "provider": "tpm2", "reachable": true, "manufacturer": manufacturer,
                "key_name": key_name, "failed_attempts": lockout.failed,
                "attempts_max": lockout.max, "recovery_s": seconds(lockout.recovery),
                "locked": lockout.is_locked(),
                "retry_after_s": if lockout.is_locked() { wait } else { None },
                "problem": null,
            }),
            lines: vec![format!("TPM: present, made by {manufacturer}, {state}")],
            warnings: warning.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_hexadecimal_or_decimal() {
        assert_eq!(handle("0x81000100"), Ok(0x8100_0100));
        assert_eq!(handle("2164261120"), Ok(0x8100_0100));
        for bad in ["", "0x", "81000100g", "0x1ffffffff", "-1"] {
            assert!(handle(bad).is_err(), "{bad}");
        }
    }
}
