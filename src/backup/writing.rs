//! Making a backup: a picture of the store, group by group into a stream, then the header, the
//! manifest and the trailer.

use std::io::Write;
use std::time::Instant;

use super::{Options, Parent, Progress, Report};
use crate::crypto::hash::Hash;
use crate::database::Database;
use crate::error::BackupError;
use crate::format::backup::frame::GroupPages;
use crate::format::backup::manifest::{Ancestor, FrameRow, Manifest};
use crate::format::backup::{BackupId, BackupKind, Head, Trailer};
use crate::format::clean_index::Row;
use crate::keys::Unlocked;
use crate::random;
use crate::store::Picture;
use crate::units::{CopyId, GroupNo, PageNo};

/// Bytes on their way out: counted and hashed.
struct Output<'a> {
    out: &'a mut dyn Write,
    at: u64,
    content: Hash,
}

impl Output<'_> {
    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.out.write_all(bytes)?;
        self.at += bytes.len() as u64;
        self.content.update(bytes);
        Ok(())
    }
}

fn writing() -> impl FnOnce(std::io::Error) -> BackupError {
    BackupError::io("writing the backup")
}

pub(super) fn write(
    db: &Database,
    parent: Option<&Parent>,
    out: &mut dyn Write,
    options: &Options<'_>,
) -> Result<Report, BackupError> {
    let begun = Instant::now();
    let store = db.store();
    let base = Base::of(parent, &store.keyring_for_backup())?;
    let unchanged = |group: GroupNo, row: &Row| base.row(group).is_some_and(|old| old.row == *row);
    let picture =
        store.take_picture(|group, row| !unchanged(group, row), options.kept_bytes_max)?;
    let id: BackupId = random::array().map_err(BackupError::io("naming the backup"))?;
    let (file_id, kind) = (picture.root.file_id, base.kind());
    let mut out = Output { out, at: 0, content: Hash::default() };
    out.put(&Head { kind, file_id, id }.encode()).map_err(writing())?;
    let copied = copy(&picture, &base, &unchanged, &mut out, options)?;
    let closed = close(&picture, base, copied.rows, id, &mut out)?;
    drop(picture);
    Ok(Report {
        id,
        kind,
        file_id,
        sync: closed.manifest.sync,
        generation: closed.manifest.generation,
        number: closed.manifest.ancestors.len(),
        groups: closed.manifest.rows.len() as u64,
        copied_groups: copied.groups,
        bytes: out.at,
        unreadable_pages: copied.unreadable,
        parent: closed.parent,
        took: begun.elapsed(),
    })
}

/// What a backup stands on.
struct Base {
    ancestors: Vec<Ancestor>,
    rows: Vec<FrameRow>,
}

impl Base {
    fn of(parent: Option<&Parent>, keyring: &crate::keys::Keyring) -> Result<Self, BackupError> {
        let Some(parent) = parent else {
            return Ok(Self { ancestors: Vec::new(), rows: Vec::new() });
        };
        let manifest = parent.open(keyring, 0)?.ok_or(BackupError::ParentKeyGone)?;
        let itself = parent.as_ancestor(&manifest);
        let Manifest { mut ancestors, rows, .. } = manifest;
        ancestors.push(itself);
        Ok(Self { ancestors, rows })
    }

    fn kind(&self) -> BackupKind {
        if self.ancestors.is_empty() { BackupKind::Full } else { BackupKind::Incremental }
    }

    fn row(&self, group: GroupNo) -> Option<&FrameRow> {
        usize::try_from(group.0).ok().and_then(|index| self.rows.get(index))
    }
}

struct Copied {
    rows: Vec<FrameRow>,
    groups: u64,
    unreadable: u64,
}

fn copy(
    picture: &Picture<'_>,
    base: &Base,
    unchanged: &dyn Fn(GroupNo, &Row) -> bool,
    out: &mut Output<'_>,
    options: &Options<'_>,
) -> Result<Copied, BackupError> {
    let groups = (0..).map(GroupNo).zip(&picture.rows);
    let total_groups = groups.filter(|(group, row)| !unchanged(*group, row)).count() as u64;
    let holder = u32::try_from(base.ancestors.len()).unwrap_or(u32::MAX);
    let mut buffer = GroupPages::blank();
    // The parent's, until a newer frame takes its place.
    let no_frame = |row: &Row| FrameRow { row: *row, holder, offset: 0, hash: [0; 32] };
    let rows = (0..).map(GroupNo).zip(&picture.rows);
    let rows = rows.map(|(group, row)| base.row(group).copied().unwrap_or(no_frame(row))).collect();
    let mut copied = Copied { rows, groups: 0, unreadable: 0 };
    let mut first_unreadable: Option<PageNo> = None;
    while let Some(group) = picture.next_group() {
        let unreadable = picture.copy_group(group, &mut buffer)?;
        copied.unreadable += unreadable.len() as u64;
        first_unreadable = first_unreadable.or(unreadable.first().copied());
        let offset = out.at;
        let mut frame = Hash::default();
        let written = buffer.encode(|bytes| {
            frame.update(bytes);
            out.put(bytes)
        });
        written.map_err(writing())?;
        let place = usize::try_from(group.0).ok().and_then(|index| copied.rows.get_mut(index));
        if let (Some(place), Some(row)) = (place, picture.row(group)) {
            *place = FrameRow { row, holder, offset, hash: frame.finish() };
        }
        copied.groups += 1;
        if let Some(progress) = options.progress {
            progress(Progress { done_groups: copied.groups, total_groups });
        }
    }
    match first_unreadable {
        Some(first) if !options.allow_unreadable => {
            Err(BackupError::Unreadable { pages: copied.unreadable, first })
        }
        _ => Ok(copied),
    }
}

struct Closed {
    manifest: Manifest,
    parent: Parent,
}

// The header of the end: it has every key of the time since the picture was taken.
fn close(
    picture: &Picture<'_>,
    base: Base,
    rows: Vec<FrameRow>,
    id: BackupId,
    out: &mut Output<'_>,
) -> Result<Closed, BackupError> {
    let no_randomness = || BackupError::io("sealing the backup");
    let (Unlocked { header, keyring, root, .. }, sealed_pages) = picture.finish()?;
    let salt = random::array().map_err(no_randomness())?;
    out.put(&*header.encode(CopyId::A, &salt, &root.data_mac)).map_err(writing())?;
    let (content, manifest_at) = (out.content.finish(), out.at);
    let manifest = Manifest {
        kind: base.kind(),
        file_id: header.file_id,
        id,
        created: crate::clock::Clock::default().now_s(),
        sync: picture.root.sync,
        generation: header.generation,
        logical_len: picture.root.logical_len,
        sealed_pages,
        content,
        page_zero: picture.root.page_zero.clone(),
        ancestors: base.ancestors,
        rows,
    };
    let key = keyring.active();
    let nonce = random::array().map_err(no_randomness())?;
    let sealed = manifest.seal(&key.backup, nonce, key.epoch, manifest_at);
    let (manifest_len, file_id) = (sealed.len() as u64, header.file_id);
    let trailer = Trailer { manifest_at, manifest_len, content, file_id, id };
    out.put(&sealed).and_then(|()| out.put(&trailer.encode())).map_err(writing())?;
    out.out.flush().map_err(writing())?;
    Ok(Closed { manifest, parent: Parent::new(sealed, trailer) })
}
