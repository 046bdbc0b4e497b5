//! The work on a group of 512 bytes: hashing it, encrypting it, and both at once for two different
//! groups, which is what keeps AES units and multipliers busy.
//!
//! `SITE` marks a call: a function that is called at one place is inlined there. Where LLVM stops
//! doing so, its vectors cross the call through memory (benches/cipher.rs shows it).

use core::arch::x86_64::*;

use super::field::Products;
use super::subkeys::Subkeys;
use super::vector::{GROUP, Vector, everywhere, load, pin, store};
use crate::siv::kernel::block::Block;
use crate::siv::kernel::text::Text;

/// Four counters, each one block further. Only the lowest 32 bits of a counter count, and they wrap.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(super) fn counters(first: Block) -> Vector {
    let steps = _mm512_set_epi32(0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0);
    _mm512_add_epi32(everywhere(first), steps)
}

#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(super) fn count_on<const BLOCKS: i32>(counters: Vector) -> Vector {
    _mm512_add_epi32(
        counters,
        _mm512_set_epi32(0, 0, 0, BLOCKS, 0, 0, 0, BLOCKS, 0, 0, 0, BLOCKS, 0, 0, 0, BLOCKS),
    )
}

/// The hash goes on: `before` is the last vector that was not multiplied yet, and so is what is
/// returned.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(super) fn hash_group<const SITE: u8>(
    subkeys: &Subkeys,
    before: Vector,
    group: &[Vector; 8],
) -> Vector {
    let [x0, x1, x2, x3, x4, x5, x6, x7] = *group;
    let products = subkeys.add::<3>(Products::none(), x5, x6);
    let products = subkeys.add::<2>(products, x3, x4);
    let products = subkeys.add::<1>(products, x1, x2);
    let products = subkeys.add::<0>(products, before, x0);
    _mm512_xor_si512(products.reduced(), x7)
}

/// Counters of a group, xored with the first round key.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(super) fn whitened(counters: Vector, key: Vector) -> [Vector; 8] {
    [
        _mm512_xor_si512(counters, key),
        _mm512_xor_si512(count_on::<4>(counters), key),
        _mm512_xor_si512(count_on::<8>(counters), key),
        _mm512_xor_si512(count_on::<12>(counters), key),
        _mm512_xor_si512(count_on::<16>(counters), key),
        _mm512_xor_si512(count_on::<20>(counters), key),
        _mm512_xor_si512(count_on::<24>(counters), key),
        _mm512_xor_si512(count_on::<28>(counters), key),
    ]
}

/// A round of all eight.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(super) fn round_with(state: &mut [Vector; 8], key: Vector) {
    for block in state {
        *block = _mm512_aesenc_epi128(*block, key);
    }
}

#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
fn round<const ROUND: usize>(state: &mut [Vector; 8], subkeys: &Subkeys) {
    round_with(state, subkeys.round[ROUND]);
}

/// The last round, and the text: xored with the round key first, since the round xors last. What is
/// written stays in `state` too.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(super) fn last_round(state: &mut [Vector; 8], key: Vector, text: &mut Text<'_>, group: usize) {
    for (place, block) in state.iter_mut().enumerate() {
        let source = load(&text.source_group::<GROUP>(group).as_chunks().0[place]);
        *block = _mm512_aesenclast_epi128(*block, _mm512_xor_si512(key, source));
        store(&mut text.target_group::<GROUP>(group).as_chunks_mut().0[place], *block);
    }
}

/// Encrypts or decrypts a group; what it wrote is returned too.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(super) fn encrypt_group<const SITE: u8>(
    counters: &mut Vector,
    subkeys: &Subkeys,
    text: &mut Text<'_>,
    group: usize,
) -> [Vector; 8] {
    let mut state = whitened(*counters, subkeys.round[0]);
    macro_rules! rounds {
        ($($round:literal),*) => {$(
            round::<$round>(&mut state, subkeys);
            pin!(state);
        )*};
    }
    rounds!(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13);
    last_round(&mut state, subkeys.round[14], text, group);
    *counters = count_on::<32>(*counters);
    state
}

/// A hash on its way beside a group that is encrypted: whose subkeys, and what is hashed.
pub(super) struct Beside<'a> {
    pub(super) subkeys: &'a Subkeys,
    pub(super) before: Vector,
    pub(super) group: [Vector; 8],
}

/// [`encrypt_group`] and [`hash_group`], instruction by instruction beside each other.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(super) fn encrypt_and_hash<const SITE: u8>(
    counters: &mut Vector,
    subkeys: &Subkeys,
    text: &mut Text<'_>,
    group: usize,
    hash: Beside<'_>,
) -> ([Vector; 8], Vector) {
    let Beside { subkeys: of_hash, before, group: [x0, x1, x2, x3, x4, x5, x6, x7] } = hash;
    let mut state = whitened(*counters, subkeys.round[0]);
    let mut products = Products::none();
    macro_rules! beside {
        ($one:literal, $two:literal, $pair:literal, $a:expr, $b:expr) => {
            round::<$one>(&mut state, subkeys);
            round::<$two>(&mut state, subkeys);
            products = of_hash.add::<$pair>(products, $a, $b);
            pin!(state, products.low, products.sums, products.high);
        };
    }
    beside!(1, 2, 3, x5, x6);
    beside!(3, 4, 2, x3, x4);
    beside!(5, 6, 1, x1, x2);
    beside!(7, 8, 0, before, x0);
    round::<9>(&mut state, subkeys);
    round::<10>(&mut state, subkeys);
    let hashed = _mm512_xor_si512(products.reduced(), x7);
    round::<11>(&mut state, subkeys);
    round::<12>(&mut state, subkeys);
    round::<13>(&mut state, subkeys);
    last_round(&mut state, subkeys.round[14], text, group);
    *counters = count_on::<32>(*counters);
    (state, hashed)
}
