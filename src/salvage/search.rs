//! Definitions of tables that no root leads to any more, found by looking at every page. redb writes
//! a leaf of its tree of tables anew with each commit and leaves the old one where it was until the
//! page is used again. So where the newest such leaf is lost, an older one is often there, and with
//! it the tables as of an earlier commit, as far as their own pages are still there: each has the
//! checksum that the old definition leads to.

use std::collections::BTreeMap;

use super::definition::Definition;
use super::node::{Node, Widths};
use super::super_header::Geometry;
use super::tables;
use super::walk::{Pages, Walk};
use crate::error::SalvageError;
use crate::layout::{DATA_PAGES_PER_GROUP, PAGE_SIZE};
use crate::units::PageNo;

/// Definitions of one table that are weighed against each other.
const VERSIONS_MAX: usize = 16;

/// For each table whose definition is found, the one through which most rows can be reached. The
/// tables may be of different commits, each of one.
///
/// # Errors
/// What `tick` says, which is told how many pages were looked at.
pub(super) fn definitions(
    pages: &dyn Pages,
    geometry: Geometry,
    tick: &mut dyn FnMut(u64) -> Result<(), SalvageError>,
) -> Result<Vec<Definition>, SalvageError> {
    let mut found: BTreeMap<String, Vec<Definition>> = BTreeMap::new();
    let mut room = [0; PAGE_SIZE];
    for page in 1..pages.end() {
        if pages.read(PageNo(page), &mut room) {
            for definition in in_leaf(&room) {
                add(&mut found, definition, pages, geometry);
            }
        }
        if page % DATA_PAGES_PER_GROUP == 0 {
            tick(page)?;
        }
    }
    let best = |versions: Vec<Definition>| {
        versions
            .into_iter()
            .max_by_key(|table| tables::count(&mut Walk::new(pages, geometry), table))
    };
    Ok(found.into_values().filter_map(best).collect())
}

// A page of nothing but definitions.
fn in_leaf(page: &[u8; PAGE_SIZE]) -> Vec<Definition> {
    match Node::decode(page, Widths::default()) {
        Some(Node::Leaf { rows, .. }) => {
            let all: Option<Vec<_>> = rows.into_iter().map(Definition::decode).collect();
            all.unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

// A definition counts while the root of its tree is there. Of too many, those with most rows.
fn add(
    found: &mut BTreeMap<String, Vec<Definition>>,
    definition: Definition,
    pages: &dyn Pages,
    geometry: Geometry,
) {
    let walk = Walk::new(pages, geometry);
    let can_read = |root| walk.can_read(root, definition.tree_widths());
    if definition.is_of_redb() || !definition.root.is_none_or(can_read) {
        return;
    }
    let versions = found.entry(definition.name.clone()).or_default();
    if !versions.contains(&definition) {
        versions.push(definition);
        versions.sort_by_key(|version| std::cmp::Reverse(version.rows));
        versions.truncate(VERSIONS_MAX);
    }
}
