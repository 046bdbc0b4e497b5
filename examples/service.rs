//! A small service: notes over HTTP on the loopback, several threads on one database, and a key
//! rotation in the background while it serves. Only the standard library beside strongroom.
//!
//! ```text
//! cargo run --release --example service                                shows itself, and ends
//! cargo run --release --example service -- notes.room notes.key 8080   serves until told to stop
//!
//! curl -X PUT -d 'two bottles' http://127.0.0.1:8080/notes/milk
//! curl http://127.0.0.1:8080/notes/milk
//! curl -X POST http://127.0.0.1:8080/rotate        begins a rotation; GET /status says how far it is
//! curl -X POST http://127.0.0.1:8080/stop          ends gracefully: requests are answered, then a close
//! ```
//!
//! `Builder::auto_rotate` begins a rotation whenever the policy in the file says that the data key
//! is due, without anybody asking.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use strongroom::redb::{Durability, ReadableDatabase, ReadableTableMetadata, TableDefinition};
use strongroom::{Builder, Credential, Database, KeyFile, RotationState};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const NOTES: TableDefinition<&str, &str> = TableDefinition::new("notes");
const THREADS: usize = 4;
const BODY_BYTES_MAX: usize = 1 << 20;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => show(),
        [room, key, port] => {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?))?;
            println!("http://{}/", listener.local_addr()?);
            serve(&Service::open(Path::new(room), &KeyFile::read(key)?)?, &listener)
        }
        _ => Err("usage: service [ROOM KEY PORT]".into()),
    }
}

// ---- The service --------------------------------------------------------------------------------

struct Service {
    db: Database,
    stopping: AtomicBool,
    served: AtomicU64,
}

impl Service {
    fn open(room: &Path, key: &dyn Credential) -> Result<Self> {
        let mut builder = Builder::new();
        builder.cache_size(64 << 20).auto_rotate(true);
        let db =
            if room.exists() { builder.open(room, key)? } else { builder.create(room, key)? };
        let write = db.begin_write()?;
        write.open_table(NOTES)?; // so that a read finds it
        write.commit()?;
        Ok(Self { db, stopping: AtomicBool::new(false), served: AtomicU64::new(0) })
    }

    /// One request: status line and body. What the store says goes to the client as it is: its
    /// messages name pages and files, never content.
    fn answer(&self, method: &str, path: &str, body: &str) -> (&'static str, String) {
        let done = match (method, path.strip_prefix("/notes/")) {
            ("GET", Some(name)) => self.get(name),
            ("PUT", Some(name)) => self.put(name, body),
            ("DELETE", Some(name)) => self.delete(name),
            ("GET", None) if path == "/status" => self.status(),
            ("POST", None) if path == "/rotate" => self.rotate(),
            ("POST", None) if path == "/stop" => {
                self.stopping.store(true, Ordering::Release);
                Ok(Some("stopping\n".to_owned()))
            }
            _ => Ok(None),
        };
        match done {
            Ok(Some(text)) => ("200 OK", text),
            Ok(None) => ("404 Not Found", "there is nothing here\n".to_owned()),
            Err(error) => ("500 Internal Server Error", format!("{error}\n")),
        }
    }

    fn get(&self, name: &str) -> std::result::Result<Option<String>, strongroom::Error> {
        let notes = self.db.begin_read()?.open_table(NOTES)?;
        Ok(notes.get(name)?.map(|note| note.value().to_owned()))
    }

    fn put(
        &self,
        name: &str,
        text: &str,
    ) -> std::result::Result<Option<String>, strongroom::Error> {
        let mut write = self.db.begin_write()?;
        write.set_durability(Durability::Immediate)?; // an answer means: on the disk
        write.open_table(NOTES)?.insert(name, text)?;
        write.commit()?;
        Ok(Some("stored\n".to_owned()))
    }

    fn delete(&self, name: &str) -> std::result::Result<Option<String>, strongroom::Error> {
        let write = self.db.begin_write()?;
        let found = write.open_table(NOTES)?.remove(name)?.is_some();
        write.commit()?;
        Ok(found.then(|| "deleted\n".to_owned()))
    }

    fn rotate(&self) -> std::result::Result<Option<String>, strongroom::Error> {
        let progress = self.db.rotate()?.progress(); // durable begun; a worker does the rest
        Ok(Some(format!("rotating from {} to {}\n", progress.from, progress.to)))
    }

    fn status(&self) -> std::result::Result<Option<String>, strongroom::Error> {
        let notes = self.db.begin_read()?.open_table(NOTES)?.len()?;
        let rotation = match self.db.rotation().map(|rotation| rotation.progress()) {
            Some(progress) if progress.state == RotationState::Running => {
                format!("{} of {} pages", progress.pages_done, progress.pages_total)
            }
            Some(progress) => format!("{:?}", progress.state),
            None => "none".to_owned(),
        };
        let key = self.db.active_epoch();
        let served = self.served.load(Ordering::Relaxed);
        Ok(Some(format!("notes: {notes}\nserved: {served}\nkey: {key}\nrotation: {rotation}\n")))
    }
}

/// Answers until somebody posts `/stop`; then every request that was accepted is still answered,
/// the threads end, and the database is closed.
fn serve(service: &Service, listener: &TcpListener) -> Result<()> {
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while !service.stopping.load(Ordering::Acquire) {
                    let Ok((client, _)) = listener.accept() else { continue };
                    // A client that hangs up, or says nothing, is its own affair.
                    let _ = attend(service, &client);
                    service.served.fetch_add(1, Ordering::Relaxed);
                    if service.stopping.load(Ordering::Acquire) {
                        wake_the_others(listener);
                    }
                }
            });
        }
    });
    Ok(())
}

/// They wait in `accept`: each gets a connection that says nothing.
fn wake_the_others(listener: &TcpListener) {
    let Ok(address) = listener.local_addr() else { return };
    for _ in 0..THREADS {
        let _ = TcpStream::connect_timeout(&address, Duration::from_secs(1));
    }
}

fn attend(service: &Service, mut client: &TcpStream) -> Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(5)))?;
    client.set_write_timeout(Some(Duration::from_secs(5)))?;
    let mut lines = BufReader::new(client).take(BODY_BYTES_MAX as u64 + 8192);
    let mut head = String::new();
    lines.read_line(&mut head)?;
    let mut words = head.split_whitespace();
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(()) };
    let mut body_bytes = 0;
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 && !line.trim_end().is_empty() {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            body_bytes = value.trim().parse::<usize>()?.min(BODY_BYTES_MAX);
        }
        line.clear();
    }
    let mut body = vec![0; body_bytes];
    lines.read_exact(&mut body)?;
    let (status, text) = service.answer(method, path, str::from_utf8(&body)?);
    let length = text.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    client.write_all(head.as_bytes())?;
    Ok(client.write_all(text.as_bytes())?)
}

// ---- It shows itself ----------------------------------------------------------------------------

const CLIENTS: usize = 4;
const NOTES_EACH: usize = 50;

/// Clients write and read while the data key is replaced under them; then the service stops in the
/// middle of requests, and whatever it had confirmed must be in the file.
fn show() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let room = folder.path().join("notes.room");
    let key = KeyFile::generate(folder.path().join("notes.key"))?;
    let service = Service::open(&room, &key)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let old_key = service.db.active_epoch();

    thread::scope(|scope| -> Result<()> {
        let server = scope.spawn(|| serve(&service, &listener));
        let shown = exercise(address);
        // Also where something failed: nobody would end the server otherwise.
        request(address, "POST", "/stop", "")?;
        server.join().map_err(|_| "the server panicked")??;
        shown
    })?;
    println!("stopped after {} requests", service.served.load(Ordering::Relaxed));
    drop(listener);
    if TcpStream::connect(address).is_ok() {
        return Err("it answers though it was stopped".into());
    }
    service.db.close()?;

    let db = Database::open(&room, key)?;
    let notes = db.begin_read()?.open_table(NOTES)?;
    for client in 0..CLIENTS {
        for number in 0..NOTES_EACH {
            let name = format!("{client}-{number}");
            let found = notes.get(name.as_str())?.map(|note| note.value().to_owned());
            if found.as_deref() != Some(text_of(client, number).as_str()) {
                return Err(format!("note {name} was confirmed and is {found:?}").into());
            }
        }
    }
    let keys = db.key_status();
    println!("after reopening: {} notes, {} data key(s)", notes.len()?, keys.epochs.len());
    if keys.epochs.len() != 1 || db.active_epoch() == old_key || !db.recovery().clean {
        return Err(format!("the old data key is not gone:\n{keys}").into());
    }
    Ok(db.close()?)
}

fn exercise(address: SocketAddr) -> Result<()> {
    let rotating = AtomicBool::new(false);
    thread::scope(|scope| -> Result<()> {
        let rotating = &rotating;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| scope.spawn(move || write_and_read(address, client, rotating)))
            .collect();
        for client in clients {
            client.join().map_err(|_| "a client panicked")??;
        }
        Ok(())
    })?;
    let begun = Instant::now();
    loop {
        let status = request(address, "GET", "/status", "")?;
        if status.contains("rotation: none") {
            print!("{status}");
            return Ok(());
        }
        if begun.elapsed() > Duration::from_secs(60) {
            return Err(format!("the rotation does not end:\n{status}").into());
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn write_and_read(address: SocketAddr, client: usize, rotating: &AtomicBool) -> Result<()> {
    for number in 0..NOTES_EACH {
        let (path, text) = (format!("/notes/{client}-{number}"), text_of(client, number));
        request(address, "PUT", &path, &text)?;
        if number == NOTES_EACH / 4 && !rotating.swap(true, Ordering::AcqRel) {
            print!("{}", request(address, "POST", "/rotate", "")?);
        }
        let found = request(address, "GET", &path, "")?;
        if found != text {
            return Err(format!("{path}: wrote {text:?}, read {found:?}").into());
        }
    }
    let fleeting = format!("/notes/{client}-fleeting");
    request(address, "PUT", &fleeting, "soon gone")?;
    request(address, "DELETE", &fleeting, "")?;
    match request(address, "GET", &fleeting, "") {
        Err(gone) if gone.to_string().contains("404") => Ok(()),
        other => Err(format!("a deleted note: {other:?}").into()),
    }
}

fn text_of(client: usize, number: usize) -> String {
    format!("note {number} of client {client}. ").repeat(number + 1)
}

/// The body of an answer; an error unless it is 200.
fn request(address: SocketAddr, method: &str, path: &str, body: &str) -> Result<String> {
    let mut server = TcpStream::connect(address)?;
    server.set_read_timeout(Some(Duration::from_secs(30)))?;
    let length = body.len();
    write!(server, "{method} {path} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}")?;
    let mut answer = String::new();
    server.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    if !head.starts_with("HTTP/1.1 200") {
        return Err(format!("{method} {path}: {answer}").into());
    }
    Ok(body.to_owned())
}
