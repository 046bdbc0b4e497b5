//! The importer shown on real data: every line of strongroom's sources in one CSV file, imported
//! with a kill and an interruption, and compared row by row.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use strongroom::redb::{ReadableDatabase, ReadableTable};
use strongroom::{Database, KeyFile};

use crate::Result;
use crate::csv::{Records, quote};
use crate::import::{self, BATCH_ROWS, ROWS};

pub(crate) fn run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (data, room) = (folder.path().join("sources.csv"), folder.path().join("sources.room"));
    let key = KeyFile::generate(folder.path().join("key"))?;
    let rows = write_csv(&data)?;
    println!("{rows} rows, {} bytes of CSV", fs::metadata(&data)?.len());

    kill_an_import(&room, &folder.path().join("key"), &data)?;
    let db = Database::builder().open(&room, &key)?;
    let begun = import::file(&db, &data, BATCH_ROWS, |batches| batches < 2)?;
    let clean = if db.recovery().clean { "closed cleanly" } else { "recovered" };
    let survived = begun.rows - begun.new_rows;
    println!("killed: the database was {clean}, {survived} rows were durable");
    // And an error in the middle of a batch: a transaction that never commits.
    let write = db.begin_write()?;
    write.open_table(ROWS)?.insert(("half a batch", 0), vec!["never committed"])?;
    drop(write);
    drop(db);
    println!("gone on and cut off: {} rows were durable", begun.rows);

    let db = Database::builder().open(&room, &key)?;
    let started = Instant::now();
    let done = import::file(&db, &data, BATCH_ROWS, |_| true)?;
    let speed = done.new_rows as f64 / started.elapsed().as_secs_f64();
    println!("gone on: {} rows, {} of them new, {speed:.0} a second", done.rows, done.new_rows);
    let again = import::file(&db, &data, BATCH_ROWS, |_| true)?;
    if again.new_rows != 0 || again.rows != done.rows {
        return Err("a second run imported rows again".into());
    }
    db.close()?;

    let db = Database::builder().open(&room, &key)?;
    let equal = compare(&db, &data)?;
    println!("compared: {equal} rows are what the file says");
    if equal != rows {
        return Err(format!("{rows} rows were to be imported").into());
    }
    // What is not the file that was begun with is refused, not mixed in.
    let text = fs::read_to_string(&data)?;
    fs::write(&data, text.replacen("file", "File", 1))?;
    match import::file(&db, &data, BATCH_ROWS, |_| true) {
        Err(refused) => println!("another file under that name: {refused}"),
        Ok(_) => return Err("a file that changed was gone on with".into()),
    }
    Ok(db.close()?)
}

/// This program again, in a process of its own that is killed once it is past the first quarter.
fn kill_an_import(room: &Path, key: &Path, data: &Path) -> Result<()> {
    let mut importer = Command::new(std::env::current_exe()?);
    importer.args([room, Path::new("--key-file"), key, data]);
    let mut importer = importer.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let said = importer.stderr.take().ok_or("the importer has no standard error")?;
    let mut line = String::new();
    BufReader::new(said).read_line(&mut line)?;
    importer.kill()?;
    importer.wait()?;
    eprint!("{line}");
    Ok(())
}

/// Every line of the sources that this was built from.
fn write_csv(to: &Path) -> Result<u64> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "examples", "tests", "docs"] {
        collect(&root.join(folder), &mut files)?;
    }
    files.sort();
    let mut out = Vec::from(*b"file,line,text\n");
    let mut rows = 1;
    for file in &files {
        let name = quote(&file.strip_prefix(root)?.display().to_string());
        let Ok(text) = fs::read_to_string(file) else { continue };
        for (number, line) in (1..).zip(text.lines()) {
            writeln!(out, "{name},{number},{}", quote(line))?;
            rows += 1;
        }
    }
    fs::write(to, out)?;
    Ok(rows)
}

fn collect(folder: &Path, files: &mut Vec<std::path::PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let text = path.extension().is_some_and(|end| end == "rs" || end == "md");
        match path.is_dir() {
            true => collect(&path, files)?,
            false if text => files.push(path),
            false => {}
        }
    }
    Ok(())
}

/// How many rows there are, all of them equal to the file's.
fn compare(db: &Database, data: &Path) -> Result<u64> {
    let table = db.begin_read()?.open_table(ROWS)?;
    let mut records = Records::at(BufReader::new(File::open(data)?), 0);
    let mut rows = 0;
    for row in table.iter()? {
        let (key, fields) = row?;
        let expected = records.next()?.ok_or("more rows than the file has")?;
        if key.value().1 != rows || fields.value() != expected {
            return Err(format!("row {rows} is {:?}, not {expected:?}", fields.value()).into());
        }
        rows += 1;
    }
    Ok(rows)
}
