//! One chain of increments made while a writer never stops, and each state of it restored and
//! compared with the model at exactly the commit that the backup holds.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use blake3::Hash;
use strongroom::Database;
use strongroom::backup::{self, Options, Parent};
use strongroom::medium::MemoryMedium;
use strongroom::redb::{ReadableDatabase, TableDefinition};
use strongroom::testkit::SeededRandom;

use super::SetWhenDropped;
use super::setting::{Content, ROWS, asked, builder, content, key, new_db, restored};

/// Which commit a state is.
const COMMIT: TableDefinition<(), u64> = TableDefinition::new("commit");

fn digest(content: &Content) -> Hash {
    let mut hasher = blake3::Hasher::new();
    for (row, value) in content {
        hasher.update(&row.to_le_bytes()).update(&(value.len() as u64).to_le_bytes());
        hasher.update(value);
    }
    hasher.finalize()
}

/// What a commit changes: a row's new value, or none.
type Changes = Vec<(u64, Option<Vec<u8>>)>;

/// Some random changes, made in the model.
fn draw(model: &mut Content, random: &mut SeededRandom) -> Changes {
    let mut changes = Changes::new();
    for _ in 0..random.between(1, 12) {
        let row = random.below(400);
        let byte = u8::try_from(random.below(256)).unwrap();
        let value = vec![byte; usize::try_from(random.between(1, 6000)).unwrap()];
        let value = Some(value).filter(|_| random.chance(0.7));
        match &value {
            Some(value) => drop(model.insert(row, value.clone())),
            None => drop(model.remove(&row)),
        }
        changes.push((row, value));
    }
    changes
}

fn commit(db: &Database, changes: &Changes, number: u64) {
    let txn = db.begin_write().unwrap();
    {
        let mut table = txn.open_table(ROWS).unwrap();
        for (row, value) in changes {
            match value {
                Some(value) => drop(table.insert(row, &value[..]).unwrap()),
                None => drop(table.remove(row).unwrap()),
            }
        }
        txn.open_table(COMMIT).unwrap().insert((), number).unwrap();
    }
    txn.commit().unwrap();
}

#[test]
fn a_chain_made_beside_a_writer_restores_the_model_of_each_commit() {
    let increments = usize::try_from(asked("BACKUP_INCREMENTS", 12)).unwrap();
    let (_, db) = new_db();
    let (mut model, mut random) = (Content::new(), SeededRandom::new(11));
    for number in 1..=100 {
        commit(&db, &draw(&mut model, &mut random), number);
    }
    // By number: what the model was. Noted before the commit, so that no state is unknown.
    let known = Mutex::new(BTreeMap::from([(100, digest(&model))]));
    let done = AtomicBool::new(false);
    let mut chain: Vec<Vec<u8>> = Vec::new();
    std::thread::scope(|scope| {
        let _stop = SetWhenDropped(&done);
        scope.spawn(|| {
            let mut number = 100;
            while !done.load(Ordering::Acquire) {
                number += 1;
                let changes = draw(&mut model, &mut random);
                known.lock().unwrap().insert(number, digest(&model));
                commit(&db, &changes, number);
            }
        });
        let mut parent: Option<Parent> = None;
        // A slow place: the writer commits while groups are copied.
        let slowly = |_| std::thread::sleep(Duration::from_millis(3));
        let options = Options { progress: Some(&slowly), ..Options::default() };
        for _ in 0..=increments {
            let mut bytes = Vec::new();
            let report = match &parent {
                None => backup::snapshot(&db, &mut bytes, &options),
                Some(parent) => backup::incremental(&db, parent, &mut bytes, &options),
            };
            parent = Some(report.unwrap().parent);
            chain.push(bytes);
        }
    });
    let known = known.into_inner().unwrap();
    let mut commits = Vec::new();
    for last in 0..chain.len() {
        let image = restored(&chain[..=last]).unwrap();
        let copy = builder().open_on(MemoryMedium::from_bytes(image), &key()).unwrap();
        let number = copy.begin_read().unwrap().open_table(COMMIT).unwrap().get(()).unwrap();
        let number = number.unwrap().value();
        assert!(known[&number] == digest(&content(&copy)), "state {last}, commit {number}");
        commits.push(number);
    }
    assert!(commits.is_sorted());
    let written = known.len();
    commits.dedup();
    println!("figure: backup_increments_under_load = {increments}");
    println!("figure: backup_states_under_load_restored = {}", chain.len());
    println!("figure: backup_distinct_commits_restored = {}", commits.len());
    println!("figure: backup_commits_meanwhile = {written}");
    assert!(commits.len() * 2 > chain.len(), "the writer hardly got a commit in: {commits:?}");
}
