//! Which state a surveyed file is in: by the pure choices of an open where they agree, else the
//! newest root record with the tag pages that are left, else the tag pages alone.

use std::io;

use super::super::debris::PageSet;
use super::super::scan::{self, Scanned, ScannedPair, TagPages};
use super::super::{plausible, roots};
use super::groups::scan_copy;
use super::{Copy, SurveyedState};
use crate::error::{Damage, OpenError};
use crate::format::clean_index::Row;
use crate::format::copies::{self, RootChoice};
use crate::format::root_record::{RootRecord, Tail};
use crate::keys::Unlocked;
use crate::layout::{self, PAGE_BYTES};
use crate::medium::Medium;
use crate::units::{CopyId, FileOffset, GroupNo, SyncSeq};

/// What one root record is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum RootCopyState {
    /// It opens.
    Opened(Box<RootRecord>),
    /// It doesn't: torn by a crash in the last sync, altered, or of another place or file.
    DoesNotOpen,
    /// It opens and makes no sense.
    Malformed(&'static str),
    /// The file ends before it does.
    Truncated,
    /// It can't be read.
    Unreadable(io::ErrorKind),
}

impl RootCopyState {
    /// Its fields, where it opens.
    pub(crate) fn opened(&self) -> Option<&RootRecord> {
        match self {
            Self::Opened(root) => Some(root),
            _ => None,
        }
    }
}

pub(super) struct Chosen {
    pub(super) roots: [RootCopyState; 2],
    pub(super) fault: Option<OpenError>,
    pub(super) state: Option<SurveyedState>,
    pub(super) scan: Vec<[Copy; 2]>,
    pub(super) rows: Vec<Option<Row>>,
    pub(super) fresh: PageSet,
}

/// Chooses. `fault` is what an open would have said before it came here.
pub(super) fn choose(
    medium: &dyn Medium,
    len: u64,
    unlocked: &Unlocked,
    fault: Option<OpenError>,
) -> Chosen {
    let keyring = &*unlocked.keyring;
    let mut choosing = Choosing { tag_pages: TagPages { medium, keyring }, len, unlocked, fault };
    let roots = CopyId::BOTH.map(|copy| choosing.read_root(copy));
    let named = roots.iter().filter_map(RootCopyState::opened).map(|root| root.groups).max();
    let groups = named.unwrap_or(u64::MAX).min(layout::groups_in(len));
    let scan: Vec<_> = (0..groups)
        .map(|group| CopyId::BOTH.map(|copy| scan_copy(medium, keyring, GroupNo(group), copy)))
        .collect();
    let pairs: Vec<ScannedPair> = scan.iter().map(|pair| pair.map(opened)).collect();
    let (state, rows) = choosing.state(&roots, &pairs);
    let fresh = match &state {
        Some(state) if !state.root.clean => fresh(state, &rows, &pairs),
        _ => PageSet::new(),
    };
    Chosen { roots, fault: choosing.fault, state, scan, rows, fresh }
}

fn opened(copy: Copy) -> Option<Scanned> {
    match copy {
        Copy::Opened(scanned) => Some(scanned),
        _ => None,
    }
}

fn fresh(state: &SurveyedState, rows: &[Option<Row>], pairs: &[ScannedPair]) -> PageSet {
    // A group without a current tag page has no fresh page: nothing of it opens anyway.
    let nothing = Row { sync: SyncSeq(0), tag: [0; 16], copy: CopyId::A };
    let rows: Vec<Row> = rows.iter().map(|row| row.unwrap_or(nothing)).collect();
    let mut fresh = scan::fresh(&state.root, &rows, pairs);
    fresh.retain(|group, _| {
        let row = usize::try_from(group.0).ok().and_then(|index| rows.get(index));
        row.is_some_and(|row| *row != nothing)
    });
    fresh
}

struct Choosing<'a> {
    tag_pages: TagPages<'a>,
    len: u64,
    unlocked: &'a Unlocked,
    fault: Option<OpenError>,
}

impl Choosing<'_> {
    // The first thing that an open would stop at.
    fn note(&mut self, fault: impl Into<OpenError>) {
        if self.fault.is_none() {
            self.fault = Some(fault.into());
        }
    }

    fn read_root(&mut self, copy: CopyId) -> RootCopyState {
        let TagPages { medium, keyring } = self.tag_pages;
        match roots::read(medium, keyring, copy) {
            Ok(Some(root)) => RootCopyState::Opened(Box::new(root)),
            Ok(None) if layout::root_start(copy).0.saturating_add(PAGE_BYTES) > self.len => {
                RootCopyState::Truncated
            }
            Ok(None) => RootCopyState::DoesNotOpen,
            Err(error) => {
                let state = match &error {
                    OpenError::Damaged(Damage::Root { why, .. }) => RootCopyState::Malformed(why),
                    OpenError::Io { source, .. } => RootCopyState::Unreadable(source.kind()),
                    _ => RootCopyState::DoesNotOpen,
                };
                self.note(error);
                state
            }
        }
    }

    fn state(
        &mut self,
        roots: &[RootCopyState; 2],
        scan: &[ScannedPair],
    ) -> (Option<SurveyedState>, Vec<Option<Row>>) {
        let [a, b] = roots.each_ref().map(|root| root.opened().cloned());
        let candidates = match copies::choose_root(a, b) {
            Ok(RootChoice::Clean { root, copy, .. }) => vec![(*root, copy)],
            Ok(RootChoice::Unclean { candidates }) => candidates,
            Err(damage) => {
                self.note(damage);
                let all = CopyId::BOTH.into_iter().zip(roots);
                all.filter_map(|(copy, root)| Some((root.opened()?.clone(), copy))).collect()
            }
        };
        let (mut passed_over, mut failure) = (None, None);
        for (root, copy) in &candidates {
            match self.rows(root, scan) {
                Ok((rows, clean_index)) => {
                    self.check(root, *copy);
                    let (root, copy) = (root.clone(), *copy);
                    let state =
                        SurveyedState { root, copy, adds_up: true, passed_over, clean_index };
                    return (Some(state), rows.into_iter().map(Some).collect());
                }
                Err(damage) => {
                    failure.get_or_insert(damage);
                    passed_over = passed_over.max(Some(root.sync));
                }
            }
        }
        let Some((root, copy)) = candidates.into_iter().next() else {
            return (None, newest_rows(scan, SyncSeq(u64::MAX)));
        };
        self.check(&root, copy);
        if let Some(damage) = failure {
            self.note(damage);
        }
        let rows = newest_rows(scan, root.sync);
        let clean_index = has_clean_index(&root).then_some(false);
        let state = SurveyedState { root, copy, adds_up: false, passed_over: None, clean_index };
        (Some(state), rows)
    }

    // The rows that an open would go by, and whether a clean index gave them, if there was to be
    // one.
    fn rows(
        &self,
        root: &RootRecord,
        scan: &[ScannedPair],
    ) -> Result<(Vec<Row>, Option<bool>), Damage> {
        let index = has_clean_index(root).then(|| self.tag_pages.read_clean_index(root));
        match index {
            Some(Some(rows)) => Ok((rows, Some(true))),
            index => Ok((self.tag_pages.rows_for(root, scan)?, index.map(|_| false))),
        }
    }

    // What else an open asks of the root record that it takes.
    fn check(&mut self, root: &RootRecord, copy: CopyId) {
        let active = self.unlocked.keyring.active().epoch;
        let generation = self.unlocked.header.generation;
        if let Err(error) = copies::check_time(generation, active, root, copy) {
            self.note(error);
        }
        if root.clean && self.len < layout::data_end(root.logical_len).0 {
            self.note(Damage::Truncated { offset: FileOffset(self.len) });
        }
        if let Some(why) = plausible::fault(root, self.len) {
            self.note(Damage::Root { copy, why });
        }
    }
}

fn has_clean_index(root: &RootRecord) -> bool {
    root.clean && matches!(root.tail, Tail::CleanIndex { .. })
}

fn newest_rows(scan: &[ScannedPair], limit: SyncSeq) -> Vec<Option<Row>> {
    scan.iter().map(|pair| copies::choose_tag_copy(scan::tag_copies(pair), limit)).collect()
}
