//! What the disk takes to make 4 KiB durable: most of what a commit costs.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use super::median;
use crate::failure::Failure;

const COUNT: u64 = 50;

pub(super) struct Syncs {
    pub(super) median_ms: f64,
    pub(super) count: u64,
}

pub(super) fn measure(directory: &Path) -> Result<Syncs, Failure> {
    let failed = || Failure::io("measuring a sync");
    let file = File::create_new(directory.join("syncs")).map_err(failed())?;
    let mut times_ms = Vec::new();
    for page in 0..COUNT {
        let begun = Instant::now();
        file.write_all_at(&[0x3c; 4096], page * 4096).map_err(failed())?;
        file.sync_data().map_err(failed())?;
        times_ms.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(Syncs { median_ms: median(times_ms), count: COUNT })
}
