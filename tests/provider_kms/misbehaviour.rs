//! A server that proves who it is and then behaves badly: it sends us elsewhere, never ends, says
//! too much, or what nobody can use.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use strongroom::providers::kms::{TokenFrom, TransitKey, TransitOptions};

use super::service::{Service, service};
use super::slot::{made_with, words};

/// What the server does once it has read a request.
#[derive(Clone)]
enum Does {
    Says(Vec<u8>),
    /// One byte each 30 ms, without end.
    Drips,
    /// Nothing, for a while.
    Waits,
}

fn serve(service: &Service, does: Does) -> (String, Arc<AtomicU32>) {
    let read = |name: &str| fs::read(service.folder.join(name)).unwrap();
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(&read("server.pem")).collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(&read("server.key")).unwrap();
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let met = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&met);
    thread::spawn(move || {
        for socket in listener.incoming() {
            count.fetch_add(1, Ordering::SeqCst);
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, socket.unwrap());
            let _ = stream.read(&mut [0; 4096]);
            match &does {
                Does::Says(bytes) => {
                    let _ = stream.write_all(bytes);
                }
                Does::Drips => {
                    let mut next = b"HTTP/1.1 200 OK\r\nX: ".iter().chain(std::iter::repeat(&b'x'));
                    while stream.write_all(&[*next.next().unwrap()]).is_ok() {
                        thread::sleep(Duration::from_millis(30));
                    }
                }
                Does::Waits => thread::sleep(Duration::from_secs(6)),
            }
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    (url, met)
}

fn http(head: &str, body: &[u8]) -> Does {
    let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len());
    Does::Says([head.as_bytes(), body].concat())
}

#[test]
fn a_server_that_misbehaves_is_refused_in_time_and_in_bounded_memory() {
    let Some(service) = service() else { return };
    let name = service.new_key();
    let wrapped = made_with(service.key(&name)).unwrap();
    let (elsewhere, met) = serve(service, http("200 OK", b"{}"));
    let sends_on = format!("307 Temporary Redirect\r\nLocation: {elsewhere}/v1/x");
    let found = format!("302 Found\r\nLocation: {elsewhere}/v1/x");
    let plain = |text: &str| format!("{{\"data\":{{\"plaintext\":\"{text}\"}}}}").into_bytes();
    for (does, kind, said) in [
        (http(&sends_on, b""), "Unavailable", "which is not followed"),
        (http(&found, b"x"), "Unavailable", "which is not followed"),
        (http("200 OK", &vec![b' '; 1 << 20]), "Unavailable", "more than 262144 bytes"),
        (http(&format!("200 OK\r\nX: {}", "x".repeat(40_000)), b""), "Unavailable", "can be read"),
        (http("200 OK", b"<html>"), "Unavailable", "not JSON"),
        (http("200 OK", b"{}"), "Damaged", "not 32 bytes"),
        (http("200 OK", &plain("")), "Damaged", "not 32 bytes"),
        (http("200 OK", &plain(&"A".repeat(40))), "Damaged", "not 32 bytes"),
        (http("200 OK", &plain(&"A".repeat(44))), "Damaged", "not 32 bytes"),
        (http("200 OK", &plain(&"A".repeat(400))), "Damaged", "not 32 bytes"),
        (http("404 Not Found", b"<html>"), "Unavailable", "is it the key service?"),
        (http("403 Forbidden", b""), "Unavailable", "is it the key service?"),
        (http("500 Oh", b"{\"errors\":[\"x\"]}"), "Unavailable", "status 500: x"),
        (Does::Says(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()), "Unavailable", "can be read"),
        (Does::Says(Vec::new()), "Unavailable", "the connection broke"),
        (Does::Says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_vec()), "Unavailable", ""),
        (Does::Drips, "Unavailable", "within 700 ms"),
        (Does::Waits, "Unavailable", "within 700 ms"),
    ] {
        let (url, asked) = serve(service, does);
        let token = TokenFrom::File(service.write_token("s.any"));
        let mut options = TransitOptions::new(&url, &name, token);
        options.roots_file(service.authority.file()).leave_token_alone();
        options.timeout(Duration::from_millis(700));
        let key = TransitKey::new(options).unwrap();
        let began = Instant::now();
        let error = words(wrapped.unwrap_by(&key), kind);
        // Who sends too much may be gone before so much of it was read.
        let gone = error.contains("the connection broke")
            && ["more than 262144 bytes", "can be read"].contains(&said);
        assert!(error.contains(said) || gone, "{said}: {error}");
        assert!(began.elapsed() < Duration::from_secs(4), "{said}: {:?}", began.elapsed());
        assert_eq!(asked.load(Ordering::SeqCst), 1, "{said}: asked once, and not again");
    }
    assert_eq!(met.load(Ordering::SeqCst), 0, "somebody went elsewhere");
}
