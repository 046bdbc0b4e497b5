//! The README's command lines: each block of `console` is run, in one directory, and prints what
//! stands below it; each of `sh` is a line of `.ci/run`. (Its Rust is doctests.)

use std::fs;
use std::path::Path;

use crate::fixtures;
use crate::transcript::{matches, step};

const READMES: [&str; 1] = ["README.md"];

/// The lines of all blocks of a language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let (mut lines, mut inside) = (Vec::new(), false);
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some(head) => inside = !inside && head == language,
            None if inside => lines.push(line),
            None => {}
        }
    }
    lines
}

#[test]
fn every_command_of_the_readme_prints_what_stands_below_it() {
    let sandbox = tempfile::tempdir().unwrap();
    fixtures::make("plain.redb", sandbox.path());
    fs::rename(sandbox.path().join("plain.redb"), sandbox.path().join("old.redb")).unwrap();
    let mut commands = 0;
    for readme in READMES {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(readme)).unwrap();
        let mut lines = blocks(&text, "console").into_iter().peekable();
        while let Some(line) = lines.next() {
            let command = line.strip_prefix("$ ").unwrap_or_else(|| panic!("no command: {line}"));
            let mut expected = Vec::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with("$ ")) {
                expected.push(line);
            }
            // People see remarks among the results.
            let found = step(command, sandbox.path());
            let found: Vec<&str> =
                found.iter().map(|line| line.strip_prefix("2> ").unwrap_or(line)).collect();
            let same = expected.len() == found.len()
                && expected.iter().zip(&found).all(|(expected, found)| matches(expected, found));
            assert!(same, "{readme}: $ {command}\nexpected {expected:#?}\nfound {found:#?}");
            commands += 1;
        }
    }
    println!("figure: command lines of the README = {commands}");
    assert!(commands > 5);
}

/// Whether all words of one line stand in the other, in their order.
fn is_within(line: &str, other: &str) -> bool {
    let mut words = other.split_whitespace().map(|word| word.trim_matches('"'));
    line.split_whitespace().all(|word| words.any(|other| other == word || other.ends_with(word)))
}

#[test]
fn every_cargo_line_of_the_readme_is_run_by_the_checks() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let checks = fs::read_to_string(root.join(".ci/run")).unwrap();
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let lines = blocks(&readme, "sh");
    assert!(lines.len() >= 3, "{lines:?}");
    for line in lines {
        assert!(checks.lines().any(|check| is_within(line, check)), "not in .ci/run: {line}");
    }
}

#[test]
fn blocks_and_words() {
    let text = "a\n```console\n$ one\nx\n```\nb\n```rust\nlet\n```\n```console\n$ two\n```\n";
    assert_eq!(blocks(text, "console"), ["$ one", "x", "$ two"]);
    assert!(is_within("cargo test --release", "cargo test --locked --release --quiet"));
    assert!(is_within("run vault.room", "run \"$room/vault.room\""));
    assert!(!is_within("cargo test --release", "cargo test"));
}
