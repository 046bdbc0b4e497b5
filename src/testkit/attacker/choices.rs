//! The attacks there are: each kind of single edit exhaustively, and combinations at random, which
//! their seed repeats.

use super::{Attack, Attacker, Edit, Part, Span};
use crate::testkit::SeededRandom;
use crate::units::CopyId;

impl Attacker {
    fn pages(&self) -> u64 {
        (self.current.len() as u64).div_ceil(self.history.block_size() as u64)
    }

    fn other_pages(&self) -> u64 {
        (self.other.len() as u64).div_ceil(self.history.block_size() as u64)
    }

    /// Every `step`th byte, its bits flipped one after the other from byte to byte.
    pub fn flips(&self, step: usize) -> impl Iterator<Item = Attack> {
        let step = step.max(1);
        (0..self.current.len()).step_by(step).map(move |byte| {
            let bit = u32::try_from(byte.wrapping_div(step) % 8).unwrap_or(0);
            let xor = 1_u8.wrapping_shl(bit);
            Edit::Flip { byte: byte as u64, xor }.into()
        })
    }

    /// Every older version of every page, one at a time.
    pub fn replays(&self) -> impl Iterator<Item = Attack> {
        (0..self.pages()).flat_map(|page| {
            let versions = self.history.older_versions(page);
            let pages = Span::page(page);
            versions.into_iter().map(move |state| Edit::Replay { pages, state }.into())
        })
    }

    /// Every part of a strongroom file that is longer than a page, header copies and whole groups,
    /// as it was in every state in which it differed.
    pub fn part_replays(&self) -> impl Iterator<Item = Attack> {
        let parts = Part::all_of(self.current.len() as u64);
        let spans = parts.filter_map(|part| match part {
            Part::Header(_) => Some(Span::from(part.file_pages())),
            Part::TagPage(group, CopyId::A) => {
                let first = part.file_pages().start;
                let behind = Part::TagPage(crate::units::GroupNo(group.0 + 1), CopyId::A);
                Some(Span { first, end: behind.file_pages().start })
            }
            _ => None,
        });
        spans.flat_map(move |pages| {
            let differs = move |state: usize| {
                let differs = |page| {
                    let then = self.history.block(state, page);
                    then.is_some() && then != self.history.block(self.history.last(), page)
                };
                (pages.first..pages.end).any(differs)
            };
            let states = (0..self.history.last()).filter(move |state| differs(*state));
            states.map(move |state| Edit::Replay { pages, state }.into())
        })
    }

    /// The whole file of every older state.
    pub fn file_replays(&self) -> impl Iterator<Item = Attack> {
        (0..self.history.last()).map(|state| Edit::ReplayFile { state }.into())
    }

    /// Every page exchanged with every other one.
    pub fn swaps(&self) -> impl Iterator<Item = Attack> {
        let pages = self.pages();
        (0..pages).flat_map(move |page| {
            (page + 1..pages).map(move |with| Edit::Swap { pages: Span::page(page), with }.into())
        })
    }

    /// Every page copied over every other one.
    pub fn copies(&self) -> impl Iterator<Item = Attack> {
        let pages = self.pages();
        (0..pages).flat_map(move |page| {
            let others = (0..pages).filter(move |to| *to != page);
            others.map(move |to| Edit::Copy { pages: Span::page(page), to }.into())
        })
    }

    /// Every page of the other file copied over every page of this one.
    pub fn foreign_copies(&self) -> impl Iterator<Item = Attack> {
        let (pages, others) = (self.pages(), self.other_pages());
        (0..others).flat_map(move |page| {
            (0..pages).map(move |to| Edit::CopyIn { pages: Span::page(page), to }.into())
        })
    }

    /// Each copy of a header, root record and tag page over its twin, as it is in this file, and
    /// as it is in the other one over both.
    pub fn twins(&self) -> impl Iterator<Item = Attack> {
        let len = self.current.len() as u64;
        Part::all_of(len).flat_map(|part| {
            let twin = match part {
                Part::Header(copy) => Part::Header(copy.other()),
                Part::Root(copy) => Part::Root(copy.other()),
                Part::TagPage(group, copy) => Part::TagPage(group, copy.other()),
                Part::Reserved | Part::DataPage(_) => return Vec::new(),
            };
            let (pages, to) = (Span::from(part.file_pages()), twin.file_pages().start);
            let both = [Edit::CopyIn { pages, to: pages.first }, Edit::CopyIn { pages, to }];
            vec![
                Edit::Copy { pages, to }.into(),
                Edit::CopyIn { pages, to: pages.first }.into(),
                both.into_iter().collect(),
            ]
        })
    }

    /// Zeros over every page, over both copies of every tag page, over every header copy and every
    /// group, and over everything behind the first group's start.
    pub fn zeroings(&self) -> impl Iterator<Item = Attack> {
        let len = self.current.len() as u64;
        let single = (0..self.pages()).map(Span::page);
        let runs = Part::all_of(len).flat_map(|part| match part {
            Part::Header(_) => vec![Span::from(part.file_pages())],
            Part::TagPage(_, CopyId::A) => {
                let first = part.file_pages().start;
                vec![Span { first, end: first + 2 }, Span { first, end: first + 128 }]
            }
            _ => Vec::new(),
        });
        let tail = Part::TagPage(crate::units::GroupNo(0), CopyId::A).file_pages().start;
        let tail = Span { first: tail, end: self.pages() };
        single.chain(runs).chain([tail]).map(|pages| Edit::Zero { pages }.into())
    }

    /// The file cut to every `step`th length, and extended by a byte, a page and a group, with
    /// zeros and with ones.
    pub fn cuts(&self, step: usize) -> impl Iterator<Item = Attack> {
        let len = self.current.len() as u64;
        let cuts = (0..self.current.len()).step_by(step.max(1));
        let cuts = cuts.map(|len| Edit::Cut { len: len as u64 }.into());
        let longer = [1, 4096, 128 * 4096]
            .into_iter()
            .flat_map(move |by| [0, 0xFF].map(|fill| Edit::Extend { len: len + by, fill }.into()));
        cuts.chain(longer)
    }

    /// Pages of the current state and of one or two older ones, mixed: each page that differs is
    /// put back with some probability. States of late are likelier than early ones.
    #[must_use]
    pub fn mix(&self, seed: u64) -> Attack {
        let mut random = SeededRandom::new(seed);
        let mut edits = Vec::new();
        for _ in 0..random.between(1, 2) {
            let back = usize::try_from(random.skewed_below(self.history.last() as u64));
            let state = self.history.last().saturating_sub(1 + back.unwrap_or(0));
            let probability = *random.pick(&[0.1, 0.5, 0.5, 0.9]).unwrap_or(&0.5);
            for page in 0..self.pages() {
                let then = self.history.block(state, page);
                let differs =
                    then.is_some() && then != self.history.block(self.history.last(), page);
                if differs && random.chance(probability) {
                    edits.push(Edit::Replay { pages: Span::page(page), state });
                }
            }
        }
        edits.into_iter().collect()
    }

    /// Pages of this file and of the other one at the same places, mixed.
    #[must_use]
    pub fn mix_with_other(&self, seed: u64) -> Attack {
        let mut random = SeededRandom::new(seed);
        let probability = *random.pick(&[0.1, 0.5, 0.5, 0.9]).unwrap_or(&0.5);
        let pages = 0..self.pages().min(self.other_pages());
        let pages = pages.filter(|page| {
            let pages = Span::page(*page);
            self.cut_out(&self.current, pages) != self.cut_out(&self.other, pages)
        });
        let taken = pages.filter(|_| random.chance(probability));
        taken.map(|page| Edit::CopyIn { pages: Span::page(page), to: page }).collect()
    }

    /// Two to five edits of any kinds.
    #[must_use]
    pub fn random(&self, seed: u64) -> Attack {
        let mut random = SeededRandom::new(seed);
        (0..random.between(2, 5)).map(|_| self.random_edit(&mut random)).collect()
    }

    fn random_edit(&self, random: &mut SeededRandom) -> Edit {
        let len = self.current.len() as u64;
        let first = random.below(self.pages());
        let pages = match random.below(8) {
            0 => Part::at(first * self.history.block_size() as u64).file_pages().into(),
            1 => Span { first, end: first + random.between(1, 8) },
            _ => Span::page(first),
        };
        let to = random.below(self.pages());
        let state = usize::try_from(random.below(self.history.last() as u64)).unwrap_or(0);
        match random.below(12) {
            0 => Edit::Flip { byte: random.below(len), xor: 1 << random.below(8) },
            1..=5 => Edit::Replay { pages, state },
            6 => Edit::Copy { pages, to },
            7 => Edit::CopyIn { pages, to: pages.first },
            8 => Edit::CopyIn { pages, to },
            9 => Edit::Swap { pages, with: to },
            10 => Edit::Zero { pages },
            _ if random.chance(0.5) => Edit::Cut { len: random.below(len) },
            _ => Edit::Extend { len: len + random.below(10_000), fill: 0 },
        }
    }
}
