//! An OpenBao server of the test's own: its program is the real one, its storage is memory, its
//! certificates are made here, and it ends when the test process does. One for all tests, since it
//! takes a second to start; each test has keys of its own.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use serde_json::{Value, json};
use strongroom::providers::kms::{TokenFrom, TransitKey, TransitOptions};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::certificates::{Authority, Ends};

/// How a listener of the server differs from the first.
pub const PLAIN: usize = 0;
/// Insists on a client certificate.
pub const MUTUAL: usize = 1;
/// Speaks TLS 1.2 at most.
pub const OLD: usize = 2;
/// Its certificate has expired.
pub const EXPIRED: usize = 3;
/// Its certificate is for another host.
pub const STRANGER: usize = 4;
/// Its certificate is replaced by a test.
pub const RENEWED: usize = 5;

pub struct Service {
    pub folder: PathBuf,
    pub authority: Authority,
    ports: Vec<u16>,
    pid: u32,
    root_token: String,
    unseal_key: String,
    agent: ureq::Agent,
    made: AtomicU32,
    /// Kills the server and removes its folder when its standard input is closed.
    shell: Child,
}

/// The server that all tests share; `None`, and a line that says so, where `bao` is not installed.
pub fn service() -> Option<&'static Service> {
    static SERVICE: OnceLock<Option<Service>> = OnceLock::new();
    SERVICE.get_or_init(|| program().map(|bao| Service::start(&bao))).as_ref()
}

/// The server's program, by `STRONGROOM_BAO` or on the path. Never passed over where `CI` is set.
pub fn program() -> Option<PathBuf> {
    let on_path = |name: &str| {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
    };
    let bao = env::var_os("STRONGROOM_BAO").map(PathBuf::from).or_else(|| on_path("bao"));
    let missing = match (&bao, on_path("openssl")) {
        (Some(bao), Some(_)) if bao.is_file() => return Some(bao.clone()),
        (_, None) => "openssl is not on the path",
        _ => "no bao: not on the path, and STRONGROOM_BAO names none (.ci/bao installs it)",
    };
    assert!(env::var_os("CI").is_none(), "not skipped where CI is set: {missing}");
    println!("skipped: {missing}");
    None
}

impl Service {
    pub fn start(bao: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("strongroom-bao").tempdir().unwrap().keep();
        let authority = Authority::new(&folder, "authority");
        let ours = "DNS:localhost,IP:127.0.0.1";
        authority.sign("server", ours, Ends::InDays(90));
        authority.sign("expired", ours, Ends::LongAgo);
        authority.sign("stranger", "DNS:other.example", Ends::InDays(90));
        authority.sign("renewed", ours, Ends::LongAgo);
        let ports: Vec<u16> = free_ports(6);
        let listener = |nth: usize, stem: &str, more: Value| {
            let mut listener = json!({
                "address": format!("127.0.0.1:{}", ports[nth]),
                "tls_cert_file": folder.join(format!("{stem}.pem")),
                "tls_key_file": folder.join(format!("{stem}.key")),
                "tls_client_ca_file": authority.file(),
            });
            let fields = listener.as_object_mut().unwrap();
            fields.extend(more.as_object().unwrap().clone());
            json!({ "tcp": listener })
        };
        let settings = json!({
            "storage": { "inmem": {} },
            "disable_mlock": true,
            "api_addr": format!("https://127.0.0.1:{}", ports[PLAIN]),
            "listener": [
                listener(PLAIN, "server", json!({})),
                listener(MUTUAL, "server", json!({ "tls_require_and_verify_client_cert": true })),
                listener(OLD, "server", json!({ "tls_max_version": "tls12" })),
                listener(EXPIRED, "expired", json!({})),
                listener(STRANGER, "stranger", json!({})),
                listener(RENEWED, "renewed", json!({})),
            ],
        });
        fs::write(folder.join("settings.json"), settings.to_string()).unwrap();
        let (pid, shell) = run(bao, &folder);
        let agent = admin(&authority.file());
        let (root_token, unseal_key, made) = (String::new(), String::new(), AtomicU32::new(0));
        let mut service =
            Self { folder, authority, ports, pid, root_token, unseal_key, agent, made, shell };
        service.initialise();
        service
    }

    fn initialise(&mut self) {
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port(PLAIN))).is_err() {
            let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(began.elapsed() < Duration::from_secs(30), "bao doesn't start: {}", log());
            thread::sleep(Duration::from_millis(20));
        }
        let made = self.ask("PUT", "sys/init", &json!({"secret_shares": 1, "secret_threshold": 1}));
        made["root_token"].as_str().unwrap().clone_into(&mut self.root_token);
        made["keys_base64"][0].as_str().unwrap().clone_into(&mut self.unseal_key);
        self.unseal();
        self.ask("POST", "sys/mounts/transit", &json!({"type": "transit"}));
        for (name, rules) in [
            ("user", &[("encrypt", "update"), ("decrypt", "update"), ("keys", "read")][..]),
            ("opener", &[("decrypt", "update")]),
            ("careless", &[("encrypt", "create"), ("decrypt", "update"), ("keys", "read")]),
            ("eraser", &[("keys", "delete")]),
        ] {
            let rule = |(what, may): &(&str, &str)| {
                format!("path \"transit/{what}/*\" {{ capabilities = [\"{may}\"] }}")
            };
            let policy: Vec<_> = rules.iter().map(rule).collect();
            let path = format!("sys/policies/acl/{name}");
            self.ask("PUT", &path, &json!({"policy": policy.join("\n")}));
        }
    }

    pub fn unseal(&self) {
        self.ask("PUT", "sys/unseal", &json!({"key": self.unseal_key}));
        // It is ready a moment after it says so.
        let began = Instant::now();
        while self.status("GET", "sys/health", None) != 200 {
            assert!(began.elapsed() < Duration::from_secs(10), "still sealed");
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn port(&self, listener: usize) -> u16 {
        self.ports[listener]
    }

    pub fn url(&self, listener: usize) -> String {
        format!("https://127.0.0.1:{}", self.port(listener))
    }

    /// Tells the server to read its certificates again.
    pub fn reload(&self) {
        Command::new("kill").args(["-HUP", &self.pid.to_string()]).status().unwrap();
    }

    /// As the administrator; panics unless the answer is yes.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call(method, path, Some(body));
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    pub fn status(&self, method: &str, path: &str, body: Option<&Value>) -> u16 {
        self.call(method, path, body).0
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let (path, namespace) = match path.split_once("::") {
            Some((namespace, path)) => (path, namespace),
            None => (path, ""),
        };
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}/v1/{path}", self.url(PLAIN)))
            .header("X-Vault-Namespace", namespace)
            .header("X-Vault-Token", &self.root_token);
        let body = body.map(Value::to_string).unwrap_or_default();
        let response = if body.is_empty() {
            self.agent.run(request.body(()).unwrap())
        } else {
            self.agent.run(request.body(body.as_str()).unwrap())
        };
        let mut response = response.unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        (response.status().as_u16(), serde_json::from_str(&text).unwrap_or_default())
    }

    /// A key of a name that no other test uses.
    pub fn new_key(&self) -> String {
        let name = format!("key-{}", self.made.fetch_add(1, Ordering::SeqCst));
        self.make_key(&name);
        name
    }

    pub fn make_key(&self, name: &str) {
        self.ask("POST", &format!("transit/keys/{name}"), &json!({}));
    }

    pub fn destroy_key(&self, name: &str) {
        let path = format!("transit/keys/{name}");
        if self.status("GET", &path, None) == 200 {
            self.ask("POST", &format!("{path}/config"), &json!({"deletion_allowed": true}));
            self.ask("DELETE", &path, &Value::Null);
        }
    }

    /// The versions made so far are no longer decrypted.
    pub fn revoke_key(&self, name: &str) {
        let path = format!("transit/keys/{name}");
        self.ask("POST", &format!("{path}/rotate"), &json!({}));
        self.ask("POST", &format!("{path}/config"), &json!({"min_decryption_version": 2}));
    }

    /// A token, made as it is said there.
    pub fn token(&self, how: &Value) -> String {
        let made = self.ask("POST", "auth/token/create", how);
        made["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    /// A file with a token of one policy.
    pub fn token_file(&self, policy: &str) -> PathBuf {
        self.write_token(&self.token(&json!({"policies": [policy], "ttl": "1h"})))
    }

    pub fn write_token(&self, token: &str) -> PathBuf {
        let path = self.folder.join(format!("token-{}", self.made.fetch_add(1, Ordering::SeqCst)));
        fs::write(&path, token).unwrap();
        path
    }

    /// Options for a listener and a key, with the right roots and a token that may use the key.
    pub fn options(&self, listener: usize, key: &str) -> TransitOptions {
        let token = TokenFrom::File(self.token_file("user"));
        let mut options = TransitOptions::new(&self.url(listener), key, token);
        options.roots_file(self.authority.file());
        options
    }

    pub fn key(&self, name: &str) -> TransitKey {
        TransitKey::new(self.options(PLAIN, name)).unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// Starts the server under a shell that ends it when its standard input is closed, which happens
/// however this process ends. The server's process id, and the shell.
fn run(bao: &Path, folder: &Path) -> (u32, Child) {
    let script = "\"$0\" server -config=\"$1/settings.json\" >\"$1/log\" 2>&1 </dev/null & \
                  echo $!; cat >/dev/null; kill -KILL $!; wait $! 2>/dev/null; rm -rf \"$1\"";
    let mut shell = Command::new("sh")
        .args(["-c", script])
        .args([bao, folder])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pid = String::new();
    BufReader::new(shell.stdout.take().unwrap()).read_line(&mut pid).unwrap();
    (pid.trim().parse().unwrap(), shell)
}

fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(|held| held.local_addr().unwrap().port()).collect()
}

/// A client for the administrator, with nothing of the provider in it.
fn admin(authority: &Path) -> ureq::Agent {
    let root = Certificate::from_pem(&fs::read(authority).unwrap()).unwrap();
    let crypto = Arc::new(rustls::crypto::ring::default_provider());
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&[root]))
        .unversioned_rustls_crypto_provider(crypto)
        .build();
    let config = ureq::Agent::config_builder()
        .tls_config(tls)
        .proxy(None)
        .allow_non_standard_methods(true)
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(20)));
    config.build().new_agent()
}
