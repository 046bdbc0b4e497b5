//! The lines of a session without values: verb, table, key.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::failure::Failure;

/// A word that is no command may be a value on the wrong line: only these are kept.
const KEPT: [&str; 8] = ["get", "put", "del", "scan", "tables", "begin", "commit", "abort"];

pub(super) struct History {
    lines: Vec<String>,
    file: Option<File>,
}

impl History {
    pub(super) fn to(path: Option<&Path>) -> Result<Self, Failure> {
        let open = |path: &Path| {
            let opened = File::options().append(true).create(true).mode(0o600).open(path);
            opened.map_err(Failure::io(format!("opening the history {}", path.display())))
        };
        Ok(Self { lines: Vec::new(), file: path.map(open).transpose()? })
    }

    pub(super) fn keep(&mut self, words: &[String]) -> Result<(), Failure> {
        let Some(line) = kept(words) else { return Ok(()) };
        if let Some(file) = &mut self.file {
            writeln!(file, "{line}").map_err(Failure::io("writing the history"))?;
        }
        self.lines.push(line);
        Ok(())
    }

    pub(super) fn lines(&self) -> &[String] {
        &self.lines
    }
}

fn kept(words: &[String]) -> Option<String> {
    let verb = words.first().filter(|verb| KEPT.contains(&verb.as_str()))?;
    // `put TABLE KEY VALUE`: three words of any line.
    let kept = words.iter().skip(1).take(2).map(|word| format!(" {word:?}"));
    Some(format!("{verb}{}", kept.collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_kept() {
        let kept = |line: &str| kept(&super::super::words::split(line).unwrap());
        assert_eq!(kept("put notes today 'a secret'").unwrap(), "put \"notes\" \"today\"");
        assert_eq!(kept("put notes today a secret str:str").unwrap(), "put \"notes\" \"today\"");
        assert_eq!(kept("begin").unwrap(), "begin");
        for line in ["", "a secret", "help", "puts notes today x"] {
            assert_eq!(kept(line), None, "{line}");
        }
    }
}
