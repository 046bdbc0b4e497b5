//! What a handshake needs, read from its files anew for each call: whom to believe, and who we
//! are. Nothing is kept between calls, so a file that was replaced is used by the next call and a
//! file that was taken away is missed by it. Sessions are not resumed either: each call sees the
//! service's certificate.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use zeroize::{Zeroize, Zeroizing};

use super::certificate::{Dates, dates};
use super::options::{ClientFiles, TransitOptions};
use super::trust::{Shown, Trust};
use crate::error::ProviderError;

/// A PEM file of more bytes than this is some other file.
const PEM_SIZE_MAX: usize = 1 << 20;

/// One call's side of the handshake.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub(super) config: Arc<ClientConfig>,
    pub(super) us: Arc<ClientIdentity>,
    pub(super) shown: Shown,
}

/// Our certificate, and whether the service asked for one.
#[derive(Debug)]
pub(super) struct ClientIdentity {
    certified: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

impl ClientIdentity {
    pub(super) fn was_asked_for(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    pub(super) fn dates(&self) -> Option<Dates> {
        self.certified.as_ref().and_then(|certified| dates(certified.cert.first()?))
    }
}

impl ResolvesClientCert for ClientIdentity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.certified.clone()
    }

    fn has_certs(&self) -> bool {
        self.certified.is_some()
    }
}

impl Tls {
    /// # Errors
    /// [`ProviderError::Unavailable`]: a file can't be read, or is not what it should be.
    pub(super) fn load(options: &TransitOptions) -> Result<Self, ProviderError> {
        let provider = Arc::new(ring::default_provider());
        let shown = Shown::default();
        let roots = options.roots.as_deref().map(read_roots).transpose()?;
        let trust = Trust::new(roots, &options.pins, &provider, shown.clone())
            .ok_or_else(|| ProviderError::Unavailable("nobody is trusted".to_owned()))?;
        let certified = options.client.as_ref().map(|files| read_client(files, &provider));
        let certified = certified.transpose()?.map(Arc::new);
        let us = Arc::new(ClientIdentity { certified, asked: AtomicBool::new(false) });
        let versions = if options.allow_tls12 { &[&TLS13, &TLS12][..] } else { &[&TLS13] };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|error| ProviderError::Unavailable(format!("no TLS: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(trust))
            .with_client_cert_resolver(Arc::clone(&us) as Arc<dyn ResolvesClientCert>);
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config), us, shown })
    }
}

/// The dates of the client certificate in its file, for whoever asks without calling.
pub(super) fn client_dates(files: &ClientFiles) -> Result<Option<Dates>, ProviderError> {
    let chain = read_certificates(&files.certificate)?;
    Ok(chain.first().and_then(|certificate| dates(certificate)))
}

fn read_roots(path: &Path) -> Result<RootCertStore, ProviderError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path)? {
        roots.add(certificate).map_err(|error| unusable(path, &error))?;
    }
    Ok(roots)
}

fn read_client(
    files: &ClientFiles,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, ProviderError> {
    let chain = read_certificates(&files.certificate)?;
    let pem = read_pem(&files.key)?;
    let mut key =
        PrivateKeyDer::from_pem_slice(&pem).map_err(|error| unusable(&files.key, &error))?;
    let signing = provider.key_provider.load_private_key(key.clone_key());
    key.zeroize();
    let signing = signing.map_err(|error| unusable(&files.key, &error))?;
    let certified = CertifiedKey::new(chain, signing);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(certified)
        }
        Err(_) => Err(ProviderError::Unavailable(format!(
            "{} and {} don't belong together; if they are being replaced, try again",
            files.certificate.display(),
            files.key.display()
        ))),
    }
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ProviderError> {
    let pem = read_pem(path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(path, &error))?;
    if certificates.is_empty() {
        return Err(unusable(path, &"no certificate in it"));
    }
    Ok(certificates)
}

fn read_pem(path: &Path) -> Result<Zeroizing<Vec<u8>>, ProviderError> {
    let read = || {
        let file = File::open(path)?;
        let len = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX).min(PEM_SIZE_MAX);
        // Room for all of it from the start: a vector that grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(len + 64));
        file.take(PEM_SIZE_MAX as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error: std::io::Error| unusable(path, &error))?;
    if bytes.len() > PEM_SIZE_MAX {
        return Err(unusable(path, &"longer than 1 MiB"));
    }
    Ok(bytes)
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> ProviderError {
    ProviderError::Unavailable(format!("{} can't be used: {why}", path.display()))
}
