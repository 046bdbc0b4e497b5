//! A progress bar on a terminal, a plain line per quarter elsewhere; both on standard error.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::report;

const WIDTH: usize = 30;
const REDRAW_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Progress {
    what: &'static str,
    total: u64,
    done: u64,
    started: Instant,
    drawn: Option<Instant>,
    quarters: u64,
    terminal: bool,
}

impl Progress {
    pub(crate) fn new(what: &'static str, total: u64) -> Self {
        let terminal = io::stderr().is_terminal();
        let started = Instant::now();
        Self { what, total, done: 0, started, drawn: None, quarters: 0, terminal }
    }

    pub(crate) fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        if self.terminal {
            if self.drawn.is_none_or(|drawn| drawn.elapsed() >= REDRAW_EVERY) {
                self.draw();
            }
        } else {
            self.speak();
        }
    }

    /// There is less to do than was thought.
    pub(crate) fn pass_over(&mut self, bytes: u64) {
        self.total = self.total.saturating_sub(bytes);
    }

    /// Wipes the bar, so that something else can be said on its line.
    pub(crate) fn clear(&mut self) {
        if self.terminal && self.drawn.take().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }

    fn draw(&mut self) {
        let share = self.share();
        let full = (0..WIDTH).filter(|cell| (*cell as f64) < share * WIDTH as f64).count();
        let bar = format!("{}{}", "#".repeat(full), "-".repeat(WIDTH - full));
        let text = self.text();
        let mut stderr = io::stderr();
        let _ = write!(stderr, "\r\x1b[K{} [{bar}] {text}", self.what);
        let _ = stderr.flush();
        self.drawn = Some(Instant::now());
    }

    fn speak(&mut self) {
        let quarters = self.done.saturating_mul(4) / self.total.max(1);
        if quarters > self.quarters {
            self.quarters = quarters;
            let _ = writeln!(io::stderr(), "{} {}", self.what, self.text());
        }
    }

    // Files grow while they are read: more than all of it is all of it.
    fn share(&self) -> f64 {
        (self.done as f64 / self.total.max(1) as f64).min(1.0)
    }

    fn text(&self) -> String {
        let speed = report::speed(self.done, self.started.elapsed());
        format!(
            "{:3.0} %  {} of {}, {speed:.0} MB/s",
            self.share() * 100.0,
            report::size(self.done),
            report::size(self.total)
        )
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
