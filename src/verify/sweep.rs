//! All groups, by as many threads as there are cores, and what they found put together.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::finding::{Finding, Flaw, Severity, Where};
use super::options::{VerifyOptions, VerifyPhase};
use super::report::{EpochPages, FindingCounts, PageCounts};
use crate::crew;
use crate::error::StoreError;
use crate::keys::Keyring;
use crate::layout::{self, DATA_PAGES_PER_GROUP};
use crate::store::{GroupBuffer, PageVerdict};
use crate::units::{Epoch, GroupNo, PageNo};

/// What is wrong with a page, before it is known whether redb uses it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bad {
    DoesNotOpen,
    Truncated,
    Unreadable(io::ErrorKind),
}

/// What was found so far; the worst findings and the first of each kind are kept.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) pages: PageCounts,
    epochs: HashMap<Epoch, u64>,
    /// 126 bits a group, one for each page that is bad: all of them, however many are listed.
    bad: BTreeMap<GroupNo, u128>,
    /// What is wrong with those that do more than not open; the first so many.
    kinds: BTreeMap<PageNo, Bad>,
    findings: BTreeMap<Severity, Vec<Finding>>,
    pub(super) counts: FindingCounts,
    findings_max: usize,
}

impl Tally {
    pub(super) fn new(options: &VerifyOptions) -> Self {
        Self {
            pages: PageCounts::default(),
            epochs: HashMap::new(),
            bad: BTreeMap::new(),
            kinds: BTreeMap::new(),
            findings: BTreeMap::new(),
            counts: FindingCounts::default(),
            findings_max: options.findings_max,
        }
    }

    pub(super) fn add(&mut self, finding: Finding) {
        self.counts.add(finding.severity);
        let list = self.findings.entry(finding.severity).or_default();
        if list.len() < self.findings_max {
            list.push(finding);
        }
    }

    /// One page, of those below the logical length.
    pub(super) fn page(&mut self, page: PageNo, epoch: Epoch, verdict: &PageVerdict) {
        let bad = match verdict {
            PageVerdict::Absent => return self.pages.absent += 1,
            PageVerdict::Lost => return self.pages.lost += 1,
            PageVerdict::NoTagPage => return self.pages.unknown += 1,
            PageVerdict::Opened | PageVerdict::InJournal => None,
            PageVerdict::DoesNotOpen => Some(Bad::DoesNotOpen),
            PageVerdict::Truncated => Some(Bad::Truncated),
            PageVerdict::Unreadable(error) => Some(Bad::Unreadable(error.kind())),
        };
        self.pages.sealed += 1;
        *self.epochs.entry(epoch).or_default() += 1;
        match bad {
            None if matches!(verdict, PageVerdict::InJournal) => self.pages.in_journal += 1,
            None => self.pages.opened += 1,
            Some(bad) => self.bad_page(page, bad),
        }
    }

    fn bad_page(&mut self, page: PageNo, bad: Bad) {
        self.pages.bad += 1;
        let (group, place) = layout::place_of(page);
        *self.bad.entry(group).or_default() |= 1 << place;
        if bad != Bad::DoesNotOpen && self.kinds.len() < self.findings_max {
            self.kinds.insert(page, bad);
        }
    }

    /// Makes a finding of each bad page, now that it is known what can be known of its use.
    pub(super) fn judge_pages(&mut self, judge: impl Fn(PageNo, Bad) -> (Severity, Flaw)) {
        let mut listed: BTreeMap<Severity, Vec<Finding>> = BTreeMap::new();
        for (group, pages) in std::mem::take(&mut self.bad) {
            for place in (0..128).filter(|place| pages >> place & 1 == 1) {
                let page = layout::page_at(group, place);
                let bad = self.kinds.get(&page).copied().unwrap_or(Bad::DoesNotOpen);
                let (severity, flaw) = judge(page, bad);
                self.counts.add(severity);
                let list = listed.entry(severity).or_default();
                if list.len() < self.findings_max {
                    list.push(Finding::new(severity, Where::Page(page), flaw));
                }
            }
        }
        for (severity, findings) in listed {
            self.findings.entry(severity).or_default().extend(findings);
        }
    }

    fn merge(&mut self, other: Self) {
        let (ours, theirs) = (&mut self.pages, other.pages);
        ours.sealed += theirs.sealed;
        ours.opened += theirs.opened;
        ours.in_journal += theirs.in_journal;
        ours.bad += theirs.bad;
        ours.absent += theirs.absent;
        ours.lost += theirs.lost;
        ours.unknown += theirs.unknown;
        ours.unknown_opened += theirs.unknown_opened;
        for (epoch, pages) in other.epochs {
            *self.epochs.entry(epoch).or_default() += pages;
        }
        self.bad.extend(other.bad); // no group is looked at twice
        self.kinds.extend(other.kinds);
        self.counts.damage += other.counts.damage;
        self.counts.spare += other.counts.spare;
        self.counts.leftover += other.counts.leftover;
        for (severity, findings) in other.findings {
            self.findings.entry(severity).or_default().extend(findings);
        }
    }

    /// The findings that a report lists.
    pub(super) fn findings(&mut self) -> Vec<Finding> {
        let mut all: Vec<Finding> =
            std::mem::take(&mut self.findings).into_values().flatten().collect();
        all.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.at.cmp(&b.at)));
        all.truncate(self.findings_max);
        all
    }

    /// Sealed pages by data key, with a row for each that the header holds.
    pub(super) fn epochs(&self, keyring: &Keyring) -> Vec<EpochPages> {
        let active = keyring.active().epoch;
        let mut epochs = keyring.retired_epochs();
        epochs.push(active);
        epochs.extend(self.epochs.keys());
        epochs.sort_unstable();
        epochs.dedup();
        let row = |epoch: Epoch| EpochPages {
            epoch,
            active: epoch == active,
            pages: self.epochs.get(&epoch).copied().unwrap_or(0),
        };
        epochs.into_iter().map(row).collect()
    }
}

/// Looks at `groups` groups, on several threads; each group is looked at once. Returns whether it
/// got to the end.
///
/// # Errors
/// The first error of a look; the others stop then.
pub(super) fn sweep(
    groups: u64,
    options: &VerifyOptions,
    tally: &mut Tally,
    look: impl Fn(GroupNo, &mut GroupBuffer, &mut Tally) -> Result<(), StoreError> + Sync,
) -> Result<bool, StoreError> {
    let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let total = groups.saturating_mul(DATA_PAGES_PER_GROUP);
    let tallies = crew::share(groups, options.threads, |next| -> Result<Tally, StoreError> {
        let (mut tally, mut buffer) = (Tally::new(options), GroupBuffer::new());
        while !stop.load(Ordering::Relaxed)
            && let Some(group) = next()
        {
            let looked = look(GroupNo(group), &mut buffer, &mut tally);
            let done = done.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            let pages = done.saturating_mul(DATA_PAGES_PER_GROUP);
            if looked.is_err() || !options.tell(VerifyPhase::Pages, pages, total) {
                stop.store(true, Ordering::Relaxed);
            }
            looked?;
        }
        Ok(tally)
    })?;
    for found in tallies {
        tally.merge(found);
    }
    Ok(!stop.load(Ordering::Relaxed))
}
