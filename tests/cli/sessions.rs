//! Two processes at one file, a process that is killed, a reader that goes away.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};

use crate::STRONGROOM;

fn strongroom(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(STRONGROOM);
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    command.output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A new file `a.room` of the key `k`.
fn made() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let output = strongroom(directory.path(), &["create", "a.room", "--generate-key-file", "k"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    directory
}

/// A shell that has stored `today` in `notes`, durably, and waits for its next line.
fn shell(directory: &Path) -> (Child, ChildStdin) {
    let mut child = Command::new(STRONGROOM)
        .args(["shell", "a.room", "--key-file", "k"])
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"put notes today rain str:str\nget notes today\n").unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "rain\n");
    (child, stdin)
}

#[test]
fn a_file_in_use_is_refused_with_its_own_code() {
    let directory = made();
    let (mut child, stdin) = shell(directory.path());
    for verb in [
        &["get", "a.room", "notes", "today"][..],
        &["put", "a.room", "notes", "today", "sun"],
        &["verify", "a.room"],
        &["status", "a.room"],
    ] {
        let output = strongroom(directory.path(), &[verb, &["--key-file", "k"]].concat());
        assert_eq!(code(&output), 6, "{verb:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("open elsewhere"), "{}", stderr(&output));
    }
    // It asks for no key, and takes no lock that it doesn't get.
    let output = strongroom(directory.path(), &["inspect", "a.room", "--json"]);
    assert_eq!(code(&output), 0);
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"in_use\":true"));
    drop(stdin);
    assert!(child.wait().unwrap().success());
    let output =
        strongroom(directory.path(), &["get", "a.room", "notes", "today", "--key-file", "k"]);
    assert_eq!(output.stdout, b"rain\n");
}

#[test]
fn after_a_kill_reading_asks_for_recover_and_writing_just_goes_on() {
    let directory = made();
    let (mut child, _stdin) = shell(directory.path());
    child.kill().unwrap();
    child.wait().unwrap();
    let get = ["get", "a.room", "notes", "today", "--key-file", "k"];
    let before = std::fs::read(directory.path().join("a.room")).unwrap();
    let output = strongroom(directory.path(), &get);
    assert_eq!(code(&output), 11, "{}", stderr(&output));
    assert!(stderr(&output).contains("next: give --recover"), "{}", stderr(&output));
    assert!(std::fs::read(directory.path().join("a.room")).unwrap() == before, "it was changed");
    // verify looks all the same, and changes nothing.
    let output = strongroom(directory.path(), &["verify", "a.room", "--key-file", "k"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let copy = directory.path().join("b.room");
    std::fs::write(&copy, &before).unwrap();
    let status = ["status", "b.room", "--key-file", "k", "--recover"];
    let output = strongroom(directory.path(), &status);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(code(&output) == 0 && text.contains("recovered after a crash"), "{text}");
    let output = strongroom(directory.path(), &status);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(code(&output) == 0 && text.contains("closed cleanly"), "{text}");

    let put = ["put", "a.room", "notes", "more", "sun", "--key-file", "k"];
    assert_eq!(code(&strongroom(directory.path(), &put)), 0);
    let output = strongroom(directory.path(), &get);
    assert_eq!((code(&output), output.stdout.as_slice()), (0, &b"rain\n"[..]));
}

#[test]
fn a_transaction_that_was_not_committed_is_not_stored() {
    let directory = made();
    let (mut child, mut stdin) = shell(directory.path());
    stdin.write_all(b"begin\nput notes today sun\n").unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
    let get = ["get", "a.room", "notes", "today", "--key-file", "k"];
    assert_eq!(strongroom(directory.path(), &get).stdout, b"rain\n");
}

#[test]
fn a_reader_that_goes_away_ends_a_dump_quietly() {
    let directory = made();
    let lines: String =
        (0..20_000).map(|at| format!("{{\"key\":\"{at:09}\",\"value\":\"{at}\"}}\n")).collect();
    std::fs::write(directory.path().join("lines"), lines).unwrap();
    let load =
        ["load", "a.room", "lines", "--table", "t", "--create", "str:str", "--key-file", "k"];
    let output = strongroom(directory.path(), &load);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    for verb in [&["dump", "a.room"][..], &["scan", "a.room", "t"]] {
        let mut child = Command::new(STRONGROOM)
            .args(verb)
            .args(["--key-file", "k"])
            .current_dir(directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(code(&output), 141, "{}", stderr(&output));
        assert_eq!(stderr(&output), "");
    }
}

// What a user typed or stored is in no message.
#[test]
fn no_message_shows_a_key_or_a_value() {
    let directory = made();
    let (secret, hex) = ("hunter2-and-more", "ab".repeat(31));
    let run = |arguments: &[&str]| {
        let mut command = Command::new(STRONGROOM);
        command.args(arguments).current_dir(directory.path()).env("THE_KEY", &hex);
        command.stdin(Stdio::null()).output().unwrap()
    };
    let notes = ["put", "a.room", "notes", "today", "rain", "--create", "str:str"];
    assert_eq!(code(&run(&[&notes[..], &["--key-file", "k"]].concat())), 0);
    std::fs::write(directory.path().join("bad"), format!("{{\"key\":\"{secret}\"")).unwrap();
    std::fs::write(directory.path().join("script"), format!("{secret} x\n")).unwrap();
    let put = ["put", "a.room", "t", "k", secret, "--key-file", "k"];
    for (arguments, expected) in [
        (&[&put[..], &["--create", "str:u64"]].concat()[..], 2),
        (&put[..], 7),
        (&["get", "a.room", "notes", secret, "--key-file", "k"], 7),
        (&["del", "a.room", "notes", secret, "--key-file", "k"], 7),
        (&["load", "a.room", "bad", "--table", "t", "--key-file", "k"], 2),
        (&["status", "a.room", "--key-env", "THE_KEY"], 2),
    ] {
        let output = run(arguments);
        let text = stderr(&output) + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(code(&output), expected, "{arguments:?}: {text}");
        assert!(!text.contains("hunter2") && !text.contains("abab"), "{text}");
    }
    let script = std::fs::File::open(directory.path().join("script")).unwrap();
    let output = Command::new(STRONGROOM)
        .args(["shell", "a.room", "--key-file", "k"])
        .current_dir(directory.path())
        .stdin(script)
        .output()
        .unwrap();
    assert!(code(&output) == 2 && !stderr(&output).contains("hunter2"), "{}", stderr(&output));
}
