//! Keys and values, made from the number of the record: the same for every engine.

/// Small records: 24-byte keys in random order, 150-byte values, as in redb's own benchmark.
pub(crate) const KEY_BYTES: usize = 24;
pub(crate) const VALUE_BYTES: usize = 150;

const PAGE_BYTES: usize = 4096;

/// A bijection that scatters: the output function of SplitMix64.
pub(crate) fn scatter(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn fill(bytes: &mut [u8], seed: u64) {
    for (index, part) in (0..).zip(bytes.chunks_mut(8)) {
        let random = scatter(seed.wrapping_add(index)).to_le_bytes();
        for (byte, random) in part.iter_mut().zip(random) {
            *byte = random;
        }
    }
}

pub(crate) fn key(record: u64) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    fill(&mut key, scatter(record));
    key
}

pub(crate) fn value(record: u64) -> [u8; VALUE_BYTES] {
    let mut value = [0; VALUE_BYTES];
    fill(&mut value, !scatter(record));
    value
}

pub(crate) fn add(checksum: u64, value: &[u8]) -> u64 {
    let first = value.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    checksum.rotate_left(5).wrapping_add(first)
}

/// Large values: random bytes of which the first eight of each page tell the number. Filled once for
/// many values, so that what is timed is the engine.
#[derive(Debug)]
pub(crate) struct LargeValue(Vec<u8>);

impl LargeValue {
    pub(crate) fn new(size: usize) -> Self {
        let mut bytes = vec![0; size];
        fill(&mut bytes, 1);
        Self(bytes)
    }

    pub(crate) fn number(&mut self, number: u64) -> &[u8] {
        for (page, bytes) in (0..).zip(self.0.chunks_mut(PAGE_BYTES)) {
            if let Some(first) = bytes.first_chunk_mut::<8>() {
                *first = scatter(number.rotate_left(32) ^ page).to_le_bytes();
            }
        }
        &self.0
    }
}

/// Something of each page of a large value.
pub(crate) fn add_pages(checksum: u64, value: &[u8]) -> u64 {
    value.chunks(PAGE_BYTES).fold(checksum, add)
}
