//! What the process as a whole can do for its secrets, and the limit on locked memory.

/// What [`harden_process`] achieved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Hardening {
    /// The process is not dumpable: no core dump of it is written, and another process of the same
    /// user can't read its memory or attach a debugger.
    pub not_dumpable: bool,
    /// The limit on the size of a core file is 0, for this process and every program it starts.
    pub no_core_file: bool,
}

/// Makes the memory of this process harder to get at, for as long as it lives: opt in, at the
/// start of `main`. Key memory is left out of core dumps without it; stacks, saved registers and
/// the database's cache are not.
///
/// On Linux it sets `PR_SET_DUMPABLE` to 0 and `RLIMIT_CORE` to 0, soft and hard. The effects:
///
/// - no core dump after a crash, also none that is piped to a collector;
/// - a debugger, profiler or crash reporter of the same user can't attach; root still can;
/// - the files under `/proc/PID` belong to root, so a process that isn't root can't open some of
///   its own (`/proc/self/mem`, `/proc/self/environ` and others);
/// - programs started from here can't write core files either (they are dumpable again).
///
/// It does not help against root, against code in the process, or against a machine that is
/// suspended to disk. Elsewhere than on Linux nothing is done; the result says what was.
#[must_use]
pub fn harden_process() -> Hardening {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, Resource, Rlimit};
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        Hardening {
            not_dumpable: rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
                .is_ok(),
            no_core_file: rustix::process::setrlimit(Resource::Core, none).is_ok(),
        }
    }
    #[cfg(not(target_os = "linux"))]
    Hardening::default()
}

/// How many bytes this process may lock; `None` where there is no limit, or nobody knows.
pub(crate) fn lock_limit_bytes() -> Option<u64> {
    #[cfg(target_os = "linux")]
    {
        rustix::process::getrlimit(rustix::process::Resource::Memlock).current
    }
    #[cfg(not(target_os = "linux"))]
    None
}
