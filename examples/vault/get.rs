//! `get` and `list`: single files out of the vault.

use std::fs::{self, File, FileTimes, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::args::KeySource;
use crate::failure::Failure;
use crate::tables::{FileFacts, Reader};
use crate::vault::Readable;
use crate::{key, report, vault};

/// A stored file may carry set-user-ID; a file that comes out of a vault doesn't.
const PERMISSION_BITS: u32 = 0o777;

pub(crate) fn list(path: &Path, key: &KeySource) -> Result<(), Failure> {
    vault::must_exist(path)?;
    let vault = Readable::open(path, &*key::read(key)?)?;
    for (name, facts) in Reader::new(&vault.begin_read()?)?.all()? {
        report::line(&format!(
            "{:04o} {:>12} {} {}",
            facts.mode & PERMISSION_BITS,
            facts.len,
            facts.hash,
            report::shown(&name)
        ))?;
    }
    vault.close()
}

pub(crate) fn get(
    path: &Path,
    key: &KeySource,
    name: &str,
    out: Option<&Path>,
) -> Result<(), Failure> {
    vault::must_exist(path)?;
    let vault = Readable::open(path, &*key::read(key)?)?;
    let reader = Reader::new(&vault.begin_read()?)?;
    let facts = reader.facts(name)?.ok_or_else(|| {
        Failure::said(format!("there is no {} in the vault; `list` names all", report::shown(name)))
    })?;
    match out {
        None => read_checked(&reader, name, &facts, report::bytes)?,
        Some(out) => get_to_file(&reader, name, &facts, out)?,
    }
    drop(reader);
    vault.close()
}

fn get_to_file(reader: &Reader, name: &str, facts: &FileFacts, out: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::io("writing", out, &error);
    // Readable by nobody else until it is complete; never in place of another file.
    let mut file =
        File::options().write(true).create_new(true).mode(0o600).open(out).map_err(failed)?;
    let written = read_checked(reader, name, facts, |bytes| file.write_all(bytes).map_err(failed))
        .and_then(|()| dress(&file, facts).map_err(failed));
    if written.is_err() {
        // Half a file under the right name is worse than none.
        let _ = fs::remove_file(out);
    }
    written
}

fn dress(file: &File, facts: &FileFacts) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(facts.mode & PERMISSION_BITS))?;
    let after = |seconds: i64| Duration::from_secs(seconds.unsigned_abs());
    let whole = if facts.modified_s < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(after(facts.modified_s))
    } else {
        SystemTime::UNIX_EPOCH.checked_add(after(facts.modified_s))
    };
    let nanos = Duration::from_nanos(facts.modified_ns.unsigned_abs());
    match whole.and_then(|whole| whole.checked_add(nanos)) {
        Some(modified) => file.set_times(FileTimes::new().set_modified(modified)),
        None => Ok(()),
    }
}

fn read_checked(
    reader: &Reader,
    name: &str,
    facts: &FileFacts,
    take: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if reader.read(name, facts, take)? == (facts.len, facts.hash) {
        Ok(())
    } else {
        Err(Failure::said(format!("{}: its hash is not the stored one", report::shown(name))))
    }
}
