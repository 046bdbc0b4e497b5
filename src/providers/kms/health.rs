//! What there is to know about a key service without changing anything: as facts for programs, and
//! the few of them that somebody should act on as sentences.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::certificate::Day;
use crate::error::ProviderError;

/// How long before a certificate expires it is time to say so.
pub(super) const WARN_BEFORE_S: i64 = 30 * 86_400;

/// What [`TransitKey::health`](super::TransitKey::health) found. What could not be found out, or
/// the token may not ask for, is `None`.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TransitHealth {
    /// The service answered.
    pub reachable: bool,
    /// It is sealed: it has no keys until somebody unseals it.
    pub sealed: Option<bool>,
    /// The server that answered is a standby.
    pub standby: Option<bool>,
    /// The version of its software.
    pub version: Option<String>,
    /// The token.
    pub token: Option<TokenHealth>,
    /// The key.
    pub key: Option<KeyHealth>,
    /// The token may have secrets wrapped, which a new slot needs.
    pub may_wrap: Option<bool>,
    /// The token may have secrets unwrapped, which an open needs.
    pub may_unwrap: Option<bool>,
    /// When the certificate that the service showed expires.
    pub service_certificate_ends: Option<SystemTime>,
    /// When the client certificate expires.
    pub client_certificate_ends: Option<SystemTime>,
    /// The first thing that failed.
    pub problem: Option<ProviderError>,
}

/// What the service says about the token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TokenHealth {
    /// How long it has to live; `None` if it never expires.
    pub ttl: Option<Duration>,
    /// It can be renewed.
    pub renewable: bool,
}

/// What the service says about the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct KeyHealth {
    /// The version that new slots are wrapped with.
    pub latest_version: u64,
    /// Slots of earlier versions are revoked.
    pub min_decryption_version: u64,
    /// It can be effaced.
    pub deletion_allowed: bool,
}

impl TransitHealth {
    /// What somebody should see to before it becomes a failure: certificates with less than 30 days
    /// to go, a token that runs out and can't be renewed.
    #[must_use]
    pub fn warnings(&self, now: SystemTime) -> Vec<String> {
        let certificates = [
            ("the key service's", self.service_certificate_ends),
            ("the client's", self.client_certificate_ends),
        ];
        let mut warnings: Vec<String> = certificates
            .into_iter()
            .filter_map(|(whose, ends)| expiry(whose, unix(ends?), unix(now)))
            .collect();
        if let Some(TokenHealth { ttl: Some(ttl), renewable: false }) = self.token {
            warnings.push(format!(
                "the token can't be renewed and ends in {} minutes; have another put in its place",
                ttl.as_secs() / 60
            ));
        }
        warnings
    }
}

/// What to say about a certificate that ends at `ends`; `None` while there is time.
fn expiry(whose: &str, ends: i64, now: i64) -> Option<String> {
    let left = ends - now;
    match left {
        ..0 => Some(format!("{whose} certificate expired on {}", Day(ends))),
        0..WARN_BEFORE_S => Some(format!(
            "{whose} certificate expires on {}, in {} days; have it renewed",
            Day(ends),
            left / 86_400
        )),
        _ => None,
    }
}

pub(super) fn system_time(unix: i64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(unix).ok()?))
}

fn unix(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Certificates that were warned about, so that a busy service's log gets one line a day and
/// certificate.
#[derive(Debug, Default)]
pub(super) struct Warned(Vec<(&'static str, i64, i64)>);

impl Warned {
    /// What to say now about a certificate, if anything.
    pub(super) fn about(&mut self, whose: &'static str, ends: i64, now: i64) -> Option<String> {
        let words = expiry(whose, ends, now)?;
        let said = (whose, ends, now.div_euclid(86_400));
        if self.0.contains(&said) {
            return None;
        }
        self.0.retain(|(other, _, _)| *other != whose);
        self.0.push(said);
        Some(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_575_600;
    const DAY: i64 = 86_400;

    #[test]
    fn thirty_days_before_a_certificate_ends_there_is_a_warning() {
        for (left, words) in [
            (30 * DAY, None),
            (30 * DAY - 1, Some("expires on 2026-12-25, in 29 days")),
            (0, Some("expires on 2026-11-25, in 0 days")),
            (-1, Some("expired on 2026-11-25")),
        ] {
            let health = TransitHealth {
                client_certificate_ends: system_time(NOW + left),
                ..TransitHealth::default()
            };
            let warnings = health.warnings(system_time(NOW).unwrap());
            match (words, &warnings[..]) {
                (None, []) => {}
                (Some(words), [warning]) => {
                    assert!(warning.contains(words) && warning.starts_with("the client's"));
                }
                other => panic!("{left}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_token_that_ends_is_warned_about_only_if_nothing_can_be_done() {
        let ttl = Some(Duration::from_secs(600));
        for (ttl, renewable, warned) in
            [(ttl, false, true), (ttl, true, false), (None, false, false)]
        {
            let token = Some(TokenHealth { ttl, renewable });
            let health = TransitHealth { token, ..TransitHealth::default() };
            assert_eq!(health.warnings(SystemTime::now()).len(), usize::from(warned));
        }
    }

    #[test]
    fn a_certificate_is_warned_about_once_a_day() {
        let mut warned = Warned::default();
        let ends = NOW + 5 * DAY;
        assert!(warned.about("a", ends, NOW).is_some());
        assert!(warned.about("a", ends, NOW + 60).is_none());
        assert!(warned.about("b", ends, NOW + 60).is_some());
        assert!(warned.about("a", ends + 1, NOW + 60).is_some());
        assert!(warned.about("a", ends + 1, NOW + DAY).is_some());
        assert!(warned.about("a", NOW + 99 * DAY, NOW + DAY).is_none());
    }
}
