//! The bytes of a file anchor: one record of 64 bytes, twice, in sectors of their own. Pure.
//!
//! | bytes | field |
//! |---|---|
//! | 0..16 | magic |
//! | 16..32 | identity, 16 random bytes |
//! | 32..40 | count, u64 |
//! | 40..60 | zero |
//! | 60..64 | CRC-32 over 0..60: tells a torn record |

use crate::wire::{Malformed, Reader, Writer};

pub(super) const RECORD_SIZE: usize = 64;
/// Where the two records lie: no device tears both at once.
pub(super) const STARTS: [u64; 2] = [0, 4096];
const MAGIC: [u8; 16] = *b"strongroomanchor";
const CRC_AT: usize = 60;

/// What an anchor remembers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Record {
    pub(super) identity: [u8; 16],
    pub(super) count: u64,
}

impl Record {
    pub(super) fn encode(&self) -> [u8; RECORD_SIZE] {
        let mut bytes = [0; RECORD_SIZE];
        let mut writer = Writer::new(&mut bytes[..CRC_AT]);
        writer.bytes(&MAGIC);
        writer.bytes(&self.identity);
        writer.u64(self.count);
        let crc = crc32fast::hash(&bytes[..CRC_AT]).to_le_bytes();
        bytes[CRC_AT..].copy_from_slice(&crc);
        bytes
    }

    pub(super) fn decode(bytes: &[u8; RECORD_SIZE]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.array()? != MAGIC {
            return Err(Malformed("no anchor stands there"));
        }
        let record = Self { identity: reader.array()?, count: reader.u64()? };
        reader.zeros(CRC_AT - 40)?;
        if reader.array()? != crc32fast::hash(&bytes[..CRC_AT]).to_le_bytes() {
            return Err(Malformed("its CRC doesn't fit"));
        }
        Ok(record)
    }
}

/// What two records say together, and whether they must be written alike again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Choice {
    pub(super) record: Record,
    pub(super) unequal: bool,
}

/// The first is written and made durable before the second: after a crash they are equal, or the
/// first is one ahead, or one of them is torn. A torn one never costs a count that was
/// acknowledged, since that stood in both.
///
/// # Errors
/// Both unreadable, or of two anchors or counts that no crash leaves.
pub(super) fn choose(
    first: Result<Record, Malformed>,
    second: Result<Record, Malformed>,
) -> Result<Choice, Malformed> {
    match (first, second) {
        (Ok(first), Ok(second)) if first == second => Ok(Choice { record: first, unequal: false }),
        (Ok(first), Ok(second)) => {
            let one_ahead = first.count.checked_sub(second.count) == Some(1);
            if !one_ahead || first.identity != second.identity {
                return Err(Malformed("its two records contradict each other"));
            }
            Ok(Choice { record: first, unequal: true })
        }
        (Ok(record), Err(_)) | (Err(_), Ok(record)) => Ok(Choice { record, unequal: true }),
        (Err(why), Err(_)) => Err(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(count: u64) -> Result<Record, Malformed> {
        Ok(Record { identity: [7; 16], count })
    }

    #[test]
    fn fields_come_back_and_no_changed_byte_does() {
        let record = Record { identity: [9; 16], count: 0x0102_0304_0506_0708 };
        let bytes = record.encode();
        assert_eq!(Record::decode(&bytes), Ok(record));
        for at in 0..RECORD_SIZE {
            for bit in 0..8 {
                let mut changed = bytes;
                changed[at] ^= 1 << bit;
                assert!(Record::decode(&changed).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn two_records_say_what_a_crash_can_have_left() {
        let torn = || Err(Malformed("torn"));
        let other = Ok(Record { identity: [8; 16], count: 5 });
        for (first, second, expected) in [
            (at(5), at(5), Some((5, false))),
            (at(6), at(5), Some((6, true))),
            (torn(), at(5), Some((5, true))),
            (at(6), torn(), Some((6, true))),
            (torn(), torn(), None),
            (at(5), at(6), None),
            (at(7), at(5), None),
            (at(5), other, None),
        ] {
            let chosen = choose(first, second).ok();
            let said = chosen.map(|Choice { record, unequal }| (record.count, unequal));
            assert_eq!(said, expected, "{first:?} {second:?}");
        }
    }
}
