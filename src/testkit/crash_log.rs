//! What is on its way to the disk, and what becomes of it in a crash: the log of unsynced writes
//! and length changes, the units in which a write tears, and which units land. Pure: bytes in,
//! bytes out; the machine around it is [`super::CrashMedium`].
//!
//! Units land in the order of the log, each or not. So of two unsynced writes to one sector the
//! first may land without the second, and a later write may land without an earlier one.

use std::io;

use super::SeededRandom;

/// The unit in which an unsynced write reaches the disk or doesn't.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tearing {
    /// Sectors of 512 bytes, aligned to the start of the disk: the least that any disk promises.
    Sector512,
    /// Pages of 4096 bytes, aligned: what most of today's disks and page caches do.
    Page4096,
    /// Whole writes, whatever their size: the kindest disk.
    WholeWrite,
}

impl Tearing {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sector512, Self::Page4096, Self::WholeWrite];

    /// Splits `length` bytes at `offset` into pieces (offset, start and end within the bytes).
    fn pieces(self, offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
        let unit = match self {
            Self::Sector512 => 512,
            Self::Page4096 => 4096,
            Self::WholeWrite => u64::MAX,
        };
        let mut start = 0_usize;
        std::iter::from_fn(move || {
            if start >= length {
                return None;
            }
            let at = offset.saturating_add(u64::try_from(start).ok()?);
            let room = unit.saturating_sub(at.checked_rem(unit)?);
            let room = if unit == u64::MAX { usize::MAX } else { usize::try_from(room).ok()? };
            let piece = (at, start, start.saturating_add(room).min(length));
            start = piece.2;
            Some(piece)
        })
    }
}

/// Which of the unsynced units land.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Survival {
    /// Each by itself with this probability: 0 loses everything, 1 nothing.
    Each(f64),
    /// The first so many, as on a disk that keeps the order.
    Prefix,
    /// All but one.
    AllButOne,
    /// One and no other.
    OnlyOne,
}

/// What happens to the machine.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Crash {
    /// The power goes: what was not synced lands in part, and the page cache is gone.
    PowerCut {
        /// The unit that lands or doesn't.
        tearing: Tearing,
        /// Which units land.
        survival: Survival,
    },
    /// The process is killed; the machine runs on. The page cache keeps every finished write, and
    /// what was not synced stays so: a power cut afterwards can still lose it.
    Kill,
    /// A sync failed, and the process ended then; the machine runs on. What was not synced landed
    /// in part. The rest stays readable but counts as clean: no later sync writes it, and it is
    /// gone when the cache is dropped or the power goes. So do Linux file systems. Lengths are
    /// metadata: one that didn't land is tried again with the next sync.
    FailedSync {
        /// The unit that lands or doesn't.
        tearing: Tearing,
        /// Which units land.
        survival: Survival,
    },
}

/// One thing on its way to the disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Pending {
    Write { offset: u64, data: Vec<u8> },
    Length(u64),
}

/// Applies one write to plain bytes, which grow where it ends past them.
pub(super) fn write(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) -> io::Result<()> {
    let start = usize::try_from(offset).map_err(|_| too_far())?;
    let end = start.checked_add(data.len()).filter(|end| *end <= FARTHEST).ok_or_else(too_far)?;
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    if let Some(place) = bytes.get_mut(start..end) {
        place.copy_from_slice(data);
    }
    Ok(())
}

/// Cuts or extends plain bytes.
pub(super) fn set_len(bytes: &mut Vec<u8>, len: u64) -> io::Result<()> {
    let len = usize::try_from(len).ok().filter(|len| *len <= FARTHEST).ok_or_else(too_far)?;
    bytes.resize(len, 0);
    Ok(())
}

// A simulated disk lies in memory: a length beyond this is a bug of the caller, not a wish.
const FARTHEST: usize = 1 << 32;

fn too_far() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "beyond the end of the simulated disk")
}

/// Everything lands, in order: what a sync that succeeds does.
pub(super) fn land_all(disk: &mut Vec<u8>, log: &[Pending]) {
    for entry in log {
        // Each entry was applied to the cached bytes before it was logged, so it fits.
        let _ = match entry {
            Pending::Write { offset, data } => write(disk, *offset, data),
            Pending::Length(len) => set_len(disk, *len),
        };
    }
}

/// Units land or are lost, in order: what a power cut or a failed sync does.
pub(super) fn land_some(
    disk: &mut Vec<u8>,
    log: &[Pending],
    tearing: Tearing,
    survival: Survival,
    random: &mut SeededRandom,
) {
    let units: u64 = log
        .iter()
        .map(|entry| match entry {
            Pending::Write { offset, data } => tearing.pieces(*offset, data.len()).count(),
            Pending::Length(_) => 1,
        })
        .fold(0, |sum, count| sum.saturating_add(u64::try_from(count).unwrap_or(0)));
    let chosen = match survival {
        Survival::Each(_) => 0,
        Survival::Prefix => random.below(units.saturating_add(1)),
        Survival::AllButOne | Survival::OnlyOne => random.below(units),
    };
    let mut number = 0_u64;
    let mut lands = || {
        let this = number;
        number = number.saturating_add(1);
        match survival {
            Survival::Each(probability) => random.chance(probability),
            Survival::Prefix => this < chosen,
            Survival::AllButOne => this != chosen,
            Survival::OnlyOne => this == chosen,
        }
    };
    for entry in log {
        match entry {
            Pending::Write { offset, data } => {
                for (at, start, end) in tearing.pieces(*offset, data.len()) {
                    if lands()
                        && let Some(piece) = data.get(start..end)
                    {
                        let _ = write(disk, at, piece);
                    }
                }
            }
            Pending::Length(len) => {
                if lands() {
                    let _ = set_len(disk, *len);
                }
            }
        }
    }
}

/// The `length` bytes at `start` as the disk and the log alone make them, without any cached byte
/// that was lost in between.
pub(super) fn rebuild(disk: &[u8], log: &[Pending], start: usize, length: usize) -> Vec<u8> {
    let from_disk = disk.get(start..).unwrap_or_default();
    let mut bytes = from_disk.get(..length).unwrap_or(from_disk).to_vec();
    bytes.resize(length, 0);
    for entry in log {
        match entry {
            Pending::Write { offset, data } => {
                let at = usize::try_from(*offset).unwrap_or(usize::MAX);
                let (skip, to) = (start.saturating_sub(at), at.saturating_sub(start));
                let data = data.get(skip..).unwrap_or_default();
                let place = bytes.get_mut(to..).unwrap_or_default();
                for (to, from) in place.iter_mut().zip(data) {
                    *to = *from;
                }
            }
            Pending::Length(len) => {
                let keep = usize::try_from(*len).unwrap_or(usize::MAX).saturating_sub(start);
                bytes.get_mut(keep..).unwrap_or_default().fill(0);
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrote(offset: u64, byte: u8, length: usize) -> Pending {
        Pending::Write { offset, data: vec![byte; length] }
    }

    fn landed(log: &[Pending], tearing: Tearing, survival: Survival, seed: u64) -> Vec<u8> {
        let mut disk = vec![0; 8192];
        land_some(&mut disk, log, tearing, survival, &mut SeededRandom::new(seed));
        disk
    }

    #[test]
    fn writes_are_torn_at_aligned_units() {
        let pieces = |tearing: Tearing, at, length| tearing.pieces(at, length).collect::<Vec<_>>();
        assert_eq!(
            pieces(Tearing::Sector512, 500, 600),
            [(500, 0, 12), (512, 12, 524), (1024, 524, 600)]
        );
        assert_eq!(pieces(Tearing::Page4096, 4000, 200), [(4000, 0, 96), (4096, 96, 200)]);
        assert_eq!(pieces(Tearing::WholeWrite, 3, 100_000), [(3, 0, 100_000)]);
        assert_eq!(pieces(Tearing::Sector512, 512, 0), []);
    }

    #[test]
    fn whole_units_land_and_every_kind_of_tear_is_seen() {
        let log = [wrote(0, 7, 8192)];
        let mut torn = 0;
        for seed in 0..50 {
            let disk = landed(&log, Tearing::Sector512, Survival::Each(0.5), seed);
            for sector in disk.chunks(512) {
                assert!(sector.iter().all(|byte| *byte == sector[0]));
            }
            torn += usize::from(disk.contains(&0) && disk.contains(&7));
            let disk = landed(&log, Tearing::Page4096, Survival::Each(0.5), seed);
            assert!(disk.chunks(4096).all(|page| page.iter().all(|byte| *byte == page[0])));
            let disk = landed(&log, Tearing::WholeWrite, Survival::Each(0.5), seed);
            assert!(disk == vec![0; 8192] || disk == vec![7; 8192]);
        }
        assert!(torn > 40, "{torn}");
    }

    #[test]
    fn an_overwritten_version_can_land_alone_and_order_is_kept() {
        let log = [wrote(0, 1, 512), wrote(0, 2, 512)];
        let mut seen = [0; 3];
        for seed in 0..100 {
            let disk = landed(&log, Tearing::Sector512, Survival::Each(0.5), seed);
            seen[usize::from(disk[0])] += 1;
        }
        // Old 1 in 4, the intermediate version 1 in 4, the last one half of the time.
        assert!(seen[0] > 10 && seen[1] > 10 && seen[2] > 30, "{seen:?}");
    }

    #[test]
    fn the_structured_survivals_do_what_they_say() {
        let log = [wrote(0, 1, 4096), wrote(4096, 1, 4096)];
        let ones = |survival, seed| {
            let disk = landed(&log, Tearing::Sector512, survival, seed);
            disk.chunks(512).map(|sector| sector[0]).collect::<Vec<_>>()
        };
        for seed in 0..20 {
            assert_eq!(ones(Survival::Each(0.0), seed), [0; 16]);
            assert_eq!(ones(Survival::Each(1.0), seed), [1; 16]);
            assert_eq!(ones(Survival::AllButOne, seed).iter().sum::<u8>(), 15);
            assert_eq!(ones(Survival::OnlyOne, seed).iter().sum::<u8>(), 1);
            let prefix = ones(Survival::Prefix, seed);
            assert!(prefix.is_sorted_by(|earlier, later| earlier >= later), "{prefix:?}");
        }
    }

    #[test]
    fn lengths_land_or_not_and_writes_past_the_end_extend() {
        let log = [wrote(0, 1, 512), Pending::Length(100), wrote(9000, 2, 10)];
        let lengths: std::collections::BTreeSet<usize> = (0..50)
            .map(|seed| landed(&log, Tearing::Sector512, Survival::Each(0.5), seed).len())
            .collect();
        assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [100, 8192, 9010]);
        let mut disk = vec![0; 8192];
        land_all(&mut disk, &log);
        assert_eq!((disk.len(), disk[99], disk[100], disk[9009]), (9010, 1, 0, 2));
    }

    #[test]
    fn rebuilding_a_range_replays_the_log_over_the_disk() {
        let disk = vec![9; 1000];
        let log = [wrote(100, 1, 100), Pending::Length(150), wrote(300, 2, 50)];
        let mut whole = disk.clone();
        land_all(&mut whole, &log);
        assert_eq!(whole.len(), 350);
        for start in (0..350).step_by(13) {
            for length in [0, 1, 60, 350 - start] {
                let length = length.min(350 - start);
                assert_eq!(rebuild(&disk, &log, start, length), whole[start..start + length]);
            }
        }
    }

    #[test]
    fn absurd_lengths_are_errors() {
        assert!(set_len(&mut Vec::new(), u64::MAX).is_err());
        assert!(write(&mut Vec::new(), u64::MAX, &[1]).is_err());
    }
}
