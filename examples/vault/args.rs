//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::failure::Failure;

pub(crate) const USAGE: &str = "\
usage: vault store VAULT DIR... [--add]   stores every regular file below the directories
       vault check VAULT [DIR...]         reads everything back; compares with the directories
       vault list  VAULT                  names what is in it
       vault get   VAULT PATH [OUT]       writes one file to OUT, or to standard output

       --key-file PATH       the key file; made by `store` if missing. Default: VAULT.key
       --passphrase-fd N     reads a passphrase from file descriptor N instead
       --add                 adds to an existing vault; files that did not change are passed over";

/// Where the key is.
#[derive(Debug)]
pub(crate) enum KeySource {
    /// A file beside the vault, because nothing else was said.
    Beside(PathBuf),
    File(PathBuf),
    PassphraseFd(u32),
}

#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Store { vault: PathBuf, directories: Vec<PathBuf>, key: KeySource, add: bool },
    Check { vault: PathBuf, directories: Vec<PathBuf>, key: KeySource },
    List { vault: PathBuf, key: KeySource },
    Get { vault: PathBuf, key: KeySource, path: String, out: Option<PathBuf> },
}

pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> Result<Command, Failure> {
    let mut words = Vec::new();
    let mut key = None;
    let mut add = false;
    let mut args = args;
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--help" | "-h") => return Ok(Command::Help),
            Some("--add") => add = true,
            Some("--key-file") => {
                let path = args.next().ok_or_else(|| wrong("--key-file wants a path"))?;
                set_once(&mut key, KeySource::File(path.into()))?;
            }
            Some("--passphrase-fd") => {
                let fd = args.next().and_then(|fd| fd.to_str()?.parse().ok());
                let fd = fd.ok_or_else(|| wrong("--passphrase-fd wants a number"))?;
                set_once(&mut key, KeySource::PassphraseFd(fd))?;
            }
            Some("--") => words.extend(args.by_ref()),
            Some(flag) if flag.starts_with('-') && flag != "-" => {
                return Err(wrong(&format!("unknown option {flag}")));
            }
            _ => words.push(arg),
        }
    }
    command(words, key, add)
}

fn command(words: Vec<OsString>, key: Option<KeySource>, add: bool) -> Result<Command, Failure> {
    let mut words = words.into_iter();
    let verb = words.next().ok_or_else(|| wrong("say what to do"))?;
    let vault = PathBuf::from(words.next().ok_or_else(|| wrong("name the vault's file"))?);
    let key = key.unwrap_or_else(|| {
        let mut beside = vault.clone().into_os_string();
        beside.push(".key");
        KeySource::Beside(beside.into())
    });
    if add && verb != "store" {
        return Err(wrong("--add belongs to `store`"));
    }
    match verb.to_str() {
        Some("store") => {
            let directories: Vec<_> = words.map(PathBuf::from).collect();
            if directories.is_empty() {
                return Err(wrong("name at least one directory to store"));
            }
            Ok(Command::Store { vault, directories, key, add })
        }
        Some("check") => {
            Ok(Command::Check { vault, directories: words.map(PathBuf::from).collect(), key })
        }
        Some("list") => no_more(words).map(|()| Command::List { vault, key }),
        Some("get") => {
            let path = words.next().ok_or_else(|| wrong("name the file to get"))?;
            let path = path.into_string().map_err(|_| wrong("paths in a vault are UTF-8"))?;
            let out = words.next().map(PathBuf::from);
            no_more(words)?;
            Ok(Command::Get { vault, key, path, out })
        }
        _ => Err(wrong(&format!("unknown command {}", verb.display()))),
    }
}

fn set_once(key: &mut Option<KeySource>, source: KeySource) -> Result<(), Failure> {
    match key.replace(source) {
        None => Ok(()),
        Some(_) => Err(wrong("name one key only")),
    }
}

fn no_more(mut words: impl Iterator<Item = OsString>) -> Result<(), Failure> {
    match words.next() {
        None => Ok(()),
        Some(word) => Err(wrong(&format!("{} is one argument too many", word.display()))),
    }
}

fn wrong(what: &str) -> Failure {
    Failure::said(format!("{what}\n{USAGE}"))
}
