//! `prove`: that nothing in a file is plaintext.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use strongroom::{Proof, ProveOptions, Suspicion};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::open::OpenArgs;
use crate::output::{Output, plain};

/// As the library has it.
const PATTERN_BYTES_MIN: usize = 6;

/// Show, with figures, that nothing in a file is plaintext
///
/// Scans every byte: no page that does not look random, redb's magic bytes nowhere, none of your
/// patterns. With a key (--with-key, or any of the options under "Key") also which pages
/// authenticate. Any file will do, one that is no database too. Changes nothing.
///
/// Ends with code 14 where something may be plaintext.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom prove notes.room
  strongroom prove notes.room --with-key --pattern-file words-that-were-stored.txt")]
pub(crate) struct Prove {
    #[command(flatten)]
    open: OpenArgs,
    /// Use a key: the passphrase is asked for, unless another option says where the key is
    #[arg(long, help_heading = "Key")]
    with_key: bool,
    /// Bytes that must not be in the file, 6 at least; others can see them in your arguments
    #[arg(long, value_name = "TEXT")]
    pattern: Vec<String>,
    /// A file with such patterns, one a line
    #[arg(long, value_name = "FILE")]
    pattern_file: Option<PathBuf>,
    /// Threads that scan, as many as there are cores unless given
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// List at most so many suspects; all of them are counted
    #[arg(long, value_name = "N", default_value_t = 1000)]
    suspects: usize,
}

impl Prove {
    fn uses_key(&self) -> bool {
        let credential = &self.open.credential;
        let key = &credential.key;
        self.with_key
            || credential.recovery_code
            || key.key_file.is_some()
            || key.passphrase_fd.is_some()
            || key.key_env.is_some()
    }

    fn options(&self) -> Result<ProveOptions, Failure> {
        let mut options = ProveOptions::new().suspects_max(self.suspects);
        if let Some(threads) = self.threads {
            options = options.threads(threads);
        }
        for pattern in &self.pattern {
            options = options.pattern(long_enough(pattern.as_bytes())?);
        }
        if let Some(path) = &self.pattern_file {
            let patterns = std::fs::read(path).map_err(Failure::io("reading the patterns"))?;
            let lines = patterns.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            for pattern in lines {
                options = options.pattern(long_enough(pattern)?);
            }
        }
        Ok(options)
    }

    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        let (builder, options) = (self.open.builder()?, self.options()?);
        let key = if self.uses_key() { Some(self.open.key()?) } else { None };
        let proof = builder.prove(&self.open.file, key.as_deref(), &options)?;
        out.either(&proof_json(&proof), plain(&proof.to_string()))?;
        if proof.holds() { Ok(()) } else { Err(Failure::Verdict(Exit::Plaintext)) }
    }
}

fn long_enough(pattern: &[u8]) -> Result<&[u8], Failure> {
    match pattern.len() {
        PATTERN_BYTES_MIN.. => Ok(pattern),
        found => Err(Failure::usage(format!(
            "a pattern has {PATTERN_BYTES_MIN} bytes at least, one of those given has {found}: \
             random bytes hold such short ones too"
        ))),
    }
}

fn proof_json(proof: &Proof) -> Value {
    let kinds = proof.kinds.iter().map(|(kind, count)| {
        json!({
            "kind": kind.to_string(),
            "pages": count.pages,
            "zeros": count.zeros,
            "authenticated": count.authenticated,
            "random": count.random,
            "suspicious": count.suspicious,
        })
    });
    let suspects = proof.suspects.iter().map(|suspect| {
        let (what, number) = match suspect.what {
            Suspicion::Entropy(bits) => ("entropy", json!(bits)),
            Suspicion::RedbMagic => ("redb_magic", Value::Null),
            Suspicion::Pattern(number) => ("pattern", json!(number)),
            _ => ("other", Value::Null),
        };
        let kind = suspect.kind.to_string();
        json!({ "offset": suspect.offset.0, "kind": kind, "what": what, "figure": number })
    });
    json!({
        "holds": proof.holds(),
        "with_key": proof.file_id.is_some(),
        "file_id": proof.file_id.map(|id| id.to_string()),
        "file_bytes": proof.file_bytes,
        "kinds": kinds.collect::<Vec<_>>(),
        "measured": proof.measured,
        "lowest_bits": proof.lowest_bits,
        "mean_bits": proof.mean_bits,
        "false_alarm_log2": proof.false_alarm_log2,
        "patterns": proof.patterns,
        "suspects": suspects.collect::<Vec<_>>(),
        "suspects_total": proof.suspects_total,
    })
}
