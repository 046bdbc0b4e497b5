//! How other processes reach a `strongroom rotate` that is at work: a socket beside the file,
//! `NAME.rotation`, one line in, one line of JSON out. Nothing secret passes: whoever may write to
//! the socket may pause a rotation and see how far it is, and that is the file's owner.
//!
//! Whoever makes the socket holds the file's lock, so one that is there already is left over from
//! one that was killed.

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use strongroom::{Rotation, RotationState};

use crate::failure::Failure;

const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const LINE_BYTES_MAX: u64 = 4096;

/// What a rotation is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Status,
    Pause,
    Resume,
    Cancel,
}

impl Order {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
        }
    }

    fn of(word: &str) -> Option<Self> {
        let all = [Self::Status, Self::Pause, Self::Resume, Self::Cancel];
        all.into_iter().find(|order| order.word() == word)
    }
}

/// How far a rotation is, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) state: String,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) pages_done: u64,
    pub(super) pages_total: u64,
    pub(super) seconds_left: Option<u64>,
}

impl Answer {
    fn of(rotation: &Rotation) -> Self {
        let progress = rotation.progress();
        let state = match progress.state {
            RotationState::Running => "running",
            RotationState::Paused => "paused",
            RotationState::Failed => "failed",
            RotationState::Cancelled => "cancelled",
            RotationState::Finished => "finished",
            _ => "closed",
        };
        Self {
            state: state.to_owned(),
            from: progress.from.0.into(),
            to: progress.to.0.into(),
            pages_done: progress.pages_done,
            pages_total: progress.pages_total,
            seconds_left: progress.time_left.map(|left| left.as_secs()),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "state": self.state,
            "from": self.from,
            "to": self.to,
            "pages_done": self.pages_done,
            "pages_total": self.pages_total,
            "seconds_left": self.seconds_left,
        })
    }

    fn of_json(value: &Value) -> Option<Self> {
        let number = |name: &str| value.get(name)?.as_u64();
        let state = value.get("state")?.as_str()?;
        if !state.bytes().all(|byte| byte.is_ascii_lowercase()) {
            return None;
        }
        Some(Self {
            state: state.to_owned(),
            from: number("from")?,
            to: number("to")?,
            pages_done: number("pages_done")?,
            pages_total: number("pages_total")?,
            seconds_left: number("seconds_left"),
        })
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { state, from, to, pages_done, pages_total, .. } = self;
        let percent = pages_done.saturating_mul(100) / (*pages_total).max(1);
        write!(f, "{state}: data key {from} to {to}, {percent}%")?;
        write!(f, ", {pages_done} of {pages_total} pages")?;
        match self.seconds_left {
            Some(left) if state == "running" => write!(f, ", {left} s left"),
            _ => Ok(()),
        }
    }
}

/// Where other processes reach this rotation; gone when it is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    socket: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// For the process that has `file` open.
    ///
    /// # Errors
    /// The system's: a directory that can't be written, a path that is too long for a socket.
    pub(super) fn beside(file: &Path) -> std::io::Result<Self> {
        let path = path_beside(file)?;
        let socket = match UnixListener::bind(&path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                // Left over by a run that was killed. Anything else of this name is somebody's file.
                if !fs::symlink_metadata(&path)?.file_type().is_socket() {
                    return Err(error);
                }
                fs::remove_file(&path)?;
                UnixListener::bind(&path)?
            }
            other => other?,
        };
        let listener = Self { socket, path };
        fs::set_permissions(&listener.path, fs::Permissions::from_mode(0o600))?;
        listener.socket.set_nonblocking(true)?;
        Ok(listener)
    }

    /// Answers whoever has asked since the last time.
    pub(super) fn answer_all(&self, rotation: &Rotation) {
        while let Ok((client, _)) = self.socket.accept() {
            // One that hangs up or says nothing is its own affair.
            let _ = answer(client, rotation);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn answer(mut client: UnixStream, rotation: &Rotation) -> std::io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_read_timeout(Some(Duration::from_secs(1)))?;
    client.set_write_timeout(Some(Duration::from_secs(1)))?;
    let mut line = String::new();
    BufReader::new((&client).take(LINE_BYTES_MAX)).read_line(&mut line)?;
    match Order::of(line.trim_end()) {
        Some(Order::Pause) => rotation.pause(),
        Some(Order::Resume) => rotation.resume(),
        Some(Order::Cancel) => rotation.cancel(),
        Some(Order::Status) => {}
        None => return Ok(()),
    }
    writeln!(client, "{}", Answer::of(rotation).to_json())
}

/// Asks the `strongroom rotate` that is at work on a file; `None` where there is none.
pub(super) fn ask(file: &Path, order: Order) -> Result<Option<Answer>, Failure> {
    let asking = || Failure::io("asking the rotation that is at work");
    let path = path_beside(file).map_err(asking())?;
    let mut server = match UnixStream::connect(path) {
        Ok(server) => server,
        Err(error) => {
            return match error.kind() {
                // Nobody listens: none is at work, or it was killed. A path too long for a socket
                // is one on which none could listen.
                ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::InvalidInput => {
                    Ok(None)
                }
                _ => Err(asking()(error)),
            };
        }
    };
    server.set_read_timeout(Some(ANSWER_WITHIN)).map_err(asking())?;
    let mut line = String::new();
    let asked = writeln!(server, "{}", order.word())
        .and_then(|()| BufReader::new(server.take(LINE_BYTES_MAX)).read_line(&mut line));
    match asked {
        // It ended before it came to answer.
        Err(error)
            if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) =>
        {
            return Ok(None);
        }
        asked => asked.map_err(asking())?,
    };
    Ok(serde_json::from_str(&line).ok().as_ref().and_then(Answer::of_json))
}

// The name as it is at the end of all symbolic links, so that both sides mean one socket.
fn path_beside(file: &Path) -> std::io::Result<PathBuf> {
    let mut name = file.canonicalize()?.into_os_string();
    name.push(".rotation");
    Ok(name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_back_as_it_was_and_nothing_else_does() {
        let answer = Answer {
            state: "running".to_owned(),
            from: 1,
            to: 2,
            pages_done: 50,
            pages_total: 200,
            seconds_left: Some(7),
        };
        assert_eq!(Answer::of_json(&answer.to_json()), Some(answer.clone()));
        assert_eq!(answer.to_string(), "running: data key 1 to 2, 25%, 50 of 200 pages, 7 s left");
        let mut other = answer.to_json();
        other["state"] = json!("\u{1b}[2J");
        assert_eq!(Answer::of_json(&other), None, "no text of others moves the cursor");
        assert_eq!(Answer::of_json(&json!({})), None);
        let paused = Answer { state: "paused".to_owned(), pages_done: 0, pages_total: 0, ..answer };
        assert_eq!(paused.to_string(), "paused: data key 1 to 2, 0%, 0 of 0 pages");
    }

    #[test]
    fn orders_are_single_words() {
        for order in [Order::Status, Order::Pause, Order::Resume, Order::Cancel] {
            assert_eq!(Order::of(order.word()), Some(order));
        }
        assert_eq!(Order::of("stop"), None);
    }
}
