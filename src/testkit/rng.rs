//! Seeded randomness for simulations: xoshiro256** by Blackman and Vigna, its state filled by
//! splitmix64. The same seed gives the same run on every machine, so that a failing seed is all
//! that a bug report needs. Not for keys or nonces: those come from the operating system only.

/// A stream of numbers that its seed decides.
#[derive(Clone, Debug)]
pub struct SeededRandom {
    state: [u64; 4],
}

impl SeededRandom {
    /// The stream of this seed. Neighbouring seeds give unrelated streams.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut counter = seed;
        let mut split = || {
            counter = counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = counter;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ (word >> 31)
        };
        Self { state: [split(), split(), split(), split()] }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// A number below `bound`; 0 where `bound` is 0. The bias is below `bound` in 2^64.
    pub fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.next_u64()).wrapping_mul(u128::from(bound));
        u64::try_from(product >> 64).unwrap_or(u64::MAX)
    }

    /// A number from `low` to `high`, both included; `low` where `high` is smaller.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low.saturating_add(self.below(high.saturating_sub(low).saturating_add(1)))
    }

    /// True with this probability; never at 0, always at 1.
    pub fn chance(&mut self, probability: f64) -> bool {
        // 53 bits fill the mantissa: uniform in [0, 1).
        let unit = u32::try_from(self.next_u64() >> 32).unwrap_or(0);
        let fine = u32::try_from(self.next_u64() >> 43).unwrap_or(0);
        let uniform = (f64::from(unit) + f64::from(fine) / 2_097_152.0) / 4_294_967_296.0;
        uniform < probability
    }

    /// A number below `bound` whose size is spread evenly over magnitudes: small numbers are as
    /// likely as large ones, which finds early and late crash points alike.
    pub fn skewed_below(&mut self, bound: u64) -> u64 {
        let bits = u64::from(u64::BITS.saturating_sub(bound.leading_zeros()));
        let shift = self.below(bits.saturating_add(1));
        let limit = 1_u64.checked_shl(u32::try_from(shift).unwrap_or(63)).unwrap_or(u64::MAX);
        self.below(limit.min(bound))
    }

    /// One of these, or `None` of an empty slice.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let index = self.below(u64::try_from(from.len()).unwrap_or(u64::MAX));
        from.get(usize::try_from(index).ok()?)
    }

    /// Fills `out` with bytes of the stream.
    pub fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            for (place, byte) in chunk.iter_mut().zip(self.next_u64().to_le_bytes()) {
                *place = byte;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_stream() {
        let (mut first, mut second) = (SeededRandom::new(7), SeededRandom::new(7));
        let run = [(); 64].map(|()| first.next_u64());
        assert_eq!(run, [(); 64].map(|()| second.next_u64()));
        assert_ne!(run, [(); 64].map(|()| SeededRandom::new(8).next_u64()));
        // Pinned: a change here makes every recorded seed worthless.
        assert_eq!(SeededRandom::new(0).next_u64(), 0x99ec_5f36_cb75_f2b4);
    }

    #[test]
    fn numbers_stay_in_their_bounds_and_reach_them() {
        let mut random = SeededRandom::new(1);
        let mut seen = [false; 5];
        for _ in 0..1000 {
            seen[usize::try_from(random.below(5)).unwrap()] = true;
            assert!((3..=9).contains(&random.between(3, 9)));
            assert!(random.skewed_below(100) < 100);
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!((random.below(0), random.below(1), random.between(4, 4)), (0, 0, 4));
    }

    #[test]
    fn chances_are_about_right_and_exact_at_the_ends() {
        let mut random = SeededRandom::new(2);
        let hits = (0..10_000).filter(|_| random.chance(0.25)).count();
        assert!((2_200..2_800).contains(&hits), "{hits}");
        assert!((0..1000).all(|_| !random.chance(0.0) && random.chance(1.0)));
    }

    #[test]
    fn pick_and_fill_cover_everything() {
        let mut random = SeededRandom::new(3);
        assert_eq!(random.pick::<u8>(&[]), None);
        let mut seen: Vec<u8> = (0..100).filter_map(|_| random.pick(&[1, 2, 3]).copied()).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [1, 2, 3]);
        let mut bytes = [0; 21];
        random.fill(&mut bytes);
        assert!(bytes[13..].iter().any(|byte| *byte != 0));
    }
}
