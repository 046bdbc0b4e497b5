//! The kernel for processors with VAES and VPCLMULQDQ on 256-bit registers, AVX2 without AVX-512. A
//! seal hashes the text, then encrypts it; an open hashes each group while it decrypts the next.

#![allow(
    clippy::indexing_slicing,
    reason = "arrays of known length at constants: no panic is left"
)]

mod field;
mod groups;
mod part;
mod subkeys;
mod vector;

use core::arch::x86_64::*;

use super::block::{self, Block, RoundKeys};
use super::text::Text;
use crate::siv::{NotAuthentic, Opening, Sealing};
use groups::{count_on, counters, encrypt_and_hash_previous, encrypt_group, hash_group};
use part::Part;
use subkeys::Subkeys;
use vector::{GROUP, Vector, load, store};

/// seal[key, nonce](associated data, text) -> tag.
#[target_feature(enable = "vaes,vpclmulqdq")]
pub(super) fn seal(
    key: &RoundKeys,
    nonce: &[u8; 12],
    associated_data: &[u8],
    text: &mut Text<'_>,
) -> [u8; 16] {
    let subkeys = Subkeys::derive::<0>(key, nonce);
    let mut hash = hash_associated_data::<0>(&subkeys, associated_data);
    let groups = text.groups::<GROUP>();
    for group in 0..groups {
        hash = hash_group::<0>(&subkeys, hash, text.source_group(group));
    }
    let lengths = block::lengths(associated_data.len(), text.len());
    let hash = hash_rest::<0>(&subkeys, hash, text.source_rest::<GROUP>(), lengths);
    let tag = block::tag(&subkeys.round, hash, nonce);
    let mut counters = counters(block::first_counter(tag));
    for group in 0..groups {
        encrypt_group::<0>(&mut counters, &subkeys, text, group);
    }
    encrypt_rest::<0>(counters, &subkeys, text.rest::<GROUP>());
    block::to_bytes(tag)
}

/// open[key, nonce](associated data, text, tag) -> whether it is authentic. The target holds what
/// was decrypted in either case: it is the caller's to wipe.
#[target_feature(enable = "vaes,vpclmulqdq")]
pub(super) fn open(
    key: &RoundKeys,
    nonce: &[u8; 12],
    associated_data: &[u8],
    tag: &[u8; 16],
    text: &mut Text<'_>,
) -> bool {
    let subkeys = Subkeys::derive::<1>(key, nonce);
    let mut hash = hash_associated_data::<1>(&subkeys, associated_data);
    let tag = block::from_bytes(tag);
    let mut counters = counters(block::first_counter(tag));
    let groups = text.groups::<GROUP>();
    if groups > 0 {
        encrypt_group::<1>(&mut counters, &subkeys, text, 0);
        for group in 1..groups {
            hash = encrypt_and_hash_previous::<0>(&mut counters, &subkeys, text, group, hash);
        }
        hash = hash_group::<1>(&subkeys, hash, text.target_group(groups - 1));
    }
    encrypt_rest::<1>(counters, &subkeys, text.rest::<GROUP>());
    let lengths = block::lengths(associated_data.len(), text.len());
    let hash = hash_rest::<1>(&subkeys, hash, text.target_rest::<GROUP>(), lengths);
    block::equal(block::tag(&subkeys.round, hash, nonce), tag)
}

/// Seals all of them.
#[target_feature(enable = "vaes,vpclmulqdq")]
pub(super) fn seal_batch(key: &RoundKeys, messages: &mut [Sealing<'_>]) {
    for message in messages {
        let mut text = Text::apart(message.plain, message.out);
        *message.tag = seal(key, message.nonce, message.associated_data, &mut text);
    }
}

/// Opens all of them. What doesn't open is the caller's to wipe.
#[target_feature(enable = "vaes,vpclmulqdq")]
pub(super) fn open_batch(key: &RoundKeys, messages: &mut [Opening<'_>]) {
    for message in messages {
        let mut text = Text::apart(message.sealed, message.out);
        let opened = open(key, message.nonce, message.associated_data, message.tag, &mut text);
        message.verdict = if opened { Ok(()) } else { Err(NotAuthentic) };
    }
}

// The associated data as the vector that comes before the text.
#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
fn hash_associated_data<const SITE: u8>(subkeys: &Subkeys, mut data: &[u8]) -> Vector {
    let mut before = _mm_setzero_si128();
    while let Some((part, rest)) = data.split_at_checked(32).filter(|(_, rest)| !rest.is_empty()) {
        before = subkeys.hash(before, Part::load(part));
        data = rest;
    }
    Part::load(data).after(before)
}

// What is behind the groups, and the lengths.
#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
fn hash_rest<const SITE: u8>(
    subkeys: &Subkeys,
    before: Vector,
    rest: &[u8],
    lengths: Block,
) -> Block {
    if rest.is_empty() {
        return subkeys.finish(before, lengths);
    }
    let mut hash = subkeys.hash_vector(before);
    for part in rest.chunks(32) {
        hash = subkeys.hash(hash, Part::load(part));
    }
    subkeys.hash(hash, Part::one(lengths))
}

#[inline]
#[target_feature(enable = "vaes,vpclmulqdq")]
fn encrypt_rest<const SITE: u8>(mut counters: Vector, subkeys: &Subkeys, mut rest: Text<'_>) {
    rest.for_each_piece(32, |piece| {
        let mut state = _mm256_xor_si256(counters, subkeys.round::<0>());
        macro_rules! rounds {
            ($($round:literal),*) => {
                $(state = _mm256_aesenc_epi128(state, subkeys.round::<$round>());)*
            };
        }
        rounds!(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13);
        let stream = _mm256_aesenclast_epi128(state, subkeys.round::<14>());
        let mut copy = [0; 32];
        for (place, byte) in copy.iter_mut().zip(piece.source()) {
            *place = *byte;
        }
        let block = _mm256_xor_si256(load(&copy), stream);
        store(&mut copy, block);
        for (byte, place) in piece.target_mut().iter_mut().zip(copy.iter()) {
            *byte = *place;
        }
        counters = count_on::<2>(counters);
    });
}
