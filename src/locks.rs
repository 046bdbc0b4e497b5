//! Floor 0: the locks and counters that threads of one open store meet at. They are the standard
//! library's; a build with `--cfg strongroom_shuttle` takes shuttle's instead, whose scheduler
//! then decides who runs after each of them (docs/testing.md, "Concurrency").

#[cfg(not(strongroom_shuttle))]
pub(crate) use std::sync::{
    Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicBool, AtomicU64},
};

#[cfg(strongroom_shuttle)]
pub(crate) use shuttle::sync::{
    Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicBool, AtomicU64},
};

/// Lets other threads run.
#[cfg(feature = "testkit")]
pub(crate) fn yield_now() {
    #[cfg(not(strongroom_shuttle))]
    std::thread::yield_now();
    #[cfg(strongroom_shuttle)]
    shuttle::thread::yield_now();
}
