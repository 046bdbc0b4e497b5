//! `rotate`: a new data key, and every page sealed anew under it. Works in the process that has the
//! file open, which is this one: what another `strongroom rotate` does is asked of it and told to it
//! (`control`). The work itself is in `work`.

mod control;
mod rate;
mod state;
pub(crate) mod work;

use std::thread;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use strongroom::{Database, Inspection};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::open::{OpenArgs, patiently};
use crate::output::Output;

use control::Order;
use rate::Rate;
use work::Work;

/// Replace the data key: seal every page anew under a new one, and forget the old one
///
/// Works until it is done. Ctrl-C, a kill or a power cut at any moment loses nothing: the file opens
/// with both keys, and `strongroom rotate` goes on where it was. When it is done nothing in the file
/// names the old key any more; what it can't reach are older copies, backups and spare flash
/// blocks.
///
/// Do it when `strongroom status` says that it is due, and with --anew after a revocation.
///
/// A file that an application has open is rotated by that application (the library's
/// `Database::rotate` or `Builder::auto_rotate`), not by this command.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom rotate notes.room                      to the end, as fast as it goes
  strongroom rotate notes.room --throttle 20M       20 MiB of pages a second
  strongroom rotate notes.room --status             from another terminal: how far it is
  strongroom rotate notes.room --pause              and --resume, --cancel
  strongroom rotate notes.room --resume             also: go on with an interrupted one, begin none")]
pub(crate) struct Rotate {
    #[command(flatten)]
    open: OpenArgs,
    /// At most so many bytes of pages a second: 500K, 20M, 1G
    #[arg(long, value_name = "BYTES")]
    throttle: Option<Rate>,
    /// Where the file is in use, wait for it instead of failing; another `strongroom rotate` is
    /// watched to its end
    #[arg(long)]
    wait: bool,
    /// Make a new key even if a rotation is unfinished: after a revocation
    #[arg(long)]
    anew: bool,
    /// Let redb check every page first, which tells unused pages that a crash left from damage
    #[arg(long)]
    check: bool,
    /// Go on without pages that don't open: they stay unreadable for good
    #[arg(long)]
    give_up_unreadable: bool,
    #[command(flatten)]
    other: OtherArgs,
}

/// What is asked of a rotation that another process is at work on. None of it needs a key, but
/// going on with one.
#[derive(Debug, Clone, Args)]
#[group(multiple = false)]
struct OtherArgs {
    /// Say how far it is, or what is unfinished
    #[arg(long, conflicts_with_all = ["wait", "anew", "throttle", "check", "give_up_unreadable"], help_heading = "A rotation that is under way")]
    status: bool,
    /// Stop the `strongroom rotate` that is at work, until --resume
    #[arg(long, conflicts_with_all = ["wait", "anew", "throttle", "check", "give_up_unreadable"], help_heading = "A rotation that is under way")]
    pause: bool,
    /// Go on: with one that is paused, or with one that was interrupted or cancelled
    #[arg(long, conflicts_with = "anew", help_heading = "A rotation that is under way")]
    resume: bool,
    /// End the `strongroom rotate` that is at work: both keys stay, and it can be gone on with
    #[arg(long, conflicts_with_all = ["wait", "anew", "throttle", "check", "give_up_unreadable"], help_heading = "A rotation that is under way")]
    cancel: bool,
}

const LOOK_EVERY: Duration = Duration::from_millis(200);

impl Rotate {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        let inspection = strongroom::inspect(&self.open.file)?;
        if self.other.status {
            return self.status(&inspection, out);
        }
        for (asked, order) in [(self.other.pause, Order::Pause), (self.other.cancel, Order::Cancel)]
        {
            if asked {
                return self.tell(order, out);
            }
        }
        if self.other.resume {
            if control::ask(&self.open.file, Order::Resume)?.is_some() {
                return out.done(&json!({ "told": "resume" }), "told to go on");
            }
            if !inspection.in_use && !state::is_unfinished(&inspection) {
                let nothing = json!({ "resumed": false });
                return out.done(&nothing, "no rotation is unfinished: there is nothing to do");
            }
        }
        let Some(db) = self.open_or_wait(out)? else { return Ok(()) };
        self.rotate(db, out)
    }

    fn rotate(&self, db: Database, out: &mut Output) -> Result<(), Failure> {
        let rotation = if self.anew { db.rotate_anew()? } else { db.rotate()? };
        let work = Work {
            file: self.open.file.clone(),
            throttle: self.throttle.map(Rate::throttle).unwrap_or(strongroom::Throttle::None),
            give_up_unreadable: self.give_up_unreadable,
        };
        let done = work.to_the_end(db, &rotation, out)?;
        work::say_done(&done, out)
    }

    /// The open file; `None` where another process rotated it while this one waited.
    fn open_or_wait(&self, out: &mut Output) -> Result<Option<Database>, Failure> {
        let inspection = strongroom::inspect(&self.open.file)?;
        let before = state::newest_key(&inspection);
        if inspection.in_use && !self.wait {
            return Err(self.in_use()?);
        }
        let progress = out.progress("rotating elsewhere", "pages");
        let mut watched = false;
        while strongroom::inspect(&self.open.file)?.in_use {
            if let Some(answer) = control::ask(&self.open.file, Order::Status)? {
                watched = true;
                progress.at(answer.pages_done, answer.pages_total);
            }
            thread::sleep(LOOK_EVERY);
        }
        progress.end();
        let after = strongroom::inspect(&self.open.file)?;
        let rotated = watched && !state::is_unfinished(&after);
        if rotated && (state::is_unfinished(&inspection) || state::newest_key(&after) > before) {
            let text = "the other `strongroom rotate` came to its end";
            out.done(&json!({ "rotated": true, "by": "another process" }), text)?;
            return Ok(None);
        }
        let mut builder = self.open.builder()?;
        builder.check_integrity_on_open(self.check);
        let key = self.open.key()?;
        Ok(Some(patiently(|| builder.open(&self.open.file, &*key))?))
    }

    fn in_use(&self) -> Result<Failure, Failure> {
        Ok(match control::ask(&self.open.file, Order::Status)? {
            Some(answer) => Failure::new(
                Exit::InUse,
                format!("another `strongroom rotate` is at work on this file: {answer}"),
            )
            .hint(
                "--wait watches it to its end; --status, --pause, --resume and --cancel reach it",
            ),
            None => Failure::new(
                Exit::InUse,
                "the file is open in another process, and only that one can rotate it",
            )
            .hint(
                "let the application rotate it (`Database::rotate`, `Builder::auto_rotate`), or \
                 close it there; --wait waits until the file is free",
            ),
        })
    }

    fn status(&self, inspection: &Inspection, out: &mut Output) -> Result<(), Failure> {
        match control::ask(&self.open.file, Order::Status)? {
            Some(answer) => out.either(&answer.to_json(), &answer),
            None => {
                let (json, text) = state::at_rest(inspection);
                out.either(&json, text)
            }
        }
    }

    fn tell(&self, order: Order, out: &mut Output) -> Result<(), Failure> {
        let word = order.word();
        match control::ask(&self.open.file, order)? {
            Some(_) => out.done(&json!({ "told": word }), format_args!("told to {word}")),
            None => Err(Failure::refused(format!(
                "no `strongroom rotate` is at work on this file: there is nothing to {word}"
            ))
            .hint("an application that has the file open is told so through its own means")),
        }
    }
}
