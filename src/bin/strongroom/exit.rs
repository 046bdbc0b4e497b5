//! The exit codes (docs/cli.md, "Exit codes"): a pure function of the error. Each says that
//! something else is to be done, so that a script need not read the text.

use std::io::ErrorKind;

use strongroom::redb;
use strongroom::{
    AnchorError, BackupError, ConvertError, Error, KeyError, OpenError, ProviderError,
    ProviderFault, RotationError, SalvageError, StoreError, TokenError,
};

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// Anything that has no code of its own.
    Other = 1,
    /// The arguments make no sense. clap uses this code too.
    Usage = 2,
    /// No key slot opens with this credential, or it is expired, of another role, mistyped.
    WrongKey = 3,
    /// The bytes are not what was written: edited, replayed in part, cut or lost.
    Damaged = 4,
    /// The file or its header is older than what has been seen.
    RolledBack = 5,
    /// Somebody else has the file open.
    InUse = 6,
    /// No such file, table, key, slot; what keeps a slot's key has it no more.
    NotFound = 7,
    /// The name is taken, and nothing is replaced.
    Exists = 8,
    /// Not a file of the kind that the verb wants.
    NotStrongroom = 9,
    /// The system failed to read or write.
    Io = 10,
    /// Not closed cleanly, and the verb only reads.
    NeedsRecovery = 11,
    /// A key provider or an anchor doesn't answer, or takes no PIN now.
    Unavailable = 12,
    /// A policy, or the state of things, doesn't allow it.
    Refused = 13,
    /// `prove` found what may be plaintext.
    Plaintext = 14,
    /// Ctrl-C or SIGTERM, and a verb that stopped where it can go on: 128 + SIGINT.
    Interrupted = 130,
    /// The reader of a pipe is gone: 128 + SIGPIPE, as of a program that the signal ends.
    OutputClosed = 141,
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// The word for it in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Usage => "usage",
            Self::WrongKey => "wrong_key",
            Self::Damaged => "damaged",
            Self::RolledBack => "rolled_back",
            Self::InUse => "in_use",
            Self::NotFound => "not_found",
            Self::Exists => "exists",
            Self::NotStrongroom => "not_strongroom",
            Self::Io => "io",
            Self::NeedsRecovery => "needs_recovery",
            Self::Unavailable => "unavailable",
            Self::Refused => "refused",
            Self::Plaintext => "plaintext",
            Self::Interrupted => "interrupted",
            Self::OutputClosed => "output_closed",
        }
    }
}

pub(crate) fn of(error: &Error) -> Exit {
    match error {
        Error::Open(error) => of_open(error),
        Error::Damage(_) => Exit::Damaged,
        Error::Store(error) => of_store(error),
        Error::Key(error) => of_key(error),
        Error::Rotation(error) => of_rotation(error),
        Error::Convert(error) => of_convert(error),
        Error::Backup(error) => of_backup(error),
        Error::Redb(error) => of_redb(error),
        _ => Exit::Other,
    }
}

fn of_open(error: &OpenError) -> Exit {
    match error {
        OpenError::NotFound(_) | OpenError::KeyFileNotFound(_) => Exit::NotFound,
        OpenError::AlreadyExists(_) | OpenError::NotEmpty => Exit::Exists,
        OpenError::AlreadyOpen => Exit::InUse,
        OpenError::Empty
        | OpenError::PlainRedb
        | OpenError::NotStrongroom
        | OpenError::IsDirectory(_)
        | OpenError::UnsupportedVersion { .. }
        | OpenError::UnsupportedFeatures { .. } => Exit::NotStrongroom,
        OpenError::WrongKey
        | OpenError::Slot(_)
        | OpenError::EmptyPassphrase
        | OpenError::KeyFileLength { .. }
        | OpenError::RecoveryCode(_)
        | OpenError::AllOf(_) => Exit::WrongKey,
        OpenError::HeaderLost | OpenError::Damaged(_) | OpenError::Corrupted(_) => Exit::Damaged,
        OpenError::RolledBack { .. } => Exit::RolledBack,
        OpenError::Anchor(error) => of_anchor(error),
        OpenError::Token(error) => of_token(error),
        OpenError::NeedsRecovery => Exit::NeedsRecovery,
        OpenError::Provider(failure) => of_fault(&failure.fault),
        OpenError::KdfTooExpensive { .. }
        | OpenError::KdfTooCheap
        | OpenError::MemoryNotLocked { .. }
        | OpenError::RepairAborted
        | OpenError::TransactionInProgress => Exit::Refused,
        OpenError::ReadOnly(_) | OpenError::CannotLock => Exit::Io,
        OpenError::Store(error) => of_store(error),
        OpenError::Io { source, .. } => of_io(source.kind()),
        OpenError::Redb(error) => of_redb(error),
        _ => Exit::Other,
    }
}

fn of_fault(fault: &ProviderFault) -> Exit {
    match fault {
        ProviderFault::Answered(error) => of_provider(error),
        ProviderFault::TimedOut { .. } | ProviderFault::NoThread => Exit::Unavailable,
        _ => Exit::Other,
    }
}

/// What a token, a TPM or a key service says.
pub(crate) fn of_provider(error: &ProviderError) -> Exit {
    match error {
        ProviderError::Wrong | ProviderError::NotMine => Exit::WrongKey,
        // Time helps, or whoever looks after it.
        ProviderError::Unavailable(_) | ProviderError::LockedOut { .. } => Exit::Unavailable,
        ProviderError::Denied(_) => Exit::Refused,
        ProviderError::NoKey(_) => Exit::NotFound,
        ProviderError::Damaged(_) => Exit::Damaged,
        _ => Exit::Other,
    }
}

fn of_anchor(error: &AnchorError) -> Exit {
    match error {
        // `NotBound`: the file may be of before it was bound.
        AnchorError::RolledBack { .. }
        | AnchorError::AnchorReset { .. }
        | AnchorError::NotBound => Exit::RolledBack,
        AnchorError::Fault(_) | AnchorError::Behind { .. } => Exit::Unavailable,
        _ => Exit::Refused,
    }
}

fn of_token(error: &TokenError) -> Exit {
    match error {
        TokenError::RolledBack { .. } | TokenError::Forked { .. } => Exit::RolledBack,
        TokenError::Malformed(_) => Exit::Usage,
        _ => Exit::Refused,
    }
}

fn of_store(error: &StoreError) -> Exit {
    match error {
        StoreError::Io(error) => of_io(error.kind()),
        StoreError::Damage(_) | StoreError::Unreadable { .. } => Exit::Damaged,
        StoreError::Latched => Exit::Io,
        StoreError::KeyUsedUp => Exit::Refused,
        _ => Exit::Other,
    }
}

fn of_key(error: &KeyError) -> Exit {
    match error {
        KeyError::Open(error) => of_open(error),
        KeyError::Store(error) => of_store(error),
        KeyError::NotAdmin | KeyError::CannotKeep(_) => Exit::WrongKey,
        KeyError::UnknownSlot(_) => Exit::NotFound,
        KeyError::DuplicateLabel(_) => Exit::Exists,
        KeyError::LabelTooLong { .. } | KeyError::LabelNotText | KeyError::BadPolicy(_) => {
            Exit::Usage
        }
        KeyError::NotABackup(_) => Exit::NotStrongroom,
        KeyError::WouldTurnBack { .. } => Exit::RolledBack,
        KeyError::NoRootOpens => Exit::Damaged,
        _ => Exit::Refused,
    }
}

fn of_rotation(error: &RotationError) -> Exit {
    match error {
        RotationError::Store(error) => of_store(error),
        _ => Exit::Other,
    }
}

fn of_convert(error: &ConvertError) -> Exit {
    match error {
        ConvertError::TargetExists(_) => Exit::Exists,
        ConvertError::SourceInUse => Exit::InUse,
        ConvertError::AlreadyEncrypted
        | ConvertError::NotPlainRedb { .. }
        | ConvertError::UpgradeRequired { .. } => Exit::NotStrongroom,
        ConvertError::SourceDamaged { .. } => Exit::Damaged,
        ConvertError::OtherNames { .. } | ConvertError::SourceReplaced => Exit::Refused,
        ConvertError::ReadBack { .. } => Exit::Io,
        ConvertError::Open(error) => of_open(error),
        ConvertError::Io { source, .. } => of_io(source.kind()),
        _ => Exit::Other,
    }
}

fn of_backup(error: &BackupError) -> Exit {
    match error {
        BackupError::TargetExists(_) => Exit::Exists,
        BackupError::NoBackup | BackupError::Missing { .. } => Exit::NotFound,
        BackupError::NotABackup { .. } => Exit::NotStrongroom,
        BackupError::Unfinished { .. }
        | BackupError::Altered { .. }
        | BackupError::Unreadable { .. }
        | BackupError::CheckFailed => Exit::Damaged,
        BackupError::OutOfOrder { .. }
        | BackupError::NotOfChain { .. }
        | BackupError::Foreign { .. }
        | BackupError::ParentKeyGone => Exit::Refused,
        BackupError::Open(error) => of_open(error),
        BackupError::Io { source, .. } => of_io(source.kind()),
        _ => Exit::Other,
    }
}

pub(crate) fn of_salvage(error: &SalvageError) -> Exit {
    match error {
        SalvageError::Source(error) | SalvageError::Target(error) => of_open(error),
        SalvageError::NothingLeft => Exit::Damaged,
        SalvageError::Redb(error) => of_redb(error),
        _ => Exit::Other,
    }
}

fn of_redb(error: &redb::Error) -> Exit {
    match error {
        redb::Error::TableDoesNotExist(_) => Exit::NotFound,
        redb::Error::TableExists(_) => Exit::Exists,
        redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TableIsNotMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. } => Exit::Refused,
        redb::Error::Corrupted(_) => Exit::Damaged,
        redb::Error::DatabaseAlreadyOpen => Exit::InUse,
        redb::Error::Io(error) => of_io(error.kind()),
        redb::Error::PreviousIo => Exit::Io,
        _ => Exit::Other,
    }
}

pub(crate) fn of_io(kind: ErrorKind) -> Exit {
    match kind {
        ErrorKind::NotFound => Exit::NotFound,
        ErrorKind::AlreadyExists => Exit::Exists,
        _ => Exit::Io,
    }
}

#[cfg(test)]
#[path = "exit/tests.rs"]
pub(crate) mod tests;
