//! Subkeys of eight messages at a time, each in its quarter of a register: one after the other each
//! step would wait for the one before it.

use core::arch::x86_64::*;

use super::field::{half_sums, multiply, square};
use super::schedule::expand;
use super::subkeys::Subkeys;
use super::vector::{Vector, everywhere, store_blocks};
use crate::siv::kernel::block::{self, Block, RoundKeys};

/// Messages whose subkeys are derived at a time.
pub(super) const EIGHT: usize = 8;

/// The subkeys of eight messages, value by value: those of four are written at once.
pub(super) struct Eight {
    round: [[Block; EIGHT]; 15],
    powers: [[Block; EIGHT]; 8],
    sums: [[Block; EIGHT]; 4],
    last: [Vector; EIGHT],
    h: [Block; EIGHT],
}

impl Eight {
    /// Room for them.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
    pub(super) fn zeros() -> Self {
        let zero = _mm_setzero_si128();
        Self {
            round: [[zero; EIGHT]; 15],
            powers: [[zero; EIGHT]; 8],
            sums: [[zero; EIGHT]; 4],
            last: [_mm512_setzero_si512(); EIGHT],
            h: [zero; EIGHT],
        }
    }

    /// Those of one message.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
    pub(super) fn copy_to(&self, message: usize, room: &mut Subkeys) {
        let message = message % EIGHT;
        for (room, keys) in room.round.iter_mut().zip(&self.round) {
            *room = everywhere(keys[message]);
        }
        for (room, powers) in room.powers.iter_mut().zip(&self.powers) {
            *room = everywhere(powers[message]);
        }
        for (room, sums) in room.sums.iter_mut().zip(&self.sums) {
            *room = everywhere(sums[message]);
        }
        room.last = self.last[message];
        room.h = everywhere(self.h[message]);
    }
}

// The authentication keys and the halves of the encryption keys of four messages.
struct Four {
    h: Vector,
    encryption: [Vector; 2],
}

/// Derives the subkeys of eight messages.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(super) fn derive_eight<const SITE: u8>(
    key: &RoundKeys,
    nonces: [&[u8; 12]; EIGHT],
    room: &mut Eight,
) {
    let [a, b, c, d, e, f, g, h] = nonces;
    let [low, high] = derive(key, [side_by_side([a, b, c, d]), side_by_side([e, f, g, h])]);
    fill::<0>(low, room);
    fill::<1>(high, room);
}

// Nonces behind four zero bytes each.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
fn side_by_side(nonces: [&[u8; 12]; 4]) -> Vector {
    let [a, b, c, d] = nonces;
    let vector = _mm512_castsi128_si512(block::shifted_nonce(a));
    let vector = _mm512_inserti32x4::<1>(vector, block::shifted_nonce(b));
    let vector = _mm512_inserti32x4::<2>(vector, block::shifted_nonce(c));
    _mm512_inserti32x4::<3>(vector, block::shifted_nonce(d))
}

// derive_keys of RFC 8452, six blocks for each of eight nonces.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
fn derive(key: &RoundKeys, nonces: [Vector; 2]) -> [Four; 2] {
    let mut state = [nonces; 6];
    for (pair, counter) in state.iter_mut().zip(0..) {
        for vector in pair {
            let counter = _mm512_maskz_set1_epi32(0x1111, counter);
            let counter = _mm512_or_si512(*vector, counter);
            *vector = _mm512_xor_si512(counter, everywhere(key[0]));
        }
    }
    for key in &key[1..14] {
        let key = everywhere(*key);
        for vector in state.as_flattened_mut() {
            *vector = _mm512_aesenc_epi128(*vector, key);
        }
    }
    for vector in state.as_flattened_mut() {
        *vector = _mm512_aesenclast_epi128(*vector, everywhere(key[14]));
    }
    let [a, b, c, d, e, f] = state;
    macro_rules! four {
        ($half:literal) => {
            Four {
                h: _mm512_unpacklo_epi64(a[$half], b[$half]),
                encryption: [
                    _mm512_unpacklo_epi64(c[$half], d[$half]),
                    _mm512_unpacklo_epi64(e[$half], f[$half]),
                ],
            }
        };
    }
    [four!(0), four!(1)]
}

#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
fn fill<const HALF: usize>(derived: Four, room: &mut Eight) {
    let h = derived.h;
    let h2 = square(h);
    let h4 = square(h2);
    let h8 = square(h4);
    let h16 = square(h8);
    let h3 = multiply(h2, h);
    let h5 = multiply(h4, h);
    let h12 = multiply(h8, h4);
    let h20 = multiply(h16, h4);
    let h24 = square(h12);
    let h28 = multiply(h16, h12);
    let h32 = square(h16);
    store_half::<HALF>(&mut room.h, h);
    for (room, power) in room.powers.iter_mut().zip([h32, h28, h24, h20, h16, h12, h8, h4]) {
        store_half::<HALF>(room, power);
    }
    let pairs = [(h32, h28), (h24, h20), (h16, h12), (h8, h4)];
    for (room, (a, b)) in room.sums.iter_mut().zip(pairs) {
        store_half::<HALF>(room, half_sums(a, b));
    }
    for (room, last) in room.last[4 * HALF..].iter_mut().zip(transposed([h5, h4, h3, h2])) {
        *room = last;
    }
    for (room, key) in room.round.iter_mut().zip(expand(derived.encryption)) {
        store_half::<HALF>(room, key);
    }
}

#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
fn store_half<const HALF: usize>(room: &mut [Block; EIGHT], vector: Vector) {
    store_blocks(&mut room.as_chunks_mut().0[HALF], vector);
}

// From four powers with a block for each message to four messages with a block for each power.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
fn transposed(powers: [Vector; 4]) -> [Vector; 4] {
    let [a, b, c, d] = powers;
    let ab_low = _mm512_shuffle_i64x2::<0x44>(a, b);
    let ab_high = _mm512_shuffle_i64x2::<0xEE>(a, b);
    let cd_low = _mm512_shuffle_i64x2::<0x44>(c, d);
    let cd_high = _mm512_shuffle_i64x2::<0xEE>(c, d);
    [
        _mm512_shuffle_i64x2::<0x88>(ab_low, cd_low),
        _mm512_shuffle_i64x2::<0xDD>(ab_low, cd_low),
        _mm512_shuffle_i64x2::<0x88>(ab_high, cd_high),
        _mm512_shuffle_i64x2::<0xDD>(ab_high, cd_high),
    ]
}
