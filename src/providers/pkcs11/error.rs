//! What a token answers and what it means. One table from the return codes of PKCS #11, by the
//! function that gave them: a tampered ciphertext is `CKR_GENERAL_ERROR` with SoftHSM, and so is a
//! token that is gone.

use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use cryptoki::context::Function;
use cryptoki::error::{Error, RvError};

use super::uri::UriError;
use super::wrapping::Wrapping;
use crate::error::ProviderError;

/// Why a token gave nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Pkcs11Error {
    /// The URI is not one.
    Uri(UriError),
    /// The URI says too little.
    Incomplete(&'static str),
    /// The module can't be loaded or started.
    Module {
        /// Its path.
        path: PathBuf,
        /// What went wrong.
        why: String,
    },
    /// No token that the URI means is present.
    TokenAbsent(String),
    /// Several tokens fit the URI.
    TokenAmbiguous(usize),
    /// The token wants a PIN, and there is none.
    PinMissing,
    /// The PIN could not be read where it was said to be.
    PinUnreadable(String),
    /// The PIN is wrong. It was tried once.
    WrongPin,
    /// The PIN was refused before, and is not tried again by this provider.
    PinRefusedBefore,
    /// The token allows one more attempt, which strongroom leaves alone unless told otherwise
    /// ([`Pkcs11Provider::allow_last_try`](super::Pkcs11Provider::allow_last_try)).
    LastTry,
    /// The PIN is locked until somebody unlocks it with the security officer's.
    PinLocked,
    /// The token has no such key.
    KeyAbsent(String),
    /// Several keys fit the URI.
    KeyAmbiguous(usize),
    /// There is such a key already; none was made.
    KeyExists(String),
    /// The key is not one to rely on.
    KeyUnfit(&'static str),
    /// The token has no mechanism for it.
    MechanismMissing {
        /// The one that was asked for, if it was one.
        wanted: Option<Wrapping>,
        /// What the token says.
        why: String,
    },
    /// The token says no.
    Denied(String),
    /// What the slot stores was wrapped by another key.
    NotMine,
    /// What the slot stores was altered.
    Damaged(String),
    /// The token or its module failed.
    Device(String),
    /// No answer in time; or the module is still busy with an earlier call that got none.
    TimedOut {
        /// How long it was waited for.
        after: Duration,
    },
    /// This process is a fork of the one that loaded the module.
    Forked,
}

impl fmt::Display for Pkcs11Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(error) => write!(f, "{error}"),
            Self::Incomplete(what) => write!(f, "the PKCS #11 URI {what}"),
            Self::Module { path, why } => {
                write!(f, "the PKCS #11 module {} can't be used: {why}", path.display())
            }
            Self::TokenAbsent(why) => write!(f, "no such token is present: {why}"),
            Self::TokenAmbiguous(found) => {
                write!(f, "{found} tokens fit the PKCS #11 URI; add `serial=` or `token=` to it")
            }
            Self::PinMissing => f.write_str(
                "the token wants a PIN and none was given; use `pin-source=file:...`, or let the \
                 program ask",
            ),
            Self::PinUnreadable(why) => write!(f, "the PIN can't be read: {why}"),
            Self::WrongPin => f.write_str(
                "wrong PIN; it was tried once and is not tried again, since tokens count",
            ),
            Self::PinRefusedBefore => f.write_str(
                "the token refused this PIN before, so it was not tried again; begin anew with \
                 another PIN",
            ),
            Self::LastTry => f.write_str(
                "one more wrong PIN locks the token, so none was tried; log in once with the \
                 token's own software, or allow the last attempt",
            ),
            Self::PinLocked => f.write_str(
                "the token's PIN is locked until somebody sets a new one as its security officer",
            ),
            Self::KeyAbsent(why) => write!(f, "the token has no such key: {why}"),
            Self::KeyAmbiguous(found) => {
                write!(f, "{found} keys of the token fit the PKCS #11 URI; add `id=` to it")
            }
            Self::KeyExists(what) => {
                write!(f, "the token has a key {what} already; none was made; use another name")
            }
            Self::KeyUnfit(why) => write!(f, "the key is not used: {why}"),
            Self::MechanismMissing { wanted: Some(wanted), why } => {
                write!(f, "the token can't wrap by {wanted} with this key: {why}")
            }
            Self::MechanismMissing { wanted: None, why } => {
                write!(f, "the token has no way to wrap a secret that strongroom knows: {why}")
            }
            Self::Denied(why) => write!(f, "the token says no: {why}"),
            Self::NotMine => f.write_str("wrapped by another key"),
            Self::Damaged(why) => write!(f, "altered, or not for this slot: {why}"),
            Self::Device(why) => write!(f, "the token or its module failed: {why}"),
            Self::TimedOut { after } => write!(
                f,
                "the token didn't answer within {} ms, or is busy with a call that it didn't \
                 answer",
                after.as_millis()
            ),
            Self::Forked => f.write_str(
                "this process is a fork of the one that loaded the PKCS #11 module, which must not \
                 be used here; start a new program instead",
            ),
        }
    }
}

impl StdError for Pkcs11Error {}

impl From<UriError> for Pkcs11Error {
    fn from(error: UriError) -> Self {
        Self::Uri(error)
    }
}

impl From<Pkcs11Error> for ProviderError {
    fn from(error: Pkcs11Error) -> Self {
        let said = error.to_string();
        match error {
            Pkcs11Error::NotMine => Self::NotMine,
            Pkcs11Error::WrongPin | Pkcs11Error::PinRefusedBefore => Self::Wrong,
            Pkcs11Error::PinLocked => Self::LockedOut { retry_after: None },
            Pkcs11Error::KeyAbsent(why) => Self::NoKey(why),
            Pkcs11Error::Damaged(why) => Self::Damaged(why),
            Pkcs11Error::Denied(why) => Self::Denied(why),
            Pkcs11Error::KeyAmbiguous(_)
            | Pkcs11Error::KeyExists(_)
            | Pkcs11Error::KeyUnfit(_)
            | Pkcs11Error::MechanismMissing { .. } => Self::Denied(said),
            // None of these says anything about one slot rather than another.
            Pkcs11Error::Uri(_)
            | Pkcs11Error::Incomplete(_)
            | Pkcs11Error::Module { .. }
            | Pkcs11Error::TokenAbsent(_)
            | Pkcs11Error::TokenAmbiguous(_)
            | Pkcs11Error::PinMissing
            | Pkcs11Error::PinUnreadable(_)
            | Pkcs11Error::LastTry
            | Pkcs11Error::Device(_)
            | Pkcs11Error::TimedOut { .. }
            | Pkcs11Error::Forked => Self::Unavailable(said),
        }
    }
}

impl From<Error> for Pkcs11Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Pkcs11(code, function) => meaning(code, function),
            other => Self::Device(other.to_string()),
        }
    }
}

/// What a return code means that a function gave.
fn meaning(code: RvError, function: Function) -> Pkcs11Error {
    let said = format!("C_{function:?}: {code:?}");
    let unwraps =
        matches!(function, Function::Decrypt | Function::DecryptInit | Function::UnwrapKey);
    match code {
        RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => Pkcs11Error::WrongPin,
        RvError::PinLocked => Pkcs11Error::PinLocked,
        RvError::TokenNotPresent
        | RvError::TokenNotRecognized
        | RvError::DeviceRemoved
        | RvError::SlotIdInvalid
        | RvError::SessionClosed
        | RvError::SessionHandleInvalid => Pkcs11Error::TokenAbsent(said),
        RvError::MechanismInvalid
        | RvError::MechanismParamInvalid
        | RvError::FunctionNotSupported
        | RvError::KeyTypeInconsistent
        | RvError::UnwrappingKeyTypeInconsistent
        | RvError::WrappingKeyTypeInconsistent
        | RvError::KeySizeRange
        | RvError::TemplateInconsistent
        | RvError::AttributeSensitive => Pkcs11Error::MechanismMissing { wanted: None, why: said },
        RvError::KeyHandleInvalid
        | RvError::ObjectHandleInvalid
        | RvError::UnwrappingKeyHandleInvalid
        | RvError::WrappingKeyHandleInvalid => Pkcs11Error::KeyAbsent(said),
        RvError::KeyFunctionNotPermitted
        | RvError::KeyNotWrappable
        | RvError::KeyUnextractable
        | RvError::ActionProhibited
        | RvError::FunctionRejected
        | RvError::PinExpired
        | RvError::PinTooWeak
        | RvError::UserPinNotInitialized
        | RvError::UserNotLoggedIn
        | RvError::UserAnotherAlreadyLoggedIn
        | RvError::SessionReadOnly
        | RvError::TokenWriteProtected => Pkcs11Error::Denied(said),
        RvError::EncryptedDataInvalid
        | RvError::EncryptedDataLenRange
        | RvError::WrappedKeyInvalid
        | RvError::WrappedKeyLenRange => Pkcs11Error::Damaged(said),
        // The device is named by codes of its own; anything else said of bytes is about the bytes.
        RvError::DeviceError
        | RvError::DeviceMemory
        | RvError::HostMemory
        | RvError::FunctionCanceled
        | RvError::CryptokiNotInitialized => Pkcs11Error::Device(said),
        _ if unwraps => Pkcs11Error::Damaged(said),
        _ => Pkcs11Error::Device(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_token_answers_is_told_apart() {
        let name =
            |error: Pkcs11Error| format!("{error:?}").split(['(', ' ']).next().unwrap().to_owned();
        for (code, function, wanted) in [
            (RvError::PinIncorrect, Function::Login, "WrongPin"),
            (RvError::PinLenRange, Function::Login, "WrongPin"),
            (RvError::PinLocked, Function::Login, "PinLocked"),
            (RvError::GeneralError, Function::Login, "Device"),
            (RvError::TokenNotPresent, Function::OpenSession, "TokenAbsent"),
            (RvError::DeviceRemoved, Function::Decrypt, "TokenAbsent"),
            (RvError::GeneralError, Function::Decrypt, "Damaged"),
            (RvError::GeneralError, Function::UnwrapKey, "Damaged"),
            (RvError::GeneralError, Function::Encrypt, "Device"),
            (RvError::DeviceError, Function::Decrypt, "Device"),
            (RvError::EncryptedDataInvalid, Function::Decrypt, "Damaged"),
            (RvError::WrappedKeyLenRange, Function::UnwrapKey, "Damaged"),
            (RvError::KeyFunctionNotPermitted, Function::DecryptInit, "Denied"),
            (RvError::UserNotLoggedIn, Function::DecryptInit, "Denied"),
            (RvError::MechanismInvalid, Function::EncryptInit, "MechanismMissing"),
            (RvError::MechanismInvalid, Function::DecryptInit, "MechanismMissing"),
            (RvError::ObjectHandleInvalid, Function::DecryptInit, "KeyAbsent"),
            (RvError::VendorDefined(0x8000_0001), Function::Decrypt, "Damaged"),
            (RvError::VendorDefined(0x8000_0001), Function::FindObjects, "Device"),
        ] {
            assert_eq!(name(meaning(code, function)), wanted, "{code:?} of {function:?}");
        }
    }

    #[test]
    fn what_a_token_answers_reaches_the_seam_by_what_is_to_be_done() {
        let text = || "why".to_owned();
        let locked = ProviderError::LockedOut { retry_after: None };
        for (error, wanted) in [
            (Pkcs11Error::NotMine, ProviderError::NotMine),
            (Pkcs11Error::WrongPin, ProviderError::Wrong),
            (Pkcs11Error::PinRefusedBefore, ProviderError::Wrong),
            (Pkcs11Error::PinLocked, locked),
            (Pkcs11Error::KeyAbsent(text()), ProviderError::NoKey(text())),
            (Pkcs11Error::Damaged(text()), ProviderError::Damaged(text())),
            (Pkcs11Error::Denied(text()), ProviderError::Denied(text())),
        ] {
            assert_eq!(ProviderError::from(error), wanted);
        }
        for error in [Pkcs11Error::PinMissing, Pkcs11Error::LastTry, Pkcs11Error::Forked] {
            assert!(matches!(ProviderError::from(error), ProviderError::Unavailable(_)));
        }
        let wanted = Some(Wrapping::AesGcm);
        let missing = Pkcs11Error::MechanismMissing { wanted, why: text() };
        let ProviderError::Denied(said) = missing.into() else { panic!("not denied") };
        assert!(said.contains("AES-GCM"), "{said}");
    }
}
