//! Until when a credential is good: a day, a moment, or a number of days from now.

use crate::failure::Failure;

const DAY_S: u64 = 86_400;

/// The last second, Unix time, of `2027-03-31` (its last one in UTC), `2027-03-31T12:00:00Z` or
/// `90d`.
pub(super) fn last_second(text: &str, now: u64) -> Result<u64, Failure> {
    parse(text, now).ok_or_else(|| {
        Failure::usage(format!("{text} is no date"))
            .hint("give a day as 2027-03-31, a moment as 2027-03-31T12:00:00Z, or days as 90d")
    })
}

fn parse(text: &str, now: u64) -> Option<u64> {
    if let Some(days) = text.strip_suffix('d') {
        return digits(days, 1, 5)?.checked_mul(DAY_S)?.checked_add(now);
    }
    let (day, time) = match text.split_once('T') {
        Some((day, time)) => (day, Some(time.strip_suffix('Z')?)),
        None => (text, None),
    };
    let start = start_of(day)?;
    let Some(time) = time else { return start.checked_add(DAY_S - 1) };
    let mut parts = time.split(':');
    let mut part = |limit| parts.next().and_then(|part| digits(part, 2, 2)).filter(|n| *n < limit);
    let (hour, minute, second) = (part(24)?, part(60)?, part(60)?);
    if parts.next().is_some() {
        return None;
    }
    start.checked_add(hour * 3600 + minute * 60 + second)
}

// The first second of a day of the Gregorian calendar, from 1970 on.
fn start_of(day: &str) -> Option<u64> {
    let mut parts = day.split('-');
    let mut part = |len| parts.next().and_then(|part| digits(part, len, len));
    let (year, month, day) = (part(4)?, part(2)?, part(2)?);
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = usize::try_from(month.checked_sub(1)?).ok()?;
    let in_month: u64 = *lengths.get(before)?;
    if parts.next().is_some() || year < 1970 || day == 0 || day > in_month {
        return None;
    }
    let years = year - 1970;
    // Leap days of the years before: 1972 is the first.
    let past = year - 1;
    let leaps = past / 4 - past / 100 + past / 400 - (1969 / 4 - 1969 / 100 + 1969 / 400);
    let months: u64 = lengths.iter().take(before).sum();
    Some((years * 365 + leaps + months + day - 1) * DAY_S)
}

fn digits(text: &str, min: usize, max: usize) -> Option<u64> {
    let good = (min..=max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    good.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_moments_and_spans() {
        for (text, expected) in [
            ("1970-01-01", Some(86_399)),
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T00:00:00Z", Some(951_782_400)),
            ("2000-03-01T00:00:00Z", Some(951_868_800)),
            ("2027-01-15T08:00:00Z", Some(1_800_000_000)),
            ("2100-03-01T00:00:00Z", Some(4_107_542_400)),
            ("90d", Some(100 + 90 * 86_400)),
            ("0d", Some(100)),
            ("2100-02-29", None),
            ("2027-13-01", None),
            ("2027-00-01", None),
            ("2027-1-1", None),
            ("2027-04-31", None),
            ("2027-04-30-1", None),
            ("2027-04-30T24:00:00Z", None),
            ("2027-04-30T12:00Z", None),
            ("2027-04-30T12:00:00", None),
            ("+2d", None),
            ("1969-12-31", None),
            ("tomorrow", None),
            ("", None),
        ] {
            assert_eq!(parse(text, 100), expected, "{text}");
        }
    }
}
