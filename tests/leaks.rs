//! Shows what can't be found: stored keys, values, table names, the passphrase, raw key bytes and
//! redb's magic nowhere in the file (and that the search finds them in a plain redb file); the file
//! behind the headers looks random, page by page; no key in any `Debug` or `Display`; and no raw
//! key or passphrase in the memory of a process that closed its database and dropped its key, by a
//! look through `/proc/self/mem` that does find it while the key is held. The needles lie in the
//! test binary under a mask, so that the search never holds what it looks for.
//!
//! A caller's own copies are the caller's to wipe: an array passed by value may stay on the stack
//! until the stack is used again, which the child does before it looks. Stored plaintext may stay
//! in redb's freed cache pages: that is printed, not promised.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a helper that fails is a test that fails"
)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use strongroom::medium::MemoryMedium;
use strongroom::redb::{self, ReadableDatabase, TableDefinition};
use strongroom::{
    AllOf, Builder, Database, EncryptedBackend, Error, KdfCost, KeyFile, Passphrase, RawKey,
    RecoveryCode, SlotSecret,
};
use zeroize::Zeroizing;

const PEOPLE: TableDefinition<&str, &[u8]> = TableDefinition::new("TABLE-NAME-of-people");
const CHEAP: KdfCost = KdfCost { memory_kib: 19 * 1024, passes: 2, lanes: 1 };
const PASSPHRASE: &str = "correct horse battery staple";
const PAGE: usize = 4096;

fn raw_key() -> [u8; 32] {
    std::array::from_fn(|i| (i * 37 + 201) as u8)
}

fn fill(db: &redb::Database) {
    for round in 0..5_u32 {
        let txn = db.begin_write().unwrap();
        for number in 0..200_u32 {
            let value = format!("VALUE-PLAINTEXT-{round}-{number}-").repeat(20);
            let key = format!("KEY-PLAINTEXT-{number:05}");
            txn.open_table(PEOPLE).unwrap().insert(&*key, value.as_bytes()).unwrap();
        }
        txn.commit().unwrap();
    }
}

fn hits(haystack: &[u8], needle: &[u8]) -> usize {
    haystack.windows(needle.len()).filter(|window| *window == needle).count()
}

fn plaintext_needles() -> [&'static [u8]; 5] {
    [b"VALUE-PLAINTEXT", b"KEY-PLAINTEXT", b"TABLE-NAME", b"redb\x1a\x0a", b"-of-people"]
}

#[test]
fn nothing_that_was_stored_or_given_stands_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name| folder.path().join(name);
    let plain = redb::Database::create(path("plain")).unwrap();
    fill(&plain);
    drop(plain);
    let plain = fs::read(path("plain")).unwrap();
    assert!(plaintext_needles().iter().all(|needle| hits(&plain, needle) > 0), "the search bites");

    let with_key = Database::create(path("raw"), RawKey::new(raw_key())).unwrap();
    fill(&with_key);
    let while_open = fs::read(path("raw")).unwrap();
    with_key.close().unwrap();
    let passphrase = Passphrase::new(PASSPHRASE).cost(CHEAP);
    let with_passphrase = Database::create(path("passphrase"), passphrase).unwrap();
    fill(&with_passphrase);
    with_passphrase.close().unwrap();
    let hex: String = raw_key().iter().map(|byte| format!("{byte:02x}")).collect();
    let reversed: Vec<u8> = raw_key().iter().rev().copied().collect();
    for file in [while_open, fs::read(path("raw")).unwrap(), fs::read(path("passphrase")).unwrap()]
    {
        for needle in plaintext_needles() {
            assert_eq!(hits(&file, needle), 0, "{}", String::from_utf8_lossy(needle));
        }
        for needle in [&raw_key()[..8], &raw_key()[24..], &reversed[..8], &hex.as_bytes()[..12]] {
            assert_eq!(hits(&file, needle), 0, "the key");
        }
        assert_eq!(hits(&file, &PASSPHRASE.as_bytes()[..8]), 0, "the passphrase");
        println!("figure: bytes searched, none found = {}", file.len());
    }
}

fn chi_square(counts: &[u64; 256]) -> f64 {
    let expected = counts.iter().sum::<u64>() as f64 / 256.0;
    counts.iter().map(|count| (*count as f64 - expected).powi(2) / expected).sum()
}

fn entropy_bits(bytes: &[u8]) -> f64 {
    let mut counts = [0_u64; 256];
    bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let share = |count: &u64| *count as f64 / bytes.len() as f64;
    let term = |count: &u64| if *count == 0 { 0.0 } else { -share(count) * share(count).log2() };
    counts.iter().map(term).sum()
}

#[test]
fn the_file_behind_the_headers_is_random_bytes() {
    let medium = MemoryMedium::new();
    let db = Builder::new().create_on(medium.clone(), &RawKey::new(raw_key())).unwrap();
    fill(&db);
    let txn = db.begin_write().unwrap();
    txn.open_table(PEOPLE).unwrap().insert("large", &*vec![b'x'; 1_200_000]).unwrap();
    txn.commit().unwrap();
    db.close().unwrap();
    let bytes = medium.to_bytes();
    let (mut counts, mut zero_pages, mut pages, mut least) =
        ([0; 256], BTreeMap::new(), 0, 8.0_f64);
    for (number, page) in bytes.chunks(PAGE).enumerate().skip(16) {
        let in_group = (number.saturating_sub(20)) % 128;
        let last = number == bytes.len() / PAGE - 1;
        let kind = match number {
            16 | 17 => "root record",
            18 | 19 => "reserved page",
            22 => "place of page 0, which lives in the root record",
            _ if last => "clean index",
            _ if in_group < 2 => "tag page",
            _ => "data page that was never written",
        };
        if page.iter().all(|byte| *byte == 0) {
            *zero_pages.entry(kind).or_insert(0) += 1;
            continue;
        }
        // Records start with their epoch, a small number in the clear.
        let record = matches!(kind, "root record" | "tag page" | "clean index");
        let random = &page[if record { 4 } else { 0 }..];
        random.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        least = least.min(entropy_bits(random));
        pages += 1;
    }
    assert!(bytes.len() > (20 + 2 * 128) * PAGE, "more than two groups");
    let chi_square = chi_square(&counts);
    println!("figure: pages that are not zero = {pages}");
    println!("figure: chi-square of their bytes (255 +- 23 for random ones) = {chi_square:.1}");
    println!("figure: least entropy of a page (7.95 for random ones) = {least:.3} bits a byte");
    for (kind, count) in &zero_pages {
        println!("figure: zero pages, {kind} = {count}");
    }
    assert!((120.0..391.0).contains(&chi_square), "6 standard deviations");
    assert!(least > 7.9);
    assert!(!zero_pages.contains_key("root record") && !zero_pages.contains_key("tag page"));
    // Both measures bite: the entropy on one page of text, the chi-square on sixteen of them among
    // all pages. One page alone moves it by about 120 only, which its own spread can hide.
    let text_page = b"VALUE-PLAINTEXT-".repeat(PAGE / 16);
    assert!(entropy_bits(&text_page) < 7.9);
    text_page.iter().for_each(|byte| counts[usize::from(*byte)] += 16);
    assert!(self::chi_square(&counts) > 391.0);
}

#[test]
fn no_key_shows_in_debug_or_display() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.room");
    let key_path = folder.path().join("key");
    fs::write(&key_path, raw_key()).unwrap();
    let key = RawKey::new(raw_key());
    let builder = Builder::new();
    let db = builder.create(&path, &key).unwrap();
    let mut shown = vec![
        format!("{key:?} {key:#?} {:?}", KeyFile::read(&key_path).unwrap()),
        format!("{0:?} {0:#?}", Passphrase::new(PASSPHRASE).cost(CHEAP)),
        format!("{db:?} {db:#?} {:?} {builder:?} {builder:#?}", db.recovery()),
        format!("{0:?} {0:#?}", SlotSecret::from_bytes(&raw_key())),
    ];
    let both = AllOf::new(RawKey::new(raw_key()), Passphrase::new(PASSPHRASE).cost(CHEAP));
    shown.push(format!("{both:?} {both:#?}"));
    let code = RecoveryCode::generate().unwrap();
    let paper = code.reveal().to_string();
    shown.push(format!("{code:?} {code:#?} {0:?} {0:#?}", code.reveal()));
    let mistyped = format!("{}{}", &paper[1..], &paper[..1]);
    let mistyped = RecoveryCode::parse(&mistyped).unwrap_err();
    shown.push(format!("{mistyped:?} {mistyped}"));
    let errors = [
        Builder::new().create(&path, &key).unwrap_err(),
        Builder::new().open(&path, &key).unwrap_err(),
        Builder::new().open(folder.path().join("none"), &key).unwrap_err(),
    ];
    shown.extend(errors.map(|e| format!("{e:?} {e}") + &format!("{:?}", Error::from(e))));
    db.close().unwrap();
    for wrong in [
        builder.open(&path, &RawKey::new([1; 32])).unwrap_err(),
        builder.open(&path, &Passphrase::new(PASSPHRASE)).unwrap_err(),
        builder.create(folder.path().join("x"), &Passphrase::new("")).unwrap_err(),
    ] {
        shown.push(format!("{wrong:?} {wrong}"));
    }
    let read_only = builder.open_read_only(&path, &key).unwrap();
    shown.push(format!("{read_only:?} {read_only:#?}"));
    drop(read_only);
    let backend = EncryptedBackend::create_on(MemoryMedium::new(), &key).unwrap();
    shown.push(format!("{backend:?} {backend:#?}"));
    let [a, b, c, ..] = raw_key();
    let needles = [
        format!("{a}, {b}"),
        format!("{a},\n"),
        format!("{a:02x}{b:02x}{c:02x}"),
        format!("{a:x}, {b:x}"),
        "correct horse".to_owned(),
        paper[..6].to_lowercase(),
        paper[1..7].to_lowercase(),
    ];
    for text in shown {
        let lower = text.to_lowercase();
        assert!(!needles.iter().any(|needle| lower.contains(needle)), "{text}");
    }
    let bites = format!("{:?}", raw_key());
    assert!(needles.iter().any(|needle| bites.contains(needle)));
}

/// A secret that only ever exists where the code under test keeps it, and here for a moment.
struct Masked([u8; 32]);

const MASK: u8 = 0xA7;
const KEY: Masked = Masked(*b"0ne raw key, thirty-two bytes \x01\x02");
const WORDS: Masked = Masked(*b"a passphrase of thirty-two bytes");
const VALUE: Masked = Masked(*b"a stored value of 32 bytes \x03\x04\x05\x06\x07");

/// The code of the bytes i * 37 % 251, which the search looks for; the letters are not the bytes.
const PAPER: &str = "00JMMK-VWMQ73-F0GBAX-JEYEC6-3SGG6G-ND7Z9W-69XRCR-3TRM7Y-NK8ZCT-825DA9-7SRQ5T";
const CODE: Masked = Masked({
    let mut bytes = [0; 32];
    let mut at = 0;
    while at < 32 {
        bytes[at] = (at * 37 % 251) as u8 ^ MASK;
        at += 1;
    }
    bytes
});

impl Masked {
    #[inline(never)]
    fn unmasked(&self) -> Zeroizing<[u8; 32]> {
        let mut bytes = Zeroizing::new([0; 32]);
        for (byte, masked) in bytes.iter_mut().zip(black_box(self.0)) {
            *byte = masked ^ MASK;
        }
        bytes
    }

    // A plain loop: iterators take minutes in a debug build.
    fn hits(&self, haystack: &[u8]) -> usize {
        let (first, mut at, mut hits) = (self.0[0] ^ MASK, 0, 0);
        while at + 32 <= haystack.len() {
            if haystack[at] == first {
                let window = &haystack[at..at + 32];
                hits += usize::from(window.iter().zip(&self.0).all(|(a, b)| a ^ MASK == *b));
            }
            at += 1;
        }
        hits
    }

    /// How often it stands in this process's memory.
    fn in_memory(&self) -> usize {
        let memory = File::open("/proc/self/mem").unwrap();
        let mut buffer = vec![0; 1 << 20];
        let own = buffer.as_ptr() as u64;
        let own = own..own + buffer.len() as u64;
        let mut hits = 0;
        for line in fs::read_to_string("/proc/self/maps").unwrap().lines() {
            let mut fields = line.split_whitespace();
            let (range, access) = (fields.next().unwrap(), fields.next().unwrap());
            if !access.starts_with('r') || line.contains("[v") {
                continue;
            }
            let (start, end) = range.split_once('-').unwrap();
            let mut at = u64::from_str_radix(start, 16).unwrap();
            let end = u64::from_str_radix(end, 16).unwrap();
            while at < end {
                if own.contains(&at) {
                    at = own.end;
                    continue;
                }
                let stop = if at < own.start { end.min(own.start) } else { end };
                let len = (stop - at).min(buffer.len() as u64) as usize;
                let read = memory.read_at(&mut buffer[..len], at).unwrap_or(0);
                hits += self.hits(&buffer[..read]);
                black_box(&mut buffer).fill(0);
                // Chunks overlap by what a needle could straddle.
                at += if len == buffer.len() { len as u64 - 31 } else { len as u64 };
            }
        }
        hits
    }
}

/// Uses the stack that earlier calls left behind, as a program that goes on does.
#[inline(never)]
fn use_the_stack_again() {
    let mut frame = [0_u8; 256 * 1024];
    black_box(&mut frame);
}

/// In a frame of its own: an unoptimised caller's copies of what it passes stay until it returns.
#[inline(never)]
fn given_raw_key() -> RawKey {
    RawKey::new(*KEY.unmasked())
}

fn with_a_recovery_code() {
    let medium = MemoryMedium::new();
    let code = RecoveryCode::parse(PAPER).unwrap();
    use_the_stack_again();
    println!("figure: recovery code's key in memory while held = {}", CODE.in_memory());
    let both = AllOf::new(code, given_raw_key());
    Builder::new().create_on(medium.clone(), &both).unwrap().close().unwrap();
    Builder::new().open_on(medium, &both).unwrap().close().unwrap();
    drop(both);
    use_the_stack_again();
    println!("figure: recovery code's key in memory after close = {}", CODE.in_memory());
}

fn child(path: &Path) {
    with_a_recovery_code();
    let medium = MemoryMedium::new();
    let key = given_raw_key();
    let words = Passphrase::new(WORDS.unmasked().as_slice()).cost(CHEAP);
    use_the_stack_again();
    println!("figure: raw key in memory while held = {}", KEY.in_memory());
    println!("figure: passphrase in memory while held = {}", WORDS.in_memory());
    let db = Builder::new().create(path, &words).unwrap();
    db.close().unwrap();
    let db = Builder::new().create_on(medium.clone(), &key).unwrap();
    let txn = db.begin_write().unwrap();
    txn.open_table(PEOPLE).unwrap().insert("key", VALUE.unmasked().as_slice()).unwrap();
    txn.commit().unwrap();
    drop((key, words));
    use_the_stack_again();
    println!("figure: raw key in memory while open, key dropped = {}", KEY.in_memory());
    println!("figure: stored value in memory while open = {}", VALUE.in_memory());
    db.close().unwrap();
    let key = given_raw_key();
    let db = Builder::new().open_on(medium, &key).unwrap();
    let read = db.begin_read().unwrap();
    assert!(read.open_table(PEOPLE).unwrap().get("key").unwrap().is_some());
    drop((read, key));
    db.close().unwrap();
    println!("figure: raw key in memory after close, stack as it is = {}", KEY.in_memory());
    use_the_stack_again();
    println!("figure: raw key in memory after close = {}", KEY.in_memory());
    println!("figure: passphrase in memory after close = {}", WORDS.in_memory());
    println!("figure: stored value in memory after close = {}", VALUE.in_memory());
}

#[test]
#[cfg(target_os = "linux")]
fn no_raw_key_and_no_passphrase_is_in_memory_after_close() {
    const NAME: &str = "no_raw_key_and_no_passphrase_is_in_memory_after_close";
    if let Ok(path) = std::env::var("STRONGROOM_LEAKS") {
        return child(Path::new(&path));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", NAME, "--nocapture", "--test-threads", "1"]);
    let output = command.env("STRONGROOM_LEAKS", folder.path().join("file")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    text.split("figure: ").skip(1).for_each(|figure| println!("figure: {}", figure.trim_end()));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    let figure = |name: &str| -> usize {
        let line = text.lines().find(|line| line.contains(&format!("{name} = "))).unwrap();
        line.split(" = ").last().unwrap().parse().unwrap()
    };
    assert!(figure("raw key in memory while held") > 0, "the search bites");
    assert!(figure("passphrase in memory while held") > 0);
    assert!(figure("recovery code's key in memory while held") > 0);
    assert_eq!(figure("recovery code's key in memory after close"), 0);
    assert!(figure("stored value in memory while open") > 0);
    assert_eq!(figure("raw key in memory while open, key dropped"), 0);
    assert_eq!(figure("raw key in memory after close"), 0);
    assert_eq!(figure("passphrase in memory after close"), 0);
}
