//! Bytes a second, as people write them.

use std::str::FromStr;

use strongroom::Throttle;

/// `500K`, `20M`, `1G`, or plain bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    bytes: u64,
}

impl Rate {
    pub(crate) fn throttle(self) -> Throttle {
        Throttle::BytesPerSecond(self.bytes)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text} is no speed: give bytes a second, as 500K, 20M or 1G");
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        let shift = match unit {
            "" => 0,
            "k" | "K" => 10,
            "m" | "M" => 20,
            "g" | "G" => 30,
            _ => return Err(wrong()),
        };
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        let bytes = number.checked_mul(1 << shift).filter(|bytes| *bytes > 0).ok_or_else(wrong)?;
        Ok(Self { bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_have_a_number_and_a_unit() {
        for (text, expected) in [
            ("1", Some(1)),
            ("500K", Some(500 << 10)),
            ("20m", Some(20 << 20)),
            ("1G", Some(1 << 30)),
            ("0", None),
            ("", None),
            ("M", None),
            ("1.5M", None),
            ("-1", None),
            ("20MB", None),
            ("99999999999G", None),
        ] {
            assert_eq!(text.parse::<Rate>().ok().map(|rate| rate.bytes), expected, "{text}");
        }
    }
}
