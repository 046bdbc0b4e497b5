//! Every error that can be made by hand, with its code.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use strongroom::{
    AnchorFault, CopyId, Damage, FileId, FileOffset, Generation, GroupNo, PageNo, ProviderFailure,
    SlotId, SlotRefused, SyncSeq,
};

use super::*;

fn path() -> PathBuf {
    PathBuf::from("a.room")
}

fn io_error(kind: ErrorKind) -> io::Error {
    kind.into()
}

/// Errors of opening with their codes; shared with the table of wordings.
pub(crate) fn open_errors() -> Vec<(OpenError, Exit)> {
    let (found, expected) = (Generation(1), Generation(2));
    let slot = SlotId(1);
    let mut errors = vec![
        (OpenError::NotFound(path()), Exit::NotFound),
        (OpenError::AlreadyExists(path()), Exit::Exists),
        (OpenError::IsDirectory(path()), Exit::NotStrongroom),
        (OpenError::ReadOnly(path()), Exit::Io),
        (OpenError::AlreadyOpen, Exit::InUse),
        (OpenError::CannotLock, Exit::Io),
        (OpenError::Empty, Exit::NotStrongroom),
        (OpenError::NotEmpty, Exit::Exists),
        (OpenError::PlainRedb, Exit::NotStrongroom),
        (OpenError::NotStrongroom, Exit::NotStrongroom),
        (OpenError::UnsupportedVersion { found: 9 }, Exit::NotStrongroom),
        (OpenError::UnsupportedFeatures { bits: 9 }, Exit::NotStrongroom),
        (OpenError::HeaderLost, Exit::Damaged),
        (OpenError::WrongKey, Exit::WrongKey),
        (SlotRefused::Expired { slot, not_after: 1, now: 2 }.into(), Exit::WrongKey),
        (SlotRefused::NoSuchSlot.into(), Exit::WrongKey),
        (SlotRefused::AdminOnly(slot).into(), Exit::WrongKey),
        (OpenError::EmptyPassphrase, Exit::WrongKey),
        (OpenError::KeyFileNotFound(path()), Exit::NotFound),
        (OpenError::KeyFileLength { found: 3 }, Exit::WrongKey),
        (OpenError::KdfTooExpensive { memory_kib: 1, passes: 1, lanes: 1 }, Exit::Refused),
        (OpenError::KdfTooCheap, Exit::Refused),
        (OpenError::MemoryNotLocked { limit_bytes: None }, Exit::Refused),
        (OpenError::RolledBack { found, expected }, Exit::RolledBack),
        (OpenError::NeedsRecovery, Exit::NeedsRecovery),
        (OpenError::RepairAborted, Exit::Refused),
        (OpenError::Corrupted("a tree".to_owned()), Exit::Damaged),
        (OpenError::TransactionInProgress, Exit::Refused),
        (OpenError::Io { doing: "reading", source: io_error(ErrorKind::NotFound) }, Exit::NotFound),
        (OpenError::Io { doing: "reading", source: io_error(ErrorKind::StorageFull) }, Exit::Io),
        (OpenError::Redb(Box::new(redb::Error::PreviousIo)), Exit::Io),
    ];
    errors.extend(provider_errors());
    errors.extend(anchor_errors().into_iter().map(|(error, exit)| (error.into(), exit)));
    errors.extend(token_errors().into_iter().map(|(error, exit)| (error.into(), exit)));
    errors
}

fn provider_errors() -> Vec<(OpenError, Exit)> {
    let why = || "as it is".to_owned();
    let answered = ProviderFault::Answered;
    let faults = [
        (answered(ProviderError::Wrong), Exit::WrongKey),
        (answered(ProviderError::NotMine), Exit::WrongKey),
        (answered(ProviderError::LockedOut { retry_after: None }), Exit::Unavailable),
        (answered(ProviderError::Unavailable(why())), Exit::Unavailable),
        (answered(ProviderError::Denied(why())), Exit::Refused),
        // As the key service says it, which can't be made without one.
        (
            answered(ProviderError::Denied("none is set (`client_certificate`)".to_owned())),
            Exit::Refused,
        ),
        (answered(ProviderError::NoKey(why())), Exit::NotFound),
        (answered(ProviderError::Damaged(why())), Exit::Damaged),
        (ProviderFault::TimedOut { after: Duration::from_secs(1) }, Exit::Unavailable),
        (ProviderFault::NoThread, Exit::Unavailable),
        (ProviderFault::Panicked, Exit::Other),
        (ProviderFault::Unfaithful, Exit::Other),
    ];
    let failure = |fault| ProviderFailure { provider: "p".to_owned(), slot: 1, fault };
    faults.map(|(fault, exit)| (OpenError::Provider(failure(fault)), exit)).into()
}

fn anchor_errors() -> Vec<(AnchorError, Exit)> {
    let timed_out = AnchorFault::TimedOut { after: Duration::from_secs(1) };
    vec![
        (AnchorError::Required, Exit::Refused),
        (AnchorError::NotBound, Exit::RolledBack),
        (AnchorError::WrongAnchor, Exit::Refused),
        (AnchorError::AlreadyBound, Exit::Refused),
        (AnchorError::RolledBack { found: 1, expected: 2 }, Exit::RolledBack),
        (AnchorError::AnchorReset { found: 1, expected: 2 }, Exit::RolledBack),
        (AnchorFault::Unreachable("no disk".to_owned()).into(), Exit::Unavailable),
        (AnchorFault::Damaged("torn".to_owned()).into(), Exit::Unavailable),
        (timed_out.into(), Exit::Unavailable),
        (AnchorError::Behind { count: 2, acknowledged: 1, fault: None }, Exit::Unavailable),
        (AnchorError::NothingToAccept, Exit::Refused),
        (AnchorError::NoAnchor, Exit::Refused),
        (AnchorError::BadPolicy("never"), Exit::Refused),
    ]
}

fn token_errors() -> Vec<(TokenError, Exit)> {
    let (found, expected) = (FileId([1; 16]), FileId([2; 16]));
    vec![
        (TokenError::OtherFile { found, expected }, Exit::Refused),
        (TokenError::RolledBack { found: SyncSeq(1), expected: SyncSeq(2) }, Exit::RolledBack),
        (TokenError::Forked { sync: SyncSeq(1) }, Exit::RolledBack),
        (TokenError::Malformed("too short"), Exit::Usage),
    ]
}

pub(crate) fn store_errors() -> Vec<(StoreError, Exit)> {
    vec![
        (StoreError::Io(io_error(ErrorKind::StorageFull)), Exit::Io),
        (StoreError::Latched, Exit::Io),
        (StoreError::KeyUsedUp, Exit::Refused),
        (StoreError::Unreadable { pages: 3 }, Exit::Damaged),
        (StoreError::Outrun { kept_bytes: 9 }, Exit::Other),
        (StoreError::Misuse("no"), Exit::Other),
    ]
}

pub(crate) fn key_errors() -> Vec<(KeyError, Exit)> {
    let slot = SlotId(1);
    let (found, newest) = (Generation(1), Generation(2));
    vec![
        (KeyError::NotAdmin, Exit::WrongKey),
        (KeyError::SessionActive, Exit::Refused),
        (KeyError::UnknownSlot(slot), Exit::NotFound),
        (KeyError::SlotsFull, Exit::Refused),
        (KeyError::LastAdmin, Exit::Refused),
        (KeyError::LastData, Exit::Refused),
        (KeyError::TooFewSlots { min: 2 }, Exit::Refused),
        (KeyError::DuplicateLabel(slot), Exit::Exists),
        (KeyError::LabelTooLong { found: 33 }, Exit::Usage),
        (KeyError::LabelNotText, Exit::Usage),
        (KeyError::KindNotAllowed, Exit::Refused),
        (KeyError::KdfBelowPolicy { memory_min_kib: 1, passes_min: 1 }, Exit::Refused),
        (KeyError::ClockBehind { now: 1, created: 2 }, Exit::Refused),
        (KeyError::AlreadyExpired { not_after: 1, now: 2 }, Exit::Refused),
        (KeyError::BadPolicy("no"), Exit::Usage),
        (KeyError::IsAdminSlot(slot), Exit::Refused),
        (KeyError::IsDataSlot(slot), Exit::Refused),
        (KeyError::CannotKeep(slot), Exit::WrongKey),
        (KeyError::NotABackup("short"), Exit::NotStrongroom),
        (
            KeyError::ForeignHeader { found: FileId([1; 16]), expected: FileId([2; 16]) },
            Exit::Refused,
        ),
        (KeyError::WouldTurnBack { found, newest, why: "it is older" }, Exit::RolledBack),
        (KeyError::NoRootOpens, Exit::Damaged),
        (KeyError::HeaderIntact, Exit::Refused),
        (KeyError::NoOtherCopy, Exit::Refused),
    ]
}

fn damages() -> Vec<Damage> {
    let (page, offset, group) = (PageNo(1), FileOffset(2), GroupNo(3));
    let (sync, copy) = (SyncSeq(4), CopyId::A);
    vec![
        Damage::Page { page, offset },
        Damage::LostPage { page },
        Damage::TagPage { group, offset },
        Damage::Truncated { offset },
        Damage::BothRoots,
        Damage::Root { copy, why: "no" },
        Damage::Digest { sync },
        Damage::Header { copy, why: "no" },
        Damage::HeaderAhead { header: Generation(2), root: Generation(1) },
    ]
}

pub(crate) fn backup_errors() -> Vec<(BackupError, Exit)> {
    let number = 1;
    let (found, expected) = (FileId([1; 16]), FileId([2; 16]));
    vec![
        (BackupError::TargetExists(path()), Exit::Exists),
        (BackupError::NoBackup, Exit::NotFound),
        (BackupError::NotABackup { number, why: "no" }, Exit::NotStrongroom),
        (BackupError::Unfinished { number }, Exit::Damaged),
        (BackupError::Altered { number, what: "a page" }, Exit::Damaged),
        (BackupError::Missing { number, id: [1; 16] }, Exit::NotFound),
        (BackupError::OutOfOrder { number, belongs: None }, Exit::Refused),
        (BackupError::NotOfChain { number, found: [1; 16], expected: None }, Exit::Refused),
        (BackupError::Foreign { number, found, expected }, Exit::Refused),
        (BackupError::ParentKeyGone, Exit::Refused),
        (BackupError::Unreadable { pages: 1, first: PageNo(1) }, Exit::Damaged),
        (BackupError::CheckFailed, Exit::Damaged),
        (BackupError::Open(OpenError::WrongKey), Exit::WrongKey),
        (BackupError::Io { doing: "writing", source: io_error(ErrorKind::StorageFull) }, Exit::Io),
    ]
}

pub(crate) fn convert_errors() -> Vec<(ConvertError, Exit)> {
    vec![
        (ConvertError::TargetExists(path()), Exit::Exists),
        (ConvertError::SourceInUse, Exit::InUse),
        (ConvertError::AlreadyEncrypted, Exit::NotStrongroom),
        (ConvertError::NotPlainRedb { why: "no" }, Exit::NotStrongroom),
        (ConvertError::UpgradeRequired { found: 2 }, Exit::NotStrongroom),
        (ConvertError::SourceDamaged { found: "no".to_owned() }, Exit::Damaged),
        (ConvertError::OtherNames { names: 2 }, Exit::Refused),
        (ConvertError::SourceReplaced, Exit::Refused),
        (ConvertError::ReadBack { page: PageNo(1) }, Exit::Io),
        (ConvertError::Open(OpenError::AlreadyOpen), Exit::InUse),
        (
            ConvertError::Io { doing: "writing", source: io_error(ErrorKind::NotFound) },
            Exit::NotFound,
        ),
    ]
}

/// Every error above as the library's sum of them.
pub(crate) fn all() -> Vec<(Error, Exit)> {
    fn of<E: Into<Error>>(errors: Vec<(E, Exit)>) -> impl Iterator<Item = (Error, Exit)> {
        errors.into_iter().map(|(error, exit)| (error.into(), exit))
    }
    let damages = damages().into_iter().map(|damage| (Error::Damage(damage), Exit::Damaged));
    of(open_errors())
        .chain(of(store_errors()))
        .chain(of(key_errors()))
        .chain(of(backup_errors()))
        .chain(of(convert_errors()))
        .chain(damages)
        .chain([
            (RotationError::Cancelled.into(), Exit::Other),
            (RotationError::Closed.into(), Exit::Other),
            (RotationError::from(StoreError::KeyUsedUp).into(), Exit::Refused),
        ])
        .collect()
}

#[test]
fn every_error_has_its_code() {
    for (error, expected) in all() {
        assert_eq!(of(&error), expected, "{error}");
    }
}

#[test]
fn errors_of_redb_have_theirs() {
    let table = || "t".to_owned();
    for (error, expected) in [
        (redb::Error::TableDoesNotExist(table()), Exit::NotFound),
        (redb::Error::TableExists(table()), Exit::Exists),
        (redb::Error::TableIsMultimap(table()), Exit::Refused),
        (redb::Error::Corrupted(table()), Exit::Damaged),
        (redb::Error::DatabaseAlreadyOpen, Exit::InUse),
        (redb::Error::Io(io_error(ErrorKind::StorageFull)), Exit::Io),
        (redb::Error::ValueTooLarge(9), Exit::Other),
    ] {
        assert_eq!(of(&error.into()), expected);
    }
    // Damage that went through redb is damage.
    let through = redb::Error::Io(Damage::BothRoots.into());
    assert_eq!(of(&through.into()), Exit::Damaged);
}

#[test]
fn a_salvage_has_its_codes() {
    for (error, expected) in [
        (SalvageError::Source(OpenError::HeaderLost), Exit::Damaged),
        (SalvageError::Target(OpenError::AlreadyExists(path())), Exit::Exists),
        (SalvageError::NothingLeft, Exit::Damaged),
        (SalvageError::Stopped, Exit::Other),
    ] {
        assert_eq!(of_salvage(&error), expected, "{error}");
    }
}

#[test]
fn codes_and_names_are_those_of_the_documentation() {
    let documented = include_str!("../../../../docs/cli.md");
    for exit in [
        Exit::Other,
        Exit::Usage,
        Exit::WrongKey,
        Exit::Damaged,
        Exit::RolledBack,
        Exit::InUse,
        Exit::NotFound,
        Exit::Exists,
        Exit::NotStrongroom,
        Exit::Io,
        Exit::NeedsRecovery,
        Exit::Unavailable,
        Exit::Refused,
        Exit::Plaintext,
        Exit::OutputClosed,
    ] {
        let row = format!("| {} | `{}` |", exit.code(), exit.name());
        assert!(documented.contains(&row), "{row}");
    }
}
