//! Random programs over a database, beside a model of what it must hold: transactions of every
//! kind, savepoints, held readers, compaction, reopening, and crashes in the middle of all of it.
//!
//! A [`Program`] is plain data: it is drawn from a seed, decoded from a fuzzer's bytes or built by
//! hand, prints with `{:?}`, and can be shrunk. [`run`] takes it through on any [`Room`]: here
//! strongroom ([`Vault`]) and plain redb ([`Plain`]). The oracle ([`History`]) knows every
//! committed state and which of them a crash may leave: the last commit that returned, or a later
//! one; never an older one, never a mix.
//!
//! ```
//! use strongroom::testkit::SeededRandom;
//! use strongroom::testkit::model::{Menu, Program, Vault, Verdict, run};
//!
//! let program = Program::draw(&mut SeededRandom::new(2), Menu::All, None);
//! assert_eq!(run::<Vault>(&program).verdict, Verdict::Fine);
//! ```

mod choices;
mod content;
mod draw;
mod history;
mod life;
mod operations;
mod program;
mod room;
mod work;

pub use choices::{Bytes, Choices};
pub use content::{Content, Observed, PAIRS, TABLES, Tables, Value, key_bytes};
pub use draw::Taste;
pub use history::{Found, History};
pub use life::{KINDS, Life, Story, Verdict, run};
pub use program::{Fault, Kind, Menu, Nested, Op, Program, Round, Step, Transaction};
pub use room::{CrashBackend, NotOpened, Plain, PlainBackend, RedbOn, Room, Settings, Vault};
pub use work::Trouble;
