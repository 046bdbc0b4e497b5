//! Plain BLAKE3, 32 bytes: names bytes that a seal vouches for. Never of anything secret.

use blake3::Hasher;

/// Hashes bytes as they come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hash(Hasher);

impl Hash {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(&self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// `BLAKE3(parts, one after another)`.
pub(crate) fn of(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Hash::default();
    parts.iter().for_each(|part| hash.update(part));
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_blake3_of_the_parts_joined() {
        let expected: [u8; 32] = blake3::hash(b"abc").into();
        assert_eq!(of(&[b"a", b"", b"bc"]), expected);
        assert_ne!(of(&[b"ab"]), expected);
    }
}
