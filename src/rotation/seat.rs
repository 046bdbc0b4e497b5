//! The one place of a database where a rotation may sit: begins one, joins one, goes on with one,
//! and watches for one to become due.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::control::Control;
use super::steps::Steps;
use super::{Rotation, worker};
use crate::error::RotationError;
use crate::error::StoreError;
use crate::store::Store;

/// How often a watch looks whether the data key is due, or the database gone.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The worker that is or was at work, if any.
#[derive(Clone, Debug, Default)]
pub(crate) struct RotationSeat {
    control: Arc<Mutex<Option<Arc<Control>>>>,
}

impl RotationSeat {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Control>>> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rotation whose worker has not ended.
    pub(crate) fn running(&self) -> Option<Rotation> {
        self.lock().as_ref().filter(|control| !control.has_ended()).cloned().map(Rotation::new)
    }

    /// Joins the rotation that is under way, goes on with one that isn't, or begins one.
    pub(crate) fn rotate(&self, store: &Arc<Store>) -> Result<Rotation, RotationError> {
        let mut seat = self.lock();
        if let Some(control) = seat.as_ref().filter(|control| !control.has_ended()) {
            if !control.is_cancelled() {
                return Ok(Rotation::new(Arc::clone(control)));
            }
            control.wait_for_worker();
        }
        if store.retired_epochs().is_empty() {
            store.begin_rotation()?;
        }
        let started = start(&mut seat, store).map_err(StoreError::Io)?;
        started.ok_or(RotationError::Closed)
    }

    /// Begins a rotation to a key made now; one that is under way ends for it.
    pub(crate) fn rotate_anew(&self, store: &Arc<Store>) -> Result<Rotation, RotationError> {
        let mut seat = self.lock();
        if let Some(control) = seat.as_ref().filter(|control| !control.has_ended()) {
            control.cancel();
            control.wait_for_worker();
        }
        store.begin_rotation()?;
        let started = start(&mut seat, store).map_err(StoreError::Io)?;
        started.ok_or(RotationError::Closed)
    }

    /// Goes on with a rotation that is due, if one is.
    pub(crate) fn resume(&self, store: &Arc<Store>) -> io::Result<Option<Rotation>> {
        start(&mut self.lock(), store)
    }

    /// Begins a rotation whenever the data key is due, until the database is gone. Keeps no key
    /// alive.
    pub(crate) fn watch(&self, store: &Arc<Store>) -> io::Result<()> {
        let (seat, store) = (self.clone(), Arc::downgrade(store));
        let watch = move || while look(&seat, &store) {};
        std::thread::Builder::new().name("strongroom-key-age".to_owned()).spawn(watch).map(drop)
    }

    /// After a close: returns once the worker has noticed and let go of the keys.
    pub(crate) fn wait_for_worker(&self) {
        let control = self.lock().clone();
        if let Some(control) = control {
            control.wait_for_worker();
        }
    }
}

fn start(seat: &mut Option<Arc<Control>>, store: &Arc<Store>) -> io::Result<Option<Rotation>> {
    let Some(steps) = Steps::resume(Arc::clone(store)) else { return Ok(None) };
    let control = worker::start(store, steps)?;
    Ok(Some(Rotation::new(Arc::clone(seat.insert(control)))))
}

// One look; `false` once there is nothing to look at any more.
fn look(seat: &RotationSeat, store: &Weak<Store>) -> bool {
    let Some(store) = store.upgrade().filter(|store| store.is_usable()) else { return false };
    // A failure latches the store, which ends the watch, or can be tried again.
    if store.is_rotation_due() && seat.running().is_none() {
        let _ = seat.rotate(&store);
    }
    drop(store);
    std::thread::sleep(LOOK_EVERY);
    true
}
