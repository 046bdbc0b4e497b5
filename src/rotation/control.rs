//! What a rotation's handle and its worker share: what is wanted, how far it is, how it ended.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::RotationError;
use crate::format::completion::Completion;
use crate::units::Epoch;

/// How much of the machine a rotation may take.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub enum Throttle {
    /// Everything.
    None,
    /// While the application reads and writes pages, this share of the time, from 0.01 to 1;
    /// everything while it doesn't. [`Throttle::default`] is a share of 0.1.
    Share(f64),
    /// So many bytes of pages a second.
    BytesPerSecond(u64),
}

impl Default for Throttle {
    fn default() -> Self {
        Self::Share(0.1)
    }
}

impl Throttle {
    /// How long to rest after a step that took `busy` and sealed `bytes`.
    pub(super) fn rest(self, busy: Duration, bytes: u64, application_active: bool) -> Duration {
        const REST_MAX: Duration = Duration::from_secs(10);
        let rest = match self {
            Self::None => Duration::ZERO,
            Self::Share(_) if !application_active => Duration::ZERO,
            Self::Share(share) => {
                let share = if share.is_finite() { share.clamp(0.01, 1.0) } else { 1.0 };
                busy.mul_f64(1.0 / share - 1.0)
            }
            Self::BytesPerSecond(rate) => {
                let due = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
                due.saturating_sub(busy)
            }
        };
        rest.min(REST_MAX)
    }
}

/// What a rotation is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RotationState {
    /// Sealing pages anew, or proving that nothing names the old data key.
    Running,
    /// Paused by hand.
    Paused,
    /// Stopped by a failure; [`crate::Rotation::wait`] says which.
    Failed,
    /// Cancelled.
    Cancelled,
    /// Interrupted by a close.
    Closed,
    /// The old data key is gone.
    Finished,
}

/// How far a rotation is.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// What it is doing.
    pub state: RotationState,
    /// The newest data key that is to go.
    pub from: Epoch,
    /// The data key that everything is sealed under in the end.
    pub to: Epoch,
    /// Pages of the file that the sweep has passed.
    pub pages_done: u64,
    /// Pages of the file.
    pub pages_total: u64,
    /// Bytes of pages sealed anew a second, over the time that this session's worker was at work.
    pub bytes_per_second: f64,
    /// What is left of the sweep at this speed; `None` before there is one to go by.
    pub time_left: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wanted {
    Run,
    Pause,
    Cancel,
}

#[derive(Debug)]
struct Inner {
    wanted: Wanted,
    throttle: Throttle,
    progress: Progress,
    passed_before: u64,
    started: Instant,
    rested: Duration,
    ended: Option<Result<Completion, RotationError>>,
    give_up: bool,
    failed: Option<RotationError>,
}

/// Shared by the handles and the worker.
#[derive(Debug)]
pub(crate) struct Control {
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl Control {
    pub(crate) fn new(from: Epoch, to: Epoch, pages_done: u64, pages_total: u64) -> Self {
        let progress = Progress {
            state: RotationState::Running,
            from,
            to,
            pages_done,
            pages_total,
            bytes_per_second: 0.0,
            time_left: None,
        };
        let inner = Inner {
            wanted: Wanted::Run,
            throttle: Throttle::default(),
            progress,
            passed_before: pages_done,
            started: Instant::now(),
            rested: Duration::ZERO,
            ended: None,
            give_up: false,
            failed: None,
        };
        Self { inner: Mutex::new(inner), changed: Condvar::new() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.inner());
        self.changed.notify_all();
    }

    pub(super) fn progress(&self) -> Progress {
        self.inner().progress
    }

    pub(super) fn wait(&self) -> Result<Completion, RotationError> {
        let mut inner = self.inner();
        loop {
            if let Some(ended) = &inner.ended {
                return ended.clone();
            }
            if let Some(failed) = &inner.failed {
                return Err(failed.clone());
            }
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// After a close: wakes the worker and waits until it has noticed.
    pub(crate) fn wait_for_worker(&self) {
        self.changed.notify_all();
        let mut inner = self.inner();
        while inner.ended.is_none() {
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn pause(&self) {
        self.change(|inner| {
            if inner.wanted == Wanted::Run {
                inner.wanted = Wanted::Pause;
            }
        });
    }

    pub(super) fn resume(&self) {
        self.change(|inner| {
            if inner.wanted == Wanted::Pause {
                inner.wanted = Wanted::Run;
            }
            inner.failed = None;
        });
    }

    pub(super) fn give_up_unreadable(&self) {
        self.change(|inner| {
            inner.give_up = true;
            inner.failed = None;
        });
    }

    pub(super) fn gives_up(&self) -> bool {
        self.inner().give_up
    }

    pub(super) fn cancel(&self) {
        self.change(|inner| inner.wanted = Wanted::Cancel);
    }

    pub(super) fn set_throttle(&self, throttle: Throttle) {
        self.change(|inner| inner.throttle = throttle);
    }

    /// Whether it has come to an end, whichever.
    pub(crate) fn has_ended(&self) -> bool {
        self.inner().ended.is_some()
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.inner().wanted == Wanted::Cancel
    }

    pub(super) fn throttle(&self) -> Throttle {
        self.inner().throttle
    }

    /// The worker passed so many pages in all.
    pub(super) fn passed(&self, pages_done: u64, pages_total: u64) {
        self.change(|inner| {
            let at_work = inner.started.elapsed().saturating_sub(inner.rested).as_secs_f64();
            let passed = pages_done.saturating_sub(inner.passed_before) as f64;
            let left = pages_total.saturating_sub(pages_done) as f64;
            let elapsed = inner.started.elapsed().as_secs_f64();
            let progress = &mut inner.progress;
            progress.pages_done = pages_done.min(pages_total);
            progress.pages_total = pages_total;
            if passed > 0.0 && at_work > 0.0 {
                progress.bytes_per_second = passed * 4096.0 / at_work;
                let seconds = (left * elapsed / passed).min(1e9);
                progress.time_left = Some(Duration::from_secs_f64(seconds));
            }
        });
    }

    /// A failure that leaves the rotation waiting for `resume`.
    pub(super) fn fail(&self, error: RotationError) {
        self.change(|inner| {
            inner.failed = Some(error);
            inner.progress.state = RotationState::Failed;
        });
    }

    pub(super) fn end(&self, result: Result<Completion, RotationError>) {
        self.change(|inner| {
            inner.progress.state = match &result {
                Ok(_) => RotationState::Finished,
                Err(RotationError::Cancelled) => RotationState::Cancelled,
                Err(RotationError::Closed) => RotationState::Closed,
                Err(RotationError::Store(_)) => RotationState::Failed,
            };
            if result.is_ok() {
                inner.progress.pages_done = inner.progress.pages_total;
                inner.progress.time_left = Some(Duration::ZERO);
            }
            inner.ended = Some(result);
        });
    }

    /// Rests for so long, and then for as long as the rotation is paused or failed. Looks in
    /// between whether it still makes sense: `false` once it is cancelled or `go_on` says no.
    pub(super) fn rest(&self, rest: Duration, go_on: impl Fn() -> bool) -> bool {
        const LOOK_EVERY: Duration = Duration::from_millis(50);
        let begun = Instant::now();
        let mut inner = self.inner();
        loop {
            let held = inner.wanted == Wanted::Pause || inner.failed.is_some();
            let rested = begun.elapsed();
            if inner.wanted == Wanted::Cancel || !go_on() {
                return false;
            }
            if !held && rested >= rest {
                inner.progress.state = RotationState::Running;
                inner.rested += rested;
                return true;
            }
            if inner.wanted == Wanted::Pause {
                inner.progress.state = RotationState::Paused;
            }
            let look = if held { LOOK_EVERY } else { LOOK_EVERY.min(rest - rested) };
            inner =
                self.changed.wait_timeout(inner, look).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttle_rests_in_proportion() {
        let busy = Duration::from_millis(10);
        let rest = |throttle: Throttle, writes| throttle.rest(busy, 1 << 20, writes).as_millis();
        assert_eq!(rest(Throttle::None, true), 0);
        assert_eq!(rest(Throttle::Share(0.25), true), 30);
        assert_eq!(rest(Throttle::Share(0.25), false), 0, "nobody is waiting");
        assert_eq!(rest(Throttle::Share(f64::NAN), true), 0);
        assert_eq!(rest(Throttle::Share(0.0), true), 990);
        assert_eq!(rest(Throttle::BytesPerSecond(1 << 20), false), 990);
        assert_eq!(rest(Throttle::BytesPerSecond(0), true), 10_000, "never for ever");
    }

    #[test]
    fn a_failure_waits_for_resume_and_a_cancel_ends_the_rest() {
        let control = Control::new(Epoch(1), Epoch(2), 0, 10);
        control.fail(RotationError::Closed);
        assert!(control.wait().is_err());
        assert_eq!(control.progress().state, RotationState::Failed);
        control.resume();
        assert!(control.rest(Duration::ZERO, || true));
        assert_eq!(control.progress().state, RotationState::Running);
        control.pause();
        control.cancel();
        assert!(!control.rest(Duration::ZERO, || true));
        control.end(Err(RotationError::Cancelled));
        assert!(matches!(control.wait(), Err(RotationError::Cancelled)) && control.has_ended());
    }
}
