//! Who the service must be: a certificate for its name that leads to one of the given roots, or
//! one that is pinned, or both. The certificate it showed is kept for a look at its dates, also
//! when it was refused.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    SupportedCipherSuite, crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
};

use super::certificate::{Dates, dates};
use super::options::Pin;

/// What the service showed of itself in the last handshake.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown(Arc<Mutex<Option<Dates>>>);

impl Shown {
    pub(super) fn dates(&self) -> Option<Dates> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, certificate: &CertificateDer<'_>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = dates(certificate);
    }
}

/// A certificate that no pin names. rustls has no error of that meaning, so it travels as one of
/// "other"s, and is told apart by its type.
#[derive(Debug)]
pub(super) struct NotPinned {
    pub(super) shown: Pin,
}

impl std::fmt::Display for NotPinned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "not pinned: {}", self.shown)
    }
}

impl std::error::Error for NotPinned {}

/// rustls' verifier with pins beside it, or instead of its roots.
#[derive(Debug)]
pub(super) struct Trust {
    chain: Option<Arc<WebPkiServerVerifier>>,
    pins: Vec<Pin>,
    algorithms: WebPkiSupportedAlgorithms,
    shown: Shown,
}

impl Trust {
    /// `None` where there is nothing to tell the service by: no roots and no pins.
    pub(super) fn new(
        roots: Option<RootCertStore>,
        pins: &[Pin],
        provider: &Arc<CryptoProvider>,
        shown: Shown,
    ) -> Option<Self> {
        let chain = roots.map(|roots| {
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                .build()
        });
        let chain = chain.transpose().ok()?;
        if chain.is_none() && pins.is_empty() {
            return None;
        }
        let algorithms = provider.signature_verification_algorithms;
        Some(Self { chain, pins: pins.to_vec(), algorithms, shown })
    }

    fn check_pins(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let public_key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
        let public_key = Pin::PublicKey(sha256(&public_key));
        let shown = [public_key, Pin::Certificate(sha256(certificate))];
        if self.pins.is_empty() || shown.iter().any(|shown| self.pins.contains(shown)) {
            return Ok(());
        }
        let reason = rustls::OtherError(Arc::new(NotPinned { shown: public_key }));
        Err(CertificateError::Other(reason).into())
    }
}

/// With a pin and no roots nobody else looks at the dates.
fn check_dates(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let dates = dates(certificate).ok_or(CertificateError::BadEncoding)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now > dates.not_after {
        return Err(CertificateError::Expired.into());
    }
    if now < dates.not_before {
        return Err(CertificateError::NotValidYet.into());
    }
    Ok(())
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.shown.note(certificate);
        match &self.chain {
            Some(chain) => {
                chain.verify_server_cert(certificate, intermediates, name, ocsp, now)?;
            }
            None => check_dates(certificate, now)?,
        }
        self.check_pins(certificate)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The hash of a cipher suite that is named by it: the TLS library has SHA-256, so no other crate
/// is needed for it.
fn sha256(bytes: &[u8]) -> [u8; 32] {
    let SupportedCipherSuite::Tls13(suite) = TLS13_AES_128_GCM_SHA256 else { return [0; 32] };
    let hash = suite.common.hash_provider.hash(bytes);
    <[u8; 32]>::try_from(hash.as_ref()).unwrap_or([0; 32])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_sha_256() {
        let hash = sha256(b"abc").map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
