//! Tables of types that are known by name only. redb asks a table's types for their name, their
//! width and the order of keys, all by functions without arguments; [`RawKey`] and [`RawValue`]
//! answer from what [`Types::in_use`] put into place for this thread, and hand bytes through as they
//! are.
//!
//! The order of a type that only the application knows is not known here, and need not be: rows
//! come in the order in which the old tree held them, each behind all that came before, so the
//! newest key is the greatest. redb compares nothing else when a row is added at the end.

use std::cell::RefCell;
use std::cmp::Ordering;

use redb::{
    Key, MultimapTableDefinition, ReadableDatabase, TableDefinition, TableError, TypeName, Value,
};

use super::definition::{Definition, StoredType};
use super::plain::PlainBackend;
use crate::medium::{Medium, MemoryMedium};

/// What a side of a table answers to redb.
#[derive(Default)]
struct Side {
    type_name: Option<TypeName>,
    width: Option<usize>,
    /// The newest bytes, greater than all before.
    newest: Vec<u8>,
}

impl Side {
    fn order(&self, a: &[u8], b: &[u8]) -> Ordering {
        if a == b {
            Ordering::Equal
        } else if a == self.newest {
            Ordering::Greater
        } else {
            // `b` is the newest; or both are older, which redb's debug assertions ask for only, of
            // neighbours, the left one first.
            Ordering::Less
        }
    }

    fn note(&mut self, bytes: &[u8]) {
        self.newest.clear();
        self.newest.extend_from_slice(bytes);
    }
}

thread_local! {
    static KEY: RefCell<Side> = RefCell::default();
    static VALUE: RefCell<Side> = RefCell::default();
}

macro_rules! raw_type {
    ($name:ident, $side:ident) => {
        #[derive(Debug)]
        pub(super) struct $name;

        impl Value for $name {
            type SelfType<'a> = &'a [u8];
            type AsBytes<'a> = &'a [u8];

            fn fixed_width() -> Option<usize> {
                $side.with_borrow(|side| side.width)
            }

            fn from_bytes<'a>(data: &'a [u8]) -> &'a [u8]
            where
                Self: 'a,
            {
                data
            }

            fn as_bytes<'a, 'b: 'a>(value: &'a Self::SelfType<'b>) -> &'a [u8]
            where
                Self: 'b,
            {
                value
            }

            fn type_name() -> TypeName {
                let stored = $side.with_borrow(|side| side.type_name.clone());
                stored.unwrap_or_else(|| TypeName::new("strongroom::Raw"))
            }
        }

        impl Key for $name {
            fn compare(a: &[u8], b: &[u8]) -> Ordering {
                $side.with_borrow(|side| side.order(a, b))
            }
        }
    };
}

raw_type!(RawKey, KEY);
raw_type!(RawValue, VALUE);

/// The types of one table, as redb's API has them.
#[derive(Clone, Debug)]
pub(super) struct Types {
    key: TypeName,
    value: TypeName,
    key_width: Option<usize>,
    value_width: Option<usize>,
}

impl Types {
    /// The types that a definition names; `None` where redb refuses to have them.
    pub(super) fn of(definition: &Definition) -> Option<Self> {
        Some(Self {
            key: type_name(&definition.key)?,
            value: type_name(&definition.value)?,
            key_width: definition.widths.key,
            value_width: definition.widths.value,
        })
    }

    /// Makes [`RawKey`] and [`RawValue`] these types, on this thread, for as long as the value
    /// lives.
    pub(super) fn in_use(self) -> InUse {
        KEY.set(Side { type_name: Some(self.key), width: self.key_width, newest: Vec::new() });
        VALUE.set(Side {
            type_name: Some(self.value),
            width: self.value_width,
            newest: Vec::new(),
        });
        InUse
    }
}

/// [`RawKey`] and [`RawValue`] have the types of a table.
#[derive(Debug)]
pub(super) struct InUse;

impl InUse {
    /// Says which row comes next, before it is inserted.
    pub(super) fn note(&self, key: &[u8], value: &[u8]) {
        KEY.with_borrow_mut(|side| side.note(key));
        VALUE.with_borrow_mut(|side| side.note(value));
    }

    /// The table, to be opened in a transaction.
    pub(super) fn table<'a>(&self, name: &'a str) -> TableDefinition<'a, RawKey, RawValue> {
        TableDefinition::new(name)
    }

    /// The multimap table, to be opened in a transaction.
    pub(super) fn multimap<'a>(
        &self,
        name: &'a str,
    ) -> MultimapTableDefinition<'a, RawKey, RawValue> {
        MultimapTableDefinition::new(name)
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        KEY.take();
        VALUE.take();
    }
}

/// redb's name of a stored type. A name of the application's can be made; the names of redb's own
/// types (and their older spellings) can't, but redb gives them out where a table is opened under
/// another type than it has. So a table is made in memory, under a type of the application's with
/// the same name; the one byte that says whose type it is is changed in the bytes of that database;
/// and redb is asked.
fn type_name(stored: &StoredType) -> Option<TypeName> {
    const ASKED: TableDefinition<'static, &[u8], ()> = TableDefinition::new("?");
    let made = TypeName::new(&stored.name);
    if stored.is_user_defined() {
        return Some(made);
    }
    let medium = MemoryMedium::new();
    let database = || redb::Builder::new().create_with_backend(PlainBackend(medium.clone()));
    {
        let types =
            Types { key: made, value: TypeName::new("?"), key_width: None, value_width: None };
        let in_use = types.in_use();
        let write = database().ok()?.begin_write().ok()?;
        write.open_table(in_use.table("?")).ok()?;
        write.commit().ok()?;
    }
    change_class(&medium, stored)?;
    match database().ok()?.begin_read().ok()?.open_table(ASKED) {
        Err(TableError::TableTypeMismatch { key, .. }) if key.name() == stored.name => Some(key),
        _ => None,
    }
}

// In a definition a type's length, class and name stand one after another.
fn change_class(medium: &MemoryMedium, stored: &StoredType) -> Option<()> {
    let wanted = stored.encode();
    let len = u32::try_from(wanted.len()).ok()?.to_le_bytes();
    let made = StoredType { class: StoredType::USER_DEFINED, ..stored.clone() }.encode();
    let found = [&len[..], &made].concat();
    let bytes = medium.to_bytes();
    let mut changed = None;
    for (at, window) in bytes.windows(found.len()).enumerate() {
        if window == found {
            let at = u64::try_from(at).ok()?.checked_add(4)?;
            medium.write_at(at, &wanted).ok()?;
            changed = Some(());
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(class: u8, name: &str) -> StoredType {
        StoredType { class, name: name.to_owned() }
    }

    #[test]
    fn redb_gives_out_the_names_of_its_own_types() {
        assert_eq!(type_name(&stored(1, "u64")), Some(u64::type_name()));
        assert_eq!(type_name(&stored(1, "&str")), Some(<&str>::type_name()));
        let tuple = <(u64, &str)>::type_name();
        assert_eq!(type_name(&stored(4, tuple.name())), Some(tuple.clone()));
        assert_ne!(type_name(&stored(1, tuple.name())), Some(tuple), "an older spelling");
        assert_eq!(type_name(&stored(4, "Option<u64>")), Some(<Option<u64>>::type_name()));
        assert_eq!(type_name(&stored(2, "mine")), Some(TypeName::new("mine")));
        let long = "x".repeat(5000);
        assert!(type_name(&stored(1, &long)).is_some());
    }
}
