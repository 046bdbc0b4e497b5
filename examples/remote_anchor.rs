//! An anchor of one's own: a remote service that remembers how new a database is, so that a backup,
//! a snapshot or a thief who puts an older file back is noticed.
//!
//!     cargo run --release --example remote_anchor
//!
//! `RemoteAnchor` is what an application writes: an identity, how to read a number, how to add one
//! to it. Everything else is strongroom's: when to count, what to compare, what to do while the
//! service is away.
//!
//! `Service` stands in for the service, so that the example runs anywhere: an object in this
//! process instead of HTTPS to another machine. Replace its two calls by those of your client; on
//! the server, `add_one` is a conditional update (`UPDATE ... SET n = n + 1 WHERE id = $1 AND
//! n = $2`), durable before it answers.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use strongroom::redb::{ReadableDatabase, TableDefinition};
use strongroom::{
    Anchor, AnchorError, AnchorFault, AnchorPolicy, Builder, Database, OpenError, RawKey,
};

const ACCOUNTS: TableDefinition<&str, u64> = TableDefinition::new("accounts");

// ---- What an application writes -----------------------------------------------------------------

/// One counter of the service. Give each database its own.
#[derive(Debug)]
struct RemoteAnchor {
    service: Arc<Service>,
    counter: String,
}

impl Anchor for RemoteAnchor {
    fn identity(&self) -> Result<Vec<u8>, AnchorFault> {
        // Never changes. A counter that is made anew should get another name.
        Ok(format!("example-service/{}", self.counter).into_bytes())
    }

    fn read(&self) -> Result<u64, AnchorFault> {
        self.service.read(&self.counter).map_err(what_it_means)
    }

    fn advance(&self, to: u64) -> Result<(), AnchorFault> {
        match self.service.add_one(&self.counter, to) {
            Ok(()) => Ok(()),
            Err(Answer::StandsAt(found)) => Err(AnchorFault::OutOfStep { found, asked: to }),
            Err(other) => Err(what_it_means(other)),
        }
    }
}

fn what_it_means(answer: Answer) -> AnchorFault {
    match answer {
        Answer::Down => AnchorFault::Unreachable("connection refused".to_owned()),
        Answer::NoSuchCounter => AnchorFault::Damaged("there is no such counter".to_owned()),
        Answer::StandsAt(found) => AnchorFault::OutOfStep { found, asked: found },
    }
}

// ---- The stand-in for the service ---------------------------------------------------------------

#[derive(Debug)]
enum Answer {
    Down,
    NoSuchCounter,
    StandsAt(u64),
}

#[derive(Debug, Default)]
struct Service {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    down: bool,
    counters: HashMap<String, u64>,
}

impl Service {
    fn with<T>(
        &self,
        counter: &str,
        call: impl FnOnce(&mut u64) -> Result<T, Answer>,
    ) -> Result<T, Answer> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.down {
            return Err(Answer::Down);
        }
        call(state.counters.get_mut(counter).ok_or(Answer::NoSuchCounter)?)
    }

    fn read(&self, counter: &str) -> Result<u64, Answer> {
        self.with(counter, |count| Ok(*count))
    }

    fn add_one(&self, counter: &str, to: u64) -> Result<(), Answer> {
        self.with(counter, |count| {
            if count.checked_add(1) != Some(to) {
                return Err(Answer::StandsAt(*count));
            }
            *count = to;
            Ok(())
        })
    }

    fn make(&self, counter: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.counters.insert(counter.to_owned(), 0);
    }

    fn set_down(&self, down: bool) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).down = down;
    }
}

// ---- A database that is bound to it -------------------------------------------------------------

fn set_balance(db: &Database, balance: u64) -> Result<(), strongroom::Error> {
    let txn = db.begin_write()?;
    txn.open_table(ACCOUNTS)?.insert("alice", balance)?;
    Ok(txn.commit()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::temp_dir().join(format!("remote-anchor-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let result = run(&directory);
    std::fs::remove_dir_all(&directory)?;
    result
}

fn run(directory: &std::path::Path) -> Result<(), Box<dyn Error>> {
    let (path, backup) = (directory.join("bank.room"), directory.join("backup.room"));
    let key = || RawKey::new([7; 32]);
    let service = Arc::new(Service::default());
    service.make("bank");
    let anchor: Arc<dyn Anchor> =
        Arc::new(RemoteAnchor { service: Arc::clone(&service), counter: "bank".to_owned() });

    let db = Database::create(&path, key())?;
    set_balance(&db, 100)?;
    db.admin(&key())?.bind_anchor(Arc::clone(&anchor), AnchorPolicy::every_commit())?;
    db.close()?;
    std::fs::copy(&path, &backup)?;

    let mut builder = Builder::new();
    builder.anchor(Arc::clone(&anchor)).anchor_timeout(Duration::from_secs(5));
    let db = builder.open(&path, &key())?;
    set_balance(&db, 20)?;
    println!("balance 20; {:?}", db.anchor_status().map(|status| status.count));

    // The service goes down: commits go on, and are said to be one behind.
    service.set_down(true);
    set_balance(&db, 10)?;
    let status = db.anchor_status().ok_or("bound")?;
    println!("level with the anchor: {}; {:?}", status.is_level(), status.fault);
    service.set_down(false);
    db.close()?;

    // Somebody puts the copy of yesterday back.
    let newest = std::fs::read(&path)?;
    std::fs::copy(&backup, &path)?;
    match builder.open(&path, &key()) {
        Err(OpenError::Anchor(error @ AnchorError::RolledBack { .. })) => println!("{error}"),
        other => return Err(format!("{:?}", other.map(drop)).into()),
    }
    std::fs::write(&path, newest)?;
    let db = builder.open(&path, &key())?;
    let balance = db.begin_read()?.open_table(ACCOUNTS)?.get("alice")?.map(|row| row.value());
    println!("the newest file opens: {balance:?}");
    db.close()?;
    Ok(())
}
