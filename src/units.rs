//! Floor 0: the numbers of the format, each with a type of its own, so that a group number can't
//! be handed over where a page number is wanted. Nothing here does I/O or knows a byte layout.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($repr:ty), $word:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub struct $name(pub $repr);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($word, " {}"), self.0)
            }
        }
    };
}

number! {
    /// A page of 4096 logical bytes as redb addresses them. Page 0 lives in the root record.
    PageNo(u64), "page"
}
number! {
    /// A group of 126 data pages with their two tag pages.
    GroupNo(u64), "group"
}
number! {
    /// A data key by number; each page says which epoch sealed it. Ids are never used twice.
    Epoch(u32), "epoch"
}
number! {
    /// Counts durable syncs, one up each; names the state that a root record describes.
    SyncSeq(u64), "sync"
}
number! {
    /// Counts header commits, one up each.
    Generation(u64), "generation"
}
number! {
    /// A key slot. Numbers go up with each credential that a file is given; none is used twice.
    SlotId(u32), "slot"
}
number! {
    /// A byte position in the file, as opposed to redb's logical offset.
    FileOffset(u64), "file offset"
}

impl SyncSeq {
    /// The sequence of the sync after this one. Saturates: 2^64 syncs are out of reach.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Sixteen random bytes, drawn when a file is created and bound into every seal: pages of another
/// file never open here.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileId(pub [u8; 16]);

impl fmt::Debug for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileId({self})")
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One of the two copies of a header, root record or tag page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum CopyId {
    /// The first copy.
    A,
    /// The second copy.
    B,
}

impl CopyId {
    /// Both, in the order in which they lie in the file.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The twin.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// 0 for A, 1 for B: as it stands in associated data and in the clean index.
    #[must_use]
    pub fn index(self) -> u8 {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }

    /// The copy with this index, if there is one.
    #[must_use]
    pub fn from_index(index: u8) -> Option<Self> {
        match index {
            0 => Some(Self::A),
            1 => Some(Self::B),
            _ => None,
        }
    }
}

impl fmt::Display for CopyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "copy A",
            Self::B => "copy B",
        })
    }
}
