//! Every implementation of AES-256-GCM-SIV on the same message: the same bytes, the same verdicts, in
//! place, out of place and in batches, also where a bit was changed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom::testkit::Sealer;

/// key 32, nonce 12, length of the associated data u16, bit to change u32, then both texts.
fn split(bytes: &[u8]) -> Option<(&[u8; 32], &[u8; 12], usize, usize, &[u8])> {
    let (key, rest) = bytes.split_first_chunk()?;
    let (nonce, rest) = rest.split_first_chunk()?;
    let (data, rest) = rest.split_first_chunk()?;
    let (bit, rest) = rest.split_first_chunk()?;
    let data = usize::from(u16::from_le_bytes(*data)) % (rest.len() + 1);
    Some((key, nonce, data, u32::from_le_bytes(*bit) as usize, rest))
}

/// What an implementation makes of a message.
fn outcome(sealer: &Sealer, nonce: &[u8; 12], data: &[u8], plain: &[u8], bit: usize) -> Vec<u8> {
    let mut sealed = vec![0; plain.len()];
    let tag = sealer.seal(nonce, data, plain, &mut sealed);
    let mut in_place = plain.to_vec();
    assert_eq!(sealer.seal_in_place(nonce, data, &mut in_place), tag);
    assert_eq!(in_place, sealed);
    assert!(sealer.open_in_place(nonce, data, &tag, &mut in_place));
    assert_eq!(in_place, plain);
    let mut out = vec![0; plain.len()];
    assert!(sealer.open_into(nonce, data, &tag, &sealed, &mut out));
    assert_eq!(out, plain);

    let mut whole = [&sealed[..], &tag].concat();
    let unchanged = whole.clone();
    let bit = bit % (whole.len() * 8);
    whole[bit / 8] ^= 1 << (bit % 8);
    let (changed, changed_tag) = whole.split_last_chunk().unwrap();
    assert!(!sealer.open_into(nonce, data, changed_tag, changed, &mut out));
    assert!(out.iter().all(|byte| *byte == 0));

    // Three of them, so that batches are interleaved; the middle one is the changed one.
    let (nonces, three) = ([*nonce; 3], [data; 3]);
    let plains = plain.repeat(3);
    let (mut batch, mut tags) = (vec![0; plains.len()], [[0; 16]; 3]);
    if plain.is_empty() {
        return unchanged;
    }
    sealer.seal_batch((&nonces, &three), plain.len(), &plains, &mut batch, &mut tags);
    assert_eq!((&batch, tags), (&sealed.repeat(3), [tag; 3]));
    batch[plain.len()..][..plain.len()].copy_from_slice(changed);
    tags[1] = *changed_tag;
    let mut out = vec![1; plains.len()];
    let opened = sealer.open_batch((&nonces, &three), plain.len(), &tags, &batch, &mut out);
    assert_eq!(opened, [true, false, true]);
    assert_eq!(out, [plain, &vec![0; plain.len()], plain].concat());
    unchanged
}

fuzz_target!(|bytes: &[u8]| {
    let Some((key, nonce, data, bit, rest)) = split(bytes) else { return };
    let (data, plain) = rest.split_at(data);
    let sealers = Sealer::each(key);
    let portable = Sealer::new("portable", key).unwrap();
    let expected = outcome(&portable, nonce, data, plain, bit);
    for sealer in &sealers {
        assert_eq!(outcome(sealer, nonce, data, plain, bit), expected, "{}", sealer.name());
    }
});
