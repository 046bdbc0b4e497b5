//! `revoke`: takes a key slot away together with the keys behind it.

use clap::Args;
use serde_json::{Value, json};
use strongroom::{Credential, Database, Revoked, Role, SlotId, SlotInfo, Throttle};

use crate::administration::{Administered, Administration};
use crate::commands::rotate::work::{self, Work};
use crate::credential::Source;
use crate::credential::provider::Chosen;
use crate::failure::Failure;
use crate::output::Output;
use crate::shapes;

/// Revoke a key slot: its holder is shut out, also if he kept the keys behind it
///
/// A new root key is made, which his old one does not lead to. Of a data slot nothing else changes:
/// everybody else's credential opens the file as before.
///
/// An admin slot's holder could open every other slot of an old copy of the file. So only those
/// slots stay whose credentials are given: the one that you revoke with, and each named with
/// --keep. All others are dropped, which --drop-others says that you know.
///
/// What he could read before, he may have copied; no program takes that back. And he may have kept
/// the data key: with an old copy of the header he could read pages written from now on, until the
/// data key is replaced too. --rotate does that at once.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom revoke notes.room laptop --rotate
  strongroom revoke notes.room 2 --key-file mine.key --keep 3=ask --keep ci=key-file:ci.key")]
pub(crate) struct Revoke {
    #[command(flatten)]
    administration: Administration,
    /// The slot, by number or label
    #[arg(value_name = "SLOT")]
    which: String,
    /// Replace the data key, too: every page is sealed anew
    #[arg(long)]
    rotate: bool,
    /// Of an admin slot: keep another slot, whose credential is asked for, or found where it is
    /// said: SLOT=ask, SLOT=recovery-code, SLOT=key-file:FILE, SLOT=passphrase-fd:N,
    /// SLOT=key-env:NAME, SLOT=pkcs11:URI, SLOT=tpm (a slot of a key service stays if you come with
    /// it)
    #[arg(long, value_name = "SLOT=WHERE")]
    keep: Vec<String>,
    /// Of an admin slot: drop all slots that are not kept
    #[arg(long)]
    drop_others: bool,
}

impl Revoke {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        let administered = self.administration.begin()?;
        let slot = administered.slot(&self.which)?;
        let revoked = match slot.role {
            Role::Data if self.keep.is_empty() => administered.session()?.revoke_data(slot.id)?,
            Role::Data => {
                return Err(Failure::usage(format!(
                    "slot {} is a data slot: all others stay by themselves",
                    slot.id.0
                ))
                .hint("leave --keep out"));
            }
            Role::Admin => self.revoke_admin(&administered, &slot)?,
        };
        let dropped: Vec<Value> = revoked.dropped.iter().map(shapes::slot_json).collect();
        let json = json!({ "revoked": shapes::slot_json(&revoked.slot), "dropped": dropped });
        out.done(&json, format_args!("revoked {}", shapes::slot_line(&revoked.slot)))?;
        for slot in &revoked.dropped {
            out.warn(format_args!("dropped {}", shapes::slot_line(slot)));
        }
        self.then_rotate(administered.db, &revoked, out)
    }

    fn revoke_admin(
        &self,
        administered: &Administered,
        slot: &SlotInfo,
    ) -> Result<Revoked, Failure> {
        let own = administered.own_slot()?;
        if own.id == slot.id {
            return Err(Failure::refused(format!(
                "slot {} is the one that you came with: it can't revoke itself",
                slot.id.0
            ))
            .hint("revoke it with another administrator's credential"));
        }
        let mut keep: Vec<(SlotId, Box<dyn Credential>)> = Vec::new();
        for text in &self.keep {
            let (name, source) = parse_keep(text)?;
            keep.push((administered.slot(&name)?.id, source.read()?));
        }
        let stays = |id: SlotId| id == own.id || keep.iter().any(|(kept, _)| *kept == id);
        let others = administered.slots().into_iter();
        let lost: Vec<String> = others
            .filter(|other| other.id != slot.id && !stays(other.id))
            .map(|other| shapes::slot_line(&other))
            .collect();
        if !lost.is_empty() && !self.drop_others {
            return Err(Failure::refused(format!(
                "slot {} is an admin slot: without their credentials these slots would be dropped:\
                 \n  {}",
                slot.id.0,
                lost.join("\n  ")
            ))
            .hint("name each with --keep SLOT=WHERE, or say --drop-others"));
        }
        let mut named: Vec<(SlotId, &dyn Credential)> = vec![(own.id, administered.key())];
        named.extend(keep.iter().map(|(id, key)| (*id, &**key)));
        Ok(administered.session()?.revoke_admin(slot.id, &named)?)
    }

    fn then_rotate(
        &self,
        db: Database,
        revoked: &Revoked,
        out: &mut Output,
    ) -> Result<(), Failure> {
        if !self.rotate {
            db.close()?;
            if revoked.needs_rotation {
                out.warn(
                    "who held it may have kept the data key: `strongroom rotate FILE --anew` \
                     replaces it",
                );
            }
            return Ok(());
        }
        let rotation = db.rotate_anew()?;
        let file = self.administration.open.file.clone();
        let work = Work { file, throttle: Throttle::None, give_up_unreadable: false };
        let done = work.to_the_end(db, &rotation, out)?;
        work::say_done(&done, out)
    }
}

/// `SLOT=WHERE`.
fn parse_keep(text: &str) -> Result<(String, Source), Failure> {
    let wrong = || {
        Failure::usage(format!("--keep {text}: it takes SLOT=WHERE")).hint(
            "WHERE is ask, recovery-code, key-file:FILE, passphrase-fd:N, key-env:NAME, pkcs11:URI \
             or tpm",
        )
    };
    // A label may have a `=` in it, a file name too: WHERE begins behind the first one that fits.
    let fits = text.match_indices('=').find_map(|(at, _)| {
        let (slot, place) = (text.get(..at)?, text.get(at + 1..)?);
        Some((slot.to_owned(), source_of(slot, place)?))
    });
    fits.filter(|(slot, _)| !slot.is_empty()).ok_or_else(wrong)
}

fn source_of(slot: &str, place: &str) -> Option<Source> {
    let (kind, rest) = place.split_once(':').unwrap_or((place, ""));
    Some(match (kind, rest) {
        ("ask", "") => Source::Terminal(format!("Passphrase of slot {slot}")),
        ("recovery-code", "") => Source::RecoveryCode(None),
        ("key-file", file) if !file.is_empty() => {
            Source::KeyFile { path: file.into(), allow_readable: false }
        }
        ("passphrase-fd", fd) => Source::PassphraseFd(fd.parse().ok()?),
        ("key-env", name) if !name.is_empty() => Source::KeyEnv(name.to_owned()),
        ("pkcs11", _) | ("tpm", "") => {
            Source::Provider { chosen: Chosen::by_name(place), allow_readable: false }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_named_with_where_its_key_is() {
        for (text, slot, source) in [
            ("3=ask", "3", Source::Terminal("Passphrase of slot 3".to_owned())),
            ("a=b=ask", "a=b", Source::Terminal("Passphrase of slot a=b".to_owned())),
            ("paper=recovery-code", "paper", Source::RecoveryCode(None)),
            (
                "ci=key-file:a=ask",
                "ci",
                Source::KeyFile { path: "a=ask".into(), allow_readable: false },
            ),
            ("3=passphrase-fd:7", "3", Source::PassphraseFd(7)),
            ("3=key-env:K", "3", Source::KeyEnv("K".to_owned())),
            (
                "3=pkcs11:object=k",
                "3",
                Source::Provider {
                    chosen: Chosen::by_name("pkcs11:object=k"),
                    allow_readable: false,
                },
            ),
        ] {
            assert_eq!(parse_keep(text).unwrap(), (slot.to_owned(), source), "{text}");
        }
        for bad in ["", "3", "3=", "=ask", "3=key-file:", "3=passphrase-fd:x", "3=other", "3=ask:x"]
        {
            assert!(parse_keep(bad).is_err(), "{bad}");
        }
    }
}
