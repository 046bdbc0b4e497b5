//! An attacker without a key: he has the file as it was after every sync ([`FileHistory`]), knows
//! its map ([`Part`]), and edits it: any byte, pages swapped, copied, zeroed, put back as they
//! were, taken from another file, the file cut or extended. Each single edit can be had
//! exhaustively, and combinations at random; an [`Attack`] prints as a line and parses back.
//!
//! He makes files; opening them and judging what comes out is the test's business, with one help:
//! [`Attacker::states_put_back`] tells a mix that in effect puts a whole older state back, which
//! nothing inside the file can tell (docs/threat-model.md, attack 5), from one that must be
//! noticed.

mod choices;
mod edit;
mod history;
mod map;
#[cfg(test)]
mod tests;
mod whole;

pub use edit::{Attack, AttackError, Edit, Span};
pub use history::{FileHistory, RecordingMedium};
pub use map::Part;

/// Edits the last state of a history.
///
/// ```
/// use strongroom::medium::MemoryMedium;
/// use strongroom::redb::{ReadableDatabase, TableDefinition};
/// use strongroom::testkit::{Attacker, RecordingMedium};
/// use strongroom::{Builder, RawKey};
///
/// // An application's database, and what somebody copied of it after every sync.
/// const NOTES: TableDefinition<&str, u64> = TableDefinition::new("notes");
/// let (key, disk) = (RawKey::new([7; 32]), RecordingMedium::new(MemoryMedium::new()));
/// let db = Builder::new().create_on(disk.clone(), &key)?;
/// for balance in [100, 20] {
///     let txn = db.begin_write()?;
///     txn.open_table(NOTES)?.insert("balance", balance)?;
///     txn.commit()?;
/// }
/// db.close()?;
///
/// // Whatever page he puts back, the balance is an error or what it is, and never grows again.
/// let balance = |file: Vec<u8>| -> Result<u64, strongroom::Error> {
///     let db = Builder::new().open_on(MemoryMedium::from_bytes(file), &key)?;
///     let balance = db.begin_read()?.open_table(NOTES)?.get("balance")?;
///     Ok(balance.map_or(0, |balance| balance.value()))
/// };
/// let attacker = Attacker::new(disk.history());
/// for attack in attacker.replays() {
///     let found = balance(attacker.apply(&attack));
///     assert!(found.is_err() || matches!(found, Ok(20)), "{attack}: {found:?}");
/// }
/// assert_eq!(balance(attacker.current().to_vec())?, 20);
/// # Ok::<(), strongroom::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Attacker {
    history: FileHistory,
    current: Vec<u8>,
    other: Vec<u8>,
}

impl Attacker {
    /// Of the file whose last state this history ends with.
    #[must_use]
    pub fn new(history: FileHistory) -> Self {
        let current = history.image(history.last());
        Self { history, current, other: Vec::new() }
    }

    /// Gives him another file to take pages from: another database, or another timeline of this
    /// one.
    #[must_use]
    pub fn with_other(mut self, image: Vec<u8>) -> Self {
        self.other = image;
        self
    }

    /// What he has recorded.
    #[must_use]
    pub fn history(&self) -> &FileHistory {
        &self.history
    }

    /// The file as it is.
    #[must_use]
    pub fn current(&self) -> &[u8] {
        &self.current
    }

    /// The file as it is after an attack. Pages that a source doesn't have stay what they were; an
    /// edit that would make the file longer than 1 GiB does nothing.
    #[must_use]
    pub fn apply(&self, attack: &Attack) -> Vec<u8> {
        let mut file = self.current.clone();
        for edit in &attack.edits {
            self.edit(&mut file, *edit);
        }
        file
    }

    fn edit(&self, file: &mut Vec<u8>, edit: Edit) {
        match edit {
            Edit::Flip { byte, xor } => {
                let place = usize::try_from(byte).ok().and_then(|byte| file.get_mut(byte));
                if let Some(byte) = place {
                    *byte ^= xor;
                }
            }
            Edit::Replay { pages, state } => {
                for page in pages.first..pages.end.min(self.history.blocks_in(state)) {
                    let bytes = self.history.block(state, page).unwrap_or_default();
                    put(file, self.offset(page), bytes);
                }
            }
            Edit::ReplayFile { state } => *file = self.history.image(state),
            Edit::Copy { pages, to } => {
                let bytes = self.cut_out(file, pages);
                put(file, self.offset(to), &bytes);
            }
            Edit::CopyIn { pages, to } => {
                let bytes = self.cut_out(&self.other, pages);
                put(file, self.offset(to), &bytes);
            }
            Edit::Swap { pages, with } => {
                let second = Span { first: with, end: with.saturating_add(pages.len()) };
                let (ours, theirs) = (self.cut_out(file, pages), self.cut_out(file, second));
                put(file, self.offset(with), &ours);
                put(file, self.offset(pages.first), &theirs);
            }
            Edit::Zero { pages } => {
                let zeros = vec![0; self.cut_out(file, pages).len()];
                put(file, self.offset(pages.first), &zeros);
            }
            Edit::Cut { len } => file.truncate(usize::try_from(len).unwrap_or(usize::MAX)),
            Edit::Extend { len, fill } => {
                let len = usize::try_from(len).ok().filter(|len| *len <= LONGEST);
                file.resize(len.unwrap_or(0).max(file.len()), fill);
            }
        }
    }

    fn offset(&self, page: u64) -> usize {
        let page = usize::try_from(page).unwrap_or(usize::MAX);
        page.saturating_mul(self.history.block_size())
    }

    fn cut_out(&self, file: &[u8], pages: Span) -> Vec<u8> {
        let start = self.offset(pages.first).min(file.len());
        let end = self.offset(pages.end).min(file.len());
        file.get(start..end).unwrap_or_default().to_vec()
    }
}

// An edit that asks for more than this is a slip, not an attack.
const LONGEST: usize = 1 << 30;

fn put(file: &mut Vec<u8>, start: usize, bytes: &[u8]) {
    let Some(end) = start.checked_add(bytes.len()).filter(|end| *end <= LONGEST) else { return };
    if bytes.is_empty() {
        return;
    }
    if file.len() < end {
        file.resize(end, 0);
    }
    if let Some(place) = file.get_mut(start..end) {
        place.copy_from_slice(bytes);
    }
}
