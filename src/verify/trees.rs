//! redb's own check of its trees, on a file that is not to be changed: redb runs on an overlay,
//! which gives it the surveyed pages and keeps what it writes in memory. A panic of redb's on what
//! authentic pages say is caught and reported.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use super::options::{VerifyOptions, VerifyPhase};
use super::report::Trees;
use crate::error::Damage;
use crate::layout::{self, PAGE_BYTES, PAGE_SIZE};
use crate::store::{self, PageSet, PageVerdict, Survey, Under};
use crate::units::{CopyId, PageNo};

/// Why trees are not checked where the progress callback stopped it.
pub(super) const STOPPED: &str = "stopped";

/// redb's cache: what it reads twice is opened once.
const CACHE_BYTES: usize = 64 << 20;

/// What redb's walk gave.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) trees: Trees,
    /// The pages that it read, if it got to the end: those in use.
    pub(super) used: Option<PageSet>,
}

/// Pages of a set.
pub(super) fn count(pages: &PageSet) -> u64 {
    pages.values().map(|pages| u64::from(pages.count_ones())).sum()
}

/// Lets redb open the surveyed state, repair it where a crash left it so, and check all of it.
pub(super) fn walk(survey: &Arc<Survey>, options: &VerifyOptions, sealed: u64) -> Walk {
    let overlay = Overlay::over(Arc::clone(survey), options.clone(), sealed);
    let trees = check(&overlay);
    if overlay.stopped.load(Ordering::Acquire) {
        return Walk { trees: Trees::NotChecked(STOPPED), used: None };
    }
    let used = (trees == Trees::Sound).then(|| std::mem::take(&mut overlay.changed().read));
    Walk { trees, used }
}

fn check(overlay: &Overlay) -> Trees {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    let backend = overlay.clone();
    let opened = catch_unwind(AssertUnwindSafe(|| builder.create_with_backend(backend)));
    let mut db = match opened {
        Ok(Ok(db)) => db,
        Ok(Err(error)) => return refused(overlay, &error),
        Err(panic) => return Trees::Panicked(said(&*panic)),
    };
    // From here on every page is strict, and what redb reads is what it uses.
    overlay.forgiving.store(false, Ordering::Release);
    overlay.watching.store(true, Ordering::Release);
    let checked = catch_unwind(AssertUnwindSafe(|| db.check_integrity()));
    overlay.watching.store(false, Ordering::Release);
    let trees = match checked {
        Ok(Ok(true)) => Trees::Sound,
        Ok(Ok(false)) => Trees::Inconsistent(
            "redb's check found something to repair: tables or the list of free pages do not fit"
                .to_owned(),
        ),
        Ok(Err(error)) => refused(overlay, &error),
        Err(panic) => Trees::Panicked(said(&*panic)),
    };
    // A drop closes the database, over pages that just made it panic.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(db)));
    trees
}

fn refused(overlay: &Overlay, error: &redb::DatabaseError) -> Trees {
    match overlay.changed().failed.take() {
        Some(damage) => Trees::Stopped(damage),
        None => Trees::Inconsistent(error.to_string()),
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// The surveyed pages, with redb's changes over them.
#[derive(Clone, Debug)]
struct Overlay(Arc<Shared>);

impl std::ops::Deref for Overlay {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

#[derive(Debug)]
struct Shared {
    survey: Arc<Survey>,
    options: VerifyOptions,
    sealed: u64,
    changed: Mutex<Changed>,
    /// redb is opening: a page that the last sync may have torn reads as zeros.
    forgiving: AtomicBool,
    /// What redb reads is written down.
    watching: AtomicBool,
    stopped: AtomicBool,
    pages_read: AtomicU64,
}

#[derive(Debug)]
struct Changed {
    len: u64,
    /// Pages of the file that are still there: all below the smallest length there was.
    kept: u64,
    written: HashMap<u64, Box<[u8; PAGE_SIZE]>>,
    read: PageSet,
    /// The first page that redb could not be given.
    failed: Option<String>,
}

impl Overlay {
    fn over(survey: Arc<Survey>, options: VerifyOptions, sealed: u64) -> Self {
        let pages = survey.pages();
        let changed = Changed {
            len: pages.saturating_mul(PAGE_BYTES),
            kept: pages,
            written: HashMap::new(),
            read: PageSet::new(),
            failed: None,
        };
        Self(Arc::new(Shared {
            survey,
            options,
            sealed,
            changed: Mutex::new(changed),
            forgiving: AtomicBool::new(true),
            watching: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            pages_read: AtomicU64::new(0),
        }))
    }

    fn changed(&self) -> MutexGuard<'_, Changed> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn page(&self, page: PageNo, out: &mut [u8; PAGE_SIZE]) -> io::Result<()> {
        {
            let mut changed = self.changed();
            if self.watching.load(Ordering::Acquire) && page != PageNo(0) {
                store::put(&mut changed.read, page);
            }
            if let Some(written) = changed.written.get(&page.0) {
                *out = **written;
                return Ok(());
            }
            if page.0 >= changed.kept {
                out.fill(0);
                return Ok(());
            }
        }
        self.go_on()?;
        let offset = layout::data_page_start(page);
        let damage = match self.survey.page(page, Under::Current, out) {
            PageVerdict::Opened | PageVerdict::InJournal | PageVerdict::Absent => return Ok(()),
            PageVerdict::DoesNotOpen | PageVerdict::Truncated
                if self.forgiving.load(Ordering::Acquire) && self.survey.is_forgiven(page) =>
            {
                // From now on it is zeros, as a recovery makes it.
                out.fill(0);
                self.changed().written.insert(page.0, Box::new([0; PAGE_SIZE]));
                return Ok(());
            }
            PageVerdict::Lost => Damage::LostPage { page },
            PageVerdict::DoesNotOpen => Damage::Page { page, offset },
            PageVerdict::Truncated => Damage::Truncated { offset },
            PageVerdict::NoTagPage => {
                let group = layout::place_of(page).0;
                let copy = self.survey.named_copy(group).unwrap_or(CopyId::A);
                Damage::TagPage { group, offset: layout::tag_page_start(group, copy) }
            }
            PageVerdict::Unreadable(error) => {
                let what = format!("{page} at {offset}: {error}");
                self.changed().failed.get_or_insert(what);
                return Err(error);
            }
        };
        self.changed().failed.get_or_insert(damage.to_string());
        Err(damage.into())
    }

    // An error makes redb stop, which has no other way of being told.
    fn go_on(&self) -> io::Result<()> {
        let done = self.pages_read.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let told = !done.is_multiple_of(layout::DATA_PAGES_PER_GROUP)
            || self.options.tell(VerifyPhase::Trees, done, self.sealed);
        if told && !self.stopped.load(Ordering::Acquire) {
            return Ok(());
        }
        self.stopped.store(true, Ordering::Release);
        Err(io::Error::other(STOPPED))
    }

    // The pages that a byte range touches: page, where in it, where in the caller's buffer, length.
    fn parts(&self, offset: u64, len: usize) -> io::Result<Vec<(PageNo, usize, usize, usize)>> {
        let end = offset.checked_add(len as u64).filter(|end| *end <= self.changed().len);
        if end.is_none() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (mut parts, mut at) = (Vec::new(), 0);
        while at < len {
            let place = offset.saturating_add(at as u64);
            let within = usize::try_from(place % PAGE_BYTES).unwrap_or(0);
            let part = (PAGE_SIZE - within).min(len - at);
            parts.push((PageNo(place / PAGE_BYTES), within, at, part));
            at += part;
        }
        Ok(parts)
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changed().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut bytes = [0; PAGE_SIZE];
        for (page, within, at, len) in self.parts(offset, out.len())? {
            self.page(page, &mut bytes)?;
            let (from, to) = (bytes.get(within..within + len), out.get_mut(at..at + len));
            if let (Some(from), Some(to)) = (from, to) {
                to.copy_from_slice(from);
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        for (page, within, at, len) in self.parts(offset, data.len())? {
            let mut bytes = Box::new([0; PAGE_SIZE]);
            if len < PAGE_SIZE {
                self.page(page, &mut bytes)?;
            }
            let (from, to) = (data.get(at..at + len), bytes.get_mut(within..within + len));
            if let (Some(from), Some(to)) = (from, to) {
                to.copy_from_slice(from);
            }
            self.changed().written.insert(page.0, bytes);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut changed = self.changed();
        let pages = len.div_ceil(PAGE_BYTES);
        changed.len = len;
        changed.kept = changed.kept.min(pages);
        changed.written.retain(|page, _| *page < pages);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}
