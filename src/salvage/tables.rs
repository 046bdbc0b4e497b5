//! The tables of a commit, and the rows of a table, as far as a walk reaches them.

use super::definition::Definition;
use super::node::Widths;
use super::super_header::Commit;
use super::walk::Walk;

/// The tables that can be listed.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) tables: Vec<Definition>,
    /// Entries that are no definitions of this version of redb.
    pub(super) unknown: u64,
    /// How many tables the commit has.
    pub(super) recorded: u64,
}

impl Listed {
    /// Tables whose definitions can't be reached.
    pub(super) fn lost(&self) -> u64 {
        let found = self.unknown.saturating_add(self.tables.len() as u64);
        self.recorded.saturating_sub(found)
    }
}

/// Lists the tables of a commit.
pub(super) fn list(walk: &mut Walk<'_>, commit: &Commit) -> Listed {
    let mut listed = Listed::default();
    let Some(root) = commit.tables else { return listed };
    listed.recorded = root.rows;
    let walked = walk.leaves(root, Widths::default(), |_, rows| {
        for row in rows {
            match Definition::decode(*row) {
                Some(definition) => listed.tables.push(definition),
                None => listed.unknown = listed.unknown.saturating_add(1),
            }
        }
        Ok::<(), std::convert::Infallible>(())
    });
    match walked {
        Ok(()) => listed,
    }
}

/// Gives every row of a table that can be reached, in the order of its tree; of a multimap, every
/// value with its key.
///
/// # Errors
/// What `row` says, at once.
pub(super) fn rows<E>(
    walk: &mut Walk<'_>,
    table: &Definition,
    mut row: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let Some(root) = table.root else { return Ok(()) };
    walk.leaves(root, table.tree_widths(), |walk, rows| {
        for (key, value) in rows {
            if !table.multimap {
                row(key, value)?;
                continue;
            }
            walk.collection(value, table.collection_widths(), |values| {
                values.iter().try_for_each(|(value, _)| row(key, value))
            })?;
        }
        Ok(())
    })
}

/// How many rows of a table can be reached.
pub(super) fn count(walk: &mut Walk<'_>, table: &Definition) -> u64 {
    let mut count = 0_u64;
    let walked = rows(walk, table, |_, _| {
        count = count.saturating_add(1);
        Ok::<(), std::convert::Infallible>(())
    });
    match walked {
        Ok(()) => count,
    }
}
