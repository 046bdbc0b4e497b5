//! A case is a line: what is being done, the seed of the work, and the fault plan. It prints when
//! it fails and parses from the environment.

use std::fmt;
use std::str::FromStr;

use strongroom::testkit::FaultPlan;

/// What is being done while the medium goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// A database is created.
    Create,
    /// A cleanly closed one is opened and read.
    Open,
    /// The same, read-only.
    ReadOnly,
    /// One that was left open is opened and read.
    Recover,
    /// Commits and reads.
    Use,
    /// A close.
    Close,
}

impl Phase {
    pub const ALL: [Self; 6] =
        [Self::Create, Self::Open, Self::ReadOnly, Self::Recover, Self::Use, Self::Close];

    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Open => "open",
            Self::ReadOnly => "open read-only",
            Self::Recover => "recover",
            Self::Use => "use",
            Self::Close => "close",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Case {
    pub phase: Phase,
    pub seed: u64,
    pub plan: FaultPlan,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, seed {}: {}", self.phase.name(), self.seed, self.plan)
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let parts = || {
            let (head, plan) = line.split_once(": ")?;
            let (phase, seed) = head.split_once(", seed ")?;
            let phase = Phase::ALL.into_iter().find(|known| known.name() == phase)?;
            Some(Self { phase, seed: seed.parse().ok()?, plan: plan.parse().ok()? })
        };
        parts().ok_or_else(|| format!("`{line}`: write `use, seed 1: write error once after 3`"))
    }
}

#[test]
fn a_case_prints_and_parses_back() {
    for phase in Phase::ALL {
        let plan = "lost write in tag page once after 3; slow by 1 us".parse().unwrap();
        let case = Case { phase, seed: 7, plan };
        assert_eq!(case.to_string().parse(), Ok(case));
    }
    assert!("use, seed x: no fault".parse::<Case>().is_err());
}
