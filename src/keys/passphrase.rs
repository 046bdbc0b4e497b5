//! A credential that a person remembers, made expensive to guess by Argon2id (RFC 9106). The cost
//! is chosen when the slot is made and stored in it; a file may not ask for more than the caller's
//! [`KdfLimits`], because it asks before anything about it is authentic.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::{Zeroize, Zeroizing};

use super::credential::{Credential, NewSlot, Refusal, Sealed, SlotFacts, SlotSecret, SlotView};
use super::terms::Terms;
use crate::error::OpenError;
use crate::format::key_slot::{Kdf, KdfCost, SlotKind};
use crate::secret::SecretBytes;

/// What unlocking a new slot shall take on the machine that makes it.
const TARGET: Duration = Duration::from_millis(500);
/// Where calibration starts.
const COST_BASE: KdfCost = KdfCost { memory_kib: 64 * 1024, passes: 3, lanes: 1 };
/// Calibration raises memory up to here, then passes: a phone must still open the file.
const CALIBRATED_MEMORY_MAX_KIB: u32 = 256 * 1024;
/// OWASP's floor for Argon2id: 19 MiB, 2 passes, 1 lane.
const COST_FLOOR: KdfCost = KdfCost { memory_kib: 19 * 1024, passes: 2, lanes: 1 };

/// The most key-derivation work that a file may ask for when it is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KdfLimits {
    /// Memory in KiB; 1 GiB by default.
    pub memory_kib_max: u32,
    /// Passes over the memory; 16 by default.
    pub passes_max: u32,
    /// Lanes; 8 by default.
    pub lanes_max: u32,
}

impl Default for KdfLimits {
    fn default() -> Self {
        Self { memory_kib_max: 1024 * 1024, passes_max: 16, lanes_max: 8 }
    }
}

impl KdfLimits {
    fn check(&self, cost: KdfCost) -> Result<(), OpenError> {
        let KdfCost { memory_kib, passes, lanes } = cost;
        if memory_kib > self.memory_kib_max || passes > self.passes_max || lanes > self.lanes_max {
            return Err(OpenError::KdfTooExpensive { memory_kib, passes, lanes });
        }
        Ok(())
    }
}

/// A passphrase. Its bytes are taken as given: normalise to Unicode NFC first if it may be typed
/// on different systems.
pub struct Passphrase {
    bytes: io::Result<SecretBytes>,
    cost: Option<KdfCost>,
}

impl Passphrase {
    /// Copies the passphrase into locked memory. The caller's copy is the caller's to wipe.
    #[must_use]
    pub fn new(passphrase: impl AsRef<[u8]>) -> Self {
        Self { bytes: SecretBytes::copy_of(passphrase.as_ref()), cost: None }
    }

    /// For new slots: this cost instead of a calibration to half a second on this machine. At
    /// least 19 MiB, 2 passes, 1 lane. Opening always uses the cost stored in the slot.
    #[must_use]
    pub fn cost(mut self, cost: KdfCost) -> Self {
        self.cost = Some(cost);
        self
    }

    fn expose(&self) -> Result<&[u8], OpenError> {
        let bytes = self.bytes.as_ref().map_err(|error| OpenError::Io {
            doing: "keeping the passphrase",
            source: error.kind().into(),
        })?;
        match bytes.expose().map_err(OpenError::io("taking the passphrase from memory"))? {
            [] => Err(OpenError::EmptyPassphrase),
            passphrase => Ok(passphrase),
        }
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase")
    }
}

impl Credential for Passphrase {}

impl Sealed for Passphrase {
    fn kind(&self) -> SlotKind {
        SlotKind::Passphrase
    }

    fn make(&self, facts: SlotFacts<'_>, terms: &Terms) -> Result<NewSlot, OpenError> {
        let passphrase = self.expose()?;
        let cost = self.choose_cost(&terms.kdf_limits)?;
        let secret = argon2id(passphrase, facts.salt, cost)?.into();
        Ok(NewSlot { kdf: Kdf::Argon2id(cost), blob: Vec::new(), secret })
    }

    fn slot_secret(&self, slot: SlotView<'_>, terms: &Terms) -> Result<SlotSecret, Refusal> {
        let passphrase = self.expose()?;
        let Kdf::Argon2id(cost) = slot.kdf else { return Err(OpenError::KdfTooCheap.into()) };
        terms.kdf_limits.check(cost)?;
        Ok(argon2id(passphrase, slot.facts.salt, cost)?.into())
    }

    fn is_locked(&self) -> bool {
        self.bytes.as_ref().is_ok_and(SecretBytes::is_locked)
    }
}

impl Passphrase {
    // For a new slot.
    fn choose_cost(&self, limits: &KdfLimits) -> Result<KdfCost, OpenError> {
        let cost = match self.cost {
            None => calibrate(limits)?,
            Some(cost) => cost,
        };
        check_floor(cost)?;
        limits.check(cost)?;
        Ok(cost)
    }
}

fn check_floor(cost: KdfCost) -> Result<(), OpenError> {
    let too_cheap = cost.memory_kib < COST_FLOOR.memory_kib
        || cost.passes < COST_FLOOR.passes
        || cost.lanes < COST_FLOOR.lanes;
    if too_cheap { Err(OpenError::KdfTooCheap) } else { Ok(()) }
}

/// What a PIN costs unless told otherwise: where calibration of a passphrase starts. The chip
/// counts attempts; this is for a chip that was opened.
#[cfg(feature = "tpm")]
pub(crate) const PIN_COST: KdfCost = COST_BASE;

/// The authorisation value that a chip is given in a PIN's place. The cost may be a file's claim.
///
/// # Errors
/// A cost below the floor or above [`KdfLimits::default`], or memory that the system doesn't have.
#[cfg(feature = "tpm")]
pub(crate) fn pin_value(
    pin: &[u8],
    salt: &[u8; 32],
    cost: KdfCost,
) -> Result<Zeroizing<[u8; 32]>, OpenError> {
    check_floor(cost)?;
    KdfLimits::default().check(cost)?;
    argon2id(pin, salt, cost)
}

/// Argon2id version 0x13, 32 bytes out. The working memory is asked for politely, so that a cost
/// the machine can't pay is an error, and wiped afterwards.
fn argon2id(
    passphrase: &[u8],
    salt: &[u8],
    cost: KdfCost,
) -> Result<Zeroizing<[u8; 32]>, OpenError> {
    let failed = |source| OpenError::Io { doing: "deriving a key from the passphrase", source };
    #[cfg(any(test, feature = "testkit"))]
    RUNS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32))
        .map_err(|error| failed(io::Error::other(error.to_string())))?;
    let mut blocks: Vec<Block> = Vec::new();
    blocks
        .try_reserve_exact(params.block_count())
        .map_err(|error| failed(io::Error::new(io::ErrorKind::OutOfMemory, error)))?;
    blocks.resize(params.block_count(), Block::default());
    let mut secret = Zeroizing::new([0; 32]);
    let result = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(passphrase, salt, secret.as_mut_slice(), &mut blocks);
    blocks.iter_mut().for_each(Zeroize::zeroize);
    result.map_err(|error| failed(io::Error::other(error.to_string())))?;
    Ok(secret)
}

#[cfg(any(test, feature = "testkit"))]
static RUNS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// How many times this process ran Argon2id.
#[cfg(feature = "testkit")]
pub(crate) fn kdf_runs() -> u64 {
    RUNS.load(std::sync::atomic::Ordering::Relaxed)
}

fn calibrate(limits: &KdfLimits) -> Result<KdfCost, OpenError> {
    limits.check(COST_BASE)?;
    let start = Instant::now();
    argon2id(b"calibration", &[0; 32], COST_BASE)?;
    Ok(cost_for(start.elapsed(), limits))
}

// How much more than the base cost fits the target and the limits, if the base took this long.
fn cost_for(base: Duration, limits: &KdfLimits) -> KdfCost {
    let mut cost = COST_BASE;
    let mut expected = base;
    let memory_max = CALIBRATED_MEMORY_MAX_KIB.min(limits.memory_kib_max);
    while expected * 2 <= TARGET && cost.memory_kib * 2 <= memory_max {
        cost.memory_kib *= 2;
        expected *= 2;
    }
    let per_pass = expected / cost.passes;
    while expected + per_pass <= TARGET && cost.passes < limits.passes_max {
        cost.passes += 1;
        expected += per_pass;
    }
    cost
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calibration_stays_between_the_base_and_the_limits() {
        let limits = KdfLimits::default();
        let at = |millis| cost_for(Duration::from_millis(millis), &limits);
        assert_eq!(at(2000), COST_BASE, "a slow machine pays the base");
        assert_eq!(at(500), COST_BASE);
        assert_eq!(at(240), KdfCost { memory_kib: 128 * 1024, passes: 3, lanes: 1 });
        assert_eq!(at(100), KdfCost { memory_kib: 256 * 1024, passes: 3, lanes: 1 });
        assert_eq!(at(1), KdfCost { memory_kib: 256 * 1024, passes: 16, lanes: 1 });
        assert!(limits.check(at(0)).is_ok());
        let phone = KdfLimits { memory_kib_max: 100 << 10, passes_max: 4, lanes_max: 1 };
        assert!(phone.check(cost_for(Duration::from_millis(1), &phone)).is_ok());
    }

    #[test]
    fn limits_hold_before_memory_is_asked_for() {
        let limits = KdfLimits::default();
        let cost = KdfCost { memory_kib: 64 << 20, passes: 1, lanes: 1 };
        assert!(matches!(limits.check(cost), Err(OpenError::KdfTooExpensive { .. })));
    }

    #[test]
    fn known_answer_of_the_reference_implementation() {
        // phc-winner-argon2 test.c: version 0x13, Argon2id, t=2, m=2^16, p=1.
        let cost = KdfCost { memory_kib: 1 << 16, passes: 2, lanes: 1 };
        let secret = argon2id(b"password", b"somesalt", cost).unwrap();
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7");
    }

    #[test]
    fn an_empty_passphrase_is_refused() {
        let facts = SlotFacts {
            file_id: crate::units::FileId([1; 16]),
            id: 1,
            label: &[0; 32],
            salt: &[0; 32],
        };
        let made = Passphrase::new("").make(facts, &Terms::default());
        assert!(matches!(made, Err(OpenError::EmptyPassphrase)));
        assert_eq!(format!("{:?}", Passphrase::new("hunter2")), "Passphrase");
    }
}
