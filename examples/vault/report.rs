//! Lines for people on standard output and standard error. Nothing panics when a pipe is closed.

use std::io::{self, Write};
use std::time::Duration;

use crate::failure::Failure;

/// More than this many skipped files are counted, not named.
const NAMED_MAX: u64 = 20;

/// One line of the result.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    bytes(format!("{text}\n").as_bytes())
}

/// Part of the result.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    io::stdout().write_all(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::OutputClosed,
        _ => Failure::said(format!("writing to standard output: {error}")),
    })
}

/// A value that a script may want.
pub(crate) fn figure(name: &str, value: impl std::fmt::Display) -> Result<(), Failure> {
    line(&format!("figure: vault_{name} = {value}"))
}

/// Something worth knowing that is not the result.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "note: {text}");
}

/// Things of one kind that were passed over or are wrong: named up to a limit, counted always.
#[derive(Debug)]
pub(crate) struct Tally {
    what: &'static str,
    count: u64,
}

impl Tally {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, count: 0 }
    }

    pub(crate) fn add(&mut self, path: &str, why: impl std::fmt::Display) {
        self.count += 1;
        if self.count <= NAMED_MAX {
            let _ = writeln!(io::stderr(), "{}: {}: {why}", self.what, shown(path));
        } else if self.count == NAMED_MAX + 1 {
            let _ = writeln!(io::stderr(), "{}: more, not named", self.what);
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

/// A path as it may be shown: a file's name must not steer the terminal.
pub(crate) fn shown(path: &str) -> String {
    if path.contains(char::is_control) { path.escape_debug().to_string() } else { path.to_owned() }
}

/// Bytes in the unit that a person would choose.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut amount, mut name) = (bytes as f64 / 1024.0, "KiB");
    for unit in UNITS.into_iter().skip(1) {
        if amount < 1024.0 {
            break;
        }
        (amount, name) = (amount / 1024.0, unit);
    }
    format!("{amount:.1} {name}")
}

/// Millions of bytes a second.
pub(crate) fn speed(bytes: u64, elapsed: Duration) -> f64 {
    bytes as f64 / 1e6 / elapsed.as_secs_f64().max(1e-9)
}
