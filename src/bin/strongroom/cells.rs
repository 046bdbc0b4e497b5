//! Tables whose keys and values the command line can read: bytes, text and unsigned integers, in
//! any combination. A table's types are asked of redb by name; what else there is in a file is shown
//! by `tables` and left alone.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, ControlFlow};

use strongroom::redb::{
    Key, MultimapTableDefinition, MultimapTableHandle, ReadTransaction, ReadableTable, Table,
    TableDefinition, TableError, TableHandle, WriteTransaction,
};

use crate::exit::Exit;
use crate::failure::Failure;

/// A type of keys or values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CellType {
    Bytes,
    Text,
    U64,
    U32,
}

impl CellType {
    const ALL: [Self; 4] = [Self::Bytes, Self::Text, Self::U64, Self::U32];

    /// As it is written on the command line and in dumps.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Text => "str",
            Self::U64 => "u64",
            Self::U32 => "u32",
        }
    }

    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cell_type| cell_type.name() == name)
    }

    /// By redb's name for it.
    fn by_redb_name(name: &str) -> Option<Self> {
        match name {
            "&[u8]" => Some(Self::Bytes),
            "&str" => Some(Self::Text),
            "u64" => Some(Self::U64),
            "u32" => Some(Self::U32),
            _ => None,
        }
    }
}

/// The types of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TableTypes {
    pub(crate) key: CellType,
    pub(crate) value: CellType,
}

impl fmt::Display for TableTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.key.name(), self.value.name())
    }
}

impl std::str::FromStr for TableTypes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let types = text.split_once(':').and_then(|(key, value)| {
            Some(Self { key: CellType::by_name(key)?, value: CellType::by_name(value)? })
        });
        types.ok_or_else(|| {
            "two types, KEY:VALUE, each of bytes, str, u64 and u32: `str:bytes`".to_owned()
        })
    }
}

/// A key or a value. Not `Debug`: it is what nobody else shall see.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    Bytes(Vec<u8>),
    Text(String),
    U64(u64),
    U32(u32),
}

impl Cell {
    pub(crate) fn cell_type(&self) -> CellType {
        match self {
            Self::Bytes(_) => CellType::Bytes,
            Self::Text(_) => CellType::Text,
            Self::U64(_) => CellType::U64,
            Self::U32(_) => CellType::U32,
        }
    }

    /// About what it takes in memory and in the file.
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Text(text) => text.len(),
            Self::U64(_) => 8,
            Self::U32(_) => 4,
        }
    }
}

/// What a table is: redb's names of its types, and ours where the command line can read it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TableLook {
    pub(crate) multimap: bool,
    pub(crate) key: String,
    pub(crate) value: String,
}

impl TableLook {
    pub(crate) fn types(&self) -> Option<TableTypes> {
        let of = CellType::by_redb_name;
        match self.multimap {
            true => None,
            false => Some(TableTypes { key: of(&self.key)?, value: of(&self.value)? }),
        }
    }

    /// The types, or why the table can't be read here.
    pub(crate) fn readable(&self, table: &str) -> Result<TableTypes, Failure> {
        self.types().ok_or_else(|| {
            let kind = if self.multimap { "a multimap table" } else { "a table" };
            Failure::refused(format!(
                "{table:?} is {kind} of {} to {}: only tables of bytes, str, u64 and u32 can be \
                 read here",
                self.key, self.value
            ))
            .hint("the application that wrote it knows its types")
        })
    }
}

fn no_table(table: &str) -> Failure {
    Failure::not_found(format!("there is no table {table:?}"))
        .hint("`strongroom tables FILE` lists those there are")
}

// Opening a table under types that it doesn't have tells which it has; `()` is nobody's key.
fn looked(
    table: &str,
    multimap: bool,
    opened: Result<(), TableError>,
) -> Result<TableLook, Failure> {
    let look = |key: &str, value: &str| TableLook {
        multimap,
        key: key.to_owned(),
        value: value.to_owned(),
    };
    match opened {
        Ok(()) => Ok(look("()", "()")),
        Err(TableError::TableTypeMismatch { key, value, .. }) => Ok(look(key.name(), value.name())),
        Err(TableError::TableDoesNotExist(_)) => Err(no_table(table)),
        Err(error) => Err(error.into()),
    }
}

/// What a table is, as a snapshot sees it.
pub(crate) fn look(read: &ReadTransaction, table: &str) -> Result<TableLook, Failure> {
    let opened = read.open_table(TableDefinition::<(), ()>::new(table)).map(drop);
    match opened {
        Err(TableError::TableIsMultimap(_)) => {
            let opened = read.open_multimap_table(MultimapTableDefinition::<(), ()>::new(table));
            looked(table, true, opened.map(drop))
        }
        opened => looked(table, false, opened),
    }
}

/// What a table is, inside a write transaction, which would make one that is not there.
pub(crate) fn look_in_write(write: &WriteTransaction, table: &str) -> Result<TableLook, Failure> {
    if write.list_tables()?.any(|known| known.name() == table) {
        let opened = write.open_table(TableDefinition::<(), ()>::new(table)).map(drop);
        return looked(table, false, opened);
    }
    if write.list_multimap_tables()?.any(|known| known.name() == table) {
        let opened = write.open_multimap_table(MultimapTableDefinition::<(), ()>::new(table));
        return looked(table, true, opened.map(drop));
    }
    Err(no_table(table))
}

/// redb's type behind a [`CellType`].
trait Typed: Key + 'static {
    fn from_cell(cell: &Cell) -> Option<Self::SelfType<'_>>;
    fn to_cell(value: Self::SelfType<'_>) -> Cell;
}

impl Typed for &'static [u8] {
    fn from_cell(cell: &Cell) -> Option<&[u8]> {
        if let Cell::Bytes(bytes) = cell { Some(bytes) } else { None }
    }

    fn to_cell(value: &[u8]) -> Cell {
        Cell::Bytes(value.to_vec())
    }
}

impl Typed for &'static str {
    fn from_cell(cell: &Cell) -> Option<&str> {
        if let Cell::Text(text) = cell { Some(text) } else { None }
    }

    fn to_cell(value: &str) -> Cell {
        Cell::Text(value.to_owned())
    }
}

impl Typed for u64 {
    fn from_cell(cell: &Cell) -> Option<u64> {
        if let Cell::U64(number) = cell { Some(*number) } else { None }
    }

    fn to_cell(value: u64) -> Cell {
        Cell::U64(value)
    }
}

impl Typed for u32 {
    fn from_cell(cell: &Cell) -> Option<u32> {
        if let Cell::U32(number) = cell { Some(*number) } else { None }
    }

    fn to_cell(value: u32) -> Cell {
        Cell::U32(value)
    }
}

// The callers make cells of the table's own types.
fn typed<K: Typed>(cell: &Cell) -> Result<K::SelfType<'_>, Failure> {
    let found = cell.cell_type().name();
    let other = || Failure::new(Exit::Other, format!("a {found} cell for a table of other types"));
    K::from_cell(cell).ok_or_else(other)
}

/// From where to where to read.
#[derive(Clone)]
pub(crate) struct Span {
    pub(crate) from: Bound<Cell>,
    pub(crate) to: Bound<Cell>,
    pub(crate) reverse: bool,
}

impl Span {
    pub(crate) fn all() -> Self {
        Self { from: Bound::Unbounded, to: Bound::Unbounded, reverse: false }
    }

    /// All keys that begin like this one.
    pub(crate) fn beginning(prefix: Cell) -> Result<Self, Failure> {
        let to = match &prefix {
            Cell::Bytes(bytes) => behind_bytes(bytes).map(Cell::Bytes),
            Cell::Text(text) => behind_text(text).map(Cell::Text),
            Cell::U64(_) | Cell::U32(_) => {
                return Err(Failure::usage("only keys of type bytes and str have prefixes"));
            }
        };
        let to = to.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(Self { from: Bound::Included(prefix), to, reverse: false })
    }
}

// The least byte string that is greater than all that begin like this one; `None` if none is.
fn behind_bytes(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut behind = prefix.get(..=kept)?.to_vec();
    *behind.last_mut()? += 1;
    Some(behind)
}

// The same of text, whose order is that of its characters.
fn behind_text(prefix: &str) -> Option<String> {
    let mut behind = prefix.to_owned();
    while let Some(last) = behind.pop() {
        // A range of characters leaves out what is none.
        if let Some(next) = (last..=char::MAX).nth(1) {
            behind.push(next);
            return Some(behind);
        }
    }
    None
}

type Each<'a> = dyn FnMut(Cell, Cell) -> Result<ControlFlow<()>, Failure> + 'a;

/// A table that is read.
pub(crate) trait ReadCells {
    fn get(&self, key: &Cell) -> Result<Option<Cell>, Failure>;
    fn len(&self) -> Result<u64, Failure>;
    /// Every record of the span, in order, until `each` breaks.
    fn walk(&self, span: &Span, each: &mut Each<'_>) -> Result<(), Failure>;
}

/// A table that is changed.
pub(crate) trait WriteCells: ReadCells {
    /// Whether there was another value before.
    fn put(&mut self, key: &Cell, value: &Cell) -> Result<bool, Failure>;
    /// Whether there was one.
    fn del(&mut self, key: &Cell) -> Result<bool, Failure>;
}

struct Of<K, V, T> {
    table: T,
    types: PhantomData<(K, V)>,
}

fn bound<K: Typed>(bound: &Bound<Cell>) -> Result<Bound<K::SelfType<'_>>, Failure> {
    Ok(match bound {
        Bound::Unbounded => Bound::Unbounded,
        Bound::Included(cell) => Bound::Included(typed::<K>(cell)?),
        Bound::Excluded(cell) => Bound::Excluded(typed::<K>(cell)?),
    })
}

impl<K: Typed, V: Typed, T: ReadableTable<K, V>> ReadCells for Of<K, V, T> {
    fn get(&self, key: &Cell) -> Result<Option<Cell>, Failure> {
        let found = self.table.get(typed::<K>(key)?)?;
        Ok(found.map(|value| V::to_cell(value.value())))
    }

    fn len(&self) -> Result<u64, Failure> {
        Ok(self.table.len()?)
    }

    fn walk(&self, span: &Span, each: &mut Each<'_>) -> Result<(), Failure> {
        let ends = (bound::<K>(&span.from)?, bound::<K>(&span.to)?);
        let mut range = self.table.range::<K::SelfType<'_>>(ends)?;
        while let Some(record) = if span.reverse { range.next_back() } else { range.next() } {
            let (key, value) = record?;
            if each(K::to_cell(key.value()), V::to_cell(value.value()))?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl<K: Typed, V: Typed> WriteCells for Of<K, V, Table<'_, K, V>> {
    fn put(&mut self, key: &Cell, value: &Cell) -> Result<bool, Failure> {
        Ok(self.table.insert(typed::<K>(key)?, typed::<V>(value)?)?.is_some())
    }

    fn del(&mut self, key: &Cell) -> Result<bool, Failure> {
        Ok(self.table.remove(typed::<K>(key)?)?.is_some())
    }
}

// What is done with a table once its types are known to the compiler.
trait Visit {
    type Made;
    fn visit<K: Typed, V: Typed>(self) -> Result<Self::Made, Failure>;
}

fn by_types<D: Visit>(types: TableTypes, visit: D) -> Result<D::Made, Failure> {
    fn by_value<K: Typed, D: Visit>(value: CellType, visit: D) -> Result<D::Made, Failure> {
        match value {
            CellType::Bytes => visit.visit::<K, &'static [u8]>(),
            CellType::Text => visit.visit::<K, &'static str>(),
            CellType::U64 => visit.visit::<K, u64>(),
            CellType::U32 => visit.visit::<K, u32>(),
        }
    }
    match types.key {
        CellType::Bytes => by_value::<&'static [u8], D>(types.value, visit),
        CellType::Text => by_value::<&'static str, D>(types.value, visit),
        CellType::U64 => by_value::<u64, D>(types.value, visit),
        CellType::U32 => by_value::<u32, D>(types.value, visit),
    }
}

struct OpenRead<'a>(&'a ReadTransaction, &'a str);

impl Visit for OpenRead<'_> {
    type Made = Box<dyn ReadCells>;

    fn visit<K: Typed, V: Typed>(self) -> Result<Self::Made, Failure> {
        let table = self.0.open_table(TableDefinition::<K, V>::new(self.1))?;
        Ok(Box::new(Of { table, types: PhantomData }))
    }
}

struct OpenWrite<'a>(&'a WriteTransaction, &'a str);

impl<'a> Visit for OpenWrite<'a> {
    type Made = Box<dyn WriteCells + 'a>;

    fn visit<K: Typed, V: Typed>(self) -> Result<Self::Made, Failure> {
        let table = self.0.open_table(TableDefinition::<K, V>::new(self.1))?;
        Ok(Box::new(Of::<K, V, _> { table, types: PhantomData }))
    }
}

/// A table of a snapshot, with its types.
pub(crate) fn read_table(
    read: &ReadTransaction,
    table: &str,
) -> Result<(TableTypes, Box<dyn ReadCells>), Failure> {
    let types = look(read, table)?.readable(table)?;
    Ok((types, by_types(types, OpenRead(read, table))?))
}

/// The types of a table in a write transaction: those it has, or where it is not there those that
/// it is to be made with. Nothing is made of a typing mistake.
pub(crate) fn types_for_write(
    write: &WriteTransaction,
    table: &str,
    create: Option<TableTypes>,
) -> Result<TableTypes, Failure> {
    match (look_in_write(write, table), create) {
        (Ok(look), _) => look.readable(table),
        (Err(Failure::Own { exit: Exit::NotFound, .. }), Some(types)) => Ok(types),
        (Err(failure @ Failure::Own { exit: Exit::NotFound, .. }), None) => Err(failure
            .hint("check the name, or make it with --create KEY:VALUE, such as --create str:str")),
        (Err(failure), _) => Err(failure),
    }
}

/// A table of a write transaction; one that is not there is made.
pub(crate) fn write_table<'a>(
    write: &'a WriteTransaction,
    table: &'a str,
    types: TableTypes,
) -> Result<Box<dyn WriteCells + 'a>, Failure> {
    by_types(types, OpenWrite(write, table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_written_as_they_are_read() {
        for key in CellType::ALL {
            for value in CellType::ALL {
                let types = TableTypes { key, value };
                assert_eq!(types.to_string().parse(), Ok(types));
            }
        }
        for bad in ["", "str", "str:", ":str", "str:i64", "str:str:str", "&str:&str"] {
            assert!(bad.parse::<TableTypes>().is_err(), "{bad}");
        }
    }

    #[test]
    fn behind_a_prefix_is_the_next_that_begins_otherwise() {
        assert_eq!(behind_bytes(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(behind_bytes(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(behind_bytes(b"\xff"), None);
        assert_eq!(behind_bytes(b""), None);
        let text = |text: &str| behind_text(text).unwrap_or_default();
        assert_eq!([text("ab"), text("a\u{d7ff}")], ["ac", "a\u{e000}"]);
        assert_eq!([text("a\u{10ffff}"), text("\u{10ffff}")], ["b", ""]);
        assert!(Span::beginning(Cell::U64(1)).is_err());
    }
}
