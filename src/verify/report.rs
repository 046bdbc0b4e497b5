//! What a verification found: figures for programs, lines for people.

use std::fmt;
use std::time::Duration;

use super::finding::{Finding, Severity};
use crate::units::{Epoch, FileId, Generation, SyncSeq};

/// Pages of the logical length by what became of them. Page 0, which lives in the root record, is
/// in none of these.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct PageCounts {
    /// Pages that a tag page says are sealed: the sum of the next three.
    pub sealed: u64,
    /// Sealed pages that opened.
    pub opened: u64,
    /// Sealed pages that an interrupted rotation was overwriting and whose image opens: the next
    /// open for writing puts it in place.
    pub in_journal: u64,
    /// Sealed pages that don't open, or can't be read. Each is a finding.
    pub bad: u64,
    /// Pages that were never written: they read as zeros.
    pub absent: u64,
    /// Pages that an earlier recovery or rotation gave up.
    pub lost: u64,
    /// Pages of groups without a tag page: nothing is known of them.
    pub unknown: u64,
    /// Those of them that open all the same under the group's other tag page, as they were at an
    /// earlier sync.
    pub unknown_opened: u64,
    /// Pages that redb uses, if it could walk all its trees; the others are free.
    pub used: Option<u64>,
}

/// Pages that one data key seals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct EpochPages {
    /// The data key.
    pub epoch: Epoch,
    /// Whether it seals everything new; the others are being rotated away.
    pub active: bool,
    /// Data pages whose entries name it.
    pub pages: u64,
}

/// What redb says of its trees.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Trees {
    /// Every tree is whole, and its checksums and the list of free pages fit.
    Sound,
    /// They were not checked, for this reason.
    NotChecked(&'static str),
    /// redb stopped at a page that doesn't open; that page is a finding.
    Stopped(String),
    /// redb found something wrong with what authentic pages say.
    Inconsistent(String),
    /// redb panicked on what authentic pages say.
    Panicked(String),
}

impl fmt::Display for Trees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sound => f.write_str("sound"),
            Self::NotChecked(why) => write!(f, "not checked: {why}"),
            Self::Stopped(why) => write!(f, "not checked to the end: {why}"),
            Self::Inconsistent(why) => write!(f, "inconsistent: {why}"),
            Self::Panicked(why) => write!(f, "redb panicked: {why}"),
        }
    }
}

/// Findings by severity, those that are not listed included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct FindingCounts {
    /// [`Severity::Damage`].
    pub damage: u64,
    /// [`Severity::Spare`].
    pub spare: u64,
    /// [`Severity::Leftover`].
    pub leftover: u64,
}

impl FindingCounts {
    pub(super) fn add(&mut self, severity: Severity) {
        let count = match severity {
            Severity::Damage => &mut self.damage,
            Severity::Spare => &mut self.spare,
            Severity::Leftover => &mut self.leftover,
        };
        *count = count.saturating_add(1);
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.damage.saturating_add(self.spare).saturating_add(self.leftover)
    }
}

/// What a verification found. [`fmt::Display`] writes it for people, in as many lines as it takes.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Whether the database was open, readers and writer going on.
    pub online: bool,
    /// `false` where the progress callback stopped it: what follows is what was found until then.
    pub complete: bool,
    /// The file's id.
    pub file_id: FileId,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// The header that was unlocked.
    pub generation: Generation,
    /// The sync whose state was verified; `None` where no root record opens.
    pub sync: Option<SyncSeq>,
    /// Whether the file was closed cleanly; never while it is open.
    pub closed: bool,
    /// Pages of the logical length, page 0 included.
    pub logical_pages: u64,
    /// Groups of 126 pages that have tag pages.
    pub groups: u64,
    /// Pages by what became of them.
    pub pages: PageCounts,
    /// Sealed pages by data key, the oldest first.
    pub epochs: Vec<EpochPages>,
    /// What redb says of its trees.
    pub trees: Trees,
    /// What is wrong: the worst first, then in the order of the file; at most as many as
    /// [`VerifyOptions::findings_max`](super::VerifyOptions::findings_max) says.
    pub findings: Vec<Finding>,
    /// All findings, those that are not listed included.
    pub counts: FindingCounts,
    /// How long it took.
    pub elapsed: Duration,
}

impl Report {
    /// Whether every byte of data can be read and the database opens, as far as was looked.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.counts.damage == 0
    }

    /// Whether nothing at all was found, and everything was looked at.
    #[must_use]
    pub fn is_spotless(&self) -> bool {
        self.complete && self.counts.total() == 0
    }

    fn verdict(&self) -> &'static str {
        match (self.counts.damage, self.counts.spare, self.counts.leftover, self.complete) {
            (0, 0, 0, true) => "whole: nothing wrong was found",
            (0, 0, _, true) => "sound: a crash explains what was found, and the next open mends it",
            (0, _, _, true) => "sound, but not whole: all data is there, a spare is damaged",
            (0, _, _, false) => "stopped: nothing worse was found until then",
            _ => "DAMAGED",
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match (self.online, self.closed) {
            (true, _) => "open",
            (false, true) => "closed cleanly",
            (false, false) => "not closed cleanly",
        };
        write!(f, "file {}, {} bytes, {how}, {}", self.file_id, self.file_bytes, self.generation)?;
        match self.sync {
            Some(sync) => writeln!(f, ", {sync}")?,
            None => writeln!(f, ", no root record opens")?,
        }
        let PageCounts { sealed, opened, in_journal, bad, absent, lost, unknown, used, .. } =
            self.pages;
        write!(f, "{} pages in {} groups: ", self.logical_pages, self.groups)?;
        write!(f, "{sealed} sealed, {opened} of them opened, {bad} not")?;
        if in_journal > 0 {
            write!(f, ", {in_journal} in the journal of a rotation")?;
        }
        write!(f, "; {absent} never written; {lost} given up; {unknown} unknown")?;
        if unknown > 0 {
            let opened = self.pages.unknown_opened;
            write!(f, " ({opened} of them open under the other tag page)")?;
        }
        writeln!(f)?;
        if let Some(used) = used {
            writeln!(f, "{used} pages in use by redb, {} sealed and free", free(&self.pages))?;
        }
        for EpochPages { epoch, active, pages } in &self.epochs {
            let state = if *active { "active" } else { "retired" };
            writeln!(f, "data key {}, {state}: {pages} pages", epoch.0)?;
        }
        writeln!(f, "redb's trees: {}", self.trees)?;
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let unlisted = self.counts.total().saturating_sub(self.findings.len() as u64);
        if unlisted > 0 {
            writeln!(f, "and {unlisted} more")?;
        }
        let FindingCounts { damage, spare, leftover } = self.counts;
        writeln!(f, "{damage} damaged, {spare} spare damaged, {leftover} that a crash explains")?;
        write!(f, "{}", self.verdict())
    }
}

fn free(pages: &PageCounts) -> u64 {
    pages.sealed.saturating_sub(pages.used.unwrap_or(0))
}
