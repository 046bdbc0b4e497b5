//! A store that is made of what another one held: pages as they were sealed, under the header that
//! was theirs, or sealed anew under keys of their own. As in a creation, everything else is durable
//! before there is a header.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::create::blank_root;
use super::guard::Guard;
use super::state::{PageZero, State};
use super::tags::TagCache;
use super::{LockedMedium, Options, Store};
use crate::crypto::page::Cipher;
use crate::error::{Damage, OpenError, StoreError};
use crate::format::associated_data::{Place, associated_data};
use crate::format::backup::frame::GroupPages;
use crate::format::header::{HeaderBytes, UnverifiedHeader};
use crate::format::root_record::RootRecord;
use crate::format::tag_page::{Entry, EntryState};
use crate::keys::{self, Credential, Keyring, Unlocked};
use crate::layout::{self, ENTRIES_PER_TAG_PAGE, PAGE_SIZE, PAGE_ZERO_SIZE};
use crate::locks::AtomicU64;
use crate::medium::{LockKind, Medium};
use crate::units::{CopyId, GroupNo, PageNo, SyncSeq};

/// Groups planted between two syncs: 4 MiB of tag pages in memory.
const GROUPS_PER_SYNC: u64 = 1024;

/// The state that is transplanted.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// Where syncs go on counting.
    pub(crate) sync: SyncSeq,
    pub(crate) logical_len: u64,
    pub(crate) page_zero: Box<[u8; PAGE_ZERO_SIZE]>,
    /// Pages that the active key has sealed already.
    pub(crate) sealed_pages: u64,
}

/// Unlocks a header that stands outside a file, as a copy A.
///
/// # Errors
/// As an open says it.
pub(crate) fn unlock_copy(
    bytes: &HeaderBytes,
    provider: &dyn Credential,
    options: &Options,
) -> Result<Unlocked, OpenError> {
    let why = "it is no header copy";
    let unverified = UnverifiedHeader::decode(bytes, CopyId::A)
        .map_err(|_| Damage::Header { copy: CopyId::A, why })?;
    keys::unlock(&unverified, provider, &options.terms)
}

/// Makes the keys of a new file.
///
/// # Errors
/// As a creation says it.
pub(crate) fn new_keys(
    provider: &dyn Credential,
    data: Option<&dyn Credential>,
    options: &Options,
) -> Result<Unlocked, OpenError> {
    keys::create(provider, data, &options.terms)
}

/// A store on an empty medium, with no group yet.
///
/// # Errors
/// [`OpenError::NotEmpty`], [`OpenError::AlreadyOpen`], or the medium's.
pub(crate) fn transplant(
    medium: Arc<dyn Medium>,
    unlocked: Unlocked,
    options: &Options,
    origin: &Origin,
) -> Result<Store, OpenError> {
    let medium = LockedMedium::lock(medium, LockKind::Exclusive, options.allow_unlocked)?;
    if !medium.is_empty().map_err(OpenError::io("measuring the medium"))? {
        return Err(OpenError::NotEmpty);
    }
    // A restored file is older than its anchor: one that is bound opens by `accept_rollback` alone.
    let (count, counted_at) = match unlocked.header.anchor {
        Some(_) => (1, origin.sync),
        None => (0, SyncSeq(0)),
    };
    let root = RootRecord { sync: origin.sync, count, counted_at, ..blank_root(&unlocked) };
    let cache = TagCache::new(options.tag_cache_bytes);
    let mut state = State::new(root, CopyId::B, Vec::new(), cache);
    state.logical_len = origin.logical_len;
    state.page_zero = origin.page_zero.clone();
    state.dirty = true;
    let mut store = Store::new(medium, unlocked, options, Guard::for_creation(), state);
    store.sealed_pages = AtomicU64::new(origin.sealed_pages);
    Ok(store)
}

impl Store {
    /// Puts the next group in its place. Where its pages are sealed under other keys than this
    /// store's, those are given, and every page is opened with them and sealed anew.
    ///
    /// # Errors
    /// A page doesn't open, or a write failed.
    pub(crate) fn plant_group(
        &self,
        group: &mut GroupPages,
        foreign: Option<&Keyring>,
    ) -> Result<(), StoreError> {
        let sealed = group.entries.iter().filter(|e| e.state() == EntryState::Sealed).count();
        self.sealed_pages.fetch_add(1 + sealed as u64, Ordering::AcqRel);
        if let Some(foreign) = foreign {
            self.seal_anew(group, foreign)?;
        }
        let is_sealed = |place: usize| {
            group.entries.get(place).is_some_and(|e| e.state() == EntryState::Sealed)
        };
        let mut place = 0;
        while place < ENTRIES_PER_TAG_PAGE {
            let run = (place..ENTRIES_PER_TAG_PAGE).take_while(|place| is_sealed(*place)).count();
            if run > 0 {
                let start = layout::data_page_start(layout::page_at(group.group, place));
                let bytes = group.pages.get(place..place + run).unwrap_or_default();
                self.medium.write_at(start.0, bytes.as_flattened())?;
            }
            place += run.max(1);
        }
        if !self.state_mut().publish(group.group, 0, &group.entries) {
            return Err(StoreError::Misuse("groups are planted in order, each once"));
        }
        if group.group.0 % GROUPS_PER_SYNC == GROUPS_PER_SYNC - 1 {
            let _one_at_a_time = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
            self.sync_snapshot(PageZero::Current)?;
        }
        Ok(())
    }

    fn seal_anew(&self, group: &mut GroupPages, foreign: &Keyring) -> Result<(), StoreError> {
        let keyring = self.keyring();
        let (epoch, cipher) = (keyring.active().epoch, Cipher::new(&keyring.active().page));
        let pages = group.entries.iter_mut().zip(&mut group.pages).enumerate();
        for (place, (entry, bytes)) in pages {
            if entry.state() != EntryState::Sealed {
                continue;
            }
            let page = layout::page_at(group.group, place);
            if !opens(foreign, page, entry, bytes) {
                return Err(Damage::Page { page, offset: layout::data_page_start(page) }.into());
            }
            let nonce = self.nonces.next()?;
            let associated_data = associated_data(keyring.file_id(), epoch, Place::Page(page));
            let tag = cipher.seal_in_place(&nonce, &associated_data, bytes);
            *entry = Entry { epoch, nonce, tag };
        }
        Ok(())
    }

    /// Reads every page back from the storage, once all is durable, and opens it. Returns how many
    /// are lost.
    ///
    /// # Errors
    /// The first page that doesn't open.
    pub(crate) fn read_all_back(&self) -> Result<u64, StoreError> {
        self.medium.drop_cache(0, 0)?;
        let keyring = self.keyring();
        let mut pages = vec![[0; PAGE_SIZE]; ENTRIES_PER_TAG_PAGE];
        let mut lost = 0;
        for group in (0..self.state().groups).map(GroupNo) {
            let mut entries = [Entry::ABSENT; ENTRIES_PER_TAG_PAGE];
            self.entries(group, 0, &mut entries)?;
            let used = entries.iter().rposition(|e| e.state() == EntryState::Sealed);
            let run = pages.get_mut(..used.map_or(0, |last| last + 1)).unwrap_or_default();
            let start = layout::data_page_start(layout::page_at(group, 0));
            self.medium.read_at(start.0, run.as_flattened_mut())?;
            for (place, (entry, bytes)) in entries.iter().zip(run).enumerate() {
                let page = layout::page_at(group, place);
                match entry.state() {
                    EntryState::Absent => {}
                    EntryState::Lost => lost += 1,
                    EntryState::Sealed if opens(&keyring, page, entry, bytes) => {}
                    EntryState::Sealed => {
                        let offset = layout::data_page_start(page);
                        return Err(Damage::Page { page, offset }.into());
                    }
                }
            }
        }
        Ok(lost)
    }
}

/// Opens a page in place.
fn opens(keyring: &Keyring, page: PageNo, entry: &Entry, bytes: &mut [u8; PAGE_SIZE]) -> bool {
    let Some(key) = keyring.get(entry.epoch) else { return false };
    let associated_data = associated_data(keyring.file_id(), entry.epoch, Place::Page(page));
    let cipher = Cipher::new(&key.page);
    cipher.open_in_place(&entry.nonce, &associated_data, &entry.tag, bytes).is_ok()
}
