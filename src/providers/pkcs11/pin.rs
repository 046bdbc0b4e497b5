//! The PIN: taken once from where it is, kept in locked memory, and never tried again once a token
//! refused it. A token counts wrong attempts and locks itself for good.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cryptoki::types::RawAuthPin;
use zeroize::Zeroizing;

use super::error::Pkcs11Error;
use crate::secret::SecretBytes;

/// More than any token takes: enough to see that a file is not one with a PIN.
const PIN_LEN_MAX: u64 = 256;

/// A PIN in locked memory, wiped when it is dropped.
pub struct Pin(SecretBytes);

impl Pin {
    /// Copies the PIN; the caller's copy is the caller's to wipe.
    ///
    /// # Errors
    /// The system gave no memory.
    pub fn new(pin: impl AsRef<[u8]>) -> io::Result<Self> {
        SecretBytes::copy_of(pin.as_ref()).map(Self)
    }

    /// Reads a file with the PIN and perhaps a newline behind it.
    ///
    /// # Errors
    /// It can't be read, is empty, or is longer than 256 bytes.
    pub fn read(path: impl AsRef<Path>) -> io::Result<Self> {
        // Room for all of it at once: a vector that grows leaves copies behind.
        let mut content = Zeroizing::new(Vec::with_capacity(512));
        File::open(path)?.take(PIN_LEN_MAX + 1).read_to_end(&mut content)?;
        let pin = content.strip_suffix(b"\n").unwrap_or(&content);
        let pin = pin.strip_suffix(b"\r").unwrap_or(pin);
        if pin.is_empty() || content.len() > 256 {
            let what = "a file with a PIN has 1 to 256 bytes";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Self::new(pin)
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin")
    }
}

type Ask = Box<dyn FnOnce() -> io::Result<Pin> + Send>;

/// Where the PIN is to come from, and what became of it.
enum State {
    /// There is none: a token without a login, or a reader with keys of its own.
    None,
    File(PathBuf),
    Ask(Ask),
    Kept(Pin),
    /// It could not be had, and nobody is asked again.
    Unreadable(String),
    /// A token refused it. It is wiped.
    Refused,
}

/// The PIN of one provider.
pub(super) struct PinKeeper(Mutex<State>);

impl PinKeeper {
    pub(super) fn none() -> Self {
        Self(Mutex::new(State::None))
    }

    pub(super) fn kept(pin: Pin) -> Self {
        Self(Mutex::new(State::Kept(pin)))
    }

    pub(super) fn file(path: PathBuf) -> Self {
        Self(Mutex::new(State::File(path)))
    }

    pub(super) fn ask(ask: impl FnOnce() -> io::Result<Pin> + Send + 'static) -> Self {
        Self(Mutex::new(State::Ask(Box::new(ask))))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is one to be had.
    pub(super) fn is_there(&self) -> bool {
        !matches!(*self.state(), State::None)
    }

    /// Whether somebody has to be asked first, who may take his time.
    pub(super) fn is_to_be_asked(&self) -> bool {
        matches!(*self.state(), State::Ask(_))
    }

    /// # Errors
    /// [`Pkcs11Error::PinRefusedBefore`]: the token need not be asked at all.
    pub(super) fn check_not_refused(&self) -> Result<(), Pkcs11Error> {
        match *self.state() {
            State::Refused => Err(Pkcs11Error::PinRefusedBefore),
            _ => Ok(()),
        }
    }

    /// The PIN for one attempt; asks for it the first time.
    ///
    /// # Errors
    /// There is none, it can't be had, or it was refused.
    pub(super) fn take(&self) -> Result<RawAuthPin, Pkcs11Error> {
        let mut state = self.state();
        let got = match std::mem::replace(&mut *state, State::None) {
            State::File(path) => {
                Pin::read(&path).map_err(|error| format!("{}: {error}", path.display()))
            }
            State::Ask(ask) => ask().map_err(|error| error.to_string()),
            State::Kept(pin) => Ok(pin),
            State::Unreadable(why) => Err(why),
            State::None => return Err(Pkcs11Error::PinMissing),
            State::Refused => {
                *state = State::Refused;
                return Err(Pkcs11Error::PinRefusedBefore);
            }
        };
        let exposed = got.and_then(|pin| match pin.0.expose() {
            Ok(bytes) => {
                let copy = RawAuthPin::new(Box::new(bytes.to_vec()));
                Ok((copy, pin))
            }
            Err(error) => Err(error.to_string()),
        });
        match exposed {
            Ok((copy, pin)) => {
                *state = State::Kept(pin);
                Ok(copy)
            }
            Err(why) => {
                *state = State::Unreadable(why.clone());
                Err(Pkcs11Error::PinUnreadable(why))
            }
        }
    }

    /// The token refused it: it is wiped and never tried again.
    pub(super) fn refused(&self) {
        *self.state() = State::Refused;
    }
}

impl fmt::Debug for PinKeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never waits: somebody may be typing it.
        let state = self.0.try_lock();
        f.write_str(match state.as_deref() {
            Ok(State::None) => "no PIN",
            _ => "a PIN",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn a_pin_is_asked_for_once_and_gone_once_it_was_refused() {
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let keeper = PinKeeper::ask(move || {
            count.fetch_add(1, Ordering::SeqCst);
            Pin::new("1234")
        });
        assert!(
            keeper.is_to_be_asked() && asked.load(Ordering::SeqCst) == 0,
            "not before it is needed"
        );
        assert!(keeper.take().is_ok() && keeper.take().is_ok());
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert!(keeper.is_there() && !keeper.is_to_be_asked());
        assert_eq!(keeper.check_not_refused(), Ok(()));
        keeper.refused();
        assert_eq!(keeper.check_not_refused(), Err(Pkcs11Error::PinRefusedBefore));
        for _ in 0..2 {
            assert_eq!(keeper.take().map(drop), Err(Pkcs11Error::PinRefusedBefore));
        }
    }

    #[test]
    fn a_pin_that_can_not_be_had_is_asked_for_once() {
        let keeper = PinKeeper::ask(|| Err(io::Error::other("no terminal")));
        for _ in 0..2 {
            let error = keeper.take().map(drop).unwrap_err();
            assert_eq!(error, Pkcs11Error::PinUnreadable("no terminal".to_owned()));
        }
        assert_eq!(PinKeeper::none().take().map(drop), Err(Pkcs11Error::PinMissing));
    }

    #[test]
    fn a_pin_file_is_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pin");
        for (content, pin) in [
            ("1234", Some("1234")),
            ("1234\n", Some("1234")),
            ("1234\r\n", Some("1234")),
            (" 12 34 \n", Some(" 12 34 ")),
            ("1234\n\n", Some("1234\n")),
            ("", None),
            ("\n", None),
            (&"1".repeat(256), Some(&*"1".repeat(256))),
            (&"1".repeat(257), None),
        ] {
            std::fs::write(&path, content).unwrap();
            let read = Pin::read(&path).ok();
            let read = read.as_ref().map(|pin| pin.0.expose().unwrap());
            assert_eq!(read, pin.map(str::as_bytes), "{content:?}");
        }
        assert!(Pin::read(folder.path().join("none")).is_err());
    }

    #[test]
    fn debug_shows_no_pin() {
        let pin = || Pin::new("1234").unwrap();
        assert_eq!(format!("{:?} {:?}", pin(), PinKeeper::kept(pin())), "Pin a PIN");
    }
}
