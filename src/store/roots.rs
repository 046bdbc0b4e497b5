//! Reading and writing root records, one page a copy.

use std::io;

use super::Store;
use crate::crypto::page::NotAuthentic;
use crate::error::{Damage, OpenError, StoreError};
use crate::format::associated_data::Place;
use crate::format::record::SealedRecord;
use crate::format::root_record::RootRecord;
use crate::keys::Keyring;
use crate::layout;
use crate::medium::Medium;
use crate::units::CopyId;

/// A copy as found: `None` where it doesn't open, which a crash explains.
pub(super) fn read(
    medium: &dyn Medium,
    keyring: &Keyring,
    copy: CopyId,
) -> Result<Option<RootRecord>, OpenError> {
    let mut record = SealedRecord::blank();
    match medium.read_at(layout::root_start(copy).0, record.bytes_mut()) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(OpenError::io("reading a root record")(error)),
    }
    let Ok(body) = keyring
        .get(record.epoch())
        .ok_or(NotAuthentic)
        .and_then(|key| record.open(&key.root_record, keyring.file_id(), Place::Root(copy)))
    else {
        return Ok(None);
    };
    // It opened, so we wrote it: a field that makes no sense is no crash.
    let root = RootRecord::decode(&body, record.epoch())
        .map_err(|malformed| Damage::Root { copy, why: malformed.0 })?;
    if root.file_id != keyring.file_id() {
        return Err(Damage::Root { copy, why: "it belongs to another file" }.into());
    }
    Ok(Some(root))
}

impl Store {
    /// Seals and writes a root record; not durable before the next `fsync`.
    pub(super) fn write_root(&self, root: &RootRecord, copy: CopyId) -> Result<(), StoreError> {
        debug_assert!(
            RootRecord::decode(&root.encode(), root.epoch).as_ref() == Ok(root),
            "the next open would refuse it"
        );
        let keyring = self.keyring();
        let no_key = StoreError::Misuse("a root record under a data key that is gone");
        let key = keyring.get(root.epoch).ok_or(no_key)?;
        let record = root.encode().seal(
            &key.root_record,
            self.nonces.next()?,
            keyring.file_id(),
            key.epoch,
            Place::Root(copy),
        );
        self.medium.write_at(layout::root_start(copy).0, record.bytes())?;
        Ok(())
    }
}
