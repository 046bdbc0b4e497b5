//! `key test`: does this credential open the file? Nothing is changed.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use strongroom::{Builder, Credential, OpenError, SlotHint, SlotInfo, SlotRefused};

use crate::credential::provider::{OPENS, ProviderArgs};
use crate::credential::{Source, slot_hint};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::open::OutsideArgs;
use crate::output::Output;
use crate::shapes;

/// Try credentials on a file, one by one, and change nothing
///
/// Says for each which slot it opens. Without any named, a passphrase is asked for: the way to find
/// out, before the day comes, whether the one that you remember is the right one. A read-only look:
/// the file is not written, not even to recover it.
///
/// Of a token, a TPM or a key service it says how that is, too, and leaves it as it is; but a wrong
/// PIN counts there.
///
/// Exit code 0 where every one of them opens a slot, 3 where one doesn't.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom key test notes.room
  strongroom key test notes.room --recovery-code          types in what stands on the paper
  strongroom key test notes.room --key-file a.key --key-file b.key --key-env NOTES_KEY")]
pub(crate) struct Test {
    /// The strongroom file
    file: PathBuf,
    /// A key file; may be given several times
    #[arg(long, value_name = "FILE")]
    key_file: Vec<PathBuf>,
    /// Read a passphrase, one line, from this file descriptor; may be given several times
    #[arg(long, value_name = "N")]
    passphrase_fd: Vec<u32>,
    /// Take a raw key from the environment variable of this name; may be given several times
    #[arg(long, value_name = "NAME")]
    key_env: Vec<String>,
    /// Ask for a recovery code
    #[arg(long)]
    recovery_code: bool,
    /// Read a recovery code, one line, from this file descriptor
    #[arg(long, value_name = "N")]
    recovery_code_fd: Option<u32>,
    /// Take key files that others than their owner can read or write
    #[arg(long)]
    allow_readable_key_file: bool,
    #[command(flatten)]
    provider: ProviderArgs<OPENS>,
    /// The slot to try, by label or number: saves trying the others
    #[arg(long, value_name = "SLOT")]
    slot: Option<String>,
    #[command(flatten)]
    outside: OutsideArgs,
}

/// What came of one credential.
enum Answer {
    /// It opens this slot, and with it the data.
    Opens(SlotInfo),
    /// It administers, and opens no data: roles are split.
    Administers(String),
    /// It opens the file, which was not closed cleanly: to say more, the file would have to be
    /// written.
    OpensUnclean,
    Refused(Failure),
}

impl Test {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        strongroom::inspect(&self.file)?;
        let mut builder = self.outside.builder()?;
        let hint = self.slot.as_deref().map_or(Ok(SlotHint::default()), slot_hint)?;
        builder.hint(hint);
        let (mut answers, mut worst) = (Vec::new(), None);
        for (name, source) in self.sources() {
            let health = match &source {
                Source::Provider { chosen, .. } => Some(chosen.health()),
                _ => None,
            };
            if let (Some(health), false) = (&health, out.is_json()) {
                out.health(health)?;
            }
            let tried = source
                .read_to_try()
                .map_or_else(Answer::Refused, |key| try_it(&builder, &self.file, &*key, hint));
            match tried {
                // Not an answer about this credential.
                Answer::Refused(failure) if failure.exit() != Exit::WrongKey => {
                    return Err(failure);
                }
                tried => {
                    if !out.is_json() {
                        out.line(format_args!("{name}: {}", sentence(&tried)))?;
                    }
                    if matches!(tried, Answer::Refused(_)) {
                        worst = Some(Exit::WrongKey);
                    }
                    let mut answer = object(&name, &tried);
                    if let (Some(health), Some(answer)) = (health, answer.as_object_mut()) {
                        answer.insert("provider".to_owned(), health.json);
                    }
                    answers.push(answer);
                }
            }
        }
        if out.is_json() {
            out.json(&json!({ "tried": answers }))?;
        }
        worst.map_or(Ok(()), |exit| Err(Failure::Verdict(exit)))
    }

    /// Where the credentials are, with a name for each.
    fn sources(&self) -> Vec<(String, Source)> {
        let mut sources = Vec::new();
        for path in &self.key_file {
            let allow_readable = self.allow_readable_key_file;
            let source = Source::KeyFile { path: path.clone(), allow_readable };
            sources.push((format!("key file {}", path.display()), source));
        }
        for fd in &self.passphrase_fd {
            sources.push((format!("passphrase of descriptor {fd}"), Source::PassphraseFd(*fd)));
        }
        for name in &self.key_env {
            sources.push((format!("raw key in {name}"), Source::KeyEnv(name.clone())));
        }
        if let Some(fd) = self.recovery_code_fd {
            let name = format!("recovery code of descriptor {fd}");
            sources.push((name, Source::RecoveryCode(Some(fd))));
        }
        if self.recovery_code {
            sources.push(("recovery code".to_owned(), Source::RecoveryCode(None)));
        }
        if let Some(chosen) = self.provider.to_chosen() {
            let name = chosen.title().to_owned();
            let allow_readable = self.allow_readable_key_file;
            sources.push((name, Source::Provider { chosen, allow_readable }));
        }
        if sources.is_empty() {
            let typed = Source::Terminal("Passphrase".to_owned());
            sources.push(("passphrase".to_owned(), typed));
        }
        sources
    }
}

fn try_it(
    builder: &Builder,
    file: &std::path::Path,
    key: &dyn Credential,
    hint: SlotHint,
) -> Answer {
    let db = match builder.open_read_only(file, key) {
        Ok(db) => db,
        Err(OpenError::NeedsRecovery) => return Answer::OpensUnclean,
        Err(OpenError::Slot(SlotRefused::AdminOnly(slot))) => {
            return Answer::Administers(slot.to_string());
        }
        Err(error) => return Answer::Refused(error.into()),
    };
    let slot = db.test_credential(key, hint);
    let closed = db.close();
    match slot.and_then(|slot| closed.map(|()| slot)) {
        Ok(slot) => Answer::Opens(slot),
        Err(error) => Answer::Refused(error.into()),
    }
}

fn sentence(answer: &Answer) -> String {
    match answer {
        Answer::Opens(slot) => format!("opens {}", shapes::slot_line(slot)),
        Answer::Administers(slot) => {
            format!("opens {slot}, which administers: roles are split, it opens no data")
        }
        Answer::OpensUnclean => {
            "opens the file, which was not closed cleanly; the next open for writing recovers it"
                .to_owned()
        }
        Answer::Refused(failure) => failure.what().unwrap_or_default(),
    }
}

fn object(name: &str, answer: &Answer) -> Value {
    match answer {
        Answer::Opens(slot) => {
            json!({ "credential": name, "opens": true, "slot": shapes::slot_json(slot) })
        }
        Answer::Administers(_) => {
            json!({ "credential": name, "opens": true, "slot": null, "administers_only": true })
        }
        Answer::OpensUnclean => {
            json!({ "credential": name, "opens": true, "slot": null, "clean": false })
        }
        Answer::Refused(failure) => {
            json!({ "credential": name, "opens": false, "error": failure.what() })
        }
    }
}
