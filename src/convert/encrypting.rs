//! Plain to encrypted.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::plain::Plain;
use super::sweep::Sweep;
use super::{Options, Phase, Report, Task, encrypted_len, finished};
use crate::drafts::Draft;
use crate::error::ConvertError;
use crate::keys::Credential;
use crate::layout::{self, PAGE_SIZE, PAGE_ZERO_SIZE};
use crate::medium::Medium;
use crate::store::{self, Store};
use crate::units::PageNo;

const NO_PAGE: [u8; PAGE_SIZE] = [0; PAGE_SIZE];

pub(super) fn run(
    task: &Task<'_>,
    key: &dyn Credential,
    options: &Options<'_>,
) -> Result<Report, ConvertError> {
    let begun = Instant::now();
    let source = task.check_names()?;
    let plain = Plain::open(task.open_source()?)?;
    if options.check {
        plain.check()?;
    }
    let mut report = Report {
        source_bytes: plain.file_len()?,
        target_bytes: encrypted_len(plain.len()),
        database_bytes: plain.len(),
        repaired: plain.repaired,
        abandoned: task.abandoned(options.dry_run)?,
        dry_run: options.dry_run,
        ..Report::default()
    };
    if options.dry_run {
        return Ok(finished(report, begun));
    }
    let (draft, medium) = task.begin()?;
    copy(&plain, Arc::clone(&medium), key, options)?;
    report.target_bytes = medium.len().map_err(ConvertError::io("measuring the copy"))?;
    drop(medium);
    verify(&plain, &draft, options.data.unwrap_or(key), options)?;
    task.settle(draft, source)?;
    Ok(finished(report, begun))
}

// Creates, fills and closes: durable when it returns.
fn copy(
    plain: &Plain,
    medium: Arc<dyn Medium>,
    key: &dyn Credential,
    options: &Options<'_>,
) -> Result<(), ConvertError> {
    let store = store::create(medium, key, options.data, options.builder.options())?;
    store.finish_creation()?;
    store.set_len(plain.len())?;
    let sweep = Sweep {
        pages: layout::pages_in(plain.len()),
        threads: options.threads(),
        phase: Phase::Copying,
        progress: options.progress,
    };
    let copied = sweep.run(|pages, bytes, _| {
        plain.read(pages.start, bytes)?;
        write(&store, pages, bytes)
    });
    // A store is always closed: it holds the lock on the draft.
    let closed = copied.and_then(|()| Ok(store.sync()?));
    let really_closed = store.close();
    closed?;
    Ok(really_closed?)
}

// Pages of zeros stay absent: they read as zeros, authentically so, and take no room.
fn write(store: &Store, pages: Range<u64>, bytes: &[u8]) -> Result<(), ConvertError> {
    let chunks = bytes.as_chunks::<PAGE_SIZE>().0;
    let (mut first, mut rest) = (pages.start, chunks);
    if first == 0
        && let Some((page_zero, behind)) = rest.split_first()
    {
        store.write_page_zero(0, page_zero.get(..PAGE_ZERO_SIZE).unwrap_or_default())?;
        (first, rest) = (1, behind);
    }
    while let Some(page) = rest.first() {
        let same = |other: &&[u8; PAGE_SIZE]| (**other == NO_PAGE) == (*page == NO_PAGE);
        let (run, behind) = rest.split_at(rest.iter().take_while(same).count());
        if *page != NO_PAGE {
            store.write_pages(PageNo(first), run.as_flattened())?;
        }
        (first, rest) = (first + run.len() as u64, behind);
    }
    Ok(())
}

// From the storage itself, as far as the system lets us: decrypted and compared page by page, and
// opened with redb.
fn verify(
    plain: &Plain,
    draft: &Draft<'_>,
    key: &dyn Credential,
    options: &Options<'_>,
) -> Result<(), ConvertError> {
    let medium = draft.reopen(false).map_err(ConvertError::io("opening the copy"))?;
    medium.drop_cache(0, 0).map_err(ConvertError::io("dropping cached bytes"))?;
    let db = options.builder.open_shared_read_only(medium, key)?;
    let sweep = Sweep {
        pages: layout::pages_in(plain.len()),
        threads: options.threads(),
        phase: Phase::Verifying,
        progress: options.progress,
    };
    let compared = sweep.run(|pages, ours, theirs| {
        db.store().read_pages(PageNo(pages.start), ours)?;
        plain.read(pages.start, theirs)?;
        same(pages.start, ours, theirs)
    });
    if compared.is_ok() && db.store().len()? != plain.len() {
        return Err(ConvertError::ReadBack { page: PageNo(layout::pages_in(plain.len())) });
    }
    let closed = db.close();
    compared?;
    Ok(closed?)
}

/// # Errors
/// The first page that differs.
pub(super) fn same(first: u64, one: &[u8], two: &[u8]) -> Result<(), ConvertError> {
    if one == two {
        return Ok(());
    }
    let (one, two) = (one.as_chunks::<PAGE_SIZE>().0, two.as_chunks::<PAGE_SIZE>().0);
    let equal = one.iter().zip(two).take_while(|(one, two)| one == two).count();
    Err(ConvertError::ReadBack { page: PageNo(first.saturating_add(equal as u64)) })
}
