//! Restoring a chain. First everything that needs no file: is it a chain, does the credential open
//! the newest header, is the newest manifest authentic, does it name the others, is every byte of
//! each as it was made. Then a draft: groups in their places, read back, opened with redb, repaired
//! and checked; and then its name.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Instant;

use super::chain::{self, Chain, Link};
use super::{Progress, RestoreOptions, Restored, begin_draft, check_free, publish};
use crate::drafts::Draft;
use crate::error::BackupError;
use crate::format::backup::frame::GroupPages;
use crate::format::backup::manifest::Manifest;
use crate::keys::{Credential, Keyring, Unlocked};
use crate::medium::{Directory, Medium};
use crate::store::{self, Origin, Store};
use crate::units::{FileId, GroupNo, SyncSeq};

pub(super) fn run(
    chain: Chain,
    directory: &dyn Directory,
    target: &OsStr,
    key: &dyn Credential,
    options: &RestoreOptions<'_>,
) -> Result<Restored, BackupError> {
    let begun = Instant::now();
    check_free(directory, target)?;
    let mut links = chain::open(chain)?;
    let (manifest, unlocked) = believe(&mut links, key, options)?;
    let (draft, medium) = begin_draft(directory, target)?;
    let (file_id, lost_pages) = build(&mut links, &manifest, unlocked, medium, options)?;
    let opener = options.rekey.map_or(key, |rekey| rekey.data.unwrap_or(rekey.key));
    let bytes = settle(&draft, opener, options)?;
    publish(draft, target)?;
    Ok(Restored {
        file_id,
        sync: manifest.sync,
        backups: links.len(),
        bytes,
        lost_pages,
        took: begun.elapsed(),
    })
}

// The newest manifest, once it and all that it speaks of is as it was made.
fn believe(
    links: &mut [Link],
    key: &dyn Credential,
    options: &RestoreOptions<'_>,
) -> Result<(Manifest, Unlocked), BackupError> {
    let marks: Vec<_> = links.iter().map(Link::mark).collect();
    let (newest, given) = marks.split_last().ok_or(BackupError::NoBackup)?;
    let last = links.last_mut().ok_or(BackupError::NoBackup)?;
    let number = given.len();
    let header = last.header()?;
    let unlocked = store::unlock_copy(&header, key, options.builder.options())?;
    let manifest = last.end.open(&unlocked.keyring, number)?.ok_or(BackupError::Altered {
        number,
        what: "its manifest is sealed under a key that its header doesn't have",
    })?;
    if (manifest.generation, manifest.kind) != (unlocked.header.generation, newest.kind) {
        let what = "header, head and manifest are of two backups";
        return Err(BackupError::Altered { number, what });
    }
    chain::check(given, newest, &manifest.ancestors)?;
    for (number, link) in links.iter_mut().enumerate() {
        link.check_content(number)?;
    }
    Ok((manifest, unlocked))
}

// Durable and closed when it returns: the file's id, and how many pages are lost.
fn build(
    links: &mut [Link],
    manifest: &Manifest,
    unlocked: Unlocked,
    medium: Arc<dyn Medium>,
    options: &RestoreOptions<'_>,
) -> Result<(FileId, u64), BackupError> {
    let old_keys = Arc::clone(&unlocked.keyring);
    let mut origin = Origin {
        sync: manifest.sync,
        logical_len: manifest.logical_len,
        page_zero: manifest.page_zero.clone(),
        sealed_pages: manifest.sealed_pages,
    };
    let mut foreign = None;
    let unlocked = match options.rekey {
        None => unlocked,
        Some(rekey) => {
            (origin.sync, origin.sealed_pages) = (SyncSeq(0), 0);
            foreign = Some(&*old_keys);
            store::new_keys(rekey.key, rekey.data, options.builder.options())?
        }
    };
    let file_id = unlocked.header.file_id;
    let store = store::transplant(medium, unlocked, options.builder.options(), &origin)?;
    let built = fill(&store, links, manifest, foreign, options);
    let closed = store.close();
    let lost = built?;
    closed?;
    Ok((file_id, lost))
}

fn fill(
    store: &Store,
    links: &mut [Link],
    manifest: &Manifest,
    foreign: Option<&Keyring>,
    options: &RestoreOptions<'_>,
) -> Result<u64, BackupError> {
    let mut buffer = GroupPages::blank();
    let total_groups = manifest.rows.len() as u64;
    for (group, row) in (0..).map(GroupNo).zip(&manifest.rows) {
        let holder = links.get_mut(row.holder as usize).ok_or(BackupError::NoBackup)?;
        holder.read_frame(group, row, &mut buffer)?;
        store.plant_group(&mut buffer, foreign)?;
        if let Some(progress) = options.progress {
            progress(Progress { done_groups: group.0 + 1, total_groups });
        }
    }
    store.finish_creation()?;
    Ok(store.read_all_back()?)
}

// redb repairs what is to it a crash at the moment of the backup, and checks all of it.
fn settle(
    draft: &Draft<'_>,
    key: &dyn Credential,
    options: &RestoreOptions<'_>,
) -> Result<u64, BackupError> {
    let opening = || BackupError::io("opening the restored file");
    let medium = draft.reopen(true).map_err(opening())?;
    let mut builder = options.builder.clone();
    builder.resume_rotation(false).auto_rotate(false);
    let mut db = builder.open_unwitnessed(Arc::clone(&medium), key)?;
    let sound = db.check_integrity();
    let closed = db.close();
    match sound {
        Ok(true) => closed?,
        Ok(false) => return Err(BackupError::CheckFailed),
        Err(crate::error::Error::Open(error)) => return Err(error.into()),
        Err(crate::error::Error::Damage(damage)) => return Err(damage.into()),
        Err(_) => return Err(BackupError::CheckFailed),
    }
    medium.len().map_err(opening())
}
