//! A record of every key that came into key memory, under a mask: for a test that searches its own
//! memory and its files for them without holding what it searches for. Off until asked for.

use std::sync::{Mutex, PoisonError};

use super::KEY_SIZE;

/// What each byte is xored with.
const MASK: u8 = 0xA7;

static KEPT: Mutex<Option<Vec<[u8; KEY_SIZE]>>> = Mutex::new(None);

/// From now on.
pub(crate) fn begin() {
    *KEPT.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
}

/// A key is on its way into key memory.
pub(super) fn note(key: &[u8; KEY_SIZE]) {
    if let Some(kept) = &mut *KEPT.lock().unwrap_or_else(PoisonError::into_inner) {
        kept.push([0; KEY_SIZE]);
        let places = kept.last_mut().into_iter().flatten();
        places.zip(key).for_each(|(place, byte)| *place = byte ^ MASK);
    }
}

/// All that were kept since.
pub(crate) fn kept() -> Vec<[u8; KEY_SIZE]> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
}
