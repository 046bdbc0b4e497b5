//! Programs drawn from a seed or from a fuzzer's bytes. The proportions are what makes planted
//! mistakes show early: they were tuned on the holes of docs/past-failures.md.

use super::choices::{Bytes, Choices};
use super::program::{Fault, Kind, Menu, Nested, Op, Program, Round, Step, Transaction};
use super::room::Settings;
use crate::holes::Hole;
use crate::testkit::{Crash, Survival, Tearing};

/// What the work of one program looks like.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Taste {
    keys: u32,
    largest_value: u64,
    two_phase: f64,
    quick_repair: f64,
    non_durable: f64,
    removes: f64,
}

impl Taste {
    /// Drawn.
    pub fn draw(from: &mut impl Choices) -> Self {
        Self {
            two_phase: from.one_of(&[0.0, 0.2, 0.5, 1.0]),
            quick_repair: from.one_of(&[0.0, 0.0, 0.2, 1.0]),
            non_durable: from.one_of(&[0.0, 0.25, 0.6]),
            removes: from.one_of(&[0.1, 0.35, 0.5]),
            keys: from.one_of(&[20, 100, 400, 1500]),
            largest_value: from.one_of(&[100, 2000, 20_000]),
        }
    }
}

impl Op {
    fn put(from: &mut impl Choices, taste: &Taste, table: usize) -> Self {
        let largest = if table == 2 { taste.largest_value } else { 200 };
        Self::Put {
            table,
            key: from.number(taste.keys),
            length: u32::try_from(from.skewed_below(largest.saturating_add(1))).unwrap_or(0),
            seed: from.below(1 << 16),
        }
    }

    /// One that puts or, with this probability, removes; or, seldom, one of the others.
    fn draw(from: &mut impl Choices, taste: &Taste, removes: f64) -> Self {
        let table = from.place(3);
        match from.below(64) {
            0 => Self::Pair(from.number(9), from.number(400)),
            1 => Self::Unpair(from.number(9), from.number(400)),
            2 => Self::seldom(from, taste, table),
            _ if from.chance(removes) => Self::Remove { table, key: from.number(taste.keys) },
            _ => Self::put(from, taste, table),
        }
    }

    fn seldom(from: &mut impl Choices, taste: &Taste, table: usize) -> Self {
        let (low, high) = (from.number(taste.keys), from.number(taste.keys));
        let (low, high) = (low.min(high), low.max(high));
        match from.below(24) {
            0 => Self::DropTable(table),
            1 => Self::Retain(table, from.number(7).saturating_add(2)),
            2..=4 => Self::UnpairAll(from.number(9)),
            5..=8 => Self::Extract(table, low, high),
            9..=12 => Self::PopFirst(table),
            13..=16 => Self::PopLast(table),
            _ => Self::Range(table, low, high),
        }
    }
}

impl Transaction {
    /// A durable one that only puts, this many rows.
    pub fn filling(from: &mut impl Choices, taste: &Taste, rows: u64) -> Self {
        let mut ops = Vec::new();
        for _ in 0..rows {
            if from.exhausted() {
                break;
            }
            let table = from.place(3);
            ops.push(Op::put(from, taste, table));
        }
        Self { ops, ..Self::default() }
    }

    /// A durable one of a single row whose leaf takes eight pages and fills five: redb's checksum
    /// of a leaf ends with its last value and doesn't cover the pages behind it.
    pub fn large(from: &mut impl Choices, taste: &Taste) -> Self {
        let (key, seed) = (from.number(taste.keys), from.below(1 << 16));
        Self { ops: vec![Op::Put { table: 2, key, length: 17_000, seed }], ..Self::default() }
    }

    /// Any.
    pub fn draw(from: &mut impl Choices, taste: &Taste) -> Self {
        let durable = !from.chance(taste.non_durable);
        let two_phase = from.chance(taste.two_phase);
        let quick_repair = from.chance(taste.quick_repair);
        let abort = from.chance(0.08);
        let (mut make, mut restore, mut delete) = (None, None, None);
        match from.below(40) {
            0 => make = Some(Kind::Persistent),
            1 => restore = Some((Kind::Persistent, from.place(3))),
            2..=4 => delete = Some(from.place(3)),
            5 => make = Some(Kind::Ephemeral),
            6..=15 => restore = Some((Kind::Ephemeral, from.place(3))),
            _ => {}
        }
        let rows = match from.below(10) {
            0..=3 => 1,
            4..=7 => from.between(2, 20),
            _ => from.between(20, 300),
        };
        // Now and then a transaction that empties the tables, so that the file shrinks.
        let removes = if from.chance(0.1) { 0.95 } else { taste.removes };
        let mut ops = Vec::new();
        for _ in 0..rows {
            if from.exhausted() {
                break;
            }
            ops.push(Op::draw(from, taste, removes));
        }
        Self { durable, two_phase, quick_repair, abort, make, restore, delete, ops }
    }
}

impl Step {
    /// Any; a transaction four times out of five.
    pub fn draw(from: &mut impl Choices, taste: &Taste) -> Self {
        match from.below(100) {
            0..=3 => Self::Compact,
            4..=9 => Self::Reopen,
            10..=11 => Self::CheckIntegrity,
            12..=16 => {
                Self::Look((0..10).map(|_| (from.place(3), from.number(taste.keys))).collect())
            }
            17 => Self::Hold,
            18 => Self::CheckHeld,
            19 => Self::Release,
            20..=23 => Self::Rotate(u64::from(from.number(40)) + 1),
            _ => Self::Transaction(Transaction::draw(from, taste)),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Power,
    Kill,
    FailedSync,
    FailedWrite,
}

impl Sort {
    fn draw(from: &mut impl Choices, menu: Menu) -> Self {
        match from.below(5) {
            _ if menu == Menu::PowerCuts => Self::Power,
            0 => Self::Kill,
            1 => Self::FailedSync,
            2 => Self::FailedWrite,
            _ => Self::Power,
        }
    }

    /// What goes wrong, within a horizon of operations.
    fn fault(self, from: &mut impl Choices, horizon: u64) -> Fault {
        match self {
            Self::FailedSync => {
                let (tearing, survival) = draw_loss(from);
                Fault::FailSync { after: from.skewed_below(horizon.div_ceil(8)), tearing, survival }
            }
            Self::FailedWrite => Fault::FailWrite(from.skewed_below(horizon)),
            Self::Power | Self::Kill => Fault::Cut(from.skewed_below(horizon)),
        }
    }

    /// What happens to the machine then. After a failed sync or write the process ends by itself
    /// and the machine runs on with what is left, as a rule.
    fn crash(self, from: &mut impl Choices) -> Crash {
        let (tearing, survival) = draw_loss(from);
        match self {
            Self::Kill | Self::FailedSync => Crash::Kill,
            Self::FailedWrite if from.chance(0.7) => Crash::Kill,
            Self::FailedWrite | Self::Power => Crash::PowerCut { tearing, survival },
        }
    }

    /// What comes after that crash: what a kill left in the cache is at risk until the power goes.
    fn after(crash: Crash, from: &mut impl Choices, menu: Menu) -> Self {
        if crash == Crash::Kill { Self::Power } else { Self::draw(from, menu) }
    }
}

/// Which units land, and which of them.
fn draw_loss(from: &mut impl Choices) -> (Tearing, Survival) {
    let tearing = match from.below(3) {
        0 => Tearing::Sector512,
        1 => Tearing::Page4096,
        _ => Tearing::WholeWrite,
    };
    let survival = match from.below(10) {
        0 => Survival::Each(0.0),
        1 => Survival::Each(1.0),
        2 => Survival::Prefix,
        3 => Survival::AllButOne,
        4 => Survival::OnlyOne,
        5 => Survival::Each(0.1),
        6 => Survival::Each(0.9),
        _ => Survival::Each(0.5),
    };
    (tearing, survival)
}

impl Round {
    fn draw(from: &mut impl Choices, menu: Menu, taste: &Taste, sort: &mut Sort) -> Self {
        let steps = from.skewed_below(24).saturating_add(1);
        let armed_at = usize::try_from(from.below(steps)).unwrap_or(0);
        let close = from.chance(0.3);
        let fault = Some((armed_at, sort.fault(from, 200)));
        let mut drawn = Vec::new();
        for _ in 0..steps {
            if from.exhausted() {
                break;
            }
            drawn.push(Step::draw(from, taste));
        }
        let crash = sort.crash(from);
        *sort = Sort::after(crash, from, menu);
        let mut nested = Vec::new();
        while nested.len() < 2 && from.chance(0.6) {
            let fault = sort.fault(from, 32);
            let crash = sort.crash(from);
            *sort = Sort::after(crash, from, menu);
            nested.push(Nested { fault, crash });
        }
        Self { steps: drawn, fault, close, crash, nested }
    }
}

impl Program {
    /// Up to three rounds of work and crash, each crash with up to two more in its recovery.
    pub fn draw(from: &mut impl Choices, menu: Menu, hole: Option<Hole>) -> Self {
        let cache_bytes = from.one_of(&[0, 64 << 10, 64 << 10, 256 << 10, 1 << 20]);
        let seal_reserve = from.chance(0.5).then(|| from.between(5, 300));
        let tag_cache_bytes = from.chance(0.25).then_some(0);
        let late_entries = from.chance(0.6).then(|| from.one_of(&[0, 0, 4, 12, 30]));
        let gathered_pages = from.chance(0.6).then(|| from.one_of(&[0, 1, 2, 8, 40]));
        let settings = Settings {
            cache_bytes,
            tag_cache_bytes,
            seal_reserve,
            gathered_pages,
            late_entries,
            hole,
        };
        let seed = from.below(1 << 32);
        let taste = Taste::draw(from);
        let mut sort = Sort::draw(from, menu);
        let cut_creation = from.chance(0.06).then(|| {
            let operations = from.skewed_below(40);
            let crash = sort.crash(from);
            sort = Sort::after(crash, from, menu);
            (operations, crash)
        });
        let wanted = from.between(1, 3);
        // Some begin with several groups' worth of data.
        let mut filling = from.chance(0.15).then(|| {
            let rows = from.between(300, 1500);
            Transaction::filling(from, &taste, rows)
        });
        let mut rounds = Vec::new();
        for _ in 0..wanted {
            let mut round = Round::draw(from, menu, &taste, &mut sort);
            if let Some(filling) = filling.take() {
                round.steps.insert(0, Step::Transaction(filling));
                round.fault = round.fault.map(|(at, fault)| (at.saturating_add(1), fault));
            }
            rounds.push(round);
            if from.exhausted() {
                break;
            }
        }
        Self { seed, settings, cut_creation, rounds }
    }

    /// The program that a fuzzer's bytes are: any bytes are one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self::draw(&mut Bytes::new(bytes), Menu::All, None)
    }
}
