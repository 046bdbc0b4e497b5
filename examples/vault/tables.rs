//! The vault's tables, and how a file goes in and comes out. All of a file is in one transaction:
//! whatever happens, the vault has all of it or nothing.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;

use blake3::{Hash, Hasher};
use strongroom::redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, TableError,
    WriteTransaction,
};

use crate::failure::Failure;
use crate::tree::Found;

/// Length, seconds and nanoseconds of the last change, mode, BLAKE3 hash.
type FileRow = (u64, i64, i64, u32, &'static [u8; 32]);

/// Path to metadata.
const FILES: TableDefinition<&str, FileRow> = TableDefinition::new("files");
/// Path and number of the chunk to bytes.
const CONTENT: TableDefinition<(&str, u64), &[u8]> = TableDefinition::new("content");
/// What happened to the vault as a whole.
const ABOUT: TableDefinition<&str, bool> = TableDefinition::new("about");
/// Whether the last `store` came to its end.
const STORE_FINISHED: &str = "store finished";

/// redb keeps a value in one extent, a power of two long: a little less than that wastes little.
pub(crate) const CHUNK_BYTES: usize = (16 << 20) - (64 << 10);

/// What the vault knows about a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FileFacts {
    pub(crate) len: u64,
    pub(crate) modified_s: i64,
    pub(crate) modified_ns: i64,
    pub(crate) mode: u32,
    pub(crate) hash: Hash,
}

impl FileFacts {
    fn from_row(row: (u64, i64, i64, u32, &[u8; 32])) -> Self {
        let (len, modified_s, modified_ns, mode, hash) = row;
        Self { len, modified_s, modified_ns, mode, hash: Hash::from_bytes(*hash) }
    }

    fn chunks(&self) -> u64 {
        self.len.div_ceil(CHUNK_BYTES as u64)
    }

    /// Whether a file looks as it did when it was stored.
    pub(crate) fn describes(&self, metadata: &Metadata) -> bool {
        self.len == metadata.len()
            && self.modified_s == metadata.mtime()
            && self.modified_ns == metadata.mtime_nsec()
            && self.mode == metadata.mode()
    }
}

/// Why a file was not stored.
#[derive(Debug)]
pub(crate) enum NotStored {
    /// It could not be read; the vault is as it was.
    Unreadable(std::io::Error),
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for NotStored {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// The tables inside a write transaction.
pub(crate) struct Writer<'a> {
    files: Table<'a, &'static str, FileRow>,
    content: Table<'a, (&'static str, u64), &'static [u8]>,
    about: Table<'a, &'static str, bool>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(transaction: &'a WriteTransaction) -> Result<Self, Failure> {
        Ok(Self {
            files: transaction.open_table(FILES)?,
            content: transaction.open_table(CONTENT)?,
            about: transaction.open_table(ABOUT)?,
        })
    }

    pub(crate) fn set_finished(&mut self, finished: bool) -> Result<(), Failure> {
        self.about.insert(STORE_FINISHED, finished)?;
        Ok(())
    }

    pub(crate) fn facts(&self, name: &str) -> Result<Option<FileFacts>, Failure> {
        Ok(self.files.get(name)?.map(|row| FileFacts::from_row(row.value())))
    }

    /// Stores a file in place of what had its name; `chunk` is room for [`CHUNK_BYTES`].
    pub(crate) fn store(
        &mut self,
        found: &Found,
        chunk: &mut [u8],
    ) -> Result<FileFacts, NotStored> {
        // Opened before anything is changed: most unreadable files are found out here.
        let mut file = File::open(&found.path).map_err(NotStored::Unreadable)?;
        let metadata = file.metadata().map_err(NotStored::Unreadable)?;
        let old_chunks = self.facts(&found.name)?.map_or(0, |facts| facts.chunks());
        let (mut hasher, mut len, mut chunks) = (Hasher::new(), 0, 0);
        loop {
            let read = match fill(&mut file, chunk) {
                Ok(read) => read,
                Err(error) => {
                    self.remove(&found.name, chunks.max(old_chunks))?;
                    return Err(NotStored::Unreadable(error));
                }
            };
            if read.is_empty() {
                break;
            }
            hasher.update(read);
            self.content.insert((found.name.as_str(), chunks), read)?;
            len += read.len() as u64;
            chunks += 1;
        }
        for stale in chunks..old_chunks {
            self.content.remove((found.name.as_str(), stale))?;
        }
        let facts = FileFacts {
            len,
            modified_s: metadata.mtime(),
            modified_ns: metadata.mtime_nsec(),
            mode: metadata.mode(),
            hash: hasher.finalize(),
        };
        let FileFacts { modified_s, modified_ns, mode, hash, .. } = facts;
        let row = (len, modified_s, modified_ns, mode, hash.as_bytes());
        self.files.insert(found.name.as_str(), row)?;
        Ok(facts)
    }

    fn remove(&mut self, name: &str, chunks: u64) -> Result<(), Failure> {
        for chunk in 0..chunks {
            self.content.remove((name, chunk))?;
        }
        self.files.remove(name)?;
        Ok(())
    }
}

// Fills the buffer as far as the file goes.
fn fill<'a>(file: &mut File, chunk: &'a mut [u8]) -> std::io::Result<&'a [u8]> {
    let mut len = 0;
    while let Some(room) = chunk.get_mut(len..).filter(|room| !room.is_empty()) {
        match file.read(room) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(chunk.get(..len).unwrap_or_default())
}

/// The tables inside a read transaction.
pub(crate) struct Reader {
    files: ReadOnlyTable<&'static str, FileRow>,
    content: ReadOnlyTable<(&'static str, u64), &'static [u8]>,
    pub(crate) finished: bool,
}

impl Reader {
    pub(crate) fn new(transaction: &ReadTransaction) -> Result<Self, Failure> {
        let missing = |error| match error {
            TableError::TableDoesNotExist(_) => Failure::said(
                "a database, but not yet a vault: if `store` was cut off right at its start, \
                     `store --add` goes on",
            ),
            error => error.into(),
        };
        let about = transaction.open_table(ABOUT).map_err(missing)?;
        Ok(Self {
            files: transaction.open_table(FILES).map_err(missing)?,
            content: transaction.open_table(CONTENT).map_err(missing)?,
            finished: about.get(STORE_FINISHED)?.is_some_and(|finished| finished.value()),
        })
    }

    pub(crate) fn facts(&self, name: &str) -> Result<Option<FileFacts>, Failure> {
        Ok(self.files.get(name)?.map(|row| FileFacts::from_row(row.value())))
    }

    /// Every file, in the order of the names.
    pub(crate) fn all(&self) -> Result<Vec<(String, FileFacts)>, Failure> {
        let mut all = Vec::new();
        for row in self.files.iter()? {
            let (name, facts) = row?;
            all.push((name.value().to_owned(), FileFacts::from_row(facts.value())));
        }
        Ok(all)
    }

    /// Hands a file's bytes out chunk by chunk; returns their number and hash.
    pub(crate) fn read(
        &self,
        name: &str,
        facts: &FileFacts,
        mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(u64, Hash), Failure> {
        let (mut hasher, mut len) = (Hasher::new(), 0);
        for chunk in 0..facts.chunks() {
            let Some(bytes) = self.content.get((name, chunk))? else { break };
            hasher.update(bytes.value());
            len += bytes.value().len() as u64;
            take(bytes.value())?;
        }
        Ok((len, hasher.finalize()))
    }
}
