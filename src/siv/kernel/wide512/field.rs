//! The field of POLYVAL (RFC 8452, section 3), four products side by side. Elements are as the RFC
//! has them, bit i of a block the coefficient of x^i, and a product is `dot`: a * b * x^-128, modulo
//! x^128 + x^127 + x^126 + x^121 + 1. That is Montgomery's reduction, from the low end.

use core::arch::x86_64::*;

use super::vector::{Vector, xor3};

// x^63 + x^62 + x^57: the polynomial's upper half without x^64, and what a quarter is multiplied by
// to be folded into the next.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
fn polynomial() -> Vector {
    _mm512_set1_epi64(0xC200_0000_0000_0000_u64.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
fn swap_halves(a: Vector) -> Vector {
    _mm512_shuffle_epi32::<0x4E>(a)
}

/// low + middle * x^64 + high * x^128, reduced.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
fn reduce(low: Vector, middle: Vector, high: Vector) -> Vector {
    let folded = _mm512_clmulepi64_epi128::<0x00>(low, polynomial());
    let middle = xor3(middle, swap_halves(low), folded);
    let folded = _mm512_clmulepi64_epi128::<0x00>(middle, polynomial());
    xor3(high, swap_halves(middle), folded)
}

/// dot(a, b), four times, by the schoolbook: fewer steps one after the other than Karatsuba.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(super) fn multiply(a: Vector, b: Vector) -> Vector {
    let low = _mm512_clmulepi64_epi128::<0x00>(a, b);
    let high = _mm512_clmulepi64_epi128::<0x11>(a, b);
    let one = _mm512_clmulepi64_epi128::<0x01>(a, b);
    let other = _mm512_clmulepi64_epi128::<0x10>(a, b);
    reduce(low, _mm512_xor_si512(one, other), high)
}

/// dot(a, a), four times.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(super) fn square(a: Vector) -> Vector {
    let low = _mm512_clmulepi64_epi128::<0x00>(a, a);
    let high = _mm512_clmulepi64_epi128::<0x11>(a, a);
    reduce(low, _mm512_setzero_si512(), high)
}

/// Halves added up, of `a` in the lower half and of `b` in the upper one: Karatsuba's middle.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(super) fn half_sums(a: Vector, b: Vector) -> Vector {
    _mm512_xor_si512(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b))
}

/// A sum of products that is not reduced yet, by Karatsuba.
#[derive(Clone, Copy)]
pub(super) struct Products {
    pub(super) low: Vector,
    pub(super) sums: Vector,
    pub(super) high: Vector,
}

impl Products {
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
    pub(super) fn none() -> Self {
        let zero = _mm512_setzero_si512();
        Self { low: zero, sums: zero, high: zero }
    }

    /// Adds a * by.0 + b * by.1; `sums` is the half sums of `by`.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
    pub(super) fn add(self, a: Vector, b: Vector, by: (Vector, Vector), sums: Vector) -> Self {
        let both = half_sums(a, b);
        Self {
            low: xor3(
                self.low,
                _mm512_clmulepi64_epi128::<0x00>(a, by.0),
                _mm512_clmulepi64_epi128::<0x00>(b, by.1),
            ),
            sums: xor3(
                self.sums,
                _mm512_clmulepi64_epi128::<0x00>(both, sums),
                _mm512_clmulepi64_epi128::<0x11>(both, sums),
            ),
            high: xor3(
                self.high,
                _mm512_clmulepi64_epi128::<0x11>(a, by.0),
                _mm512_clmulepi64_epi128::<0x11>(b, by.1),
            ),
        }
    }

    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
    pub(super) fn reduced(self) -> Vector {
        reduce(self.low, xor3(self.low, self.sums, self.high), self.high)
    }
}
