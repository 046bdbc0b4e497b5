//! For the fuzzer: whether a decoded header encodes to the bytes it came from. A decoder that
//! overlooks a byte would let two different headers pass for one.

use super::{DATA_MAC_AT, UnverifiedHeader};
use crate::layout::HEADER_COPY_SIZE;

/// Fresh for each write, and so kept by no decoded header.
const SALT_AT: usize = 80;

impl UnverifiedHeader {
    /// Where the MAC stands: all before it are fields.
    pub(crate) const MAC_AT: usize = DATA_MAC_AT;

    /// Whether the fields, put into bytes again, are the bytes they came from.
    pub(crate) fn encodes_to_itself(&self) -> bool {
        let salt = self.bytes.get(SALT_AT..).and_then(|rest| rest.first_chunk());
        let mut again = Box::new([0; HEADER_COPY_SIZE]);
        self.header.encode_fields(self.copy, salt.unwrap_or(&[0; 32]), &mut again);
        again.get(..DATA_MAC_AT) == self.bytes.get(..DATA_MAC_AT)
    }
}
