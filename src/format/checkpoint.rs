//! A checkpoint token: what an application writes down of a durable state, to ask for a file that
//! is no older. The digest in it is derived, with a key, from everything a root record says of the
//! state; the root record's own digest never leaves it (docs/format.md, "Checkpoint tokens").

use std::fmt;
use std::str::FromStr;

use super::root_record::RootRecord;
use crate::crypto::derive::{self, Purpose};
use crate::error::TokenError;
use crate::secret::SecretKey;
use crate::units::{FileId, SyncSeq};

const PREFIX: &str = "strongroom1";

/// Names one durable state of one file: file id, sync sequence, and a keyed digest of the state.
/// Keep it where whoever can put the file back can't put it back too; then
/// [`Builder::at_least`](crate::Builder::at_least) refuses an older file. Not secret. As text it is
/// one word of 126 characters; `parse` reads it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CheckpointToken {
    file_id: FileId,
    sync: SyncSeq,
    digest: [u8; 32],
}

impl CheckpointToken {
    /// Of the state that a root record describes; `digest_key` is the digest subkey of the data key
    /// that seals it.
    pub(crate) fn of(root: &RootRecord, digest_key: &SecretKey) -> Self {
        let key = digest_key.expose();
        let digest = *derive::bytes(
            Purpose::Checkpoint,
            &[
                key.as_slice(),
                &root.file_id.0,
                &root.epoch.0.to_le_bytes(),
                &root.sync.0.to_le_bytes(),
                &root.generation.0.to_le_bytes(),
                &root.logical_len.to_le_bytes(),
                &root.groups.to_le_bytes(),
                &root.digest.0,
                &*root.page_zero,
            ],
        );
        Self { file_id: root.file_id, sync: root.sync, digest }
    }

    /// The file.
    #[must_use]
    pub fn file_id(&self) -> FileId {
        self.file_id
    }

    /// The sync whose state it is.
    #[must_use]
    pub fn sync(&self) -> SyncSeq {
        self.sync
    }

    /// Whether a file whose newest state is `found` is this one or newer.
    ///
    /// # Errors
    /// [`TokenError::OtherFile`], [`TokenError::RolledBack`], [`TokenError::Forked`].
    pub(crate) fn check(&self, found: &Self) -> Result<(), TokenError> {
        if found.file_id != self.file_id {
            let (found, expected) = (found.file_id, self.file_id);
            return Err(TokenError::OtherFile { found, expected });
        }
        if found.sync < self.sync {
            return Err(TokenError::RolledBack { found: found.sync, expected: self.sync });
        }
        if found.sync == self.sync && found.digest != self.digest {
            return Err(TokenError::Forked { sync: self.sync });
        }
        Ok(())
    }
}

impl fmt::Display for CheckpointToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}-{}-{:016x}-", self.file_id, self.sync.0)?;
        self.digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for CheckpointToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let parts: Vec<&str> = text.trim().split('-').collect();
        let [PREFIX, file_id, sync, digest] = *parts else {
            return Err(TokenError::Malformed("it has four parts, of which `strongroom1` is one"));
        };
        Ok(Self {
            file_id: FileId(bytes(file_id)?),
            sync: SyncSeq(u64::from_be_bytes(bytes(sync)?)),
            digest: bytes(digest)?,
        })
    }
}

fn bytes<const N: usize>(hex: &str) -> Result<[u8; N], TokenError> {
    const WRONG: TokenError =
        TokenError::Malformed("a part of it has not so many lower-case digits");
    let digit = |c: u8| match c {
        b'0'..=b'9' => Ok(c - b'0'),
        b'a'..=b'f' => Ok(c - b'a' + 10),
        _ => Err(WRONG),
    };
    let mut bytes = [0; N];
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return Err(WRONG);
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::root_record::tests::example;
    use super::*;
    use crate::secret::Arena;
    use crate::units::{Epoch, Generation};

    fn token(root: &RootRecord, key: u8) -> CheckpointToken {
        let key = Arena::new().unwrap().keep(&[key; 32].into()).unwrap();
        CheckpointToken::of(root, &key)
    }

    #[test]
    fn text_comes_back_and_anything_else_is_refused() {
        let token = token(&example(0x0102), 1);
        let text = token.to_string();
        assert_eq!(text.len(), 11 + 1 + 32 + 1 + 16 + 1 + 64);
        assert_eq!(text.parse(), Ok(token));
        assert_eq!((token.file_id(), token.sync()), (FileId([7; 16]), SyncSeq(0x0102)));
        assert_eq!(format!(" {text}\n").parse(), Ok(token));
        for wrong in
            ["", "strongroom1---", &text[1..], &text[..text.len() - 1], &text.to_uppercase()]
        {
            let parsed: Result<CheckpointToken, _> = wrong.parse();
            assert!(matches!(parsed, Err(TokenError::Malformed(_))), "{wrong}");
        }
    }

    #[test]
    fn an_older_state_another_file_and_a_fork_are_told_apart() {
        let root = example(5);
        let kept = token(&root, 1);
        assert_eq!(kept.check(&token(&root, 1)), Ok(()));
        let clean = RootRecord { clean: true, sealed_pages: 9, ..root.clone() };
        assert_eq!(kept.check(&token(&clean, 1)), Ok(()), "says nothing of the content");
        assert_eq!(kept.check(&token(&example(6), 1)), Ok(()));
        let older = TokenError::RolledBack { found: SyncSeq(4), expected: SyncSeq(5) };
        assert_eq!(kept.check(&token(&example(4), 1)), Err(older));
        let mut forks = vec![root.clone(); 6];
        forks[0].digest.0[0] ^= 1;
        forks[1].logical_len += 4096;
        forks[2].groups = 0;
        forks[3].generation = Generation(2);
        forks[4].page_zero[2047] = 1;
        forks[5].epoch = Epoch(2);
        for fork in forks {
            assert_eq!(kept.check(&token(&fork, 1)), Err(TokenError::Forked { sync: SyncSeq(5) }));
        }
        assert!(matches!(kept.check(&token(&root, 2)), Err(TokenError::Forked { .. })));
        let other = RootRecord { file_id: FileId([8; 16]), ..root };
        assert!(matches!(kept.check(&token(&other, 1)), Err(TokenError::OtherFile { .. })));
    }
}
