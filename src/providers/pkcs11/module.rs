//! PKCS #11 modules: each loaded and started once per process, never stopped, and used by one call
//! at a time. In a forked child none is used: what a module holds is its parent's, and a call there
//! may disturb a token that the parent is logged in to.
//!
//! The calls of PKCS #11 have no time-out, so each of ours runs on a thread that can be left.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11};
use cryptoki::error::{Error, RvError};

use super::error::Pkcs11Error;

/// A module that is loaded and started.
pub(super) struct Module {
    context: Pkcs11,
    owner: u32,
    busy: Mutex<bool>,
    freed: Condvar,
}

/// By the path that names in a path lead to, so that two names of a module are one.
static MODULES: Mutex<BTreeMap<PathBuf, Arc<Module>>> = Mutex::new(BTreeMap::new());
/// The process that first used a module here, 0 before; a forked child inherits it.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// Without a lock, and before any is waited for: in a child, a thread that only the parent has may
/// hold it for ever.
///
/// # Errors
/// [`Pkcs11Error::Forked`].
pub(super) fn check_not_forked() -> Result<(), Pkcs11Error> {
    check_owner(&OWNER)
}

fn check_owner(owner: &AtomicU32) -> Result<(), Pkcs11Error> {
    let own = process::id();
    match owner.compare_exchange(0, own, Ordering::SeqCst, Ordering::SeqCst) {
        Ok(_) => Ok(()),
        Err(first) if first == own => Ok(()),
        Err(_) => Err(Pkcs11Error::Forked),
    }
}

impl Module {
    /// The module at this path, loaded if it isn't.
    ///
    /// # Errors
    /// [`Pkcs11Error::Module`], [`Pkcs11Error::Forked`].
    pub(super) fn get(path: &Path) -> Result<Arc<Self>, Pkcs11Error> {
        let failed = |why: String| Pkcs11Error::Module { path: path.to_owned(), why };
        let real = path.canonicalize().map_err(|error| failed(error.to_string()))?;
        let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = modules.get(&real) {
            return Ok(Arc::clone(module));
        }
        let context = Pkcs11::new(&real).map_err(|error| failed(error.to_string()))?;
        start(&context).map_err(|error| failed(error.to_string()))?;
        let module = Arc::new(Self {
            context,
            owner: process::id(),
            busy: Mutex::new(false),
            freed: Condvar::new(),
        });
        modules.insert(real, Arc::clone(&module));
        Ok(module)
    }

    /// The module for one call, once nobody else is at it.
    ///
    /// # Errors
    /// [`Pkcs11Error::TimedOut`] where an earlier call goes on for so long.
    pub(super) fn enter(&self, patience: Duration) -> Result<Turn<'_>, Pkcs11Error> {
        if self.owner != process::id() {
            return Err(Pkcs11Error::Forked);
        }
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut busy, waited) = self
            .freed
            .wait_timeout_while(busy, patience, |busy| *busy)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() && *busy {
            return Err(Pkcs11Error::TimedOut { after: patience });
        }
        *busy = true;
        Ok(Turn { module: self })
    }
}

/// Starts a module, or sees that somebody in this process has.
fn start(context: &Pkcs11) -> Result<(), Error> {
    match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, Function::Initialize)) => Ok(()),
        done => done,
    }
}

/// The right to call the module, until it is dropped.
pub(super) struct Turn<'a> {
    module: &'a Module,
}

impl Turn<'_> {
    /// The module, started: the application may have stopped it behind our back.
    ///
    /// # Errors
    /// It can't be started again.
    pub(super) fn context(&self) -> Result<&Pkcs11, Pkcs11Error> {
        let context = &self.module.context;
        match context.get_library_info() {
            Err(Error::Pkcs11(RvError::CryptokiNotInitialized, _)) => start(context)?,
            info => drop(info?),
        }
        Ok(context)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.module.busy.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.module.freed.notify_one();
    }
}

/// Runs a call on a thread of its own and waits for it no longer than that. A call that hangs keeps
/// its thread, and the module for itself.
///
/// # Errors
/// What the call says, or [`Pkcs11Error::TimedOut`].
pub(super) fn timed<T: Send + 'static>(
    timeout: Duration,
    call: impl FnOnce(Duration) -> Result<T, Pkcs11Error> + Send + 'static,
) -> Result<T, Pkcs11Error> {
    let began = Instant::now();
    let (sender, receiver) = sync_channel(1);
    let spawned = thread::Builder::new().name("strongroom-pkcs11".to_owned()).spawn(move || {
        // Nobody may be waiting any more; the answer is dropped then.
        let _ = sender.send(call(timeout.saturating_sub(began.elapsed())));
    });
    spawned.map_err(|error| Pkcs11Error::Device(format!("no thread to ask it on: {error}")))?;
    match receiver.recv_timeout(timeout) {
        // The whole of it, also where a part of it went before the module was waited for.
        Err(RecvTimeoutError::Timeout) | Ok(Err(Pkcs11Error::TimedOut { .. })) => {
            Err(Pkcs11Error::TimedOut { after: timeout })
        }
        Ok(answer) => answer,
        Err(RecvTimeoutError::Disconnected) => {
            Err(Pkcs11Error::Device("the call panicked".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_hangs_is_left() {
        let limit = Duration::from_millis(30);
        let began = Instant::now();
        let hung = timed(limit, |_| {
            thread::sleep(Duration::from_secs(3));
            Ok(())
        });
        assert_eq!(hung, Err(Pkcs11Error::TimedOut { after: limit }));
        assert!(began.elapsed() < Duration::from_secs(2));
        assert_eq!(timed(limit, |_| Ok(7)), Ok(7));
        let panicked = timed(Duration::from_secs(9), |_| -> Result<(), _> {
            panic!("the test panics on purpose")
        });
        assert!(matches!(panicked, Err(Pkcs11Error::Device(_))));
    }

    #[test]
    fn only_the_process_that_began_goes_on() {
        let owner = AtomicU32::new(0);
        assert_eq!(check_owner(&owner), Ok(()));
        assert_eq!(owner.load(Ordering::SeqCst), process::id());
        assert_eq!(check_owner(&owner), Ok(()));
        // What a forked child finds.
        let parents = AtomicU32::new(process::id().wrapping_add(1));
        assert_eq!(check_owner(&parents), Err(Pkcs11Error::Forked));
    }

    #[test]
    fn what_is_no_module_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("text");
        std::fs::write(&text, "not a library").unwrap();
        for path in [text.as_path(), folder.path(), &folder.path().join("none")] {
            let error = Module::get(path).map(drop).unwrap_err();
            assert!(matches!(&error, Pkcs11Error::Module { path: named, .. } if named == path));
        }
    }
}
