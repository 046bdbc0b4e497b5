//! What a salvage found, saved and lost, as plain data that prints.

use std::fmt;
use std::io;

use crate::units::{CopyId, PageNo, SyncSeq};

/// In which form the rows were saved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SavedAs {
    /// All trees were whole: the new database is a copy of every page, and redb's own check found
    /// nothing wrong with it. Savepoints and free pages are as they were.
    Image,
    /// Tables made anew, with every row that can still be reached; redb's check found nothing wrong
    /// with them. Savepoints are gone.
    Tables,
    /// A copy of every page that can be read, with zeros for the others, as was asked for
    /// ([`SalvageHow::Image`](crate::SalvageHow::Image)), which redb refuses.
    BrokenImage,
}

/// Which commit of redb's was saved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SavedCommit {
    /// The one that redb's header names: the last.
    Last,
    /// The one before: the last one's tables can't be reached, or a crash cut it off.
    Before,
    /// No commit's tables can be reached. Older definitions of tables were found by looking at every
    /// page, each of an earlier commit, and not vouched for by any root of redb's.
    Found,
}

/// Why a page can't be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PageLoss {
    /// Its bytes are not what was written: altered, torn, or rotten.
    DoesNotOpen,
    /// The file ends before it does.
    Truncated,
    /// The medium reports an error.
    Unreadable(io::ErrorKind),
    /// No tag page of its group is left to open it with.
    NoTagPage,
    /// An earlier recovery gave it up, since redb did not use it.
    GivenUp,
    /// It reads, but is not the version that the tree names: of another time.
    OtherTime,
    /// A page above it points nowhere: forged by somebody who has the key, or an error in redb.
    Astray,
}

/// Pages, one after another, that were lost for the same reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageRange {
    /// The first page, as redb numbers them (4096 bytes each).
    pub first: PageNo,
    /// How many.
    pub pages: u64,
    /// Why.
    pub loss: PageLoss,
}

/// What became of one table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableReport {
    /// Its name.
    pub name: String,
    /// Whether it is a multimap table; a row is then one value of one key.
    pub multimap: bool,
    /// The name of its keys' type.
    pub key_type: String,
    /// The name of its values' type.
    pub value_type: String,
    /// Rows it had, as its definition says.
    pub rows: u64,
    /// Rows that were saved.
    pub saved: u64,
    /// The tree pages that are missing; all that lay below them is lost.
    pub lost: Vec<PageRange>,
    /// redb would not make a table of these types anew: nothing of it was saved.
    pub refused: bool,
    /// No root leads to it; it is as an older definition has it that was found on some page: of an
    /// earlier commit, perhaps of a table that was deleted since.
    pub older: bool,
}

/// What a salvage did.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SalvageReport {
    /// Whether each header copy, A and B, can be read.
    pub headers: [bool; 2],
    /// Whether each root record, A and B, can be read.
    pub roots: [bool; 2],
    /// The root record that was gone by; `None` where neither opens.
    pub root: Option<CopyId>,
    /// The sync whose state was saved.
    pub sync: Option<SyncSeq>,
    /// A newer sync that could not be saved.
    pub passed_over: Option<SyncSeq>,
    /// The tag pages add up to that root record's digest: none of them is older than it should be.
    pub adds_up: bool,
    /// Which of redb's commits in that state.
    pub commit: SavedCommit,
    /// redb's number of that commit, where there is one.
    pub transaction: Option<u64>,
    /// The form of the new database.
    pub saved_as: SavedAs,
    /// Why the new database is not an image, or a broken one.
    pub no_image: Option<String>,
    /// Pages of the database.
    pub pages: u64,
    /// Those of them that can be read.
    pub readable_pages: u64,
    /// The others, in order. Not each of them costs rows: many may have been free.
    pub lost_pages: Vec<PageRange>,
    /// Tables that the commit has.
    pub tables_recorded: u64,
    /// Those of them whose very definition is lost, with all their rows, unless an older one of theirs
    /// was found ([`TableReport::older`]).
    pub tables_lost: u64,
    /// Pages of the tree of tables that are missing.
    pub lost_definitions: Vec<PageRange>,
    /// Definitions that this version of redb doesn't know; their tables were left out.
    pub tables_unknown: u64,
    /// The tables that were found, in order of their names.
    pub tables: Vec<TableReport>,
}

impl SalvageReport {
    /// Rows that were saved, of all tables.
    #[must_use]
    pub fn rows_saved(&self) -> u64 {
        self.tables.iter().map(|table| table.saved).fold(0, u64::saturating_add)
    }

    /// Rows that the tables which were found had.
    #[must_use]
    pub fn rows_recorded(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).fold(0, u64::saturating_add)
    }

    /// Whether every row of the last commit was saved.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.commit == SavedCommit::Last
            && self.passed_over.is_none()
            && self.saved_as != SavedAs::BrokenImage
            && self.tables_lost == 0
            && self.tables_unknown == 0
            && self.tables.iter().all(|table| table.saved == table.rows && !table.refused)
    }
}

impl fmt::Display for PageRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pages {
            0 => f.write_str("a page")?,
            1 => write!(f, "{}", self.first)?,
            _ => {
                let last = self.first.0.saturating_add(self.pages - 1);
                write!(f, "pages {} to {last}", self.first.0)?;
            }
        }
        match self.loss {
            PageLoss::DoesNotOpen => f.write_str(": altered or lost"),
            PageLoss::Truncated => f.write_str(": behind the end of the file"),
            PageLoss::Unreadable(kind) => write!(f, ": can't be read ({kind})"),
            PageLoss::NoTagPage => f.write_str(": no tag page is left to open it with"),
            PageLoss::GivenUp => f.write_str(": given up in an earlier recovery, unused"),
            PageLoss::OtherTime => f.write_str(": of another time than the tree"),
            PageLoss::Astray => f.write_str(" that the tree names does not exist"),
        }
    }
}

impl fmt::Display for TableReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.multimap { "multimap" } else { "table" };
        let Self { name, key_type, value_type, saved, rows, .. } = self;
        write!(f, "{kind} {name:?} ({key_type} to {value_type}): {saved} of {rows} rows")?;
        if self.older {
            f.write_str(", by an older definition")?;
        }
        if self.refused {
            f.write_str("; redb would not make a table of these types")?;
        }
        self.lost.iter().try_for_each(|range| write!(f, "\n  lost: {range}"))
    }
}

impl fmt::Display for SalvageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pair = |[a, b]: [bool; 2]| match (a, b) {
            (true, true) => "both can be read",
            (true, false) => "copy A can be read, copy B can't",
            (false, true) => "copy B can be read, copy A can't",
            (false, false) => "neither can be read",
        };
        writeln!(f, "header: {}", pair(self.headers))?;
        writeln!(f, "root records: {}", pair(self.roots))?;
        match (self.root, self.sync) {
            (Some(root), Some(sync)) => {
                write!(f, "saved: the state of {sync} (root record {root})")?
            }
            _ => f.write_str("saved: what is there without a root record")?,
        }
        if let Some(newer) = self.passed_over {
            write!(f, ", since {newer} can't be")?;
        }
        match self.commit {
            SavedCommit::Last => f.write_str(", redb's last commit in it")?,
            SavedCommit::Before => f.write_str(", the commit before redb's last one in it")?,
            SavedCommit::Found => f.write_str(", tables by older definitions, commits unknown")?,
        }
        match self.transaction {
            Some(transaction) => writeln!(f, " (transaction {transaction})")?,
            None => writeln!(f)?,
        }
        if !self.adds_up {
            writeln!(f, "some tag pages are older than they should be, or gone")?;
        }
        match self.saved_as {
            SavedAs::Image => writeln!(f, "as: an image, which redb finds whole")?,
            SavedAs::Tables => writeln!(f, "as: tables made anew")?,
            SavedAs::BrokenImage => writeln!(f, "as: an image, which redb refuses")?,
        }
        if let Some(why) = &self.no_image {
            writeln!(f, "no whole image: {why}")?;
        }
        writeln!(f, "pages: {} of {} can be read", self.readable_pages, self.pages)?;
        self.lost_pages.iter().try_for_each(|range| writeln!(f, "  lost: {range}"))?;
        let found = self.tables.iter().filter(|table| !table.older).count();
        writeln!(f, "tables: {found} of {} found", self.tables_recorded)?;
        self.lost_definitions.iter().try_for_each(|range| writeln!(f, "  lost: {range}"))?;
        if self.tables_unknown > 0 {
            writeln!(f, "  left out: {} of a kind unknown here", self.tables_unknown)?;
        }
        self.tables.iter().try_for_each(|table| writeln!(f, "{table}"))?;
        write!(f, "rows: {} of {} saved", self.rows_saved(), self.rows_recorded())?;
        if self.tables_lost > 0 {
            write!(f, ", and {} tables are missing or older", self.tables_lost)?;
        }
        Ok(())
    }
}
