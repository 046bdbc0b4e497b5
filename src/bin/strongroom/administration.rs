//! How a verb opens a file to change its key slots: the credential that opens it and, where roles
//! are split, the administrator's beside it; and a slot by the name that people give it.

use std::path::{Path, PathBuf};

use clap::Args;
use strongroom::{AdminSession, Credential, Database, SlotHint, SlotId, SlotInfo, SlotKind};

use crate::credential::provider::{ADMINISTERS, Chosen, ProviderArgs};
use crate::credential::{NewCredentialArgs, Source, slot_hint};
use crate::failure::Failure;
use crate::independence::{self, Other};
use crate::open::OpenArgs;

/// A file, what opens it, and who administers it.
#[derive(Debug, Clone, Args)]
pub(crate) struct Administration {
    #[command(flatten)]
    pub(crate) open: OpenArgs,
    #[command(flatten)]
    admin: AdminArgs,
}

/// The administrator's credential, where it is not the one that opens the file.
#[derive(Debug, Clone, Default, Args)]
struct AdminArgs {
    /// The administrator's key file
    #[arg(
        long,
        value_name = "FILE",
        group = "admin_credential",
        help_heading = "Administrator's key, where roles are split"
    )]
    admin_key_file: Option<PathBuf>,
    /// Read the administrator's passphrase, one line, from this file descriptor
    #[arg(
        long,
        value_name = "N",
        group = "admin_credential",
        help_heading = "Administrator's key, where roles are split"
    )]
    admin_passphrase_fd: Option<u32>,
    /// Take the administrator's raw key from the environment variable of this name
    #[arg(
        long,
        value_name = "NAME",
        group = "admin_credential",
        help_heading = "Administrator's key, where roles are split"
    )]
    admin_key_env: Option<String>,
    /// Ask for the administrator's passphrase on the terminal
    #[arg(
        long,
        group = "admin_credential",
        help_heading = "Administrator's key, where roles are split"
    )]
    admin_passphrase: bool,
    #[command(flatten)]
    provider: ProviderArgs<ADMINISTERS>,
    /// The administrator's slot, by label or number
    #[arg(long, value_name = "SLOT", help_heading = "Administrator's key, where roles are split")]
    admin_slot: Option<String>,
}

impl AdminArgs {
    fn source(&self, allow_readable: bool) -> Option<Source> {
        match self {
            Self { admin_key_file: Some(path), .. } => {
                Some(Source::KeyFile { path: path.clone(), allow_readable })
            }
            Self { admin_passphrase_fd: Some(fd), .. } => Some(Source::PassphraseFd(*fd)),
            Self { admin_key_env: Some(name), .. } => Some(Source::KeyEnv(name.clone())),
            Self { admin_passphrase: true, .. } => {
                Some(Source::Terminal("Administrator's passphrase".to_owned()))
            }
            Self { provider, .. } => {
                let chosen = provider.to_chosen()?;
                Some(Source::Provider { chosen, allow_readable })
            }
        }
    }
}

/// A file that is open, and who may administer it.
pub(crate) struct Administered {
    pub(crate) db: Database,
    key: Box<dyn Credential>,
    hint: SlotHint,
}

impl Administration {
    pub(crate) fn begin(&self) -> Result<Administered, Failure> {
        let readable = self.open.credential.key.allow_readable_key_file;
        let (db, opening) = self.open.writing_with_key()?;
        Ok(match self.admin.source(readable) {
            None => Administered { db, key: opening, hint: self.open.credential.hint()? },
            Some(source) => {
                let slot = self.admin.admin_slot.as_deref();
                let hint = slot.map_or(Ok(SlotHint::default()), slot_hint)?;
                Administered { db, key: source.read()?, hint }
            }
        })
    }
}

impl Administered {
    pub(crate) fn slots(&self) -> Vec<SlotInfo> {
        self.db.key_status().slots
    }

    /// The administrator's session; wants an admin slot.
    pub(crate) fn session(&self) -> Result<AdminSession<'_>, Failure> {
        Ok(self.db.admin_hinted(&*self.key, self.hint)?)
    }

    /// The slot that the administrator's credential opens.
    pub(crate) fn own_slot(&self) -> Result<SlotInfo, Failure> {
        Ok(self.db.test_credential(&*self.key, self.hint)?)
    }

    /// What to say of a new slot whose key something else keeps, where nothing else would open the
    /// file.
    pub(crate) fn advice(&self, new: &NewKey, id: SlotId) -> Option<&'static str> {
        let free = new.kept?;
        let opens = |slot| self.db.test_credential(&*new.credential, SlotHint::slot(slot)).is_ok();
        let others = self.slots().into_iter().filter(|slot| slot.id != id);
        let others = others.map(|slot| Other {
            expired: slot.expired,
            same_key: slot.kind == SlotKind::Provider && (!free || opens(slot.id)),
        });
        independence::advice(&others.collect::<Vec<_>>())
    }

    pub(crate) fn key(&self) -> &dyn Credential {
        &*self.key
    }

    pub(crate) fn slot(&self, name: &str) -> Result<SlotInfo, Failure> {
        slot_named(self.slots(), name)
    }
}

/// A slot by number or, where it is none, by label.
pub(crate) fn slot_named(slots: Vec<SlotInfo>, name: &str) -> Result<SlotInfo, Failure> {
    let number = name.parse().ok().map(SlotId);
    let mut known: Vec<u32> = slots.iter().map(|slot| slot.id.0).collect();
    known.sort_unstable();
    let known: Vec<String> = known.iter().map(u32::to_string).collect();
    let fits = |slot: &SlotInfo| number.map_or(slot.label == name, |number| slot.id == number);
    slots.into_iter().find(fits).ok_or_else(|| {
        Failure::not_found(format!("there is no key slot {name}; there are {}", known.join(", ")))
            .hint("`strongroom key list FILE` shows them with their labels")
    })
}

/// A credential for a new slot, and the key file that was made for it, if one was: a file that in
/// the end opens nothing is taken away again.
pub(crate) struct NewKey {
    pub(crate) credential: Box<dyn Credential>,
    made: Option<PathBuf>,
    /// Where something else keeps it: whether it can be tried on other slots at no cost. A TPM
    /// counts each slot that doesn't open as a wrong PIN.
    kept: Option<bool>,
}

impl NewKey {
    pub(crate) fn make(args: &NewCredentialArgs, allow_readable: bool) -> Result<Self, Failure> {
        let credential = args.make("New passphrase", allow_readable)?;
        let kept = args.provider.chosen().map(|chosen| !matches!(chosen, Chosen::Tpm(_)));
        Ok(Self { credential, made: args.new_generated_key_file.clone(), kept })
    }

    /// The key file that was made.
    pub(crate) fn made(&self) -> Option<&Path> {
        self.made.as_deref()
    }

    /// What came of using it.
    pub(crate) fn keep_if<T>(&self, done: Result<T, Failure>) -> Result<T, Failure> {
        if let (Err(_), Some(path)) = (&done, &self.made) {
            let _ = std::fs::remove_file(path);
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_administrators_key_is_in_one_place_or_the_opening_one() {
        let source = |change: fn(&mut AdminArgs)| {
            let mut args = AdminArgs::default();
            change(&mut args);
            args.source(true)
        };
        assert_eq!(source(|_| ()), None);
        let file = Source::KeyFile { path: "k".into(), allow_readable: true };
        assert_eq!(source(|args| args.admin_key_file = Some("k".into())), Some(file));
        let fd = source(|args| args.admin_passphrase_fd = Some(4));
        assert_eq!(fd, Some(Source::PassphraseFd(4)));
        let typed = source(|args| args.admin_passphrase = true);
        assert!(matches!(typed, Some(Source::Terminal(_))));
    }
}
