//! Whoever can write to backups but has no key: any byte, any cut, backups left out, swapped, put
//! in another order, older ones, those of other databases and other chains, and parts of one in
//! another. Nothing is restored then, and the error says which backup of the chain is at fault.
//!
//! By default every fifth byte of a small chain is flipped, at another place for each bit;
//! `BACKUP_FLIPS=all` flips every byte.
#![cfg(feature = "testkit")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

use strongroom::backup::{self, Chain, Options, Parent, RestoreOptions};
use strongroom::medium::{Directory, MemoryMedium};
use strongroom::redb::{ReadableDatabase, TableDefinition};
use strongroom::testkit::{CrashDirectory, SeededRandom};
use strongroom::{BackupError, Builder, Database, RawKey, SlotSpec};

const ROWS: TableDefinition<u64, u64> = TableDefinition::new("rows");
const HEADER: usize = 32_768;

fn key() -> RawKey {
    RawKey::new([7; 32])
}

fn write(db: &Database, number: u64) {
    let txn = db.begin_write().unwrap();
    txn.open_table(ROWS).unwrap().insert(number, number).unwrap();
    txn.commit().unwrap();
}

fn new_db() -> Database {
    let db = Builder::new().create_on(MemoryMedium::new(), &key()).unwrap();
    write(&db, 0);
    db
}

/// A full backup and this many increments, one commit between each two.
fn chain_of(db: &Database, increments: u64) -> Vec<Vec<u8>> {
    let mut chain = vec![Vec::new()];
    let mut parent = backup::snapshot(db, &mut chain[0], &Options::default()).unwrap().parent;
    for number in 1..=increments {
        write(db, number);
        let mut bytes = Vec::new();
        parent = backup::incremental(db, &parent, &mut bytes, &Options::default()).unwrap().parent;
        chain.push(bytes);
    }
    chain
}

/// The greatest number in the restored database.
fn restore(chain: &[Vec<u8>]) -> Result<u64, BackupError> {
    restore_with(chain, &key())
}

fn restore_with(chain: &[Vec<u8>], key: &RawKey) -> Result<u64, BackupError> {
    let directory = CrashDirectory::new();
    let links = Chain::of_bytes(chain.iter().cloned());
    let options = RestoreOptions::default();
    if let Err(error) = backup::restore_within(links, &directory, "copy", key, &options) {
        assert!(directory.names().unwrap().is_empty(), "{error}");
        return Err(error);
    }
    let image = directory.image("copy").unwrap();
    let db = Builder::new().open_on(MemoryMedium::from_bytes(image), key).unwrap();
    let table = db.begin_read().unwrap().open_table(ROWS).unwrap();
    use strongroom::redb::ReadableTable;
    Ok(table.last().unwrap().unwrap().0.value())
}

fn number_of(error: &BackupError) -> Option<usize> {
    match error {
        BackupError::NotABackup { number, .. }
        | BackupError::Unfinished { number }
        | BackupError::Altered { number, .. }
        | BackupError::Missing { number, .. }
        | BackupError::OutOfOrder { number, .. }
        | BackupError::NotOfChain { number, .. }
        | BackupError::Foreign { number, .. } => Some(*number),
        _ => None,
    }
}

#[test]
fn every_byte_of_a_chain_is_vouched_for() {
    let step = if std::env::var("BACKUP_FLIPS").is_ok_and(|text| text == "all") { 1 } else { 5 };
    let db = new_db();
    let chain = chain_of(&db, 1);
    assert_eq!(restore(&chain).unwrap(), 1);
    let header_at: Vec<usize> = chain
        .iter()
        .map(|bytes| {
            let trailer = &bytes[bytes.len() - 128..];
            usize::try_from(u64::from_le_bytes(trailer[24..32].try_into().unwrap())).unwrap()
        })
        .map(|manifest| manifest - HEADER)
        .collect();
    let flips: Vec<(usize, usize)> = (0..2)
        .flat_map(|number| (0..chain[number].len()).step_by(step).map(move |at| (number, at)))
        .collect();
    let (half, rest) = flips.split_at(flips.len() / 2);
    let count = |flips: &[(usize, usize)]| {
        let (mut noticed, mut unnamed, mut mine) = (0_u64, 0_u64, chain.clone());
        for (number, at) in flips {
            let bit = 1 << (at % 8);
            mine[*number][*at] ^= bit;
            match restore(&mine) {
                Ok(found) => panic!("byte {at} of backup {number}: {found} came back"),
                Err(error) => {
                    // A header that doesn't open names no backup: it is the newest one's.
                    let in_header = (header_at[1]..header_at[1] + HEADER).contains(at);
                    let named = number_of(&error) == Some(*number);
                    assert!(named || (*number == 1 && in_header), "{number} {at}: {error:?}");
                    unnamed += u64::from(!named);
                }
            }
            noticed += 1;
            mine[*number][*at] ^= bit;
        }
        (noticed, unnamed)
    };
    let (one, two) = std::thread::scope(|scope| {
        let one = scope.spawn(|| count(half));
        let two = count(rest);
        (one.join().unwrap(), two)
    });
    println!("figure: backup_bytes_flipped = {}", one.0 + two.0);
    println!("figure: backup_flips_accepted = 0");
    println!("figure: backup_flips_in_the_header_that_no_key_opens = {}", one.1 + two.1);
}

#[test]
fn a_backup_cut_or_extended_anywhere_is_refused() {
    let db = new_db();
    let chain = chain_of(&db, 1);
    let mut cuts = 0;
    for number in 0..2 {
        for len in (0..chain[number].len())
            .step_by(61)
            .chain(chain[number].len() - 130..chain[number].len())
        {
            let mut cut = chain.clone();
            cut[number].truncate(len);
            let error = restore(&cut).unwrap_err();
            assert_eq!(number_of(&error), Some(number), "{number} {len}: {error:?}");
            cuts += 1;
        }
        for more in [1, 64, 128, 4096] {
            let mut longer = chain.clone();
            longer[number].resize(chain[number].len() + more, 0);
            let error = restore(&longer).unwrap_err();
            assert_eq!(number_of(&error), Some(number), "{error:?}");
        }
        // Its own end once more.
        let mut twice = chain.clone();
        let end = twice[number][twice[number].len() - 128..].to_vec();
        twice[number].extend(end);
        let error = restore(&twice).unwrap_err();
        assert_eq!(number_of(&error), Some(number), "{error:?}");
    }
    println!("figure: backup_cuts_of_bytes_refused = {cuts}");
}

#[test]
fn a_chain_is_restored_whole_in_order_or_not_at_all() {
    let db = new_db();
    let chain = chain_of(&db, 4);
    let named = |wanted: &[usize]| {
        let links: Vec<_> = wanted.iter().map(|number| chain[*number].clone()).collect();
        restore(&links)
    };
    for newest in 0..5 {
        assert_eq!(named(&(0..=newest).collect::<Vec<_>>()).unwrap(), newest as u64);
    }
    let mut refused = 0;
    // Every selection of up to five of them in every order, but for the five that are whole.
    let mut orders = vec![Vec::new()];
    for _ in 0..5 {
        let longer: Vec<Vec<usize>> = orders
            .iter()
            .flat_map(|order| (0..5).map(move |number| [&order[..], &[number]].concat()))
            .collect();
        for order in &longer {
            if *order == (0..order.len()).collect::<Vec<_>>() {
                continue;
            }
            let error = named(order).unwrap_err();
            let at = number_of(&error).unwrap();
            let wrong = order.iter().enumerate().position(|(at, number)| at != *number).unwrap();
            // Where the last one stands in the chain before as well, that place is named.
            let once_more = at < wrong && order.last() == Some(&order[at]);
            assert!(at == wrong || once_more, "{order:?}: {error:?}");
            refused += 1;
        }
        orders = longer;
    }
    println!("figure: backup_orders_refused = {refused}");
    assert_eq!(refused, 5 + 25 + 125 + 625 + 3125 - 5);
    assert!(matches!(named(&[0, 2]), Err(BackupError::Missing { number: 1, .. })));
    assert!(matches!(named(&[1, 2]), Err(BackupError::Missing { number: 0, .. })));
    assert!(matches!(named(&[2]), Err(BackupError::Missing { number: 0, .. })));
    let swapped = named(&[0, 2, 1, 3]);
    assert!(matches!(swapped, Err(BackupError::OutOfOrder { number: 1, belongs: Some(2) })));
}

#[test]
fn backups_of_other_chains_databases_and_times_are_refused() {
    let db = new_db();
    let chain = chain_of(&db, 3);
    // A second chain of the same database, on the same full backup.
    let parent = Parent::of_bytes(&chain[0]).unwrap();
    let mut sibling = Vec::new();
    write(&db, 9);
    backup::incremental(&db, &parent, &mut sibling, &Options::default()).unwrap();
    let other = chain_of(&new_db(), 3);
    let put = |number: usize, bytes: &Vec<u8>| {
        let mut chain = chain.clone();
        chain[number] = bytes.clone();
        chain
    };
    for (number, foreign) in other.iter().enumerate().take(3) {
        let error = restore(&put(number, foreign)).unwrap_err();
        assert!(matches!(error, BackupError::Foreign { .. }), "{error:?}");
        assert_eq!(number_of(&error), Some(number));
    }
    for number in 1..3 {
        let error = restore(&put(number, &sibling)).unwrap_err();
        assert!(matches!(error, BackupError::NotOfChain { .. }), "{error:?}");
        assert_eq!(number_of(&error), Some(number));
    }
    // On top of a chain that it doesn't stand on.
    let error = restore(&put(3, &sibling)).unwrap_err();
    assert!(matches!(error, BackupError::NotOfChain { number: 1, .. }), "{error:?}");
    assert_eq!(restore(&[chain[0].clone(), sibling]).unwrap(), 9);
    let foreign = Parent::of_bytes(&other[3]).unwrap();
    let refused = backup::incremental(&db, &foreign, &mut Vec::new(), &Options::default());
    assert!(matches!(refused, Err(BackupError::Foreign { .. })), "{refused:?}");
}

/// The parts of a backup: head, frames, header, manifest, trailer.
fn parts(bytes: &[u8]) -> [Vec<u8>; 5] {
    let (rest, trailer) = bytes.split_at(bytes.len() - 128);
    let manifest =
        usize::try_from(u64::from_le_bytes(trailer[24..32].try_into().unwrap())).unwrap();
    let (rest, manifest) = rest.split_at(manifest);
    let (rest, header) = rest.split_at(rest.len() - HEADER);
    let (head, frames) = rest.split_at(64);
    [head, frames, header, manifest, trailer].map(<[u8]>::to_vec)
}

#[test]
fn parts_of_one_backup_in_another_are_refused() {
    let db = new_db();
    let chain = chain_of(&db, 3);
    let all: Vec<_> = chain.iter().map(|bytes| parts(bytes)).collect();
    let mut refused = 0;
    for number in 0..4 {
        for from in (0..4).filter(|from| *from != number) {
            for choice in 1..31_usize {
                let mixed: Vec<u8> = (0..5)
                    .flat_map(|part| {
                        let source = if choice >> part & 1 == 1 { from } else { number };
                        all[source][part].clone()
                    })
                    .collect();
                let same = mixed == chain[number];
                let mut forged = chain.clone();
                forged[number] = mixed;
                let result = restore(&forged);
                assert_eq!(result.is_ok(), same, "{number} {from} {choice:05b}: {result:?}");
                refused += u64::from(!same);
            }
        }
    }
    println!("figure: backup_mixes_of_parts_refused = {refused}");
    assert!(refused > 300);
}

#[test]
fn a_header_from_before_a_revocation_is_refused_in_a_backup_of_after_it() {
    let db = new_db();
    let mut admin = db.admin(&key()).unwrap();
    let revoked = RawKey::new([9; 32]);
    let slot = admin.add(&SlotSpec::data("somebody"), &revoked).unwrap();
    drop(admin);
    let mut before = Vec::new();
    let report = backup::snapshot(&db, &mut before, &Options::default()).unwrap();
    db.admin(&key()).unwrap().remove(slot).unwrap();
    write(&db, 1);
    let mut after = Vec::new();
    backup::incremental(&db, &report.parent, &mut after, &Options::default()).unwrap();
    assert_eq!(restore_with(&[before.clone()], &revoked).unwrap(), 0, "he keeps what he had");
    assert!(restore_with(&[before.clone(), after.clone()], &revoked).is_err());
    let ([head, frames, _, manifest, trailer], [_, _, old_header, ..]) =
        (parts(&after), parts(&before));
    let forged = [head, frames, old_header, manifest, trailer].concat();
    let error = restore_with(&[before, forged], &revoked).unwrap_err();
    assert!(matches!(error, BackupError::Altered { number: 1, .. }), "{error:?}");
}

#[test]
fn random_edits_of_a_chain_are_refused() {
    let db = new_db();
    let chain = chain_of(&db, 2);
    let mut random = SeededRandom::new(1);
    let mut refused = 0;
    for _ in 0..2000 {
        let mut forged = chain.clone();
        for _ in 0..random.between(1, 4) {
            let (from, to) = (random.below(3), random.below(3));
            let (from, to) = (usize::try_from(from).unwrap(), usize::try_from(to).unwrap());
            let len = usize::try_from(random.pick(&[1_u64, 16, 4096]).copied().unwrap()).unwrap();
            let place = |random: &mut SeededRandom, bytes: &[u8]| {
                usize::try_from(random.below((bytes.len() - len) as u64)).unwrap()
            };
            let (source, target) =
                (place(&mut random, &chain[from]), place(&mut random, &forged[to]));
            let bytes = chain[from][source..source + len].to_vec();
            forged[to][target..target + len].copy_from_slice(&bytes);
        }
        let same = forged == chain;
        let result = restore(&forged);
        assert_eq!(result.is_ok(), same, "{result:?}");
        refused += u64::from(!same);
    }
    println!("figure: backup_random_edits_refused = {refused}");
}
