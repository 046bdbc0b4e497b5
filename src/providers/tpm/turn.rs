//! Turns at a counter. A TPM adds one, it can't add one only if that makes seven: who reads and then
//! adds must be alone. A question that was given up may still be on its way to the TPM, so its turn
//! lasts until it is answered, however many anchors there are for the counter in this process.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::tcti::Tcti;

type Counter = (Tcti, u32);

static TAKEN: Mutex<BTreeSet<Counter>> = Mutex::new(BTreeSet::new());
static GIVEN_BACK: Condvar = Condvar::new();

fn taken() -> MutexGuard<'static, BTreeSet<Counter>> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The only conversation of this process with a counter that may add to it. Given back when
/// dropped.
#[derive(Debug)]
pub(super) struct Turn(Counter);

impl Turn {
    /// `None` where somebody else has it for longer than this.
    pub(super) fn take(tcti: &Tcti, index: u32, patience: Duration) -> Option<Self> {
        let counter = (tcti.clone(), index);
        let (mut taken, _) = GIVEN_BACK
            .wait_timeout_while(taken(), patience, |taken| taken.contains(&counter))
            .unwrap_or_else(PoisonError::into_inner);
        taken.insert(counter.clone()).then(|| Self(counter))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        taken().remove(&self.0);
        GIVEN_BACK.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn one_at_a_time_for_each_counter() {
        let tcti: Tcti = "device:/dev/a-test".parse().unwrap();
        let brief = Duration::from_millis(10);
        let first = Turn::take(&tcti, 1, brief).unwrap();
        assert!(Turn::take(&tcti, 1, brief).is_none());
        assert!(Turn::take(&tcti, 2, brief).is_some(), "another counter");
        let waiting = thread::spawn({
            let tcti = tcti.clone();
            move || Turn::take(&tcti, 1, Duration::from_secs(20)).is_some()
        });
        thread::sleep(brief);
        drop(first);
        assert!(waiting.join().unwrap());
        assert!(Turn::take(&tcti, 1, brief).is_some(), "given back");
    }
}
