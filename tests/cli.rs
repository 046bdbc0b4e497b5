//! Shows that the command line does what docs/cli.md says: transcripts of every verb with good and
//! bad use (`tests/cli/*.txt`), passphrases and bars on a pseudo-terminal, and sessions that are
//! used, killed, and cut off in the middle.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

#[path = "cli/fixtures.rs"]
mod fixtures;
#[path = "cli/life.rs"]
mod life;
#[path = "cli/readme.rs"]
mod readme;
#[path = "cli/sessions.rs"]
mod sessions;
#[path = "cli/terminal.rs"]
mod terminal;
#[path = "cli/transcript.rs"]
mod transcript;

use std::path::Path;

/// The binary under test.
const STRONGROOM: &str = env!("CARGO_BIN_EXE_strongroom");

/// Set to `overwrite` to write transcripts anew instead of comparing them; read the difference.
const OVERWRITE: &str = "STRONGROOM_TRANSCRIPTS";

#[test]
fn every_transcript_comes_out_as_it_is_written() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli");
    let overwrite = std::env::var(OVERWRITE).is_ok_and(|mode| mode == "overwrite");
    let (steps, faults) = transcript::run_all(&directory, overwrite);
    println!("figure: command lines in transcripts = {steps}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

// Each of the verbs that `--help` lists has a transcript of its own.
#[test]
fn every_verb_has_a_transcript() {
    let help = std::process::Command::new(STRONGROOM).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let verbs = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let verbs = verbs.take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    let verbs: Vec<&str> = verbs.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(verbs.len() > 15, "{verbs:?}");
    for verb in verbs.iter().filter(|verb| **verb != "help") {
        let path = format!("{}/tests/cli/{verb}.txt", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let used = text.lines().filter(|line| line.contains(&format!("strongroom {verb}"))).count();
        let failed = text.lines().filter(|line| line.starts_with("=> ")).count();
        assert!(used > 1 && failed > 0, "{path}: {used} uses, {failed} of them fail");
    }
}
