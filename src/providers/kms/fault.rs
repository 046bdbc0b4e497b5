//! What a call that got no answer means, in words that say what to do. Choice only.

use std::io::{self, ErrorKind};

use rustls::{AlertDescription, CertificateError, PeerIncompatible};
use ureq::Error;

use super::certificate::{Dates, Day};
use super::options::TransitOptions;
use super::trust::NotPinned;
use crate::clock::Clock;
use crate::error::ProviderError;

/// What is known of a call that failed.
pub(super) struct Scene<'a> {
    pub(super) options: &'a TransitOptions,
    /// The service asked for a client certificate.
    pub(super) asked: bool,
    /// The certificate that the service showed.
    pub(super) theirs: Option<Dates>,
    /// The client certificate.
    pub(super) ours: Option<Dates>,
}

/// A call without an answer, as an error of the provider.
pub(super) fn meaning(error: &Error, scene: &Scene<'_>) -> ProviderError {
    let url = &scene.options.url;
    let unavailable = |why: String| ProviderError::Unavailable(format!("{url}: {why}"));
    match error {
        Error::Rustls(error) => handshake(error, scene),
        Error::Io(error) => match inner(error) {
            Some(error) => handshake(error, scene),
            None => cut(error, scene),
        },
        Error::Timeout(when) => unavailable(format!(
            "no whole answer within {} ms (time-out: {when})",
            scene.options.timeout.as_millis()
        )),
        Error::HostNotFound => unavailable("no such host".to_owned()),
        Error::BodyExceedsLimit(max) => {
            unavailable(format!("an answer of more than {max} bytes; is it the key service?"))
        }
        Error::Protocol(_) | Error::LargeResponseHeader(..) | Error::Http(_) => {
            unavailable(format!("no answer that can be read ({error}); is it the key service?"))
        }
        error => unavailable(error.to_string()),
    }
}

/// The TLS library's error inside an I/O error.
fn inner(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// A connection that broke, or never was.
fn cut(error: &io::Error, scene: &Scene<'_>) -> ProviderError {
    let url = &scene.options.url;
    let broke = [
        ErrorKind::ConnectionReset,
        ErrorKind::ConnectionAborted,
        ErrorKind::BrokenPipe,
        ErrorKind::UnexpectedEof,
    ];
    ProviderError::Unavailable(match error.kind() {
        ErrorKind::ConnectionRefused => format!("{url}: nobody listens there"),
        kind if broke.contains(&kind) && scene.asked => match scene.options.client {
            None => format!(
                "{url}: it broke off after it had asked for a client certificate, and none is set; \
                 it may insist on one"
            ),
            Some(_) => format!("{url}: it broke off after it had seen the client certificate"),
        },
        kind if broke.contains(&kind) => format!("{url}: the connection broke: {error}"),
        _ => format!("{url}: {error}"),
    })
}

fn handshake(error: &rustls::Error, scene: &Scene<'_>) -> ProviderError {
    let url = &scene.options.url;
    let unavailable = |why: String| ProviderError::Unavailable(format!("{url}: {why}"));
    match error {
        rustls::Error::InvalidCertificate(error) => unavailable(certificate(error, scene)),
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
        | rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => unavailable(if scene.options.allow_tls12 {
            "it speaks neither TLS 1.3 nor TLS 1.2".to_owned()
        } else {
            "it speaks no TLS 1.3; let it, or take TLS 1.2 too by `allow_tls12`".to_owned()
        }),
        rustls::Error::AlertReceived(alert) if scene.asked && is_about_us(*alert) => {
            ProviderError::Denied(format!("{url}: {}", refused_us(*alert, scene)))
        }
        error => unavailable(format!("no TLS with it: {error}")),
    }
}

fn certificate(error: &CertificateError, scene: &Scene<'_>) -> String {
    let day = |date: fn(&Dates) -> i64| match &scene.theirs {
        Some(dates) => Day(date(dates)).to_string(),
        None => "a day that can't be read".to_owned(),
    };
    match error {
        CertificateError::UnknownIssuer => format!(
            "its certificate leads to none of the roots in {}; nothing was sent to it",
            scene.options.roots.as_deref().unwrap_or("none".as_ref()).display()
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another host name; nothing was sent to it".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("its certificate expired on {}; have it renewed", day(|it| it.not_after))
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!(
                "its certificate is valid from {} on; compare the clocks",
                day(|it| it.not_before)
            )
        }
        CertificateError::Other(other) => match other.0.downcast_ref::<NotPinned>() {
            Some(NotPinned { shown }) => format!(
                "its certificate is not a pinned one: it shows {shown}; nothing was sent to it"
            ),
            None => format!("its certificate can't be used: {error}"),
        },
        error => format!("its certificate can't be used: {error}"),
    }
}

/// Alerts by which a service says that it doesn't like, or misses, our certificate.
fn is_about_us(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::HandshakeFailure
    )
}

fn refused_us(alert: AlertDescription, scene: &Scene<'_>) -> String {
    let now = i64::try_from(Clock::default().now_s()).unwrap_or(i64::MAX);
    match (&scene.options.client, scene.ours) {
        (None, _) => {
            "it wants a client certificate and none is set (`client_certificate`)".to_owned()
        }
        (Some(_), Some(Dates { not_after, .. })) if not_after < now => {
            format!("it refuses the client certificate, which expired on {}", Day(not_after))
        }
        (Some(_), _) => format!("it refuses the client certificate ({alert:?})"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::Pin;
    use super::super::token::TokenFrom;
    use super::*;
    use std::sync::Arc;
    use ureq::Timeout;

    fn options(client: bool) -> TransitOptions {
        let token = TokenFrom::Environment("T".to_owned());
        let mut options = TransitOptions::new("https://bao.example", "k", token);
        options.roots_file("/etc/ca.pem");
        if client {
            options.client_certificate("/etc/us.pem", "/etc/us.key");
        }
        options
    }

    fn told(error: Error, asked: bool, client: bool) -> ProviderError {
        let dates = Dates { not_before: 86_400, not_after: 172_800 };
        let (theirs, ours) = (Some(dates), client.then_some(dates));
        meaning(&error, &Scene { options: &options(client), asked, theirs, ours })
    }

    fn tls(error: rustls::Error) -> Error {
        Error::Io(io::Error::new(ErrorKind::InvalidData, error))
    }

    #[test]
    fn each_failure_of_a_handshake_has_its_own_words() {
        let pinned = NotPinned { shown: Pin::PublicKey([0xAB; 32]) };
        let pinned = CertificateError::Other(rustls::OtherError(Arc::new(pinned)));
        let alert = |alert| tls(rustls::Error::AlertReceived(alert));
        for (error, words) in [
            (tls(CertificateError::UnknownIssuer.into()), "none of the roots in /etc/ca.pem"),
            (tls(CertificateError::NotValidForName.into()), "for another host name"),
            (tls(CertificateError::Expired.into()), "expired on 1970-01-03"),
            (tls(CertificateError::NotValidYet.into()), "valid from 1970-01-02 on"),
            (tls(pinned.into()), "it shows spki:abab"),
            (tls(CertificateError::BadEncoding.into()), "can't be used"),
            (alert(AlertDescription::ProtocolVersion), "speaks no TLS 1.3"),
            (alert(AlertDescription::InternalError), "no TLS with it"),
            (Error::Rustls(rustls::Error::DecryptError), "no TLS with it"),
            (Error::Timeout(Timeout::Global), "within 5000 ms"),
            (Error::HostNotFound, "no such host"),
            (Error::BodyExceedsLimit(9), "more than 9 bytes"),
            (Error::LargeResponseHeader(2, 1), "can be read"),
            (Error::Io(ErrorKind::ConnectionRefused.into()), "nobody listens"),
            (Error::Io(ErrorKind::ConnectionReset.into()), "the connection broke"),
        ] {
            match told(error, false, false) {
                ProviderError::Unavailable(why) => {
                    assert!(
                        why.starts_with("https://bao.example: ") && why.contains(words),
                        "{why}"
                    );
                }
                other => panic!("{words}: {other:?}"),
            }
        }
    }

    #[test]
    fn who_is_refused_for_his_certificate_is_denied() {
        for (alert, client, words) in [
            (AlertDescription::CertificateRequired, false, "none is set"),
            (AlertDescription::BadCertificate, false, "none is set"),
            (AlertDescription::UnknownCA, true, "expired on 1970-01-03"),
        ] {
            match told(tls(rustls::Error::AlertReceived(alert)), true, client) {
                ProviderError::Denied(why) => assert!(why.contains(words), "{why}"),
                other => panic!("{alert:?}: {other:?}"),
            }
        }
        // Many services ask without insisting: a broken connection alone proves nothing.
        for (client, words) in [(false, "may insist"), (true, "had seen the client certificate")] {
            match told(Error::Io(ErrorKind::UnexpectedEof.into()), true, client) {
                ProviderError::Unavailable(why) => assert!(why.contains(words), "{why}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
