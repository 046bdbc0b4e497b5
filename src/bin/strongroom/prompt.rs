//! What is asked on the terminal: passphrases and recovery codes, without echo, and yes or no. The
//! terminal itself is asked (`/dev/tty`), so standard input stays free for data.

use std::io;

use zeroize::Zeroizing;

use crate::failure::Failure;

/// A secret that somebody types; nothing of it is shown.
pub(crate) fn secret(what: &str) -> Result<Zeroizing<String>, Failure> {
    typed(what, "give --key-file FILE, --passphrase-fd N or --key-env NAME")
}

/// The PIN of what keeps a key.
#[cfg(any(feature = "pkcs11", feature = "tpm"))]
pub(crate) fn pin(what: &str) -> Result<Zeroizing<String>, Failure> {
    let typed = typed(what, "give --pin-fd N, or a PKCS #11 URI with a pin-source")?;
    if typed.is_empty() {
        return Err(Failure::usage("no PIN was typed, and none was tried"));
    }
    Ok(typed)
}

/// A PIN that is chosen now, typed twice.
#[cfg(feature = "tpm")]
pub(crate) fn new_pin(what: &str) -> Result<Zeroizing<String>, Failure> {
    let first = pin(what)?;
    let second = pin(&format!("{what}, again"))?;
    match *first == *second {
        true => Ok(first),
        false => Err(Failure::usage("the two don't match; nothing was changed").hint("try again")),
    }
}

fn typed(what: &str, otherwise: &str) -> Result<Zeroizing<String>, Failure> {
    let typed = rpassword::prompt_password(format!("{what}: "));
    typed.map(Zeroizing::new).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::Interrupted => {
            Failure::usage(format!("nothing was typed for: {what}"))
        }
        _ => Failure::usage(format!("there is no terminal to ask for this on: {what}"))
            .hint(otherwise),
    })
}

/// A new secret, typed twice: a slip of the finger would lock its owner out.
pub(crate) fn new_secret(what: &str) -> Result<Zeroizing<String>, Failure> {
    let first = secret(what)?;
    if first.is_empty() {
        return Err(Failure::usage("a passphrase can't be empty").hint("choose another one"));
    }
    let second = secret(&format!("{what}, again"))?;
    match *first == *second {
        true => Ok(first),
        false => Err(Failure::usage("the two don't match; nothing was changed").hint("try again")),
    }
}
