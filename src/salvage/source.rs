//! The damaged file as pages: what opens under the tag page that its state names, else what opens
//! under the group's other tag page. Never writes.

use super::report::{PageLoss, PageRange};
use super::states::Candidate;
use super::walk::Pages;
use crate::error::SalvageError;
use crate::layout::{self, PAGE_SIZE};
use crate::store::{PageVerdict, RootCopyState, Survey, Under};
use crate::units::{CopyId, PageNo};

/// A surveyed file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) survey: &'a Survey,
}

/// What a look at all pages found.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Pages that open, or are authentically absent.
    pub(super) readable: u64,
    /// Pages that don't, in order.
    pub(super) lost: Vec<PageRange>,
}

impl<'a> Source<'a> {
    /// The root records that open, the one that an open would take first, then the newer ones.
    pub(super) fn candidates(&self) -> Vec<Candidate<'a>> {
        let chosen = self.survey.state().map(|state| state.copy);
        let roots = CopyId::BOTH.into_iter().zip(self.survey.roots());
        let mut found: Vec<_> = roots
            .filter_map(|(copy, root)| match root {
                RootCopyState::Opened(root) => Some(Candidate { root, copy }),
                _ => None,
            })
            .collect();
        found.sort_by_key(|found| (Some(found.copy) != chosen, std::cmp::Reverse(found.root.sync)));
        found
    }

    /// The page as the state of the file has it: `None` where it is there or was never written.
    pub(super) fn current(&self, page: PageNo, out: &mut [u8; PAGE_SIZE]) -> Option<PageLoss> {
        match self.survey.page(page, Under::Current, out) {
            PageVerdict::Opened | PageVerdict::InJournal | PageVerdict::Absent => None,
            PageVerdict::Lost => Some(PageLoss::GivenUp),
            PageVerdict::DoesNotOpen => Some(PageLoss::DoesNotOpen),
            PageVerdict::Truncated => Some(PageLoss::Truncated),
            PageVerdict::Unreadable(error) => Some(PageLoss::Unreadable(error.kind())),
            PageVerdict::NoTagPage => Some(PageLoss::NoTagPage),
        }
    }

    /// Looks at every page that there can be.
    ///
    /// # Errors
    /// What `tick` says, which is told how many are done.
    pub(super) fn look_at_all(
        &self,
        tick: &mut dyn FnMut(u64) -> Result<(), SalvageError>,
    ) -> Result<Seen, SalvageError> {
        let (mut seen, mut room) = (Seen::default(), [0; PAGE_SIZE]);
        for page in 0..self.end() {
            match self.current(PageNo(page), &mut room) {
                None => seen.readable = seen.readable.saturating_add(1),
                Some(loss) => seen.note(page, loss),
            }
            if page % layout::DATA_PAGES_PER_GROUP == 0 {
                tick(page)?;
            }
        }
        Ok(seen)
    }
}

impl Seen {
    fn note(&mut self, page: u64, loss: PageLoss) {
        if let Some(last) = self.lost.last_mut()
            && last.loss == loss
            && last.first.0.saturating_add(last.pages) == page
        {
            last.pages = last.pages.saturating_add(1);
        } else {
            self.lost.push(PageRange { first: PageNo(page), pages: 1, loss });
        }
    }
}

impl Pages for Source<'_> {
    fn read(&self, page: PageNo, out: &mut [u8; PAGE_SIZE]) -> bool {
        self.current(page, out).is_none()
            || matches!(
                self.survey.page(page, Under::Twin, out),
                PageVerdict::Opened | PageVerdict::InJournal
            )
    }

    // Behind the groups nothing was ever written; a length that is far beyond them costs nothing.
    fn end(&self) -> u64 {
        let in_groups = self.survey.groups().saturating_mul(layout::DATA_PAGES_PER_GROUP);
        self.survey.pages().min(in_groups)
    }

    fn was_in_flight(&self, page: PageNo) -> bool {
        self.survey.is_forgiven(page)
    }

    fn any_in_flight(&self) -> bool {
        self.survey.state().is_some_and(|state| !state.root.clean)
    }
}
