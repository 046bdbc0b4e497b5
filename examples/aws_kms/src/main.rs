//! A strongroom key provider on AWS KMS, as an application would write it: a package of its own, on
//! the public trait, so that nobody who doesn't want the AWS SDK has it.
//!
//!     cd examples/aws_kms
//!     export AWS_REGION=eu-central-1 AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...
//!     export AWS_CA_BUNDLE=amazon-roots.pem           # whom to believe: the roots, in PEM
//!     cargo run -- KEY_ID                             # the id or ARN of a symmetric key
//!
//! `AWS_ENDPOINT_URL` names another service that speaks the same protocol: moto's server, or a
//! private endpoint. `cargo run -- new` makes a key first.
//!
//! `AwsKmsKey` is all there is to it: a name, how to wrap 32 bytes, how to unwrap them, and which of
//! the service's answers means what. The slot is bound by the encryption context, which the service
//! authenticates and writes to its audit log with each use: it shows which file was opened.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fmt, fs};

use aws_sdk_kms::Client;
use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::config::timeout::TimeoutConfig;
use aws_sdk_kms::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_smithy_http_client::Builder as HttpClient;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use strongroom::redb::{ReadableDatabase, TableDefinition};
use strongroom::{Database, KeyProvider, OpenError, ProviderError, ProviderSlot, SlotSecret};
use tokio::runtime::Runtime;

const TIMEOUT: Duration = Duration::from_secs(5);

// ---- What an application writes -----------------------------------------------------------------

/// A symmetric key of AWS KMS.
struct AwsKmsKey {
    client: Client,
    /// Pinned at decryption too: a ciphertext of another key is refused by the service.
    key_id: String,
    /// The SDK is asynchronous; strongroom asks on a thread of its own, where it may block.
    runtime: Arc<Runtime>,
}

/// By hand, so that the client's credentials are not shown.
impl fmt::Debug for AwsKmsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsKmsKey").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl KeyProvider for AwsKmsKey {
    // Written into every slot: never change it.
    fn name(&self) -> &str {
        "aws-kms"
    }

    fn wrap_secret(
        &self,
        slot: &ProviderSlot,
        secret: &SlotSecret,
    ) -> Result<Vec<u8>, ProviderError> {
        let request = self
            .client
            .encrypt()
            .key_id(&self.key_id)
            .plaintext(Blob::new(secret.expose().as_slice()))
            .set_encryption_context(Some(context(slot)));
        let answer = self.runtime.block_on(request.send()).map_err(|error| meaning(&error))?;
        let ciphertext = answer.ciphertext_blob.map(Blob::into_inner);
        ciphertext.ok_or_else(|| ProviderError::Unavailable("no ciphertext".to_owned()))
    }

    fn unwrap_secret(&self, slot: &ProviderSlot, blob: &[u8]) -> Result<SlotSecret, ProviderError> {
        let request = self
            .client
            .decrypt()
            .key_id(&self.key_id)
            .ciphertext_blob(Blob::new(blob))
            .set_encryption_context(Some(context(slot)));
        let answer = self.runtime.block_on(request.send()).map_err(|error| meaning(&error))?;
        answer
            .plaintext
            .and_then(|plain| SlotSecret::from_bytes(plain.as_ref()))
            .ok_or_else(|| ProviderError::Damaged("what it holds is not 32 bytes".to_owned()))
    }
}

/// The slot's binding, as the service wants it: pairs of text.
fn context(slot: &ProviderSlot) -> HashMap<String, String> {
    let bound = slot.associated_data().map(|byte| format!("{byte:02x}")).concat();
    HashMap::from([("strongroom".to_owned(), bound)])
}

/// The one thing to think about: which answer of the service is which error.
fn meaning<E: ProvideErrorMetadata>(error: &SdkError<E>) -> ProviderError {
    let Some(code) = error.code() else {
        // No answer at all: no connection, no proof of who it is, no time left.
        return ProviderError::Unavailable(error.to_string());
    };
    let said = || format!("{code}: {}", error.message().unwrap_or("no reason given"));
    match code {
        "IncorrectKeyException" => ProviderError::NotMine,
        "InvalidCiphertextException" => ProviderError::Damaged(said()),
        "NotFoundException" => ProviderError::NoKey(said()),
        "DisabledException"
        | "KMSInvalidStateException"
        | "InvalidKeyUsageException"
        | "AccessDeniedException"
        | "UnrecognizedClientException"
        | "ExpiredTokenException"
        | "InvalidSignatureException"
        | "IncompleteSignature" => ProviderError::Denied(said()),
        _ => ProviderError::Unavailable(said()),
    }
}

/// A client with explicit roots, time-outs and no retries, from the usual variables.
fn client() -> Result<Client, Box<dyn Error>> {
    let var = |name: &str| env::var(name).map_err(|_| format!("{name} is not set"));
    let roots = TrustStore::empty().with_pem_certificate(fs::read(var("AWS_CA_BUNDLE")?)?);
    let tls = TlsContext::builder().with_trust_store(roots).build()?;
    let http = HttpClient::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(tls)
        .build_https();
    let (id, secret) = (var("AWS_ACCESS_KEY_ID")?, var("AWS_SECRET_ACCESS_KEY")?);
    let token = env::var("AWS_SESSION_TOKEN").ok();
    let timeouts =
        TimeoutConfig::builder().operation_timeout(TIMEOUT).connect_timeout(TIMEOUT).build();
    let mut config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(var("AWS_REGION")?))
        .credentials_provider(Credentials::new(id, secret, token, None, "environment"))
        .http_client(http)
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts);
    if let Ok(url) = env::var("AWS_ENDPOINT_URL") {
        config = config.endpoint_url(url);
    }
    Ok(Client::from_conf(config.build()))
}

// ---- What it does to a database -----------------------------------------------------------------

const NOTES: TableDefinition<&str, &str> = TableDefinition::new("notes");

fn main() -> Result<(), Box<dyn Error>> {
    let wanted = env::args().nth(1).ok_or("which key? give its id, its ARN, or `new`")?;
    let client = client()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let make = || -> Result<String, Box<dyn Error>> {
        let made = runtime.block_on(client.create_key().send())?;
        Ok(made.key_metadata.ok_or("no key was made")?.key_id)
    };
    let (key_id, other_id) =
        if wanted == "new" { (make()?, Some(make()?)) } else { (wanted, None) };
    let runtime = Arc::new(runtime);
    let key = |key_id: String| {
        let (client, runtime) = (client.clone(), Arc::clone(&runtime));
        Arc::new(AwsKmsKey { client, key_id, runtime })
    };
    let path = env::temp_dir().join(format!("aws-kms-example-{}.room", std::process::id()));

    let db = Database::create(&path, key(key_id.clone()))?;
    let write = db.begin_write()?;
    write.open_table(NOTES)?.insert("a", "kept by a key of AWS KMS")?;
    write.commit()?;
    db.close()?;
    let open = |key_id: String| match Database::open(&path, key(key_id)) {
        Ok(db) => {
            let table = db.begin_read().ok().and_then(|read| read.open_table(NOTES).ok());
            let note = table.and_then(|table| table.get("a").ok().flatten());
            note.map_or_else(String::new, |note| note.value().to_owned())
        }
        Err(OpenError::Provider(failure)) => failure.to_string(),
        Err(error) => error.to_string(),
    };
    println!("its key:       {}", open(key_id));
    if let Some(other) = other_id {
        println!("another key:   {}", open(other));
    }
    println!("no such key:   {}", open("00000000-0000-0000-0000-000000000000".to_owned()));
    fs::remove_file(&path)?;
    Ok(())
}
