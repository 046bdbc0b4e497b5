//! An embedded, encrypted key-value store: [redb](https://docs.rs/redb) on a storage backend that
//! seals every page with AES-256-GCM-SIV, notices every page that was altered or put back, and
//! survives power loss at any point.
//!
//! ```
//! use strongroom::{Database, RawKey, redb::{ReadableDatabase, TableDefinition}};
//! const NOTES: TableDefinition<&str, &str> = TableDefinition::new("notes");
//!
//! # let directory = tempfile::tempdir().unwrap();
//! # let path = directory.path().join("notes.room");
//! # let secret = [7; 32];
//! let db = Database::create(&path, RawKey::new(secret))?;
//! let write = db.begin_write()?;
//! write.open_table(NOTES)?.insert("a", "b")?;
//! write.commit()?;
//! assert_eq!(db.begin_read()?.open_table(NOTES)?.get("a")?.unwrap().value(), "b");
//! db.close()?;
//! # Ok::<(), strongroom::Error>(())
//! ```
//!
//! The map of the house is in docs/design.md, the bytes are in docs/format.md, what is protected
//! against whom is in docs/threat-model.md. Not audited.

mod admin;
mod anchor;
mod backend;
pub mod backup;
mod builder;
mod clock;
pub mod convert;
mod crew;
mod crypto;
mod database;
mod drafts;
mod error;
mod events;
mod format;
mod holes;
mod inspect;
mod keys;
mod layout;
mod locks;
pub mod medium;
mod prove;
#[cfg(any(feature = "pkcs11", feature = "tpm", feature = "kms"))]
pub mod providers;
mod random;
mod rotation;
mod salvage;
mod secret;
mod siv;
mod store;
#[cfg(feature = "testkit")]
pub mod testkit;
mod units;
mod verify;
mod wire;

pub use admin::AdminSession;
pub use anchor::{Anchor, FileAnchor, MemoryAnchor};
pub use backend::EncryptedBackend;
pub use builder::{
    Builder, RollbackAccepted, inspect, inspect_medium, prove, prove_medium, verify_file,
    verify_medium,
};
pub use database::{Database, ReadOnlyDatabase};
pub use error::{
    AllOfError, AnchorError, AnchorFault, BackupError, CodeError, ConvertError, Damage, Error,
    KeyError, OpenError, ProviderError, ProviderFailure, ProviderFault, RotationError,
    SalvageError, SlotRefused, StoreError, TokenError, WrongGroups,
};
pub use format::anchor_binding::AnchorPolicy;
pub use format::checkpoint::CheckpointToken;
pub use format::header::EpochState;
pub use format::key_slot::{KdfCost, Role, SlotKind};
pub use format::policy::Policy;
pub use inspect::{CopyLook, EpochClaim, HeaderClaims, Inspection, RootLook};
pub use keys::{
    AllOf, Credential, Due, EpochInfo, HeaderCopies, KdfLimits, KeyFile, KeyProvider, KeyStatus,
    Passphrase, ProviderSlot, RawKey, RecoveryCode, Revealed, Revoked, SlotHint, SlotInfo,
    SlotSecret, SlotSpec,
};
pub use prove::{KindCount, PageKind, Proof, ProveOptions, Suspect, Suspicion};
pub use redb;
#[cfg(feature = "testkit")]
pub use rotation::RotationSteps;
pub use rotation::{Completion, Progress, Rotation, RotationState, Throttle};
pub use salvage::{
    PageLoss, PageRange, SalvageHow, SalvageOptions, SalvageProgress, SalvageReport, SalvageStage,
    SalvageTarget, SavedAs, SavedCommit, TableReport, salvage,
};
pub use secret::{Hardening, LockMemory, harden_process};
pub use store::{AnchorStatus, HeaderRestored, Recovery, TurnBack};
pub use units::{CopyId, Epoch, FileId, FileOffset, Generation, GroupNo, PageNo, SlotId, SyncSeq};
pub use verify::{
    EpochPages, Finding, FindingCounts, Flaw, PageCounts, Report, Severity, Trees, VerifyOptions,
    VerifyPhase, VerifyProgress, Where,
};

/// The README's examples are tests.
#[cfg(all(doctest, feature = "testkit"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// So are those of these pages.
#[cfg(doctest)]
#[doc = include_str!("../docs/convert.md")]
struct ConvertPage;

#[cfg(doctest)]
#[doc = include_str!("../docs/backup.md")]
struct BackupPage;
