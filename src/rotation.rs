//! Floor 7: the online key rotation (docs/rotation.md). A worker thread drives the store's sweep
//! step by step, gives way to the application, and can be paused, resumed and cancelled; its
//! handle tells how far it is. What a step does and why a crash can't harm it is the store's.

mod control;
mod seat;
mod steps;
mod worker;

pub use crate::format::completion::Completion;
pub use control::{Progress, RotationState, Throttle};

pub(crate) use seat::RotationSeat;
#[cfg(feature = "testkit")]
pub use steps::RotationSteps;

use std::fmt;
use std::sync::Arc;

use control::Control;

use crate::error::RotationError;

/// A key rotation under way: from `Database::rotate` or `Database::rotation`. Clones are handles on
/// the same one. Dropping a handle stops nothing; closing the database pauses the rotation, and
/// the next open goes on with it.
#[derive(Clone)]
pub struct Rotation {
    control: Arc<Control>,
}

impl fmt::Debug for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotation").field("progress", &self.progress()).finish()
    }
}

impl Rotation {
    fn new(control: Arc<Control>) -> Self {
        Self { control }
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.control.progress()
    }

    /// Waits until the old data key is gone. While the rotation is paused by hand, so is this call.
    ///
    /// # Errors
    /// [`RotationError`].
    pub fn wait(&self) -> Result<Completion, RotationError> {
        self.control.wait()
    }

    /// Stops after the step that is under way; [`Rotation::resume`] goes on.
    pub fn pause(&self) {
        self.control.pause();
    }

    /// Goes on after a pause or a full disk. Does nothing otherwise.
    pub fn resume(&self) {
        self.control.resume();
    }

    /// Goes on after [`StoreError::Unreadable`](crate::StoreError::Unreadable) without the pages
    /// that don't open: reading one is an error, as it was before, and stays one even if the disk
    /// would later return the right bytes.
    pub fn give_up_unreadable(&self) {
        self.control.give_up_unreadable();
    }

    /// Ends the worker after the step that is under way. New pages are sealed under the new data
    /// key, old ones stay under the old one, and both stay readable. `Database::rotate` goes on
    /// with it, and so does the next open, unless `Builder::resume_rotation` says otherwise.
    pub fn cancel(&self) {
        self.control.cancel();
    }

    /// Changes how much of the machine it may take.
    pub fn throttle(&self, throttle: Throttle) {
        self.control.set_throttle(throttle);
    }
}
