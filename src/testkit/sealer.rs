//! AES-256-GCM-SIV by each implementation of it in this build, to be compared with each other.

use crate::crypto::page::{Backend, Cipher, NotAuthentic, Opening, Sealing};

/// A key in the hands of one implementation: `portable` is the crate `aes-gcm-siv`, `256` and `512`
/// are the kernels of our own, `aws-lc` is there with the feature of that name.
///
/// The environment variable `STRONGROOM_SIV` with one of these names makes a whole process seal and
/// open by that one. It is read with the feature `testkit` only.
#[derive(Debug)]
pub struct Sealer {
    backend: Backend,
    cipher: Cipher,
}

impl Sealer {
    /// The implementations that run here, fastest first.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        let here = Backend::ALL.iter().filter(|backend| backend.runs_here());
        here.map(|backend| backend.name()).collect()
    }

    /// The one that stores of this process use.
    #[must_use]
    pub fn chosen() -> &'static str {
        Backend::chosen().name()
    }

    /// `None` where that one is not in this build or doesn't run here.
    #[must_use]
    pub fn new(name: &str, key: &[u8; 32]) -> Option<Self> {
        let mut here = Backend::ALL.iter().filter(|backend| backend.runs_here());
        let backend = *here.find(|backend| backend.name() == name)?;
        Some(Self { backend, cipher: Cipher::with(backend, key) })
    }

    /// One for each of [`Sealer::names`].
    #[must_use]
    pub fn each(key: &[u8; 32]) -> Vec<Self> {
        Self::names().into_iter().filter_map(|name| Self::new(name, key)).collect()
    }

    /// Which implementation it is.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.backend.name()
    }

    /// Writes the ciphertext to `out`, which is as long as `plain`, and returns the tag.
    #[must_use]
    pub fn seal(
        &self,
        nonce: &[u8; 12],
        associated_data: &[u8],
        plain: &[u8],
        out: &mut [u8],
    ) -> [u8; 16] {
        self.cipher.seal(nonce, associated_data, plain, out)
    }

    /// The same, in place.
    #[must_use]
    pub fn seal_in_place(
        &self,
        nonce: &[u8; 12],
        associated_data: &[u8],
        buffer: &mut [u8],
    ) -> [u8; 16] {
        self.cipher.seal_in_place(nonce, associated_data, buffer)
    }

    /// Writes the plaintext to `out`, which is as long as `sealed`, and says whether it is
    /// authentic. If not, `out` is zeros.
    #[must_use]
    pub fn open_into(
        &self,
        nonce: &[u8; 12],
        associated_data: &[u8],
        tag: &[u8; 16],
        sealed: &[u8],
        out: &mut [u8],
    ) -> bool {
        self.cipher.open_into(nonce, associated_data, tag, sealed, out).is_ok()
    }

    /// The same, in place.
    #[must_use]
    pub fn open_in_place(
        &self,
        nonce: &[u8; 12],
        associated_data: &[u8],
        tag: &[u8; 16],
        buffer: &mut [u8],
    ) -> bool {
        self.cipher.open_in_place(nonce, associated_data, tag, buffer).is_ok()
    }

    /// Seals as many messages as there are nonces, of `size` bytes each. All slices have room for
    /// that many; associated data has one piece for each.
    pub fn seal_batch(
        &self,
        (nonces, associated_data): (&[[u8; 12]], &[&[u8]]),
        size: usize,
        plain: &[u8],
        out: &mut [u8],
        tags: &mut [[u8; 16]],
    ) {
        let sources = nonces.iter().zip(associated_data).zip(plain.chunks(size));
        let rooms = out.chunks_mut(size).zip(tags);
        let messages = sources.zip(rooms).map(|(((nonce, associated_data), plain), (out, tag))| {
            Sealing { nonce, associated_data, plain, out, tag }
        });
        self.cipher.seal_batch(&mut messages.collect::<Vec<_>>());
    }

    /// Opens a batch, and says of each message whether it is authentic.
    #[must_use]
    pub fn open_batch(
        &self,
        (nonces, associated_data): (&[[u8; 12]], &[&[u8]]),
        size: usize,
        tags: &[[u8; 16]],
        sealed: &[u8],
        out: &mut [u8],
    ) -> Vec<bool> {
        let sources = nonces.iter().zip(associated_data).zip(sealed.chunks(size));
        let rooms = out.chunks_mut(size).zip(tags);
        let messages =
            sources.zip(rooms).map(|(((nonce, associated_data), sealed), (out, tag))| {
                let verdict = Err(NotAuthentic);
                Opening { nonce, associated_data, tag, sealed, out, verdict }
            });
        let mut messages = messages.collect::<Vec<_>>();
        self.cipher.open_batch(&mut messages);
        messages.iter().map(|message| message.verdict.is_ok()).collect()
    }
}
