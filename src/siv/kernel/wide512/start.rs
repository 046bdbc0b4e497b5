//! The start of an open: subkeys are derived while the first group is decrypted. Both the key
//! schedule and the powers of H are chains in which each step waits for the one before it; the group
//! fills the gaps, each round as soon as its key is there.

use super::field::square;
use super::groups::{count_on, last_round, round_with, whitened};
use super::schedule::{even, odd};
use super::subkeys::{Lower, Subkeys};
use super::vector::{Vector, everywhere, pin};
use crate::siv::kernel::block::{self, RoundKeys};
use crate::siv::kernel::text::Text;

/// Decrypts the first group, which is there; returns the subkeys and what it wrote.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(super) fn derive_and_decrypt(
    key: &RoundKeys,
    nonce: &[u8; 12],
    counters: &mut Vector,
    text: &mut Text<'_>,
) -> (Subkeys, [Vector; 8]) {
    let derived = block::derive(key, nonce);
    let h = everywhere(derived.authentication);
    let [k0, k1] = [everywhere(derived.encryption[0]), everywhere(derived.encryption[1])];
    let mut state = whitened(*counters, k0);
    round_with(&mut state, k1);
    let k2 = even::<1>(k0, k1);
    let mut h2 = square(h);
    round_with(&mut state, k2);
    let mut k3 = odd(k1, k2);
    pin!(state, k3, h2);
    round_with(&mut state, k3);
    let k4 = even::<2>(k2, k3);
    let mut h4 = square(h2);
    round_with(&mut state, k4);
    let mut k5 = odd(k3, k4);
    pin!(state, k5, h4);
    round_with(&mut state, k5);
    let k6 = even::<4>(k4, k5);
    let mut h8 = square(h4);
    round_with(&mut state, k6);
    let mut k7 = odd(k5, k6);
    pin!(state, k7, h8);
    round_with(&mut state, k7);
    let k8 = even::<8>(k6, k7);
    let squares = [h, h2, h4, h8];
    let lower = Lower::of(squares);
    round_with(&mut state, k8);
    let mut k9 = odd(k7, k8);
    pin!(state, k9);
    round_with(&mut state, k9);
    let k10 = even::<16>(k8, k9);
    let mut upper = lower.upper();
    round_with(&mut state, k10);
    let mut k11 = odd(k9, k10);
    pin!(state, k11, upper);
    round_with(&mut state, k11);
    let k12 = even::<32>(k10, k11);
    round_with(&mut state, k12);
    let mut k13 = odd(k11, k12);
    pin!(state, k13);
    round_with(&mut state, k13);
    let k14 = even::<64>(k12, k13);
    last_round(&mut state, k14, text, 0);
    *counters = count_on::<32>(*counters);
    let schedule = [k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, k10, k11, k12, k13, k14];
    (Subkeys::of_parts(schedule, squares, &lower, upper), state)
}
