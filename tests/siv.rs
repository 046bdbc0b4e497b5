//! Every implementation of AES-256-GCM-SIV against every other: random messages of all lengths,
//! sealed and opened in all ways, with bits changed; counters that wrap; batches of all sizes.
//!
//! ```text
//! cargo test --release --features testkit,aws-lc --test siv -- --nocapture
//! SIV_MESSAGES=10000000 cargo test --release --features testkit,aws-lc --test siv
//! ```
#![cfg(feature = "testkit")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a helper that fails is a test"
)]

use aes::Aes256;
use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt};
use aes_gcm_siv::aead::{AeadInOut, KeyInit};
use aes_gcm_siv::{Aes256GcmSiv, Nonce};
use strongroom::testkit::{Sealer, SeededRandom};

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn bytes(random: &mut SeededRandom, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    random.fill(&mut bytes);
    bytes
}

fn array<const N: usize>(random: &mut SeededRandom) -> [u8; N] {
    let mut array = [0; N];
    random.fill(&mut array);
    array
}

/// A message and what it must be sealed to, by the crate itself.
#[derive(Clone)]
struct Message {
    nonce: [u8; 12],
    data: Vec<u8>,
    plain: Vec<u8>,
    sealed: Vec<u8>,
    tag: [u8; 16],
}

impl Message {
    fn new(key: &[u8; 32], random: &mut SeededRandom, text: usize, data: usize) -> Self {
        let nonce = array(random);
        let (data, plain) = (bytes(random, data), bytes(random, text));
        let mut sealed = plain.clone();
        let tag = Aes256GcmSiv::new(key.into()).encrypt_inout_detached(
            &Nonce::from(nonce),
            &data,
            sealed.as_mut_slice().into(),
        );
        Self { nonce, data, plain, sealed, tag: tag.unwrap().into() }
    }

    /// Seals and opens it in both ways, at an odd place in memory.
    fn check(&self, sealer: &Sealer, random: &mut SeededRandom) {
        let name = sealer.name();
        let what = format!("{name}: {} bytes, {} of data", self.plain.len(), self.data.len());
        let offset = random.below(64) as usize;
        let mut room = vec![0xEE; offset + self.plain.len()];
        let out = &mut room[offset..];
        let tag = sealer.seal(&self.nonce, &self.data, &self.plain, out);
        assert!(tag == self.tag && out == self.sealed, "seal, {what}");
        assert!(sealer.open_in_place(&self.nonce, &self.data, &tag, out), "open in place, {what}");
        assert!(out == self.plain, "open in place, {what}");
        let tag = sealer.seal_in_place(&self.nonce, &self.data, out);
        assert!(tag == self.tag && out == self.sealed, "seal in place, {what}");
        out.fill(0xEE);
        let opened = sealer.open_into(&self.nonce, &self.data, &tag, &self.sealed, out);
        assert!(opened && out == self.plain, "open, {what}");
    }

    /// Changes one bit somewhere: it doesn't open, and nothing of it is left.
    fn check_flip(&self, sealer: &Sealer, random: &mut SeededRandom) {
        let (mut nonce, mut tag) = (self.nonce, self.tag);
        let (mut data, mut sealed) = (self.data.clone(), self.sealed.clone());
        let parts = [&mut tag[..], &mut sealed, &mut data, &mut nonce];
        let mut parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let part = random.below(parts.len() as u64) as usize;
        let byte = random.below(parts[part].len() as u64) as usize;
        parts[part][byte] ^= 1 << random.below(8);
        let what = format!("{}: {} bytes, part {part}", sealer.name(), sealed.len());
        let mut out = vec![0xEE; sealed.len()];
        assert!(!sealer.open_into(&nonce, &data, &tag, &sealed, &mut out), "{what}");
        assert!(out.iter().all(|byte| *byte == 0), "open_into left something, {what}");
        assert!(!sealer.open_in_place(&nonce, &data, &tag, &mut sealed), "{what}");
        assert!(sealed.iter().all(|byte| *byte == 0), "open_in_place left something, {what}");
    }
}

#[test]
fn random_messages_are_the_same_bytes_by_all() {
    let messages = from_environment("SIV_MESSAGES", 60_000);
    let mut random = SeededRandom::new(from_environment("SIV_SEED", 1));
    println!("compared: {:?}", Sealer::names());
    for _ in 0..messages.div_ceil(16) {
        let key = array(&mut random);
        let sealers = Sealer::each(&key);
        for _ in 0..16 {
            // Half of them short, where every length comes up often, and some whole pages.
            let text = match random.below(8) {
                0..4 => random.below(600),
                4 => 4096,
                _ => random.below(8193),
            };
            let data = if random.chance(0.2) { 40 } else { random.below(301) };
            let message = Message::new(&key, &mut random, text as usize, data as usize);
            for sealer in &sealers {
                message.check(sealer, &mut random);
                message.check_flip(sealer, &mut random);
            }
        }
    }
    println!("figure: siv_random_messages = {}", messages.div_ceil(16) * 16);
}

#[test]
fn every_length_of_text_and_of_data_is_right() {
    let mut random = SeededRandom::new(2);
    let key = array(&mut random);
    let sealers = Sealer::each(&key);
    for text in 0..=1100 {
        let message = Message::new(&key, &mut random, text, text % 131);
        sealers.iter().for_each(|sealer| message.check(sealer, &mut random));
    }
    for data in 0..=300 {
        let message = Message::new(&key, &mut random, 4096, data);
        sealers.iter().for_each(|sealer| message.check(sealer, &mut random));
    }
}

// dot of RFC 8452, section 3, bit by bit.
fn dot(a: u128, b: u128) -> u128 {
    let mut product = 0_u128;
    for bit in 0..128 {
        product ^= if b >> bit & 1 == 1 { a } else { 0 };
        let low = product & 1 == 1;
        product = (product ^ if low { 1 | 1 << 121 | 1 << 126 | 1 << 127 } else { 0 }) >> 1;
        product |= if low { 1 << 127 } else { 0 };
    }
    product
}

// What undoes `dot` with it: its power 2^128 - 2.
fn inverse(a: u128) -> u128 {
    let (mut square, mut product) = (a, None);
    for _ in 1..128 {
        square = dot(square, square);
        product = Some(product.map_or(square, |product| dot(product, square)));
    }
    product.unwrap()
}

fn encrypt(key: &[u8; 32], block: [u8; 16]) -> [u8; 16] {
    let mut block = Array::from(block);
    Aes256::new(key.into()).encrypt_block(&mut block);
    block.into()
}

/// A message that is sealed to a tag that begins with this counter: its first block is what the
/// rest of the hash leaves open, as in RFC 8452, appendix C.3.
fn message_with_counter(
    key: &[u8; 32],
    random: &mut SeededRandom,
    (text, data): (usize, usize),
    counter: u32,
) -> Message {
    let nonce: [u8; 12] = array(random);
    let derived: Vec<_> = (0..6_u32)
        .flat_map(|counter| {
            let mut block = [0; 16];
            block[..4].copy_from_slice(&counter.to_le_bytes());
            block[4..].copy_from_slice(&nonce);
            encrypt(key, block)[..8].to_vec()
        })
        .collect();
    let h = u128::from_le_bytes(derived[..16].try_into().unwrap());
    let encryption: [u8; 32] = derived[16..].try_into().unwrap();
    let hash = loop {
        let mut tag: [u8; 16] = array(random);
        tag[..4].copy_from_slice(&counter.to_le_bytes());
        let mut block = Array::from(tag);
        Aes256::new(&encryption.into()).decrypt_block(&mut block);
        // Half of all tags come from a block whose top bit is set, which no hash becomes.
        if block[15] < 0x80 {
            let mut padded = [0; 16];
            padded[..12].copy_from_slice(&nonce);
            break u128::from_le_bytes(block.into()) ^ u128::from_le_bytes(padded);
        }
    };
    let (data, mut plain) = (bytes(random, data), bytes(random, text));
    let blocks = |bytes: &[u8]| -> Vec<u128> {
        let padded = |chunk: &[u8]| {
            let mut block = [0; 16];
            block[..chunk.len()].copy_from_slice(chunk);
            u128::from_le_bytes(block)
        };
        bytes.chunks(16).map(padded).collect()
    };
    let before = blocks(&data).into_iter().fold(0, |hash, block| dot(hash ^ block, h));
    let lengths = (data.len() as u128 * 8) | (plain.len() as u128 * 8) << 64;
    let (back, mut behind) = (inverse(h), blocks(&plain));
    behind.push(lengths);
    let after_first = behind[1..].iter().rev().fold(hash, |hash, block| dot(hash, back) ^ block);
    plain[..16].copy_from_slice(&(dot(after_first, back) ^ before).to_le_bytes());

    let mut sealed = plain.clone();
    let sealing = Aes256GcmSiv::new(key.into()).encrypt_inout_detached(
        &Nonce::from(nonce),
        &data,
        sealed.as_mut_slice().into(),
    );
    let tag: [u8; 16] = sealing.unwrap().into();
    assert_eq!(tag[..4], counter.to_le_bytes(), "this message was not made right");
    Message { nonce, data, plain, sealed, tag }
}

#[test]
fn a_counter_that_wraps_at_any_block_is_right() {
    let mut random = SeededRandom::new(3);
    let key = array(&mut random);
    let sealers = Sealer::each(&key);
    let mut wraps = 0;
    for (text, data) in [(4096, 40), (1111, 0), (8192, 300), (100, 17), (64, 0)] {
        let blocks = u32::try_from(text).unwrap().div_ceil(16);
        for before_the_wrap in (0..blocks.min(70)).chain([blocks - 1]) {
            let counter = u32::MAX - before_the_wrap;
            let message = message_with_counter(&key, &mut random, (text, data), counter);
            for sealer in &sealers {
                message.check(sealer, &mut random);
                let four = vec![message.clone(); 4];
                check_batch(sealer, &four, text, &mut random);
            }
            wraps += 1;
        }
    }
    println!("figure: siv_counters_that_wrap = {wraps}");
}

#[test]
fn batches_of_all_sizes_are_their_messages_one_by_one() {
    let mut random = SeededRandom::new(4);
    let key: [u8; 32] = array(&mut random);
    let sizes = [100, 512, 700, 1024, 4096, 8192];
    let mut messages = 0;
    for sealer in Sealer::each(&key) {
        for (count, size) in (0..=36).flat_map(|count| sizes.iter().map(move |size| (count, *size)))
        {
            let each: Vec<_> = (0..count)
                .map(|_| {
                    let data = random.below(200) as usize;
                    Message::new(&key, &mut random, size, data)
                })
                .collect();
            check_batch(&sealer, &each, size, &mut random);
            messages += count;
        }
    }
    println!("figure: siv_batched_messages = {messages}");
}

fn check_batch(sealer: &Sealer, each: &[Message], size: usize, random: &mut SeededRandom) {
    let what = format!("{}: {} of {size} bytes", sealer.name(), each.len());
    let nonces: Vec<_> = each.iter().map(|message| message.nonce).collect();
    let data: Vec<_> = each.iter().map(|message| &message.data[..]).collect();
    let plain: Vec<_> = each.iter().flat_map(|message| message.plain.clone()).collect();
    let (mut sealed, mut tags) = (vec![0; plain.len()], vec![[0; 16]; each.len()]);
    sealer.seal_batch((&nonces, &data), size, &plain, &mut sealed, &mut tags);
    for (index, message) in each.iter().enumerate() {
        let part = &sealed[index * size..][..size];
        assert!(tags[index] == message.tag && part == message.sealed, "{what}, message {index}");
    }
    let mut out = vec![0xEE; plain.len()];
    let opened = sealer.open_batch((&nonces, &data), size, &tags, &sealed, &mut out);
    assert!(opened.iter().all(|opened| *opened) && out == plain, "{what}");
    // Any of them changed: only those are refused and wiped.
    let changed: Vec<_> = each.iter().map(|_| random.chance(0.3)).collect();
    for (tag, _) in tags.iter_mut().zip(&changed).filter(|(_, changed)| **changed) {
        tag[random.below(16) as usize] ^= 1 << random.below(8);
    }
    out.fill(0xEE);
    let opened = sealer.open_batch((&nonces, &data), size, &tags, &sealed, &mut out);
    for (index, message) in each.iter().enumerate() {
        assert_eq!(opened[index], !changed[index], "{what}, message {index}");
        let part = &out[index * size..][..size];
        let zeros = vec![0; size];
        let expected = if changed[index] { &zeros } else { &message.plain };
        assert!(part == expected, "{what}, message {index}");
    }
}

#[test]
fn the_forced_one_is_the_one_that_is_used() {
    let Ok(forced) = std::env::var("STRONGROOM_SIV") else {
        println!("not forced: {} is used", Sealer::chosen());
        assert_eq!(Sealer::chosen(), Sealer::names()[0]);
        return;
    };
    assert_eq!(Sealer::chosen(), forced);
}
