//! The library's errors name the library's calls; here they are put into the words of the command
//! line. Pure, and tested over every error that names one.

use strongroom::{Error, OpenError};

/// What the library says, and what the command line says instead.
const WORDS: &[(&str, &str)] = &[
    ("; `create` makes a new database in an existing directory, `open` never makes one", ""),
    ("`Builder::restore_header`", "`strongroom key restore-header`"),
    ("`Builder::anchor_timeout`", "the time limit"),
    ("`Builder::anchor`", "`--anchor`"),
    ("`Builder::accept_rollback`", "the library's call `accept_rollback`"),
    ("`Builder::kdf_limits`", "the limits with `--max-kdf-memory`"),
    ("`Builder::provider_timeout`", "the time limit"),
    ("`client_certificate`", "`--kms-cert`"),
    ("`Builder::check_integrity_on_open`", "`strongroom rotate --check`"),
    ("`Builder::allow_unlocked` if you exclude second opens yourself", "copy it to one"),
    ("`Rotation::give_up_unreadable`", "`strongroom rotate --give-up-unreadable`"),
    ("`Database::upgrade`", "its call `upgrade`"),
    ("`Database::rotate`", "`strongroom rotate`"),
    ("`Database::key_status`", "`strongroom key list`"),
    ("`AdminSession::bind_anchor`", "the library's call `bind_anchor`"),
    ("`AdminSession::unbind_anchor`", "the library's call `unbind_anchor`"),
    ("`TurnBack::Allow`", "`--turn-back`"),
    ("`LockMemory::Prefer`", "memory that is not locked"),
    ("`strongroom::convert::encrypt`", "`strongroom encrypt`"),
    ("`Options::kept_bytes_max`", "`--memory`"),
    ("`Options::allow_unreadable`", "`--allow-unreadable`"),
    ("use `revoke_admin` with the credentials", "revoke it with the credentials"),
    ("`revoke_data` needs", "revoking it needs"),
    (", then call `Database::admin` with this one", ", and give this one as `--admin-...`"),
];

/// The library's text in the words of the command line.
pub(crate) fn in_our_words(text: &str) -> String {
    WORDS.iter().fold(text.to_owned(), |text, (library, ours)| text.replace(library, ours))
}

/// What to do next, where the command line has a better answer than the error's own text.
pub(crate) fn next(error: &Error) -> Option<&'static str> {
    let Error::Open(error) = error else { return None };
    match error {
        OpenError::NeedsRecovery => {
            Some("give --recover, which lets this verb recover the file first")
        }
        OpenError::NotFound(_) => Some("check the path; `strongroom create` makes a new file"),
        OpenError::WrongKey => Some(
            "`strongroom inspect FILE` shows the kinds and labels of the key slots without a key",
        ),
        _ => None,
    }
}

#[cfg(test)]
#[path = "wording/tests.rs"]
mod tests;
