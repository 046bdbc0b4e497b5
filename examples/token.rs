//! A database whose key is in a PKCS #11 token, with a recovery code beside it for the day when the
//! token is lost.
//!
//!     cargo run --release --features pkcs11 --example token -- URI FILE
//!
//! The URI says which module, token and key, and where the PIN is:
//! `pkcs11:token=vault;object=notes?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/pin`.
//! Makes the key if the token has none of that name, and the file if there is none; then opens it by
//! the token alone. docs/providers/pkcs11.md sets up a SoftHSM to try it on.

use std::env;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use strongroom::providers::pkcs11::{Pkcs11Error, Pkcs11Provider};
use strongroom::redb::{ReadableDatabase, TableDefinition};
use strongroom::{Database, RecoveryCode, SlotSpec};

const NOTES: TableDefinition<&str, &str> = TableDefinition::new("notes");

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(uri), Some(path)) = (arguments.next(), arguments.next()) else {
        return Err("usage: token URI FILE".into());
    };
    let token = Pkcs11Provider::new(uri.parse()?)?;
    match token.generate_key() {
        Ok(kind) => println!("made {kind} in the token"),
        Err(Pkcs11Error::KeyExists(name)) => println!("the token has the key {name}"),
        Err(error) => return Err(error.into()),
    }
    let found = token.probe()?;
    println!("token {:?} of {}, wraps by {}", found.token.label, found.token.model, found.wrapping);

    let token = Arc::new(token);
    if !Path::new(&path).exists() {
        let code = RecoveryCode::generate()?;
        let db = Database::create(&path, Arc::clone(&token))?;
        db.admin(&token)?.add(&SlotSpec::admin("recovery"), &code)?;
        let write = db.begin_write()?;
        write.open_table(NOTES)?.insert("a", "kept by the token's key")?;
        write.commit()?;
        db.close()?;
        println!("recovery code, write it down: {}", code.reveal());
    }
    let db = Database::open(&path, token)?;
    let note = db.begin_read()?.open_table(NOTES)?.get("a")?.map(|note| note.value().to_owned());
    println!("opened by the token: {}", note.unwrap_or_default());
    db.close()?;
    Ok(())
}
