//! A directory on a machine that can lose power: files on [`CrashMedium`]s and names that are
//! durable only once the directory was synced. One count of operations over all files and names,
//! so that a run that makes, fills, links and removes files can be cut at each.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Crash, CrashMedium, SeededRandom};
use crate::medium::{CacheDrop, Directory, Identity, LockKind, Medium};

type Names = BTreeMap<OsString, usize>;

#[derive(Clone, Debug)]
enum NameOp {
    Give(OsString, usize),
    Take(OsString),
    Move(OsString, OsString),
}

impl NameOp {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Give(name, file) => {
                names.insert(name.clone(), *file);
            }
            Self::Take(name) => {
                names.remove(name);
            }
            Self::Move(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
        }
    }
}

#[derive(Debug, Default)]
struct Disk {
    files: Vec<CrashMedium>,
    durable: Names,
    pending: Vec<NameOp>,
    names: Names,
    operations: u64,
    cut_at: Option<u64>,
}

impl Disk {
    /// Counts an operation; an error once the power is off.
    fn step(&mut self) -> io::Result<()> {
        self.powered()?;
        self.operations = self.operations.saturating_add(1);
        self.powered()
    }

    fn powered(&self) -> io::Result<()> {
        match self.cut_at {
            Some(cut_at) if self.operations > cut_at => Err(io::Error::other("the power is off")),
            _ => Ok(()),
        }
    }

    fn file(&self, name: &OsStr) -> io::Result<(usize, &CrashMedium)> {
        let index = *self.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        self.files
            .get(index)
            .map(|file| (index, file))
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change(&mut self, op: NameOp) {
        op.apply(&mut self.names);
        self.pending.push(op);
    }
}

/// A directory that can be cut off at any operation on its names and files. [`Clone`] gives a
/// second handle on the same one.
#[derive(Clone, Debug, Default)]
pub struct CrashDirectory {
    disk: Arc<Mutex<Disk>>,
}

impl CrashDirectory {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a durable file there. The seed decides what crashes do to it.
    pub fn put(&self, name: &str, image: Vec<u8>, seed: u64) {
        let mut disk = self.disk();
        let index = disk.files.len();
        disk.files.push(CrashMedium::from_image(seed, image));
        disk.names.insert(name.into(), index);
        disk.durable.insert(name.into(), index);
    }

    /// The bytes of a file, if the name leads to one.
    #[must_use]
    pub fn image(&self, name: &str) -> Option<Vec<u8>> {
        self.disk().file(name.as_ref()).ok().map(|(_, file)| file.image())
    }

    /// How many operations there were: writes, length changes and syncs of files, and creations,
    /// links, renames, removals and syncs of names.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.disk().operations
    }

    /// Lets this many further operations pass; during the next one the power goes off.
    pub fn cut_after(&self, operations: u64) {
        let mut disk = self.disk();
        disk.cut_at = Some(disk.operations.saturating_add(operations));
    }

    /// The directory after the restart. What of names and bytes was not synced may be there, each
    /// by itself, as the seed says; after a kill it is.
    #[must_use]
    pub fn crash(&self, crash: Crash, seed: u64) -> Self {
        let mut random = SeededRandom::new(seed);
        let disk = self.disk();
        let mut names = disk.durable.clone();
        for op in &disk.pending {
            if crash == Crash::Kill || random.chance(0.5) {
                op.apply(&mut names);
            }
        }
        let after = |file: &CrashMedium| file.image_after(crash, random.next_u64());
        let files = disk.files.iter().map(after).collect();
        let durable = names.clone();
        let disk = Disk { files, durable, names, ..Disk::default() };
        Self { disk: Arc::new(Mutex::new(disk)) }
    }
}

impl Directory for CrashDirectory {
    fn create_new(&self, name: &OsStr) -> io::Result<Arc<dyn Medium>> {
        let mut disk = self.disk();
        disk.step()?;
        if disk.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let index = disk.files.len();
        disk.files.push(CrashMedium::new(index as u64));
        disk.change(NameOp::Give(name.to_owned(), index));
        drop(disk);
        self.open(name, true)
    }

    fn open(&self, name: &OsStr, _writable: bool) -> io::Result<Arc<dyn Medium>> {
        let disk = self.disk();
        disk.powered()?;
        let file = disk.file(name)?.1.clone();
        Ok(Arc::new(Counted { file, directory: self.clone() }))
    }

    fn identity(&self, name: &OsStr) -> io::Result<Identity> {
        let disk = self.disk();
        disk.powered()?;
        let (index, _) = disk.file(name)?;
        let names = disk.names.values().filter(|other| **other == index).count() as u64;
        Ok(Identity { device: 0, file: index as u64, names })
    }

    fn names(&self) -> io::Result<Vec<OsString>> {
        let disk = self.disk();
        disk.powered()?;
        Ok(disk.names.keys().cloned().collect())
    }

    fn link(&self, name: &OsStr, new: &OsStr) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step()?;
        let (index, _) = disk.file(name)?;
        if disk.names.contains_key(new) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        disk.change(NameOp::Give(new.to_owned(), index));
        Ok(())
    }

    fn rename(&self, name: &OsStr, new: &OsStr) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step()?;
        disk.file(name)?;
        disk.change(NameOp::Move(name.to_owned(), new.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &OsStr) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step()?;
        disk.file(name)?;
        disk.change(NameOp::Take(name.to_owned()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step()?;
        disk.durable = disk.names.clone();
        disk.pending.clear();
        Ok(())
    }
}

/// A file whose operations the directory counts.
#[derive(Debug)]
struct Counted {
    file: CrashMedium,
    directory: CrashDirectory,
}

impl Counted {
    fn step(&self) -> io::Result<()> {
        self.directory.disk().step()
    }

    fn powered(&self) -> io::Result<()> {
        self.directory.disk().powered()
    }
}

impl Medium for Counted {
    fn len(&self) -> io::Result<u64> {
        self.powered()?;
        self.file.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.powered()?;
        self.file.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.powered()?;
        if let Err(off) = self.step() {
            // The power goes during this one: half of it is on its way, and may land.
            let half = data.get(..data.len() / 2).unwrap_or_default();
            self.file.write_at(offset, half)?;
            return Err(off);
        }
        self.file.write_at(offset, data)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.step()?;
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.step()?;
        self.file.sync()
    }

    fn try_lock(&self, kind: LockKind) -> io::Result<bool> {
        self.powered()?;
        self.file.try_lock(kind)
    }

    fn unlock(&self) -> io::Result<()> {
        self.file.unlock()
    }

    fn drop_cache(&self, offset: u64, len: u64) -> io::Result<CacheDrop> {
        self.powered()?;
        self.file.drop_cache(offset, len)
    }
}
