//! Where a program's choices come from: a seed, or the bytes of a fuzzer.

use crate::testkit::SeededRandom;

/// A source of choices.
pub trait Choices {
    /// A number below `bound`; 0 where that is 0.
    fn below(&mut self, bound: u64) -> u64;

    /// True with about this probability.
    fn chance(&mut self, probability: f64) -> bool;

    /// Whether there is nothing left to choose with: what is still drawn is always the same.
    fn exhausted(&self) -> bool {
        false
    }

    /// A number from `low` to `high`, both included.
    fn between(&mut self, low: u64, high: u64) -> u64 {
        low.saturating_add(self.below(high.saturating_sub(low).saturating_add(1)))
    }

    /// A number below `bound`, small ones as likely as large ones.
    fn skewed_below(&mut self, bound: u64) -> u64 {
        let bits = u64::from(u64::BITS.saturating_sub(bound.leading_zeros()));
        let shift = u32::try_from(self.below(bits.saturating_add(1))).unwrap_or(0);
        self.below(1_u64.checked_shl(shift).unwrap_or(u64::MAX).min(bound))
    }

    /// A number below `bound`, as a table's key is.
    fn number(&mut self, bound: u32) -> u32 {
        u32::try_from(self.below(bound.into())).unwrap_or(0)
    }

    /// An index below `bound`.
    fn place(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        usize::try_from(self.below(bound)).unwrap_or(0)
    }

    /// One of these; the default of an empty slice.
    fn one_of<T: Copy + Default>(&mut self, from: &[T]) -> T {
        let place = self.place(from.len());
        from.get(place).copied().unwrap_or_default()
    }
}

impl Choices for SeededRandom {
    fn below(&mut self, bound: u64) -> u64 {
        Self::below(self, bound)
    }

    fn chance(&mut self, probability: f64) -> bool {
        Self::chance(self, probability)
    }

    fn skewed_below(&mut self, bound: u64) -> u64 {
        Self::skewed_below(self, bound)
    }
}

/// Choices that bytes make, as few of them a choice as will do: a change of one byte changes one
/// thing, which is what a fuzzer needs. At their end every choice is the last one there is.
#[derive(Clone, Debug)]
pub struct Bytes<'a> {
    left: &'a [u8],
}

impl<'a> Bytes<'a> {
    /// All of these.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    fn next(&mut self) -> u8 {
        let (byte, left) = self.left.split_first().unwrap_or((&u8::MAX, &[]));
        self.left = left;
        *byte
    }
}

impl Choices for Bytes<'_> {
    fn below(&mut self, bound: u64) -> u64 {
        let last = bound.saturating_sub(1);
        let bytes = u64::BITS.saturating_sub(last.leading_zeros()).div_ceil(8);
        let number = (0..bytes).fold(0, |sum: u64, _| (sum << 8) | u64::from(self.next()));
        if number < bound { number } else { number.checked_rem(bound).unwrap_or(0) }
    }

    fn chance(&mut self, probability: f64) -> bool {
        f64::from(self.next()) < probability * 255.0
    }

    fn exhausted(&self) -> bool {
        self.left.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_choose_with_as_few_as_will_do() {
        let mut bytes = Bytes::new(&[7, 255, 1, 2, 10]);
        assert_eq!((bytes.below(1), bytes.below(10), bytes.below(256)), (0, 7, 255));
        assert_eq!((bytes.below(257), bytes.below(3)), (1, 1));
        assert!(bytes.exhausted());
        assert!(!bytes.chance(0.99) && !bytes.chance(0.0));
        assert_eq!((bytes.between(5, 8), bytes.number(100)), (8, 55));
    }

    #[test]
    fn skewed_numbers_stay_below_their_bound() {
        for byte in 0..=255_u8 {
            let bytes = [byte, byte.wrapping_mul(31), byte];
            assert!(Bytes::new(&bytes).skewed_below(100) < 100);
            assert_eq!(Bytes::new(&bytes).skewed_below(0), 0);
        }
    }
}
