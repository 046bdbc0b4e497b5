//! Two blocks in a register: loads, stores, and a barrier for the compiler. With the vector intrinsics safe inside functions that
//! enable their instruction sets, this is all that is unsafe about the kernel itself.
#![allow(unsafe_code, reason = "vectors are loaded and stored through pointers")]

use core::arch::x86_64::*;

use crate::siv::kernel::block::Block;

/// Two blocks.
pub(super) type Vector = __m256i;
/// Bytes of eight vectors, which are worked on at a time.
pub(super) const GROUP: usize = 256;

/// Tells the compiler that subkeys may have changed, so that it reads them where they are. Else it
/// spreads all of them before a loop, and since 16 registers don't hold them, reads the copies: 20 %
/// slower (benches/cipher.rs).
#[inline]
pub(super) fn read_again<T>(subkeys: &T) {
    // SAFETY: no instructions: no memory is touched.
    unsafe {
        core::arch::asm!(
            "/* {} */",
            in(reg) core::ptr::from_ref(subkeys),
            options(nostack, preserves_flags)
        );
    }
}

#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
pub(super) fn load(bytes: &[u8; 32]) -> Vector {
    // SAFETY: 32 bytes may be read there, and the instruction takes any alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
pub(super) fn store(bytes: &mut [u8; 32], vector: Vector) {
    // SAFETY: 32 bytes may be written there, and the instruction takes any alignment.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), vector) }
}

/// One vector of a group.
#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
pub(super) fn load_at<const PLACE: usize>(group: &[u8; GROUP]) -> Vector {
    load(&group.as_chunks().0[PLACE])
}

/// A block in both places.
#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
pub(super) fn everywhere(block: Block) -> Vector {
    _mm256_broadcastsi128_si256(block)
}

/// A vector of two blocks.
#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
pub(super) fn pair(low: Block, high: Block) -> Vector {
    _mm256_set_m128i(high, low)
}

/// The two blocks.
#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
pub(super) fn blocks(vector: Vector) -> [Block; 2] {
    [_mm256_castsi256_si128(vector), _mm256_extracti128_si256::<1>(vector)]
}

#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
pub(super) fn xor3(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm256_xor_si256(_mm256_xor_si256(a, b), c)
}

/// The sum of the two blocks.
#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
pub(super) fn sum(vector: Vector) -> Block {
    let [low, high] = blocks(vector);
    _mm_xor_si128(low, high)
}
