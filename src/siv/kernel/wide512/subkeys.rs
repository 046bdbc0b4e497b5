//! What one key and one nonce make: the key schedule that encrypts, and the powers of H that
//! authenticate, each spread over a register.

use core::arch::x86_64::*;

use super::field::{Products, half_sums, multiply, square};
use super::part::Part;
use super::schedule::expand;
use super::vector::{Vector, everywhere, sum};
use crate::siv::kernel::block::{self, Block, RoundKeys};

/// The subkeys of one message.
pub(super) struct Subkeys {
    pub(super) round: [Vector; 15],
    /// H^32, H^28, ... H^4: what the vectors of a group are multiplied by.
    pub(super) powers: [Vector; 8],
    /// Half sums of two of them each.
    pub(super) sums: [Vector; 4],
    /// H^5, H^4, H^3, H^2: for the last four blocks before the lengths.
    pub(super) last: Vector,
    pub(super) h: Vector,
}

#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
fn spread<const PLACE: i32>(a: Vector) -> Vector {
    _mm512_shuffle_i64x2::<PLACE>(a, a)
}

impl Subkeys {
    /// Room for subkeys.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
    pub(super) fn zeros() -> Self {
        let zero = _mm512_setzero_si512();
        Self { round: [zero; 15], powers: [zero; 8], sums: [zero; 4], last: zero, h: zero }
    }

    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
    pub(super) fn derive<const SITE: u8>(key: &RoundKeys, nonce: &[u8; 12]) -> Self {
        let derived = block::derive(key, nonce);
        let h = everywhere(derived.authentication);
        let h2 = square(h);
        let h4 = square(h2);
        let squares = [h, h2, h4, square(h4)];
        let lower = Lower::of(squares);
        let upper = lower.upper();
        let [low, high] = derived.encryption;
        Self::of_parts(expand([everywhere(low), everywhere(high)]), squares, &lower, upper)
    }

    /// From the key schedule, H, H^2, H^4 and H^8, and what follows from those.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
    pub(super) fn of_parts(
        round: [Vector; 15],
        squares: [Vector; 4],
        lower: &Lower,
        upper: Vector,
    ) -> Self {
        let [h, _, h4, h8] = squares;
        let Lower { h12, h16, last, .. } = *lower;
        let h20 = spread::<0x00>(upper);
        let h24 = spread::<0x55>(upper);
        let h28 = spread::<0xAA>(upper);
        let h32 = spread::<0xFF>(upper);
        Self {
            round,
            powers: [h32, h28, h24, h20, h16, h12, h8, h4],
            sums: [
                half_sums(h32, h28),
                half_sums(h24, h20),
                half_sums(h16, h12),
                half_sums(h8, h4),
            ],
            last,
            h,
        }
    }

    /// Products of the vectors at 2 * PAIR and 2 * PAIR + 1 of a group, the running hash before it
    /// being the first of eight, with the powers that belong there.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
    pub(super) fn add<const PAIR: usize>(&self, to: Products, a: Vector, b: Vector) -> Products {
        let by = (self.powers[2 * PAIR], self.powers[2 * PAIR + 1]);
        to.add(a, b, by, self.sums[PAIR])
    }

    /// The hash of a part, `before` being that of what comes before it.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
    pub(super) fn hash(&self, before: Block, part: Part) -> Block {
        self.hash_vector(part.after(before))
    }

    /// The hash of the last four blocks.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
    pub(super) fn hash_vector(&self, vector: Vector) -> Block {
        // H^4, H^3, H^2, H.
        let powers = _mm512_alignr_epi64::<2>(self.h, self.last);
        sum(multiply(vector, powers))
    }

    /// The hash of the last four blocks and of the lengths behind them.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
    pub(super) fn finish(&self, last: Vector, lengths: Block) -> Block {
        let of_lengths = multiply(_mm512_zextsi128_si512(lengths), self.h);
        sum(_mm512_xor_si512(multiply(last, self.last), of_lengths))
    }

    /// The tag of a hash and a nonce.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
    pub(super) fn tag(&self, hash: Block, nonce: &[u8; 12]) -> Block {
        let mut state = block::to_encrypt(hash, nonce);
        let [first, middle @ .., last] = &self.round;
        state = _mm_xor_si128(state, _mm512_castsi512_si128(*first));
        for key in middle {
            state = _mm_aesenc_si128(state, _mm512_castsi512_si128(*key));
        }
        _mm_aesenclast_si128(state, _mm512_castsi512_si128(*last))
    }
}

/// The powers of H that four products at once make of its squares.
pub(super) struct Lower {
    /// H^4, H^8, H^12, H^16.
    quartet: Vector,
    /// H^12 and H^16 in all places.
    h12: Vector,
    h16: Vector,
    /// H^5, H^4, H^3, H^2.
    last: Vector,
}

impl Lower {
    /// H^5 = H^4 H, H^12 = H^8 H^4, H^3 = H^2 H and H^16 = H^8 H^8, of H, H^2, H^4 and H^8.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
    pub(super) fn of(squares: [Vector; 4]) -> Self {
        let [h, h2, h4, h8] = squares;
        let a = _mm512_mask_blend_epi64(0b11_00_11_00, h4, h8);
        let a = _mm512_mask_blend_epi64(0b00_11_00_00, a, h2);
        let b = _mm512_mask_blend_epi64(0b11_00_00_00, h, h8);
        let b = _mm512_mask_blend_epi64(0b00_00_11_00, b, h4);
        let product = multiply(a, b);
        let last = _mm512_mask_blend_epi64(0b00_00_11_00, product, h4);
        let last = _mm512_mask_blend_epi64(0b11_00_00_00, last, h2);
        let h12 = spread::<0x55>(product);
        let h16 = spread::<0xFF>(product);
        let quartet = _mm512_mask_blend_epi64(0b00_00_11_00, h4, h8);
        let quartet = _mm512_mask_blend_epi64(0b00_11_00_00, quartet, h12);
        let quartet = _mm512_mask_blend_epi64(0b11_00_00_00, quartet, h16);
        Self { quartet, h12, h16, last }
    }

    /// H^20, H^24, H^28, H^32.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
    pub(super) fn upper(&self) -> Vector {
        multiply(self.quartet, self.h16)
    }
}
