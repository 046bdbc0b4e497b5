//! Floor 3: drafts. A draft is a file that is being written under a name of its own beside the one
//! it is meant for, `NAME.<16 hexadecimal digits>.unfinished`. It gets its name in one step when it
//! is whole and durable, or not at all. Somebody who was killed leaves a draft; the next one who is
//! at work on the same name removes it, unless it is locked, for then its maker lives.

use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::Arc;

use crate::medium::{Directory, LockKind, Medium};
use crate::random;

const SUFFIX: &str = ".unfinished";
const DIGITS: usize = 16;

/// A file without its final name. Dropped before it got one, it is removed.
pub(crate) struct Draft<'a> {
    directory: &'a dyn Directory,
    name: OsString,
    target: OsString,
    settled: bool,
}

impl<'a> Draft<'a> {
    /// Creates an empty draft for this name.
    pub(crate) fn begin(
        directory: &'a dyn Directory,
        target: &OsStr,
    ) -> io::Result<(Self, Arc<dyn Medium>)> {
        let random: [u8; 8] = random::array()?;
        let mut name = target.to_owned();
        name.push(format!(".{:016x}{SUFFIX}", u64::from_le_bytes(random)));
        let medium = directory.create_new(&name)?;
        Ok((Self { directory, name, target: target.to_owned(), settled: false }, medium))
    }

    /// Opens it once more.
    pub(crate) fn reopen(&self, writable: bool) -> io::Result<Arc<dyn Medium>> {
        self.directory.open(&self.name, writable)
    }

    /// Gives it its name, durably. The caller made its content durable before.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] where somebody took the name meanwhile.
    pub(crate) fn publish(mut self) -> io::Result<()> {
        // A second name; unlike a rename, it fails where the name is taken.
        self.directory.link(&self.name, &self.target)?;
        self.settled = true;
        self.directory.remove(&self.name)?;
        self.directory.sync()
    }

    /// Puts it in the place of what has its name, durably.
    pub(crate) fn replace(mut self) -> io::Result<()> {
        self.directory.rename(&self.name, &self.target)?;
        self.settled = true;
        self.directory.sync()
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.settled {
            let _ = self.directory.remove(&self.name);
        }
    }
}

/// Whether this is the name of a draft for `target`.
fn is_draft_of(name: &OsStr, target: &OsStr) -> bool {
    let rest = name.as_encoded_bytes().strip_prefix(target.as_encoded_bytes());
    let digits = rest
        .and_then(|rest| rest.strip_prefix(b"."))
        .and_then(|rest| rest.strip_suffix(SUFFIX.as_bytes()));
    digits.is_some_and(|digits| {
        digits.len() == DIGITS
            && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// The drafts for `target` that nobody is at work on.
pub(crate) fn abandoned(directory: &dyn Directory, target: &OsStr) -> io::Result<Vec<OsString>> {
    let mut found = Vec::new();
    for name in directory.names()? {
        if is_draft_of(&name, target)
            && directory.open(&name, true)?.try_lock(LockKind::Exclusive)?
        {
            found.push(name);
        }
    }
    found.sort();
    Ok(found)
}

/// Removes them, and returns their names.
pub(crate) fn remove_abandoned(
    directory: &dyn Directory,
    target: &OsStr,
) -> io::Result<Vec<OsString>> {
    let found = abandoned(directory, target)?;
    for name in &found {
        directory.remove(name)?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_a_draft_can_have_are_drafts() {
        let is = |name: &str| is_draft_of(name.as_ref(), "notes.room".as_ref());
        assert!(is("notes.room.0123456789abcdef.unfinished"));
        for other in [
            "notes.room",
            "notes.room.unfinished",
            "notes.room.0123456789abcde.unfinished",
            "notes.room.0123456789ABCDEF.unfinished",
            "notes.room.0123456789abcdef.creating",
            "my notes.room.0123456789abcdef.unfinished",
            "notes.room.0123456789abcdef.unfinished.zip",
        ] {
            assert!(!is(other), "{other}");
        }
    }
}
