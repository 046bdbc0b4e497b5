//! An anchor in memory, for tests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Anchor;
use crate::error::AnchorFault;

#[derive(Debug, Default)]
struct Memory {
    name: Vec<u8>,
    count: u64,
    advances: u64,
    fault: Option<AnchorFault>,
}

/// An anchor that lives as long as the process: for tests. A clone is the same anchor. It can be
/// made to fail, and to be put back, as no real one may be.
#[derive(Clone, Debug)]
pub struct MemoryAnchor {
    memory: Arc<Mutex<Memory>>,
}

impl MemoryAnchor {
    /// A new one of this name that stands at 0.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let memory = Memory { name: name.as_bytes().to_vec(), ..Memory::default() };
        Self { memory: Arc::new(Mutex::new(memory)) }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers every question with this fault from now on, or as it should again.
    pub fn fail(&self, fault: Option<AnchorFault>) {
        self.memory().fault = fault;
    }

    /// Where it stands.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.memory().count
    }

    /// How often it was advanced.
    #[must_use]
    pub fn advances(&self) -> u64 {
        self.memory().advances
    }

    /// Puts it elsewhere, down as well.
    pub fn set(&self, count: u64) {
        self.memory().count = count;
    }
}

impl Memory {
    fn check(&self) -> Result<(), AnchorFault> {
        self.fault.clone().map_or(Ok(()), Err)
    }
}

impl Anchor for MemoryAnchor {
    fn identity(&self) -> Result<Vec<u8>, AnchorFault> {
        let memory = self.memory();
        memory.check()?;
        Ok(memory.name.clone())
    }

    fn read(&self) -> Result<u64, AnchorFault> {
        let memory = self.memory();
        memory.check()?;
        Ok(memory.count)
    }

    fn advance(&self, to: u64) -> Result<(), AnchorFault> {
        let mut memory = self.memory();
        memory.check()?;
        if memory.count.checked_add(1) != Some(to) {
            return Err(AnchorFault::OutOfStep { found: memory.count, asked: to });
        }
        memory.count = to;
        memory.advances = memory.advances.saturating_add(1);
        Ok(())
    }
}
