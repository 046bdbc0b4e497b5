//! A plain redb file seen through a layer of our own: reads come from the medium, writes stay in
//! memory. So redb can check or repair a file that must not be changed, and what it made of it can
//! be read afterwards.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

use redb::{BackendError, StorageBackend};

use crate::layout::{PAGE_BYTES, PAGE_SIZE};
use crate::medium::Medium;

type Page = Box<[u8; PAGE_SIZE]>;

#[derive(Debug)]
struct Layer {
    /// Pages that redb wrote, by number.
    written: BTreeMap<u64, Page>,
    len: u64,
    /// The medium's bytes count up to here; a length cut and grown again reads as zeros.
    base_len: u64,
}

/// A view of a medium that never writes to it. Clones are the same view.
#[derive(Clone, Debug)]
pub(super) struct Overlay {
    medium: Arc<dyn Medium>,
    layer: Arc<RwLock<Layer>>,
}

impl Overlay {
    pub(super) fn over(medium: Arc<dyn Medium>) -> io::Result<Self> {
        let len = medium.len()?;
        let layer = Layer { written: BTreeMap::new(), len, base_len: len };
        Ok(Self { medium, layer: Arc::new(RwLock::new(layer)) })
    }

    /// Bytes of the view.
    pub(super) fn length(&self) -> u64 {
        self.layer.read().unwrap_or_else(PoisonError::into_inner).len
    }

    /// Fills `out` with the bytes at `offset`.
    pub(super) fn fill(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let layer = self.layer.read().unwrap_or_else(PoisonError::into_inner);
        let end = offset.saturating_add(out.len() as u64);
        if end > layer.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let there = layer.base_len.saturating_sub(offset).min(out.len() as u64);
        let (old, new) = out.split_at_mut(usize::try_from(there).unwrap_or(0));
        self.medium.read_at(offset, old)?;
        new.fill(0);
        let pages = offset / PAGE_BYTES..end.div_ceil(PAGE_BYTES);
        for (number, page) in layer.written.range(pages) {
            overlap(number * PAGE_BYTES, offset, page.as_slice(), out);
        }
        Ok(())
    }

    fn page(&self, layer: &Layer, number: u64) -> io::Result<Page> {
        let mut page = Box::new([0; PAGE_SIZE]);
        let start = number * PAGE_BYTES;
        let there = layer.base_len.saturating_sub(start).min(PAGE_BYTES);
        let room = page.get_mut(..usize::try_from(there).unwrap_or(0)).unwrap_or_default();
        self.medium.read_at(start, room)?;
        Ok(page)
    }
}

/// Copies what `from`, which lies at `from_at`, has of the bytes of `to`, which lies at `to_at`.
fn overlap(from_at: u64, to_at: u64, from: &[u8], to: &mut [u8]) {
    let skip = |first: u64, second: u64| usize::try_from(second.saturating_sub(first));
    let (Ok(in_from), Ok(in_to)) = (skip(from_at, to_at), skip(to_at, from_at)) else { return };
    let from = from.get(in_from..).unwrap_or_default();
    let to = to.get_mut(in_to..).unwrap_or_default();
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.length())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.fill(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut layer = self.layer.write().unwrap_or_else(PoisonError::into_inner);
        let kept = len.div_ceil(PAGE_BYTES);
        layer.written.retain(|number, _| *number < kept);
        layer.len = len;
        layer.base_len = layer.base_len.min(len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut layer = self.layer.write().unwrap_or_else(PoisonError::into_inner);
        let end = offset.saturating_add(data.len() as u64);
        if end > layer.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for number in offset / PAGE_BYTES..end.div_ceil(PAGE_BYTES) {
            let mut page = match layer.written.remove(&number) {
                Some(page) => page,
                None => self.page(&layer, number)?,
            };
            overlap(offset, number * PAGE_BYTES, data, page.as_mut_slice());
            layer.written.insert(number, page);
        }
        Ok(())
    }

    // The medium was locked before redb asks for all of it; ranges are for its multi-process modes.
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        grant_whole_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        grant_whole_range(start, end)
    }

    fn unlock_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
}

fn grant_whole_range(start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
    match (start, end) {
        (Bound::Unbounded | Bound::Included(0), Bound::Unbounded) => Ok(true),
        _ => Err(BackendError::Unsupported),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::medium::MemoryMedium;

    #[test]
    fn writes_stay_in_the_layer_and_reads_see_them() {
        let medium = MemoryMedium::from_bytes(vec![1; 3 * PAGE_SIZE]);
        let view = Overlay::over(Arc::new(medium.clone())).unwrap();
        view.write(4090, &[2; 10]).unwrap();
        let mut seen = vec![0; 3 * PAGE_SIZE];
        view.fill(0, &mut seen).unwrap();
        let mut expected = vec![1; 3 * PAGE_SIZE];
        expected[4090..4100].fill(2);
        assert!(seen == expected);
        let mut part = [0; 7];
        view.fill(4095, &mut part).unwrap();
        assert_eq!(part, [2, 2, 2, 2, 2, 1, 1]);
        assert_eq!(medium.to_bytes(), vec![1; 3 * PAGE_SIZE], "the medium is as it was");
    }

    #[test]
    fn what_was_cut_comes_back_as_zeros() {
        let medium = MemoryMedium::from_bytes(vec![1; 2 * PAGE_SIZE]);
        let view = Overlay::over(Arc::new(medium)).unwrap();
        view.write(PAGE_BYTES, &[2; 4]).unwrap();
        view.set_len(PAGE_BYTES).unwrap();
        view.set_len(3 * PAGE_BYTES).unwrap();
        let mut seen = vec![9; 2 * PAGE_SIZE];
        view.fill(PAGE_BYTES, &mut seen).unwrap();
        assert!(seen.iter().all(|byte| *byte == 0));
        assert!(view.fill(2 * PAGE_BYTES, &mut seen).is_err(), "past the end");
    }
}
