//! What a caller of verify may set.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::crew;

/// Findings listed in a report unless set otherwise.
const FINDINGS_MAX: usize = 1000;
/// More threads than any machine has disks for.
const THREADS_MAX: usize = 256;

type Callback = Arc<dyn Fn(VerifyProgress) -> ControlFlow<()> + Send + Sync>;

/// How a database is verified.
///
/// ```
/// use std::ops::ControlFlow;
/// use strongroom::VerifyOptions;
/// let options = VerifyOptions::new().threads(2).progress(|at| {
///     println!("{} of {} pages", at.done, at.total);
///     ControlFlow::Continue(())
/// });
/// ```
#[derive(Clone)]
pub struct VerifyOptions {
    pub(super) threads: usize,
    pub(super) findings_max: usize,
    pub(super) check_trees: bool,
    pub(super) allow_cached: bool,
    progress: Option<Callback>,
}

impl fmt::Debug for VerifyOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyOptions")
            .field("threads", &self.threads)
            .field("findings_max", &self.findings_max)
            .field("check_trees", &self.check_trees)
            .field("allow_cached", &self.allow_cached)
            .finish_non_exhaustive()
    }
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl VerifyOptions {
    /// All cores, up to 1000 findings listed, redb's trees checked, everything read from the
    /// storage itself.
    #[must_use]
    pub fn new() -> Self {
        Self {
            threads: crew::cores(),
            findings_max: FINDINGS_MAX,
            check_trees: true,
            allow_cached: false,
            progress: None,
        }
    }

    /// Threads that read and open pages, as many as there are cores unless set.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.clamp(1, THREADS_MAX);
        self
    }

    /// How many findings a report lists; it counts all of them.
    #[must_use]
    pub fn findings_max(mut self, findings: usize) -> Self {
        self.findings_max = findings;
        self
    }

    /// Whether redb checks its trees as well, which reads every page in use a second time, on one
    /// thread. Offline only; without it nothing tells pages in use from free ones.
    #[must_use]
    pub fn check_trees(mut self, check: bool) -> Self {
        self.check_trees = check;
        self
    }

    /// Whether bytes may come from the system's cache. Offline they are dropped from it first
    /// unless this is set: what a cache holds says nothing of the disk. Online they always may.
    #[must_use]
    pub fn allow_cached(mut self, allow: bool) -> Self {
        self.allow_cached = allow;
        self
    }

    /// Called from any of the threads after each group of 126 pages, and while redb checks its
    /// trees. [`ControlFlow::Break`] stops the verification: the report then says so, and holds
    /// what was found until then.
    #[must_use]
    pub fn progress(
        mut self,
        callback: impl Fn(VerifyProgress) -> ControlFlow<()> + Send + Sync + 'static,
    ) -> Self {
        self.progress = Some(Arc::new(callback));
        self
    }

    /// Whether to go on.
    pub(super) fn tell(&self, phase: VerifyPhase, done: u64, total: u64) -> bool {
        let progress = VerifyProgress { phase, done: done.min(total), total };
        self.progress.as_ref().is_none_or(|callback| callback(progress).is_continue())
    }
}

/// What a verification is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum VerifyPhase {
    /// Reading and opening every page.
    Pages,
    /// redb walks its trees.
    Trees,
}

/// How far a verification is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct VerifyProgress {
    /// What it is doing.
    pub phase: VerifyPhase,
    /// Pages done in this phase.
    pub done: u64,
    /// Pages of this phase; in [`VerifyPhase::Trees`] the sealed ones, of which redb reads those
    /// that are in use.
    pub total: u64,
}
