//! Which older states an edited strongroom file puts back as a whole. Without a key, from places
//! and bytes alone: of a state it needs the newest root record and each group's current tag page.
//! If those are there and no newer root record is, the file is that state to everything inside it.

use super::{Attacker, Part};
use crate::units::CopyId;

impl Attacker {
    /// The older states that this file is in effect, newest first. Nothing inside the file can
    /// tell: it is a replay of the whole file, of which some pages that this state doesn't need
    /// (or can't do without and won't open) are from elsewhere.
    #[must_use]
    pub fn states_put_back(&self, file: &[u8]) -> Vec<usize> {
        let older = (0..self.history.last()).rev();
        older.filter(|state| self.holds_state(file, *state)).collect()
    }

    /// Whether this file has a state's newest root record, each of its current tag pages, and no
    /// root record of a later state of this history in the other place.
    #[must_use]
    pub fn holds_state(&self, file: &[u8], state: usize) -> bool {
        let is_there = |page: u64, wanted: Option<&[u8]>| {
            let start =
                usize::try_from(page).unwrap_or(0).saturating_mul(self.history.block_size());
            let found = file.get(start..).and_then(|rest| rest.get(..self.history.block_size()));
            found.is_some() && found == wanted
        };
        let [a, b] = CopyId::BOTH.map(|copy| Part::Root(copy).file_pages().start);
        let changed = |page| self.history.last_change(state, page);
        let (newest, other) = if changed(b) > changed(a) { (b, a) } else { (a, b) };
        let newer_root = (state.saturating_add(1)..self.history.len()).any(|later| {
            let bytes = self.history.block(later, other);
            bytes != self.history.block(state, other) && is_there(other, bytes)
        });
        is_there(newest, self.history.block(state, newest))
            && !newer_root
            && self.tag_pages(state).all(|[a, b]| {
                let current = if changed(b) > changed(a) { b } else { a };
                let wanted = self.history.block(state, current);
                is_there(a, wanted) || is_there(b, wanted)
            })
    }

    /// Both tag pages, as pages of the file, of every group that the file had in a state.
    fn tag_pages(&self, state: usize) -> impl Iterator<Item = [u64; 2]> {
        let pages = self.history.blocks_in(state);
        let len = pages.saturating_mul(self.history.block_size() as u64);
        Part::all_of(len).filter_map(move |part| match part {
            Part::TagPage(_, CopyId::A) => {
                let a = part.file_pages().start;
                (a + 1 < pages).then_some([a, a + 1])
            }
            _ => None,
        })
    }
}
