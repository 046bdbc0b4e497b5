//! The oracle: the content after each commit, in order, and which of these states a crash may
//! leave. A commit that returned as durable is the oldest that may be found; one that was in
//! flight, or was not to be durable, may be found or not.

use super::content::{Content, Observed};

/// Which state was found after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// One that the rules allow.
    Allowed,
    /// One older by so many commits: commits that had returned are gone.
    Older(usize),
    /// None that was ever committed.
    None,
}

/// Every committed state from the first on.
#[derive(Clone, Debug, Default)]
pub struct History {
    earlier: Vec<Content>,
    newest: Content,
    /// The place of the newest state that was acknowledged as durable.
    durable: usize,
}

impl History {
    /// Of an empty database.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The newest state, durable or not.
    #[must_use]
    pub fn newest(&self) -> &Content {
        &self.newest
    }

    /// A commit that may be found after a crash, but need not.
    pub fn commit(&mut self, content: Content) {
        self.earlier.push(std::mem::replace(&mut self.newest, content));
    }

    /// Everything up to now was acknowledged as durable.
    pub fn acknowledge(&mut self) {
        self.durable = self.earlier.len();
    }

    /// How many states are at stake: committed but not acknowledged.
    #[must_use]
    pub fn uncertain(&self) -> usize {
        self.earlier.len().saturating_sub(self.durable)
    }

    fn state(&self, place: usize) -> &Content {
        self.earlier.get(place).unwrap_or(&self.newest)
    }

    /// Judges what was found. An allowed state becomes the newest one, durable by being seen.
    pub fn find(&mut self, observed: &Observed) -> Found {
        let allowed = (self.durable..=self.earlier.len()).rev();
        let places = allowed.chain((0..self.durable).rev());
        let found = places.into_iter().find(|place| observed.is(self.state(*place)));
        match found {
            Some(place) if place >= self.durable => {
                self.newest = self.state(place).clone();
                self.earlier.truncate(place);
                self.durable = place;
                Found::Allowed
            }
            Some(place) => Found::Older(self.durable.saturating_sub(place)),
            None => Found::None,
        }
    }
}
