//! Floor 1: the holes of earlier designs (H) and of this one's first weeks (R), each of which lost
//! databases. Behind feature `testkit`
//! a test can put one back to see that the crash harness catches it; without the feature none of
//! them exists and every question is answered `false` at compile time.

/// A hole that an earlier design had (docs/past-failures.md), put back on purpose.
#[cfg(feature = "testkit")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hole {
    /// Tag pages of a sync that never finished are left in place at recovery.
    H1DeadTimeline,
    /// No `fsync` at open before anything is read and written.
    H2NoSyncAtOpen,
    /// Cached bytes are believed after an unclean shutdown.
    H3NoCacheDrop,
    /// A shrink cuts the file at once.
    H5TruncateAtOnce,
    /// Close doesn't mark the root records clean, so a damaged one is passed over in silence.
    H6CleanRootNever,
    /// Any page that doesn't open reads as zeros, for good.
    H7LenientAlways,
    /// An entry is published before its page is written.
    H9PublishBeforeWrite,
    /// The header is written first when a database is created.
    H13CreateUnordered,
    /// The lock is taken after recovery.
    H14LockLate,
    /// A close after a failed page write syncs what is there and marks it clean.
    R1CloseAfterFailedWrite,
    /// A sync of the store's own carries redb's header before redb's pages are here.
    R2HeaderBeforePages,
    /// A page that redb was given as zeros in its repair stays unreadable.
    R3ZeroedPagesStay,
}

/// The holes that are open in this store: none.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Holes {
    #[cfg(feature = "testkit")]
    planted: Option<Hole>,
}

macro_rules! ask {
    ($($name:ident: $hole:ident),* $(,)?) => {
        impl Holes {
            $(
                #[inline]
                pub(crate) fn $name(self) -> bool {
                    #[cfg(feature = "testkit")]
                    return self.planted == Some(Hole::$hole);
                    #[cfg(not(feature = "testkit"))]
                    false
                }
            )*
        }
    };
}

ask! {
    dead_timeline: H1DeadTimeline,
    no_sync_at_open: H2NoSyncAtOpen,
    no_cache_drop: H3NoCacheDrop,
    truncate_at_once: H5TruncateAtOnce,
    clean_root_never: H6CleanRootNever,
    lenient_always: H7LenientAlways,
    publish_before_write: H9PublishBeforeWrite,
    create_unordered: H13CreateUnordered,
    lock_late: H14LockLate,
    close_after_failed_write: R1CloseAfterFailedWrite,
    header_before_pages: R2HeaderBeforePages,
    zeroed_pages_stay: R3ZeroedPagesStay,
}

impl Holes {
    #[cfg(feature = "testkit")]
    pub(crate) fn plant(hole: Hole) -> Self {
        Self { planted: Some(hole) }
    }
}
