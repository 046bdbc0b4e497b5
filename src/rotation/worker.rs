//! The worker thread: steps, rests, and tells the handles.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::Completion;
use super::control::Control;
use super::steps::{Step, Steps};
use crate::error::RotationError;
use crate::error::StoreError;
use crate::events::tell;
use crate::store::Store;

/// Starts a worker for the rotation that is due, if one is. `control` is told how it goes.
///
/// # Errors
/// The system gave no thread.
pub(super) fn start(store: &Arc<Store>, steps: Steps) -> io::Result<Arc<Control>> {
    let from = steps.epochs().iter().copied().max().unwrap_or_default();
    let (done, total) = steps.pages();
    let control = Arc::new(Control::new(from, store.active_epoch(), done, total));
    tell!(INFO, "rotation goes on", from = from, to = store.active_epoch(), pages = total);
    let (told, store) = (Arc::clone(&control), Arc::clone(store));
    std::thread::Builder::new().name("strongroom-rotation".to_owned()).spawn(move || {
        // A panic of the medium must not leave a handle waiting for ever.
        let run = std::panic::AssertUnwindSafe(|| run(&store, steps, &told));
        let ended = std::panic::catch_unwind(run).unwrap_or_else(|_| {
            Err(StoreError::Misuse("the medium panicked in a step of the rotation").into())
        });
        match &ended {
            Ok(completion) => tell!(INFO, "rotation ended", completion = completion),
            Err(error) => tell!(WARN, "rotation stopped", error = error),
        }
        drop(store);
        told.end(ended);
    })?;
    Ok(control)
}

fn run(store: &Store, mut steps: Steps, control: &Control) -> Result<Completion, RotationError> {
    let mut rest = std::time::Duration::ZERO;
    loop {
        if !control.rest(rest, || store.is_usable()) {
            return Err(match control.is_cancelled() {
                true => RotationError::Cancelled,
                false if store.is_latched() => StoreError::Latched.into(),
                false => RotationError::Closed,
            });
        }
        let begun = Instant::now();
        if control.gives_up() {
            steps.give_up_unreadable();
        }
        match steps.step() {
            Ok(Step::Done(completion)) => return Ok(completion),
            Ok(Step::More { bytes }) => {
                let (done, total) = steps.pages();
                tell!(DEBUG, "rotation step", pages_done = done, pages = total, bytes = bytes);
                control.passed(done, total);
                let throttle = control.throttle();
                rest = throttle.rest(begun.elapsed(), bytes, store.take_activity());
            }
            Err(_) if store.is_closed() => return Err(RotationError::Closed),
            Err(error) if !store.is_usable() => return Err(error.into()),
            Err(error) => {
                tell!(WARN, "rotation step failed and is tried again", error = error);
                control.fail(error.into());
            }
        }
    }
}
