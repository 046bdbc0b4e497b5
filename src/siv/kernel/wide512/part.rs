//! Up to four blocks of a text or of associated data, the last one filled up with zeros.

use core::arch::x86_64::*;

use super::vector::{Vector, load_part};
use crate::siv::kernel::block::Block;

/// One to four blocks at the upper end of a register, zeros below them; or none at all.
#[derive(Clone, Copy)]
pub(super) struct Part {
    vector: Vector,
    blocks: usize,
}

impl Part {
    /// Up to 64 bytes.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
    pub(super) fn load(bytes: &[u8]) -> Self {
        let blocks = bytes.len().div_ceil(16).min(4);
        // The halves are turned round; those that come in at the bottom are zeros.
        let shift = i64::try_from(8 - 2 * blocks).unwrap_or(0);
        let order = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
        let order = _mm512_sub_epi64(order, _mm512_set1_epi64(shift));
        Self { vector: _mm512_permutexvar_epi64(order, load_part(bytes)), blocks }
    }

    /// A single block.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
    pub(super) fn one(block: Block) -> Self {
        Self { vector: _mm512_maskz_broadcast_i32x4(0xF000, block), blocks: 1 }
    }

    /// With the hash of what comes before it added to its first block.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
    pub(super) fn after(self, before: Block) -> Vector {
        // Four bits of the mask for a block. Where there is none, nothing comes before it either.
        #[allow(clippy::cast_possible_truncation, reason = "it has 16 bits, or is no block's")]
        let mask = (0xF_u32 << (16 - 4 * self.blocks)) as u16;
        let first = _mm512_maskz_broadcast_i32x4(mask, before);
        _mm512_xor_si512(self.vector, first)
    }
}
