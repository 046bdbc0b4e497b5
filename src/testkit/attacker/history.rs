//! What an attacker with patience has: the file as it was after each sync. Blocks that did not
//! change from one state to the next are kept once, so that hundreds of states stay small.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::layout::PAGE_SIZE;
use crate::medium::{CacheDrop, LockKind, Medium};

type Block = Arc<[u8]>;

/// States of one file, oldest first, in blocks of one size: pages of 4096 bytes unless told
/// otherwise. A state that is equal to the one before it is not kept twice.
#[derive(Clone, Debug)]
pub struct FileHistory {
    block_size: usize,
    states: Vec<Vec<Block>>,
}

impl Default for FileHistory {
    fn default() -> Self {
        Self::with_block_size(PAGE_SIZE)
    }
}

impl FileHistory {
    /// With no state yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// For a file of another layout than strongroom's: blocks of so many bytes, at least one.
    #[must_use]
    pub fn with_block_size(bytes: usize) -> Self {
        Self { block_size: bytes.max(1), states: Vec::new() }
    }

    /// Bytes of a block.
    #[must_use]
    pub fn block_size(&self) -> usize {
        self.block_size
    }

    /// Adds the file as it is now. `false` where nothing changed since the last state.
    pub fn record(&mut self, image: &[u8]) -> bool {
        let before = self.states.last();
        let kept = |index: usize, bytes: &[u8]| {
            let same = before.and_then(|blocks| blocks.get(index)).filter(|old| ***old == *bytes);
            same.cloned()
        };
        let blocks: Vec<Block> = image
            .chunks(self.block_size)
            .enumerate()
            .map(|(index, bytes)| kept(index, bytes).unwrap_or_else(|| bytes.into()))
            .collect();
        let changed = before.is_none_or(|before| *before != blocks);
        if changed {
            self.states.push(blocks);
        }
        changed
    }

    /// How many states there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// The number of the last state.
    #[must_use]
    pub fn last(&self) -> usize {
        self.states.len().saturating_sub(1)
    }

    /// The whole file as it was in a state; empty where there is no such state.
    #[must_use]
    pub fn image(&self, state: usize) -> Vec<u8> {
        self.blocks(state).concat()
    }

    /// How many blocks the file had in a state.
    #[must_use]
    pub fn blocks_in(&self, state: usize) -> u64 {
        self.blocks(state).len() as u64
    }

    /// One block as it was in a state, if the file reached that far.
    #[must_use]
    pub fn block(&self, state: usize, block: u64) -> Option<&[u8]> {
        self.blocks(state).get(usize::try_from(block).ok()?).map(|bytes| &**bytes)
    }

    fn blocks(&self, state: usize) -> &[Block] {
        self.states.get(state).map_or(&[], Vec::as_slice)
    }

    /// Whether a block differs from what it was in the state before; the first state changed all.
    #[must_use]
    pub fn changed_in(&self, state: usize, block: u64) -> bool {
        let before = state.checked_sub(1).and_then(|before| self.block(before, block));
        self.block(state, block) != before
    }

    /// The blocks that the step to this state changed.
    #[must_use]
    pub fn changed(&self, state: usize) -> Vec<u64> {
        (0..self.blocks_in(state)).filter(|block| self.changed_in(state, *block)).collect()
    }

    /// The last state up to this one in which a block was changed.
    #[must_use]
    pub fn last_change(&self, state: usize, block: u64) -> Option<usize> {
        (0..=state).rev().find(|state| self.changed_in(*state, block))
    }

    /// For every content that a block had and has no longer, the first state that had it.
    #[must_use]
    pub fn older_versions(&self, block: u64) -> Vec<usize> {
        let mut seen = vec![self.block(self.last(), block)];
        let mut versions = Vec::new();
        for state in 0..self.last() {
            let bytes = self.block(state, block);
            if bytes.is_some() && !seen.contains(&bytes) {
                seen.push(bytes);
                versions.push(state);
            }
        }
        versions
    }

    /// The history as it stood when this state was the last one.
    #[must_use]
    pub fn up_to(&self, state: usize) -> Self {
        let states = self.states.iter().take(state.saturating_add(1)).cloned().collect();
        Self { block_size: self.block_size, states }
    }
}

/// A medium that records the whole file after every sync: put it under a database to get a history
/// of it. [`Clone`] gives a second handle on the same history.
#[derive(Clone, Debug)]
pub struct RecordingMedium<M> {
    inner: M,
    history: Arc<Mutex<FileHistory>>,
}

impl<M: Medium> RecordingMedium<M> {
    /// Around this medium, recording pages of 4096 bytes.
    #[must_use]
    pub fn new(inner: M) -> Self {
        Self::into_history(inner, FileHistory::new())
    }

    /// Around this medium, going on with a history.
    #[must_use]
    pub fn into_history(inner: M, history: FileHistory) -> Self {
        Self { inner, history: Arc::new(Mutex::new(history)) }
    }

    /// A copy of what was recorded so far.
    #[must_use]
    pub fn history(&self) -> FileHistory {
        self.kept().clone()
    }

    /// How many states were recorded so far.
    #[must_use]
    pub fn states(&self) -> usize {
        self.kept().len()
    }

    /// The medium below.
    #[must_use]
    pub fn inner(&self) -> &M {
        &self.inner
    }

    fn kept(&self) -> MutexGuard<'_, FileHistory> {
        // What was recorded stays meaningful when another thread panicked while it held it.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: Medium> Medium for RecordingMedium<M> {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.inner.write_at(offset, data)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()?;
        let len = usize::try_from(self.inner.len()?).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut image = vec![0; len];
        self.inner.read_at(0, &mut image)?;
        self.kept().record(&image);
        Ok(())
    }

    fn try_lock(&self, kind: LockKind) -> io::Result<bool> {
        self.inner.try_lock(kind)
    }

    fn unlock(&self) -> io::Result<()> {
        self.inner.unlock()
    }

    fn drop_cache(&self, offset: u64, len: u64) -> io::Result<CacheDrop> {
        self.inner.drop_cache(offset, len)
    }

    fn reached(&self, point: &'static str) {
        self.inner.reached(point);
    }
}
