//! Floor 2: the only door to the operating system's randomness. No generator of our own: a
//! process that is snapshotted, cloned or forked must not repeat a stream for long, so nonces come
//! from small batches of the system's bytes, each used once and thrown away.

use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};

use zeroize::Zeroize;

/// Nonces per batch: one system call each 64 seals; what a clone of the machine could repeat.
/// A repeated AES-GCM-SIV nonce shows whether two pages are equal, nothing else (RFC 8452, 9).
const NONCES_PER_BATCH: usize = 64;

/// Fills `out` with random bytes of the operating system.
///
/// # Errors
/// The system has no randomness to give; nothing may be sealed then.
pub(crate) fn fill(out: &mut [u8]) -> io::Result<()> {
    getrandom::fill(out).map_err(|error| {
        io::Error::other(format!("the operating system gave no random bytes: {error}"))
    })
}

/// An array of random bytes.
///
/// # Errors
/// As [`fill`].
pub(crate) fn array<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// Hands out 96-bit nonces.
#[derive(Default)]
pub(crate) struct NonceSource {
    batch: Mutex<Vec<[u8; 12]>>,
}

impl fmt::Debug for NonceSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NonceSource")
    }
}

impl NonceSource {
    /// A nonce nobody was given before.
    ///
    /// # Errors
    /// As [`fill`].
    pub(crate) fn next(&self) -> io::Result<[u8; 12]> {
        let mut batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(nonce) = batch.pop() {
            return Ok(nonce);
        }
        let mut bytes = [0; 12 * NONCES_PER_BATCH];
        fill(&mut bytes)?;
        let (nonces, _) = bytes.as_chunks::<12>();
        batch.extend_from_slice(nonces);
        bytes.zeroize();
        batch.pop().ok_or_else(|| io::Error::other("no nonce in a fresh batch"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn nonces_differ_over_many_batches() {
        let source = NonceSource::default();
        let nonces: HashSet<_> =
            (0..10 * NONCES_PER_BATCH).map(|_| source.next().unwrap()).collect();
        assert_eq!(nonces.len(), 10 * NONCES_PER_BATCH);
    }
}
