//! Where a credential comes from: the terminal, a key file, a file descriptor, an environment
//! variable, or what keeps it (`provider`). Never an argument: everybody on the machine may read
//! those.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use clap::Args;
use strongroom::{
    Credential, KdfCost, KeyFile, Passphrase, RawKey, RecoveryCode, SlotHint, SlotId,
};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::prompt;

mod kms;
mod pkcs11;
pub(crate) mod provider;
pub(crate) mod tpm;

use provider::{Chosen, IS_NEW, OPENS, ProviderArgs, Use};

/// Read and write for others than the owner.
const OTHERS: u32 = 0o077;
/// More than any passphrase or key has: a file of data given by mistake is not read to its end.
const SECRET_BYTES_MAX: u64 = 64 * 1024;
/// 64 MiB and 3 passes are what a passphrase slot starts at where nothing is said.
const PASSES: u32 = 3;

/// Where a key is. Without any of these a passphrase is asked for.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct KeyArgs<const FOR: usize = OPENS> {
    /// A key file: 32 random bytes, or 64 hexadecimal digits
    #[arg(long, value_name = "FILE", group = "credential", help_heading = "Key")]
    pub(crate) key_file: Option<PathBuf>,
    /// Read a passphrase, one line, from this file descriptor; 0 is standard input
    #[arg(long, value_name = "N", group = "credential", help_heading = "Key")]
    pub(crate) passphrase_fd: Option<u32>,
    /// Take a raw key, 64 hexadecimal digits, from the environment variable of this name
    #[arg(long, value_name = "NAME", group = "credential", help_heading = "Key")]
    pub(crate) key_env: Option<String>,
    /// Take a key file that others than its owner can read or write
    #[arg(long, help_heading = "Key")]
    pub(crate) allow_readable_key_file: bool,
    #[command(flatten)]
    pub(crate) provider: ProviderArgs<FOR>,
}

/// The credential that opens a file that is there.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct CredentialArgs {
    #[command(flatten)]
    pub(crate) key: KeyArgs,
    /// A recovery code is typed instead of a passphrase, or comes from --passphrase-fd
    #[arg(long, conflicts_with_all = ["key_file", "key_env"], help_heading = "Key")]
    pub(crate) recovery_code: bool,
    /// The slot that the credential opens, by label or number: saves trying the others
    #[arg(long, value_name = "SLOT", help_heading = "Key")]
    pub(crate) slot: Option<String>,
}

/// The credential for a new key slot. Without any of these a passphrase is asked for, twice.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct NewCredentialArgs {
    /// A key file that is there already
    #[arg(long, value_name = "FILE", group = "new_credential", help_heading = "New key")]
    pub(crate) new_key_file: Option<PathBuf>,
    /// Make a new key file with a random key, readable by you only
    #[arg(long, value_name = "FILE", group = "new_credential", help_heading = "New key")]
    pub(crate) new_generated_key_file: Option<PathBuf>,
    /// Read the new passphrase, one line, from this file descriptor
    #[arg(long, value_name = "N", group = "new_credential", help_heading = "New key")]
    pub(crate) new_passphrase_fd: Option<u32>,
    /// Take the new raw key, 64 hexadecimal digits, from the environment variable of this name
    #[arg(long, value_name = "NAME", group = "new_credential", help_heading = "New key")]
    pub(crate) new_key_env: Option<String>,
    #[command(flatten)]
    pub(crate) provider: ProviderArgs<IS_NEW>,
    #[command(flatten)]
    pub(crate) kdf: KdfArgs,
}

/// What guessing a new passphrase shall cost.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct KdfArgs {
    /// Memory that each try at the new passphrase takes; unless given, what takes half a second
    /// on this machine, 64 MiB at least
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(19..=1024), help_heading = "New key")]
    pub(crate) kdf_memory: Option<u32>,
    /// Passes over that memory
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=16), help_heading = "New key")]
    pub(crate) kdf_passes: Option<u32>,
}

impl KdfArgs {
    /// `None` is a calibration.
    pub(crate) fn cost(self) -> Option<KdfCost> {
        match (self.kdf_memory, self.kdf_passes) {
            (None, None) => None,
            (memory, passes) => Some(KdfCost {
                memory_kib: memory.unwrap_or(64) * 1024,
                passes: passes.unwrap_or(PASSES),
                lanes: 1,
            }),
        }
    }
}

/// A place where a credential is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "there is one, for as long as a file is opened")]
pub(crate) enum Source {
    /// A passphrase that is typed; the text is what to ask for.
    Terminal(String),
    /// A recovery code that is typed, or stands where a passphrase would.
    RecoveryCode(Option<u32>),
    KeyFile {
        path: PathBuf,
        allow_readable: bool,
    },
    NewKeyFile(PathBuf),
    PassphraseFd(u32),
    KeyEnv(String),
    /// With what keeps it.
    Provider {
        chosen: Box<Chosen>,
        allow_readable: bool,
    },
}

impl<const FOR: usize> KeyArgs<FOR> {
    /// Where the key is; `prompt` is asked where it is nowhere else.
    pub(crate) fn source(&self, prompt: &str) -> Source {
        match self {
            Self { key_file: Some(path), allow_readable_key_file: allow_readable, .. } => {
                Source::KeyFile { path: path.clone(), allow_readable: *allow_readable }
            }
            Self { passphrase_fd: Some(fd), .. } => Source::PassphraseFd(*fd),
            Self { key_env: Some(name), .. } => Source::KeyEnv(name.clone()),
            Self { provider, .. } => match provider.to_chosen() {
                Some(chosen) => {
                    Source::Provider { chosen, allow_readable: self.allow_readable_key_file }
                }
                None => Source::Terminal(prompt.to_owned()),
            },
        }
    }
}

impl CredentialArgs {
    fn source(&self, prompt: &str) -> Source {
        match self.recovery_code {
            true => Source::RecoveryCode(self.key.passphrase_fd),
            false => self.key.source(prompt),
        }
    }

    /// The credential; `prompt` is asked where it is nowhere else.
    pub(crate) fn read(&self, prompt: &str) -> Result<Box<dyn Credential>, Failure> {
        self.source(prompt).read()
    }

    /// Which slots to try.
    pub(crate) fn hint(&self) -> Result<SlotHint, Failure> {
        self.slot.as_deref().map_or(Ok(SlotHint::default()), slot_hint)
    }
}

impl NewCredentialArgs {
    /// Whether anything is said of a new key.
    pub(crate) fn is_given(&self) -> bool {
        let Self { new_key_file, new_generated_key_file, .. } = self;
        let file = new_key_file.is_some() || new_generated_key_file.is_some();
        let told = self.new_passphrase_fd.is_some() || self.new_key_env.is_some();
        file || told || self.provider.chosen().is_some() || self.kdf.cost().is_some()
    }

    /// The credential of a new slot; `prompt` is asked for twice where it is nowhere else.
    pub(crate) fn make(
        &self,
        prompt: &str,
        allow_readable: bool,
    ) -> Result<Box<dyn Credential>, Failure> {
        let source = match self {
            Self { new_key_file: Some(path), .. } => {
                Source::KeyFile { path: path.clone(), allow_readable }
            }
            Self { new_generated_key_file: Some(path), .. } => Source::NewKeyFile(path.clone()),
            Self { new_passphrase_fd: Some(fd), .. } => Source::PassphraseFd(*fd),
            Self { new_key_env: Some(name), .. } => Source::KeyEnv(name.clone()),
            Self { provider, .. } => match provider.to_chosen() {
                Some(chosen) => Source::Provider { chosen, allow_readable },
                None => Source::Terminal(prompt.to_owned()),
            },
        };
        source.make(self.kdf)
    }
}

impl Source {
    /// A credential that opens a slot that is there.
    pub(crate) fn read(&self) -> Result<Box<dyn Credential>, Failure> {
        Ok(match self {
            Self::Terminal(prompt) => Box::new(Passphrase::new(prompt::secret(prompt)?.as_bytes())),
            Self::RecoveryCode(None) => {
                Box::new(RecoveryCode::parse(&prompt::secret("Recovery code")?)?)
            }
            Self::RecoveryCode(Some(fd)) => Box::new(RecoveryCode::parse(&text_from_fd(*fd)?)?),
            Self::KeyFile { path, allow_readable } => key_file(path, *allow_readable)?,
            Self::NewKeyFile(path) => Box::new(KeyFile::generate(path)?),
            Self::PassphraseFd(fd) => {
                Box::new(Passphrase::new(line_from_fd(*fd, "passphrase")?.as_slice()))
            }
            Self::KeyEnv(name) => Box::new(raw_key_from_env(name)?),
            Self::Provider { chosen, .. } => chosen.credential(self.used(false))?,
        })
    }

    /// The same, to be tried only: what keeps a key is left as it is.
    pub(crate) fn read_to_try(&self) -> Result<Box<dyn Credential>, Failure> {
        match self {
            Self::Provider { chosen, .. } => {
                chosen.credential(Use { tries: true, ..self.used(false) })
            }
            _ => self.read(),
        }
    }

    fn used(&self, makes: bool) -> Use {
        let allow_readable = matches!(self, Self::Provider { allow_readable: true, .. });
        Use { makes, tries: false, allow_readable, kdf: KdfArgs::default() }
    }

    /// A credential for a new slot: what is typed is typed twice.
    pub(crate) fn make(&self, kdf: KdfArgs) -> Result<Box<dyn Credential>, Failure> {
        let passphrase = match self {
            Self::Terminal(prompt) => Passphrase::new(prompt::new_secret(prompt)?.as_bytes()),
            Self::PassphraseFd(fd) => Passphrase::new(line_from_fd(*fd, "passphrase")?.as_slice()),
            Self::Provider { chosen, .. } => {
                return chosen.credential(Use { kdf, ..self.used(true) });
            }
            _ if kdf.cost().is_some() => {
                return Err(Failure::usage("--kdf-memory and --kdf-passes are for passphrases"));
            }
            _ => return self.read(),
        };
        Ok(match kdf.cost() {
            Some(cost) => Box::new(passphrase.cost(cost)),
            None => Box::new(passphrase),
        })
    }
}

/// A slot by number or, if it is none, by label.
pub(crate) fn slot_hint(text: &str) -> Result<SlotHint, Failure> {
    Ok(match text.parse() {
        Ok(number) => SlotHint::slot(SlotId(number)),
        Err(_) => SlotHint::label(text)?,
    })
}

fn key_file(path: &Path, allow_readable: bool) -> Result<Box<dyn Credential>, Failure> {
    refuse_readable(path, "key file", allow_readable)?;
    Ok(Box::new(KeyFile::read(path)?))
}

/// A file with a secret that others than its owner can read is refused, unless that is allowed.
pub(crate) fn refuse_readable(
    path: &Path,
    what: &str,
    allow_readable: bool,
) -> Result<(), Failure> {
    // What can't be looked at can't be read either, and that error says more.
    let Ok(metadata) = path.metadata() else { return Ok(()) };
    let mode = metadata.permissions().mode();
    if mode & OTHERS == 0 || allow_readable {
        return Ok(());
    }
    let (name, mode) = (path.display(), mode & 0o777);
    Err(Failure::refused(format!(
        "the {what} {name} can be read or written by others than its owner (mode {mode:03o})"
    ))
    .hint(format!(
        "`chmod 600 {name}`, and think about who may have read it; or give \
         --allow-readable-key-file"
    )))
}

fn raw_key_from_env(name: &str) -> Result<RawKey, Failure> {
    let Some(text) = std::env::var_os(name) else {
        return Err(Failure::not_found(format!("there is no environment variable {name}")));
    };
    let text = Zeroizing::new(text.into_encoded_bytes());
    let key = hex_key(&text).ok_or_else(|| {
        Failure::usage(format!(
            "the environment variable {name} holds no raw key: it takes 64 hexadecimal digits"
        ))
    })?;
    Ok(RawKey::new(*key))
}

fn hex_key(text: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let digits = text.trim_ascii();
    if digits.len() != 64 {
        return None;
    }
    let mut key = Zeroizing::new([0; 32]);
    for (byte, pair) in key.iter_mut().zip(digits.chunks(2)) {
        let digits = str::from_utf8(pair).ok()?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(key)
}

/// One line without its end. What follows it on standard input or in a pipe stays where it is, so
/// that data may come after it; a file is read from its start each time, and so once only.
fn line_from_fd(fd: u32, what: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let line = if fd == 0 { line_of(io::stdin().lock()) } else { line_of(open_fd(fd, what)?) };
    let line = line.map_err(Failure::io(format!("reading the {what} from descriptor {fd}")))?;
    match line.is_empty() {
        true => Err(Failure::usage(format!("no {what} came from descriptor {fd}"))),
        false => Ok(line),
    }
}

fn text_from_fd(fd: u32) -> Result<Zeroizing<String>, Failure> {
    let line = line_from_fd(fd, "passphrase")?;
    match str::from_utf8(&line) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(Failure::usage(format!("descriptor {fd} gave no text"))),
    }
}

// A descriptor that was inherited, by the name that the system gives it.
fn open_fd(fd: u32, what: &str) -> Result<File, Failure> {
    if fd <= 2 {
        return Err(Failure::usage(format!("descriptor {fd} is for output")));
    }
    let file = File::open(format!("/dev/fd/{fd}")).map_err(|error| {
        Failure::usage(format!("descriptor {fd} can't be read: {error}")).hint(match what {
            "passphrase" => {
                "open it for the command, as in `strongroom ... --passphrase-fd 3 3< FILE`"
            }
            _ => "open it for the command, as in `strongroom ... --pin-fd 3 3< FILE`",
        })
    })?;
    let again = !READ.lock().unwrap_or_else(PoisonError::into_inner).insert(fd);
    if again && file.metadata().is_ok_and(|facts| facts.is_file()) {
        return Err(Failure::usage(format!(
            "descriptor {fd} is a file whose first line was taken already: give each secret a \
             descriptor of its own"
        )));
    }
    Ok(file)
}

/// Descriptors that a line was taken from.
static READ: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

// Byte by byte: nothing behind the line is taken. The buffer of standard input keeps a copy
// (docs/cli.md); one of a descriptor's is wiped.
fn line_of(mut from: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(1024));
    let mut byte = Zeroizing::new([0]);
    while line.len() as u64 <= SECRET_BYTES_MAX && from.read(byte.as_mut_slice())? == 1 {
        match *byte {
            [b'\n'] => break,
            [byte] => line.push(byte),
        }
    }
    if line.ends_with(b"\r") {
        line.pop();
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_in_one_place() {
        let args = |change: fn(&mut CredentialArgs)| {
            let mut args = CredentialArgs::default();
            change(&mut args);
            args.source("Passphrase")
        };
        let path = PathBuf::from("k");
        assert_eq!(args(|_| ()), Source::Terminal("Passphrase".to_owned()));
        assert_eq!(
            args(|args| args.key.key_file = Some("k".into())),
            Source::KeyFile { path, allow_readable: false }
        );
        assert_eq!(args(|args| args.key.passphrase_fd = Some(3)), Source::PassphraseFd(3));
        assert_eq!(args(|args| args.key.key_env = Some("K".into())), Source::KeyEnv("K".into()));
        assert_eq!(args(|args| args.recovery_code = true), Source::RecoveryCode(None));
        let both = |args: &mut CredentialArgs| {
            (args.recovery_code, args.key.passphrase_fd) = (true, Some(3));
        };
        assert_eq!(args(both), Source::RecoveryCode(Some(3)));
    }

    #[test]
    fn a_line_ends_where_it_ends() {
        for (bytes, expected) in [
            (&b"correct horse\ndata"[..], &b"correct horse"[..]),
            (b"correct horse\r\ndata", b"correct horse"),
            (b"no end", b"no end"),
            (b"\n", b""),
            (b"", b""),
            (b" spaces \xff\n", b" spaces \xff"),
        ] {
            let mut from = bytes;
            assert_eq!(line_of(&mut from).unwrap().as_slice(), expected);
        }
        let mut from = &b"one\ntwo\n"[..];
        line_of(&mut from).unwrap();
        assert_eq!(from, b"two\n", "what follows is left");
    }

    #[test]
    fn a_raw_key_has_64_digits() {
        let key = hex_key("0aB1".repeat(16).as_bytes()).unwrap();
        assert_eq!(key[..2], [0x0A, 0xB1]);
        for bad in ["", "0a", &"0".repeat(63), &"0".repeat(65), &"+1".repeat(32), &"0g".repeat(32)]
        {
            assert!(hex_key(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_cost_is_given_whole() {
        let cost = |memory, passes| KdfArgs { kdf_memory: memory, kdf_passes: passes }.cost();
        let of = |memory_kib, passes| Some(KdfCost { memory_kib, passes, lanes: 1 });
        assert_eq!(cost(None, None), None);
        assert_eq!(cost(Some(19), None), of(19 * 1024, 3));
        assert_eq!(cost(None, Some(2)), of(64 * 1024, 2));
    }
}
