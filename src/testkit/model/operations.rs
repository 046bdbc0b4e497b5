//! One operation of a write transaction, done to the database and to the model, and what the
//! database answers compared with what the model knows.

use redb::{MultimapTable, ReadableTable, Table, WriteTransaction};

use super::content::{self, PAIRS, TABLES, Tables, Value, key_bytes};
use super::program::Op;
use super::work::{Trouble, said};

/// The tables of a write transaction, opened as they are needed.
pub(super) struct OpenTables<'txn> {
    write: &'txn WriteTransaction,
    tables: [Option<Table<'txn, &'static [u8], &'static [u8]>>; TABLES.len()],
    pairs: Option<MultimapTable<'txn, u32, u32>>,
}

/// The number in a key's first bytes.
fn key_number(key: &[u8]) -> u32 {
    key.first_chunk().map_or(u32::MAX, |bytes| u32::from_be_bytes(*bytes))
}

fn same<T: PartialEq>(op: Op, found: &T, expected: &T) -> Result<(), Trouble> {
    let wrong = || Trouble::WrongData(format!("{op:?} gave something else than the model"));
    if found == expected { Ok(()) } else { Err(wrong()) }
}

impl<'txn> OpenTables<'txn> {
    pub(super) fn new(write: &'txn WriteTransaction) -> Self {
        Self { write, tables: [const { None }; TABLES.len()], pairs: None }
    }

    fn table(
        &mut self,
        number: usize,
    ) -> Result<&mut Table<'txn, &'static [u8], &'static [u8]>, Trouble> {
        let (Some(place), Some(definition)) = (self.tables.get_mut(number), TABLES.get(number))
        else {
            return Err(Trouble::Failed(format!("a program has no table {number}")));
        };
        if let Some(table) = place {
            return Ok(table);
        }
        let table = self.write.open_table(*definition).map_err(said("open_table"))?;
        Ok(place.insert(table))
    }

    fn pairs(&mut self) -> Result<&mut MultimapTable<'txn, u32, u32>, Trouble> {
        let place = &mut self.pairs;
        if let Some(pairs) = place {
            return Ok(pairs);
        }
        let pairs = self.write.open_multimap_table(PAIRS).map_err(said("open_multimap_table"))?;
        Ok(place.insert(pairs))
    }

    pub(super) fn apply(&mut self, op: Op, model: &mut Tables) -> Result<(), Trouble> {
        match op {
            Op::Put { table, key, length, seed } => {
                let bytes = content::value_bytes(seed, length);
                let place = key_bytes(table, key);
                let old = self.table(table)?.insert(place.as_slice(), bytes.as_slice());
                let old = old.map_err(said("insert"))?.map(|old| Value::of(old.value()));
                same(op, &old, &model.rows.insert((table, key), Value::of(&bytes)))
            }
            Op::Remove { table, key } => {
                let old = self.table(table)?.remove(key_bytes(table, key).as_slice());
                let old = old.map_err(said("remove"))?.map(|old| Value::of(old.value()));
                same(op, &old, &model.rows.remove(&(table, key)))
            }
            Op::PopFirst(number) | Op::PopLast(number) => self.pop(op, number, model),
            Op::Retain(number, divisor) => {
                let keeps = |key: u32| key.checked_rem(divisor) != Some(0);
                let table = self.table(number)?;
                table.retain(|key, _| keeps(key_number(key))).map_err(said("retain"))?;
                model.rows.retain(|(table, key), _| *table != number || keeps(*key));
                Ok(())
            }
            Op::Extract(number, low, high) if low <= high => {
                self.extract(op, number, low..high, model)
            }
            Op::Range(number, low, high) if low <= high => {
                let (from, to) = (key_bytes(number, low), key_bytes(number, high));
                let range = self.table(number)?.range(from.as_slice()..to.as_slice());
                let mut found = Vec::new();
                for row in range.map_err(said("range"))?.rev() {
                    let (key, value) = row.map_err(said("row of a range"))?;
                    found.push((key_number(key.value()), Value::of(value.value())));
                }
                let expected = model.rows.range((number, low)..(number, high)).rev();
                same(op, &found, &expected.map(|((_, key), value)| (*key, *value)).collect())
            }
            Op::Extract(..) | Op::Range(..) => Ok(()),
            Op::DropTable(number) => {
                let was_open = self.tables.get_mut(number).and_then(Option::take).is_some();
                let Some(definition) = TABLES.get(number).copied() else { return Ok(()) };
                let rows = model.rows.len();
                model.rows.retain(|(table, _), _| *table != number);
                let must_be_there = was_open || model.rows.len() < rows;
                let deleted = self.write.delete_table(definition).map_err(said("delete_table"))?;
                same(op, &(deleted || !must_be_there), &true)
            }
            Op::Pair(..) | Op::Unpair(..) | Op::UnpairAll(..) => self.pair(op, model),
        }
    }

    fn pop(&mut self, op: Op, number: usize, model: &mut Tables) -> Result<(), Trouble> {
        let first = matches!(op, Op::PopFirst(_));
        let table = self.table(number)?;
        let popped = if first { table.pop_first() } else { table.pop_last() };
        let popped = popped.map_err(said("pop"))?;
        let found = popped.map(|(key, value)| (key_number(key.value()), Value::of(value.value())));
        let mut rows = model.rows.range((number, 0)..=(number, u32::MAX));
        let place = if first { rows.next() } else { rows.next_back() }.map(|(place, _)| *place);
        let expected = place.and_then(|place| Some((place.1, model.rows.remove(&place)?)));
        same(op, &found, &expected)
    }

    fn extract(
        &mut self,
        op: Op,
        number: usize,
        range: std::ops::Range<u32>,
        model: &mut Tables,
    ) -> Result<(), Trouble> {
        let (from, to) = (key_bytes(number, range.start), key_bytes(number, range.end));
        let mut found = Vec::new();
        let table = self.table(number)?;
        let taken = table
            .extract_from_if(from.as_slice()..to.as_slice(), |key, _| {
                key_number(key).is_multiple_of(3)
            })
            .map_err(said("extract_from_if"))?;
        for row in taken {
            let (key, _) = row.map_err(said("extracted row"))?;
            found.push(key_number(key.value()));
        }
        let rows = model.rows.range((number, range.start)..(number, range.end));
        let expected: Vec<_> = rows.map(|((_, key), _)| *key).filter(|key| key % 3 == 0).collect();
        for key in &expected {
            model.rows.remove(&(number, *key));
        }
        same(op, &found, &expected)
    }

    fn pair(&mut self, op: Op, model: &mut Tables) -> Result<(), Trouble> {
        let pairs = self.pairs()?;
        match op {
            Op::Pair(key, value) => {
                let had = pairs.insert(key, value).map_err(said("insert of a pair"))?;
                same(op, &had, &!model.pairs.insert((key, value)))
            }
            Op::Unpair(key, value) => {
                let had = pairs.remove(key, value).map_err(said("remove of a pair"))?;
                same(op, &had, &model.pairs.remove(&(key, value)))
            }
            Op::UnpairAll(key) => {
                let mut found = Vec::new();
                for value in pairs.remove_all(key).map_err(said("remove_all"))? {
                    found.push((key, value.map_err(said("removed pair"))?.value()));
                }
                let expected: Vec<_> =
                    model.pairs.range((key, 0)..=(key, u32::MAX)).copied().collect();
                model.pairs.retain(|(other, _)| *other != key);
                same(op, &found, &expected)
            }
            _ => Ok(()),
        }
    }
}
