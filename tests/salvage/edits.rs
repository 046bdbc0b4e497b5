//! Any edits of a file, with and without the key: no panic, no write, and no row that was not in a
//! commit.

use strongroom::SalvageError;
use strongroom::medium::MemoryMedium;
use strongroom::redb::StorageBackend;
use strongroom::testkit::{Insider, SeededRandom};
use strongroom::{CopyId, EncryptedBackend, GroupNo, SalvageHow};

use super::room::{PAGE, Rows, key};
use super::{SMALL, from_env, saved_as};

/// Salvages and says how many rows came out; 0 where it gave up.
fn check(image: Vec<u8>, how: SalvageHow, case: &str) -> usize {
    let (report, rows) = match saved_as(image, how) {
        Ok((report, rows, _)) => (report, rows),
        Err(SalvageError::Source(_) | SalvageError::NothingLeft) => return 0,
        Err(error) => panic!("{case}: {error:?}"),
    };
    let whole = report.tables.iter().all(|table| !table.older);
    assert!(SMALL.has_held(&rows, whole), "{case}: a row that never was\n{report}");
    rows.len()
}

fn edit(image: &mut Vec<u8>, random: &mut SeededRandom) {
    if image.len() < PAGE {
        return;
    }
    let pages = (image.len() / PAGE) as u64;
    let at = random.below(image.len() as u64 + 1) as usize;
    let page = random.below(pages) as usize * PAGE;
    let other = random.below(pages) as usize * PAGE;
    match random.below(9) {
        0..=2 if at < image.len() => image[at] ^= 1 << random.below(8),
        3 => image[page..page + PAGE].fill(0),
        4 => random.fill(&mut image[page..page + PAGE]),
        5 => image.copy_within(other..other + PAGE, page),
        6 => {
            let (first, second) = (page.min(other), page.max(other));
            let (head, tail) = image.split_at_mut(second);
            if first < second {
                head[first..first + PAGE].swap_with_slice(&mut tail[..PAGE]);
            }
        }
        7 if random.chance(0.2) => image.truncate(at),
        8 if random.chance(0.2) => image.extend_from_slice(&vec![at as u8; 5 * PAGE]),
        // The preamble and tag pages, which are few.
        _ => {
            let start = [0, 8, 16, 17, 20, 21][random.below(6) as usize] * PAGE;
            if let Some(byte) = image.get_mut(start + random.below(4096) as usize) {
                *byte ^= 0x40;
            }
        }
    }
}

#[test]
fn edited_files_give_rows_of_one_commit_or_nothing() {
    let (mut some, mut nothing, mut rows) = (0, 0, 0);
    let edits = from_env("SALVAGE_EDITS", 300);
    for seed in 0..edits {
        let mut random = SeededRandom::new(seed);
        let mut image = [&SMALL.image, &SMALL.unclean][seed as usize % 2].clone();
        for _ in 0..1 + random.skewed_below(40) {
            edit(&mut image, &mut random);
        }
        let how = if seed % 5 == 0 { SalvageHow::Tables } else { SalvageHow::Auto };
        match check(image, how, &format!("seed {seed}")) {
            0 => nothing += 1,
            found => (some, rows) = (some + 1, rows + found),
        }
    }
    println!("figure: edited files = {edits}, of them saved from = {some}, rows = {rows}");
    assert!(some > nothing && nothing > 0);
}

#[test]
fn bytes_that_are_no_file_are_refused() {
    let mut random = SeededRandom::new(9);
    for len in [0, 1, PAGE, 20 * PAGE, 300 * PAGE] {
        let mut bytes = vec![0; len];
        random.fill(&mut bytes);
        let refused = saved_as(bytes, SalvageHow::Auto);
        assert!(matches!(refused, Err(SalvageError::Source(_))), "{refused:?}");
    }
}

// Somebody with the key can say anything: only that nothing panics, hangs or eats the memory is
// promised, and, since the pages are as they were, that rows are real.
#[test]
fn records_edited_with_the_key_cause_no_panic() {
    let mut some = 0;
    for seed in 0..from_env("SALVAGE_EDITS", 300) / 3 {
        let mut random = SeededRandom::new(seed);
        let mut image = [&SMALL.image, &SMALL.unclean][seed as usize % 2].clone();
        let insider = Insider::new(&image, &key()).unwrap();
        for _ in 0..random.between(1, 4) {
            let copy = CopyId::BOTH[random.below(2) as usize];
            let (at, value) = (random.below(2400) as usize, random.next_u64());
            let change = |body: &mut [u8]| {
                let len = 1 + (value % 8) as usize;
                body[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
            };
            if random.chance(0.7) {
                insider.edit_root(&mut image, copy, change);
            } else {
                insider.edit_tag_page(&mut image, GroupNo(0), copy, change);
            }
        }
        some += check(image, SalvageHow::Auto, &format!("seed {seed}"));
    }
    assert!(some > 0);
}

// Tree pages that authenticate and make no sense: what redb would have written by mistake.
#[test]
fn authentic_nonsense_in_tree_pages_is_passed_over() {
    let (mut some, mut all) = (0, 0);
    for seed in 0..from_env("SALVAGE_EDITS", 300) / 3 {
        let mut random = SeededRandom::new(seed);
        let medium = MemoryMedium::from_bytes(SMALL.image.clone());
        let backend = EncryptedBackend::open_on(medium.clone(), &key()).unwrap();
        let pages = backend.len().unwrap() / PAGE as u64;
        for _ in 0..random.between(1, 12) {
            let at = random.between(1, pages - 1) * PAGE as u64;
            let mut page = vec![0; PAGE];
            backend.read(at, &mut page).unwrap();
            for _ in 0..random.between(1, 20) {
                // The head of a page has its type, its count and its offsets.
                let byte = random.skewed_below(4096) as usize;
                page[byte] = [0, 1, 2, 3, 255, random.next_u64() as u8][random.below(6) as usize];
            }
            backend.write(at, &page).unwrap();
        }
        backend.sync_data().unwrap();
        backend.close().unwrap();
        some += check(medium.to_bytes(), SalvageHow::Auto, &format!("seed {seed}"));
        all += SMALL.last().len();
    }
    println!("figure: rows saved around authentic nonsense = {some} of {all}");
    assert!(some > 0 && some < all);
    let none = Rows::new();
    assert!(SMALL.has_held(&none, true));
}
