//! What one key and one nonce make: the key schedule that encrypts, and the powers of H that
//! authenticate. Kept block by block and spread over a register where used.

use core::arch::x86_64::*;

use super::field::{Products, multiply, square};
use super::part::Part;
use super::vector::{Vector, blocks, everywhere, pair, sum};
use crate::siv::kernel::block::{self, Block, RoundKeys};

/// The subkeys of one message.
pub(super) struct Subkeys {
    pub(super) round: RoundKeys,
    /// H^16, H^14, ... H^2: what the vectors of a group are multiplied by.
    powers: [Block; 8],
    /// Half sums of two of them each.
    sums: [Block; 4],
    /// H^3 and H^2: for the last two blocks before the lengths.
    last: Vector,
    h: Block,
}

impl Subkeys {
    #[inline]
    #[target_feature(enable = "vaes,vpclmulqdq")]
    pub(super) fn derive<const SITE: u8>(key: &RoundKeys, nonce: &[u8; 12]) -> Self {
        let derived = block::derive(key, nonce);
        let h = derived.authentication;
        let [h2, _] = blocks(square(everywhere(h)));
        let [h4, h3] = blocks(multiply(pair(h2, h), everywhere(h2)));
        let [h8, h6] = blocks(multiply(pair(h4, h2), everywhere(h4)));
        let [h10, h12] = blocks(multiply(pair(h2, h4), everywhere(h8)));
        let [h14, h16] = blocks(multiply(pair(h6, h8), everywhere(h8)));
        let sums =
            |a: Block, b: Block| _mm_xor_si128(_mm_unpacklo_epi64(a, b), _mm_unpackhi_epi64(a, b));
        Self {
            round: block::expand(derived.encryption),
            powers: [h16, h14, h12, h10, h8, h6, h4, h2],
            sums: [sums(h16, h14), sums(h12, h10), sums(h8, h6), sums(h4, h2)],
            last: pair(h3, h2),
            h,
        }
    }

    /// A round key in both places.
    #[inline]
    #[target_feature(enable = "vaes,vpclmulqdq")]
    pub(super) fn round<const ROUND: usize>(&self) -> Vector {
        everywhere(self.round[ROUND])
    }

    /// Products of the vectors at 2 * PAIR and 2 * PAIR + 1 of a group, the running hash before it
    /// being the first of eight, with the powers that belong there.
    #[inline]
    #[target_feature(enable = "vaes,vpclmulqdq")]
    pub(super) fn add<const PAIR: usize>(&self, to: Products, a: Vector, b: Vector) -> Products {
        let by = (everywhere(self.powers[2 * PAIR]), everywhere(self.powers[2 * PAIR + 1]));
        to.add(a, b, by, everywhere(self.sums[PAIR]))
    }

    /// The hash of a part, `before` being that of what comes before it.
    #[inline]
    #[target_feature(enable = "vaes,vpclmulqdq")]
    pub(super) fn hash(&self, before: Block, part: Part) -> Block {
        self.hash_vector(part.after(before))
    }

    /// The hash of the last two blocks.
    #[inline]
    #[target_feature(enable = "vaes,vpclmulqdq")]
    pub(super) fn hash_vector(&self, vector: Vector) -> Block {
        let [_, h2] = blocks(self.last);
        sum(multiply(vector, pair(h2, self.h)))
    }

    /// The hash of the last two blocks and of the lengths behind them.
    #[inline]
    #[target_feature(enable = "vaes,vpclmulqdq")]
    pub(super) fn finish(&self, last: Vector, lengths: Block) -> Block {
        let of_lengths = multiply(_mm256_zextsi128_si256(lengths), everywhere(self.h));
        sum(_mm256_xor_si256(multiply(last, self.last), of_lengths))
    }
}
