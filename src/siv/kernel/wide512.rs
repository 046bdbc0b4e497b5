//! The kernel for processors with VAES and VPCLMULQDQ on 512-bit registers. A seal hashes the text,
//! then encrypts it; an open hashes each group while it decrypts the next. A batch of seals encrypts
//! one message while it hashes another (`batch.rs`).

#![allow(
    clippy::indexing_slicing,
    reason = "arrays of known length at constants: no panic is left"
)]

mod batch;
mod eight;
mod field;
mod groups;
mod part;
mod schedule;
mod start;
mod subkeys;
mod vector;

use core::arch::x86_64::*;

use super::block::{self, Block, RoundKeys};
use super::text::Text;
use groups::{Beside, count_on, counters, encrypt_and_hash, encrypt_group, hash_group};
use part::Part;
use start::derive_and_decrypt;
use subkeys::Subkeys;
use vector::{GROUP, Vector, align_stack, load_group, load_part, pin_one, store_part};

pub(super) use batch::{open_batch, seal_batch};

/// seal[key, nonce](associated data, text) -> tag.
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(super) fn seal(
    key: &RoundKeys,
    nonce: &[u8; 12],
    associated_data: &[u8],
    text: &mut Text<'_>,
) -> [u8; 16] {
    align_stack();
    let mut subkeys = Subkeys::derive::<0>(key, nonce);
    // Else LLVM puts the key schedule behind the hash, where the tag waits for it.
    pin_one(&mut subkeys.round[14]);
    let subkeys = &subkeys;
    let mut hash = hash_associated_data::<0>(subkeys, associated_data);
    let groups = text.groups::<GROUP>();
    for group in 0..groups {
        let vectors = load_group(text.source_group::<GROUP>(group));
        hash = hash_group::<0>(subkeys, hash, &vectors);
    }
    let lengths = block::lengths(associated_data.len(), text.len());
    let hash = hash_rest::<0>(subkeys, hash, text.source_rest::<GROUP>(), lengths);
    let tag = subkeys.tag(hash, nonce);
    let mut counters = counters(block::first_counter(tag));
    for group in 0..groups {
        encrypt_group::<0>(&mut counters, subkeys, text, group);
    }
    encrypt_rest::<0>(counters, subkeys, text.rest::<GROUP>());
    block::to_bytes(tag)
}

/// open[key, nonce](associated data, text, tag) -> whether it is authentic. The target holds what
/// was decrypted in either case: it is the caller's to wipe.
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(super) fn open(
    key: &RoundKeys,
    nonce: &[u8; 12],
    associated_data: &[u8],
    tag: &[u8; 16],
    text: &mut Text<'_>,
) -> bool {
    align_stack();
    let tag = block::from_bytes(tag);
    let mut counters = counters(block::first_counter(tag));
    let groups = text.groups::<GROUP>();
    let subkeys;
    let mut hash;
    if groups > 0 {
        let mut plain;
        (subkeys, plain) = derive_and_decrypt(key, nonce, &mut counters, text);
        let subkeys = &subkeys;
        hash = hash_associated_data::<1>(subkeys, associated_data);
        for group in 1..groups {
            let beside = Beside { subkeys, before: hash, group: plain };
            (plain, hash) = encrypt_and_hash::<0>(&mut counters, subkeys, text, group, beside);
        }
        hash = hash_group::<1>(subkeys, hash, &plain);
    } else {
        subkeys = Subkeys::derive::<1>(key, nonce);
        hash = hash_associated_data::<4>(&subkeys, associated_data);
    }
    let subkeys = &subkeys;
    encrypt_rest::<1>(counters, subkeys, text.rest::<GROUP>());
    let lengths = block::lengths(associated_data.len(), text.len());
    let hash = hash_rest::<1>(subkeys, hash, text.target_rest::<GROUP>(), lengths);
    block::equal(subkeys.tag(hash, nonce), tag)
}

// The associated data as the vector that comes before the text.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
fn hash_associated_data<const SITE: u8>(subkeys: &Subkeys, mut data: &[u8]) -> Vector {
    let mut before = _mm_setzero_si128();
    while let Some((part, rest)) = data.split_at_checked(64).filter(|(_, rest)| !rest.is_empty()) {
        before = subkeys.hash(before, Part::load(part));
        data = rest;
    }
    Part::load(data).after(before)
}

// What is behind the groups, and the lengths.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
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
    for part in rest.chunks(64) {
        hash = subkeys.hash(hash, Part::load(part));
    }
    subkeys.hash(hash, Part::one(lengths))
}

#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
fn encrypt_rest<const SITE: u8>(mut counters: Vector, subkeys: &Subkeys, mut rest: Text<'_>) {
    rest.for_each_piece(64, |piece| {
        let mut state = _mm512_xor_si512(counters, subkeys.round[0]);
        macro_rules! rounds {
            ($($round:literal),*) => {
                $(state = _mm512_aesenc_epi128(state, subkeys.round[$round]);)*
            };
        }
        rounds!(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13);
        let stream = _mm512_aesenclast_epi128(state, subkeys.round[14]);
        let text = load_part(piece.source());
        store_part(piece.target_mut(), _mm512_xor_si512(text, stream));
        counters = count_on::<4>(counters);
    });
}
