//! What is printed, and where: results on standard output, for people or as JSON; remarks, progress
//! and failures on standard error. A pipe that is closed is a failure like any other
//! ([`Failure::OutputClosed`]), never a panic.
//!
//! A file's text is anybody's text: [`plain`] keeps it from moving a terminal's cursor.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use serde_json::{Value, json};

use crate::args::{Global, ProgressMode, When};
use crate::credential::provider::Health;
use crate::failure::Failure;
use crate::progress::{Progress, Style};

/// Where results go, and how.
#[derive(Debug)]
pub(crate) struct Output {
    stdout: BufWriter<Stdout>,
    json: bool,
    quiet: bool,
    progress: ProgressMode,
    paint: Paint,
    paint_errors: Paint,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
        Self {
            stdout: BufWriter::new(io::stdout()),
            json: global.json,
            quiet: global.quiet,
            progress: global.progress,
            paint: Paint(colours(global.color, wanted, io::stdout().is_terminal())),
            paint_errors: Paint(colours(global.color, wanted, io::stderr().is_terminal())),
        }
    }

    /// Whether results are for programs.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Colours for standard output.
    pub(crate) fn paint(&self) -> Paint {
        self.paint
    }

    /// One line of a result.
    pub(crate) fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        writeln!(self.stdout, "{text}").map_err(Failure::output)
    }

    /// A result's bytes as they are, without a line's end.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stdout.write_all(bytes).map_err(Failure::output)
    }

    /// A result for programs, in one line.
    pub(crate) fn json(&mut self, value: &Value) -> Result<(), Failure> {
        self.line(value)
    }

    /// A result: the one with `--json`, the other without.
    pub(crate) fn either(&mut self, json: &Value, text: impl Display) -> Result<(), Failure> {
        if self.json { self.json(json) } else { self.line(text) }
    }

    /// The result of a verb that does something: with `--json` an object, without it a sentence,
    /// which `--quiet` leaves out.
    pub(crate) fn done(&mut self, json: &Value, text: impl Display) -> Result<(), Failure> {
        match (self.json, self.quiet) {
            (true, _) => self.json(json)?,
            (false, true) => {}
            (false, false) => self.line(text)?,
        }
        // Before the remarks that follow it.
        self.flush()
    }

    /// A remark that is no result.
    pub(crate) fn remark(&self, text: impl Display) {
        if !self.quiet {
            // Nobody may be there to read it.
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Something to think about.
    pub(crate) fn warn(&self, text: impl Display) {
        let head = self.paint_errors.bold_yellow("warning:");
        self.remark(format_args!("{head} {text}"));
    }

    /// How what keeps a key is.
    pub(crate) fn health(&mut self, health: &Health) -> Result<(), Failure> {
        for line in &health.lines {
            self.line(plain(line))?;
        }
        health.warnings.iter().for_each(|warning| self.warn(plain(warning)));
        Ok(())
    }

    /// Everything printed so far reaches its reader.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.stdout.flush().map_err(Failure::output)
    }

    /// How long work says how far it is.
    pub(crate) fn progress(&self, doing: &'static str, unit: &'static str) -> Progress {
        let style = match (self.quiet, self.progress, io::stderr().is_terminal()) {
            (true, _, _) | (_, ProgressMode::None, _) => Style::None,
            (_, ProgressMode::Bar, _) | (_, ProgressMode::Auto, true) => Style::Bar,
            (_, ProgressMode::Lines, _) => Style::Tenths,
            (_, ProgressMode::Auto, false) => Style::NowAndThen,
        };
        Progress::new(doing, unit, style)
    }

    /// Says why the verb failed.
    pub(crate) fn failed(&self, failure: &Failure) {
        let Some(what) = failure.what() else { return };
        let (exit, next) = (failure.exit(), failure.next());
        let mut stderr = io::stderr();
        if self.json {
            let error = json!({
                "error": what, "next": next, "code": exit.code(), "kind": exit.name(),
            });
            let _ = writeln!(stderr, "{error}");
            return;
        }
        let head = self.paint_errors.bold_red("error:");
        let _ = writeln!(stderr, "{head} {}", plain(&what));
        if let Some(next) = next {
            let head = self.paint_errors.bold_yellow("next:");
            let _ = writeln!(stderr, "{head} {next}");
        }
    }
}

// `wanted` is what NO_COLOR says.
fn colours(when: When, wanted: bool, terminal: bool) -> bool {
    match when {
        When::Always => true,
        When::Never => false,
        When::Auto => wanted && terminal,
    }
}

/// Colours, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint(bool);

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    pub(crate) fn bold_green(self, text: &str) -> String {
        self.with("1;32", text)
    }

    pub(crate) fn bold_red(self, text: &str) -> String {
        self.with("1;31", text)
    }

    pub(crate) fn bold_yellow(self, text: &str) -> String {
        self.with("1;33", text)
    }
}

/// A text with every control character but the line's end escaped.
pub(crate) fn plain(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => escaped.push('\n'),
            c if c.is_control() => escaped.extend(c.escape_default()),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Bytes for people: `4.0 KiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 { format!("{bytes} {name}") } else { format!("{value:.1} {name}") }
}

/// So many of something: `1 table`, `2 tables`.
pub(crate) fn count(number: u64, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

/// Seconds for people, in the largest unit that leaves two digits: `90 days`, `36 hours`.
pub(crate) fn span(seconds: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400, "days"), (3600, "hours"), (60, "minutes")];
    let fits = UNITS.into_iter().find(|(unit, _)| seconds >= unit * 2);
    match fits {
        Some((unit, name)) => format!("{} {name}", seconds / unit),
        None => format!("{seconds} seconds"),
    }
}

/// A moment, Unix seconds, as RFC 3339 in UTC: `2026-11-25T03:00:00Z`.
pub(crate) fn moment(unix_seconds: u64) -> String {
    let (days, rest) = (unix_seconds / 86_400, unix_seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

// Days since 1970 as year, month and day of the Gregorian calendar. Counted in eras of 400 years
// that begin on 1 March, so that the leap day is the last of a year.
fn date(days: u64) -> (u64, u64, u64) {
    let since_era = days.saturating_add(719_468);
    let (era, day_of_era) = (since_era / 146_097, since_era % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_the_flag_then_no_color_then_the_terminal() {
        for (when, wanted, terminal, expected) in [
            (When::Auto, true, true, true),
            (When::Auto, true, false, false),
            (When::Auto, false, true, false),
            (When::Always, false, false, true),
            (When::Never, true, true, false),
        ] {
            assert_eq!(colours(when, wanted, terminal), expected, "{when:?} {wanted} {terminal}");
        }
        assert_eq!(Paint(false).bold("x"), "x");
        assert_eq!(Paint(true).bold("x"), "\x1b[1mx\x1b[0m");
    }

    #[test]
    fn no_text_moves_the_cursor() {
        assert_eq!(plain("a\x1b[2Jb\nc\u{9b}d"), "a\\u{1b}[2Jb\nc\\u{9b}d");
    }

    #[test]
    fn sizes_spans_and_moments() {
        assert_eq!([size(0), size(1023), size(1024)], ["0 bytes", "1023 bytes", "1.0 KiB"]);
        assert_eq!([size(1 << 30), size(u64::MAX)], ["1.0 GiB", "16777216.0 TiB"]);
        assert_eq!([count(1, "slot"), count(0, "slot")], ["1 slot", "0 slots"]);
        assert_eq!([span(0), span(119), span(120)], ["0 seconds", "119 seconds", "2 minutes"]);
        assert_eq!([span(7200), span(90 * 86_400)], ["2 hours", "90 days"]);
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_800_000_000, "2027-01-15T08:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(moment(seconds), text);
        }
    }
}
