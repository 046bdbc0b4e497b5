//! Pages through the encrypting backend over memory, a group in a call, on one thread: the best of
//! many samples, which is the code's time and not the machine's load.

use std::time::Instant;

use strongroom::redb::StorageBackend;
use strongroom::{EncryptedBackend, RawKey, medium::MemoryMedium};

use crate::failure::Failure;

const GROUP_BYTES: usize = 126 * 4096;
/// The first group has the page in it that is no page like others.
const GROUPS: u64 = 4;
const SAMPLES: u64 = 100;

/// MiB of pages a second.
pub(super) struct Cipher {
    pub(super) seal_mib_s: f64,
    pub(super) open_mib_s: f64,
}

pub(super) fn measure() -> Result<Cipher, Failure> {
    let key = RawKey::generate().map_err(Failure::io("making a key"))?;
    let backend = EncryptedBackend::create_on(MemoryMedium::new(), &key)?;
    let failed = || Failure::io("measuring the cipher");
    let mut pages = vec![0x3c; GROUP_BYTES];
    backend.set_len(GROUPS * GROUP_BYTES as u64).map_err(failed())?;
    let (mut seal, mut open) = (f64::MAX, f64::MAX);
    for sample in 0..SAMPLES {
        let offset = (1 + sample % (GROUPS - 1)) * GROUP_BYTES as u64;
        let begun = Instant::now();
        backend.write(offset, &pages).map_err(failed())?;
        seal = seal.min(begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        backend.read(offset, &mut pages).map_err(failed())?;
        open = open.min(begun.elapsed().as_secs_f64());
    }
    let mib_s = |seconds: f64| GROUP_BYTES as f64 / f64::from(1 << 20) / seconds;
    Ok(Cipher { seal_mib_s: mib_s(seal), open_mib_s: mib_s(open) })
}
