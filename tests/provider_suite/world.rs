//! What the suite asks of a kind of credential and of what stands behind it: a token, a chip, a
//! service. Each case gets a world of its own. A case that a world has no way to stage is told with
//! a reason, and is printed.

use std::time::Duration;

use strongroom::{Credential, OpenError, ProviderError, ProviderFault};

/// Why a case can't be staged with this kind of credential.
#[derive(Debug)]
pub struct DoesNotApply(pub &'static str);

pub type Case<T> = Result<T, DoesNotApply>;

/// What an open that was refused answered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Answer {
    /// [`OpenError::WrongKey`]: no slot is this credential's.
    WrongKey,
    Wrong,
    LockedOut,
    Unavailable,
    Denied,
    NoKey,
    Damaged,
    TimedOut,
}

impl Answer {
    /// `None` for an error that no credential should cause.
    pub fn of(error: &OpenError) -> Option<Self> {
        let fault = match error {
            OpenError::WrongKey => return Some(Self::WrongKey),
            OpenError::Provider(failure) => &failure.fault,
            _ => return None,
        };
        match fault {
            ProviderFault::TimedOut { .. } => Some(Self::TimedOut),
            ProviderFault::Answered(ProviderError::Wrong) => Some(Self::Wrong),
            ProviderFault::Answered(ProviderError::LockedOut { .. }) => Some(Self::LockedOut),
            ProviderFault::Answered(ProviderError::Unavailable(_)) => Some(Self::Unavailable),
            ProviderFault::Answered(ProviderError::Denied(_)) => Some(Self::Denied),
            ProviderFault::Answered(ProviderError::NoKey(_)) => Some(Self::NoKey),
            ProviderFault::Answered(ProviderError::Damaged(_)) => Some(Self::Damaged),
            _ => None,
        }
    }
}

/// The situations in which a world may have to answer in words of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// With [`World::wrong`].
    WrongCredential,
    /// With [`World::other_key`].
    OtherKey,
    /// After [`World::replace_key`].
    ReplacedKey,
    /// One byte of what the slot stores was changed.
    Tampered,
    /// What the slot stores was another slot's, or another file's.
    Moved,
    /// After [`World::stop`].
    Gone,
    /// After [`World::revoke`].
    Revoked,
    /// After [`World::destroy`].
    Destroyed,
}

/// A kind of credential, and the means to do things to what stands behind it.
pub trait World {
    /// For the table: `PKCS#11, AES-GCM (SoftHSM2)`.
    fn name(&self) -> String;

    /// The right credential, made anew: as another process would make it.
    fn credential(&self) -> Box<dyn Credential>;

    /// One of the same kind with another key of the same backend, and with the right to use it.
    fn other_key(&self) -> Box<dyn Credential>;

    /// The right key with a wrong PIN, token or passphrase.
    fn wrong(&self) -> Case<Box<dyn Credential>>;

    /// Whether a slot can be made with [`World::wrong`] all the same: where each slot has a PIN of
    /// its own, any PIN is right for a new one.
    fn wrong_enrols(&self) -> bool {
        false
    }

    /// Puts another key in the place of the one that [`World::credential`] uses: same name.
    fn replace_key(&self) -> Case<()>;

    /// The backend goes away: unplugged, shut down, unreachable.
    fn stop(&self) -> Case<()>;

    /// And is back, with all that it had. Called after [`World::stop`] only.
    fn start(&self);

    /// From here on answers take at least so long; zero is normal again, before long.
    fn slow(&self, by: Duration) -> Case<()>;

    /// The backend goes on, and refuses this key.
    fn revoke(&self) -> Case<()>;

    /// The key of [`World::credential`] is destroyed for good. A second time does no harm.
    fn destroy(&self) -> Case<()>;

    /// What is answered then; any of these. The suite's defaults are the strict ones: where a world
    /// has to answer otherwise, it says so here.
    fn expect(&self, when: When) -> &'static [Answer] {
        match when {
            When::WrongCredential => &[Answer::Wrong],
            When::OtherKey => &[Answer::WrongKey],
            When::ReplacedKey => &[Answer::WrongKey, Answer::Damaged],
            // A changed name of the provider is another provider's slot.
            When::Tampered => &[Answer::WrongKey, Answer::Damaged],
            When::Moved => &[Answer::Damaged],
            When::Gone => &[Answer::Unavailable],
            When::Revoked => &[Answer::Denied],
            When::Destroyed => &[Answer::NoKey],
        }
    }

    /// Which bytes of a stored blob of this length are changed, one after the other. All of them,
    /// unless each costs an attempt at a PIN.
    fn tampered_bytes(&self, blob_len: usize) -> Vec<usize> {
        (0..blob_len).collect()
    }

    /// Kinds of crash at each power cut, of four; fewer where an answer takes long.
    fn crashes_per_cut(&self) -> usize {
        4
    }
}
