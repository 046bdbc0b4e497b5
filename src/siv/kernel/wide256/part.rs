//! Up to two blocks of a text or of associated data, the last one filled up with zeros.

use core::arch::x86_64::*;

use super::vector::{Vector, load, pair};
use crate::siv::kernel::block::Block;

/// One or two blocks at the upper end of a register, zeros below them; or none at all.
#[derive(Clone, Copy)]
pub(super) struct Part {
    vector: Vector,
    blocks: usize,
}

impl Part {
    /// Up to 32 bytes.
    #[inline]
    #[target_feature(enable = "vaes,vpclmulqdq")]
    pub(super) fn load(bytes: &[u8]) -> Self {
        let blocks = bytes.len().div_ceil(16).min(2);
        let mut copy = [0; 32];
        for (place, byte) in copy.iter_mut().skip(32 - 16 * blocks).zip(bytes) {
            *place = *byte;
        }
        Self { vector: load(&copy), blocks }
    }

    /// A single block.
    #[inline]
    #[target_feature(enable = "vaes,vpclmulqdq")]
    pub(super) fn one(block: Block) -> Self {
        Self { vector: pair(_mm_setzero_si128(), block), blocks: 1 }
    }

    /// With the hash of what comes before it added to its first block.
    #[inline]
    #[target_feature(enable = "vaes,vpclmulqdq")]
    pub(super) fn after(self, before: Block) -> Vector {
        let zero = _mm_setzero_si128();
        let first = match self.blocks {
            0 => pair(zero, zero),
            1 => pair(zero, before),
            _ => pair(before, zero),
        };
        _mm256_xor_si256(self.vector, first)
    }
}
