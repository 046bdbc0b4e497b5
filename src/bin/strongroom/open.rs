//! How a verb opens a file: the credential, the anchor, the token, and for verbs that only read
//! whether the file may be recovered first.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use strongroom::redb::{self, ReadTransaction, ReadableDatabase};
use strongroom::{
    AnchorStatus, Builder, CheckpointToken, Credential, Database, KdfLimits, KeyStatus, OpenError,
    ReadOnlyDatabase, Recovery,
};

use crate::anchor::AnchorPlace;
use crate::credential::CredentialArgs;
use crate::failure::Failure;

/// A file and what opens it.
#[derive(Debug, Clone, Args)]
pub(crate) struct OpenArgs {
    /// The strongroom file
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) credential: CredentialArgs,
    #[command(flatten)]
    pub(crate) outside: OutsideArgs,
}

/// What a file is held against besides its key.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct OutsideArgs {
    /// The anchor file that this file is bound to: a state that was put back is refused. Or the
    /// counter in a TPM, tpm:INDEX or tpm:INDEX@TCTI, as in tpm:0x01500100, with --anchor-auth
    #[arg(long, value_name = "FILE", value_parser = AnchorPlace::parser(), help_heading = "Opening")]
    pub(crate) anchor: Option<AnchorPlace>,
    /// The file with the value that the TPM's counter counts for
    #[arg(long, value_name = "FILE", requires = "anchor", help_heading = "Opening")]
    pub(crate) anchor_auth: Option<PathBuf>,
    /// Refuse a file that is older than this checkpoint token (`strongroom status --token`)
    #[arg(long, value_name = "TOKEN", help_heading = "Opening")]
    pub(crate) at_least: Option<String>,
    /// The most memory that a passphrase slot may ask for, 1024 unless given
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(19..=1 << 20), help_heading = "Opening")]
    pub(crate) max_kdf_memory: Option<u32>,
}

/// A file that is only read.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReadArgs {
    #[command(flatten)]
    pub(crate) open: OpenArgs,
    /// Recover a file that was not closed cleanly, which writes to it
    #[arg(long, help_heading = "Opening")]
    pub(crate) recover: bool,
}

impl OutsideArgs {
    /// A builder that knows all of it.
    pub(crate) fn builder(&self) -> Result<Builder, Failure> {
        let mut builder = Builder::new();
        // A rotation goes on when it is told to, not in the shade of a `put`.
        builder.resume_rotation(false);
        if let Some(anchor) = &self.anchor {
            builder.anchor(anchor.open(self.anchor_auth.as_deref())?);
        }
        if let Some(token) = &self.at_least {
            builder.at_least(token.parse()?);
        }
        if let Some(mib) = self.max_kdf_memory {
            let memory_kib_max = mib.saturating_mul(1024);
            builder.kdf_limits(KdfLimits { memory_kib_max, ..KdfLimits::default() });
        }
        Ok(builder)
    }
}

impl OpenArgs {
    /// A builder with the anchor, the token, the limits and the hint.
    pub(crate) fn builder(&self) -> Result<Builder, Failure> {
        let mut builder = self.outside.builder()?;
        builder.hint(self.credential.hint()?);
        Ok(builder)
    }

    /// The credential. A file that no credential opens is refused before anybody types one.
    pub(crate) fn key(&self) -> Result<Box<dyn Credential>, Failure> {
        strongroom::inspect(&self.file)?;
        self.credential.read("Passphrase")
    }

    /// Opens the file for writing, after a crash as well.
    pub(crate) fn writing(&self) -> Result<Database, Failure> {
        Ok(self.writing_with_key()?.0)
    }

    /// The same, with the credential that opened it.
    pub(crate) fn writing_with_key(&self) -> Result<(Database, Box<dyn Credential>), Failure> {
        let builder = self.builder()?;
        if strongroom::inspect(&self.file)?.in_use {
            return Err(OpenError::AlreadyOpen.into());
        }
        let key = self.key()?;
        let db = patiently(|| builder.open(&self.file, &*key))?;
        Ok((db, key))
    }
}

const PATIENCE: Duration = Duration::from_millis(500);

/// Opens again for a moment where the file is in use: whoever only looks whether it is (`inspect`)
/// holds its lock for an instant.
pub(crate) fn patiently<T>(open: impl Fn() -> Result<T, OpenError>) -> Result<T, OpenError> {
    let begun = Instant::now();
    loop {
        match open() {
            Err(OpenError::AlreadyOpen) if begun.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(10));
            }
            other => return other,
        }
    }
}

impl ReadArgs {
    /// Opens the file for reading; it is changed only by `--recover`, and only if it has to be.
    pub(crate) fn reading(&self) -> Result<Reading, Failure> {
        let builder = self.open.builder()?;
        let key = self.open.key()?;
        match builder.open_read_only(&self.open.file, &*key) {
            Err(OpenError::NeedsRecovery) if self.recover => {
                Ok(Reading::Recovered(Box::new(builder.open(&self.open.file, &*key)?)))
            }
            opened => Ok(Reading::ReadOnly(opened?)),
        }
    }
}

/// A file that is open for reading.
#[derive(Debug)]
pub(crate) enum Reading {
    ReadOnly(ReadOnlyDatabase),
    /// It had to be opened for writing, to be recovered.
    Recovered(Box<Database>),
}

impl Reading {
    /// A snapshot.
    pub(crate) fn begin_read(&self) -> Result<ReadTransaction, redb::TransactionError> {
        match self {
            Self::ReadOnly(db) => db.begin_read(),
            Self::Recovered(db) => db.begin_read(),
        }
    }

    pub(crate) fn key_status(&self) -> KeyStatus {
        match self {
            Self::ReadOnly(db) => db.key_status(),
            Self::Recovered(db) => db.key_status(),
        }
    }

    pub(crate) fn recovery(&self) -> Recovery {
        match self {
            Self::ReadOnly(db) => db.recovery(),
            Self::Recovered(db) => db.recovery(),
        }
    }

    pub(crate) fn anchor_status(&self) -> Option<AnchorStatus> {
        match self {
            Self::ReadOnly(db) => db.anchor_status(),
            Self::Recovered(db) => db.anchor_status(),
        }
    }

    pub(crate) fn checkpoint_token(&self) -> Result<CheckpointToken, Failure> {
        Ok(match self {
            Self::ReadOnly(db) => db.checkpoint_token()?,
            Self::Recovered(db) => db.checkpoint_token()?,
        })
    }

    pub(crate) fn header_backup(&self) -> Result<Vec<u8>, Failure> {
        Ok(match self {
            Self::ReadOnly(db) => db.header_backup()?,
            Self::Recovered(db) => db.header_backup()?,
        })
    }

    pub(crate) fn close(self) -> Result<(), Failure> {
        match self {
            Self::ReadOnly(db) => db.close()?,
            Self::Recovered(db) => db.close()?,
        }
        Ok(())
    }
}
