//! `compact`: pages move to the front, and the file gets shorter.

use clap::Args;
use serde_json::json;

use crate::failure::Failure;
use crate::open::OpenArgs;
use crate::output::{Output, size};

/// Move pages to the front of the file and cut what is free behind them
///
/// As safe as any write: after a crash the file is as it was, or partly compacted. Persistent
/// savepoints of redb's keep it from working.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom compact notes.room")]
pub(crate) struct Compact {
    #[command(flatten)]
    open: OpenArgs,
}

impl Compact {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        let bytes = || -> Result<u64, Failure> {
            let metadata = self.open.file.metadata();
            Ok(metadata.map_err(Failure::io("measuring the file"))?.len())
        };
        let mut db = self.open.writing()?;
        let before = bytes()?;
        let compacted = db.compact();
        let closed = db.close();
        compacted?;
        closed?;
        let after = bytes()?;
        let json = json!({ "bytes_before": before, "bytes_after": after });
        let text = match after < before {
            true => format!("compacted: {} to {}", size(before), size(after)),
            false => format!("nothing to gain: {} as before", size(after)),
        };
        out.done(&json, text)
    }
}
