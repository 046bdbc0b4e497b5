//! Four blocks in a register: loads, stores, and the barrier that keeps instructions in their order.
//! With the vector intrinsics safe inside functions that enable their instruction sets, this is all
//! that is unsafe about the kernel itself.
#![allow(unsafe_code, reason = "vectors are loaded and stored through pointers")]

use core::arch::x86_64::*;

use crate::siv::kernel::block::Block;

/// Four blocks.
pub(super) type Vector = __m512i;
/// Bytes of eight vectors, which are worked on at a time.
pub(super) const GROUP: usize = 512;

/// Pins values in registers where it stands. Without it LLVM moves the multiplications of a fused
/// loop together, where they wait for each other.
macro_rules! pin {
    ($s:ident $(, $more:expr)*) => {{
        let [s0, s1, s2, s3, s4, s5, s6, s7] = &mut $s;
        // SAFETY: no instructions: the registers come out as they went in.
        unsafe {
            core::arch::asm!(
                "/* {} {} {} {} {} {} {} {}", $(pin!(@place $more),)* "*/",
                inlateout(zmm_reg) *s0, inlateout(zmm_reg) *s1, inlateout(zmm_reg) *s2,
                inlateout(zmm_reg) *s3, inlateout(zmm_reg) *s4, inlateout(zmm_reg) *s5,
                inlateout(zmm_reg) *s6, inlateout(zmm_reg) *s7,
                $(inlateout(zmm_reg) $more,)*
                options(nomem, nostack, preserves_flags)
            );
        }
    }};
    (@place $more:expr) => { " {} " };
}

pub(super) use pin;

/// A function that holds one keeps its registers at multiples of 64 when it has to put them on the
/// stack. Else most of them straddle two cache lines, depending on its caller.
#[repr(align(64))]
struct Anchor(#[allow(dead_code, reason = "there for its place alone")] [u8; 64]);

/// Aligns the stack of the function that it is inlined into.
#[inline(always)]
pub(super) fn align_stack() {
    core::hint::black_box(&mut Anchor([0; 64]));
}

/// Has the vector computed before it goes on, though it is needed much later.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(super) fn pin_one(vector: &mut Vector) {
    // SAFETY: no instructions: the register comes out as it went in.
    unsafe {
        core::arch::asm!(
            "/* {} */",
            inlateout(zmm_reg) * vector,
            options(nomem, nostack, preserves_flags)
        );
    }
}

#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(super) fn load(bytes: &[u8; 64]) -> Vector {
    // SAFETY: 64 bytes may be read there, and the instruction takes any alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(super) fn store(bytes: &mut [u8; 64], vector: Vector) {
    // SAFETY: 64 bytes may be written there, and the instruction takes any alignment.
    unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), vector) }
}

/// The four blocks, each in its place.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(super) fn store_blocks(room: &mut [Block; 4], vector: Vector) {
    // SAFETY: four blocks are 64 bytes, and the instruction takes any alignment.
    unsafe { _mm512_storeu_si512(room.as_mut_ptr().cast(), vector) }
}

// One bit for each byte: the first `bytes` of 64.
fn first(bytes: usize) -> u64 {
    u32::try_from(bytes).map_or(u64::MAX, |bytes| !u64::MAX.checked_shl(bytes).unwrap_or(0))
}

/// Up to 64 bytes, with zeros behind them.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(super) fn load_part(bytes: &[u8]) -> Vector {
    let mask = first(bytes.len().min(64));
    // SAFETY: only bytes whose bit is set are read, and those are inside the slice; an access that
    // the mask leaves out never faults.
    unsafe { _mm512_maskz_loadu_epi8(mask, bytes.as_ptr().cast()) }
}

/// As many bytes of the vector as the slice takes.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(super) fn store_part(bytes: &mut [u8], vector: Vector) {
    let mask = first(bytes.len().min(64));
    // SAFETY: only bytes whose bit is set are written, and those are inside the slice; an access
    // that the mask leaves out never faults.
    unsafe { _mm512_mask_storeu_epi8(bytes.as_mut_ptr().cast(), mask, vector) }
}

#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(super) fn load_group(bytes: &[u8; GROUP]) -> [Vector; 8] {
    let mut group = [_mm512_setzero_si512(); 8];
    for (vector, bytes) in group.iter_mut().zip(bytes.as_chunks().0) {
        *vector = load(bytes);
    }
    group
}

/// A block in all four places.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(super) fn everywhere(block: Block) -> Vector {
    _mm512_broadcast_i32x4(block)
}

#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(super) fn xor3(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm512_ternarylogic_epi64::<0x96>(a, b, c)
}

/// The sum of the four blocks.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(super) fn sum(vector: Vector) -> Block {
    let high = _mm512_extracti64x4_epi64::<1>(vector);
    let two = _mm256_xor_si256(_mm512_castsi512_si256(vector), high);
    _mm_xor_si128(_mm256_castsi256_si128(two), _mm256_extracti128_si256::<1>(two))
}
