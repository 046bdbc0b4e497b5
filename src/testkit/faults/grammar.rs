//! The sentences of fault plans, both ways. What prints parses to the same plan, and what parses
//! prints to the same words, but for ` at operation N`.

use std::fmt;
use std::str::FromStr;

use super::{Fault, FaultKind, FaultPlan, Place, When};

/// A plan that can't be understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FaultPlanError {
    fault: String,
}

impl fmt::Display for FaultPlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not a fault; write one as `write error in tag page once after 3` (the words \
             are in the documentation of `FaultPlan`)",
            self.fault
        )
    }
}

impl std::error::Error for FaultPlanError {}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadError => f.write_str("read error"),
            Self::ShortRead => f.write_str("short read"),
            Self::MisdirectedRead { by } => write!(f, "misdirected read by {by}"),
            Self::BitFlipOnRead { byte, bit } => {
                write!(f, "bit flip on read at byte {byte} bit {bit}")
            }
            Self::WriteError => f.write_str("write error"),
            Self::ShortWrite => f.write_str("short write"),
            Self::LostWrite => f.write_str("lost write"),
            Self::MisdirectedWrite { by } => write!(f, "misdirected write by {by}"),
            Self::StaleSector { nth } => write!(f, "stale sector {nth} on write"),
            Self::BitFlipOnWrite { byte, bit } => {
                write!(f, "bit flip on write at byte {byte} bit {bit}")
            }
            Self::SyncError => f.write_str("fsync error"),
            Self::LostSync => f.write_str("lost fsync"),
            Self::ResizeError => f.write_str("resize error"),
            Self::DiskFullAt { byte } => write!(f, "disk full at byte {byte}"),
            Self::DiskFullAfter { bytes } => write!(f, "disk full after {bytes} bytes"),
            Self::TruncatedTo { byte } => write!(f, "truncated to byte {byte}"),
            Self::Slow { micros } => write!(f, "slow by {micros} us"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anywhere => Ok(()),
            Self::Header => f.write_str(" in header"),
            Self::RootRecord => f.write_str(" in root record"),
            Self::TagPage => f.write_str(" in tag page"),
            Self::DataPage => f.write_str(" in data page"),
            Self::Bytes { start, end } => write!(f, " in bytes {start}..{end}"),
        }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForEverAfter(0) => Ok(()),
            Self::ForEverAfter(passing) => write!(f, " for ever after {passing}"),
            Self::OnceAfter(passing) => write!(f, " once after {passing}"),
        }
    }
}

impl fmt::Display for FaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut faults = self.faults.iter();
        let Some(first) = faults.next() else { return f.write_str("no fault") };
        write!(f, "{first}")?;
        faults.try_for_each(|fault| write!(f, "; {fault}"))
    }
}

impl FromStr for FaultPlan {
    type Err = FaultPlanError;

    fn from_str(text: &str) -> Result<Self, FaultPlanError> {
        if text.trim() == "no fault" {
            return Ok(Self::default());
        }
        Ok(Self { faults: text.split(';').map(str::parse).collect::<Result<_, _>>()? })
    }
}

impl FromStr for Fault {
    type Err = FaultPlanError;

    fn from_str(text: &str) -> Result<Self, FaultPlanError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        fault(&words).ok_or_else(|| FaultPlanError { fault: text.trim().to_owned() })
    }
}

fn fault(words: &[&str]) -> Option<Fault> {
    let (what, rest) = what(words)?;
    let (place, rest) = place(rest)?;
    Some(Fault { what, place, when: when(rest)? })
}

fn bit(word: &str) -> Option<u8> {
    word.parse().ok().filter(|bit| *bit < 8)
}

fn what<'a, 'b>(words: &'a [&'b str]) -> Option<(FaultKind, &'a [&'b str])> {
    Some(match words {
        ["read", "error", rest @ ..] => (FaultKind::ReadError, rest),
        ["short", "read", rest @ ..] => (FaultKind::ShortRead, rest),
        ["misdirected", "read", "by", by, rest @ ..] => {
            (FaultKind::MisdirectedRead { by: by.parse().ok()? }, rest)
        }
        ["bit", "flip", "on", "read", "at", "byte", byte, "bit", nth, rest @ ..] => {
            (FaultKind::BitFlipOnRead { byte: byte.parse().ok()?, bit: bit(nth)? }, rest)
        }
        ["write", "error", rest @ ..] => (FaultKind::WriteError, rest),
        ["short", "write", rest @ ..] => (FaultKind::ShortWrite, rest),
        ["lost", "write", rest @ ..] => (FaultKind::LostWrite, rest),
        ["misdirected", "write", "by", by, rest @ ..] => {
            (FaultKind::MisdirectedWrite { by: by.parse().ok()? }, rest)
        }
        ["stale", "sector", nth, "on", "write", rest @ ..] => {
            (FaultKind::StaleSector { nth: nth.parse().ok()? }, rest)
        }
        ["bit", "flip", "on", "write", "at", "byte", byte, "bit", nth, rest @ ..] => {
            (FaultKind::BitFlipOnWrite { byte: byte.parse().ok()?, bit: bit(nth)? }, rest)
        }
        ["fsync", "error", rest @ ..] => (FaultKind::SyncError, rest),
        ["lost", "fsync", rest @ ..] => (FaultKind::LostSync, rest),
        ["resize", "error", rest @ ..] => (FaultKind::ResizeError, rest),
        ["disk", "full", "at", "byte", byte, rest @ ..] => {
            (FaultKind::DiskFullAt { byte: byte.parse().ok()? }, rest)
        }
        ["disk", "full", "after", bytes, "bytes", rest @ ..] => {
            (FaultKind::DiskFullAfter { bytes: bytes.parse().ok()? }, rest)
        }
        ["truncated", "to", "byte", byte, rest @ ..] => {
            (FaultKind::TruncatedTo { byte: byte.parse().ok()? }, rest)
        }
        ["slow", "by", micros, "us", rest @ ..] => {
            (FaultKind::Slow { micros: micros.parse().ok()? }, rest)
        }
        _ => return None,
    })
}

fn place<'a, 'b>(words: &'a [&'b str]) -> Option<(Place, &'a [&'b str])> {
    Some(match words {
        ["in", "header", rest @ ..] => (Place::Header, rest),
        ["in", "root", "record", rest @ ..] => (Place::RootRecord, rest),
        ["in", "tag", "page", rest @ ..] => (Place::TagPage, rest),
        ["in", "data", "page", rest @ ..] => (Place::DataPage, rest),
        ["in", "bytes", range, rest @ ..] => {
            let (start, end) = range.split_once("..")?;
            (Place::Bytes { start: start.parse().ok()?, end: end.parse().ok()? }, rest)
        }
        ["in", ..] => return None,
        rest => (Place::Anywhere, rest),
    })
}

fn when(words: &[&str]) -> Option<When> {
    Some(match words {
        [] => When::ForEverAfter(0),
        ["once", "after", passing] => When::OnceAfter(passing.parse().ok()?),
        ["for", "ever", "after", passing] => When::ForEverAfter(passing.parse().ok()?),
        ["at", "operation", nth] => {
            When::OnceAfter(nth.parse::<u64>().ok().and_then(|nth| nth.checked_sub(1))?)
        }
        _ => return None,
    })
}
