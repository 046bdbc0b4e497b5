//! The key service as the conformance suite sees it: the real server behind a wire that can be cut
//! and slowed down.

use std::io::{self, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use strongroom::Credential;
use strongroom::providers::kms::{TokenFrom, TransitKey, TransitOptions};

use super::service::{PLAIN, Service};
use super::suite::{Answer, Case, When, World};

/// Passes connections on, after a while if so told. It knows nothing of TLS.
pub struct Wire {
    port: u16,
    to: u16,
    delay_ms: Arc<AtomicU64>,
    listening: Mutex<Option<(Arc<AtomicBool>, JoinHandle<()>)>>,
}

impl Wire {
    pub fn new(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let wire = Self { port, to, delay_ms: Arc::default(), listening: Mutex::new(None) };
        wire.listen(listener);
        wire
    }

    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    pub fn delay(&self, by: Duration) {
        self.delay_ms.store(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    fn listen(&self, listener: TcpListener) {
        let cut = Arc::new(AtomicBool::new(false));
        let (to, delay_ms, is_cut) = (self.to, Arc::clone(&self.delay_ms), Arc::clone(&cut));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if is_cut.load(Ordering::SeqCst) {
                    return;
                }
                let delay_ms = Arc::clone(&delay_ms);
                thread::spawn(move || pass_on(&stream?, to, &delay_ms));
            }
        });
        *self.listening.lock().unwrap() = Some((cut, thread));
    }

    pub fn cut(&self) {
        if let Some((cut, thread)) = self.listening.lock().unwrap().take() {
            cut.store(true, Ordering::SeqCst);
            let _ = TcpStream::connect(("127.0.0.1", self.port));
            thread.join().unwrap();
        }
    }

    pub fn mend(&self) {
        self.listen(TcpListener::bind(("127.0.0.1", self.port)).unwrap());
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.cut();
    }
}

fn pass_on(near: &TcpStream, to: u16, delay_ms: &AtomicU64) -> io::Result<()> {
    let far = TcpStream::connect(("127.0.0.1", to))?;
    let (mut near_in, mut far_out) = (near.try_clone()?, far.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut near_in, &mut far_out);
        let _ = far_out.shutdown(Shutdown::Write);
    });
    thread::sleep(Duration::from_millis(delay_ms.load(Ordering::SeqCst)));
    io::copy(&mut &far, &mut &*near)?;
    (&*near).flush()?;
    near.shutdown(Shutdown::Both)
}

/// One key of the server, another one, and a wire.
pub struct TransitWorld {
    service: &'static Service,
    wire: Wire,
    right: String,
    other: String,
    token: TokenFrom,
}

impl TransitWorld {
    pub fn new(service: &'static Service) -> Self {
        let wire = Wire::new(service.port(PLAIN));
        let (right, other) = (service.new_key(), service.new_key());
        let token = TokenFrom::File(service.token_file("user"));
        Self { service, wire, right, other, token }
    }

    fn key(&self, name: &str, token: TokenFrom) -> Box<dyn Credential> {
        let mut options = TransitOptions::new(&self.wire.url(), name, token);
        options.roots_file(self.service.authority.file());
        Box::new(Arc::new(TransitKey::new(options).unwrap()))
    }
}

impl World for TransitWorld {
    fn name(&self) -> String {
        "key service over TLS (OpenBao)".to_owned()
    }

    fn credential(&self) -> Box<dyn Credential> {
        self.key(&self.right, self.token.clone())
    }

    fn other_key(&self) -> Box<dyn Credential> {
        self.key(&self.other, self.token.clone())
    }

    fn wrong(&self) -> Case<Box<dyn Credential>> {
        let token = TokenFrom::File(self.service.write_token("s.WrongWrongWrongWrongWron"));
        Ok(self.key(&self.right, token))
    }

    fn replace_key(&self) -> Case<()> {
        self.service.destroy_key(&self.right);
        self.service.make_key(&self.right);
        Ok(())
    }

    fn stop(&self) -> Case<()> {
        self.wire.cut();
        Ok(())
    }

    fn start(&self) {
        self.wire.mend();
    }

    fn slow(&self, by: Duration) -> Case<()> {
        self.wire.delay(by);
        Ok(())
    }

    fn revoke(&self) -> Case<()> {
        self.service.revoke_key(&self.right);
        Ok(())
    }

    fn destroy(&self) -> Case<()> {
        self.service.destroy_key(&self.right);
        Ok(())
    }

    fn expect(&self, when: When) -> &'static [Answer] {
        match when {
            // The service has one answer, 403, for a token that it doesn't know and for one that
            // may not do this; no attempt counts against anybody.
            When::WrongCredential => &[Answer::Denied],
            When::OtherKey => &[Answer::WrongKey],
            When::ReplacedKey => &[Answer::Damaged],
            When::Tampered => &[Answer::WrongKey, Answer::Damaged],
            When::Moved => &[Answer::Damaged],
            When::Gone => &[Answer::Unavailable],
            When::Revoked => &[Answer::Denied],
            When::Destroyed => &[Answer::NoKey],
        }
    }

    fn crashes_per_cut(&self) -> usize {
        1
    }
}
