//! How far long work is, on standard error: a bar on a terminal, plain lines otherwise. What is
//! shown and when is pure; [`Progress`] only keeps the time and prints.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How it is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Style {
    None,
    /// Drawn over and over, on a terminal.
    Bar,
    /// A line at each tenth.
    Tenths,
    /// A line every few seconds: short work prints none.
    NowAndThen,
}

const REDRAW: Duration = Duration::from_millis(100);
const NOW_AND_THEN: Duration = Duration::from_secs(5);
const BAR_CELLS: u64 = 24;

/// Says how far work is. Clones are the same one, for callbacks on other threads.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    shared: Arc<Mutex<Shown>>,
}

#[derive(Debug)]
struct Shown {
    doing: &'static str,
    unit: &'static str,
    style: Style,
    begun: Instant,
    /// When something was last printed; `None` before the first time.
    last: Option<Instant>,
    tenth: u64,
    /// Characters of the bar that stands on the line now.
    drawn: usize,
}

impl Progress {
    /// `doing` is a verb, `unit` what is counted: "pages".
    pub(crate) fn new(doing: &'static str, unit: &'static str, style: Style) -> Self {
        let begun = Instant::now();
        let shown = Shown { doing, unit, style, begun, last: None, tenth: 0, drawn: 0 };
        Self { shared: Arc::new(Mutex::new(shown)) }
    }

    /// So much is done; `total` is 0 where nobody knows.
    pub(crate) fn at(&self, done: u64, total: u64) {
        let mut shown = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shown.at(done, total);
    }

    /// Something else is being done from here on.
    pub(crate) fn phase(&self, doing: &'static str) {
        let mut shown = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.doing != doing {
            (shown.doing, shown.tenth) = (doing, 0);
        }
    }

    /// The line is free again for what else there is to print.
    pub(crate) fn end(&self) {
        let mut shown = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.drawn > 0 {
            let _ = write!(io::stderr(), "\r{:width$}\r", "", width = shown.drawn);
            shown.drawn = 0;
        }
    }
}

impl Shown {
    fn at(&mut self, done: u64, total: u64) {
        let now = Instant::now();
        let since = self.last.unwrap_or(self.begun);
        if !is_time(self.style, now.duration_since(since), self.tenth, done, total) {
            return;
        }
        (self.last, self.tenth) = (Some(now), tenth(done, total));
        let left = left(now.duration_since(self.begun), done, total);
        let text = match self.style {
            Style::Bar => bar(self.doing, self.unit, done, total, left),
            _ => line(self.doing, self.unit, done, total, left),
        };
        // Nobody may be there to read it.
        let _ = match self.style {
            Style::Bar => {
                let width = self.drawn.max(text.len());
                self.drawn = text.len();
                write!(io::stderr(), "\r{text:<width$}")
            }
            _ => writeln!(io::stderr(), "{text}"),
        };
    }
}

/// Tenths of the whole that are done.
fn tenth(done: u64, total: u64) -> u64 {
    done.min(total).saturating_mul(10).checked_div(total).unwrap_or(0)
}

// `since` is the time since something was last printed, `shown` the tenth that was.
fn is_time(style: Style, since: Duration, shown: u64, done: u64, total: u64) -> bool {
    match style {
        Style::None => false,
        Style::Bar => since >= REDRAW || (total > 0 && done >= total),
        Style::Tenths => tenth(done, total) > shown,
        Style::NowAndThen => since >= NOW_AND_THEN,
    }
}

/// What is left at the speed so far; `None` before there is one to go by.
fn left(elapsed: Duration, done: u64, total: u64) -> Option<Duration> {
    let ahead = total.checked_sub(done).filter(|ahead| *ahead > 0 && done > 0)?;
    (elapsed >= Duration::from_secs(2))
        .then(|| Duration::from_secs_f64(elapsed.as_secs_f64() * ahead as f64 / done as f64))
}

fn line(doing: &str, unit: &str, done: u64, total: u64, left: Option<Duration>) -> String {
    let mut text = match total {
        0 => format!("{doing}: {done} {unit}"),
        _ => {
            let percent = done.min(total).saturating_mul(100) / total;
            format!("{doing}: {percent}%, {done} of {total} {unit}")
        }
    };
    if let Some(left) = left {
        text.push_str(&format!(", {} s left", left.as_secs().max(1)));
    }
    text
}

fn bar(doing: &str, unit: &str, done: u64, total: u64, left: Option<Duration>) -> String {
    if total == 0 {
        return line(doing, unit, done, total, left);
    }
    let full = done.min(total).saturating_mul(BAR_CELLS) / total;
    let cells: String = (0..BAR_CELLS).map(|cell| if cell < full { '#' } else { '.' }).collect();
    let percent = done.min(total).saturating_mul(100) / total;
    let left = left.map_or(String::new(), |left| format!(" {} s left", left.as_secs().max(1)));
    format!("{doing} [{cells}] {percent:>3}%{left}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_style_prints_at_its_own_times() {
        let (short, long) = (Duration::from_millis(10), Duration::from_secs(5));
        for (style, since, shown, done, total, expected) in [
            (Style::None, long, 0, 10, 10, false),
            (Style::Bar, short, 0, 1, 10, false),
            (Style::Bar, REDRAW, 0, 1, 10, true),
            (Style::Bar, short, 0, 10, 10, true),
            (Style::Tenths, long, 0, 0, 10, false),
            (Style::Tenths, short, 0, 1, 10, true),
            (Style::Tenths, long, 1, 19, 100, false),
            (Style::Tenths, short, 1, 20, 100, true),
            (Style::Tenths, long, 0, 7, 0, false),
            (Style::NowAndThen, short, 0, 10, 10, false),
            (Style::NowAndThen, long, 0, 1, 0, true),
        ] {
            let is = is_time(style, since, shown, done, total);
            assert_eq!(is, expected, "{style:?} {since:?} {shown} {done} {total}");
        }
    }

    #[test]
    fn what_is_shown() {
        let left = Some(Duration::from_secs(7));
        assert_eq!(line("verifying", "pages", 5, 0, None), "verifying: 5 pages");
        assert_eq!(
            line("verifying", "pages", 5, 40, left),
            "verifying: 12%, 5 of 40 pages, 7 s left"
        );
        assert_eq!(
            bar("verifying", "pages", 20, 40, left),
            "verifying [############............]  50% 7 s left"
        );
        assert_eq!(
            bar("verifying", "pages", 41, 40, None),
            "verifying [########################] 100%"
        );
    }

    #[test]
    fn time_left_needs_a_speed() {
        let seconds = Duration::from_secs;
        for (elapsed, done, total, expected) in [
            (seconds(1), 5, 10, None),
            (seconds(2), 0, 10, None),
            (seconds(2), 5, 10, Some(seconds(2))),
            (seconds(2), 10, 10, None),
            (seconds(2), 11, 10, None),
            (seconds(9), 1, 0, None),
        ] {
            assert_eq!(left(elapsed, done, total), expected, "{elapsed:?} {done} {total}");
        }
    }
}
