//! An open database, while readers and the writer go on.

use std::time::Instant;

use super::finding::{self, Finding, Flaw, Severity, Where};
use super::options::VerifyOptions;
use super::report::{Report, Trees};
use super::sweep::{Bad, Tally, sweep};
use crate::error::StoreError;
use crate::layout;
use crate::store::Store;
use crate::units::{CopyId, GroupNo};

const NO_TREES: &str = "redb checks its trees only with the database to itself \
                        (`Database::check_integrity`, or verify after a close)";

/// Verifies an open store; changes nothing.
///
/// # Errors
/// The store can't be used any more.
pub(crate) fn verify_store(store: &Store, options: &VerifyOptions) -> Result<Report, StoreError> {
    let began = Instant::now();
    let state = store.live_state();
    let mut tally = Tally::new(options);
    // No crash explains anything: what one left was mended when the database was opened.
    for (copy, found) in CopyId::BOTH.into_iter().zip(store.check_headers()?) {
        finding::of_header(copy, found, true).into_iter().for_each(|found| tally.add(found));
    }
    let (roots, is_known) = store.check_roots()?;
    for (copy, found) in CopyId::BOTH.into_iter().zip(&roots) {
        // Nothing was being written: no crash explains it.
        let found = finding::of_root(copy, found, false).map(|found| match found.severity {
            Severity::Leftover => Finding::new(Severity::Spare, found.at, Flaw::DoesNotOpen),
            _ => found,
        });
        found.into_iter().for_each(|found| tally.add(found));
    }
    if !is_known {
        let flaw = Flaw::Refused(
            "the durable root record does not stand in the file: a crash now would lose commits; \
             the next commit writes it anew"
                .to_owned(),
        );
        tally.add(Finding::new(Severity::Damage, Where::State, flaw));
    }
    let complete = sweep(state.groups, options, &mut tally, |group, buffer, tally| {
        if let Some((named, copies)) = store.check_tag_pages(group)? {
            let findings = finding::of_tag_pages(group, Some(named), &copies, true);
            findings.into_iter().for_each(|found| tally.add(found));
        }
        let there = store.check_pages(group, buffer, |page, entry, verdict| {
            if page.0 < state.pages {
                tally.page(page, entry.epoch, &verdict);
            }
        })?;
        if !there {
            let first = layout::page_at(group, 0).0.max(1);
            let end = layout::page_at(group, layout::ENTRIES_PER_TAG_PAGE).0.min(state.pages);
            tally.pages.unknown += end.saturating_sub(first);
        }
        Ok(())
    })?;
    let behind = layout::page_at(GroupNo(state.groups), 0).0.max(1);
    tally.pages.absent += state.pages.saturating_sub(behind);
    tally.judge_pages(|_, bad| {
        let flaw = match bad {
            Bad::DoesNotOpen => Flaw::DoesNotOpen,
            Bad::Truncated => Flaw::Truncated,
            Bad::Unreadable(kind) => Flaw::Unreadable(kind),
        };
        (Severity::Damage, flaw)
    });
    let unlocked = store.unlocked();
    Ok(Report {
        online: true,
        complete,
        file_id: unlocked.header.file_id,
        file_bytes: store.file_len()?,
        generation: unlocked.header.generation,
        sync: Some(store.live_state().sync),
        closed: false,
        logical_pages: state.pages,
        groups: state.groups,
        epochs: tally.epochs(&unlocked.keyring),
        trees: Trees::NotChecked(NO_TREES),
        findings: tally.findings(),
        counts: tally.counts,
        pages: tally.pages,
        elapsed: began.elapsed(),
    })
}
