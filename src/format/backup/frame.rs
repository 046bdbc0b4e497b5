//! A frame of a backup: one group, its entries in the clear and its pages as they are sealed in the
//! file. Believed only if its hash is what a manifest says.

use crate::crypto::hash::Hash;
use crate::format::tag_page::{Entry, EntryState};
use crate::layout::{ENTRIES_PER_TAG_PAGE, PAGE_SIZE};
use crate::units::{Epoch, GroupNo};
use crate::wire::{Malformed, Reader, Writer};

/// Bytes of a frame's head.
pub(crate) const FRAME_HEAD_SIZE: usize = 64;
const ENTRY_SIZE: usize = 32;
const PLACES: u128 = (1 << ENTRIES_PER_TAG_PAGE) - 1;

/// The entries of a group and, where they are sealed ones, the bytes of its pages.
pub(crate) struct GroupPages {
    pub(crate) group: GroupNo,
    pub(crate) entries: [Entry; ENTRIES_PER_TAG_PAGE],
    /// A page a place; what belongs to an entry that is not a sealed one means nothing.
    pub(crate) pages: Vec<[u8; PAGE_SIZE]>,
}

impl GroupPages {
    pub(crate) fn blank() -> Self {
        Self {
            group: GroupNo(0),
            entries: [Entry::ABSENT; ENTRIES_PER_TAG_PAGE],
            pages: vec![[0; PAGE_SIZE]; ENTRIES_PER_TAG_PAGE],
        }
    }

    fn places(&self, state: EntryState) -> u128 {
        let entries = self.entries.iter().enumerate();
        entries.filter(|(_, entry)| entry.state() == state).map(|(place, _)| 1 << place).sum()
    }

    /// The bytes of the frame, in pieces: group u64, sealed places u128, lost places u128, 24
    /// reserved; then 32 bytes an entry and 4096 a page of each sealed place.
    pub(crate) fn encode(
        &self,
        mut put: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        let sealed = self.places(EntryState::Sealed);
        let mut head = [0; FRAME_HEAD_SIZE];
        let mut writer = Writer::new(&mut head);
        writer.u64(self.group.0);
        writer.bytes(&sealed.to_le_bytes());
        writer.bytes(&self.places(EntryState::Lost).to_le_bytes());
        writer.skip(24);
        writer.finish();
        put(&head)?;
        let mut bytes = vec![0; ENTRY_SIZE * sealed.count_ones() as usize];
        let mut writer = Writer::new(&mut bytes);
        for entry in self.entries.iter().filter(|entry| entry.state() == EntryState::Sealed) {
            writer.u32(entry.epoch.0);
            writer.bytes(&entry.nonce);
            writer.bytes(&entry.tag);
        }
        writer.finish();
        put(&bytes)?;
        // Runs of places lie one after another in memory as they do in the frame.
        let is_sealed = |place: usize| sealed >> place & 1 == 1;
        let mut place = 0;
        while place < ENTRIES_PER_TAG_PAGE {
            let run = (place..ENTRIES_PER_TAG_PAGE).take_while(|place| is_sealed(*place)).count();
            put(self.pages.get(place..place + run).unwrap_or_default().as_flattened())?;
            place += run.max(1);
        }
        Ok(())
    }

    /// The hash of the frame's bytes.
    pub(crate) fn hash(&self) -> [u8; 32] {
        let mut hash = Hash::default();
        let _ = self.encode(|bytes| {
            hash.update(bytes);
            Ok(())
        });
        hash.finish()
    }

    /// Takes a frame from `fill`, which gives its bytes in order.
    ///
    /// # Errors
    /// The reader's; `Ok(Err(_))` for bytes that no encoder writes.
    pub(crate) fn decode(
        &mut self,
        mut fill: impl FnMut(&mut [u8]) -> std::io::Result<()>,
    ) -> std::io::Result<Result<(), Malformed>> {
        let mut head = [0; FRAME_HEAD_SIZE];
        fill(&mut head)?;
        let (group, sealed, lost) = match decode_head(&head) {
            Ok(found) => found,
            Err(malformed) => return Ok(Err(malformed)),
        };
        self.group = group;
        self.entries = [Entry::ABSENT; ENTRIES_PER_TAG_PAGE];
        let mut bytes = vec![0; ENTRY_SIZE * sealed.count_ones() as usize];
        fill(&mut bytes)?;
        let mut reader = Reader::new(&bytes);
        for (place, entry) in self.entries.iter_mut().enumerate() {
            if lost >> place & 1 == 1 {
                *entry = Entry::LOST;
            } else if sealed >> place & 1 == 1 {
                match decode_entry(&mut reader) {
                    Ok(found) => *entry = found,
                    Err(malformed) => return Ok(Err(malformed)),
                }
            }
        }
        for (place, page) in self.pages.iter_mut().enumerate() {
            if sealed >> place & 1 == 1 {
                fill(page)?;
            }
        }
        Ok(Ok(()))
    }
}

fn decode_head(head: &[u8; FRAME_HEAD_SIZE]) -> Result<(GroupNo, u128, u128), Malformed> {
    let mut reader = Reader::new(head);
    let group = GroupNo(reader.u64()?);
    let (sealed, lost) =
        (u128::from_le_bytes(reader.array()?), u128::from_le_bytes(reader.array()?));
    reader.zeros(24)?;
    reader.finish()?;
    let page_zero = u128::from(group == GroupNo(0));
    if sealed & lost != 0 || (sealed | lost) & !PLACES != 0 || (sealed | lost) & page_zero != 0 {
        return Err(Malformed("places that no group has"));
    }
    Ok((group, sealed, lost))
}

fn decode_entry(reader: &mut Reader<'_>) -> Result<Entry, Malformed> {
    let entry = Entry { epoch: Epoch(reader.u32()?), nonce: reader.array()?, tag: reader.array()? };
    match entry.state() {
        EntryState::Sealed => Ok(entry),
        _ => Err(Malformed("an entry of a page that isn't sealed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> GroupPages {
        let mut group = GroupPages::blank();
        group.group = GroupNo(3);
        for place in [0_usize, 1, 5, 125] {
            let byte = u8::try_from(place + 1).unwrap();
            group.entries[place] = Entry { epoch: Epoch(2), nonce: [byte; 12], tag: [byte; 16] };
            group.pages[place] = [byte; PAGE_SIZE];
        }
        group.entries[7] = Entry::LOST;
        group
    }

    fn bytes_of(group: &GroupPages) -> Vec<u8> {
        let mut bytes = Vec::new();
        group
            .encode(|part| {
                bytes.extend_from_slice(part);
                Ok(())
            })
            .unwrap();
        bytes
    }

    fn decoded(bytes: &[u8]) -> std::io::Result<Result<GroupPages, Malformed>> {
        let mut group = GroupPages::blank();
        let mut rest = bytes;
        let result = group.decode(|out| std::io::Read::read_exact(&mut rest, out))?;
        Ok(result.map(|()| group))
    }

    #[test]
    fn a_group_comes_back() {
        let group = example();
        let bytes = bytes_of(&group);
        assert_eq!(bytes.len(), 64 + 4 * (32 + 4096));
        let found = decoded(&bytes).unwrap().unwrap();
        assert_eq!((found.group, found.entries), (group.group, group.entries));
        assert!([0, 1, 5, 125].iter().all(|place| found.pages[*place] == group.pages[*place]));
        assert_eq!(found.hash(), group.hash());
        assert_eq!(group.hash(), crate::crypto::hash::of(&[&bytes]));
        assert!(decoded(&bytes[..bytes.len() - 1]).is_err(), "cut off");
    }

    #[test]
    fn what_no_encoder_writes_is_refused() {
        let bytes = bytes_of(&example());
        for (what, at, byte) in [
            ("a place beyond the group", 23, 0x40),
            ("sealed and lost", 24, 1),
            ("reserved", 40, 1),
            ("an entry without an epoch", 64, 0),
        ] {
            let mut bad = bytes.clone();
            bad[at] = byte;
            assert!(decoded(&bad).unwrap().is_err(), "{what}");
        }
        let mut page_zero = bytes;
        page_zero[0] = 0;
        assert!(decoded(&page_zero).unwrap().is_err(), "page 0 has no entry");
    }
}
