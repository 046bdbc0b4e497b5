//! Encrypted to plain.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::encrypting::same;
use super::plain::Plain;
use super::sweep::Sweep;
use super::{Options, Phase, Report, Task, finished};
use crate::drafts::Draft;
use crate::error::{ConvertError, Damage, StoreError};
use crate::keys::Credential;
use crate::layout::{self, PAGE_BYTES, PAGE_SIZE};
use crate::medium::{LockKind, Medium};
use crate::store::Store;
use crate::units::PageNo;

const NO_PAGE: [u8; PAGE_SIZE] = [0; PAGE_SIZE];

pub(super) fn run(
    task: &Task<'_>,
    key: &dyn Credential,
    options: &Options<'_>,
) -> Result<Report, ConvertError> {
    let begun = Instant::now();
    let source = task.check_names()?;
    let medium = task.open_source()?;
    let source_bytes = medium.len().map_err(ConvertError::io("measuring the source"))?;
    let db = options.builder.open_shared_read_only(medium, key)?;
    let len = db.store().len()?;
    let mut report = Report {
        source_bytes,
        target_bytes: len,
        database_bytes: len,
        abandoned: task.abandoned(options.dry_run)?,
        dry_run: options.dry_run,
        ..Report::default()
    };
    if options.dry_run {
        db.close()?;
        return Ok(finished(report, begun));
    }
    let (draft, medium) = task.begin()?;
    report.lost_pages = copy(db.store(), &*medium, len, options)?;
    drop(medium);
    verify(db.store(), &draft, report.lost_pages, options)?;
    task.settle(draft, source)?;
    db.close()?;
    Ok(finished(report, begun))
}

// Durable when it returns. How many pages were lost before.
fn copy(
    store: &Store,
    medium: &dyn Medium,
    len: u64,
    options: &Options<'_>,
) -> Result<u64, ConvertError> {
    let writing = || ConvertError::io("writing the plain file");
    // Held while it is being written, so that nobody takes it for one that was given up.
    medium.try_lock(LockKind::Exclusive).map_err(writing())?;
    medium.set_len(len).map_err(writing())?;
    let lost = AtomicU64::new(0);
    let sweep = Sweep {
        pages: layout::pages_in(len),
        threads: options.threads(),
        phase: Phase::Copying,
        progress: options.progress,
    };
    sweep.run(|pages, bytes, _| {
        lost.fetch_add(read(store, pages.start, bytes)?, Ordering::AcqRel);
        let mut at = pages.start * PAGE_BYTES;
        let mut rest = bytes.as_chunks::<PAGE_SIZE>().0;
        // The file has zeros where nothing was written.
        while let Some(page) = rest.first() {
            let like = |other: &&[u8; PAGE_SIZE]| (**other == NO_PAGE) == (*page == NO_PAGE);
            let (run, behind) = rest.split_at(rest.iter().take_while(like).count());
            if *page != NO_PAGE {
                medium.write_at(at, run.as_flattened()).map_err(writing())?;
            }
            at += run.as_flattened().len() as u64;
            rest = behind;
        }
        Ok(())
    })?;
    medium.sync().map_err(writing())?;
    medium.unlock().map_err(writing())?;
    Ok(lost.into_inner())
}

// A page that a recovery gave up as unused reads as zeros here; returns how many.
fn read(store: &Store, first: u64, out: &mut [u8]) -> Result<u64, ConvertError> {
    match store.read_pages(PageNo(first), out) {
        Err(StoreError::Damage(Damage::LostPage { .. })) => {}
        other => return Ok(other.map(|()| 0)?),
    }
    let mut lost = 0;
    for (page, out) in (first..).zip(out.as_chunks_mut::<PAGE_SIZE>().0) {
        match store.read_pages(PageNo(page), out) {
            Err(StoreError::Damage(Damage::LostPage { .. })) => {
                out.fill(0);
                lost += 1;
            }
            other => other?,
        }
    }
    Ok(lost)
}

fn verify(
    store: &Store,
    draft: &Draft<'_>,
    lost: u64,
    options: &Options<'_>,
) -> Result<(), ConvertError> {
    let medium = draft.reopen(false).map_err(ConvertError::io("opening the copy"))?;
    medium.drop_cache(0, 0).map_err(ConvertError::io("dropping cached bytes"))?;
    let copy = Plain::open(Arc::clone(&medium))?;
    let sweep = Sweep {
        pages: layout::pages_in(copy.len()),
        threads: options.threads(),
        phase: Phase::Verifying,
        progress: options.progress,
    };
    sweep.run(|pages, ours, theirs| {
        copy.read(pages.start, ours)?;
        read(store, pages.start, theirs)?;
        same(pages.start, ours, theirs)
    })?;
    if copy.len() != store.len()? {
        return Err(ConvertError::ReadBack { page: PageNo(layout::pages_in(copy.len())) });
    }
    // Whether redb can do without what was lost is for its check to say.
    if options.check || lost > 0 { copy.check() } else { Ok(()) }
}
