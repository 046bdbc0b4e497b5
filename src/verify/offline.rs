//! A file that nobody has open for writing.

use std::sync::Arc;
use std::time::Instant;

use super::finding::{self, Finding, Flaw, Severity, Where};
use super::options::VerifyOptions;
use super::report::{Report, Trees};
use super::sweep::{Bad, Tally, sweep};
use super::trees::{self, Walk};
use crate::error::OpenError;
use crate::keys::Credential;
use crate::layout::{self, PAGE_SIZE};
use crate::medium::Medium;
use crate::store::{
    self, GroupBuffer, Options, PageVerdict, RootCopyState, Survey, SurveyedState, Under,
};
use crate::units::{CopyId, GroupNo, PageNo};

/// Verifies a medium; changes nothing.
///
/// # Errors
/// What keeps everything from being looked at; see [`Survey::of`].
pub(crate) fn verify_medium(
    medium: Arc<dyn Medium>,
    key: &dyn Credential,
    store_options: &Options,
    options: &VerifyOptions,
) -> Result<Report, OpenError> {
    let began = Instant::now();
    if !options.allow_cached {
        medium.drop_cache(0, 0).map_err(OpenError::io("dropping cached bytes"))?;
    }
    let survey = Arc::new(Survey::of(medium, key, store_options)?);
    let mut tally = Tally::new(options);
    look_at_fixed_places(&survey, &mut tally);
    let mut complete = sweep(survey.groups(), options, &mut tally, |group, buffer, tally| {
        look_at_group(&survey, group, buffer, tally);
        Ok(())
    })?;
    count_what_has_no_tag_page(&survey, &mut tally);
    let walk = match may_walk(&survey, options, complete) {
        Ok(()) => trees::walk(&survey, options, tally.pages.sealed),
        Err(why) => Walk { trees: Trees::NotChecked(why), used: None },
    };
    complete &= walk.trees != Trees::NotChecked(trees::STOPPED);
    tally.pages.used = walk.used.as_ref().map(trees::count);
    tally.judge_pages(|page, bad| judge(&survey, &walk, page, bad));
    match &walk.trees {
        Trees::Inconsistent(why) | Trees::Panicked(why) => tally.add(of_trees(why)),
        // At a page that is no finding by itself: it was given up, and is in use.
        Trees::Stopped(why) if tally.counts.damage == 0 => tally.add(of_trees(why)),
        _ => {}
    }
    let unlocked = survey.unlocked();
    Ok(Report {
        online: false,
        complete,
        file_id: unlocked.header.file_id,
        file_bytes: survey.len(),
        generation: unlocked.header.generation,
        sync: survey.state().map(|state| state.root.sync),
        closed: closed(&survey),
        logical_pages: survey.pages(),
        groups: survey.state().map_or(survey.groups(), |state| state.root.groups),
        epochs: tally.epochs(&unlocked.keyring),
        trees: walk.trees,
        findings: tally.findings(),
        counts: tally.counts,
        pages: tally.pages,
        elapsed: began.elapsed(),
    })
}

fn of_trees(why: &str) -> Finding {
    Finding::new(Severity::Damage, Where::Trees, Flaw::Inconsistent(why.to_owned()))
}

fn closed(survey: &Survey) -> bool {
    survey.state().is_some_and(|state| state.root.clean)
}

// Whether redb can be shown the file at all.
fn may_walk(survey: &Survey, options: &VerifyOptions, complete: bool) -> Result<(), &'static str> {
    match survey.state() {
        _ if !options.check_trees => Err("not asked for"),
        _ if !complete => Err(trees::STOPPED),
        Some(state) if state.adds_up && survey.fault().is_none() => Ok(()),
        _ => Err("the database does not open"),
    }
}

fn look_at_fixed_places(survey: &Survey, tally: &mut Tally) {
    let clean = closed(survey);
    for (copy, state) in CopyId::BOTH.into_iter().zip(survey.headers()) {
        finding::of_header(copy, *state, clean).into_iter().for_each(|found| tally.add(found));
    }
    let used = survey.state().map(|state| state.copy);
    for (copy, state) in CopyId::BOTH.into_iter().zip(survey.roots()) {
        finding::of_root(copy, state, used.is_none())
            .into_iter()
            .for_each(|found| tally.add(found));
        if let (Some(chosen), RootCopyState::Opened(_)) = (survey.state(), state)
            && used != Some(copy)
        {
            other_root(chosen, copy, state).into_iter().for_each(|found| tally.add(found));
        }
    }
    look_at_reserved_pages(survey, tally);
    let Some(state) = survey.state() else { return refused(survey, tally) };
    if let Some(sync) = state.passed_over {
        tally.add(Finding::new(Severity::Leftover, Where::State, Flaw::PassedOver(sync)));
    }
    if state.clean_index == Some(false) {
        // Durable before the second clean root record is written: until then a crash explains it.
        let [a, b] = survey.roots();
        let both = a.opened().is_some() && a.opened() == b.opened();
        let severity = if both { Severity::Spare } else { Severity::Leftover };
        tally.add(Finding::new(severity, Where::CleanIndex, Flaw::Unusable));
    }
    refused(survey, tally);
}

fn refused(survey: &Survey, tally: &mut Tally) {
    if let Some(fault) = survey.fault() {
        let flaw = Flaw::Refused(format!("an open refuses the file: {fault}"));
        tally.add(Finding::new(Severity::Damage, Where::State, flaw));
    }
}

// A close leaves two equal root records, a crash that of the sync before.
fn other_root(chosen: &SurveyedState, copy: CopyId, state: &RootCopyState) -> Option<Finding> {
    let (root, other) = (&chosen.root, state.opened()?);
    let severity = match root.clean {
        true if other == root => return None,
        // A close that was cut off between the two.
        true if other.sync.next() == root.sync => Severity::Leftover,
        false if other.sync.next() == root.sync => return None,
        // The newer one, passed over.
        false if chosen.passed_over == Some(other.sync) => return None,
        _ => Severity::Spare,
    };
    Some(Finding::new(severity, Where::Root(copy), Flaw::OtherRoot(other.sync)))
}

fn look_at_reserved_pages(survey: &Survey, tally: &mut Tally) {
    for page in layout::RESERVED_PAGES {
        let mut bytes = [0; PAGE_SIZE];
        let flaw = match survey.medium().read_at(layout::reserved_start(page).0, &mut bytes) {
            Ok(()) if bytes == [0; PAGE_SIZE] => continue,
            Ok(()) => Flaw::NotZeros,
            // A file may end where its last page does, and none was written yet.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => continue,
            Err(error) => Flaw::Unreadable(error.kind()),
        };
        tally.add(Finding::new(Severity::Spare, Where::Reserved(page), flaw));
    }
}

fn look_at_group(survey: &Survey, group: GroupNo, buffer: &mut GroupBuffer, tally: &mut Tally) {
    let end = survey.pages();
    let there = survey.each_page(group, Under::Current, buffer, |page, entry, verdict| {
        if page.0 < end {
            tally.page(page, entry.epoch, &verdict);
        }
    });
    if !there {
        tally.pages.unknown += pages_of(group, end);
        survey.each_page(group, Under::Twin, buffer, |page, _, verdict| {
            let opened = matches!(verdict, PageVerdict::Opened | PageVerdict::InJournal);
            tally.pages.unknown_opened += u64::from(opened && page.0 < end);
        });
    }
    // After the pages: the tag pages may have changed since the survey's scan.
    let (named, copies) = (survey.named_copy(group), survey.group(group).copies);
    let findings = finding::of_tag_pages(group, named, &copies, closed(survey));
    findings.into_iter().for_each(|found| tally.add(found));
}

// Pages of a group that lie below the logical length, page 0 left out.
fn pages_of(group: GroupNo, end: u64) -> u64 {
    let first = layout::page_at(group, 0).0;
    let last = layout::page_at(group, layout::ENTRIES_PER_TAG_PAGE).0.min(end);
    last.saturating_sub(first.max(1))
}

// Groups that the file is too short to have tag pages of, and pages that never had any.
fn count_what_has_no_tag_page(survey: &Survey, tally: &mut Tally) {
    let Some(state) = survey.state() else { return };
    let named = state.root.groups;
    let first = layout::page_at(GroupNo(survey.groups()), 0).0.max(1);
    let missing = layout::page_at(GroupNo(named), 0).0.min(survey.pages()).saturating_sub(first);
    tally.pages.unknown += missing;
    let behind = layout::page_at(GroupNo(named), 0).0.max(1);
    tally.pages.absent += survey.pages().saturating_sub(behind);
    if survey.groups() < named {
        let group = GroupNo(survey.groups());
        let at = Where::TagPage(group, CopyId::A);
        tally.add(Finding::new(Severity::Damage, at, Flaw::Truncated));
    }
}

// How bad a page is that doesn't open, by what redb's walk and the state of the file say of it.
fn judge(survey: &Survey, walk: &Walk, page: PageNo, bad: Bad) -> (Severity, Flaw) {
    let used = walk.used.as_ref().map(|used| store::holds(used, page));
    let flaw = match bad {
        Bad::DoesNotOpen => Flaw::DoesNotOpen,
        Bad::Truncated => Flaw::Truncated,
        Bad::Unreadable(kind) => Flaw::Unreadable(kind),
    };
    let torn = survey.may_be_torn(page) && !matches!(bad, Bad::Unreadable(_));
    match used {
        // What redb reads and doesn't open would have stopped it, had a crash not excused it.
        _ if torn && (survey.is_forgiven(page) || used != Some(true)) => {
            (Severity::Leftover, Flaw::MayBeTorn)
        }
        // Written since the last sync, as free pages are: the next open gives it up.
        Some(false) if bad == Bad::DoesNotOpen && !closed(survey) => {
            (Severity::Leftover, Flaw::Unused)
        }
        Some(false) if bad == Bad::DoesNotOpen => (Severity::Spare, Flaw::Unused),
        Some(false) => (Severity::Spare, flaw),
        Some(true) | None => (Severity::Damage, flaw),
    }
}
