//! One block of 16 bytes in a register: the AES-256 key schedule, the derivation of RFC 8452,
//! section 4, and the tag. The same for both widths; encoded for AVX so that no caller changes
//! between instruction sets.

use core::arch::x86_64::*;

/// A block, or a round key.
pub(super) type Block = __m128i;
/// The key schedule of AES-256 for encryption.
pub(super) type RoundKeys = [Block; 15];

/// What is derived from a key and a nonce: the key that authenticates, and the halves of the one
/// that encrypts.
pub(super) struct Derived {
    pub(super) authentication: Block,
    pub(super) encryption: [Block; 2],
}

#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
pub(super) fn from_bytes(bytes: &[u8; 16]) -> Block {
    let number = u128::from_le_bytes(*bytes);
    #[allow(clippy::cast_possible_truncation, reason = "the two halves of the block")]
    _mm_set_epi64x((number >> 64) as i64, number as i64)
}

#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
pub(super) fn to_bytes(block: Block) -> [u8; 16] {
    let halves = [_mm_cvtsi128_si64(block), _mm_extract_epi64::<1>(block)];
    let mut bytes = [0; 16];
    for (place, half) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(halves) {
        *place = half.to_le_bytes();
    }
    bytes
}

/// The nonce, and four zero bytes behind it.
#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
fn nonce_block(nonce: &[u8; 12]) -> Block {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *nonce;
    let high = i32::from_le_bytes([i, j, k, l]);
    let low = i64::from_le_bytes([a, b, c, d, e, f, g, h]);
    _mm_set_epi64x(i64::from(high) & 0xFFFF_FFFF, low)
}

/// The nonce behind four zero bytes, where derivation puts a counter.
#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
pub(super) fn shifted_nonce(nonce: &[u8; 12]) -> Block {
    _mm_bslli_si128::<4>(nonce_block(nonce))
}

/// Lengths of associated data and text in bits, as the last block of the hash.
#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
pub(super) fn lengths(associated_data: usize, text: usize) -> Block {
    let bits = |bytes: usize| (bytes as u64).wrapping_mul(8).cast_signed();
    _mm_set_epi64x(bits(text), bits(associated_data))
}

#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
fn running_xor(key: Block) -> Block {
    let twice = _mm_xor_si128(key, _mm_bslli_si128::<4>(key));
    _mm_xor_si128(twice, _mm_bslli_si128::<8>(twice))
}

// RotWord, SubWord and the round constant. AESENCLAST of a word in all columns is SubBytes of it:
// ShiftRows moves equal bytes.
#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
fn even<const CONSTANT: i32>(key: Block, previous: Block) -> Block {
    let rotated = _mm_shuffle_epi8(previous, _mm_set1_epi32(0x0C0F_0E0D));
    _mm_aesenclast_si128(rotated, _mm_xor_si128(running_xor(key), _mm_set1_epi32(CONSTANT)))
}

// SubWord alone.
#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
fn odd(key: Block, previous: Block) -> Block {
    _mm_aesenclast_si128(_mm_shuffle_epi32::<0xFF>(previous), running_xor(key))
}

/// KeyExpansion of FIPS 197 for a key of two blocks.
#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
pub(super) fn expand(key: [Block; 2]) -> RoundKeys {
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

/// The key schedule of a key as it is written.
#[target_feature(enable = "vaes,vpclmulqdq")]
pub(super) fn schedule(key: &[u8; 32], room: &mut RoundKeys) {
    let [low, high] = key.as_chunks::<16>().0 else { unreachable!("32 bytes are two blocks") };
    *room = expand([from_bytes(low), from_bytes(high)]);
}

/// AES-256 of some blocks at once.
#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
fn encrypt<const N: usize>(keys: &RoundKeys, mut blocks: [Block; N]) -> [Block; N] {
    let [first, middle @ .., last] = keys;
    for block in &mut blocks {
        *block = _mm_xor_si128(*block, *first);
    }
    for key in middle {
        for block in &mut blocks {
            *block = _mm_aesenc_si128(*block, *key);
        }
    }
    for block in &mut blocks {
        *block = _mm_aesenclast_si128(*block, *last);
    }
    blocks
}

/// derive_keys of RFC 8452: the first halves of AES[key](0 || nonce) to AES[key](5 || nonce).
#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
pub(super) fn derive(key: &RoundKeys, nonce: &[u8; 12]) -> Derived {
    let nonce = shifted_nonce(nonce);
    let mut blocks = [nonce; 6];
    for (block, counter) in blocks.iter_mut().zip(0..) {
        *block = _mm_or_si128(*block, _mm_cvtsi32_si128(counter));
    }
    let [a, b, c, d, e, f] = encrypt(key, blocks);
    Derived {
        authentication: _mm_unpacklo_epi64(a, b),
        encryption: [_mm_unpacklo_epi64(c, d), _mm_unpacklo_epi64(e, f)],
    }
}

/// What the tag is the encryption of: hash xor nonce, the top bit cleared.
#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
pub(super) fn to_encrypt(hash: Block, nonce: &[u8; 12]) -> Block {
    let mixed = _mm_xor_si128(hash, nonce_block(nonce));
    _mm_and_si128(mixed, _mm_set_epi64x(i64::MAX, -1))
}

/// The tag of a hash and a nonce.
#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
pub(super) fn tag(keys: &RoundKeys, hash: Block, nonce: &[u8; 12]) -> Block {
    let [tag] = encrypt(keys, [to_encrypt(hash, nonce)]);
    tag
}

/// The first counter block: the tag with the top bit set.
#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
pub(super) fn first_counter(tag: Block) -> Block {
    _mm_or_si128(tag, _mm_set_epi64x(i64::MIN, 0))
}

/// Compared as a whole: how many bytes agree takes no time.
#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
pub(super) fn equal(a: Block, b: Block) -> bool {
    let difference = _mm_xor_si128(a, b);
    _mm_testz_si128(difference, difference) == 1
}
