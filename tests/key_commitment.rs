//! Shows the attack that slot commitments are there for, and that they stop it. AES-256-GCM-SIV
//! does not commit to its key: this test makes one wrapped key that opens under the wrap keys of
//! two credentials, by solving for a ciphertext whose POLYVAL fits both. Put into a file, it would
//! tell an attacker who hears "damaged" rather than "wrong key" that one of his guesses was right,
//! two guesses (or many) to a file. With the commitment, only the one that it names gets so far.
//!
//! Derivation and layout are written out anew from docs/keys.md, and the forged key is tried on the
//! cipher's own crate, so that the attack is known to be real.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper that fails is a test")]

use aes::Aes256;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use aes_gcm_siv::aead::AeadInOut;
use aes_gcm_siv::aead::inout::InOutBuf;
use aes_gcm_siv::{Aes256GcmSiv, Nonce, Tag};
use polyval::Polyval;
use polyval::universal_hash::UniversalHash;
use strongroom::medium::MemoryMedium;
use strongroom::{Builder, Damage, OpenError, RawKey};

type Block = [u8; 16];

const COPY: usize = 32_768;
const SLOT: usize = 2048;
const NONCE: [u8; 12] = *b"chosen nonce";
/// What the attacker guesses: the owner's key, and another one.
const GUESSES: [[u8; 32]; 2] = [[0x11; 32], [0x22; 32]];

/// docs/keys.md, "Derivation": the wrap key of slot 1 for a raw key.
fn wrap_key(file: &[u8], raw_key: &[u8; 32]) -> [u8; 32] {
    let slot = &file[SLOT..2 * SLOT];
    let file_id = &file[40..56];
    let fields = [file_id, &slot[4..8], &slot[1..4], &[0], &slot[8..20]].concat();
    assert_eq!(fields.len(), 36);
    let mut material = Vec::new();
    for part in [&raw_key[..], &fields, &slot[24..56], &[]] {
        material.extend_from_slice(&(part.len() as u64).to_le_bytes());
        material.extend_from_slice(part);
    }
    blake3::derive_key("strongroom 2026-11 slot-wrap v1", &material)
}

/// docs/keys.md, "Wrapping": what the key of slot 1 is bound to.
fn binding(file: &[u8]) -> Vec<u8> {
    [&file[40..56], b"slot-key", &1_u32.to_le_bytes()].concat()
}

/// RFC 8452, section 4: the keys of one nonce.
fn nonce_keys(key: &[u8; 32]) -> (Block, Aes256) {
    let cipher = Aes256::new(&(*key).into());
    let mut derived = Vec::new();
    for counter in 0..6_u32 {
        let mut block = [0; 16];
        block[..4].copy_from_slice(&counter.to_le_bytes());
        block[4..].copy_from_slice(&NONCE);
        let mut block = block.into();
        cipher.encrypt_block(&mut block);
        derived.extend_from_slice(&block[..8]);
    }
    let encryption: [u8; 32] = derived[16..].try_into().unwrap();
    (derived[..16].try_into().unwrap(), Aes256::new(&encryption.into()))
}

/// One guess: what a ciphertext must be for the wrap key to accept it under a given tag.
struct Guess {
    authentication: Block,
    keystream: [Block; 2],
    /// What POLYVAL must come to.
    wanted: Block,
}

impl Guess {
    /// `None` where the tag can't be one of this key's: its highest bit would not be clear.
    fn new(key: &[u8; 32], tag: &Block) -> Option<Self> {
        let (authentication, cipher) = nonce_keys(key);
        let mut hash = (*tag).into();
        cipher.decrypt_block(&mut hash);
        let mut wanted: Block = hash.into();
        if wanted[15] & 0x80 != 0 {
            return None;
        }
        wanted.iter_mut().zip(NONCE).for_each(|(byte, nonce)| *byte ^= nonce);
        let keystream = [0, 1].map(|number: u32| {
            let mut counter = *tag;
            counter[15] |= 0x80;
            let first = u32::from_le_bytes(counter[..4].try_into().unwrap());
            counter[..4].copy_from_slice(&first.wrapping_add(number).to_le_bytes());
            let mut counter = counter.into();
            cipher.encrypt_block(&mut counter);
            counter.into()
        });
        Some(Self { authentication, keystream, wanted })
    }

    /// POLYVAL over what the ciphertext decrypts to, with the binding in front.
    fn polyval(&self, binding: &[u8], ciphertext: &[Block; 2]) -> Block {
        let mut hash = Polyval::new(&self.authentication.into());
        hash.update_padded(binding);
        for (block, keystream) in ciphertext.iter().zip(&self.keystream) {
            let plain: Block = std::array::from_fn(|at| block[at] ^ keystream[at]);
            hash.update(&[plain.into()]);
        }
        let lengths = [binding.len() as u64 * 8, 32 * 8].map(u64::to_le_bytes).concat();
        let lengths: Block = lengths.try_into().unwrap();
        hash.update(&[lengths.into()]);
        hash.finalize().into()
    }
}

fn bit(bytes: &[u8], at: usize) -> bool {
    bytes[at / 8] >> (at % 8) & 1 == 1
}

/// A ciphertext that fits both guesses: 256 unknown bits, 256 linear equations over GF(2).
fn solve(guesses: &[Guess; 2], binding: &[u8]) -> Option<[Block; 2]> {
    let both = |ciphertext: &[Block; 2]| -> Vec<u8> {
        guesses.iter().flat_map(|guess| guess.polyval(binding, ciphertext)).collect()
    };
    let constant = both(&[[0; 16]; 2]);
    let columns: Vec<Vec<u8>> = (0..256)
        .map(|at| {
            let mut unit = [[0; 16]; 2];
            unit[at / 128][at % 128 / 8] = 1 << (at % 8);
            both(&unit).iter().zip(&constant).map(|(a, b)| a ^ b).collect()
        })
        .collect();
    let wanted: Vec<u8> = guesses.iter().flat_map(|guess| guess.wanted).collect();
    // Row i: the coefficients of equation i, and its right side in column 256.
    let mut rows: Vec<Vec<bool>> = (0..256)
        .map(|row| {
            let mut equation: Vec<bool> = columns.iter().map(|column| bit(column, row)).collect();
            equation.push(bit(&wanted, row) ^ bit(&constant, row));
            equation
        })
        .collect();
    for column in 0..256 {
        let pivot = (column..256).find(|row| rows[*row][column])?;
        rows.swap(column, pivot);
        let pivot = rows[column].clone();
        for (number, row) in rows.iter_mut().enumerate() {
            if number != column && row[column] {
                row.iter_mut().zip(&pivot).for_each(|(bit, pivot)| *bit ^= pivot);
            }
        }
    }
    let mut ciphertext = [[0; 16]; 2];
    for (at, row) in rows.iter().enumerate() {
        ciphertext[at / 128][at % 128 / 8] |= u8::from(row[256]) << (at % 8);
    }
    Some(ciphertext)
}

/// Ciphertext and tag that open under both keys.
fn two_key_ciphertext(keys: &[[u8; 32]; 2], binding: &[u8]) -> ([u8; 32], Block) {
    for attempt in 0..64_u8 {
        let tag = [attempt; 16];
        let [Some(first), Some(second)] = keys.map(|key| Guess::new(&key, &tag)) else { continue };
        if let Some(ciphertext) = solve(&[first, second], binding) {
            return (ciphertext.concat().try_into().unwrap(), tag);
        }
    }
    panic!("no tag fits both keys");
}

fn opens_under(key: &[u8; 32], binding: &[u8], ciphertext: &[u8; 32], tag: &Block) -> bool {
    let mut buffer = *ciphertext;
    Aes256GcmSiv::new(&(*key).into())
        .decrypt_inout_detached(
            &Nonce::from(NONCE),
            binding,
            InOutBuf::from(buffer.as_mut_slice()),
            &Tag::from(*tag),
        )
        .is_ok()
}

#[test]
fn a_slot_that_opens_under_two_keys_fails_on_its_commitment() {
    let medium = MemoryMedium::new();
    let db = Builder::new().create_on(medium.clone(), &RawKey::new(GUESSES[0])).unwrap();
    db.close().unwrap();
    let mut file = medium.to_bytes();
    let keys = GUESSES.map(|guess| wrap_key(&file, &guess));
    let binding = binding(&file);
    let (ciphertext, tag) = two_key_ciphertext(&keys, &binding);
    let opened = keys.iter().filter(|key| opens_under(key, &binding, &ciphertext, &tag)).count();
    println!("figure: wrap keys that one forged wrapped key opens under = {opened}");
    assert_eq!(opened, 2, "the attack on the cipher is real");
    assert!(!opens_under(&wrap_key(&file, &[0x33; 32]), &binding, &ciphertext, &tag));

    for copy in [0, COPY] {
        let wrapped = &mut file[copy + SLOT + 88..][..60];
        wrapped[..12].copy_from_slice(&NONCE);
        wrapped[12..44].copy_from_slice(&ciphertext);
        wrapped[44..].copy_from_slice(&tag);
        let crc = crc32fast::hash(&file[copy..copy + COPY - 4]).to_le_bytes();
        file[copy + COPY - 4..copy + COPY].copy_from_slice(&crc);
    }
    let answers = GUESSES.map(|guess| {
        let medium = MemoryMedium::from_bytes(file.clone());
        Builder::new().open_on(medium, &RawKey::new(guess)).map(drop).unwrap_err()
    });
    // The credential that the commitment names gets as far as the forged key; the other one, under
    // which the forged key opens as well, learns no more than any wrong key.
    assert!(matches!(answers[0], OpenError::Damaged(Damage::Header { .. })), "{}", answers[0]);
    assert!(matches!(answers[1], OpenError::WrongKey), "{}", answers[1]);
}
