//! What a TPM's refusal means, by what it was asked: a table, tested as one. A response code says
//! which layer speaks (the TPM, or the library on the way to it), and the TPM's own say what and,
//! in part, about which parameter.

use tss_esapi::Error;
use tss_esapi::constants::response_code::{Tss2ResponseCode, Tss2ResponseCodeKind as Kind};

use crate::error::ProviderError;

/// What the TPM was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    /// To answer at all.
    Reach,
    /// Something that the owner of the storage hierarchy may do.
    Own,
    /// A key or counter at a handle.
    Find,
    /// To seal a secret.
    Seal,
    /// To take what a slot holds.
    Load,
    /// To give the secret back.
    Unseal,
    /// A counter's value, or one more.
    Count,
}

/// The library's layers above the TPM, in bits 16 to 23 of a response code. Codes of a resource
/// manager that speaks for the TPM have the TPM's meaning.
const LAYER_TPM: u32 = 0;
const LAYER_ESYS: u32 = 7;
const LAYER_RESOURCE_MANAGER_TPM: u32 = 11;
/// `TSS2_BASE_RC_RSP_AUTH_FAILED`: the answer's HMAC is not of who knows the authorisation value.
const BASE_ANSWER_NOT_AUTHENTIC: u32 = 33;

/// The response code. The crate gives it away in words only.
fn number(code: Tss2ResponseCode) -> Option<u32> {
    let words = match code {
        Tss2ResponseCode::Success => return Some(0),
        Tss2ResponseCode::FormatZero(code) => code.to_string(),
        Tss2ResponseCode::FormatOne(code) => code.to_string(),
    };
    words.rsplit_once("0x").and_then(|(_, digits)| u32::from_str_radix(digits, 16).ok())
}

/// What to tell the caller. The time of a lockout is not in here: it is asked for.
pub(super) fn meaning(asked: Asked, error: Error) -> ProviderError {
    let code = match error {
        // The crate's own checks of what it is to send.
        Error::WrapperError(_) if asked == Asked::Load => {
            return ProviderError::Damaged(error.to_string());
        }
        Error::WrapperError(_) => return ProviderError::Unavailable(error.to_string()),
        Error::Tss2Error(code) => code,
    };
    let number = number(code).unwrap_or(u32::MAX);
    match (number >> 16, number & 0xFFFF) {
        (LAYER_TPM | LAYER_RESOURCE_MANAGER_TPM, _) => by_the_tpm(asked, code, number),
        (LAYER_ESYS, BASE_ANSWER_NOT_AUTHENTIC) => ProviderError::Denied(
            "its answer was not authentic: something between here and the TPM, or another TPM, \
             which doesn't know the authorisation value"
                .to_owned(),
        ),
        _ => ProviderError::Unavailable(format!(
            "the TSS library got no answer, code 0x{number:08x}; is the TPM there, may this user \
             open it, is the library's TCTI module installed?"
        )),
    }
}

fn by_the_tpm(asked: Asked, code: Tss2ResponseCode, number: u32) -> ProviderError {
    let said = format!("{code}, code 0x{number:03x}");
    let Some(kind) = code.kind() else { return ProviderError::Denied(said) };
    match (asked, kind) {
        (_, Kind::Lockout) => ProviderError::LockedOut { retry_after: None },
        (_, Kind::Initialize | Kind::Failure | Kind::NeedsTest | Kind::Reboot | Kind::Upgrade) => {
            ProviderError::Unavailable(said)
        }
        // Warnings, bits 8 and 11 without bit 7: busy, testing itself, out of room.
        _ if number & 0xF80 == 0x900 => ProviderError::Unavailable(said),
        (Asked::Unseal | Asked::Count, Kind::AuthFail | Kind::BadAuth) => ProviderError::Wrong,
        (_, Kind::AuthFail | Kind::BadAuth) => ProviderError::Denied(
            "the owner of its storage hierarchy has an authorisation value: give it with \
             `owner_auth`"
                .to_owned(),
        ),
        (_, Kind::Hierarchy) => {
            ProviderError::Denied("its storage hierarchy is disabled".to_owned())
        }
        (_, Kind::PcrChanged) => {
            ProviderError::Unavailable("its PCRs changed while it was asked".to_owned())
        }
        (Asked::Unseal, Kind::PolicyFail) => ProviderError::Denied(
            "its PCRs are not what they were when the slot was made: the machine was started in \
             another way. If that is right, open the file with another slot and make this one anew"
                .to_owned(),
        ),
        (Asked::Own, Kind::NvDefined) => {
            ProviderError::Denied("there is something at that handle or index already".to_owned())
        }
        (Asked::Own, Kind::NvSpace) => ProviderError::Denied(
            "it has no room for another persistent key or counter; remove one".to_owned(),
        ),
        (Asked::Find, Kind::Handle) => ProviderError::NoKey("nothing is at the handle".to_owned()),
        (Asked::Load | Asked::Unseal, _) => ProviderError::Damaged(said),
        (Asked::Count, Kind::NvUninitialized) => ProviderError::NoKey(
            "the counter never counted: its creation was cut off; create it again".to_owned(),
        ),
        _ => ProviderError::Denied(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tss_esapi::WrapperErrorKind;

    fn told(asked: Asked, code: u32) -> ProviderError {
        meaning(asked, Error::Tss2Error(Tss2ResponseCode::from(code)))
    }

    /// `None` for words that are not compared.
    fn kind(error: ProviderError) -> &'static str {
        match error {
            ProviderError::Wrong => "wrong",
            ProviderError::LockedOut { .. } => "locked out",
            ProviderError::Unavailable(_) => "unavailable",
            ProviderError::Denied(_) => "denied",
            ProviderError::NoKey(_) => "no key",
            ProviderError::Damaged(_) => "damaged",
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_refusal_has_its_meaning() {
        use Asked::{Count, Find, Load, Own, Reach, Seal, Unseal};
        for (asked, code, meant) in [
            (Unseal, 0x98E, "wrong"),             // AUTH_FAIL, session 1
            (Unseal, 0x9A2, "wrong"),             // BAD_AUTH, session 1
            (Count, 0x98E, "wrong"),              // AUTH_FAIL, session 1
            (Unseal, 0x921, "locked out"),        // LOCKOUT
            (Load, 0x921, "locked out"),          // LOCKOUT
            (Unseal, 0x99D, "denied"),            // POLICY_FAIL, session 1
            (Unseal, 0x128, "unavailable"),       // PCR_CHANGED
            (Load, 0x1DF, "damaged"),             // INTEGRITY, parameter 1
            (Load, 0x1D5, "damaged"),             // SIZE, parameter 1
            (Load, 0x18B, "damaged"),             // HANDLE
            (Own, 0x9A2, "denied"),               // BAD_AUTH: the owner's
            (Own, 0x085, "denied"),               // HIERARCHY
            (Own, 0x14C, "denied"),               // NV_DEFINED
            (Own, 0x14B, "denied"),               // NV_SPACE
            (Find, 0x18B, "no key"),              // HANDLE, handle 1
            (Count, 0x14A, "no key"),             // NV_UNINITIALIZED
            (Count, 0x149, "denied"),             // NV_AUTHORIZATION
            (Seal, 0x100, "unavailable"),         // INITIALIZE
            (Reach, 0x101, "unavailable"),        // FAILURE
            (Seal, 0x902, "unavailable"),         // OBJECT_MEMORY
            (Load, 0x903, "unavailable"),         // SESSION_MEMORY
            (Unseal, 0x922, "unavailable"),       // RETRY
            (Seal, 0x084, "denied"),              // VALUE
            (Reach, 0x000A_000A, "unavailable"),  // TCTI: I/O error
            (Unseal, 0x000A_0001, "unavailable"), // TCTI: general failure
            (Unseal, 0x0007_0021, "denied"),      // ESYS: the answer's HMAC
            (Unseal, 0x0007_0001, "unavailable"), // ESYS: general failure
            (Unseal, 0x000B_0143, "damaged"),     // resource manager: COMMAND_CODE
        ] {
            assert_eq!(kind(told(asked, code)), meant, "{asked:?} 0x{code:x}");
        }
    }

    #[test]
    fn a_code_that_never_reached_the_tpm_is_no_attempt() {
        for layer in [1, 6, 7, 8, 9, 10, 12, 13] {
            for base in 1..=32 {
                assert_eq!(kind(told(Asked::Unseal, layer << 16 | base)), "unavailable");
            }
        }
    }

    #[test]
    fn the_number_is_in_the_message() {
        assert!(told(Asked::Load, 0x1DF).to_string().contains("0x1df"));
        assert!(told(Asked::Reach, 0x000A_000A).to_string().contains("0x000a000a"));
        for code in [0, 0x921, 0x98E, 0x000A_000A, 0x0007_0021] {
            assert_eq!(number(Tss2ResponseCode::from(code)), Some(code));
        }
    }

    #[test]
    fn what_the_crate_itself_refuses_to_send_is_the_slots_fault_or_nobodys() {
        let refused =
            |asked| kind(meaning(asked, Error::WrapperError(WrapperErrorKind::WrongParamSize)));
        assert_eq!(refused(Asked::Load), "damaged");
        assert_eq!(refused(Asked::Seal), "unavailable");
    }
}
