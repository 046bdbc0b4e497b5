//! Transcripts: command lines with what they print. `$ ` begins a line for `sh`, `> ` goes on with
//! it; below stand standard output, standard error behind `2> `, and `=> CODE` where it is not 0.
//! `@ NAME` makes a fixture, `#` is a comment. Lines that differ by nature are written the same: file
//! ids, moments, Unix seconds, the sandbox's path; `[..]` in an expected line stands for anything.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use crate::{STRONGROOM, fixtures};

/// The number of command lines, and what came out otherwise than it is written.
pub(crate) fn run_all(directory: &Path, overwrite: bool) -> (usize, Vec<String>) {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "txt")).collect();
    paths.sort();
    assert!(!paths.is_empty());
    let results = Mutex::new((0, Vec::new()));
    let paths = Mutex::new(paths.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some(path) = paths.lock().unwrap().next() else { break };
                    let (steps, mut faults) = run(&path, overwrite);
                    let mut results = results.lock().unwrap();
                    results.0 += steps;
                    results.1.append(&mut faults);
                }
            });
        }
    });
    results.into_inner().unwrap()
}

fn run(path: &Path, overwrite: bool) -> (usize, Vec<String>) {
    let text = fs::read_to_string(path).unwrap();
    let sandbox = tempfile::tempdir().unwrap();
    let (mut written, mut faults, mut steps) = (String::new(), Vec::new(), 0);
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        written.push_str(line);
        written.push('\n');
        if let Some(name) = line.strip_prefix("@ ") {
            fixtures::make(name, sandbox.path());
        }
        let Some(command) = line.strip_prefix("$ ") else {
            let known = line.is_empty() || line.starts_with('#') || line.starts_with("@ ");
            assert!(known, "{}: neither command nor comment: {line}", path.display());
            continue;
        };
        let mut command = command.to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with("> ") || *line == ">") {
            written.push_str(&format!("{more}\n"));
            command.push('\n');
            command.push_str(more.strip_prefix("> ").unwrap_or_default());
        }
        let mut expected = Vec::new();
        while let Some(line) = lines.next_if(|line| !ends_output(line)) {
            expected.push(line);
        }
        // Blank lines before a comment or a fixture part steps, and are no output.
        let blank = expected.iter().rev().take_while(|line| line.is_empty()).count();
        expected.truncate(expected.len() - blank);
        steps += 1;
        let found = step(&command, sandbox.path());
        let same = expected.len() == found.len()
            && expected.iter().zip(&found).all(|(expected, found)| matches(expected, found));
        if same {
            expected.iter().for_each(|line| written.push_str(&format!("{line}\n")));
        } else {
            found.iter().for_each(|line| written.push_str(&format!("{line}\n")));
            let (name, found) = (path.display(), found.join("\n"));
            let expected = expected.join("\n");
            faults.push(format!("{name}:\n$ {command}\nexpected:\n{expected}\nfound:\n{found}\n"));
        }
        written.push_str(&"\n".repeat(blank));
    }
    if overwrite {
        fs::write(path, written).unwrap();
        faults.clear();
    }
    (steps, faults)
}

fn ends_output(line: &str) -> bool {
    line.starts_with("$ ") || line.starts_with("# ") || line.starts_with("@ ")
}

/// What a command line prints, line by line, and its code where it is not 0.
pub(crate) fn step(command: &str, sandbox: &Path) -> Vec<String> {
    let bin = Path::new(STRONGROOM).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-c", command])
        .current_dir(sandbox)
        .env_clear()
        .env("PATH", path)
        .env("HOME", sandbox)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let mut lines = Vec::new();
    let place = sandbox.display().to_string();
    for (bytes, mark) in [(&output.stdout, ""), (&output.stderr, "2> ")] {
        let text = String::from_utf8_lossy(bytes).replace(&place, "<dir>");
        let text = text.replace('\x1b', "<esc>");
        let text = without_ages(&text);
        // Whether it is depends on the machine's limit.
        let text = text.replace("\"memory_locked\":false", "\"memory_locked\":true");
        let lines_of = text.lines().filter(|line| !line.starts_with("warning: key memory is not"));
        // clap ends some lines with blanks, which no editor keeps.
        lines.extend(lines_of.map(|line| format!("{mark}{}", steady(line)).trim_end().to_owned()));
    }
    if !output.status.success() {
        let code = output.status.code().map_or("killed".to_owned(), |code| code.to_string());
        lines.push(format!("=> {code}"));
    }
    lines
}

/// Whether a line is as expected, where `[..]` stands for anything.
pub(crate) fn matches(expected: &str, found: &str) -> bool {
    let mut parts = expected.split("[..]");
    let first = parts.next().unwrap();
    let Some(mut rest) = found.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    match last {
        None => rest.is_empty(),
        Some(part) => part.is_empty() || rest.is_empty() || found.ends_with(part),
    }
}

// How old a key is: 0 seconds, or more on a slow machine.
fn without_ages(text: &str) -> String {
    let is_digit = |c: char| c.is_ascii_digit();
    let mut parts = text.split("\"age_s\":");
    let mut steady = parts.next().unwrap().to_owned();
    for part in parts {
        steady.push_str(&format!("\"age_s\":<age>{}", part.trim_start_matches(is_digit)));
    }
    let parts: Vec<&str> = steady.split(" seconds old").collect();
    let (last, before) = parts.split_last().unwrap();
    let before = before.iter().map(|part| format!("{}<age> old", part.trim_end_matches(is_digit)));
    before.collect::<String>() + last
}

/// A line with all that differs from run to run written the same.
fn steady(line: &str) -> String {
    let (mut steady, mut word) = (String::new(), String::new());
    for character in line.chars().chain(['\0']) {
        if character.is_ascii_alphanumeric() || "-:.".contains(character) {
            word.push(character);
            continue;
        }
        steady.push_str(&steady_word(&word));
        word.clear();
        steady.push(character);
    }
    steady.pop();
    steady
}

fn steady_word(word: &str) -> String {
    let core = word.trim_start_matches([':', '-']);
    let head = &word[..word.len() - core.len()];
    let core = core.trim_end_matches(['.', ':']);
    let tail = &word[head.len() + core.len()..];
    let hex = |len| core.len() == len && core.bytes().all(|byte| byte.is_ascii_hexdigit());
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let moment = core.len() == 20 && core.ends_with('Z') && core.contains('T');
    let seconds = core.len() == 10 && digits(core) && core.starts_with(['1', '2']);
    let fraction = core.split_once('.').is_some_and(|(whole, part)| {
        !whole.is_empty() && digits(whole) && digits(part) && part.len() > 5
    });
    let name = match core {
        _ if hex(32) => "<id>",
        _ if core.starts_with("strongroom1-") => "<token>",
        _ if moment => "<moment>",
        _ if seconds => "<seconds>",
        _ if fraction => "<fraction>",
        _ => return word.to_owned(),
    };
    format!("{head}{name}{tail}")
}

#[test]
fn what_differs_is_written_the_same() {
    for (line, expected) in [
        ("file 1afa105c2e7b579cf4ccf562ad57eb4c, 8 bytes", "file <id>, 8 bytes"),
        ("made 2026-11-25T03:10:41Z.", "made <moment>."),
        ("{\"created\":1795576241,\"x\":12345}", "{\"created\":<seconds>,\"x\":12345}"),
        ("\"seconds\":0.009468099}", "\"seconds\":<fraction>}"),
        ("a 1.5 b", "a 1.5 b"),
    ] {
        assert_eq!(steady(line), expected);
    }
}

#[test]
fn ages_are_written_the_same() {
    assert_eq!(without_ages("{\"age_s\":17,\"x\":1}"), "{\"age_s\":<age>,\"x\":1}");
    assert_eq!(without_ages("active, 3 seconds old, 5"), "active, <age> old, 5");
    assert_eq!(without_ages("90 days"), "90 days");
}

#[test]
fn an_expected_line_may_leave_parts_open() {
    for (expected, found, same) in [
        ("abc", "abc", true),
        ("abc", "abcd", false),
        ("a[..]c", "abbc", true),
        ("a[..]c", "abbcd", false),
        ("[..]c", "c", true),
        ("a[..]", "abc", true),
        ("a[..]b[..]", "axbx", true),
        ("a[..]b", "axc", false),
    ] {
        assert_eq!(matches(expected, found), same, "{expected} {found}");
    }
}
