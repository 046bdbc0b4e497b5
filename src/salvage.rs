//! Floor 10: what can be saved from a damaged file, for whoever holds the right key. The damaged
//! file is only read, under a shared lock; what still authenticates goes into a new one.
//!
//! A survey of the file (`store/survey`) gives the pages that open; a walk of our own (`walk`) goes
//! through redb's trees as far as they can be read, since redb stops at the first page that can't.
//! Where nothing of the trees is lost, the new database is a copy of every page, which redb checks;
//! else it is made anew, table by table, row by row (docs/salvage.md).
//!
//! Every row that comes out was in one and the same commit of the database: its page is authentic,
//! and of the version that the page above it names.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;

use crate::builder::Builder;
use crate::error::{OpenError, SalvageError};
use crate::keys::Credential;
use crate::medium::{self, Medium};
use crate::store::{HeaderCopyState, RootCopyState, Survey};

mod definition;
mod dump;
mod image;
mod node;
mod plain;
mod progress;
mod raw;
mod report;
mod search;
mod source;
mod states;
mod super_header;
mod tables;
mod target;
#[cfg(test)]
mod tests;
mod walk;
mod xxh3;

pub use progress::{SalvageHow, SalvageOptions, SalvageProgress, SalvageStage};
pub use report::{PageLoss, PageRange, SalvageReport, SavedAs, SavedCommit, TableReport};
pub use target::SalvageTarget;

use definition::Definition;
use progress::Ticker;
use source::Source;
use states::Chosen;
use tables::Listed;
use target::Target;
use walk::{Loss, LostNode, Pages, Walk};

/// Saves what still authenticates of a damaged file into a new one. [`Builder::salvage`] with the
/// defaults.
///
/// ```no_run
/// use strongroom::{Passphrase, SalvageOptions, SalvageTarget, salvage};
///
/// let key = Passphrase::new("correct horse");
/// let target = SalvageTarget::Encrypted("saved.room".into(), &key);
/// let report = salvage("damaged.room", &key, target, SalvageOptions::new())?;
/// println!("{report}");
/// # Ok::<(), strongroom::SalvageError>(())
/// ```
///
/// # Errors
/// As [`Builder::salvage`].
pub fn salvage(
    from: impl AsRef<Path>,
    key: &dyn Credential,
    to: SalvageTarget<'_>,
    options: SalvageOptions<'_>,
) -> Result<SalvageReport, SalvageError> {
    Builder::new().salvage(from, key, to, options)
}

impl Builder {
    /// Saves what still authenticates of a damaged file, which must not be open for writing, into a
    /// new one. The damaged file is only read. Of this builder's settings those count that concern
    /// the credential and the lock.
    ///
    /// # Errors
    /// [`SalvageError`]; no new file is left behind then.
    pub fn salvage(
        &self,
        from: impl AsRef<Path>,
        key: &dyn Credential,
        to: SalvageTarget<'_>,
        options: SalvageOptions<'_>,
    ) -> Result<SalvageReport, SalvageError> {
        let medium = medium::existing_read_only(from.as_ref()).map_err(SalvageError::Source)?;
        self.salvage_on(medium, key, to, options)
    }

    /// [`Builder::salvage`] from a medium, which is never written to.
    ///
    /// # Errors
    /// As [`Builder::salvage`].
    pub fn salvage_on(
        &self,
        from: impl Medium,
        key: &dyn Credential,
        to: SalvageTarget<'_>,
        options: SalvageOptions<'_>,
    ) -> Result<SalvageReport, SalvageError> {
        let (how, mut ticker) = options.into_parts();
        ticker.tick(SalvageStage::Surveying, 0, 0)?;
        let survey =
            Survey::of(Arc::new(from), key, self.options()).map_err(SalvageError::Source)?;
        let source = Source { survey: &survey };
        let candidates = source.candidates();
        let chosen = states::choose(&source, &candidates);
        let target = Target::begin(to).map_err(SalvageError::Target)?;
        let mut salvage = Salvage { source, chosen, ticker: &mut ticker };
        let saved = salvage.fill(&target, how);
        match saved {
            Ok(report) => target.publish().map_err(SalvageError::Target).map(|()| report),
            Err(error) => {
                let _ = target.clear();
                Err(error)
            }
        }
    }
}

/// A salvage that has found what to save.
struct Salvage<'a, 'b> {
    source: Source<'a>,
    chosen: Chosen<'a>,
    ticker: &'a mut Ticker<'b>,
}

impl Salvage<'_, '_> {
    fn fill(
        &mut self,
        target: &Target<'_>,
        how: SalvageHow,
    ) -> Result<SalvageReport, SalvageError> {
        let mut report = self.begin_report()?;
        let mut walk = self.walk();
        let listed = match &self.chosen.commit {
            Some(commit) => tables::list(&mut walk, commit),
            None => Listed::default(),
        };
        report.tables_recorded = listed.recorded;
        report.tables_lost = listed.lost();
        report.tables_unknown = listed.unknown;
        report.lost_definitions = ranges(&walk.lost);
        report.no_image = match how {
            SalvageHow::Tables => Some("it was not asked for".to_owned()),
            SalvageHow::Auto if self.chosen.commit.is_none() || !is_whole(&mut walk, &listed) => {
                Some("pages of redb's trees are lost".to_owned())
            }
            SalvageHow::Auto if self.is_mostly_empty() => {
                Some("the database is far longer than its file".to_owned())
            }
            SalvageHow::Auto | SalvageHow::Image => self.image(target, &listed.tables)?,
        };
        if report.no_image.is_none() || how == SalvageHow::Image {
            report.saved_as = match report.no_image {
                None => SavedAs::Image,
                Some(_) => SavedAs::BrokenImage,
            };
            report.tables = self.count(&listed.tables);
            return Ok(report);
        }
        let older = self.search(&listed)?;
        if listed.tables.is_empty() && older.is_empty() {
            // Of a database without tables nothing is missing.
            self.chosen.commit.filter(|_| listed.recorded == 0).ok_or(SalvageError::NothingLeft)?;
        }
        report.saved_as = SavedAs::Tables;
        report.tables = self.tables(target, &listed.tables, &older)?;
        Ok(report)
    }

    fn walk(&self) -> Walk<'_> {
        Walk::new(&self.source, self.chosen.geometry)
    }

    // Tables that no root leads to, where some must be missing.
    fn search(&mut self, listed: &Listed) -> Result<Vec<Definition>, SalvageError> {
        if self.chosen.commit.is_some() && listed.lost() == 0 {
            return Ok(Vec::new());
        }
        let pages = self.source.end();
        let ticker = &mut *self.ticker;
        let mut tick = |done| ticker.tick(SalvageStage::SearchingTables, done, pages);
        let mut found = search::definitions(&self.source, self.chosen.geometry, &mut tick)?;
        found.retain(|older| listed.tables.iter().all(|table| table.name != older.name));
        Ok(found)
    }

    fn begin_report(&mut self) -> Result<SalvageReport, SalvageError> {
        let Chosen { from, commit, before, .. } = self.chosen;
        let survey = self.source.survey;
        let pages = self.source.end();
        let ticker = &mut *self.ticker;
        let mut tick = |done| ticker.tick(SalvageStage::ReadingPages, done, pages);
        let seen = self.source.look_at_all(&mut tick)?;
        let is_whole = |header: &HeaderCopyState| matches!(header, HeaderCopyState::Whole(_));
        let opened = |root: &RootCopyState| matches!(root, RootCopyState::Opened(_));
        let sync = from.map(|from| from.root.sync);
        let newer = survey.state().map(|state| state.passed_over.max(Some(state.root.sync)));
        let state = survey.state().filter(|state| Some(state.copy) == from.map(|from| from.copy));
        Ok(SalvageReport {
            headers: survey.headers().each_ref().map(is_whole),
            roots: survey.roots().each_ref().map(opened),
            root: from.map(|from| from.copy),
            sync,
            passed_over: newer.flatten().filter(|newer| Some(*newer) > sync),
            adds_up: state.is_some_and(|state| state.adds_up),
            commit: match (commit, before) {
                (None, _) => SavedCommit::Found,
                (_, true) => SavedCommit::Before,
                (_, false) => SavedCommit::Last,
            },
            transaction: commit.map(|commit| commit.transaction),
            saved_as: SavedAs::Tables,
            no_image: None,
            pages,
            readable_pages: seen.readable,
            lost_pages: seen.lost,
            tables_recorded: 0,
            tables_lost: 0,
            lost_definitions: Vec::new(),
            tables_unknown: 0,
            tables: Vec::new(),
        })
    }

    // Somebody with the key can name a length that no medium in memory holds.
    fn is_mostly_empty(&self) -> bool {
        let file_pages = self.source.survey.len() / crate::layout::PAGE_BYTES;
        let len = self.chosen.from.map_or(0, |from| from.root.logical_len);
        let pages = crate::layout::pages_in(len);
        pages > file_pages.saturating_mul(8).saturating_add(1 << 16)
    }

    /// Writes an image; `None` where it is the database, else why not.
    fn image(
        &mut self,
        target: &Target<'_>,
        tables: &[Definition],
    ) -> Result<Option<String>, SalvageError> {
        let from = self.chosen.from.ok_or(SalvageError::NothingLeft)?;
        let pages = self.source.end();
        let ticker = &mut *self.ticker;
        let mut tick = |done| ticker.tick(SalvageStage::CopyingPages, done, pages);
        image::write(&self.source, from.root, target, &mut tick)?;
        self.ticker.tick(SalvageStage::Checking, 0, 0)?;
        // redb may panic over an image whose trees are broken.
        let judged = catch_unwind(AssertUnwindSafe(|| {
            let opened = image::judge(target, tables)?;
            opened.close().map_err(|error| error.to_string())
        }));
        Ok(match judged {
            Ok(Ok(())) => None,
            Ok(Err(why)) => Some(why),
            Err(panic) => Some(format!("redb panicked: {}", message(&*panic))),
        })
    }

    /// Makes the tables anew.
    fn tables(
        &mut self,
        target: &Target<'_>,
        listed: &[Definition],
        older: &[Definition],
    ) -> Result<Vec<TableReport>, SalvageError> {
        let all = listed.iter().map(|table| (table, false));
        let all = all.chain(older.iter().map(|table| (table, true)));
        let made = catch_unwind(AssertUnwindSafe(|| {
            let mut db = target.create().map_err(SalvageError::Target)?;
            let mut reports = Vec::new();
            for (table, older) in all {
                let mut walk = Walk::new(&self.source, self.chosen.geometry);
                let ticker = &mut *self.ticker;
                let mut tick = |done| ticker.tick(SalvageStage::SavingRows, done, table.rows);
                let saved = dump::table(&db, &mut walk, table, &mut tick)?;
                reports.push(table_report(table, older, saved, &walk.lost));
            }
            self.ticker.tick(SalvageStage::Checking, 0, 0)?;
            if !db.check()? {
                let what = "redb finds the new database damaged".to_owned();
                return Err(SalvageError::Target(OpenError::Corrupted(what)));
            }
            db.close().map_err(SalvageError::Target)?;
            Ok(reports)
        }));
        made.unwrap_or_else(|panic| {
            // A panic of the caller's own callback is the caller's.
            if self.ticker.is_telling {
                resume_unwind(panic);
            }
            Err(SalvageError::Panicked(message(&*panic)))
        })
    }

    /// What can be reached of each table.
    fn count(&self, tables: &[Definition]) -> Vec<TableReport> {
        let count = |table| {
            let mut walk = self.walk();
            let saved = tables::count(&mut walk, table);
            table_report(table, false, Some(saved), &walk.lost)
        };
        tables.iter().map(count).collect()
    }
}

// Whether every row of every table can be reached.
fn is_whole(walk: &mut Walk<'_>, listed: &Listed) -> bool {
    let mut all_of =
        |table: &Definition| tables::count(walk, table) == table.rows && walk.lost.is_empty();
    listed.lost() == 0 && listed.tables.iter().all(&mut all_of)
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

fn table_report(
    table: &Definition,
    older: bool,
    saved: Option<u64>,
    lost: &[LostNode],
) -> TableReport {
    TableReport {
        name: table.name.clone(),
        multimap: table.multimap,
        key_type: table.key.name.clone(),
        value_type: table.value.name.clone(),
        rows: table.rows,
        saved: saved.unwrap_or(0),
        lost: ranges(lost),
        refused: saved.is_none(),
        older,
    }
}

// In the order of the file, whatever order the tree has them in.
fn ranges(lost: &[LostNode]) -> Vec<PageRange> {
    let range = |lost: &LostNode| PageRange {
        first: lost.first,
        pages: lost.pages,
        loss: match lost.loss {
            Loss::Unreadable => PageLoss::DoesNotOpen,
            Loss::OtherTime => PageLoss::OtherTime,
            Loss::Astray => PageLoss::Astray,
        },
    };
    let by_page: BTreeMap<_, _> = lost.iter().map(|lost| (lost.first, range(lost))).collect();
    by_page.into_values().collect()
}
