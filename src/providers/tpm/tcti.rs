//! Where a TPM is: the configuration string of the TSS library's transport (TCTI), checked before
//! the library sees it. The library takes what it doesn't understand for its default, and a default
//! is another TPM: `swtpm:path=/run/tpm.sock` goes to localhost, port 2321.

use std::error::Error as StdError;
use std::fmt;
use std::str::FromStr;

/// Where a TPM is. Parsed from the string that every TPM tool takes, with nothing left to a default:
///
/// - `device:/dev/tpmrm0`, the kernel's resource manager: what to use on a machine with a TPM;
/// - `swtpm:host=127.0.0.1,port=2321`, a software TPM; its control port is the next one;
/// - `mssim:host=127.0.0.1,port=2321`, the reference simulator;
/// - `tabrmd:bus_type=system`, or `tabrmd:bus_name=com.example.Tabrmd,bus_type=session`, the
///   resource manager on D-Bus.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Tcti(String);

/// Why a string doesn't say where a TPM is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TctiError {
    found: String,
    why: &'static str,
}

impl fmt::Display for TctiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} doesn't say where a TPM is: {}; write `device:/dev/tpmrm0`, or \
             `swtpm:host=127.0.0.1,port=2321`",
            self.found, self.why
        )
    }
}

impl StdError for TctiError {}

impl Tcti {
    /// What the library is given.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tcti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Tcti {
    type Err = TctiError;

    fn from_str(text: &str) -> Result<Self, TctiError> {
        match check(text) {
            Ok(()) => Ok(Self(text.to_owned())),
            Err(why) => Err(TctiError { found: text.to_owned(), why }),
        }
    }
}

fn check(text: &str) -> Result<(), &'static str> {
    let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
    if text.bytes().any(|byte| !(b' '..=b'~').contains(&byte)) {
        return Err("it has characters that are not printable ASCII");
    }
    match kind {
        "device" if rest.starts_with('/') => Ok(()),
        "device" => Err("the device is no absolute path"),
        "swtpm" | "mssim" => check_address(rest),
        "tabrmd" => check_bus(rest),
        _ => Err("it begins with none of `device:`, `swtpm:`, `mssim:`, `tabrmd:`"),
    }
}

/// The values of these keys, each of which is there once; no other key is.
fn values<'a, const N: usize>(
    text: &'a str,
    keys: [&str; N],
) -> Result<[Option<&'a str>; N], &'static str> {
    let mut found = [None; N];
    for pair in text.split(',') {
        let (key, value) = pair.split_once('=').ok_or("it has something without a `=`")?;
        let nth = keys.iter().position(|known| *known == key);
        let place = nth.and_then(|nth| found.get_mut(nth)).ok_or(match key {
            "path" => {
                "a Unix socket: the TSS library would ignore it and talk to whatever listens on \
                 localhost, port 2321"
            }
            _ => "it has a key that is not known",
        })?;
        if value.is_empty() || place.replace(value).is_some() {
            return Err("a key has no value, or two");
        }
    }
    Ok(found)
}

fn check_address(text: &str) -> Result<(), &'static str> {
    let [host, port] = values(text, ["host", "port"])?;
    let (host, port) = host.zip(port).ok_or("it needs both `host=` and `port=`")?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".:-".contains(&byte);
    if !host.bytes().all(allowed) {
        return Err("the host is no name and no address");
    }
    // The control port is the next one.
    match port.parse::<u16>() {
        Ok(1..=65_534) => Ok(()),
        _ => Err("the port is no number from 1 to 65534"),
    }
}

fn check_bus(text: &str) -> Result<(), &'static str> {
    let [name, kind] = values(text, ["bus_name", "bus_type"])?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if !name.is_none_or(|name| name.contains('.') && name.bytes().all(allowed)) {
        return Err("the bus name is none");
    }
    match kind {
        Some("session" | "system") => Ok(()),
        _ => Err("it needs `bus_type=session` or `bus_type=system`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_where_a_tpm_is_is_kept_as_it_is() {
        for text in [
            "device:/dev/tpmrm0",
            "swtpm:host=127.0.0.1,port=2321",
            "swtpm:port=1,host=::1",
            "mssim:host=tpm.example,port=65534",
            "tabrmd:bus_type=system",
            "tabrmd:bus_name=com.example.Tabrmd,bus_type=session",
        ] {
            assert_eq!(text.parse::<Tcti>().unwrap().to_string(), text);
            assert_eq!(text.parse::<Tcti>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_the_library_would_take_for_its_default_is_refused() {
        for (text, why) in [
            ("swtpm:path=/run/tpm.sock", "Unix socket"),
            ("swtpm:host=127.0.0.1,port=2321,path=/x", "Unix socket"),
            ("swtpm", "without a `=`"),
            ("swtpm:", "without a `=`"),
            ("swtpm:host=127.0.0.1", "both"),
            ("swtpm:port=2321", "both"),
            ("swtpm:host=127.0.0.1,port=65535", "65534"),
            ("swtpm:host=127.0.0.1,port=0", "65534"),
            ("swtpm:host=127.0.0.1,port=x", "65534"),
            ("swtpm:host=,port=2321", "no value"),
            ("swtpm:host=a,host=b,port=2321", "two"),
            ("swtpm:host=a b,port=2321", "the host"),
            ("swtpm:hsot=127.0.0.1,port=2321", "not known"),
            ("device", "absolute"),
            ("device:tpmrm0", "absolute"),
            ("device:/dev/t\0", "ASCII"),
            ("tabrmd:", "without a `=`"),
            ("tabrmd:bus_type=both", "bus_type"),
            ("tabrmd:bus_name=x,bus_type=system", "bus name"),
            ("/dev/tpmrm0", "begins with none"),
            ("", "begins with none"),
        ] {
            let error = text.parse::<Tcti>().unwrap_err().to_string();
            assert!(error.contains(why), "{text:?}: {error}");
            assert!(error.contains("device:/dev/tpmrm0"), "what to do: {error}");
        }
    }
}
