//! XXH3-128 with seed 0, the checksum that redb keeps of every tree page beside the pointer to it.
//! No security rests on it: bytes are authentic before they come here. It tells the version of a
//! page that a parent points to from an authentic one of another time, so that a tree that is read
//! from an older root record never mixes two commits.
//!
//! Written from the specification (<https://github.com/Cyan4973/xxHash>), scalar, for inputs of 4
//! bytes and more: no tree page has fewer in use.

const SECRET: [u8; 192] = [
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
    0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
    0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
    0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
    0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
    0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
    0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
    0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
    0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
    0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
];
/// The primes that multiply 32 bits, and those that multiply 64.
const P32: [u64; 3] = [0x9E37_79B1, 0x85EB_CA77, 0xC2B2_AE3D];
const P64: [u64; 5] = [
    0x9E37_79B1_85EB_CA87,
    0xC2B2_AE3D_27D4_EB4F,
    0x1656_67B1_9E37_79F9,
    0x85EB_CA77_C2B2_AE63,
    0x27D4_EB2F_1656_67C5,
];
const MIX: u64 = 0x9FB2_1C65_1E98_DF25;
const STRIPE: usize = 64;
const STRIPES_PER_BLOCK: usize = (SECRET.len() - STRIPE) / 8;

/// xxh3-128(bytes) as one number; `None` for fewer than 4 bytes.
pub(super) fn checksum(bytes: &[u8]) -> Option<u128> {
    Some(match bytes.len() {
        0..4 => return None,
        4..=8 => of_4_to_8(bytes),
        9..=16 => of_9_to_16(bytes),
        17..=128 => of_17_to_128(bytes),
        129..=240 => of_129_to_240(bytes),
        _ => of_many(bytes),
    })
}

// Every caller stays inside: the zero for a read beyond the end is never seen.
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u64::from_le_bytes(*word))
}

fn u32_at(bytes: &[u8], at: usize) -> u64 {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
    word.map_or(0, |word| u64::from(u32::from_le_bytes(*word)))
}

fn join(low: u64, high: u64) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}

fn split(wide: u128) -> (u64, u64) {
    let low = u64::try_from(wide & u128::from(u64::MAX)).unwrap_or(0);
    (low, u64::try_from(wide >> 64).unwrap_or(0))
}

fn product(a: u64, b: u64) -> (u64, u64) {
    split(u128::from(a).wrapping_mul(u128::from(b)))
}

fn folded(a: u64, b: u64) -> u64 {
    let (low, high) = product(a, b);
    low ^ high
}

fn avalanche(mut x: u64) -> u64 {
    x ^= x >> 37;
    x = x.wrapping_mul(0x1656_6791_9E37_79F9);
    x ^ (x >> 32)
}

fn of_4_to_8(bytes: &[u8]) -> u128 {
    let len = bytes.len() as u64;
    let word = u32_at(bytes, 0) | u32_at(bytes, bytes.len().saturating_sub(4)) << 32;
    let keyed = word ^ u64_at(&SECRET, 16) ^ u64_at(&SECRET, 24);
    let (mut low, mut high) = product(keyed, P64[0].wrapping_add(len << 2));
    high = high.wrapping_add(low << 1);
    low ^= high >> 3;
    low ^= low >> 35;
    low = low.wrapping_mul(MIX);
    low ^= low >> 28;
    join(low, avalanche(high))
}

fn of_9_to_16(bytes: &[u8]) -> u128 {
    let len = bytes.len() as u64;
    let first = u64_at(bytes, 0);
    let last = u64_at(bytes, bytes.len().saturating_sub(8));
    let flip_low = u64_at(&SECRET, 32) ^ u64_at(&SECRET, 40);
    let flipped = last ^ u64_at(&SECRET, 48) ^ u64_at(&SECRET, 56);
    let (low, high) = product(first ^ last ^ flip_low, P64[0]);
    let low = low.wrapping_add(len.wrapping_sub(1) << 54);
    let high = high
        .wrapping_add(flipped)
        .wrapping_add((flipped & 0xFFFF_FFFF).wrapping_mul(P32[1].wrapping_sub(1)));
    let (low, carried) = product(low ^ high.swap_bytes(), P64[1]);
    join(avalanche(low), avalanche(carried.wrapping_add(high.wrapping_mul(P64[1]))))
}

/// Two running sums, over 32 bytes at a time.
#[derive(Clone, Copy)]
struct Sums {
    low: u64,
    high: u64,
}

impl Sums {
    fn start(bytes: &[u8]) -> Self {
        Self { low: P64[0].wrapping_mul(bytes.len() as u64), high: 0 }
    }

    fn mix(&mut self, bytes: &[u8], first: usize, second: usize, secret: usize) {
        let sixteen = |at: usize, secret: usize| {
            let (a, b) = (u64_at(bytes, at), u64_at(bytes, at + 8));
            folded(a ^ u64_at(&SECRET, secret), b ^ u64_at(&SECRET, secret + 8))
        };
        let plain = |at: usize| u64_at(bytes, at).wrapping_add(u64_at(bytes, at + 8));
        self.low = self.low.wrapping_add(sixteen(first, secret)) ^ plain(second);
        self.high = self.high.wrapping_add(sixteen(second, secret + 16)) ^ plain(first);
    }

    fn finish(self, bytes: &[u8]) -> u128 {
        let len = bytes.len() as u64;
        let high = self
            .low
            .wrapping_mul(P64[0])
            .wrapping_add(self.high.wrapping_mul(P64[3]))
            .wrapping_add(len.wrapping_mul(P64[1]));
        let low = avalanche(self.low.wrapping_add(self.high));
        join(low, avalanche(high).wrapping_neg())
    }
}

fn of_17_to_128(bytes: &[u8]) -> u128 {
    let len = bytes.len();
    let mut sums = Sums::start(bytes);
    // From the middle outwards: 16 bytes from each end, as many times as there are bytes for.
    for pair in (0..4).rev().filter(|pair| len > 32 * pair) {
        sums.mix(bytes, 16 * pair, len.saturating_sub(16 * (pair + 1)), 32 * pair);
    }
    sums.finish(bytes)
}

fn of_129_to_240(bytes: &[u8]) -> u128 {
    let len = bytes.len();
    let mut sums = Sums::start(bytes);
    for at in 0..4 {
        sums.mix(bytes, 32 * at, 32 * at + 16, 32 * at);
    }
    sums = Sums { low: avalanche(sums.low), high: avalanche(sums.high) };
    for at in 4..len / 32 {
        sums.mix(bytes, 32 * at, 32 * at + 16, 3 + 32 * (at - 4));
    }
    sums.mix(bytes, len.saturating_sub(16), len.saturating_sub(32), 136 - 33);
    sums.finish(bytes)
}

fn of_many(bytes: &[u8]) -> u128 {
    let mut sums = [P32[2], P64[0], P64[1], P64[2], P64[3], P32[1], P64[4], P32[0]];
    // The last 64 bytes come at the end, whole, whatever of them came before.
    let before_last = bytes.split_last().map_or(bytes, |(_, before_last)| before_last);
    for (number, stripe) in before_last.as_chunks::<STRIPE>().0.iter().enumerate() {
        let place = number % STRIPES_PER_BLOCK;
        accumulate(&mut sums, stripe, 8 * place);
        if place + 1 == STRIPES_PER_BLOCK {
            scramble(&mut sums);
        }
    }
    if let Some(stripe) = bytes.last_chunk::<STRIPE>() {
        accumulate(&mut sums, stripe, SECRET.len() - STRIPE - 7);
    }
    let len = bytes.len() as u64;
    let low = merged(&sums, 11, P64[0].wrapping_mul(len));
    let high = merged(&sums, SECRET.len() - STRIPE - 11, !P64[1].wrapping_mul(len));
    join(low, high)
}

fn accumulate(sums: &mut [u64; 8], stripe: &[u8; STRIPE], secret: usize) {
    let mut words = [0; 8];
    for (at, word) in words.iter_mut().enumerate() {
        *word = u64_at(stripe, 8 * at);
    }
    for (at, (sum, word)) in sums.iter_mut().zip(words).enumerate() {
        let keyed = word ^ u64_at(&SECRET, secret + 8 * at);
        *sum = sum.wrapping_add((keyed & 0xFFFF_FFFF).wrapping_mul(keyed >> 32));
    }
    // Each word goes into its neighbour's sum as it is.
    for (pair, [first, second]) in
        sums.as_chunks_mut::<2>().0.iter_mut().zip(words.as_chunks::<2>().0)
    {
        let [even, odd] = pair;
        *even = even.wrapping_add(*second);
        *odd = odd.wrapping_add(*first);
    }
}

fn scramble(sums: &mut [u64; 8]) {
    for (at, sum) in sums.iter_mut().enumerate() {
        *sum ^= *sum >> 47;
        *sum ^= u64_at(&SECRET, SECRET.len() - STRIPE + 8 * at);
        *sum = sum.wrapping_mul(P32[0]);
    }
}

fn merged(sums: &[u64; 8], secret: usize, init: u64) -> u64 {
    let mut result = init;
    for (at, [first, second]) in sums.as_chunks::<2>().0.iter().enumerate() {
        let (a, b) = (u64_at(&SECRET, secret + 16 * at), u64_at(&SECRET, secret + 16 * at + 8));
        result = result.wrapping_add(folded(first ^ a, second ^ b));
    }
    avalanche(result)
}
