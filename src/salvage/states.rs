//! Which commit to save: that of the newest root record, as redb's header in it names it; failing
//! that, the commit before; failing that, what the other root record knows; failing that, whatever
//! definitions of tables can be found (`search`).

use super::node::Widths;
use super::super_header::{Commit, Geometry, SuperHeader};
use super::tables;
use super::walk::{LostNode, Pages, Walk};
use crate::format::root_record::RootRecord;
use crate::units::{CopyId, PageNo};

/// A root record that opens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) root: &'a RootRecord,
    pub(super) copy: CopyId,
}

/// The commit that was chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen<'a> {
    /// The root record that was gone by; `None` where neither opens.
    pub(super) from: Option<Candidate<'a>>,
    pub(super) geometry: Geometry,
    /// `None` where no tree of tables can be reached.
    pub(super) commit: Option<Commit>,
    /// It is not the commit that redb's header names, but the one before.
    pub(super) before: bool,
}

/// Chooses among root records, the best first.
pub(super) fn choose<'a>(pages: &dyn Pages, candidates: &[Candidate<'a>]) -> Chosen<'a> {
    candidates.iter().find_map(|from| of_root(pages, *from)).unwrap_or_else(|| {
        let from = candidates.first().copied();
        let headers =
            candidates.iter().filter_map(|from| SuperHeader::decode(&from.root.page_zero));
        let geometry = headers.map(|header| header.geometry).next().unwrap_or_default();
        Chosen { from, geometry, commit: None, before: false }
    })
}

fn of_root<'a>(pages: &dyn Pages, from: Candidate<'a>) -> Option<Chosen<'a>> {
    let header = SuperHeader::decode(&from.root.page_zero)?;
    let can_read = |commit: &Commit| {
        let walk = Walk::new(pages, header.geometry);
        commit.tables.is_none_or(|root| walk.can_read(root, Widths::default()))
    };
    let primary = header.primary.filter(can_read);
    let secondary = header.secondary.filter(can_read);
    let commit = match (primary, secondary) {
        (Some(primary), Some(_)) if !was_cut_off(pages, &header, &primary) => primary,
        (Some(primary), None) => primary,
        (_, secondary) => secondary?,
    };
    let before = header.primary != Some(commit);
    Some(Chosen { from: Some(from), geometry: header.geometry, commit: Some(commit), before })
}

// A crash tore pages of the commit: it never returned, and redb would go back to the one before.
fn was_cut_off(pages: &dyn Pages, header: &SuperHeader, commit: &Commit) -> bool {
    if header.two_phase || !pages.any_in_flight() {
        return false;
    }
    let mut walk = Walk::new(pages, header.geometry);
    let listed = tables::list(&mut walk, commit);
    for table in &listed.tables {
        tables::count(&mut walk, table);
    }
    let torn = |lost: &LostNode| {
        let end = lost.first.0.saturating_add(lost.pages);
        (lost.first.0..end).any(|page| pages.was_in_flight(PageNo(page)))
    };
    walk.lost.iter().any(torn)
}
