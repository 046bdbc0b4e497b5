//! The pages of redb's trees (its docs/design.md, "B+tree pages"), decoded without trust: every
//! offset is checked, nothing is allocated beyond what the page can hold, and what doesn't add up
//! is `None`. Pure.

use super::super_header::{Pointer, u32_at};

const LEAF: u8 = 1;
const BRANCH: u8 = 2;
/// Bytes of a branch page before its children.
const BRANCH_HEAD: usize = 8;
/// Bytes of a leaf page before its offsets.
const LEAF_HEAD: usize = 4;
const CHECKSUM: usize = 16;
const POINTER: usize = 8;
/// Children of a branch, each with the checksum its page must have.
pub(super) type Child = (Pointer, u128);

/// The widths of a tree's keys and values; `None` where they vary and each has its end stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Widths {
    pub(super) key: Option<usize>,
    pub(super) value: Option<usize>,
}

/// A key and a value as they lie in a leaf.
pub(super) type Row<'a> = (&'a [u8], &'a [u8]);

/// A tree page. `used` is how many of its bytes its checksum covers: up to the end of the last
/// value, or of the last routing key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Node<'a> {
    Leaf { rows: Vec<Row<'a>>, used: usize },
    Branch { children: Vec<Child>, used: usize },
}

impl<'a> Node<'a> {
    /// Decodes a page; `None` where it is no page of a tree of these widths.
    pub(super) fn decode(page: &'a [u8], widths: Widths) -> Option<Self> {
        match *page.first()? {
            LEAF => leaf(page, widths),
            BRANCH => branch(page, widths.key),
            _ => None,
        }
    }

    /// The bytes that the page's checksum covers.
    pub(super) fn used(&self) -> usize {
        match self {
            Self::Leaf { used, .. } | Self::Branch { used, .. } => *used,
        }
    }
}

/// The rows of a leaf that is written into a multimap's row instead of a page of its own.
pub(super) fn inline_rows(bytes: &[u8], widths: Widths) -> Option<Vec<Row<'_>>> {
    match Node::decode(bytes, widths)? {
        Node::Leaf { rows, .. } => Some(rows),
        Node::Branch { .. } => None,
    }
}

fn count(page: &[u8]) -> Option<usize> {
    Some(usize::from(u16::from_le_bytes(*page.get(2..)?.first_chunk()?)))
}

/// Where one column of a page's bytes ends, row by row: computed from a width, or stored.
struct Ends<'a> {
    page: &'a [u8],
    /// Where the stored ends lie.
    at: usize,
    width: Option<usize>,
    /// Where the column starts.
    start: usize,
}

impl Ends<'_> {
    fn end(&self, row: usize) -> Option<usize> {
        match self.width {
            Some(width) => self.start.checked_add(width.checked_mul(row.checked_add(1)?)?),
            None => usize::try_from(u32_at(self.page, self.at.checked_add(4 * row)?)?).ok(),
        }
    }

    fn start(&self, row: usize) -> Option<usize> {
        row.checked_sub(1).map_or(Some(self.start), |before| self.end(before))
    }
}

fn stored(width: Option<usize>, count: usize) -> usize {
    if width.is_none() { 4 * count } else { 0 }
}

fn leaf(page: &[u8], widths: Widths) -> Option<Node<'_>> {
    let count = count(page)?;
    let last = count.checked_sub(1)?;
    let value_ends_at = LEAF_HEAD + stored(widths.key, count);
    let start = value_ends_at + stored(widths.value, count);
    let keys = Ends { page, at: LEAF_HEAD, width: widths.key, start };
    let start = keys.end(last)?;
    let values = Ends { page, at: value_ends_at, width: widths.value, start };
    let mut rows = Vec::new();
    for row in 0..count {
        let key = page.get(keys.start(row)?..keys.end(row)?)?;
        rows.push((key, page.get(values.start(row)?..values.end(row)?)?));
    }
    Some(Node::Leaf { rows, used: values.end(last)? })
}

fn branch(page: &[u8], key_width: Option<usize>) -> Option<Node<'_>> {
    let keys = count(page)?;
    let last = keys.checked_sub(1)?;
    let count = keys + 1;
    let pointers_at = BRANCH_HEAD + CHECKSUM * count;
    let ends_at = pointers_at + POINTER * count;
    let mut children = Vec::new();
    for child in 0..count {
        let checksum = page.get(BRANCH_HEAD + CHECKSUM * child..)?.first_chunk()?;
        let pointer = page.get(pointers_at + POINTER * child..)?.first_chunk()?;
        children.push((Pointer(u64::from_le_bytes(*pointer)), u128::from_le_bytes(*checksum)));
    }
    let start = ends_at + stored(key_width, keys);
    let used = Ends { page, at: ends_at, width: key_width, start }.end(last)?;
    (used <= page.len()).then_some(Node::Branch { children, used })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn widths(key: Option<usize>, value: Option<usize>) -> Widths {
        Widths { key, value }
    }

    #[test]
    fn a_leaf_of_varying_and_of_fixed_widths_gives_its_rows() {
        // Two rows: "a" -> "xy", "bc" -> "".
        let ends: Vec<u8> = [21_u32, 23, 25, 25].iter().flat_map(|end| end.to_le_bytes()).collect();
        let page = [&[LEAF, 0, 2, 0][..], &ends, b"abcxy unused"].concat();
        let rows: Vec<Row> = vec![(b"a", b"xy"), (b"bc", b"")];
        let expected = Some(Node::Leaf { rows, used: 25 });
        assert_eq!(Node::decode(&page, Widths::default()), expected);
        let fixed = [&[LEAF, 0, 2, 0][..], b"abxyXY"].concat();
        let rows: Vec<Row> = vec![(b"a", b"xy"), (b"b", b"XY")];
        let expected = Some(Node::Leaf { rows, used: 10 });
        assert_eq!(Node::decode(&fixed, widths(Some(1), Some(2))), expected);
        assert_eq!(Node::decode(&fixed, widths(Some(1), Some(3))), None, "beyond the end");
        assert_eq!(Node::decode(&fixed, widths(Some(usize::MAX), Some(1))), None);
    }

    #[test]
    fn a_branch_gives_its_children() {
        let mut page = vec![BRANCH, 0, 1, 0, 0, 0, 0, 0];
        page.extend(7_u128.to_le_bytes());
        page.extend(8_u128.to_le_bytes());
        page.extend(70_u64.to_le_bytes());
        page.extend(80_u64.to_le_bytes());
        page.extend(b"key");
        let children = vec![(Pointer(70), 7), (Pointer(80), 8)];
        let used = page.len();
        let expected = Some(Node::Branch { children, used });
        assert_eq!(Node::decode(&page, widths(Some(3), None)), expected);
        assert_eq!(Node::decode(&page, widths(Some(4), None)), None, "beyond the end");
        assert_eq!(Node::decode(&page[..40], widths(Some(3), None)), None);
    }

    #[test]
    fn no_bytes_panic() {
        let mut state = 1_u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let mut decoded = 0;
        for _ in 0..20_000 {
            let mut page = vec![0; usize::from(random()) + 1];
            page.fill_with(&mut random);
            // As near to a tree page as chance comes: the type, few rows, small offsets.
            page[0] = 1 + page[0] % 2;
            for (at, byte) in page.iter_mut().enumerate().skip(2) {
                *byte = match at {
                    2 => *byte % 8,
                    3 => 0,
                    _ if at % 4 == 0 => *byte,
                    _ => *byte & 1 & random(),
                };
            }
            let mut width = || Some(random()).filter(|byte| byte % 3 > 0);
            let (key, value) = (width().map(|w| usize::from(w % 7)), width().map(usize::from));
            decoded += usize::from(Node::decode(&page, widths(key, value)).is_some());
        }
        assert!(decoded > 500, "{decoded}: the pages are too far from real ones");
    }
}
