//! Floor 7: prove. Scans every byte of a file and says, with figures, that nothing in it is
//! plaintext; with a key also which pages authenticate. Reads only.
//!
//! Without a key nobody can tell ciphertext from any other bytes that look random: what is proved
//! then is that no page looks like anything else, that redb's magic and the given patterns are
//! nowhere, and what every page is by its place. Compressed or already encrypted plaintext would
//! pass. With the key each page that counts is opened, which leaves no such doubt.

use std::fmt;
use std::sync::Arc;

use crate::crew;
use crate::error::OpenError;
use crate::format::header::NotAHeader;
use crate::keys::Credential;
use crate::medium::{LockKind, Medium};
use crate::store::{LockedMedium, Options, Survey, look_at_header};
use crate::units::{CopyId, FileId, FileOffset};

mod entropy;
mod kinds;
mod scan;

pub use kinds::PageKind;

use kinds::Map;
use scan::Scan;

/// A shorter one turns up in random bytes: 6 bytes once in 256 TiB.
const PATTERN_BYTES_MIN: usize = 6;
const SUSPECTS_MAX: usize = 1000;
const THREADS_MAX: usize = 256;

/// What is looked for, and how.
#[derive(Clone, Debug)]
pub struct ProveOptions {
    pub(crate) patterns: Vec<Vec<u8>>,
    pub(crate) threads: usize,
    pub(crate) suspects_max: usize,
}

impl Default for ProveOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl ProveOptions {
    /// No pattern of one's own, all cores.
    #[must_use]
    pub fn new() -> Self {
        Self { patterns: Vec::new(), threads: crew::cores(), suspects_max: SUSPECTS_MAX }
    }

    /// Adds bytes that must not be in the file, such as a value that was stored; 6 bytes at least,
    /// since a shorter run turns up in random bytes.
    #[must_use]
    pub fn pattern(mut self, pattern: impl Into<Vec<u8>>) -> Self {
        self.patterns.push(pattern.into());
        self
    }

    /// Threads that scan, as many as there are cores unless set.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.clamp(1, THREADS_MAX);
        self
    }

    /// How many suspects a proof lists; it counts all of them.
    #[must_use]
    pub fn suspects_max(mut self, suspects: usize) -> Self {
        self.suspects_max = suspects;
        self
    }
}

/// Pages of the file of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct KindCount {
    /// All of them: the sum of the next four.
    pub pages: u64,
    /// Pages of nothing but zeros: never written, wiped, or reserved.
    pub zeros: u64,
    /// Pages that a key opened, or vouched for. None without a key.
    pub authenticated: u64,
    /// Pages that no key vouches for and that look random: without a key all sealed ones, with one
    /// older versions of pages, and what free places hold. Of a header copy, pages that are a
    /// header's by their look.
    pub random: u64,
    /// Pages that look like something else. None may be.
    pub suspicious: u64,
}

/// Why something is a suspect.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub enum Suspicion {
    /// The page, or one of its sectors, has less entropy than ciphertext can have; the page's, in
    /// bits a byte.
    Entropy(f64),
    /// redb's magic bytes.
    RedbMagic,
    /// The pattern with this number, from 0, in the order in which they were given.
    Pattern(usize),
}

/// Something that may be plaintext.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub struct Suspect {
    /// Where it lies in the file.
    pub offset: FileOffset,
    /// In what kind of page.
    pub kind: PageKind,
    /// What about it.
    pub what: Suspicion,
}

impl fmt::Display for Suspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}: ", self.offset, self.kind)?;
        match self.what {
            Suspicion::Entropy(bits) => {
                write!(f, "not what a cipher writes ({bits:.3} bits a byte in the page)")
            }
            Suspicion::RedbMagic => f.write_str("redb's magic bytes"),
            Suspicion::Pattern(number) => write!(f, "pattern {number}"),
        }
    }
}

/// What the scan of a file showed. [`fmt::Display`] writes it for people.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Proof {
    /// Bytes of the file; every one of them was looked at.
    pub file_bytes: u64,
    /// The id of the file, where a key vouches for it.
    pub file_id: Option<FileId>,
    /// Pages by kind, in the order of [`PageKind`]; the last page may be shorter than 4096 bytes.
    pub kinds: Vec<(PageKind, KindCount)>,
    /// Pages whose entropy was measured: all but headers, zeros and a short last one.
    pub measured: u64,
    /// The lowest entropy of a page measured, in bits a byte; 8 is the most there is.
    pub lowest_bits: Option<f64>,
    /// The mean of all of them.
    pub mean_bits: Option<f64>,
    /// The base-2 logarithm of a bound on the probability that a file of this many sealed pages has
    /// a suspect of this kind by chance.
    pub false_alarm_log2: f64,
    /// Patterns that were looked for, redb's magic left out.
    pub patterns: usize,
    /// What may be plaintext, in the order of the file, up to the limit asked for.
    pub suspects: Vec<Suspect>,
    /// All of them.
    pub suspects_total: u64,
}

impl Proof {
    /// Whether nothing was found that may be plaintext.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.suspects_total == 0
    }

    /// The figures of one kind.
    #[must_use]
    pub fn of(&self, kind: PageKind) -> KindCount {
        let found = self.kinds.iter().find(|(known, _)| *known == kind);
        found.map(|(_, count)| *count).unwrap_or_default()
    }
}

/// Scans a medium.
///
/// # Errors
/// It is in use, empty or can't be read, or the credential does not open it.
pub(crate) fn prove(
    medium: Arc<dyn Medium>,
    key: Option<&dyn Credential>,
    store_options: &Options,
    options: &ProveOptions,
) -> Result<Proof, OpenError> {
    for pattern in &options.patterns {
        scan::check_pattern(pattern, PATTERN_BYTES_MIN)?;
    }
    let len = medium.len().map_err(OpenError::io("measuring the file"))?;
    if len == 0 {
        return Err(OpenError::Empty);
    }
    // A survey holds the lock by itself.
    let survey = key.map(|key| Survey::of(Arc::clone(&medium), key, store_options)).transpose()?;
    let _lock = match &survey {
        Some(_) => None,
        None => Some(LockedMedium::lock(
            Arc::clone(&medium),
            LockKind::Shared,
            store_options.allow_unlocked,
        )?),
    };
    let headers = CopyId::BOTH.map(|copy| is_header(&*medium, copy));
    let map = Map::of(survey.as_ref());
    let scan = Scan { medium: &*medium, len, survey: survey.as_ref(), map, headers, options };
    let found = scan.run()?;
    let measured = found.measured as f64;
    Ok(Proof {
        file_bytes: len,
        file_id: survey.as_ref().map(|survey| survey.unlocked().header.file_id),
        kinds: found.kinds.into_iter().collect(),
        measured: found.measured,
        lowest_bits: found.lowest_bits,
        mean_bits: (found.measured > 0).then(|| found.bits_sum / measured),
        false_alarm_log2: entropy::false_alarm_log2_a_page() + measured.max(1.0).log2(),
        patterns: options.patterns.len(),
        suspects: found.suspects,
        suspects_total: found.suspects_total,
    })
}

// In the clear by design: what is one by its magic, torn or not.
fn is_header(medium: &dyn Medium, copy: CopyId) -> bool {
    match look_at_header(medium, copy) {
        Ok(Ok(_)) => true,
        Ok(Err(fault)) => !matches!(fault, NotAHeader::BadMagic | NotAHeader::Blank),
        Err(_) => false,
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.file_id {
            Some(id) => writeln!(f, "{} bytes, file {id}, with a key", self.file_bytes)?,
            None => writeln!(f, "{} bytes, without a key", self.file_bytes)?,
        }
        writeln!(
            f,
            "{:<17}{:>9}{:>9}{:>15}{:>13}{:>12}",
            "kind", "pages", "zeros", "authenticated", "random only", "suspicious"
        )?;
        for (kind, count) in &self.kinds {
            let KindCount { pages, zeros, authenticated, random, suspicious } = count;
            writeln!(
                f,
                "{kind:<17}{pages:>9}{zeros:>9}{authenticated:>15}{random:>13}{suspicious:>12}"
            )?;
        }
        if let (Some(lowest), Some(mean)) = (self.lowest_bits, self.mean_bits) {
            writeln!(
                f,
                "entropy of {} pages: {mean:.3} bits a byte on average, {lowest:.3} at least",
                self.measured
            )?;
            writeln!(
                f,
                "a false alarm in so many sealed pages: less likely than 2^{:.0}",
                self.false_alarm_log2.ceil()
            )?;
        }
        writeln!(
            f,
            "looked for everywhere: redb's magic, {} patterns of the caller's",
            self.patterns
        )?;
        for suspect in &self.suspects {
            writeln!(f, "SUSPECT {suspect}")?;
        }
        let unlisted = self.suspects_total.saturating_sub(self.suspects.len() as u64);
        if unlisted > 0 {
            writeln!(f, "and {unlisted} more")?;
        }
        match self.holds() {
            true => write!(f, "nothing in the file looks like plaintext"),
            false => write!(f, "{} PLACES MAY BE PLAINTEXT", self.suspects_total),
        }
    }
}
