//! The link between the HTTP client and TLS. It is ours, and not the client's own, for three
//! things: TLS 1.3 only, a certificate that may be pinned, and buffers for request and answer that
//! are wiped. What the TLS library holds on its way is not wiped by it.

use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, NextTimeout, Transport, TransportAdapter,
};
use zeroize::Zeroizing;

use super::tls::Tls;

/// Bytes for what is sent: the largest header is the token.
const OUT_SIZE: usize = 16 * 1024;
/// Bytes for what comes in, which is also room for a request's body on its way out.
const IN_SIZE: usize = 64 * 1024;

/// Puts TLS over a socket.
#[derive(Debug)]
pub(super) struct TlsConnector(pub(super) Tls);

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let host = details.uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned()).map_err(|_| Error::Tls("no host name"))?;
        let socket = chained.ok_or(Error::ConnectionFailed)?;
        let mut connection = ClientConnection::new(Arc::clone(&self.0.config), name)?;
        let mut socket = TransportAdapter::new(socket.boxed(), Arc::clone(&details.current_time));
        socket.set_timeout(details.timeout);
        connection.complete_io(&mut socket)?;
        let stream = StreamOwned::new(connection, socket);
        Ok(Some(Either::B(TlsTransport { stream, buffers: WipedBuffers::new() })))
    }
}

/// A connection that speaks TLS.
pub(super) struct TlsTransport {
    stream: StreamOwned<ClientConnection, TransportAdapter>,
    buffers: WipedBuffers,
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsTransport")
    }
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.sock.set_timeout(timeout);
        let output = self.buffers.output.get(..amount).unwrap_or_default();
        let Err(error) = self.stream.write_all(output) else { return Ok(()) };
        // A service that refuses our certificate says so after the handshake and hangs up, so that
        // our first write may fail: why stands in what it sent before.
        match self.stream.read(&mut [0]) {
            Err(told) if told.get_ref().is_some_and(|told| told.is::<rustls::Error>()) => {
                Err(told.into())
            }
            _ => Err(error.into()),
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.sock.set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

/// Two buffers of fixed size, wiped when dropped.
struct WipedBuffers {
    output: Zeroizing<Vec<u8>>,
    input: Zeroizing<Vec<u8>>,
    consumed: usize,
    filled: usize,
    progress: bool,
}

impl WipedBuffers {
    fn new() -> Self {
        let (output, input) = (Zeroizing::new(vec![0; OUT_SIZE]), Zeroizing::new(vec![0; IN_SIZE]));
        Self { output, input, consumed: 0, filled: 0, progress: false }
    }

    /// Moves what is not consumed yet to the front, so that all that is free is behind it.
    fn pack(&mut self) {
        self.input.copy_within(self.consumed..self.filled, 0);
        self.filled -= self.consumed;
        self.consumed = 0;
    }
}

impl Buffers for WipedBuffers {
    fn output(&mut self) -> &mut [u8] {
        &mut self.output
    }

    fn input(&self) -> &[u8] {
        self.input.get(self.consumed..self.filled).unwrap_or_default()
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        self.pack();
        self.input.get_mut(self.filled..).unwrap_or_default()
    }

    fn input_appended(&mut self, amount: usize) {
        self.filled = (self.filled + amount).min(self.input.len());
    }

    fn input_consume(&mut self, amount: usize) {
        self.progress = amount > 0;
        self.consumed = (self.consumed + amount).min(self.filled);
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        self.pack();
        (self.input.get_mut(self.filled..).unwrap_or_default(), &mut self.output)
    }

    fn can_use_input(&self) -> bool {
        self.consumed < self.filled && self.progress
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_is_there_until_it_is_consumed() {
        let mut buffers = WipedBuffers::new();
        assert!(buffers.input().is_empty() && !buffers.can_use_input());
        buffers.input_append_buf()[..6].copy_from_slice(b"abcdef");
        buffers.input_appended(6);
        assert_eq!((buffers.input(), buffers.can_use_input()), (&b"abcdef"[..], false));
        buffers.input_consume(4);
        assert_eq!((buffers.input(), buffers.can_use_input()), (&b"ef"[..], true));
        assert_eq!(buffers.input_append_buf().len(), IN_SIZE - 2);
        buffers.input_append_buf()[..1].copy_from_slice(b"g");
        buffers.input_appended(1);
        assert_eq!(buffers.input(), b"efg");
        buffers.input_consume(0);
        assert!(!buffers.can_use_input());
        buffers.input_consume(3);
        assert!(buffers.input().is_empty());
        assert_eq!(buffers.tmp_and_output().0.len(), IN_SIZE);
    }
}
