//! How a salvage is asked for, and what it tells of its progress.

use std::fmt;
use std::ops::ControlFlow;

use crate::error::SalvageError;

/// In which form to save.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum SalvageHow {
    /// An image where no page of redb's trees is lost and redb finds it whole; else tables.
    #[default]
    Auto,
    /// Tables made anew, in any case.
    Tables,
    /// An image, whatever redb makes of it: for tools that look into broken redb files. Pages that
    /// can't be read are zeros.
    Image,
}

/// What a salvage is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SalvageStage {
    /// Reading headers, root records, all tag pages.
    Surveying,
    /// Looking at every page; done and total are pages.
    ReadingPages,
    /// Looking for older definitions of tables; done and total are pages.
    SearchingTables,
    /// Copying every page; done and total are pages.
    CopyingPages,
    /// Saving a table; done and total are its rows.
    SavingRows,
    /// Letting redb check the new database.
    Checking,
}

/// How far a salvage is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SalvageProgress {
    /// What it is doing.
    pub stage: SalvageStage,
    /// How much of that is done.
    pub done: u64,
    /// Out of how much; 0 where that is not known.
    pub total: u64,
}

type Callback<'a> = Box<dyn FnMut(SalvageProgress) -> ControlFlow<()> + 'a>;

/// How to salvage.
#[derive(Default)]
pub struct SalvageOptions<'a> {
    how: SalvageHow,
    progress: Option<Callback<'a>>,
}

impl fmt::Debug for SalvageOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SalvageOptions").field("how", &self.how).finish_non_exhaustive()
    }
}

impl<'a> SalvageOptions<'a> {
    /// The defaults: [`SalvageHow::Auto`], and nobody is told anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The form of the new database.
    #[must_use]
    pub fn how(mut self, how: SalvageHow) -> Self {
        self.how = how;
        self
    }

    /// Called now and then; to break stops the salvage and leaves nothing behind.
    #[must_use]
    pub fn progress(
        mut self,
        callback: impl FnMut(SalvageProgress) -> ControlFlow<()> + 'a,
    ) -> Self {
        self.progress = Some(Box::new(callback));
        self
    }

    pub(super) fn into_parts(self) -> (SalvageHow, Ticker<'a>) {
        (self.how, Ticker { callback: self.progress, is_telling: false })
    }
}

/// Tells the callback, if there is one.
pub(super) struct Ticker<'a> {
    callback: Option<Callback<'a>>,
    /// The callback is running; still so where it panicked.
    pub(super) is_telling: bool,
}

impl Ticker<'_> {
    /// # Errors
    /// [`SalvageError::Stopped`] where the callback says so.
    pub(super) fn tick(
        &mut self,
        stage: SalvageStage,
        done: u64,
        total: u64,
    ) -> Result<(), SalvageError> {
        let Some(callback) = &mut self.callback else { return Ok(()) };
        self.is_telling = true;
        let answer = callback(SalvageProgress { stage, done, total });
        self.is_telling = false;
        match answer {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(SalvageError::Stopped),
        }
    }
}
