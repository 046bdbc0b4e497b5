//! The layout that suggests itself, and loses databases: each block of 4096 bytes lies encrypted
//! as nonce, ciphertext and tag, in place. A power cut in the middle of a block leaves one that
//! doesn't open; redb takes that as a failed read, not as a torn page. The harness must see it.

use std::io;
use std::sync::Mutex;

use aes_gcm_siv::aead::{AeadInOut, KeyInit};
use aes_gcm_siv::{Aes256GcmSiv, Nonce, Tag};
use strongroom::medium::Medium;
use strongroom::redb;
use strongroom::testkit::model::{CrashBackend, RedbOn};
use strongroom::testkit::{CrashMedium, SeededRandom};

const PLAIN: u64 = 4096;
const STORED: u64 = PLAIN + 12 + 16;

/// One sealed block after the other, nothing else.
pub struct NaiveBackend {
    medium: CrashMedium,
    cipher: Aes256GcmSiv,
    nonces: Mutex<SeededRandom>,
}

impl std::fmt::Debug for NaiveBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NaiveBackend")
    }
}

/// redb on it.
pub type Naive = RedbOn<NaiveBackend>;

impl CrashBackend for NaiveBackend {
    const NAME: &'static str = "naive";

    /// Its nonces repeat from open to open: a toy in that respect too.
    fn over(medium: CrashMedium) -> Self {
        let cipher = Aes256GcmSiv::new(&[7; 32].into());
        Self { medium, cipher, nonces: Mutex::new(SeededRandom::new(1)) }
    }
}

impl NaiveBackend {
    fn load(&self, block: u64) -> io::Result<Vec<u8>> {
        let mut stored = vec![0; STORED as usize];
        self.medium.read_at(block * STORED, &mut stored)?;
        if stored.iter().all(|byte| *byte == 0) {
            return Ok(vec![0; PLAIN as usize]);
        }
        let (nonce, rest) = stored.split_first_chunk::<12>().unwrap();
        let (sealed, tag) = rest.split_last_chunk::<16>().unwrap();
        let mut plain = sealed.to_vec();
        self.cipher
            .decrypt_inout_detached(
                &Nonce::from(*nonce),
                &block.to_le_bytes(),
                plain.as_mut_slice().into(),
                &Tag::from(*tag),
            )
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a block doesn't open"))?;
        Ok(plain)
    }

    fn store(&self, block: u64, mut plain: Vec<u8>) -> io::Result<()> {
        let mut nonce = [0; 12];
        self.nonces.lock().unwrap().fill(&mut nonce);
        let tag = self
            .cipher
            .encrypt_inout_detached(
                &Nonce::from(nonce),
                &block.to_le_bytes(),
                plain.as_mut_slice().into(),
            )
            .unwrap();
        let stored = [nonce.as_slice(), &plain, tag.as_slice()].concat();
        self.medium.write_at(block * STORED, &stored)
    }

    /// The blocks of a range: block, start in it, end in it.
    fn blocks(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
        let end = offset + length as u64;
        (offset / PLAIN..end.div_ceil(PLAIN)).map(move |block| {
            let first = block * PLAIN;
            let from = offset.saturating_sub(first);
            (block, from as usize, (end - first).min(PLAIN) as usize)
        })
    }
}

impl redb::StorageBackend for NaiveBackend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.medium.len()? / STORED * PLAIN)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        for (block, from, to) in Self::blocks(offset, out.len()) {
            out[done..done + to - from].copy_from_slice(&self.load(block)?[from..to]);
            done += to - from;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.medium.set_len(len.div_ceil(PLAIN) * STORED)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.medium.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut done = 0;
        for (block, from, to) in Self::blocks(offset, data.len()) {
            let whole = to - from == PLAIN as usize;
            let mut plain = if whole { vec![0; PLAIN as usize] } else { self.load(block)? };
            plain[from..to].copy_from_slice(&data[done..done + to - from]);
            done += to - from;
            self.store(block, plain)?;
        }
        Ok(())
    }
}
