//! What one key and one nonce make: the key schedule that encrypts, and the powers of H that
//! authenticate. Kept block by block and spread over a register where used, which costs no more than
//! loading a whole one and leaves a quarter of the bytes to wipe.

use core::arch::x86_64::*;

use zeroize::Zeroize;

use super::field::{Products, multiply, square};
use super::part::Part;
use super::vector::{Vector, blocks, everywhere, sum};
use crate::siv::kernel::block::{self, Block, RoundKeys};

/// Wiped when dropped.
pub(super) struct Subkeys {
    pub(super) round: RoundKeys,
    /// H^32, H^28, ... H^4: what the vectors of a group are multiplied by.
    powers: [Block; 8],
    /// Half sums of two of them each.
    sums: [Block; 4],
    /// H^5, H^4, H^3, H^2: for the last four blocks before the lengths.
    last: Vector,
    h: Block,
}

impl Drop for Subkeys {
    #[inline]
    fn drop(&mut self) {
        self.round.zeroize();
        self.powers.zeroize();
        self.sums.zeroize();
        self.last.zeroize();
        self.h.zeroize();
    }
}

#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
fn spread<const PLACE: i32>(a: Vector) -> Vector {
    _mm512_shuffle_i64x2::<PLACE>(a, a)
}

impl Subkeys {
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
    pub(super) fn derive<const SITE: u8>(key: &RoundKeys, nonce: &[u8; 12]) -> Self {
        let derived = block::derive(key, nonce);
        let h = everywhere(derived.authentication);
        let h2 = square(h);
        let h4 = square(h2);
        let h8 = square(h4);
        // Four different products at once: H^5 = H^4 H, H^12 = H^8 H^4, H^3 = H^2 H, H^16.
        let a = _mm512_mask_blend_epi64(0b11_00_11_00, h4, h8);
        let a = _mm512_mask_blend_epi64(0b00_11_00_00, a, h2);
        let b = _mm512_mask_blend_epi64(0b11_00_00_00, h, h8);
        let b = _mm512_mask_blend_epi64(0b00_00_11_00, b, h4);
        let product = multiply(a, b);
        let last = _mm512_mask_blend_epi64(0b00_00_11_00, product, h4);
        let last = _mm512_mask_blend_epi64(0b11_00_00_00, last, h2);
        let h12 = spread::<0x55>(product);
        let h16 = spread::<0xFF>(product);
        // [H^4, H^8, H^12, H^16] times H^16.
        let c = _mm512_mask_blend_epi64(0b00_00_11_00, h4, h8);
        let c = _mm512_mask_blend_epi64(0b00_11_00_00, c, h12);
        let c = _mm512_mask_blend_epi64(0b11_00_00_00, c, h16);
        let upper = multiply(c, h16);
        let [h20, h24, h28, h32] = blocks(upper);
        let [h16, h12] = [_mm512_castsi512_si128(h16), _mm512_castsi512_si128(h12)];
        let [h8, h4] = [_mm512_castsi512_si128(h8), _mm512_castsi512_si128(h4)];
        let sums =
            |a: Block, b: Block| _mm_xor_si128(_mm_unpacklo_epi64(a, b), _mm_unpackhi_epi64(a, b));
        Self {
            round: block::expand(derived.encryption),
            powers: [h32, h28, h24, h20, h16, h12, h8, h4],
            sums: [sums(h32, h28), sums(h24, h20), sums(h16, h12), sums(h8, h4)],
            last,
            h: derived.authentication,
        }
    }
    /// A round key in all four places.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
    pub(super) fn round<const ROUND: usize>(&self) -> Vector {
        everywhere(self.round[ROUND])
    }

    /// Products of the vectors at 2 * PAIR and 2 * PAIR + 1 of a group, the running hash before it
    /// being the first of eight, with the powers that belong there.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
    pub(super) fn add<const PAIR: usize>(&self, to: Products, a: Vector, b: Vector) -> Products {
        let by = (everywhere(self.powers[2 * PAIR]), everywhere(self.powers[2 * PAIR + 1]));
        to.add(a, b, by, everywhere(self.sums[PAIR]))
    }

    /// The hash of four blocks, right-aligned, `before` being that of what comes before them.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
    pub(super) fn hash(&self, before: Block, part: Part) -> Block {
        sum(multiply(part.after(before), self.lowest_powers()))
    }

    /// The hash of the last four blocks.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
    pub(super) fn hash_vector(&self, vector: Vector) -> Block {
        sum(multiply(vector, self.lowest_powers()))
    }

    /// The hash of the last four blocks and of the lengths behind them.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
    pub(super) fn finish(&self, last: Vector, lengths: Block) -> Block {
        let of_lengths = multiply(_mm512_zextsi128_si512(lengths), everywhere(self.h));
        sum(_mm512_xor_si512(multiply(last, self.last), of_lengths))
    }

    // H^4, H^3, H^2, H.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
    fn lowest_powers(&self) -> Vector {
        _mm512_alignr_epi64::<2>(everywhere(self.h), self.last)
    }
}
