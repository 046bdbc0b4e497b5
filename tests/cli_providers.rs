//! Shows that the command line does with a PKCS #11 token, a TPM and a key service what docs/cli.md
//! says: transcripts (`tests/cli_providers/*/*.txt`) against a real SoftHSM, swtpm and OpenBao, with
//! good and bad use; PINs on a pseudo-terminal; and a binary without them that says so.
//!
//! Each needs its feature beside `cli`. Where the software is not installed the test says so and
//! passes, unless the environment variable `CI` is set.
#![allow(unreachable_pub, dead_code, reason = "the rooms are those of other tests, used in part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

#[cfg(not(all(feature = "pkcs11", feature = "tpm", feature = "kms")))]
#[path = "cli_providers/absent.rs"]
mod absent;
#[cfg(feature = "kms")]
#[path = "provider_kms/certificates.rs"]
mod certificates;
#[path = "cli_providers/fixtures.rs"]
mod fixtures;
#[cfg(feature = "kms")]
#[path = "provider_kms/service.rs"]
mod service;
#[cfg(feature = "pkcs11")]
#[path = "cli_providers/softhsm.rs"]
mod softhsm;
#[cfg(feature = "tpm")]
#[path = "provider_tpm/swtpm.rs"]
mod swtpm;
#[cfg(feature = "pkcs11")]
#[path = "cli/terminal.rs"]
mod terminal;
#[path = "cli/transcript.rs"]
mod transcript;

/// The binary under test.
const STRONGROOM: &str = env!("CARGO_BIN_EXE_strongroom");

/// Runs what stands in `tests/cli_providers/FOLDER`.
#[cfg(any(feature = "pkcs11", feature = "tpm", feature = "kms"))]
fn transcripts(folder: &str) {
    let place = format!("{}/tests/cli_providers/{folder}", env!("CARGO_MANIFEST_DIR"));
    let overwrite = std::env::var("STRONGROOM_TRANSCRIPTS").is_ok_and(|mode| mode == "overwrite");
    let (steps, faults) = transcript::run_all(std::path::Path::new(&place), overwrite);
    println!("figure: command lines in transcripts of {folder} = {steps}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[cfg(feature = "pkcs11")]
#[test]
fn a_token_opens_files_for_every_verb() {
    if softhsm::installed() {
        transcripts("pkcs11");
    }
}

#[cfg(feature = "tpm")]
#[test]
fn a_tpm_opens_files_and_counts_for_them() {
    if swtpm::installed() {
        transcripts("tpm");
    }
}

#[cfg(feature = "kms")]
#[test]
fn a_key_service_opens_files_and_is_looked_at() {
    if service::service().is_some() {
        transcripts("kms");
    }
}
