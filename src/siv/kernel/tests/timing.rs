//! Whether a kernel takes the same time for two kinds of inputs, by the method of dudect (Reparaz,
//! Balasch, Verbauwhede: "Dude, is my code constant time?", 2017): many timings of both in random
//! order, and Welch's t of the two. Says that no difference was seen, never that there is none.
//!
//! ```text
//! cargo test --release --features testkit --lib siv::kernel::tests::timing -- --ignored --nocapture
//! ```

use std::hint::black_box;
use std::time::Instant;

use super::{Stream, widths};
use crate::siv::{Siv, Width};

const SAMPLES: usize = 200_000;
/// Below 4.5 nothing is suspected; from 10 on a difference is certain. On a machine that is busy
/// with other things, values between come and go.
const T_MAX: f64 = 10.0;

/// Welch's t of the timings under the 90th percentile: what lies above is interruptions.
fn welch(mut samples: Vec<(bool, f64)>) -> f64 {
    samples.sort_by(|a, b| a.1.total_cmp(&b.1));
    samples.truncate(samples.len() * 9 / 10);
    let of = |class: bool| {
        let times = samples.iter().filter(|sample| sample.0 == class).map(|sample| sample.1);
        let times: Vec<f64> = times.collect();
        #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
        let count = times.len() as f64;
        let mean = times.iter().sum::<f64>() / count;
        let variance = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    };
    let ((mean_a, error_a), (mean_b, error_b)) = (of(false), of(true));
    (mean_a - mean_b) / (error_a + error_b).sqrt()
}

/// Times `run` for inputs of both classes in random order. `prepare` writes an input of a class.
fn compare(mut prepare: impl FnMut(bool, &mut Stream), mut run: impl FnMut()) -> f64 {
    let mut stream = Stream(7);
    let mut samples = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let class = stream.next() & 1 == 1;
        prepare(class, &mut stream);
        let begun = Instant::now();
        run();
        #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
        samples.push((class, begun.elapsed().as_nanos() as f64));
    }
    welch(samples)
}

fn report(width: Width, what: &str, t: f64) {
    println!("figure: dudect_t_{width:?}_{what} = {t:.2}");
    assert!(t.abs() < T_MAX, "{width:?}, {what}: t = {t:.2}");
}

#[test]
#[ignore = "a measurement: takes half a minute and wants a quiet machine"]
fn the_time_does_not_depend_on_the_bytes() {
    use std::cell::RefCell;
    for width in widths() {
        // Zeros or random bytes in the plaintext.
        let siv = Siv::new(width, &[8; 32]).unwrap();
        let (plain, mut out) = (RefCell::new(vec![0; 4096]), vec![0; 4096]);
        let t = compare(
            |class, stream| {
                // Both classes cost the same to prepare.
                let mut fresh = vec![0; 4096];
                stream.fill(&mut fresh);
                let zeros = vec![0; 4096];
                plain.borrow_mut().copy_from_slice(if class { &fresh } else { &zeros });
            },
            || {
                black_box(siv.seal(&[1; 12], &[2; 40], &plain.borrow(), &mut out));
            },
        );
        report(width, "plaintext", t);

        // A key of zeros or a random one.
        let other = RefCell::new(Siv::new(width, &[0; 32]).unwrap());
        let page = vec![3; 4096];
        let t = compare(
            |class, stream| {
                let mut key = [0; 32];
                stream.fill(&mut key);
                let key = if class { key } else { [0; 32] };
                *other.borrow_mut() = Siv::new(width, &key).unwrap();
            },
            || {
                black_box(other.borrow().seal(&[1; 12], &[2; 40], &page, &mut out));
            },
        );
        report(width, "key", t);

        // A tag that is wrong in its first byte or in its last one.
        let mut sealed = vec![0; 4096];
        let tag = siv.seal(&[1; 12], &[2; 40], &page, &mut sealed);
        let wrong = RefCell::new(tag);
        let t = compare(
            |class, _| {
                *wrong.borrow_mut() = tag;
                wrong.borrow_mut()[if class { 15 } else { 0 }] ^= 0x40;
            },
            || {
                let opened = siv.open_into(&[1; 12], &[2; 40], &wrong.borrow(), &sealed, &mut out);
                assert!(black_box(opened).is_err());
            },
        );
        report(width, "tag", t);
    }
}
