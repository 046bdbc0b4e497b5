//! The token that the service knows the caller by: where it is found, and when it is due to be
//! renewed. It is read anew for each question and wiped after it; what is kept is how long it has
//! to live.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{env, fmt};

use zeroize::Zeroizing;

use crate::error::ProviderError;

/// Longer than any token of the service; a file that is longer is another file.
const TOKEN_LEN_MAX: usize = 4096;
/// How long a token that can't be looked up is left alone.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);

/// Where the token is found. It is looked for at each question.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TokenFrom {
    /// A file that holds the token and nothing else; white space round it is ignored. Replace it by
    /// renaming another over it. An agent's sink is such a file.
    File(PathBuf),
    /// The environment variable of this name. It stays readable to the process's owner, in
    /// `/proc` for one, and to whatever the process starts: a file is better.
    Environment(String),
}

/// A token. Wiped when dropped.
pub(super) struct Token(Zeroizing<Vec<u8>>);

impl Token {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl TokenFrom {
    /// # Errors
    /// [`ProviderError::Denied`]: there is none, or it is none.
    pub(super) fn read(&self) -> Result<Token, ProviderError> {
        let bytes = match self {
            Self::File(path) => read_bounded(path).map_err(|error| {
                ProviderError::Denied(format!("no token in {}: {error}", path.display()))
            })?,
            Self::Environment(name) => {
                let value = env::var_os(name).ok_or_else(|| {
                    ProviderError::Denied(format!("no token: {name} is not in the environment"))
                })?;
                Zeroizing::new(value.into_encoded_bytes())
            }
        };
        let token = bytes.trim_ascii();
        let good = !token.is_empty() && token.iter().all(u8::is_ascii_graphic);
        if !good || token.len() > TOKEN_LEN_MAX {
            return Err(ProviderError::Denied(format!(
                "what {self} holds is no token: empty, longer than {TOKEN_LEN_MAX} bytes, or not \
                 printable"
            )));
        }
        Ok(Token(Zeroizing::new(token.to_vec())))
    }
}

impl fmt::Display for TokenFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "the environment variable {name}"),
        }
    }
}

fn read_bounded(path: &PathBuf) -> io::Result<Zeroizing<Vec<u8>>> {
    // Room for all of it from the start: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(TOKEN_LEN_MAX + 64));
    File::open(path)?.take(TOKEN_LEN_MAX as u64 + 32).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// How long a token has to live, as far as the service told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Life {
    /// When the service said so.
    pub(super) told: Instant,
    pub(super) kind: LifeKind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LifeKind {
    /// It may not be looked up.
    Unknown,
    /// It never expires.
    Endless,
    /// It had `left` to live, of the `granted` that it was given last.
    Ends { left: Duration, granted: Duration, renewable: bool },
}

/// What to do about a token before it is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    LookUp,
    Renew,
    Nothing,
}

impl Life {
    /// What is left of it at `now`; `None` where it is endless or unknown.
    pub(super) fn left(self, now: Instant) -> Option<Duration> {
        match self.kind {
            LifeKind::Ends { left, .. } => {
                Some(left.saturating_sub(now.saturating_duration_since(self.told)))
            }
            LifeKind::Unknown | LifeKind::Endless => None,
        }
    }

    /// A token is renewed below half of what it was given last, so that a service that grants less
    /// and less (as it does near a token's maximal life) is not asked every time.
    pub(super) fn due(self, now: Instant) -> Due {
        match (self.kind, self.left(now)) {
            (LifeKind::Unknown, _) if now.saturating_duration_since(self.told) > UNKNOWN_FOR => {
                Due::LookUp
            }
            (LifeKind::Ends { granted, renewable: true, .. }, Some(left)) if left < granted / 2 => {
                Due::Renew
            }
            _ => Due::Nothing,
        }
    }
}

/// What is known of the token that was seen last. Which one it was is kept as a hash under a key
/// of this process, so that no token is kept.
#[derive(Debug, Default)]
pub(super) struct LastToken {
    hasher: RandomState,
    seen: Option<(u64, Life)>,
}

impl LastToken {
    pub(super) fn life(&self, token: &Token) -> Option<Life> {
        let mark = self.hasher.hash_one(token.bytes());
        self.seen.filter(|(seen, _)| *seen == mark).map(|(_, life)| life)
    }

    pub(super) fn note(&mut self, token: &Token, life: Life) {
        self.seen = Some((self.hasher.hash_one(token.bytes()), life));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_token_is_renewed_below_half_its_life_and_not_before() {
        let told = Instant::now();
        let ends = |left, granted, renewable| {
            let (left, granted) = (Duration::from_secs(left), Duration::from_secs(granted));
            LifeKind::Ends { left, granted, renewable }
        };
        for (kind, after_s, due) in [
            (ends(100, 100, true), 0, Due::Nothing),
            (ends(100, 100, true), 49, Due::Nothing),
            (ends(100, 100, true), 51, Due::Renew),
            (ends(100, 100, true), 1000, Due::Renew),
            (ends(40, 100, true), 0, Due::Renew),
            (ends(40, 40, true), 0, Due::Nothing),
            (ends(40, 100, false), 0, Due::Nothing),
            (LifeKind::Endless, 1_000_000, Due::Nothing),
            (LifeKind::Unknown, 59, Due::Nothing),
            (LifeKind::Unknown, 61, Due::LookUp),
        ] {
            let now = told + Duration::from_secs(after_s);
            assert_eq!(Life { told, kind }.due(now), due, "{kind:?} after {after_s} s");
        }
        let life = Life { told, kind: ends(100, 100, true) };
        assert_eq!(life.left(told + Duration::from_secs(70)), Some(Duration::from_secs(30)));
        assert_eq!(life.left(told + Duration::from_secs(170)), Some(Duration::ZERO));
    }

    #[test]
    fn another_token_is_another_life() {
        let token = |text: &str| Token(Zeroizing::new(text.as_bytes().to_vec()));
        let life = Life { told: Instant::now(), kind: LifeKind::Endless };
        let mut last = LastToken::default();
        assert_eq!(last.life(&token("a")), None);
        last.note(&token("a"), life);
        assert_eq!(last.life(&token("a")), Some(life));
        assert_eq!(last.life(&token("b")), None);
        assert!(!format!("{last:?} {:?}", token("a secret")).contains("secret"));
    }

    #[test]
    fn a_token_is_read_as_it_stands_and_anything_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let from = TokenFrom::File(path.clone());
        assert!(matches!(from.read(), Err(ProviderError::Denied(_))));
        fs::write(&path, "  s.abc\n").unwrap();
        assert_eq!(from.read().unwrap().bytes(), b"s.abc");
        let long = "x".repeat(TOKEN_LEN_MAX + 1);
        for text in ["", "\n", "two words", "b\u{e4}d", "a\r\nX: y", "nul\0", &*long] {
            fs::write(&path, text).unwrap();
            match from.read() {
                Err(ProviderError::Denied(why)) => {
                    assert!(text.trim().is_empty() || !why.contains(text.trim()), "{why}");
                }
                other => panic!("{text:?}: {other:?}"),
            }
        }
        let absent = TokenFrom::Environment("STRONGROOM_NO_SUCH_VARIABLE".to_owned());
        assert!(matches!(absent.read(), Err(ProviderError::Denied(_))));
    }
}
