//! One request to the service and its answer: one connection, no redirect followed, no proxy, an
//! answer of bounded size, all of it within one time-out.

use std::io::Read;

use bytes::Bytes;
use ureq::config::Config;
use ureq::http::{HeaderValue, Method, Request};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, TcpConnector};
use ureq::{Agent, Error};
use zeroize::Zeroizing;

use super::answer::Answer;
use super::fault::{self, Scene};
use super::options::TransitOptions;
use super::tls::Tls;
use super::token::Token;
use super::transport::TlsConnector;
use crate::error::ProviderError;

const HEADER_SIZE_MAX: usize = 16 * 1024;
/// Bytes of an answer that are read. The longest that is asked for is a key's list of versions.
const BODY_SIZE_MAX: usize = 256 * 1024;

/// What is asked.
pub(super) struct Question<'a> {
    pub(super) method: Method,
    /// Below `/v1/`.
    pub(super) path: String,
    pub(super) body: Option<&'a [u8]>,
    pub(super) token: Option<&'a Token>,
}

/// Asks. Whatever status comes back is an answer.
pub(super) fn ask(
    options: &TransitOptions,
    tls: &Tls,
    question: &Question<'_>,
) -> Result<Answer, ProviderError> {
    attempt(options, tls, question).map_err(|error| {
        let (asked, theirs, ours) = (tls.us.was_asked_for(), tls.shown.dates(), tls.us.dates());
        fault::meaning(&error, &Scene { options, asked, theirs, ours })
    })
}

fn attempt(options: &TransitOptions, tls: &Tls, question: &Question<'_>) -> Result<Answer, Error> {
    let connector = ().chain(TcpConnector::default()).chain(TlsConnector(tls.clone()));
    let agent = Agent::with_parts(config(options), connector, DefaultResolver::default());
    let mut request = Request::builder()
        .method(question.method.clone())
        .uri(format!("{}/v1/{}", options.url, question.path))
        .header("X-Vault-Request", "true");
    if let Some(namespace) = &options.namespace {
        request = request.header("X-Vault-Namespace", namespace);
    }
    if let Some(token) = question.token {
        request = request.header("X-Vault-Token", header_of(token)?);
    }
    let response = match question.body {
        Some(body) => agent.run(request.header("Content-Type", "application/json").body(body)?)?,
        None => agent.run(request.body(())?)?,
    };
    let status = response.status().as_u16();
    // Room for all of it from the start: a vector that grows leaves copies behind.
    let mut body = Zeroizing::new(Vec::with_capacity(BODY_SIZE_MAX + 64));
    let reader = response.into_body().into_reader();
    reader.take(BODY_SIZE_MAX as u64 + 1).read_to_end(&mut body)?;
    if body.len() > BODY_SIZE_MAX {
        return Err(Error::BodyExceedsLimit(BODY_SIZE_MAX as u64));
    }
    Ok(Answer { status, body })
}

fn config(options: &TransitOptions) -> Config {
    Config::builder()
        .https_only(true)
        // Said outright, because the client's default is the environment's proxy.
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .timeout_global(Some(options.timeout))
        .max_response_header_size(HEADER_SIZE_MAX)
        .max_idle_connections(0)
        .user_agent(concat!("strongroom/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// A header whose bytes are wiped when the request is dropped, and which no log shows.
fn header_of(token: &Token) -> Result<HeaderValue, Error> {
    let bytes = Bytes::from_owner(Zeroizing::new(token.bytes().to_vec()));
    let mut header =
        HeaderValue::from_maybe_shared(bytes).map_err(|error| Error::Http(error.into()))?;
    header.set_sensitive(true);
    Ok(header)
}
