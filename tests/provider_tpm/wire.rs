//! The wire to a TPM: a proxy that counts commands, keeps a copy of what passes, and at the command
//! it was told cuts the power of the TPM, before it got the command or after it carried it out.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, Weak};
use std::thread;

use strongroom::providers::tpm::Tcti;

use super::swtpm::{Swtpm, address, free_ports};

/// Where the power goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    /// The TPM never gets the command.
    Before(usize),
    /// It carries the command out, and nobody hears of it.
    After(usize),
}

#[derive(Default)]
struct Passing {
    commands: usize,
    cut: Option<At>,
    /// Commands and answers in turn.
    heard: Vec<Vec<u8>>,
}

/// Stays up when the TPM is down. A clone is the same wire.
#[derive(Clone)]
pub struct Wire {
    pub tpm: Arc<Swtpm>,
    port: u16,
    passing: Arc<Mutex<Passing>>,
}

impl Wire {
    pub fn to(tpm: Swtpm) -> Self {
        let [data, control] = free_ports();
        let port = data.local_addr().unwrap().port();
        let wire = Self { tpm: Arc::new(tpm), port, passing: Arc::default() };
        // The threads end with the process and must not keep the TPM from being dropped before.
        let (tpm, passing) = (Arc::downgrade(&wire.tpm), Arc::clone(&wire.passing));
        let upstream = wire.tpm.port;
        thread::spawn(move || {
            for client in data.incoming().flatten() {
                // A client that goes away is the end of a conversation.
                let _ = converse(&client, &tpm, upstream, &passing);
                let _ = client.shutdown(Shutdown::Both);
            }
        });
        thread::spawn(move || pass_on(control, upstream + 1));
        wire
    }

    pub fn tcti(&self) -> Tcti {
        address(self.port)
    }

    /// Counts from here on, and cuts there.
    pub fn plan(&self, cut: Option<At>) {
        let mut passing = self.passing.lock().unwrap();
        (passing.commands, passing.cut) = (0, cut);
        passing.heard.clear();
    }

    pub fn commands(&self) -> usize {
        self.passing.lock().unwrap().commands
    }

    /// Every command and answer since the plan.
    pub fn heard(&self) -> Vec<Vec<u8>> {
        self.passing.lock().unwrap().heard.clone()
    }
}

fn converse(
    mut client: &TcpStream,
    power: &Weak<Swtpm>,
    port: u16,
    passing: &Mutex<Passing>,
) -> io::Result<()> {
    let mut tpm = TcpStream::connect(("127.0.0.1", port))?;
    let cut_now = || power.upgrade().map(|tpm| tpm.cut());
    loop {
        let command = read_message(&mut client)?;
        let (nth, cut) = {
            let mut passing = passing.lock().unwrap();
            passing.heard.push(command.clone());
            passing.commands += 1;
            (passing.commands - 1, passing.cut)
        };
        if cut == Some(At::Before(nth)) {
            cut_now();
            return Ok(());
        }
        tpm.write_all(&command)?;
        let answer = read_message(&mut tpm)?;
        if cut == Some(At::After(nth)) {
            cut_now();
            return Ok(());
        }
        passing.lock().unwrap().heard.push(answer.clone());
        client.write_all(&answer)?;
    }
}

/// A command or answer: tag, size, and so many bytes.
fn read_message(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut message = vec![0; 10];
    from.read_exact(&mut message)?;
    let size = u32::from_be_bytes([message[2], message[3], message[4], message[5]]) as usize;
    message.resize(size.max(10), 0);
    from.read_exact(&mut message[10..])?;
    Ok(message)
}

fn pass_on(listener: TcpListener, port: u16) {
    for client in listener.incoming().flatten() {
        let Ok(tpm) = TcpStream::connect(("127.0.0.1", port)) else { continue };
        for (mut from, mut to) in
            [(client.try_clone().unwrap(), tpm.try_clone().unwrap()), (tpm, client)]
        {
            thread::spawn(move || {
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
        }
    }
}
