//! The life of a file over several processes: a rotation that others ask, pause and cancel, that is
//! interrupted and killed; conversions, restores and salvages that are killed half way; codes and
//! passphrases on a terminal.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use strongroom::redb::TableDefinition;
use strongroom::{Database, KeyFile};

use crate::STRONGROOM;
use crate::terminal::{CHEAP, PASSPHRASE, Terminal};

const PATIENCE: Duration = Duration::from_secs(60);
const ROWS: TableDefinition<&str, &[u8]> = TableDefinition::new("rows");

fn strongroom(directory: &Path, arguments: &[&str]) -> (i32, String) {
    let output = spawn(directory, arguments).wait_with_output().unwrap();
    said(&output)
}

fn said(output: &Output) -> (i32, String) {
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text.into_owned())
}

fn spawn(directory: &Path, arguments: &[&str]) -> Child {
    Command::new(STRONGROOM)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// `a.room` of so many MiB, of the key `k`.
fn made(mib: usize) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let key = KeyFile::generate(directory.path().join("k")).unwrap();
    let db = Database::create(directory.path().join("a.room"), key).unwrap();
    let write = db.begin_write().unwrap();
    let value: Vec<u8> = (0..64 << 10).map(|n: u32| n.to_le_bytes()[0]).collect();
    for row in 0..mib * 16 {
        write.open_table(ROWS).unwrap().insert(format!("{row}").as_str(), &value[..]).unwrap();
    }
    write.commit().unwrap();
    db.close().unwrap();
    directory
}

/// Waits until it is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// A rotation at so many bytes a second, at work and ready to be asked. A step of it is 4 MiB.
fn rotating(directory: &Path, throttle: &str) -> Child {
    let rotate = ["rotate", "a.room", "--key-file", "k", "--throttle", throttle];
    let child = spawn(directory, &rotate);
    until("a rotation that answers", || {
        let (code, text) = strongroom(directory, &["rotate", "a.room", "--status"]);
        assert_eq!(code, 0, "{text}");
        text.starts_with("running")
    });
    child
}

fn rotate(directory: &Path, order: &str) -> (i32, String) {
    strongroom(directory, &["rotate", "a.room", order])
}

/// How many data keys the file has, by what it says to anybody.
fn data_keys(directory: &Path) -> usize {
    strongroom::inspect(directory.join("a.room")).unwrap().header().unwrap().epochs.len()
}

fn names(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_rotation_is_asked_paused_and_cancelled_by_others_and_gone_on_with() {
    let directory = made(8);
    let directory = directory.path();
    let child = rotating(directory, "1M");
    // Nobody else rotates it, or reads it; the socket is its owner's.
    let (code, text) = strongroom(directory, &["rotate", "a.room", "--key-file", "k"]);
    assert!(code == 6 && text.contains("another `strongroom rotate` is at work"), "{text}");
    let (code, text) = strongroom(directory, &["key", "list", "a.room", "--key-file", "k"]);
    assert_eq!(code, 6, "{text}");
    use std::os::unix::fs::PermissionsExt;
    let socket = fs::metadata(directory.join("a.room.rotation")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);

    let (code, text) = rotate(directory, "--pause");
    assert!(code == 0 && text == "told to pause\n", "{text}");
    until("paused", || rotate(directory, "--status").1.starts_with("paused: data key 1 to 2"));
    let (_, before) = rotate(directory, "--status");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(rotate(directory, "--status").1, before, "it went on");
    assert_eq!(rotate(directory, "--resume").1, "told to go on\n");
    until("going on", || rotate(directory, "--status").1.starts_with("running"));
    assert_eq!(rotate(directory, "--cancel").0, 0);
    let (code, text) = said(&child.wait_with_output().unwrap());
    assert!(code == 130 && text.contains("cancelled at"), "{code} {text}");
    assert_eq!(names(directory), ["a.room", "k"]);

    assert_eq!(data_keys(directory), 2);
    let (code, text) = rotate(directory, "--status");
    assert!(code == 0 && text.starts_with("unfinished: data key 1 is still to go"), "{text}");
    let resume = ["rotate", "a.room", "--key-file", "k", "--resume"];
    let (code, text) = strongroom(directory, &resume);
    assert!(code == 0 && text.contains("rotated from data key 1 to 2"), "{text}");
    assert_eq!(data_keys(directory), 1);
    let (code, text) = strongroom(directory, &["verify", "a.room", "--key-file", "k"]);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn ctrl_c_stops_a_rotation_with_a_clean_file_and_a_kill_with_a_sound_one() {
    let directory = made(16);
    let directory = directory.path();
    for name in ["-INT", "-TERM"] {
        let child = rotating(directory, "1M");
        signal(&child, name);
        let (code, text) = said(&child.wait_with_output().unwrap());
        assert!(code == 130 && text.contains("interrupted at"), "{code} {text}");
        assert!(text.contains("next: `strongroom rotate FILE` goes on"), "{text}");
        // Closed cleanly: a verb that only reads needs no --recover.
        let (code, text) = strongroom(directory, &["status", "a.room", "--key-file", "k"]);
        assert!(code == 0 && text.contains("data key 1: retired"), "{text}");
    }
    let mut child = rotating(directory, "1M");
    child.kill().unwrap();
    child.wait().unwrap();
    // The socket is left over, and nobody listens.
    assert_eq!(names(directory), ["a.room", "a.room.rotation", "k"]);
    assert_eq!(rotate(directory, "--pause").0, 13);
    let (code, text) = rotate(directory, "--status");
    assert!(code == 0 && text.starts_with("unfinished"), "{text}");
    let (code, text) = strongroom(directory, &["rotate", "a.room", "--key-file", "k"]);
    assert!(code == 0 && text.contains("rotated from data key 1 to 2"), "{text}");
    assert_eq!((names(directory), data_keys(directory)), (vec!["a.room".into(), "k".into()], 1));
}

#[test]
fn one_that_waits_watches_another_rotation_to_its_end() {
    let directory = made(10);
    let directory = directory.path();
    let child = rotating(directory, "4M");
    // It needs no key: the other one does the work.
    let waiting = spawn(directory, &["rotate", "a.room", "--wait", "--key-file", "nowhere"]);
    let (code, text) = said(&child.wait_with_output().unwrap());
    assert_eq!(code, 0, "{text}");
    let (code, text) = said(&waiting.wait_with_output().unwrap());
    assert!(code == 0 && text.contains("came to its end"), "{code} {text}");
}

#[test]
fn what_an_application_has_open_is_in_use_for_every_verb_that_changes_it() {
    let directory = made(1);
    let directory = directory.path();
    let db = Database::open(directory.join("a.room"), KeyFile::read(directory.join("k")).unwrap());
    let db = db.unwrap();
    for verb in [
        &["rotate", "a.room"][..],
        &["compact", "a.room"],
        &["backup", "a.room", "b"],
        &["key", "add", "a.room", "--new-key-file", "k"],
        &["key", "export-header", "a.room", "h"],
        &["key", "test", "a.room"],
        &["revoke", "a.room", "1"],
        &["decrypt", "a.room", "p.redb"],
        &["salvage", "a.room", "s.room"],
    ] {
        let (code, text) = strongroom(directory, &[verb, &["--key-file", "k"]].concat());
        assert!(code == 6 && text.contains("open"), "{verb:?}: {code} {text}");
    }
    let (code, text) = rotate(directory, "--status");
    assert!(code == 0 && text.contains("open for writing in another process"), "{text}");
    assert_eq!(names(directory), ["a.room", "k"]);
    db.close().unwrap();
}

/// Kills a run once a draft of `target` is there; `false` where it was done before that.
fn killed_at_a_draft(directory: &Path, arguments: &[&str], ending: &str) -> bool {
    let mut child = spawn(directory, arguments);
    let draft = || names(directory).iter().any(|name| name.ends_with(ending));
    until("a draft", || draft() || child.try_wait().unwrap().is_some());
    let killed = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    killed && draft()
}

#[test]
fn a_conversion_backup_or_restore_that_is_killed_leaves_the_old_file_and_is_run_again() {
    let directory = made(6);
    let directory = directory.path();
    let with_key = |arguments: &[&str]| {
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        [arguments, vec!["--key-file".to_owned(), "k".to_owned()]].concat()
    };
    let mut killed = 0;
    let decrypt = with_key(&["decrypt", "a.room", "plain.redb"]);
    let encrypt = with_key(&["encrypt", "plain.redb", "b.room"]);
    let in_place = with_key(&["encrypt", "plain.redb", "--in-place"]);
    let backup = with_key(&["backup", "a.room", "backup"]);
    let restore = with_key(&["restore", "c.room", "backup"]);
    for (arguments, source, target) in [
        (&decrypt, "a.room", "plain.redb"),
        (&encrypt, "plain.redb", "b.room"),
        (&in_place, "plain.redb", "plain.redb"),
        (&backup, "k", "backup"),
        (&restore, "backup", "c.room"),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let before = fs::read(directory.join(source)).unwrap();
        if killed_at_a_draft(directory, &arguments, ".unfinished") {
            killed += 1;
            assert!(fs::read(directory.join(source)).unwrap() == before, "{arguments:?}");
            assert!(source == target || !directory.join(target).exists(), "{arguments:?}");
            let (code, text) = strongroom(directory, &arguments);
            assert_eq!(code, 0, "{arguments:?}: {text}");
        }
        let left: Vec<_> = names(directory);
        assert!(!left.iter().any(|name| name.ends_with(".unfinished")), "{left:?}");
        assert!(directory.join(target).exists(), "{arguments:?}");
    }
    println!("figure: runs that were killed at their draft = {killed}");
    assert!(killed >= 2, "the others were too quick: {killed}");
    for file in ["a.room", "b.room", "c.room", "plain.redb"] {
        let (code, text) = strongroom(directory, &["verify", file, "--key-file", "k"]);
        assert_eq!(code, 0, "{file}: {text}");
    }
}

#[test]
fn a_salvage_that_is_interrupted_leaves_nothing() {
    let directory = made(16);
    let directory = directory.path();
    let arguments = ["salvage", "a.room", "s.room", "--key-file", "k", "--as", "tables"];
    let child = spawn(directory, &arguments);
    until("a new file", || names(directory).len() > 2);
    signal(&child, "-INT");
    let (code, text) = said(&child.wait_with_output().unwrap());
    assert!(code == 130 && text.contains("there is no new file"), "{code} {text}");
    assert_eq!(names(directory), ["a.room", "k"]);
}

fn code_on(screen: &str) -> String {
    let is_code = |line: &&str| line.len() == 76 && line.matches('-').count() == 10;
    screen.lines().map(str::trim).find(is_code).unwrap_or_default().to_owned()
}

#[test]
fn a_recovery_code_is_shown_once_and_typed_back() {
    let directory = made(1);
    let directory = directory.path();
    let recovery = ["key", "recovery", "a.room", "--key-file", "k"];
    let mut terminal = Terminal::run(directory, &recovery, &[]);
    terminal.wait_for("Type it from your paper", 1);
    let code = code_on(&terminal.text());
    assert_eq!(code.len(), 76, "{}", terminal.text());
    // The first letter that is not the same is found, and its group is named.
    let slip = if code.starts_with('0') { "1" } else { "0" };
    terminal.answer("Type it from your paper", 1, &format!("{slip}{}", &code[1..]));
    terminal.answer("Type it from your paper", 2, &code.to_lowercase().replace('-', " "));
    let (exit, screen) = terminal.end();
    assert!(exit == 0 && screen.contains("typing mistake in group 1 of 11"), "{screen}");
    assert!(screen.contains("added slot 2: recovery code, admin, \"recovery\""), "{screen}");
    assert_eq!(screen.matches(&code).count(), 1, "shown once: {screen}");

    let mut terminal = Terminal::run(directory, &["key", "test", "a.room", "--recovery-code"], &[]);
    terminal.answer("Recovery code: ", 1, &code);
    let (exit, screen) = terminal.end();
    assert!(exit == 0 && screen.contains("opens slot 2") && !screen.contains(&code), "{screen}");
}

#[test]
fn a_recovery_code_that_nobody_can_type_back_opens_nothing() {
    let directory = made(1);
    let directory = directory.path();
    let recovery = ["key", "recovery", "a.room", "--key-file", "k"];
    let mut terminal = Terminal::run(directory, &recovery, &[]);
    for tries in 1..=3 {
        terminal.answer("Type it from your paper", tries, "no code");
    }
    let (exit, screen) = terminal.end();
    assert!(
        exit == 2 && screen.contains("the code opens nothing: its slot was taken away"),
        "{exit} {screen}"
    );
    let (exit, text) = strongroom(directory, &["key", "list", "a.room", "--key-file", "k"]);
    assert!(exit == 0 && !text.contains("recovery code,"), "{text}");
}

#[test]
fn a_passphrase_is_changed_on_the_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let create = [&["create", "a.room"][..], &CHEAP].concat();
    let mut terminal = Terminal::run(directory, &create, &[]);
    terminal.answer("New passphrase: ", 1, PASSPHRASE);
    terminal.answer("New passphrase, again: ", 1, PASSPHRASE);
    assert_eq!(terminal.end().0, 0);
    let replace = [&["key", "replace", "a.room"][..], &CHEAP].concat();
    for (again, expected) in [("battery stable", 2), ("battery staple", 0)] {
        let mut terminal = Terminal::run(directory, &replace, &[]);
        terminal.answer("Passphrase: ", 1, PASSPHRASE);
        terminal.answer("New passphrase: ", 1, "battery staple");
        terminal.answer("New passphrase, again: ", 1, again);
        let (code, screen) = terminal.end();
        assert_eq!(code, expected, "{screen}");
        assert!(!screen.contains("battery") && !screen.contains(PASSPHRASE), "{screen}");
    }
    for (passphrase, expected) in [(PASSPHRASE, 3), ("battery staple", 0)] {
        let mut terminal = Terminal::run(directory, &["key", "test", "a.room"], &[]);
        terminal.answer("Passphrase: ", 1, passphrase);
        let (code, screen) = terminal.end();
        assert_eq!(code, expected, "{screen}");
    }
}
