//! The work of a rotation in this process, to its end or until somebody stops it.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use serde_json::json;
use strongroom::{
    Completion, Database, Rotation, RotationError, RotationState, StoreError, Throttle,
};

use super::control::Listener;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::shapes;

const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How to work.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) file: PathBuf,
    pub(crate) throttle: Throttle,
    pub(crate) give_up_unreadable: bool,
}

impl Work {
    /// Works until the old key is gone, and closes the file in any case.
    pub(crate) fn to_the_end(
        &self,
        db: Database,
        rotation: &Rotation,
        out: &Output,
    ) -> Result<Completion, Failure> {
        rotation.throttle(self.throttle);
        let done = self.watch(rotation, out);
        let closed = db.close();
        let done = done?;
        closed?;
        Ok(done)
    }

    fn watch(&self, rotation: &Rotation, out: &Output) -> Result<Completion, Failure> {
        let interrupt = Interrupt::watch()?;
        let listener = Listener::beside(&self.file);
        if let Err(error) = &listener {
            out.remark(format_args!(
                "other processes can't ask how far this is, or pause it: no socket beside the file \
                 ({error})"
            ));
        }
        let progress = out.progress("rotating", "pages");
        let mut paused = false;
        loop {
            let now = rotation.progress();
            match now.state {
                RotationState::Running | RotationState::Paused => {}
                RotationState::Failed if self.gives_up(rotation) => {}
                _ => break,
            }
            if (now.state == RotationState::Paused) != paused {
                paused = !paused;
                progress.end();
                out.remark(if paused { "paused; --resume goes on" } else { "going on" });
            }
            if now.pages_total > 0 && now.pages_done >= now.pages_total {
                // All is under the new key; what is left is to prove it.
                progress.phase("proving that the old key is gone");
            }
            progress.at(now.pages_done, now.pages_total);
            if let Ok(listener) = &listener {
                listener.answer_all(rotation);
            }
            if interrupt.came() {
                progress.end();
                return Err(stopped("interrupted", rotation));
            }
            thread::sleep(LOOK_EVERY);
        }
        progress.end();
        rotation.wait().map_err(|error| match error {
            RotationError::Cancelled => stopped("cancelled", rotation),
            error => error.into(),
        })
    }

    // The pages that don't open are given up where that was asked for, and for nothing else.
    fn gives_up(&self, rotation: &Rotation) -> bool {
        let unreadable = matches!(
            rotation.wait(),
            Err(RotationError::Store(error)) if matches!(*error, StoreError::Unreadable { .. })
        );
        if self.give_up_unreadable && unreadable {
            rotation.give_up_unreadable();
        }
        self.give_up_unreadable && unreadable
    }
}

fn stopped(how: &str, rotation: &Rotation) -> Failure {
    let now = rotation.progress();
    let percent = now.pages_done.saturating_mul(100) / now.pages_total.max(1);
    Failure::new(
        Exit::Interrupted,
        format!(
            "{how} at {percent}%: nothing is lost, the file opens as before, and the old data key \
             {} stays until the rotation ends",
            now.from.0
        ),
    )
    .hint("`strongroom rotate FILE` goes on where it was")
}

/// Says that the old key is gone.
pub(crate) fn say_done(done: &Completion, out: &mut Output) -> Result<(), Failure> {
    let json = json!({ "rotated": true, "rotation": shapes::completion_json(done) });
    out.done(&json, shapes::completion_line(done))?;
    out.remark(
        "backups and header backups made before lack the new key: make new ones (`strongroom \
         backup`, `strongroom key export-header`)",
    );
    Ok(())
}
