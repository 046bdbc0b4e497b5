//! Edits of a file as values, which print as sentences and parse back, so that a failing attack is
//! one line to paste.
//!
//! ```text
//! attack = "nothing" | edit {"; " edit}
//! edit   = "flip byte " N " by " N | "replay pages " N ".." N " of state " N
//!        | "replay file of state " N | "copy pages " N ".." N " to " N
//!        | "copy in pages " N ".." N " to " N | "swap pages " N ".." N " with " N
//!        | "zero pages " N ".." N | "cut to " N " bytes" | "extend to " N " bytes of " N
//! ```

use std::fmt;
use std::str::FromStr;

/// A run of pages of the file (blocks, where the history has another block size).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// The first page.
    pub first: u64,
    /// The page behind the last.
    pub end: u64,
}

impl Span {
    /// One page.
    #[must_use]
    pub fn page(page: u64) -> Self {
        Self { first: page, end: page.saturating_add(1) }
    }

    /// How many pages.
    #[must_use]
    pub fn len(self) -> u64 {
        self.end.saturating_sub(self.first)
    }

    /// Whether it is no page at all.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl From<std::ops::Range<u64>> for Span {
    fn from(pages: std::ops::Range<u64>) -> Self {
        Self { first: pages.start, end: pages.end }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pages {}..{}", self.first, self.end)
    }
}

/// One thing that an attacker does to a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Edit {
    /// Flips bits of one byte.
    Flip {
        /// Its offset.
        byte: u64,
        /// The bits.
        xor: u8,
    },
    /// Puts pages back as they were in a recorded state; the file grows if need be.
    Replay {
        /// Which pages.
        pages: Span,
        /// The state.
        state: usize,
    },
    /// Puts the whole file back.
    ReplayFile {
        /// The state.
        state: usize,
    },
    /// Copies pages of the file over others of it.
    Copy {
        /// From here.
        pages: Span,
        /// To here on.
        to: u64,
    },
    /// Copies pages of the other file in.
    CopyIn {
        /// From here in the other file.
        pages: Span,
        /// To here on in this one.
        to: u64,
    },
    /// Exchanges pages of the file with as many others.
    Swap {
        /// These.
        pages: Span,
        /// With those from here on.
        with: u64,
    },
    /// Writes zeros over pages.
    Zero {
        /// Which pages.
        pages: Span,
    },
    /// Cuts the file.
    Cut {
        /// To so many bytes.
        len: u64,
    },
    /// Extends the file.
    Extend {
        /// To so many bytes.
        len: u64,
        /// With this byte.
        fill: u8,
    },
}

/// What an attacker does to a file, in this order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Attack {
    /// The edits.
    pub edits: Vec<Edit>,
}

impl From<Edit> for Attack {
    fn from(edit: Edit) -> Self {
        Self { edits: vec![edit] }
    }
}

impl FromIterator<Edit> for Attack {
    fn from_iter<T: IntoIterator<Item = Edit>>(edits: T) -> Self {
        Self { edits: edits.into_iter().collect() }
    }
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flip { byte, xor } => write!(f, "flip byte {byte} by {xor}"),
            Self::Replay { pages, state } => write!(f, "replay {pages} of state {state}"),
            Self::ReplayFile { state } => write!(f, "replay file of state {state}"),
            Self::Copy { pages, to } => write!(f, "copy {pages} to {to}"),
            Self::CopyIn { pages, to } => write!(f, "copy in {pages} to {to}"),
            Self::Swap { pages, with } => write!(f, "swap {pages} with {with}"),
            Self::Zero { pages } => write!(f, "zero {pages}"),
            Self::Cut { len } => write!(f, "cut to {len} bytes"),
            Self::Extend { len, fill } => write!(f, "extend to {len} bytes of {fill}"),
        }
    }
}

impl fmt::Display for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut edits = self.edits.iter();
        let Some(first) = edits.next() else { return f.write_str("nothing") };
        write!(f, "{first}")?;
        edits.try_for_each(|edit| write!(f, "; {edit}"))
    }
}

/// An attack that can't be understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttackError {
    edit: String,
}

impl fmt::Display for AttackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not an edit; write one as `replay pages 16..17 of state 12` or `cut to 4096 \
             bytes`",
            self.edit
        )
    }
}

impl std::error::Error for AttackError {}

impl FromStr for Attack {
    type Err = AttackError;

    fn from_str(text: &str) -> Result<Self, AttackError> {
        if text.trim() == "nothing" {
            return Ok(Self::default());
        }
        Ok(Self { edits: text.split(';').map(str::parse).collect::<Result<_, _>>()? })
    }
}

impl FromStr for Edit {
    type Err = AttackError;

    fn from_str(text: &str) -> Result<Self, AttackError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        edit(&words).ok_or_else(|| AttackError { edit: text.trim().to_owned() })
    }
}

fn span(word: &str) -> Option<Span> {
    let (first, end) = word.split_once("..")?;
    Some(Span { first: first.parse().ok()?, end: end.parse().ok()? })
}

fn edit(words: &[&str]) -> Option<Edit> {
    Some(match words {
        ["flip", "byte", byte, "by", xor] => {
            Edit::Flip { byte: byte.parse().ok()?, xor: xor.parse().ok()? }
        }
        ["replay", "pages", pages, "of", "state", state] => {
            Edit::Replay { pages: span(pages)?, state: state.parse().ok()? }
        }
        ["replay", "file", "of", "state", state] => Edit::ReplayFile { state: state.parse().ok()? },
        ["copy", "pages", pages, "to", to] => {
            Edit::Copy { pages: span(pages)?, to: to.parse().ok()? }
        }
        ["copy", "in", "pages", pages, "to", to] => {
            Edit::CopyIn { pages: span(pages)?, to: to.parse().ok()? }
        }
        ["swap", "pages", pages, "with", with] => {
            Edit::Swap { pages: span(pages)?, with: with.parse().ok()? }
        }
        ["zero", "pages", pages] => Edit::Zero { pages: span(pages)? },
        ["cut", "to", len, "bytes"] => Edit::Cut { len: len.parse().ok()? },
        ["extend", "to", len, "bytes", "of", fill] => {
            Edit::Extend { len: len.parse().ok()?, fill: fill.parse().ok()? }
        }
        _ => return None,
    })
}
