//! A pseudo-terminal of our own, with strongroom as the first process of its session: what people
//! see, and that they don't see what they type.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::STRONGROOM;

const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const PASSPHRASE: &str = "correct horse 17";

pub(crate) struct Terminal {
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
    child: Child,
}

impl Terminal {
    /// Runs strongroom on a new terminal.
    pub(crate) fn run(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = i32::try_from(OFlags::NOCTTY.bits()).unwrap();
        let mut options = File::options();
        options.read(true).write(true).custom_flags(flags);
        let slave = options.open(name.to_str().unwrap()).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        // A session of its own, and the terminal is its: only so /dev/tty is this one.
        let child = Command::new("setsid")
            .args(["--ctty", STRONGROOM])
            .args(arguments)
            .current_dir(directory)
            .env_remove("NO_COLOR")
            .envs(environment.iter().copied())
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let keyboard = File::from(master);
        let screen = Arc::new(Mutex::new(Vec::new()));
        let (mut source, shown) = (keyboard.try_clone().unwrap(), Arc::clone(&screen));
        std::thread::spawn(move || {
            let mut piece = [0; 1024];
            // An error is the end: the last process has closed the terminal.
            while let Ok(count @ 1..) = source.read(&mut piece) {
                shown.lock().unwrap().extend_from_slice(&piece[..count]);
            }
        });
        Self { keyboard, screen, child }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    /// Waits until this is on the screen so many times.
    pub(crate) fn wait_for(&self, prompt: &str, times: usize) {
        let begun = Instant::now();
        while self.text().matches(prompt).count() < times {
            assert!(begun.elapsed() < PATIENCE, "no {prompt:?} in {:?}", self.text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for a prompt, then types a line.
    pub(crate) fn answer(&mut self, prompt: &str, times: usize, line: &str) {
        self.wait_for(prompt, times);
        // The prompt stands there before the echo is off; nobody types that fast.
        std::thread::sleep(Duration::from_millis(100));
        self.keyboard.write_all(format!("{line}\r").as_bytes()).unwrap();
    }

    /// Its exit code, and all that was on the screen.
    pub(crate) fn end(mut self) -> (i32, String) {
        let begun = Instant::now();
        let code = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status.code().unwrap();
            }
            if begun.elapsed() > PATIENCE {
                self.child.kill().unwrap();
                panic!("it waits for something: {:?}", self.text());
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        // What was written last is on its way through the terminal.
        std::thread::sleep(Duration::from_millis(100));
        (code, self.text())
    }
}

pub(crate) const CHEAP: [&str; 4] = ["--kdf-memory", "19", "--kdf-passes", "2"];

fn create(directory: &Path, second: &str) -> (i32, String) {
    let arguments = [&["create", "a.room"][..], &CHEAP].concat();
    let mut terminal = Terminal::run(directory, &arguments, &[]);
    terminal.answer("New passphrase: ", 1, PASSPHRASE);
    terminal.answer("New passphrase, again: ", 1, second);
    terminal.end()
}

#[test]
fn a_passphrase_is_asked_for_twice_and_never_shown() {
    let directory = tempfile::tempdir().unwrap();
    let (code, screen) = create(directory.path(), "correct hose 17");
    assert_eq!(code, 2, "{screen}");
    assert!(screen.contains("the two don't match"), "{screen}");
    assert!(!directory.path().join("a.room").exists());
    let (code, screen) = create(directory.path(), PASSPHRASE);
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("created a.room") && !screen.contains("correct"), "{screen}");

    let put = ["put", "a.room", "notes", "today", "rain", "--create", "str:str"];
    let mut terminal = Terminal::run(directory.path(), &put, &[]);
    terminal.answer("Passphrase: ", 1, PASSPHRASE);
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("stored") && !screen.contains("correct"), "{screen}");

    let get = ["get", "a.room", "notes", "today"];
    let mut terminal = Terminal::run(directory.path(), &get, &[]);
    terminal.answer("Passphrase: ", 1, "wrong horse");
    let (code, screen) = terminal.end();
    assert_eq!(code, 3, "{screen}");
    assert!(screen.contains("no key slot opens") && !screen.contains("horse"), "{screen}");
}

#[test]
fn nothing_is_asked_about_a_file_that_no_key_opens() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("text"), [b'x'; 70_000]).unwrap();
    for (file, expected) in [("nothing", 7), ("text", 9)] {
        let terminal = Terminal::run(directory.path(), &["status", file], &[]);
        let (code, screen) = terminal.end();
        assert_eq!(code, expected, "{screen}");
        assert!(!screen.contains("Passphrase"), "{screen}");
    }
}

fn with_key(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    let arguments = [arguments, &["--key-file", "k"]].concat();
    Terminal::run(directory, &arguments, environment).end()
}

#[test]
fn a_terminal_has_bars_and_colours_unless_no_color_is_set() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let made = Command::new(STRONGROOM)
        .args(["create", "a.room", "--generate-key-file", "k", "--quiet"])
        .current_dir(directory)
        .status()
        .unwrap();
    assert!(made.success());
    let (code, screen) = with_key(directory, &["verify", "a.room"], &[]);
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("[########################] 100%"), "{screen}");
    let (code, screen) = with_key(directory, &["verify", "a.room", "--quiet"], &[]);
    assert!(code == 0 && !screen.contains("[###"), "{screen}");

    let (_, screen) = with_key(directory, &["status", "a.room"], &[]);
    assert!(screen.contains("\x1b[1;32mnothing is due\x1b[0m"), "{screen}");
    let no_color = [("NO_COLOR", "1")];
    let (_, screen) = with_key(directory, &["status", "a.room"], &no_color);
    assert!(screen.contains("nothing is due") && !screen.contains('\x1b'), "{screen}");
    let (code, screen) = with_key(directory, &["get", "a.room", "t", "k"], &no_color);
    assert!(code == 7 && screen.contains("error:") && !screen.contains('\x1b'), "{screen}");
}

#[test]
fn the_shell_prompts_and_goes_on_after_a_mistake() {
    let directory = tempfile::tempdir().unwrap();
    let made = Command::new(STRONGROOM)
        .args(["create", "a.room", "--generate-key-file", "k", "--quiet"])
        .current_dir(directory.path())
        .status()
        .unwrap();
    assert!(made.success());
    let shell = ["shell", "a.room", "--key-file", "k", "--color", "never"];
    let mut terminal = Terminal::run(directory.path(), &shell, &[]);
    terminal.answer("strongroom> ", 1, "get notes today");
    terminal.answer("strongroom> ", 2, "begin");
    terminal.answer("strongroom*> ", 1, "put notes today rain str:str");
    terminal.answer("strongroom*> ", 2, "commit");
    terminal.answer("strongroom> ", 3, "quit");
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("error: there is no table \"notes\""), "{screen}");
    let (code, screen) = with_key(directory.path(), &["get", "a.room", "notes", "today"], &[]);
    assert!(code == 0 && screen.contains("rain"), "{screen}");
}
