//! An attacker who kept a data key and every older image of the file: what of a later image does
//! the key still open? After a finished rotation nothing.

use std::collections::BTreeSet;
use std::fmt;

use crate::crypto::page::Cipher;
use crate::database::Database;
use crate::format::associated_data::{Place, associated_data};
use crate::format::record::SealedRecord;
use crate::format::tag_page::TagPage;
use crate::keys::Keyring;
use crate::layout::{self, PAGE_SIZE};
use crate::units::{CopyId, Epoch, FileOffset, GroupNo, PageNo};

/// The active data key of a database, kept beyond its removal.
pub struct OldKey {
    keyring: std::sync::Arc<Keyring>,
    epoch: Epoch,
}

impl fmt::Debug for OldKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OldKey").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

type Seal = (PageNo, [u8; 12], [u8; 16]);

fn at(image: &[u8], offset: FileOffset) -> Option<&[u8; PAGE_SIZE]> {
    let start = usize::try_from(offset.0).ok()?;
    image.get(start..)?.first_chunk()
}

fn groups(image: &[u8]) -> impl Iterator<Item = GroupNo> + '_ {
    let last = image.len() as u64;
    (0..).map(GroupNo).take_while(move |group| layout::tag_page_start(*group, CopyId::A).0 < last)
}

impl OldKey {
    /// Keeps the key that seals everything new in `db` now.
    #[must_use]
    pub fn keep(db: &Database) -> Self {
        let keyring = db.store().keyring_for_tests();
        Self { epoch: keyring.active().epoch, keyring }
    }

    /// What the key opens in `image`, for one who also knows all nonces and tags that the `earlier`
    /// images tell him: one line for each page or record.
    #[must_use]
    pub fn opens(&self, image: &[u8], earlier: &[Vec<u8>]) -> Vec<String> {
        let mut opened = Vec::new();
        for copy in CopyId::BOTH {
            if self.record(image, layout::root_start(copy), Place::Root(copy)) {
                opened.push(format!("root record, {copy}"));
            }
        }
        let mut known: BTreeSet<Seal> = BTreeSet::new();
        for older in earlier.iter().map(Vec::as_slice).chain([image]) {
            self.learn(older, &mut known);
        }
        for group in groups(image) {
            for copy in CopyId::BOTH {
                let offset = layout::tag_page_start(group, copy);
                if self.record(image, offset, Place::TagPage(group)) {
                    opened.push(format!("tag page of {group}, {copy}"));
                }
            }
        }
        for (page, nonce, tag) in known {
            if self.page(image, page, &nonce, &tag) {
                opened.push(page.to_string());
            }
        }
        opened
    }

    fn record(&self, image: &[u8], offset: FileOffset, place: Place) -> bool {
        let Some(bytes) = at(image, offset) else { return false };
        let Some(key) = self.keyring.get(self.epoch) else { return false };
        let mut record = SealedRecord::blank();
        *record.bytes_mut() = *bytes;
        let key = match place {
            Place::Root(_) => &key.root_record,
            _ => &key.tag_page,
        };
        record.epoch() == self.epoch && record.open(key, self.keyring.file_id(), place).is_ok()
    }

    // Every nonce and tag under this key that the tag pages of an image name.
    fn learn(&self, image: &[u8], known: &mut BTreeSet<Seal>) {
        for group in groups(image) {
            for copy in CopyId::BOTH {
                let Some(bytes) = at(image, layout::tag_page_start(group, copy)) else { continue };
                let mut record = SealedRecord::blank();
                *record.bytes_mut() = *bytes;
                let page = self.keyring.get(record.epoch()).and_then(|key| {
                    TagPage::open(&record, &key.tag_page, self.keyring.file_id(), group)
                });
                let Some(page) = page else { continue };
                for (place, entry) in page.entries().filter(|(_, e)| e.epoch == self.epoch) {
                    known.insert((layout::page_at(group, place), entry.nonce, entry.tag));
                }
            }
        }
    }

    fn page(&self, image: &[u8], page: PageNo, nonce: &[u8; 12], tag: &[u8; 16]) -> bool {
        let Some(bytes) = at(image, layout::data_page_start(page)) else { return false };
        let Some(key) = self.keyring.get(self.epoch) else { return false };
        let data = associated_data(self.keyring.file_id(), self.epoch, Place::Page(page));
        Cipher::new(&key.page).open_in_place(nonce, &data, tag, &mut bytes.clone()).is_ok()
    }
}
