//! The dates of a certificate, by a walk over its outermost fields (RFC 5280, 4.1):
//!
//! ```text
//! Certificate    ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signature }
//! TBSCertificate ::= SEQUENCE { [0] version OPTIONAL, serialNumber INTEGER, signature SEQUENCE,
//!                               issuer SEQUENCE, validity SEQUENCE { notBefore, notAfter }, ... }
//! ```
//!
//! rustls checks chains, names, signatures and dates, and doesn't tell the dates. With a pin and
//! no roots they are checked here; otherwise they are for warnings only.

use std::fmt;

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xA0;
const DAY_S: i64 = 86_400;

/// From when to when a certificate is valid, in Unix seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Dates {
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

/// The dates of a certificate in DER; `None` where the bytes are not those of one.
pub(super) fn dates(der: &[u8]) -> Option<Dates> {
    let (certificate, _) = inside(der, SEQUENCE)?;
    let (mut fields, _) = inside(certificate, SEQUENCE)?;
    if let Some((_, rest)) = inside(fields, VERSION) {
        fields = rest;
    }
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        (_, fields) = inside(fields, tag)?;
    }
    let (validity, _) = inside(fields, SEQUENCE)?;
    let (not_before, rest) = time(validity)?;
    let (not_after, _) = time(rest)?;
    Some(Dates { not_before, not_after })
}

/// The content of the first element, which must have this tag, and what follows the element.
fn inside(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(bytes)?;
    (found == tag).then_some((content, rest))
}

/// Tag, content, rest. Lengths in one to four bytes, as DER has them; no tag of several bytes.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk()?;
    let (len, rest) = match first {
        0..=0x7F => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
            (digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}

/// The time at the start of `bytes`, which certificates give to the second and in UTC, and what
/// follows it.
fn time(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (tag, text, rest) = element(bytes)?;
    let digits = text.strip_suffix(b"Z").filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let pair = |at: usize| -> Option<i64> {
        let pair = digits.get(at..at + 2)?;
        Some(pair.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
    };
    let (year, at) = match (tag, digits.len()) {
        // Two digits: 50 to 99 are of the last century.
        (UTC_TIME, 12) => (pair(0)? + if pair(0)? < 50 { 2000 } else { 1900 }, 2),
        (GENERALIZED_TIME, 14) => (pair(0)? * 100 + pair(2)?, 4),
        _ => return None,
    };
    let (month, day) = (pair(at)?, pair(at + 2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let seconds = pair(at + 4)? * 3600 + pair(at + 6)? * 60 + pair(at + 8)?;
    Some((days_since_1970(year, month, day) * DAY_S + seconds, rest))
}

/// Days from 1970-01-01, Gregorian. Years begin in March here, so that leap days come last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// A time in Unix seconds, shown as its day: `2026-11-25`.
#[derive(Clone, Copy)]
pub(super) struct Day(pub(super) i64);

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.0.div_euclid(DAY_S) + 719_468;
        let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl fmt::Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
        let [.., high, low] = content.len().to_be_bytes();
        let len = match (high, low) {
            (0, 0..=0x7F) => vec![low],
            (0, _) => vec![0x81, low],
            _ => vec![0x82, high, low],
        };
        [&[tag], &len[..], content].concat()
    }

    fn certificate(version: bool, issuer_len: usize, validity: &[u8]) -> Vec<u8> {
        let fields = [
            if version { tagged(VERSION, &[2, 1, 2]) } else { Vec::new() },
            tagged(INTEGER, &[0x7F; 20]),
            tagged(SEQUENCE, &[6, 1, 0]),
            tagged(SEQUENCE, &vec![0; issuer_len]),
            tagged(SEQUENCE, validity),
            tagged(SEQUENCE, b"subject and so on"),
        ];
        tagged(SEQUENCE, &tagged(SEQUENCE, &fields.concat()))
    }

    #[test]
    fn both_dates_are_found_whatever_stands_before_them() {
        let validity =
            [tagged(UTC_TIME, b"261125030000Z"), tagged(GENERALIZED_TIME, b"20500101000000Z")];
        let wanted = Dates { not_before: 1_795_575_600, not_after: 2_524_608_000 };
        for (version, issuer_len) in [(true, 0), (false, 0), (true, 127), (true, 200), (true, 900)]
        {
            let der = certificate(version, issuer_len, &validity.concat());
            assert_eq!(dates(&der), Some(wanted), "{version} {issuer_len}");
            for cut in 0..der.len() {
                assert_eq!(dates(&der[..cut]), None, "cut at {cut}");
            }
        }
    }

    #[test]
    fn times_are_what_the_calendar_says() {
        for (tag, text, unix) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (UTC_TIME, "500101000000Z", Some(-631_152_000)),
            (UTC_TIME, "000229120000Z", Some(951_825_600)),
            (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (GENERALIZED_TIME, "21000301000000Z", Some(4_107_542_400)),
            (UTC_TIME, "20500101000000Z", None),
            (GENERALIZED_TIME, "500101000000Z", None),
            (UTC_TIME, "700001000000Z", None),
            (UTC_TIME, "701301000000Z", None),
            (UTC_TIME, "700100000000Z", None),
            (UTC_TIME, "7001010000000", None),
            (UTC_TIME, "70010100000:Z", None),
            (INTEGER, "700101000000Z", None),
        ] {
            let der = tagged(tag, text.as_bytes());
            assert_eq!(time(&der).map(|(unix, _)| unix), unix, "{text}");
        }
    }

    #[test]
    fn days_are_shown_as_a_calendar_has_them() {
        for (unix, day) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (951_782_400, "2000-02-29"),
            (1_795_575_600, "2026-11-25"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(Day(unix).to_string(), day);
        }
        for days in (0..60_000).step_by(17) {
            let text = Day(days * DAY_S).to_string();
            let part = |from: usize, to| text[from..to].parse::<i64>().unwrap();
            assert_eq!(days_since_1970(part(0, 4), part(5, 7), part(8, 10)), days, "{text}");
        }
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for bytes in
            [&b""[..], b"\x30", b"\x30\x80", b"\x30\x81", b"\x30\x85\0\0\0\0\0", b"\x30\x02\0"]
        {
            assert_eq!(element(bytes), None, "{bytes:?}");
        }
        assert_eq!(element(b"\x30\x84\xFF\xFF\xFF\xFF"), None);
        assert_eq!(element(b"\x02\x01\x05\x06"), Some((2, &b"\x05"[..], &b"\x06"[..])));
    }
}
