//! A survey: a look at a file with a credential, without redb, without recovery and without a
//! single write. Where an open stops at the first thing that is wrong, a survey writes it down and
//! goes on with the best that still authenticates.
//!
//! What state the file is in is chosen by the same pure functions that an open asks
//! (`format/copies.rs`); what they object to is the survey's `fault`, and only then does it make do.
//! It takes a shared lock, believes nothing that no key vouches for, allocates for nothing that the
//! file is too short to hold, and can be asked from several threads.

use std::collections::HashMap;
use std::sync::Arc;

use super::debris::PageSet;
use super::recovery::refuse_cut_preamble;
use super::scan::Scanned;
use super::{LockedMedium, Options};
use crate::error::OpenError;
use crate::format::clean_index::Row;
use crate::format::journal::Image;
use crate::format::root_record::RootRecord;
use crate::keys::{Credential, Keyring, Unlocked};
use crate::layout;
use crate::locks::Mutex;
use crate::medium::{LockKind, Medium};
use crate::units::{CopyId, FileOffset, GroupNo, PageNo, SyncSeq};

mod choice;
pub(super) mod groups;
pub(super) mod headers;
mod pages;
#[cfg(test)]
mod tests;

pub(crate) use choice::RootCopyState;
pub(crate) use groups::{Group, TagCopyState};
pub(crate) use headers::HeaderCopyState;
pub(crate) use pages::{PageVerdict, Under};

/// What a survey found.
#[derive(Debug)]
pub(crate) struct Survey {
    medium: LockedMedium,
    len: u64,
    unlocked: Unlocked,
    headers: [HeaderCopyState; 2],
    roots: [RootCopyState; 2],
    /// What an open for writing would refuse the file for, before redb sees it.
    fault: Option<OpenError>,
    state: Option<SurveyedState>,
    /// Groups whose tag pages the file is long enough to hold.
    groups: u64,
    /// What a scan found, one pair a group of `groups`.
    scan: Vec<[Copy; 2]>,
    /// The current tag page of each group of `groups`; `None` where there is none to be had.
    rows: Vec<Option<Row>>,
    /// Pages that the last sync wrote, where the file was not closed cleanly.
    fresh: PageSet,
    /// Images of an interrupted rotation, by page.
    journal: HashMap<PageNo, Vec<(Image, FileOffset)>>,
    opened: Mutex<HashMap<GroupNo, Arc<Group>>>,
}

/// The state that the file is in.
#[derive(Debug)]
pub(crate) struct SurveyedState {
    pub(crate) root: RootRecord,
    pub(crate) copy: CopyId,
    /// Its tag pages add up to its digest: it is whole, and what an open would take. Otherwise it
    /// is the newest there is, and some of its tag pages are older, or gone.
    pub(crate) adds_up: bool,
    /// A newer root record was passed over, since its tag pages did not all become durable.
    pub(crate) passed_over: Option<SyncSeq>,
    /// Where a clean index was to be: whether it is there and adds up. Without it an open reads
    /// all tag pages.
    pub(crate) clean_index: Option<bool>,
}

/// One copy of a tag page as the scan found it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Copy {
    Opened(Scanned),
    DoesNotOpen,
    Truncated,
    Unreadable(std::io::ErrorKind),
}

impl Survey {
    /// Surveys a medium.
    ///
    /// # Errors
    /// What keeps everything from being read: the medium is empty, in use or can't be measured; no
    /// header copy is left, or the credential opens neither.
    pub(crate) fn of(
        medium: Arc<dyn Medium>,
        credential: &dyn Credential,
        options: &Options,
    ) -> Result<Self, OpenError> {
        let medium = LockedMedium::lock(medium, LockKind::Shared, options.allow_unlocked)?;
        let len = medium.len().map_err(OpenError::io("measuring the file"))?;
        if len == 0 {
            return Err(OpenError::Empty);
        }
        let headers = headers::unlock(&*medium, credential, options)?;
        let fault = headers.fault.or_else(|| refuse_cut_preamble(&*medium).err());
        let chosen = choice::choose(&*medium, len, &headers.unlocked, fault);
        let journal = pages::read_journal(&*medium, &headers.unlocked.keyring, &chosen);
        Ok(Self {
            medium,
            len,
            unlocked: headers.unlocked,
            headers: headers.copies,
            roots: chosen.roots,
            fault: chosen.fault,
            state: chosen.state,
            groups: chosen.scan.len() as u64,
            scan: chosen.scan,
            rows: chosen.rows,
            fresh: chosen.fresh,
            journal,
            opened: Mutex::default(),
        })
    }

    /// Bytes of the file.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The medium, to read from.
    pub(crate) fn medium(&self) -> &dyn Medium {
        &*self.medium
    }

    /// The header that was unlocked, and its keys.
    pub(crate) fn unlocked(&self) -> &Unlocked {
        &self.unlocked
    }

    pub(super) fn keyring(&self) -> &Keyring {
        &self.unlocked.keyring
    }

    /// Both header copies, A first.
    pub(crate) fn headers(&self) -> &[HeaderCopyState; 2] {
        &self.headers
    }

    /// Whether a header copy verifies under this file's keys.
    pub(crate) fn is_whole_header(&self, copy: CopyId) -> bool {
        let [a, b] = &self.headers;
        let state = if copy == CopyId::A { a } else { b };
        matches!(
            state,
            HeaderCopyState::Whole(_) | HeaderCopyState::Older(_) | HeaderCopyState::Newer(_)
        )
    }

    /// Both root records, A first.
    pub(crate) fn roots(&self) -> &[RootCopyState; 2] {
        &self.roots
    }

    /// What an open for writing would refuse the file for, before redb sees it. `None`: it opens,
    /// as far as header, root records and tag pages are concerned.
    pub(crate) fn fault(&self) -> Option<&OpenError> {
        self.fault.as_ref()
    }

    /// The state that the file is in; `None` where no root record opens. Its page 0 is gone then,
    /// and with it redb's roots; the newest tag page of each group still opens its pages.
    pub(crate) fn state(&self) -> Option<&SurveyedState> {
        self.state.as_ref()
    }

    /// Groups that have tag pages in this state and that the file is long enough for; all that it
    /// is long enough for, where no root record opens.
    pub(crate) fn groups(&self) -> u64 {
        let named = self.state.as_ref().map_or(u64::MAX, |state| state.root.groups);
        self.groups.min(named)
    }

    /// Pages of the logical length; those of all groups, where no root record opens.
    pub(crate) fn pages(&self) -> u64 {
        match &self.state {
            Some(state) => layout::pages_in(state.root.logical_len),
            None => self.groups.saturating_mul(layout::DATA_PAGES_PER_GROUP),
        }
    }

    /// Whether a crash in the last sync may have torn this page, or made debris of it, without
    /// anybody having tampered.
    pub(crate) fn may_be_torn(&self, page: PageNo) -> bool {
        let (group, place) = layout::place_of(page);
        self.fresh.get(&group).is_some_and(|fresh| fresh >> place & 1 == 1)
    }

    /// Whether an open would give redb this page as zeros while it repairs.
    pub(crate) fn is_forgiven(&self, page: PageNo) -> bool {
        let lenient = |state: &SurveyedState| !state.root.clean && !state.root.two_phase_commit();
        self.state.as_ref().is_some_and(lenient) && self.may_be_torn(page)
    }
}
