//! A program as plain data: what is done to a database, what goes wrong meanwhile, and which crash
//! ends it. Nothing here runs anything. Every number stands for something in any state of the
//! database (the `n`th savepoint counts round), so any part of a program can be left out and the
//! rest still is one: that is what shrinking needs.

use std::fmt;

use super::room::Settings;
use crate::testkit::{Crash, CrashMedium, Survival, Tearing};

/// Which crashes a drawn program is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Menu {
    /// All kinds.
    All,
    /// Power cuts only.
    PowerCuts,
}

/// What is done to one row or some; the database's answer is compared with the model's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Inserts a value of so many bytes, which are those of the seed.
    Put {
        /// Which of [`super::TABLES`].
        table: usize,
        /// The key's number.
        key: u32,
        /// Bytes.
        length: u32,
        /// Of the value.
        seed: u64,
    },
    /// Removes a row, which need not be there.
    Remove {
        /// Which of [`super::TABLES`].
        table: usize,
        /// The key's number.
        key: u32,
    },
    /// Removes the first row of a table.
    PopFirst(usize),
    /// Removes the last row of a table.
    PopLast(usize),
    /// Removes the rows of a table whose keys this divides.
    Retain(usize, u32),
    /// Removes every third row of a range of keys, the end not included.
    Extract(usize, u32, u32),
    /// Reads a range of keys backwards, the end not included.
    Range(usize, u32, u32),
    /// Deletes a table.
    DropTable(usize),
    /// Inserts into the multimap.
    Pair(u32, u32),
    /// Removes from the multimap.
    Unpair(u32, u32),
    /// Removes all of a key from the multimap.
    UnpairAll(u32),
}

/// The two kinds of savepoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Lives in the database.
    Persistent,
    /// Lives as long as its handle and the open database.
    Ephemeral,
}

/// One write transaction. What redb refuses, such as a persistent savepoint in a transaction that
/// is not durable, is left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transaction {
    /// `Durability::Immediate`; else `None`.
    pub durable: bool,
    /// With two-phase commit.
    pub two_phase: bool,
    /// With quick repair.
    pub quick_repair: bool,
    /// Aborted at its end.
    pub abort: bool,
    /// A savepoint made at its start.
    pub make: Option<Kind>,
    /// Then, the `n`th savepoint of a kind is restored.
    pub restore: Option<(Kind, usize)>,
    /// Then, the `n`th persistent savepoint is deleted.
    pub delete: Option<usize>,
    /// Then, these.
    pub ops: Vec<Op>,
}

impl Default for Transaction {
    /// A durable one-phase commit of nothing.
    fn default() -> Self {
        Self {
            durable: true,
            two_phase: false,
            quick_repair: false,
            abort: false,
            make: None,
            restore: None,
            delete: None,
            ops: Vec::new(),
        }
    }
}

/// One thing done to a database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// A write transaction.
    Transaction(Transaction),
    /// Reads some rows, (table, key), and compares them with the newest commit.
    Look(Vec<(usize, u32)>),
    /// Reads everything, and compares it with the newest commit.
    ReadAll,
    /// Begins a read transaction and keeps it.
    Hold,
    /// Reads all that the kept read transactions see, which must be what they saw at first.
    CheckHeld,
    /// Ends the kept read transactions.
    Release,
    /// Compacts.
    Compact,
    /// Closes and opens again.
    Reopen,
    /// Lets redb check everything.
    CheckIntegrity,
    /// Deletes every persistent savepoint.
    ForgetSavepoints,
    /// Takes so many steps of a rotation of the data key, to its end if there are fewer; begins one
    /// where none is due. Nothing for a database without data keys.
    Rotate(u64),
}

impl fmt::Display for Step {
    /// Without every single row: for a trace.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Transaction(transaction) = self else { return write!(f, "{self:?}") };
        let ops = transaction.ops.len();
        let bare = Transaction { ops: Vec::new(), ..transaction.clone() };
        write!(f, "{ops} operations in {bare:?}")
    }
}

/// What is planned to go wrong.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Fault {
    /// The power goes, or the process is killed, after so many operations.
    Cut(u64),
    /// A sync fails after so many others, and this of it lands.
    FailSync {
        /// Syncs before it.
        after: u64,
        /// The unit that lands or doesn't.
        tearing: Tearing,
        /// Which units land.
        survival: Survival,
    },
    /// A write fails after so many others.
    FailWrite(u64),
}

impl Fault {
    /// Plans it on this machine.
    pub fn plan(self, medium: &CrashMedium) {
        match self {
            Self::Cut(operations) => medium.cut_after(operations),
            Self::FailSync { after, tearing, survival } => {
                medium.fail_sync_after(after, tearing, survival);
            }
            Self::FailWrite(writes) => medium.fail_write_after(writes),
        }
    }
}

/// A crash in a recovery.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Nested {
    /// Planned before the database is opened; it may strike later, or never.
    pub fault: Fault,
    /// What happens to the machine where the open failed.
    pub crash: Crash,
}

/// From one crash to the next.
#[derive(Clone, PartialEq, Debug)]
pub struct Round {
    /// What is done until something goes wrong.
    pub steps: Vec<Step>,
    /// What goes wrong, planned before the `n`th step. Without a fault the crash finds the
    /// database idle and open.
    pub fault: Option<(usize, Fault)>,
    /// Closes cleanly where nothing went wrong.
    pub close: bool,
    /// What happens to the machine then.
    pub crash: Crash,
    /// Crashes in the recovery, at most.
    pub nested: Vec<Nested>,
}

/// A database's whole life. After the last crash comes an integrity check, one more commit, a
/// clean close and a reopen.
#[derive(Clone, Debug)]
pub struct Program {
    /// Decides what each crash keeps.
    pub seed: u64,
    /// How the database is opened.
    pub settings: Settings,
    /// Creation is cut after so many operations, if it has as many, and this happens then.
    pub cut_creation: Option<(u64, Crash)>,
    /// One after the other.
    pub rounds: Vec<Round>,
}
