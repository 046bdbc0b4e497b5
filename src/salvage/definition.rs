//! A table's definition as it stands in redb's tree of tables: its kind, how many rows it has, where
//! its tree begins, and the types of its keys and values by name and width. Pure.

use super::node::Widths;
use super::super_header::{Root, u32_at};

const NORMAL: u8 = 3;
const MULTIMAP: u8 = 4;
/// A type as a table definition names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct StoredType {
    /// Who defined it, and in which spelling: 1, 3 and 4 are redb's own, 2 is the application's.
    pub(super) class: u8,
    pub(super) name: String,
}

impl StoredType {
    /// The class of the application's types, as opposed to redb's own.
    pub(super) const USER_DEFINED: u8 = 2;

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (class, name) = bytes.split_first()?;
        let name = String::from_utf8(name.to_vec()).ok()?;
        (1..=4).contains(class).then_some(Self { class: *class, name })
    }

    /// Whether the application defined it.
    pub(super) fn is_user_defined(&self) -> bool {
        self.class == Self::USER_DEFINED
    }

    /// As redb stores it.
    pub(super) fn encode(&self) -> Vec<u8> {
        [&[self.class], self.name.as_bytes()].concat()
    }
}

/// A table that the tree of tables lists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) multimap: bool,
    /// Rows that the table had; in a multimap, values of all keys.
    pub(super) rows: u64,
    pub(super) root: Option<Root>,
    pub(super) widths: Widths,
    pub(super) key: StoredType,
    pub(super) value: StoredType,
}

impl Definition {
    /// Decodes a row of the tree of tables; `None` where it is no definition of redb 4.6's.
    pub(super) fn decode((name, bytes): (&[u8], &[u8])) -> Option<Self> {
        let mut reader = Reader { bytes };
        let kind = reader.take(1)?.first()?;
        let rows = u64::from_le_bytes(*reader.take(8)?.first_chunk()?);
        let has_root = reader.flag()?;
        let root = Root::decode(reader.take(32)?.first_chunk()?);
        let widths = Widths { key: reader.width()?, value: reader.width()? };
        let unaligned = reader.u32()? == 1 && reader.u32()? == 1;
        let key_len = usize::try_from(reader.u32()?).ok()?;
        let key = StoredType::decode(reader.take(key_len)?)?;
        let value = StoredType::decode(reader.bytes)?;
        ([NORMAL, MULTIMAP].contains(kind) && unaligned).then_some(Self {
            name: String::from_utf8(name.to_vec()).ok()?,
            multimap: *kind == MULTIMAP,
            rows,
            root: has_root.then_some(root),
            widths,
            key,
            value,
        })
    }

    /// Whether it is one of redb's own, about savepoints and free pages.
    pub(super) fn is_of_redb(&self) -> bool {
        let internal =
            |side: &StoredType| !side.is_user_defined() && side.name.starts_with("redb::");
        internal(&self.key) || internal(&self.value)
    }

    /// The widths of the pages of the table's own tree: a multimap keeps collections of values
    /// there, whose widths vary.
    pub(super) fn tree_widths(&self) -> Widths {
        Widths { value: self.widths.value.filter(|_| !self.multimap), ..self.widths }
    }

    /// The widths of a tree of the values of one key of a multimap.
    pub(super) fn collection_widths(&self) -> Widths {
        Widths { key: self.widths.value, value: Some(0) }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.bytes.split_at_checked(len)?;
        self.bytes = rest;
        Some(head)
    }

    fn flag(&mut self) -> Option<bool> {
        Some(*self.take(1)?.first()? != 0)
    }

    fn u32(&mut self) -> Option<u32> {
        u32_at(self.take(4)?, 0)
    }

    fn width(&mut self) -> Option<Option<usize>> {
        let (fixed, width) = (self.flag()?, self.u32()?);
        Some(if fixed { Some(usize::try_from(width).ok()?) } else { None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(kind: u8) -> Vec<u8> {
        let mut bytes = vec![kind];
        bytes.extend(5_u64.to_le_bytes());
        bytes.push(1);
        bytes.extend([7; 32]);
        bytes.extend([1, 8, 0, 0, 0]);
        bytes.extend([0; 5]);
        bytes.extend([1, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0]);
        bytes.extend(b"\x01u64\x02mine");
        bytes
    }

    #[test]
    fn a_definition_decodes_and_anything_shorter_does_not() {
        let found = Definition::decode((b"notes", &bytes(NORMAL))).unwrap();
        assert_eq!((found.name.as_str(), found.rows, found.multimap), ("notes", 5, false));
        assert_eq!(found.tree_widths(), Widths { key: Some(8), value: None });
        assert_eq!((found.key.class, found.key.name.as_str()), (1, "u64"));
        assert!(found.value.is_user_defined() && found.value.encode() == b"\x02mine");
        assert!(Definition::decode((b"notes", &bytes(MULTIMAP))).unwrap().multimap);
        let whole = bytes(NORMAL);
        for len in 0..whole.len() - 4 {
            assert_eq!(Definition::decode((b"notes", &whole[..len])), None, "{len}");
        }
        assert_eq!(Definition::decode((b"notes", &bytes(1))), None, "a table of format 1");
        assert_eq!(Definition::decode((b"\xff", &whole)), None, "no name");
    }
}
