//! Many messages of one length, whole groups each. Subkeys are derived for eight at a time, and while
//! one message is encrypted, the next but one is hashed: a seal by itself can't encrypt before it has
//! hashed everything, so that either multipliers or AES units would wait. Opened messages follow each
//! other without a gap: the last group of one is hashed beside the first of the next.

use core::arch::x86_64::*;

use super::eight::{EIGHT, Eight, derive_eight};
use super::groups::{Beside, counters, encrypt_and_hash, encrypt_group, hash_group};
use super::hash_associated_data;
use super::subkeys::Subkeys;
use super::vector::{GROUP, Vector, load_group};
use crate::siv::kernel::block::{self, RoundKeys};
use crate::siv::kernel::text::Text;
use crate::siv::{NotAuthentic, Opening, Sealing};

const NO_NONCE: [u8; 12] = [0; 12];

/// The message that is hashed, the one that is finished, and the one that is encrypted.
const AT_WORK: usize = 3;

/// Subkeys of the messages at work, and those of the eight that they are among.
struct Ring {
    eight: Eight,
    at_work: [Subkeys; AT_WORK],
}

impl Ring {
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
    fn new() -> Self {
        let zeros = [Subkeys::zeros(), Subkeys::zeros(), Subkeys::zeros()];
        Self { eight: Eight::zeros(), at_work: zeros }
    }

    #[inline]
    fn of(&self, message: usize) -> &Subkeys {
        &self.at_work[message % AT_WORK]
    }

    /// Takes a message to work; every eighth derives, from the nonces from there on.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
    fn take<'a, const SITE: u8>(
        &mut self,
        key: &RoundKeys,
        message: usize,
        nonces: impl Iterator<Item = &'a [u8; 12]>,
    ) {
        if message.is_multiple_of(EIGHT) {
            let mut eight = [&NO_NONCE; EIGHT];
            for (room, nonce) in eight.iter_mut().zip(nonces) {
                *room = nonce;
            }
            derive_eight::<SITE>(key, eight, &mut self.eight);
        }
        self.eight.copy_to(message, &mut self.at_work[message % AT_WORK]);
    }
}

// The groups of each message, where all have equally many and nothing behind them.
fn common_groups(mut lengths: impl Iterator<Item = usize>) -> Option<usize> {
    let first = lengths.next()?;
    let whole = first > 0 && first.is_multiple_of(GROUP) && lengths.all(|length| length == first);
    whole.then_some(first / GROUP)
}

/// Seals all of them.
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(in crate::siv::kernel) fn seal_batch(key: &RoundKeys, messages: &mut [Sealing<'_>]) {
    let groups = common_groups(messages.iter().map(|message| message.plain.len()));
    let Some(groups) = groups.filter(|_| messages.len() > 2) else {
        for message in messages {
            let mut text = Text::apart(message.plain, message.out);
            *message.tag = super::seal(key, message.nonce, message.associated_data, &mut text);
        }
        return;
    };
    let mut ring = Ring::new();
    let mut before = _mm512_setzero_si512(); // the hash of the message just hashed, not finished
    let mut next_counters = before; // of that one, when it is finished
    for step in 0..messages.len() + 2 {
        if let Some(messages) = messages.get(step..).filter(|left| !left.is_empty()) {
            ring.take::<0>(key, step, messages.iter().map(|message| message.nonce));
        }
        let mut counters = next_counters;
        if let Some(message) = step.checked_sub(1).and_then(|hashed| messages.get_mut(hashed)) {
            next_counters = finish(ring.of(step - 1), before, message);
        }
        let (behind, ahead) = messages.split_at_mut(step.min(messages.len()));
        let to_hash = ahead.first().map(|message| {
            let subkeys = ring.of(step);
            (subkeys, hash_associated_data::<2>(subkeys, message.associated_data), message.plain)
        });
        let to_encrypt = step.checked_sub(2).and_then(|message| behind.get_mut(message));
        let to_encrypt = to_encrypt
            .map(|message| (ring.of(step - 2), Text::apart(message.plain, &mut *message.out)));
        before = step_of_seals(groups, to_hash, &mut counters, to_encrypt);
    }
}

type ToHash<'a> = (&'a Subkeys, Vector, &'a [u8]);
type ToEncrypt<'a> = (&'a Subkeys, Text<'a>);

// One message hashed, another encrypted; at both ends of the batch there is only one of them.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
fn step_of_seals(
    groups: usize,
    to_hash: Option<ToHash<'_>>,
    counters: &mut Vector,
    to_encrypt: Option<ToEncrypt<'_>>,
) -> Vector {
    match (to_hash, to_encrypt) {
        (Some((of_hash, mut before, plain)), Some((subkeys, mut text))) => {
            for (group, plain) in plain.as_chunks::<GROUP>().0.iter().enumerate() {
                let beside = Beside { subkeys: of_hash, before, group: load_group(plain) };
                (_, before) = encrypt_and_hash::<1>(counters, subkeys, &mut text, group, beside);
            }
            before
        }
        (Some((subkeys, mut before, plain)), None) => {
            for plain in plain.as_chunks::<GROUP>().0 {
                before = hash_group::<2>(subkeys, before, &load_group(plain));
            }
            before
        }
        (None, Some((subkeys, mut text))) => {
            for group in 0..groups {
                encrypt_group::<2>(counters, subkeys, &mut text, group);
            }
            _mm512_setzero_si512()
        }
        (None, None) => _mm512_setzero_si512(),
    }
}

// Writes the tag, and returns where the counters begin.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
fn finish(subkeys: &Subkeys, before: Vector, message: &mut Sealing<'_>) -> Vector {
    let lengths = block::lengths(message.associated_data.len(), message.plain.len());
    let tag = subkeys.tag(subkeys.finish(before, lengths), message.nonce);
    *message.tag = block::to_bytes(tag);
    counters(block::first_counter(tag))
}

/// Opens all of them. What doesn't open is the caller's to wipe.
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(in crate::siv::kernel) fn open_batch(key: &RoundKeys, messages: &mut [Opening<'_>]) {
    let groups = common_groups(messages.iter().map(|message| message.sealed.len()));
    let Some(groups) = groups.filter(|_| messages.len() > 1) else {
        for message in messages {
            let mut text = Text::apart(message.sealed, message.out);
            let data = message.associated_data;
            message.verdict =
                verdict(super::open(key, message.nonce, data, message.tag, &mut text));
        }
        return;
    };
    let mut ring = Ring::new();
    let mut plain = [_mm512_setzero_si512(); 8]; // the group decrypted last, not hashed yet
    let mut before = _mm512_setzero_si512(); // the hash of all groups before it
    for at in 0..messages.len() {
        ring.take::<1>(key, at, messages[at..].iter().map(|message| message.nonce));
        let subkeys = ring.of(at);
        let (done, message) = messages.split_at_mut(at);
        let Some(message) = message.first_mut() else { continue };
        let mut counters = counters(block::first_counter(block::from_bytes(message.tag)));
        let mut text = Text::apart(message.sealed, message.out);
        if let Some(previous) = done.last_mut() {
            let beside = Beside { subkeys: ring.of(at - 1), before, group: plain };
            (plain, before) = encrypt_and_hash::<2>(&mut counters, subkeys, &mut text, 0, beside);
            check(ring.of(at - 1), before, previous);
        } else {
            plain = encrypt_group::<3>(&mut counters, subkeys, &mut text, 0);
        }
        before = hash_associated_data::<3>(subkeys, message.associated_data);
        for group in 1..groups {
            let beside = Beside { subkeys, before, group: plain };
            (plain, before) =
                encrypt_and_hash::<3>(&mut counters, subkeys, &mut text, group, beside);
        }
    }
    let last = messages.len() - 1;
    before = hash_group::<3>(ring.of(last), before, &plain);
    check(ring.of(last), before, &mut messages[last]);
}

#[inline]
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
fn check(subkeys: &Subkeys, before: Vector, message: &mut Opening<'_>) {
    let lengths = block::lengths(message.associated_data.len(), message.sealed.len());
    let tag = subkeys.tag(subkeys.finish(before, lengths), message.nonce);
    message.verdict = verdict(block::equal(tag, block::from_bytes(message.tag)));
}

fn verdict(authentic: bool) -> Result<(), NotAuthentic> {
    if authentic { Ok(()) } else { Err(NotAuthentic) }
}
