//! Every place where a run can be cut, visited one by one. Two passes: the first lets the run go
//! through and counts its operations and named points; the second repeats it once for each of them
//! and each kind of crash. The run must do the same each time: then nothing is left out.

use super::{Crash, CrashMedium, SeededRandom, Survival, Tearing};

/// One place where the power goes off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// During the operation after so many others.
    Operation(u64),
    /// At a named point of the store's protocol.
    Point {
        /// Its name.
        name: &'static str,
        /// The how manyth time it is reached, counted from 0.
        nth: u64,
    },
}

impl Cut {
    /// Plans it on a machine on which the run is about to start.
    pub fn plan(self, medium: &CrashMedium) {
        match self {
            Self::Operation(operations) => medium.cut_after(operations),
            Self::Point { name, nth } => medium.cut_at_point(name, nth),
        }
    }
}

/// Every [`Cut`] of a run, in order: operations first, then points. An iterator.
#[derive(Clone, Debug)]
pub struct Cuts {
    cuts: std::vec::IntoIter<Cut>,
}

impl Cuts {
    /// Of the run that this machine, new when it started, has been through.
    #[must_use]
    pub fn of(medium: &CrashMedium) -> Self {
        let operations = (0..medium.operations()).map(Cut::Operation);
        let points = medium.points().into_iter();
        let points = points.flat_map(|(name, times)| (0..times).map(move |nth| (name, nth)));
        let points = points.map(|(name, nth)| Cut::Point { name, nth });
        Self { cuts: operations.chain(points).collect::<Vec<_>>().into_iter() }
    }

    /// One of those that are left, where there are too many to visit all.
    #[must_use]
    pub fn pick(&self, random: &mut SeededRandom) -> Option<Cut> {
        random.pick(self.cuts.as_slice()).copied()
    }
}

impl Iterator for Cuts {
    type Item = Cut;

    fn next(&mut self) -> Option<Cut> {
        self.cuts.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.cuts.size_hint()
    }
}

impl ExactSizeIterator for Cuts {}

impl Crash {
    /// The kinds that are worth trying at every cut: a kill, and power cuts with each unit of
    /// tearing that lose all, half and nothing, and with sectors the first so many, all but one,
    /// and one alone.
    #[must_use]
    pub fn kinds() -> Vec<Self> {
        let of_each = |tearing| {
            [0.0, 0.5, 1.0].map(|part| Self::PowerCut { tearing, survival: Survival::Each(part) })
        };
        let structured = [Survival::Prefix, Survival::AllButOne, Survival::OnlyOne];
        let tearing = Tearing::Sector512;
        std::iter::once(Self::Kill)
            .chain(Tearing::ALL.into_iter().flat_map(of_each))
            .chain(structured.map(|survival| Self::PowerCut { tearing, survival }))
            .collect()
    }
}

/// Runs something on a new machine once to count, and then once for each [`Cut`] and each of
/// [`Crash::kinds`]; `check` gets the machine after the restart, the cut and the crash. Returns how
/// many cuts, times crashes, there were; the seed decides what each crash keeps.
///
/// `run` must do the same each time, and must come back when its calls begin to fail.
///
/// ```
/// use strongroom::medium::Medium;
/// use strongroom::testkit::{CrashMedium, every_cut};
///
/// let run = |disk: &CrashMedium| {
///     let _ = disk.write_at(0, &[1; 4096]).and_then(|()| disk.sync());
/// };
/// let visited = every_cut(1, run, |disk, _cut, _crash| assert!(disk.image().len() <= 4096));
/// assert_eq!(visited, 2 * 13); // A write and a sync.
/// ```
pub fn every_cut(
    seed: u64,
    mut run: impl FnMut(&CrashMedium),
    mut check: impl FnMut(CrashMedium, Cut, Crash),
) -> u64 {
    let medium = CrashMedium::new(seed);
    run(&medium);
    let mut visited = 0_u64;
    for cut in Cuts::of(&medium) {
        for crash in Crash::kinds() {
            let medium = CrashMedium::new(seed);
            cut.plan(&medium);
            run(&medium);
            check(medium.crash(crash), cut, crash);
            visited = visited.saturating_add(1);
        }
    }
    visited
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::medium::Medium;

    fn run(medium: &CrashMedium) {
        let writes = (0..3_u8).try_for_each(|byte| medium.write_at(0, &[byte; 8]));
        if writes.is_ok() {
            medium.reached("between");
            let _ = medium.sync().and_then(|()| medium.set_len(4));
        }
    }

    #[test]
    fn every_operation_and_every_point_is_visited_once() {
        let medium = CrashMedium::new(1);
        run(&medium);
        let cuts: Vec<_> = Cuts::of(&medium).collect();
        let operations = (0..5).map(Cut::Operation);
        let point = Cut::Point { name: "between", nth: 0 };
        assert_eq!(cuts, operations.chain([point]).collect::<Vec<_>>());
        for cut in cuts {
            let medium = CrashMedium::new(1);
            cut.plan(&medium);
            run(&medium);
            assert!(medium.is_off(), "{cut:?}");
        }
    }

    #[test]
    fn the_two_passes_try_each_kind_of_crash_at_each_cut() {
        let mut synced = 0;
        let visited = every_cut(1, run, |medium, cut, crash| {
            let image = medium.durable_image();
            match cut {
                // The sync was through: a cut in the change of length leaves 8 bytes, or 4.
                Cut::Operation(4) => {
                    assert!(image == [2; 8] || image == [2; 4], "{crash:?}");
                    synced += 1;
                }
                _ => assert!(image.len() <= 8),
            }
        });
        let kinds = Crash::kinds().len();
        assert_eq!((visited, synced), (6 * kinds as u64, kinds));
    }
}
