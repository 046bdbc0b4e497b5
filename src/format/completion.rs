//! The record of a finished key rotation (docs/keys.md, "Rotation records"): the header keeps the
//! last eight, the newest last.

use crate::units::Epoch;
use crate::wire::{Malformed, Reader, Writer};

/// Rotation records in a header.
pub(crate) const COMPLETIONS: usize = 8;
const COMPLETION_SIZE: usize = 64;
/// Bytes of all of them.
pub(crate) const COMPLETIONS_SIZE: usize = COMPLETIONS * COMPLETION_SIZE;

/// A finished rotation: nothing in the file names the epochs up to `from` any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Completion {
    /// The newest of the data keys that were removed.
    pub from: Epoch,
    /// The data key that replaced it.
    pub to: Epoch,
    /// When the new data key was made, Unix seconds by this machine's clock.
    pub begun: u64,
    /// When the old one was removed, Unix seconds by this machine's clock.
    pub ended: u64,
    /// Pages that the rotation sealed anew; others were written by the application meanwhile.
    pub pages: u64,
    /// Pages that did not open, as a crash leaves free pages behind, and were given up: reading
    /// one is an error, as it was before.
    pub lost: u64,
}

impl Completion {
    fn encode(&self, writer: &mut Writer<'_>) {
        writer.u32(self.from.0);
        writer.u32(self.to.0);
        for field in [self.begun, self.ended, self.pages, self.lost] {
            writer.u64(field);
        }
        writer.skip(24);
    }

    fn decode(bytes: &[u8; COMPLETION_SIZE]) -> Result<Option<Self>, Malformed> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let mut reader = Reader::new(bytes);
        let (from, to) = (Epoch(reader.u32()?), Epoch(reader.u32()?));
        if from.0 == 0 || to <= from {
            return Err(Malformed("a rotation record that goes nowhere"));
        }
        let [begun, ended, pages, lost] =
            [reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?];
        reader.zeros(24)?;
        reader.finish()?;
        Ok(Some(Self { from, to, begun, ended, pages, lost }))
    }
}

/// The last eight records, packed from the front.
pub(crate) fn encode_all(completions: &[Completion], writer: &mut Writer<'_>) {
    for place in 0..COMPLETIONS {
        match completions.get(place) {
            Some(completion) => completion.encode(writer),
            None => writer.skip(COMPLETION_SIZE),
        }
    }
}

/// # Errors
/// [`Malformed`], for bytes that no encoder writes.
pub(crate) fn decode_all(reader: &mut Reader<'_>) -> Result<Vec<Completion>, Malformed> {
    let (mut completions, mut ended) = (Vec::new(), false);
    for _ in 0..COMPLETIONS {
        match Completion::decode(&reader.array()?)? {
            None => ended = true,
            Some(_) if ended => return Err(Malformed("a gap in the rotation records")),
            Some(completion) => completions.push(completion),
        }
    }
    Ok(completions)
}

/// Adds a record; the oldest of nine goes.
pub(crate) fn push(completions: &mut Vec<Completion>, completion: Completion) {
    completions.push(completion);
    if completions.len() > COMPLETIONS {
        completions.remove(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completion(number: u32) -> Completion {
        let (from, to) = (Epoch(number), Epoch(number + 1));
        Completion { from, to, begun: 1, ended: 2, pages: 3, lost: 4 }
    }

    #[test]
    fn the_last_eight_are_kept_and_come_back() {
        let mut kept = Vec::new();
        (1..=10).for_each(|number| push(&mut kept, completion(number)));
        assert_eq!(kept, (3..=10).map(completion).collect::<Vec<_>>());
        kept.truncate(5);
        let mut bytes = [0; COMPLETIONS_SIZE];
        let mut writer = Writer::new(&mut bytes);
        encode_all(&kept, &mut writer);
        writer.finish();
        assert_eq!(decode_all(&mut Reader::new(&bytes)), Ok(kept));
        bytes[4 * 64 + 63] = 1;
        assert!(decode_all(&mut Reader::new(&bytes)).is_err(), "reserved");
        bytes[4 * 64..].fill(0);
        bytes[6 * 64] = 1;
        bytes[6 * 64 + 4] = 2;
        assert!(decode_all(&mut Reader::new(&bytes)).is_err(), "a gap");
    }

    #[test]
    fn a_rotation_goes_forward() {
        let mut bytes = [0; COMPLETIONS_SIZE];
        (bytes[0], bytes[4]) = (2, 2);
        assert!(decode_all(&mut Reader::new(&bytes)).is_err());
    }
}
