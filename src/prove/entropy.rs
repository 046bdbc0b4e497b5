//! Whether bytes look random: the Shannon entropy of their histogram, against a threshold that a
//! sealed page falls below with a probability that is bounded, not estimated.
//!
//! By the method of types (Cover and Thomas, Elements of Information Theory, 11.1): of `n`
//! independent uniform bytes, the probability that their histogram has `8 - d` bits of entropy or
//! fewer is at most the number of histograms there are, `C(n + 255, 255)`, times `2^(-n d)`. The
//! bound is crude, far above the truth; what matters is that it is tiny and holds for any number of
//! pages: no run of bad luck fails a proof.

use std::sync::LazyLock;

use crate::layout::PAGE_SIZE;

/// A histogram of byte values.
#[derive(Clone, Debug)]
struct Histogram([u32; 256]);

impl Histogram {
    fn of(bytes: &[u8]) -> Self {
        let mut counts = [0_u32; 256];
        for byte in bytes {
            if let Some(count) = counts.get_mut(usize::from(*byte)) {
                *count += 1;
            }
        }
        Self(counts)
    }

    fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(ours, theirs)| *ours += theirs);
    }

    fn is_of_zeros(&self) -> bool {
        self.0.iter().skip(1).all(|count| *count == 0)
    }

    /// Shannon entropy of the histogram, in bits a byte, 0 to 8: log n - (sum of c log c) / n.
    fn entropy_bits(&self) -> f64 {
        static C_LOG_C: LazyLock<Vec<f64>> =
            LazyLock::new(|| (0..=PAGE_SIZE).map(c_log_c).collect());
        let table: &[f64] = &C_LOG_C;
        let c_log_c = |count: &u32| {
            let count = usize::try_from(*count).unwrap_or(usize::MAX);
            table.get(count).copied().unwrap_or_else(|| c_log_c(count))
        };
        let all = f64::from(self.0.iter().sum::<u32>().max(1));
        (all.log2() - self.0.iter().map(c_log_c).sum::<f64>() / all).max(0.0)
    }
}

fn c_log_c(count: usize) -> f64 {
    let count = count as f64;
    if count > 1.0 { count * count.log2() } else { 0.0 }
}

/// Bytes of the smaller of the two windows, a sector.
pub(super) const SECTOR: usize = 512;
/// Below this a page of 4096 bytes is not what a cipher writes: at most 2^-240 by the bound.
pub(super) const PAGE_BITS_MIN: f64 = 7.6;
/// The same for a sector: at most 2^-120.
pub(super) const SECTOR_BITS_MIN: f64 = 6.4;

/// The base-2 logarithm of the bound on a sealed page being called suspicious, by itself or by one
/// of its sectors.
pub(super) fn false_alarm_log2_a_page() -> f64 {
    let page = bound_log2(4096, PAGE_BITS_MIN);
    let sector = bound_log2(SECTOR, SECTOR_BITS_MIN) + 3.0; // eight of them
    // log2(2^a + 2^b), dominated by the larger.
    let (high, low) = (page.max(sector), page.min(sector));
    high + (low - high).exp2().ln_1p() / std::f64::consts::LN_2
}

// log2 of C(n + 255, 255) * 2^(-n (8 - bits)).
fn bound_log2(bytes: usize, bits: f64) -> f64 {
    let n = u32::try_from(bytes).unwrap_or(u32::MAX);
    let types: f64 = (1..256_u32).map(|k| (f64::from(n + k) / f64::from(k)).log2()).sum();
    types - f64::from(n) * (8.0 - bits)
}

/// The entropy of a page in bits a byte, and whether it or one of its sectors is below its
/// threshold. A sector of zeros counts for nothing by itself: it was never written, or is padding.
pub(super) fn look(page: &[u8]) -> (f64, bool) {
    let (mut whole, mut suspicious) = (Histogram::of(&[]), false);
    for sector in page.chunks(SECTOR).map(Histogram::of) {
        suspicious |= !sector.is_of_zeros() && sector.entropy_bits() < SECTOR_BITS_MIN;
        whole.add(&sector);
    }
    let bits = whole.entropy_bits();
    (bits, suspicious || bits < PAGE_BITS_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_are_what_the_documentation_says() {
        let (page, sector) = (bound_log2(4096, PAGE_BITS_MIN), bound_log2(SECTOR, SECTOR_BITS_MIN));
        println!("figure: prove, false alarm a page, log2 of the bound = {page:.1}");
        println!("figure: prove, false alarm a sector, log2 of the bound = {sector:.1}");
        assert!(page < -240.0 && sector < -120.0, "{page} {sector}");
        assert!(false_alarm_log2_a_page() < -110.0);
        // 2^40 pages, four petabytes.
        assert!(false_alarm_log2_a_page() + 40.0 < -70.0);
    }

    #[test]
    fn random_pages_lie_far_above_the_thresholds_and_plaintext_below() {
        let mut lowest = (8.0_f64, 8.0_f64);
        for _ in 0..4000 {
            let page: [u8; 4096] = crate::random::array().unwrap();
            let (bits, suspicious) = look(&page);
            assert!(!suspicious);
            let sector = Histogram::of(&page[..SECTOR]).entropy_bits();
            lowest = (lowest.0.min(bits), lowest.1.min(sector));
        }
        println!("figure: prove, lowest of 4000 random pages, bits a byte = {:.3}", lowest.0);
        println!("figure: prove, lowest of 4000 random sectors, bits a byte = {:.3}", lowest.1);
        assert!(lowest.0 > 7.9 && lowest.1 > 7.2);
        let text = include_bytes!("entropy.rs");
        for page in text.chunks(4096) {
            assert!(look(page).1, "source text");
        }
    }

    #[test]
    fn a_sector_of_text_in_a_random_page_is_seen() {
        let mut page: [u8; 4096] = crate::random::array().unwrap();
        page[1024..1536].copy_from_slice(&include_bytes!("entropy.rs")[..512]);
        let (bits, suspicious) = look(&page);
        assert!(suspicious && bits > PAGE_BITS_MIN, "{bits}");
        // How much of a sector has to be text to be seen.
        let mut page: [u8; 4096] = crate::random::array().unwrap();
        let seen = (0..=512).find(|len| {
            page[..*len].copy_from_slice(&include_bytes!("entropy.rs")[..*len]);
            look(&page).1
        });
        println!("figure: prove, bytes of text in a sector that are seen = {}", seen.unwrap());
        assert!(seen.unwrap() < 400);
    }

    #[test]
    fn zeros_count_for_nothing_but_a_page_half_empty_is_no_sealed_page() {
        assert!(!look(&[]).1 || Histogram::of(&[]).entropy_bits() == 0.0);
        let mut page: [u8; 4096] = crate::random::array().unwrap();
        page[2048..].fill(0);
        assert!(look(&page).1, "no cipher writes that");
    }
}
