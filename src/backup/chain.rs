//! The backups that a restore is given: what each says of itself, whether they are the chain that
//! the newest manifest names, and whether every byte of each is as it was made.

use std::fmt;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use super::Parent;
use crate::crypto::hash::Hash;
use crate::error::BackupError;
use crate::format::backup::frame::GroupPages;
use crate::format::backup::manifest::{Ancestor, FrameRow};
use crate::format::backup::{BackupKind, HEAD_SIZE, Head, TRAILER_SIZE};
use crate::layout::HEADER_COPY_SIZE;
use crate::units::{FileId, GroupNo};

const READ_BYTES: usize = 1 << 20;
/// What the names of a directory of backups end with.
pub(super) const SUFFIX: &str = ".backup";

/// What a backup can be read from.
pub trait Stream: Read + Seek {}

impl<T: Read + Seek> Stream for T {}

/// Backups in the order in which they were made, the full one first.
pub struct Chain {
    streams: Vec<Box<dyn Stream>>,
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("backups", &self.streams.len()).finish()
    }
}

impl Chain {
    /// Backups in files.
    ///
    /// # Errors
    /// The system's.
    pub fn of_files<P: AsRef<Path>>(
        paths: impl IntoIterator<Item = P>,
    ) -> Result<Self, BackupError> {
        let open = |path: P| -> Result<Box<dyn Stream>, BackupError> {
            let opened = std::fs::File::open(path);
            Ok(Box::new(opened.map_err(BackupError::io("opening a backup"))?))
        };
        Ok(Self { streams: paths.into_iter().map(open).collect::<Result<_, _>>()? })
    }

    /// The backups of a directory that [`to_directory`](super::to_directory) filled, by their names;
    /// the first so many if `newest` says which is the last one wanted, counted from 0.
    ///
    /// # Errors
    /// The system's.
    pub fn of_directory(
        path: impl AsRef<Path>,
        newest: Option<usize>,
    ) -> Result<Self, BackupError> {
        let reading = || BackupError::io("reading the directory of backups");
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(path).map_err(reading())? {
            let path = entry.map_err(reading())?.path();
            if path.extension().is_some_and(|end| SUFFIX.strip_prefix('.') == end.to_str()) {
                paths.push(path);
            }
        }
        paths.sort();
        paths.truncate(newest.map_or(usize::MAX, |newest| newest.saturating_add(1)));
        Self::of_files(paths)
    }

    /// Backups in memory.
    #[must_use]
    pub fn of_bytes(backups: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self::of_streams(backups.into_iter().map(|bytes| {
            let stream: Box<dyn Stream> = Box::new(Cursor::new(bytes));
            stream
        }))
    }

    /// Backups in anything that can be read from any place.
    pub fn of_streams(streams: impl IntoIterator<Item = Box<dyn Stream>>) -> Self {
        Self { streams: streams.into_iter().collect() }
    }
}

/// A backup of a chain, its head and trailer decoded and nothing of it believed.
pub(super) struct Link {
    stream: Box<dyn Stream>,
    pub(super) end: Parent,
    pub(super) kind: BackupKind,
}

pub(super) fn open(chain: Chain) -> Result<Vec<Link>, BackupError> {
    let links = chain.streams.into_iter().enumerate().map(|(number, stream)| link(number, stream));
    links.collect()
}

fn link(number: usize, mut stream: Box<dyn Stream>) -> Result<Link, BackupError> {
    let unfinished = || BackupError::Unfinished { number };
    let mut head = [0; HEAD_SIZE];
    match stream.rewind().and_then(|()| stream.read_exact(&mut head)) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Err(unfinished()),
        other => other.map_err(reading())?,
    }
    let not_one =
        |malformed: crate::wire::Malformed| BackupError::NotABackup { number, why: malformed.0 };
    let head = Head::decode(&head).map_err(not_one)?;
    let end = Parent::read(&mut *stream, number)?;
    let len = stream.seek(SeekFrom::End(0)).map_err(reading())?;
    let trailer = end.trailer;
    let content = (HEAD_SIZE + HEADER_COPY_SIZE) as u64;
    let expected = trailer
        .manifest_at
        .checked_add(trailer.manifest_len)
        .and_then(|end| end.checked_add(TRAILER_SIZE as u64));
    if expected != Some(len) || trailer.manifest_at < content {
        return Err(BackupError::Altered {
            number,
            what: "its length is not what its trailer says",
        });
    }
    if (head.id, head.file_id) != (trailer.id, trailer.file_id) {
        return Err(BackupError::Altered { number, what: "head and trailer are of two backups" });
    }
    Ok(Link { stream, end, kind: head.kind })
}

fn reading() -> impl FnOnce(std::io::Error) -> BackupError {
    BackupError::io("reading a backup")
}

impl Link {
    /// The header copy, right before the manifest.
    pub(super) fn header(&mut self) -> Result<Box<[u8; HEADER_COPY_SIZE]>, BackupError> {
        let mut bytes = Box::new([0; HEADER_COPY_SIZE]);
        let start = self.end.trailer.manifest_at.saturating_sub(HEADER_COPY_SIZE as u64);
        self.stream.seek(SeekFrom::Start(start)).map_err(reading())?;
        self.stream.read_exact(bytes.as_mut_slice()).map_err(reading())?;
        Ok(bytes)
    }

    /// Reads everything before the manifest and compares its hash with the trailer's.
    pub(super) fn check_content(&mut self, number: usize) -> Result<(), BackupError> {
        let mut content = Hash::default();
        let mut rest = self.end.trailer.manifest_at;
        let mut buffer = vec![0; READ_BYTES];
        self.stream.rewind().map_err(reading())?;
        while rest > 0 {
            let len = usize::try_from(rest).unwrap_or(READ_BYTES).min(READ_BYTES);
            let part = buffer.get_mut(..len).unwrap_or_default();
            self.stream.read_exact(part).map_err(reading())?;
            content.update(part);
            rest -= len as u64;
        }
        if content.finish() == self.end.trailer.content {
            return Ok(());
        }
        let what = "its bytes don't have the hash that its trailer states";
        Err(BackupError::Altered { number, what })
    }

    /// Reads the frame of a group that a manifest speaks of.
    pub(super) fn read_frame(
        &mut self,
        group: GroupNo,
        row: &FrameRow,
        out: &mut GroupPages,
    ) -> Result<(), BackupError> {
        let altered = |what| BackupError::Altered { number: row.holder as usize, what };
        self.stream.seek(SeekFrom::Start(row.offset)).map_err(reading())?;
        let stream = &mut self.stream;
        // A frame is at most 512 KiB.
        let decoded = out.decode(|bytes| stream.read_exact(bytes)).map_err(reading())?;
        decoded.map_err(|malformed| altered(malformed.0))?;
        if out.group != group || out.hash() != row.hash {
            return Err(altered("a group's frame is not the one that the newest manifest names"));
        }
        Ok(())
    }
}

/// What tells one backup of a chain from another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    pub(super) id: [u8; 16],
    pub(super) digest: [u8; 32],
    pub(super) file_id: FileId,
    pub(super) kind: BackupKind,
}

impl Link {
    pub(super) fn mark(&self) -> Mark {
        let (id, file_id) = (self.end.trailer.id, self.end.trailer.file_id);
        Mark { id, digest: self.end.digest(), file_id, kind: self.kind }
    }
}

/// Whether these backups, in this order, are what the newest of them, which comes last, stands on.
/// Pure: `given` are all but the newest.
pub(super) fn check(
    given: &[Mark],
    newest: &Mark,
    ancestors: &[Ancestor],
) -> Result<(), BackupError> {
    let foreign = given.iter().position(|mark| mark.file_id != newest.file_id);
    if let Some(number) = foreign {
        let found = given.get(number).map_or(newest.file_id, |mark| mark.file_id);
        return Err(BackupError::Foreign { number, found, expected: newest.file_id });
    }
    let belongs_at = |mark: &Mark| ancestors.iter().position(|other| other.id == mark.id);
    for number in 0..given.len().max(ancestors.len()) {
        match (given.get(number), ancestors.get(number)) {
            (Some(mark), Some(ancestor)) if mark.id == ancestor.id => {
                if mark.digest != ancestor.digest {
                    let what = "its manifest is not the one that the newest backup stands on";
                    return Err(BackupError::Altered { number, what });
                }
            }
            (Some(mark), expected) => {
                return Err(misplaced(number, mark, expected, belongs_at(mark), given, newest));
            }
            (None, Some(ancestor)) => {
                return Err(BackupError::Missing { number, id: ancestor.id });
            }
            (None, None) => {}
        }
    }
    Ok(())
}

// What stands at a number where something else belongs, or nothing.
fn misplaced(
    number: usize,
    mark: &Mark,
    expected: Option<&Ancestor>,
    belongs: Option<usize>,
    given: &[Mark],
    newest: &Mark,
) -> BackupError {
    let is_given = |id| given.iter().any(|mark| mark.id == id);
    match (expected, belongs) {
        // The one that belongs here is nowhere, and what is here belongs further back.
        (Some(ancestor), Some(later)) if later > number && !is_given(ancestor.id) => {
            BackupError::Missing { number, id: ancestor.id }
        }
        (_, Some(belongs)) => BackupError::OutOfOrder { number, belongs: Some(belongs) },
        // The newest itself again, or something that stands on it.
        (None, None) if mark.id == newest.id => {
            BackupError::OutOfOrder { number, belongs: Some(given.len()) }
        }
        (expected, None) => BackupError::NotOfChain {
            number,
            found: mark.id,
            expected: expected.map(|ancestor| ancestor.id),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::SyncSeq;

    const FILE: FileId = FileId([1; 16]);

    fn mark(n: u8) -> Mark {
        let kind = if n == 0 { BackupKind::Full } else { BackupKind::Incremental };
        Mark { id: [n; 16], digest: [n; 32], file_id: FILE, kind }
    }

    fn checked(given: &[u8], newest: u8) -> String {
        let ancestor = |n| Ancestor { id: [n; 16], digest: [n; 32], sync: SyncSeq(n.into()) };
        let ancestors: Vec<_> = (0..newest).map(ancestor).collect();
        let given: Vec<_> = given.iter().map(|n| mark(*n)).collect();
        match check(&given, &mark(newest), &ancestors) {
            Ok(()) => "fine".to_owned(),
            Err(error) => format!("{error:?}").replace(char::is_whitespace, ""),
        }
    }

    #[test]
    fn a_chain_is_what_its_newest_stands_on_in_this_order() {
        assert_eq!(checked(&[0, 1, 2], 3), "fine");
        assert_eq!(checked(&[], 0), "fine");
        let id = |n: u8| format!("{:?}", [n; 16]).replace(' ', "");
        for (given, newest, expected) in [
            (&[0, 2][..], 3, format!("Missing{{number:1,id:{}}}", id(1))),
            (&[1, 2], 3, format!("Missing{{number:0,id:{}}}", id(0))),
            (&[0, 1], 3, format!("Missing{{number:2,id:{}}}", id(2))),
            (&[], 3, format!("Missing{{number:0,id:{}}}", id(0))),
            (&[0, 2, 1], 3, "OutOfOrder{number:1,belongs:Some(2)}".to_owned()),
            (&[1, 0, 2], 3, "OutOfOrder{number:0,belongs:Some(1)}".to_owned()),
            (&[0, 1, 2, 2], 3, "OutOfOrder{number:3,belongs:Some(2)}".to_owned()),
            (
                &[0, 9, 2],
                3,
                format!("NotOfChain{{number:1,found:{},expected:Some({})}}", id(9), id(1)),
            ),
            (&[0, 1, 3], 2, format!("NotOfChain{{number:2,found:{},expected:None}}", id(3))),
            (&[0, 1, 2], 2, "OutOfOrder{number:2,belongs:Some(3)}".to_owned()),
        ] {
            assert_eq!(checked(given, newest), expected, "{given:?} {newest}");
        }
    }

    #[test]
    fn other_bytes_under_the_same_name_and_other_files_are_named() {
        let ancestors = [Ancestor { id: [0; 16], digest: [0; 32], sync: SyncSeq(1) }];
        let altered = Mark { digest: [7; 32], ..mark(0) };
        let found = check(&[altered], &mark(1), &ancestors);
        assert!(matches!(found, Err(BackupError::Altered { number: 0, .. })), "{found:?}");
        let foreign = Mark { file_id: FileId([9; 16]), ..mark(0) };
        let found = check(&[foreign], &mark(1), &ancestors);
        assert!(matches!(found, Err(BackupError::Foreign { number: 0, .. })), "{found:?}");
    }
}
