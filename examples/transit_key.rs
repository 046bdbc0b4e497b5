//! A database whose key is held by OpenBao or Vault: opened if it is there, made if it isn't, with
//! a recovery code beside the service's slot.
//!
//!     cargo run --release --features kms --example transit_key -- \
//!         notes.room https://bao.example:8200 notes bao-ca.pem token
//!
//! The arguments: the file, the service's address, the name of the key in its Transit engine, the
//! roots that may vouch for the service, and the file with the token. docs/providers/kms.md sets
//! these up.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use strongroom::providers::kms::{TokenFrom, TransitKey, TransitOptions};
use strongroom::redb::{ReadableDatabase, ReadableTableMetadata, TableDefinition};
use strongroom::{Database, RecoveryCode, SlotSpec};

const OPENED: TableDefinition<u128, ()> = TableDefinition::new("opened");

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, url, name, roots, token] = arguments.as_slice() else {
        return Err("give: FILE URL KEY ROOTS TOKEN_FILE".into());
    };
    let mut options = TransitOptions::new(url, name, TokenFrom::File(token.into()));
    options.roots_file(roots);
    let key = Arc::new(TransitKey::new(options)?);

    // What there is to see to is said before anything depends on it.
    let health = key.health();
    for warning in health.warnings(SystemTime::now()) {
        println!("warning: {warning}");
    }
    if let Some(problem) = health.problem {
        println!("the key service {problem}");
    }

    let db = if Path::new(file).exists() {
        Database::open(file, Arc::clone(&key))?
    } else {
        let db = Database::create(file, Arc::clone(&key))?;
        let code = RecoveryCode::generate()?;
        db.admin(&key)?.add(&SlotSpec::data("recovery code"), &code)?;
        println!("write this down, it opens the file without the service: {}", code.reveal());
        db
    };
    let write = db.begin_write()?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos();
    write.open_table(OPENED)?.insert(now, ())?;
    write.commit()?;
    println!("opened {} times", db.begin_read()?.open_table(OPENED)?.len()?);
    db.close()?;
    Ok(())
}
