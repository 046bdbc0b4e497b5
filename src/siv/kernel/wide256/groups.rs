//! The work on a group of 256 bytes: hashing it, encrypting it, and both at once for two different
//! groups, which is what keeps AES units and multipliers busy. `SITE` marks a call, as in the wider
//! kernel: a function that is called at one place is inlined there.

use core::arch::x86_64::*;

use super::field::Products;
use super::subkeys::Subkeys;
use super::vector::{GROUP, Vector, everywhere, load_at, read_again, store};
use crate::siv::kernel::block::Block;
use crate::siv::kernel::text::Text;

/// Two counters, one block apart. Only the lowest 32 bits of a counter count, and they wrap.
#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
pub(super) fn counters(first: Block) -> Vector {
    _mm256_add_epi32(everywhere(first), _mm256_set_epi32(0, 0, 0, 1, 0, 0, 0, 0))
}

#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
pub(super) fn count_on<const BLOCKS: i32>(counters: Vector) -> Vector {
    _mm256_add_epi32(counters, _mm256_set_epi32(0, 0, 0, BLOCKS, 0, 0, 0, BLOCKS))
}

/// The hash goes on: `before` is the last vector that was not multiplied yet, and so is what is
/// returned.
#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
pub(super) fn hash_group<const SITE: u8>(
    subkeys: &Subkeys,
    before: Vector,
    group: &[u8; GROUP],
) -> Vector {
    let products = subkeys.add::<3>(Products::none(), load_at::<5>(group), load_at::<6>(group));
    let products = subkeys.add::<2>(products, load_at::<3>(group), load_at::<4>(group));
    let products = subkeys.add::<1>(products, load_at::<1>(group), load_at::<2>(group));
    let products = subkeys.add::<0>(products, before, load_at::<0>(group));
    read_again(subkeys);
    _mm256_xor_si256(products.reduced(), load_at::<7>(group))
}

// Counters of a group, xored with the first round key.
#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
fn whitened(counters: Vector, subkeys: &Subkeys) -> [Vector; 8] {
    let key = subkeys.round::<0>();
    [
        _mm256_xor_si256(counters, key),
        _mm256_xor_si256(count_on::<2>(counters), key),
        _mm256_xor_si256(count_on::<4>(counters), key),
        _mm256_xor_si256(count_on::<6>(counters), key),
        _mm256_xor_si256(count_on::<8>(counters), key),
        _mm256_xor_si256(count_on::<10>(counters), key),
        _mm256_xor_si256(count_on::<12>(counters), key),
        _mm256_xor_si256(count_on::<14>(counters), key),
    ]
}

#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
fn round<const ROUND: usize>(state: &mut [Vector; 8], subkeys: &Subkeys) {
    let key = subkeys.round::<ROUND>();
    for block in state {
        *block = _mm256_aesenc_epi128(*block, key);
    }
}

// The last round, and the text: xored with the round key first, since the round xors last.
#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
fn finish(state: [Vector; 8], subkeys: &Subkeys, text: &mut Text<'_>, group: usize) {
    let key = subkeys.round::<14>();
    macro_rules! write {
        ($($place:literal),*) => {$(
            let plain = load_at::<$place>(text.source_group(group));
            let block = _mm256_aesenclast_epi128(state[$place], _mm256_xor_si256(key, plain));
            store(&mut text.target_group::<GROUP>(group).as_chunks_mut().0[$place], block);
        )*};
    }
    write!(0, 1, 2, 3, 4, 5, 6, 7);
}

/// Encrypts or decrypts a group.
#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
pub(super) fn encrypt_group<const SITE: u8>(
    counters: &mut Vector,
    subkeys: &Subkeys,
    text: &mut Text<'_>,
    group: usize,
) {
    let mut state = whitened(*counters, subkeys);
    macro_rules! rounds {
        ($($round:literal),*) => {
            $(round::<$round>(&mut state, subkeys);)*
        };
    }
    rounds!(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13);
    finish(state, subkeys, text, group);
    read_again(subkeys);
    *counters = count_on::<16>(*counters);
}

/// [`encrypt_group`], and [`hash_group`] of the group before it as it was written.
#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
pub(super) fn encrypt_and_hash_previous<const SITE: u8>(
    counters: &mut Vector,
    subkeys: &Subkeys,
    text: &mut Text<'_>,
    group: usize,
    before: Vector,
) -> Vector {
    let mut state = whitened(*counters, subkeys);
    let previous = text.target_group::<GROUP>(group - 1);
    let mut products = Products::none();
    macro_rules! beside {
        ($one:literal, $two:literal, $pair:literal, $a:expr, $b:expr) => {
            round::<$one>(&mut state, subkeys);
            round::<$two>(&mut state, subkeys);
            products = subkeys.add::<$pair>(products, $a, $b);
        };
    }
    beside!(1, 2, 3, load_at::<5>(previous), load_at::<6>(previous));
    beside!(3, 4, 2, load_at::<3>(previous), load_at::<4>(previous));
    beside!(5, 6, 1, load_at::<1>(previous), load_at::<2>(previous));
    beside!(7, 8, 0, before, load_at::<0>(previous));
    round::<9>(&mut state, subkeys);
    round::<10>(&mut state, subkeys);
    round::<11>(&mut state, subkeys);
    let hashed = _mm256_xor_si256(products.reduced(), load_at::<7>(previous));
    round::<12>(&mut state, subkeys);
    round::<13>(&mut state, subkeys);
    finish(state, subkeys, text, group);
    read_again(subkeys);
    *counters = count_on::<16>(*counters);
    hashed
}
