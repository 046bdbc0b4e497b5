//! Fault plans: what a medium is to do wrong, as a sentence that parses and prints back, so that a
//! failing test prints one line and one command replays it. [`FaultyMedium`] wraps any medium and
//! carries a plan out. Deterministic: a plan and the same calls give the same faults.
//!
//! ```text
//! plan  = "no fault" | fault {"; " fault}
//! fault = what [" in " place] [when]
//! what  = "read error" | "short read" | "misdirected read by " N
//!       | "bit flip on read at byte " N " bit " B
//!       | "write error" | "short write" | "lost write" | "misdirected write by " N
//!       | "stale sector " N " on write" | "bit flip on write at byte " N " bit " B
//!       | "fsync error" | "lost fsync" | "resize error" | "disk full at byte " N
//!       | "disk full after " N " bytes" | "truncated to byte " N | "slow by " N " us"
//! place = "header" | "root record" | "tag page" | "data page" | "bytes " N ".." N
//! when  = " once after " N | " for ever after " N        (left out: for ever after 0)
//! ```
//!
//! `once after 3` lets three operations pass that the fault could hit and hits the fourth;
//! ` at operation 4` is read as the same. The choice is pure ([`FaultPlan`] and the operation in,
//! faults out); the medium only does as it is told.

use std::fmt;

mod grammar;
mod medium;
#[cfg(test)]
mod tests;

pub use grammar::FaultPlanError;
pub use medium::FaultyMedium;

use super::attacker::Part;

/// What goes wrong. Offsets and lengths are bytes of the medium.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// A read fails.
    ReadError,
    /// A read gets the first half of its bytes and meets the end of the file.
    ShortRead,
    /// A read is served from `by` bytes further on (or back).
    MisdirectedRead {
        /// How far off.
        by: i64,
    },
    /// A read that covers the byte sees one of its bits flipped; the medium stays as it is.
    BitFlipOnRead {
        /// Which byte of the medium.
        byte: u64,
        /// Which bit of it, 0 to 7.
        bit: u8,
    },
    /// A write fails and nothing of it lands.
    WriteError,
    /// A write fails and its first half lands.
    ShortWrite,
    /// A write reports success and nothing of it lands.
    LostWrite,
    /// A write reports success and lands `by` bytes further on (or back).
    MisdirectedWrite {
        /// How far off.
        by: i64,
    },
    /// A write reports success and lands but for one sector of 512 bytes, which stays as it was.
    StaleSector {
        /// Which sector of the write, from 0.
        nth: u64,
    },
    /// A write that covers the byte lands with one of its bits flipped.
    BitFlipOnWrite {
        /// Which byte of the medium.
        byte: u64,
        /// Which bit of it, 0 to 7.
        bit: u8,
    },
    /// A sync fails and makes nothing durable.
    SyncError,
    /// A sync reports success and makes nothing durable.
    LostSync,
    /// A change of length fails.
    ResizeError,
    /// No byte lies at this offset or behind it: what reaches it is cut there and fails.
    DiskFullAt {
        /// The first byte that has no room.
        byte: u64,
    },
    /// After so many written bytes there is no room: the write that has no room lands in part.
    DiskFullAfter {
        /// Bytes that may be written from the moment the plan was armed.
        bytes: u64,
    },
    /// The file looks as if it ended here.
    TruncatedTo {
        /// The first byte that is not there.
        byte: u64,
    },
    /// Every operation takes longer.
    Slow {
        /// By so many microseconds.
        micros: u64,
    },
}

/// Where it goes wrong. A part of the file is that in which a read or write starts; operations
/// without a place (syncs, lengths) are hit by faults that are `Anywhere` only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Place {
    /// Anywhere.
    #[default]
    Anywhere,
    /// In the header, either copy.
    Header,
    /// In a root record, either copy.
    RootRecord,
    /// In a tag page, either copy of any group.
    TagPage,
    /// In a data page, or where one would lie: the clean index too.
    DataPage,
    /// Overlapping these bytes.
    Bytes {
        /// The first byte.
        start: u64,
        /// The byte behind the last.
        end: u64,
    },
}

/// When it goes wrong, counting the operations that the fault could hit since the plan was armed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// Once, after so many that pass.
    OnceAfter(u64),
    /// Always, after so many that pass.
    ForEverAfter(u64),
}

/// One thing that goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// What.
    pub what: FaultKind,
    /// Where.
    pub place: Place,
    /// When.
    pub when: When,
}

/// Everything that is to go wrong: a sentence. See the [module's grammar](FaultPlan#grammar).
///
/// # Grammar
///
/// ```
/// use strongroom::testkit::FaultPlan;
/// for plan in [
///     "no fault",
///     "read error in tag page once after 7",
///     "fsync error once after 3",
///     "fsync error for ever after 3",
///     "write error",
///     "short write in root record once after 2",
///     "misdirected write by 4096 in data page once after 5",
///     "stale sector 3 on write in tag page once after 1",
///     "bit flip on read at byte 81920 bit 3",
///     "disk full at byte 200000",
///     "truncated to byte 100000",
///     "slow by 1000 us; lost fsync once after 0",
/// ] {
///     assert_eq!(plan.parse::<FaultPlan>()?.to_string(), plan);
/// }
/// # Ok::<(), strongroom::testkit::FaultPlanError>(())
/// ```
///
/// `in` is followed by `header`, `root record`, `tag page`, `data page` or `bytes 100..200`;
/// `once after 6` can be written `at operation 7`. Left out, a fault is anywhere and for ever.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FaultPlan {
    /// In the order in which they are tried; the first that ends an operation does.
    pub faults: Vec<Fault>,
}

impl From<Fault> for FaultPlan {
    fn from(fault: Fault) -> Self {
        Self { faults: vec![fault] }
    }
}

/// An operation on the medium, as a fault sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operation {
    Read {
        offset: u64,
        len: u64,
    },
    Write {
        offset: u64,
        len: u64,
    },
    Sync,
    /// To this many bytes; whether that is more than before.
    Resize {
        len: u64,
        grows: bool,
    },
    Length,
}

impl Operation {
    fn range(self) -> Option<(u64, u64)> {
        match self {
            Self::Read { offset, len } | Self::Write { offset, len } => {
                Some((offset, offset.saturating_add(len)))
            }
            _ => None,
        }
    }

    fn is_read(self) -> bool {
        matches!(self, Self::Read { .. })
    }

    fn is_write(self) -> bool {
        matches!(self, Self::Write { .. })
    }
}

impl Place {
    fn holds(self, operation: Operation) -> bool {
        let Some((start, end)) = operation.range() else { return self == Self::Anywhere };
        let part = Part::at(start);
        match self {
            Self::Anywhere => true,
            Self::Header => matches!(part, Part::Header(_)),
            Self::RootRecord => matches!(part, Part::Root(_)),
            Self::TagPage => matches!(part, Part::TagPage(..)),
            Self::DataPage => matches!(part, Part::DataPage(_)),
            Self::Bytes { start: first, end: behind } => start < behind && first < end,
        }
    }
}

impl FaultKind {
    /// Whether it could hit this operation, `written` bytes after the plan was armed.
    fn could_hit(self, operation: Operation, written: u64) -> bool {
        let range = operation.range();
        let covers = |byte| range.is_some_and(|(start, end)| start <= byte && byte < end);
        let passes = |byte| range.is_some_and(|(_, end)| end > byte);
        match self {
            Self::ReadError | Self::ShortRead | Self::MisdirectedRead { .. } => operation.is_read(),
            Self::BitFlipOnRead { byte, .. } => operation.is_read() && covers(byte),
            Self::WriteError
            | Self::ShortWrite
            | Self::LostWrite
            | Self::MisdirectedWrite { .. } => operation.is_write(),
            Self::StaleSector { nth } => matches!(operation,
                Operation::Write { len, .. } if nth.saturating_mul(512) < len),
            Self::BitFlipOnWrite { byte, .. } => operation.is_write() && covers(byte),
            Self::SyncError | Self::LostSync => operation == Operation::Sync,
            Self::ResizeError => matches!(operation, Operation::Resize { .. }),
            Self::DiskFullAt { byte } => match operation {
                Operation::Resize { len, grows } => grows && len > byte,
                _ => operation.is_write() && passes(byte),
            },
            Self::DiskFullAfter { bytes } => match operation {
                Operation::Resize { grows, .. } => grows && written >= bytes,
                Operation::Write { len, .. } => written.saturating_add(len) > bytes,
                _ => false,
            },
            Self::TruncatedTo { byte } => {
                operation == Operation::Length || (operation.is_read() && passes(byte))
            }
            Self::Slow { .. } => true,
        }
    }
}

/// A plan that is being carried out.
#[derive(Clone, Debug, Default)]
struct Armed {
    plan: FaultPlan,
    /// For each fault, the operations so far that it could have hit, and those that it did.
    counts: Vec<(u64, u64)>,
    written: u64,
}

impl Armed {
    fn new(plan: FaultPlan) -> Self {
        let counts = vec![(0, 0); plan.faults.len()];
        Self { plan, counts, written: 0 }
    }

    /// The faults that hit this operation, in the order of the plan.
    fn hits(&mut self, operation: Operation) -> Vec<Fault> {
        let mut hits = Vec::new();
        for (fault, (seen, fired)) in self.plan.faults.iter().zip(&mut self.counts) {
            let hit = fault.place.holds(operation) && fault.what.could_hit(operation, self.written);
            if !hit {
                continue;
            }
            let now = match fault.when {
                When::OnceAfter(passing) => *seen == passing,
                When::ForEverAfter(passing) => *seen >= passing,
            };
            *seen = seen.saturating_add(1);
            if now {
                *fired = fired.saturating_add(1);
                hits.push(*fault);
            }
        }
        hits
    }

    fn fired(&self) -> u64 {
        self.counts.iter().map(|(_, fired)| fired).sum()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.what, self.place, self.when)
    }
}
