//! Floor 2: the wall clock, in Unix seconds. It stamps what is made, makes keys due, and refuses
//! credentials that have expired. It never decides which bytes are current.

use std::time::{SystemTime, UNIX_EPOCH};

/// Where the time comes from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    /// A test's own time.
    fixed: Option<u64>,
}

impl Clock {
    /// A clock that stands still, for tests.
    #[cfg(feature = "testkit")]
    pub(crate) fn standing_at(unix_seconds: u64) -> Self {
        Self { fixed: Some(unix_seconds) }
    }

    /// Unix seconds; 0 where the clock stands before 1970.
    pub(crate) fn now_s(self) -> u64 {
        self.fixed.unwrap_or_else(|| {
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
        })
    }
}
