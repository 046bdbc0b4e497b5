//! The tag pages of a surveyed group: both copies, what each of them is, and what the better one
//! says of the group's pages.

use std::io;
use std::sync::{Arc, PoisonError};

use super::super::scan::{self, Scanned};
use super::{Copy, Survey, Under};
use crate::format::clean_index::Row;
use crate::format::record::SealedRecord;
use crate::format::tag_page::TagPage;
use crate::keys::Keyring;
use crate::layout;
use crate::medium::Medium;
use crate::units::{CopyId, GroupNo, SyncSeq};

/// Groups whose tag pages are kept in memory between two looks, 8 KiB each.
const GROUPS_KEPT: usize = 512;

/// What one copy of a tag page is in the state that was chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TagCopyState {
    /// The one that the state names, or its equal.
    Current,
    /// Authentic, of an earlier sync: as the state before had it.
    Older(SyncSeq),
    /// Authentic and not of this state: a sync that never finished left it, or somebody put it
    /// there.
    Stray(SyncSeq),
    /// Not authentic: torn, altered, or of another place or file.
    DoesNotOpen,
    /// The file ends before it does.
    Truncated,
    /// It can't be read.
    Unreadable(io::ErrorKind),
}

/// Both tag pages of a group.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// What each copy is, A first.
    pub(crate) copies: [TagCopyState; 2],
    current: Option<Box<TagPage>>,
    twin: Option<Box<TagPage>>,
}

impl Group {
    /// The tag page of the state or, if it opens and differs, the other one.
    pub(crate) fn under(&self, under: Under) -> Option<&TagPage> {
        match under {
            Under::Current => self.current.as_deref(),
            Under::Twin => self.twin.as_deref(),
        }
    }
}

/// Reads and opens one copy of a tag page.
fn read_tag_page(
    medium: &dyn Medium,
    keyring: &Keyring,
    group: GroupNo,
    copy: CopyId,
) -> Result<(SealedRecord, TagPage), Copy> {
    let mut record = SealedRecord::blank();
    match medium.read_at(layout::tag_page_start(group, copy).0, record.bytes_mut()) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(Copy::Truncated),
        Err(error) => return Err(Copy::Unreadable(error.kind())),
    }
    let page = scan::open_tag_page(keyring, group, &record).ok_or(Copy::DoesNotOpen)?;
    Ok((record, page))
}

/// What one copy of a tag page says of itself.
pub(in crate::store) fn scan_copy(
    medium: &dyn Medium,
    keyring: &Keyring,
    group: GroupNo,
    copy: CopyId,
) -> Copy {
    match read_tag_page(medium, keyring, group, copy) {
        Ok((record, page)) => Copy::Opened(Scanned::of(&record, &page)),
        Err(state) => state,
    }
}

/// What a copy is beside the row that names the current one.
pub(in crate::store) fn state_of(copy: Copy, row: Option<Row>) -> TagCopyState {
    match copy {
        Copy::DoesNotOpen => TagCopyState::DoesNotOpen,
        Copy::Truncated => TagCopyState::Truncated,
        Copy::Unreadable(kind) => TagCopyState::Unreadable(kind),
        Copy::Opened(found) => match row {
            Some(row) if (found.sync, found.tag) == (row.sync, row.tag) => TagCopyState::Current,
            Some(row) if found.sync < row.sync => TagCopyState::Older(found.sync),
            _ => TagCopyState::Stray(found.sync),
        },
    }
}

impl Survey {
    /// What the scan found of a group's two copies, A first; nothing is read for it.
    pub(crate) fn tag_copies(&self, group: GroupNo) -> [TagCopyState; 2] {
        let index = usize::try_from(group.0).unwrap_or(usize::MAX);
        let row = self.rows.get(index).copied().flatten();
        match self.scan.get(index) {
            Some(pair) => pair.map(|copy| state_of(copy, row)),
            None => [TagCopyState::Truncated; 2],
        }
    }

    /// The copy that the state names; `None` where no copy is of the state.
    pub(crate) fn named_copy(&self, group: GroupNo) -> Option<CopyId> {
        let index = usize::try_from(group.0).unwrap_or(usize::MAX);
        self.rows.get(index).copied().flatten().map(|row| row.copy)
    }

    /// A group's tag pages, read now unless they were a moment ago. Of a copy that changed since
    /// the scan nothing is believed.
    pub(crate) fn group(&self, group: GroupNo) -> Arc<Group> {
        let kept = || self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept().get(&group) {
            return Arc::clone(found);
        }
        let found = Arc::new(self.read_group(group));
        let mut kept = kept();
        if kept.len() >= GROUPS_KEPT {
            kept.clear();
        }
        kept.insert(group, Arc::clone(&found));
        found
    }

    fn read_group(&self, group: GroupNo) -> Group {
        let mut copies = self.tag_copies(group);
        let (mut current, mut twin) = (None, None);
        let mut twin_sync = SyncSeq(0);
        for (copy, state) in CopyId::BOTH.into_iter().zip(&mut copies) {
            let (TagCopyState::Current | TagCopyState::Older(_) | TagCopyState::Stray(_)) = *state
            else {
                continue;
            };
            let Some(page) = self.read_as_scanned(group, copy) else {
                *state = TagCopyState::DoesNotOpen;
                continue;
            };
            if *state == TagCopyState::Current {
                current = Some(Box::new(page));
            } else if twin.is_none() || page.sync > twin_sync {
                twin_sync = page.sync;
                twin = Some(Box::new(page));
            }
        }
        Group { copies, current, twin }
    }

    fn read_as_scanned(&self, group: GroupNo, copy: CopyId) -> Option<TagPage> {
        let index = usize::try_from(group.0).ok()?;
        let Copy::Opened(scanned) = *self.scan.get(index)?.get(usize::from(copy.index()))? else {
            return None;
        };
        let (record, page) = read_tag_page(&*self.medium, self.keyring(), group, copy).ok()?;
        (record.tag() == scanned.tag && page.sync == scanned.sync).then_some(page)
    }
}
