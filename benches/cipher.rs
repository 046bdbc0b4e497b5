//! What sealing and opening a page costs by each implementation, in units of plain AES: the time that
//! `aes` takes to encrypt as many blocks, all units busy (docs/performance.md, "The cipher").
//!
//! ```text
//! cargo bench --bench cipher --features testkit
//! cargo bench --bench cipher --features testkit,aws-lc
//! ROUNDS=901 cargo bench --bench cipher --features testkit -- 512    only names with 512 in them
//! ```
//!
//! In each round everything is measured once, a few microseconds at a time and in turns with AES,
//! and a ratio is taken within the round; so what slows the machine down slows both. Without the
//! `--bench` that `cargo bench` passes, it is a smoke test of a second.
#![allow(
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "figures for people; a bench that fails may panic"
)]

use std::hint::black_box;
use std::time::Instant;

use aes::Aes256Enc;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use strongroom::testkit::{Sealer, SeededRandom};

const PAGE: usize = 4096;
const BATCH: usize = 32;
const KEY: [u8; 32] = [0x42; 32];
/// As long as the store's.
const ASSOCIATED_DATA: [u8; 40] = [0x17; 40];

/// A thing to measure: does so many pages, again and again.
struct Case<'a> {
    name: String,
    pages: usize,
    run: Box<dyn FnMut() + 'a>,
    /// Nanoseconds a page, and that over AES in the same round.
    samples: Vec<(f64, f64)>,
}

fn nanoseconds(calls: usize, mut run: impl FnMut()) -> f64 {
    let begun = Instant::now();
    for _ in 0..calls {
        run();
    }
    begun.elapsed().as_nanos() as f64 / calls as f64
}

fn cases<'a>(sealer: &'a Sealer, plain: &'a [u8], nonces: &'a [[u8; 12]]) -> Vec<Case<'a>> {
    let name = sealer.name();
    let mut cases = Vec::new();
    let mut case = |what: &str, pages: usize, run: Box<dyn FnMut() + 'a>| {
        cases.push(Case { name: format!("{what}_{name}"), pages, run, samples: Vec::new() });
    };
    let data = [&ASSOCIATED_DATA[..]; BATCH];
    let mut sealed = vec![0; BATCH * PAGE];
    let mut tags = vec![[0; 16]; BATCH];
    sealer.seal_batch((nonces, &data), PAGE, plain, &mut sealed, &mut tags);

    let mut out = vec![0; PAGE];
    let (one, tag) = (sealed[..PAGE].to_vec(), tags[0]);
    case(
        "open",
        1,
        Box::new(move || {
            let opened =
                sealer.open_into(&nonces[0], &ASSOCIATED_DATA, &tag, black_box(&one), &mut out);
            assert!(black_box(opened));
        }),
    );
    let (mut out, one, tag) = (vec![0; PAGE], sealed[..PAGE].to_vec(), tags[0]);
    case(
        "open_with_new_key",
        1,
        Box::new(move || {
            let sealer = Sealer::new(sealer.name(), black_box(&KEY)).expect("it runs here");
            let opened =
                sealer.open_into(&nonces[0], &ASSOCIATED_DATA, &tag, black_box(&one), &mut out);
            assert!(black_box(opened));
        }),
    );
    let mut out = vec![0; PAGE];
    case(
        "seal",
        1,
        Box::new(move || {
            let plain = black_box(&plain[..PAGE]);
            black_box(sealer.seal(&nonces[0], &ASSOCIATED_DATA, plain, &mut out));
        }),
    );
    let (mut out, mut new_tags) = (vec![0; BATCH * PAGE], vec![[0; 16]; BATCH]);
    case(
        "seal_batch",
        BATCH,
        Box::new(move || {
            sealer.seal_batch((nonces, &data), PAGE, black_box(plain), &mut out, &mut new_tags);
            black_box(&new_tags);
        }),
    );
    let mut out = vec![0; BATCH * PAGE];
    case(
        "open_batch",
        BATCH,
        Box::new(move || {
            let opened =
                sealer.open_batch((nonces, &data), PAGE, &tags, black_box(&sealed), &mut out);
            assert!(opened.into_iter().all(|opened| opened));
        }),
    );
    cases
}

fn quantile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) * percent / 100]
}

fn main() {
    let smoke = !std::env::args().any(|argument| argument == "--bench");
    let rounds = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let rounds = rounds.unwrap_or(if smoke { 3 } else { 301 });
    let mut random = SeededRandom::new(7);
    let mut plain = vec![0; BATCH * PAGE];
    random.fill(&mut plain);
    let mut nonces = vec![[0; 12]; BATCH];
    nonces.iter_mut().for_each(|nonce| random.fill(nonce));

    let sealers = Sealer::each(&KEY);
    let mut cases: Vec<_> =
        sealers.iter().flat_map(|sealer| cases(sealer, &plain, &nonces)).collect();
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    cases.retain(|case| filter.as_ref().is_none_or(|filter| case.name.contains(filter)));
    let aes = Aes256Enc::new(&Array::from(KEY));
    let mut blocks = vec![Array::from([9; 16]); PAGE / 16];
    let mut aes_alone = Vec::new();
    for _ in 0..rounds {
        for case in &mut cases {
            let calls = (2 * BATCH).div_ceil(case.pages);
            let mut aes_before =
                || nanoseconds(2 * BATCH, || aes.encrypt_blocks(black_box(&mut blocks)));
            (case.run)(); // its buffers are in the cache, as those of AES are
            let before = aes_before();
            let page = nanoseconds(calls, &mut case.run) / case.pages as f64;
            let unit = (before + aes_before()) / 2.0;
            case.samples.push((page, page / unit));
            aes_alone.push(unit);
        }
    }
    report(&mut cases, &mut aes_alone);
}

fn report(cases: &mut [Case<'_>], aes_alone: &mut [f64]) {
    println!("figure: aes_256_blocks_ns = {:.0}", quantile(aes_alone, 50));
    println!("| case | ns/page: best | median | over AES: 10 % | median | 90 % |");
    println!("|---|---:|---:|---:|---:|---:|");
    for case in cases {
        let (mut pages, mut ratios): (Vec<_>, Vec<_>) = case.samples.iter().copied().unzip();
        println!(
            "| {} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} |",
            case.name,
            quantile(&mut pages, 0),
            quantile(&mut pages, 50),
            quantile(&mut ratios, 10),
            quantile(&mut ratios, 50),
            quantile(&mut ratios, 90),
        );
        println!("figure: {}_over_aes = {:.3}", case.name, quantile(&mut ratios, 50));
    }
}
