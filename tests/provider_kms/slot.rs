//! A slot's secret as the provider wrapped it, so that a test can have it unwrapped without a file
//! in between, on its own thread.

use std::fmt;
use std::sync::{Arc, Mutex};

use strongroom::medium::MemoryMedium;
use strongroom::providers::kms::{TransitKey, TransitOptions};
use strongroom::{Builder, KeyProvider, OpenError, ProviderError, ProviderSlot, SlotSecret};

pub struct Wrapped {
    pub slot: ProviderSlot,
    pub blob: Vec<u8>,
    pub secret: [u8; 32],
}

/// Looks on while the key is asked.
struct Spy(Arc<TransitKey>, Mutex<Option<Wrapped>>);

impl fmt::Debug for Spy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl KeyProvider for Spy {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn wrap_secret(
        &self,
        slot: &ProviderSlot,
        secret: &SlotSecret,
    ) -> Result<Vec<u8>, ProviderError> {
        let blob = self.0.wrap_secret(slot, secret)?;
        let wrapped = Wrapped { slot: slot.clone(), blob: blob.clone(), secret: *secret.expose() };
        *self.1.lock().unwrap() = Some(wrapped);
        Ok(blob)
    }

    fn unwrap_secret(&self, slot: &ProviderSlot, blob: &[u8]) -> Result<SlotSecret, ProviderError> {
        self.0.unwrap_secret(slot, blob)
    }
}

/// Makes a file whose only slot is this key's.
pub fn made_with(key: TransitKey) -> Result<Wrapped, OpenError> {
    let spy = Arc::new(Spy(Arc::new(key), Mutex::default()));
    let db = Builder::new().create_on(MemoryMedium::new(), &spy)?;
    drop(db);
    Ok(spy.1.lock().unwrap().take().unwrap())
}

impl Wrapped {
    /// `Ok` means: the very secret.
    pub fn unwrap_by(&self, key: &TransitKey) -> Result<(), ProviderError> {
        let secret = key.unwrap_secret(&self.slot, &self.blob)?;
        assert_eq!(secret.expose(), &self.secret);
        Ok(())
    }

    pub fn unwrap_with(&self, options: TransitOptions) -> Result<(), ProviderError> {
        self.unwrap_by(&TransitKey::new(options).unwrap())
    }

    /// The words of the error, which must be of this kind.
    pub fn refused(&self, options: TransitOptions, kind: &str) -> String {
        words(self.unwrap_with(options), kind)
    }
}

/// What an error says, which must be of this kind.
pub fn words<T>(outcome: Result<T, ProviderError>, kind: &str) -> String {
    match outcome {
        Ok(_) => panic!("it worked"),
        Err(error) => {
            assert!(format!("{error:?}").starts_with(kind), "{kind}: {error:?}");
            error.to_string()
        }
    }
}
