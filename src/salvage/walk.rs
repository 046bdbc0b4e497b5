//! Walks a tree of redb's from its root, page by page, as far as pages can be read. A page counts
//! only if it has the checksum that its parent (or the commit slot, or the table's definition) has
//! for it: authentic pages of another time, which an older root record leads to, are passed over, so
//! that everything that comes out is of one commit.
//!
//! Bounded whatever the pages say: no page is visited twice, no tree is deeper than redb's deepest,
//! and nothing is read beyond the end.

use std::collections::HashSet;

use super::node::{Child, Node, Row, Widths, inline_rows};
use super::super_header::{Geometry, Root};
use super::xxh3;
use crate::layout::PAGE_SIZE;
use crate::units::PageNo;

/// Where pages come from.
pub(super) trait Pages {
    /// Fills `out` with a page, authentic; `false` where it can't be read.
    fn read(&self, page: PageNo, out: &mut [u8; PAGE_SIZE]) -> bool;

    /// The number of pages that there can be.
    fn end(&self) -> u64;

    /// Whether a page that can't be read was torn by a crash, for all that is known.
    fn was_in_flight(&self, page: PageNo) -> bool {
        let _ = page;
        false
    }

    /// Whether there can be such pages at all.
    fn any_in_flight(&self) -> bool {
        false
    }
}

/// redb's own limit (its `MAX_BTREE_DEPTH`).
const DEPTH_MAX: usize = 128;

/// Why a tree page was passed over, and all that lies below it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Loss {
    /// Pages of it that can't be read.
    Unreadable,
    /// It reads, and is not what its parent points to: of another time.
    OtherTime,
    /// Its parent points nowhere, or where the walk has been.
    Astray,
}

/// A tree page that was passed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LostNode {
    pub(super) first: PageNo,
    pub(super) pages: u64,
    pub(super) loss: Loss,
}

/// A walk through the trees of one commit.
pub(super) struct Walk<'a> {
    pages: &'a dyn Pages,
    geometry: Geometry,
    visited: HashSet<u64>,
    pub(super) lost: Vec<LostNode>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(pages: &'a dyn Pages, geometry: Geometry) -> Self {
        Self { pages, geometry, visited: HashSet::new(), lost: Vec::new() }
    }

    /// Whether a root page is there.
    pub(super) fn can_read(&self, root: Root, widths: Widths) -> bool {
        self.read((root.at, root.checksum), widths).is_ok()
    }

    /// Visits the leaves of a tree in order, as far as they can be reached.
    ///
    /// # Errors
    /// What `visit` says, at once.
    pub(super) fn leaves<E>(
        &mut self,
        root: Root,
        widths: Widths,
        mut visit: impl FnMut(&mut Self, &[Row<'_>]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut ahead = vec![(0, (root.at, root.checksum))];
        while let Some((depth, child)) = ahead.pop() {
            let bytes = match self.visit_once(child, widths, depth) {
                Ok(bytes) => bytes,
                Err(lost) => {
                    self.lost.push(lost);
                    continue;
                }
            };
            match Node::decode(&bytes, widths) {
                Some(Node::Leaf { rows, .. }) => visit(self, &rows)?,
                Some(Node::Branch { children, .. }) => {
                    ahead.extend(children.into_iter().rev().map(|child| (depth + 1, child)));
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Visits the rows of a multimap's row: those written into it, or of a tree of their own.
    ///
    /// # Errors
    /// What `visit` says.
    pub(super) fn collection<E>(
        &mut self,
        collection: &[u8],
        widths: Widths,
        mut visit: impl FnMut(&[Row<'_>]) -> Result<(), E>,
    ) -> Result<(), E> {
        const INLINE: u8 = 1;
        const SUBTREE: u8 = 3;
        match collection.split_first() {
            Some((&INLINE, leaf)) => inline_rows(leaf, widths).map_or(Ok(()), |rows| visit(&rows)),
            Some((&SUBTREE, root)) => match root.first_chunk() {
                Some(root) => self.leaves(Root::decode(root), widths, |_, rows| visit(rows)),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn visit_once(
        &mut self,
        child: Child,
        widths: Widths,
        depth: usize,
    ) -> Result<Vec<u8>, LostNode> {
        let bytes = self.read(child, widths)?;
        let Some(pages) = self.geometry.pages(child.0) else { return Err(ASTRAY) };
        if depth >= DEPTH_MAX || !self.visited.insert(pages.start) {
            return Err(ASTRAY);
        }
        Ok(bytes)
    }

    // The bytes of a tree page that has the right checksum. What is torn behind the bytes that the
    // checksum covers doesn't matter: redb leaves the rest of a page as it was.
    fn read(&self, (pointer, checksum): Child, widths: Widths) -> Result<Vec<u8>, LostNode> {
        let pages = self.geometry.pages(pointer).filter(|pages| pages.end <= self.pages.end());
        let Some(pages) = pages else { return Err(ASTRAY) };
        let (mut bytes, mut whole) = (Vec::new(), true);
        for page in pages.clone().map(PageNo) {
            let mut room = [0; PAGE_SIZE];
            if !self.pages.read(page, &mut room) {
                room.fill(0);
                whole = false;
            }
            bytes.extend_from_slice(&room);
        }
        let used = Node::decode(&bytes, widths).map(|node| node.used());
        let covered = used.and_then(|used| bytes.get(..used));
        if covered.and_then(xxh3::checksum) == Some(checksum) {
            return Ok(bytes);
        }
        let loss = if whole { Loss::OtherTime } else { Loss::Unreadable };
        let count = pages.end.saturating_sub(pages.start);
        Err(LostNode { first: PageNo(pages.start), pages: count, loss })
    }
}

const ASTRAY: LostNode = LostNode { first: PageNo(0), pages: 0, loss: Loss::Astray };
