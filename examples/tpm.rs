//! A database whose key is sealed in this machine's TPM, with a recovery code beside it for the day
//! when the board dies, and the TPM's counter as an anchor: a copy of the whole file from yesterday
//! is refused.
//!
//!     cargo run --release --features tpm --example tpm -- device:/dev/tpmrm0 pin counter notes.room
//!
//! `pin` is a file with the PIN, `counter` one with 32 random bytes that authorise counting. Makes
//! the counter and the file if there is none; then opens it. docs/providers/tpm.md sets up a
//! software TPM to try it on.

use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use strongroom::providers::tpm::{Tcti, TpmCounter, TpmProvider};
use strongroom::redb::{ReadableDatabase, ReadableTable, TableDefinition};
use strongroom::{AnchorPolicy, Builder, Database, RecoveryCode, SlotSpec};
use zeroize::Zeroizing;

const NOTES: TableDefinition<&str, u64> = TableDefinition::new("notes");
const INDEX: u32 = 0x0150_0100;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [tcti, pin, counter, path] = arguments.as_slice() else {
        return Err("usage: tpm TCTI PIN-FILE COUNTER-FILE FILE".into());
    };
    let tcti: Tcti = tcti.parse()?;
    let pin = Zeroizing::new(fs::read(pin)?);
    let tpm = Arc::new(TpmProvider::new(tcti.clone(), pin.trim_ascii_end()));
    let health = tpm.probe()?;
    let lockout = health.lockout;
    println!(
        "TPM of {}: {} of {} wrong attempts, key {}",
        health.manufacturer, lockout.failed, lockout.max, health.key_name
    );

    let auth: Zeroizing<Vec<u8>> = Zeroizing::new(fs::read(counter)?);
    let auth = auth.first_chunk().ok_or("the counter's file has less than 32 bytes")?;
    let counter = TpmCounter::new(tcti, INDEX, auth)?;
    if !Path::new(path).exists() {
        let code = RecoveryCode::generate()?;
        let db = Database::create(path, Arc::clone(&tpm))?;
        let mut admin = db.admin(&tpm)?;
        admin.add(&SlotSpec::admin("recovery"), &code)?;
        admin.bind_anchor(Arc::new(counter.create()?), AnchorPolicy::default())?;
        drop(admin);
        db.close()?;
        println!("recovery code, write it down: {}", code.reveal());
    }
    let db = Builder::new().anchor(Arc::new(counter.open()?)).open(path, &tpm)?;
    let write = db.begin_write()?;
    let opened = write.open_table(NOTES)?.get("opened")?.map_or(0, |times| times.value());
    write.open_table(NOTES)?.insert("opened", opened + 1)?;
    write.commit()?;
    let times = db.begin_read()?.open_table(NOTES)?.get("opened")?.map(|times| times.value());
    println!("opened by the TPM, time {}", times.unwrap_or(0));
    if let Some(status) = db.anchor_status() {
        println!("the counter stands at {}", status.acknowledged);
    }
    db.close()?;
    Ok(())
}
