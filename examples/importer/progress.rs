//! A line on a terminal that is written over, a plain line a quarter elsewhere; on standard error.

use std::io::{self, IsTerminal, Write};
use std::time::Instant;

pub(crate) struct Progress<'a> {
    name: &'a str,
    total: u64,
    started: Instant,
    from: u64,
    quarters: u64,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(name: &'a str, from: u64, total: u64) -> Self {
        Self { name, total, started: Instant::now(), from, quarters: 0 }
    }

    /// So many bytes of the file are durable.
    pub(crate) fn at(&mut self, bytes: u64) {
        let share = bytes as f64 / self.total.max(1) as f64;
        let done = bytes - self.from;
        let speed = done as f64 / 1e6 / self.started.elapsed().as_secs_f64();
        let text = format!("{}: {:3.0} %, {speed:.0} MB/s", self.name, share.min(1.0) * 100.0);
        let quarters = bytes * 4 / self.total.max(1);
        let mut stderr = io::stderr();
        // With standard error gone there is nobody left to tell.
        if stderr.is_terminal() {
            let end = if bytes >= self.total { "\n" } else { "" };
            let _ = write!(stderr, "\r\x1b[K{text}{end}");
        } else if quarters > self.quarters {
            let _ = writeln!(stderr, "{text}");
        }
        self.quarters = quarters;
    }
}
