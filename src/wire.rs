//! Floor 1: little-endian fields out of and into bytes. A reader never reads past its end, a
//! reserved range must be zero, and nothing here panics on any input.
#![deny(clippy::arithmetic_side_effects)]

use std::mem;

/// What is wrong with bytes that don't decode: plain words for an error message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Takes fields from the front of a byte slice.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(Malformed("too short"))?;
        self.rest = tail;
        Ok(*head)
    }

    pub(crate) fn slice(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.rest.split_at_checked(len).ok_or(Malformed("too short"))?;
        self.rest = tail;
        Ok(head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    /// A reserved range: refused unless every byte is zero, so that a later version may use it.
    pub(crate) fn zeros(&mut self, len: usize) -> Result<(), Malformed> {
        if self.slice(len)?.iter().all(|byte| *byte == 0) {
            Ok(())
        } else {
            Err(Malformed("reserved bytes are not zero"))
        }
    }

    /// All that is left.
    #[cfg(feature = "tpm")]
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// The end of the record; anything left over is a mistake in the decoder's own table.
    pub(crate) fn finish(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed("too long")) }
    }
}

/// Puts fields into a zeroed buffer, front to back.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    rest: &'a mut [u8],
}

impl<'a> Writer<'a> {
    pub(crate) fn new(zeroed: &'a mut [u8]) -> Self {
        Self { rest: zeroed }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        match mem::take(&mut self.rest).split_at_mut_checked(bytes.len()) {
            Some((head, tail)) => {
                head.copy_from_slice(bytes);
                self.rest = tail;
            }
            None => debug_assert!(false, "the record is longer than its buffer"),
        }
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    /// Leaves a reserved range as it is: zero.
    pub(crate) fn skip(&mut self, len: usize) {
        match mem::take(&mut self.rest).split_at_mut_checked(len) {
            Some((_, tail)) => self.rest = tail,
            None => debug_assert!(false, "the record is longer than its buffer"),
        }
    }

    /// The end of the record: the buffer must be full.
    pub(crate) fn finish(self) {
        debug_assert!(self.rest.is_empty(), "the record is shorter than its buffer");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_they_were_put() {
        let mut buffer = [0; 20];
        let mut writer = Writer::new(&mut buffer);
        writer.u8(7);
        writer.u16(0x0102);
        writer.skip(5);
        writer.u32(0xAABB_CCDD);
        writer.u64(u64::MAX);
        writer.finish();
        assert_eq!(buffer[1..3], [2, 1], "little-endian");

        let mut reader = Reader::new(&buffer);
        assert_eq!(reader.u8(), Ok(7));
        assert_eq!(reader.u16(), Ok(0x0102));
        assert_eq!(reader.zeros(5), Ok(()));
        assert_eq!(reader.u32(), Ok(0xAABB_CCDD));
        assert_eq!(reader.u64(), Ok(u64::MAX));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn a_reader_stops_at_the_end() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u32(), Err(Malformed("too short")));
        assert_eq!(reader.slice(4), Err(Malformed("too short")));
        assert_eq!(reader.zeros(1), Err(Malformed("reserved bytes are not zero")));
    }
}
