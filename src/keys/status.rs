//! What there is to say about a file's keys, as plain data: no key, no secret, everything from a
//! header that was believed.

use std::fmt;

use super::slots::{self, SlotInfo};
use crate::format::completion::Completion;
use crate::format::header::{EpochState, Header};
use crate::format::key_slot::Role;
use crate::format::policy::Policy;
use crate::units::{Epoch, FileId, Generation, SlotId};

/// The state of a file's keys ([`Database::key_status`](crate::Database::key_status)).
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct KeyStatus {
    /// The file.
    pub file_id: FileId,
    /// How many header commits there were.
    pub generation: Generation,
    /// How many changes of slots or policy there were. Whoever writes this number down elsewhere
    /// can tell an older signed table from the newest.
    pub admin_generation: u64,
    /// The two header copies.
    pub copies: HeaderCopies,
    /// Whether an admin slot opens no data.
    pub split_roles: bool,
    /// The key slots, in the order of the table.
    pub slots: Vec<SlotInfo>,
    /// The data keys, oldest first.
    pub epochs: Vec<EpochInfo>,
    /// The policy.
    pub policy: Policy,
    /// The last eight finished rotations, the newest last.
    pub rotations: Vec<Completion>,
    /// What the policy wants done.
    pub due: Vec<Due>,
    /// Whether key memory is locked against swapping.
    pub memory_locked: bool,
}

/// What became of the two header copies at open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderCopies {
    /// Both were whole and equal.
    Healthy,
    /// One was torn, older or altered, and was rewritten from the other.
    Healed,
}

/// A data key.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct EpochInfo {
    /// Its number.
    pub epoch: Epoch,
    /// What it is at.
    pub state: EpochState,
    /// When it was made, Unix seconds.
    pub created: u64,
    /// How long ago that is, seconds.
    pub age_s: u64,
    /// Pages sealed under it; of the active one a bound, never too small.
    pub sealed_pages: u64,
    /// The share of the file's sealed pages that are sealed under it, 0 to 1. While a rotation is
    /// under way all tag pages are read to find out; `None` where one of them could not be.
    pub share: Option<f64>,
}

/// Something that the policy wants done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Due {
    /// The active data key is older than the policy allows: rotate it.
    RotationByAge(Epoch),
    /// The active data key sealed more pages than the policy wants: rotate it.
    RotationByUse(Epoch),
    /// A retired data key should be gone by now.
    SweepOverdue(Epoch),
    /// A slot has expired: remove it or give it another date.
    SlotExpired(SlotId),
}

impl KeyStatus {
    /// `sealed_pages` is the count of the active data key, `now` the time that dates are judged by.
    pub(crate) fn of(
        header: &Header,
        sealed_pages: u64,
        clock: u64,
        copies: HeaderCopies,
        memory_locked: bool,
    ) -> Self {
        let now = slots::judged_time(header, clock);
        let epochs = header.epochs.iter().map(|record| EpochInfo {
            epoch: record.epoch,
            state: record.state,
            created: record.created,
            age_s: now.saturating_sub(record.created),
            sealed_pages: match record.state {
                EpochState::Active => sealed_pages,
                EpochState::Retired | EpochState::Compromised => record.sealed_pages,
            },
            share: None,
        });
        Self {
            file_id: header.file_id,
            generation: header.generation,
            admin_generation: header.admin_generation,
            copies,
            split_roles: !header.combined_roles,
            slots: slots::list(header, now),
            epochs: epochs.collect(),
            policy: header.policy,
            rotations: header.rotations.clone(),
            due: due(header, sealed_pages, now),
            memory_locked,
        }
    }
}

fn due(header: &Header, sealed_pages: u64, now: u64) -> Vec<Due> {
    let (policy, mut due) = (&header.policy, Vec::new());
    for record in &header.epochs {
        let since = |then: u64| now.saturating_sub(then);
        match record.state {
            EpochState::Active => {
                if since(record.created) >= policy.data_key_age_s {
                    due.push(Due::RotationByAge(record.epoch));
                }
                if sealed_pages >= policy.sealed_pages_soft {
                    due.push(Due::RotationByUse(record.epoch));
                }
            }
            EpochState::Retired if since(record.retired) < policy.sweep_within_s => {}
            EpochState::Retired | EpochState::Compromised => {
                due.push(Due::SweepOverdue(record.epoch));
            }
        }
    }
    let expired = header.slots.iter().flatten().filter(|slot| slots::is_expired(slot, now));
    due.extend(expired.map(|slot| Due::SlotExpired(SlotId(slot.id))));
    due
}

impl fmt::Display for KeyStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let copies = match self.copies {
            HeaderCopies::Healthy => "healthy",
            HeaderCopies::Healed => "healed at open",
        };
        let roles = if self.split_roles { "split" } else { "combined" };
        let memory = if self.memory_locked { "locked" } else { "not locked" };
        writeln!(
            f,
            "file {}, header {}, admin generation {}, copies {copies}, roles {roles}, key memory \
             {memory}",
            self.file_id, self.generation, self.admin_generation
        )?;
        for slot in &self.slots {
            writeln!(f, "{slot}")?;
        }
        for epoch in &self.epochs {
            writeln!(f, "{epoch}")?;
        }
        for Completion { from, to, begun, ended, pages, lost } in &self.rotations {
            writeln!(
                f,
                "rotated from {from} to {to}, {begun} to {ended}, {pages} pages sealed anew, \
                 {lost} given up"
            )?;
        }
        for due in &self.due {
            writeln!(f, "due: {due}")?;
        }
        Ok(())
    }
}

impl fmt::Display for SlotInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            Role::Data => "data",
            Role::Admin => "admin",
        };
        write!(f, "{}: {:?}, {role}, made {}", self.id, self.kind, self.created)?;
        if !self.label.is_empty() {
            write!(f, ", \"{}\"", self.label.escape_debug())?;
        }
        if let Some(not_after) = self.not_after {
            write!(f, ", {} {not_after}", if self.expired { "expired" } else { "good until" })?;
        }
        Ok(())
    }
}

impl fmt::Display for EpochInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, state, created, age_s, sealed_pages, .. } = self;
        let days = age_s / 86_400;
        write!(f, "{epoch}: {state:?}, made {created}, {days} days old, {sealed_pages} pages")?;
        match self.share {
            Some(share) => write!(f, ", {:.1}% of the file", share * 100.0),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RotationByAge(epoch) => write!(f, "rotate: {epoch} is older than it should be"),
            Self::RotationByUse(epoch) => write!(f, "rotate: {epoch} sealed its share of pages"),
            Self::SweepOverdue(epoch) => write!(f, "{epoch} should be gone"),
            Self::SlotExpired(slot) => write!(f, "{slot} has expired"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::header::tests::example as header;

    #[test]
    fn what_is_due_follows_from_policy_and_time() {
        let mut header = header();
        header.clock_high_water = 0;
        header.slots.iter_mut().flatten().for_each(|slot| slot.not_after = 0);
        header.epochs[0].retired = 1000; // epoch 1; epoch 2 is active, made at 1
        let policy = header.policy;
        let (age, sweep) = (policy.data_key_age_s, policy.sweep_within_s);
        assert_eq!(due(&header, 0, age), []);
        assert_eq!(due(&header, 0, age + 1), [Due::RotationByAge(Epoch(2))]);
        assert_eq!(due(&header, 1 << 40, age), [Due::RotationByUse(Epoch(2))]);
        assert!(due(&header, 0, 1000 + sweep).contains(&Due::SweepOverdue(Epoch(1))));
        header.slots[0].as_mut().unwrap().not_after = 5;
        assert_eq!(due(&header, 0, 6), [Due::SlotExpired(SlotId(1))]);
    }

    #[test]
    fn the_text_names_everything_that_is_there() {
        let status = KeyStatus::of(&header(), 77, 12, HeaderCopies::Healed, false);
        let text = status.to_string();
        for part in [
            "header generation 3, admin generation 4, copies healed at open, roles combined",
            "not locked",
            "slot 1: Passphrase, admin, made 9, \"laptop\", expired 10",
            "epoch 2: Active, made 1, 0 days old, 77 pages",
            "due: slot 2 has expired",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
