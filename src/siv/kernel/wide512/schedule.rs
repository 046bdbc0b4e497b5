//! The key schedule as in `block.rs`, for four keys side by side.

use core::arch::x86_64::*;

use super::vector::Vector;

#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
fn running_xor(key: Vector) -> Vector {
    let twice = _mm512_xor_si512(key, _mm512_bslli_epi128::<4>(key));
    _mm512_xor_si512(twice, _mm512_bslli_epi128::<8>(twice))
}

/// An even step: RotWord, SubWord and the round constant.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(super) fn even<const CONSTANT: i32>(key: Vector, previous: Vector) -> Vector {
    let rotated = _mm512_shuffle_epi8(previous, _mm512_set1_epi32(0x0C0F_0E0D));
    let added = _mm512_xor_si512(running_xor(key), _mm512_set1_epi32(CONSTANT));
    _mm512_aesenclast_epi128(rotated, added)
}

/// An odd step: SubWord.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(super) fn odd(key: Vector, previous: Vector) -> Vector {
    _mm512_aesenclast_epi128(_mm512_shuffle_epi32::<0xFF>(previous), running_xor(key))
}

/// The whole schedule.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(super) fn expand(key: [Vector; 2]) -> [Vector; 15] {
    let [k0, k1] = key;
    let k2 = even::<1>(k0, k1);
    let k3 = odd(k1, k2);
    let k4 = even::<2>(k2, k3);
    let k5 = odd(k3, k4);
    let k6 = even::<4>(k4, k5);
    let k7 = odd(k5, k6);
    let k8 = even::<8>(k6, k7);
    let k9 = odd(k7, k8);
    let k10 = even::<16>(k8, k9);
    let k11 = odd(k9, k10);
    let k12 = even::<32>(k10, k11);
    let k13 = odd(k11, k12);
    let k14 = even::<64>(k12, k13);
    [k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, k10, k11, k12, k13, k14]
}
