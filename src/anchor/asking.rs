//! How an anchor is asked: on a thread of its own, so that one that hangs or panics is a fault like
//! any other and never holds the database up for longer than it was given.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use super::Anchor;
use crate::error::AnchorFault;

/// How long one answer may take unless told otherwise.
pub(crate) const ANCHOR_TIMEOUT: Duration = Duration::from_secs(30);

/// An anchor and how long each answer may take.
#[derive(Clone, Debug)]
pub(crate) struct AskedAnchor {
    pub(crate) anchor: Arc<dyn Anchor>,
    pub(crate) timeout: Duration,
}

impl AskedAnchor {
    /// # Errors
    /// [`AnchorFault`].
    pub(crate) fn identity(&self) -> Result<Vec<u8>, AnchorFault> {
        let identity = self.ask(|anchor| anchor.identity())?;
        if identity.is_empty() {
            return Err(AnchorFault::Denied("it has no identity".to_owned()));
        }
        Ok(identity)
    }

    /// # Errors
    /// [`AnchorFault`].
    pub(crate) fn read(&self) -> Result<u64, AnchorFault> {
        self.ask(|anchor| anchor.read())
    }

    /// # Errors
    /// [`AnchorFault`].
    pub(crate) fn advance(&self, to: u64) -> Result<(), AnchorFault> {
        self.ask(move |anchor| anchor.advance(to))
    }

    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Anchor) -> Result<T, AnchorFault> + Send + 'static,
    ) -> Result<T, AnchorFault> {
        let (sender, receiver) = sync_channel(1);
        let anchor = Arc::clone(&self.anchor);
        thread::Builder::new()
            .name("strongroom-anchor".to_owned())
            .spawn(move || {
                // Nobody may be waiting any more.
                let _ = sender.send(question(&*anchor));
            })
            .map_err(|_| AnchorFault::NoThread)?;
        // A panic unwinds the thread and drops the sender without an answer.
        receiver.recv_timeout(self.timeout).unwrap_or_else(|error| {
            Err(match error {
                RecvTimeoutError::Timeout => AnchorFault::TimedOut { after: self.timeout },
                RecvTimeoutError::Disconnected => AnchorFault::Panicked,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Broken;

    impl Anchor for Broken {
        fn identity(&self) -> Result<Vec<u8>, AnchorFault> {
            Ok(Vec::new())
        }

        fn read(&self) -> Result<u64, AnchorFault> {
            panic!("on purpose")
        }

        fn advance(&self, _to: u64) -> Result<(), AnchorFault> {
            thread::sleep(Duration::from_millis(500));
            Ok(())
        }
    }

    #[test]
    fn one_that_hangs_panics_or_has_no_name_is_a_fault() {
        let timeout = Duration::from_millis(20);
        let asked = AskedAnchor { anchor: Arc::new(Broken), timeout };
        assert!(matches!(asked.identity(), Err(AnchorFault::Denied(_))));
        assert_eq!(asked.advance(1), Err(AnchorFault::TimedOut { after: timeout }));
        let asked = AskedAnchor { timeout: Duration::from_secs(5), ..asked };
        assert_eq!(asked.read(), Err(AnchorFault::Panicked));
    }
}
