//! Engines that take turns with every part of a workload, so that a machine or a disk that is slow
//! for a while is slow for all; and their files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::engine::{Engine, Handle};
use crate::results::{Results, Unit};
use crate::settings::Settings;

/// The engines of a run in the order of one turn: everybody is first, and follows everybody else.
pub(crate) fn order(engines: &[Engine], turn: usize) -> Vec<Engine> {
    let mut engines = engines.to_vec();
    let count = engines.len().max(1);
    engines.rotate_left(turn % count);
    if (turn / count) % 2 == 1 {
        engines.reverse();
    }
    engines
}

pub(crate) fn path(directory: &Path, stem: &str, engine: Engine) -> PathBuf {
    directory.join(format!("{stem}.{}", engine.name()))
}

/// The file of a database and what lies beside it under a longer name.
fn files(path: &Path) -> Outcome<Vec<PathBuf>> {
    let parent = path.parent().ok_or("a file lies in a directory")?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut found = Vec::new();
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&*name) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

pub(crate) fn bytes(path: &Path) -> Outcome<u64> {
    files(path)?.iter().try_fold(0, |sum, path| Ok(sum + fs::metadata(path)?.len()))
}

pub(crate) fn remove(path: &Path) -> Outcome {
    files(path)?.iter().try_for_each(|path| Ok(fs::remove_file(path)?))
}

pub(crate) fn micros(elapsed: Duration) -> f64 {
    elapsed.as_secs_f64() * 1e6
}

struct Place {
    engine: Engine,
    path: PathBuf,
    handle: Handle,
}

/// A database of each engine, all open.
pub(crate) struct Round<'a> {
    pub(crate) settings: &'a Settings,
    results: &'a mut Results,
    turn: usize,
    places: Vec<Place>,
}

impl<'a> Round<'a> {
    pub(crate) fn create(
        settings: &'a Settings,
        results: &'a mut Results,
        (number, directory, stem): (usize, &Path, &str),
        cache_bytes: usize,
    ) -> Outcome<Self> {
        let mut places = Vec::new();
        for engine in settings.engines.iter().copied() {
            let path = path(directory, stem, engine);
            let handle = engine.create(&path, cache_bytes)?;
            places.push(Place { engine, path, handle });
        }
        Ok(Self { settings, results, turn: number, places })
    }

    /// Times a workload of `slices` parts that does `count` things in all. Those who can do it must
    /// give the same answers; a filter that leaves it out leaves out only its figures.
    pub(crate) fn measure(
        &mut self,
        workload: &'static str,
        (unit, count): (Unit, u64),
        slices: u64,
        work: impl Fn(&mut Handle, u64) -> Outcome<u64>,
    ) -> Outcome {
        let mut elapsed = vec![Duration::ZERO; self.places.len()];
        for slice in 0..slices {
            let mut checksums = Vec::new();
            for engine in order(&self.settings.engines, self.turn) {
                if !engine.can(workload) {
                    continue;
                }
                for (place, elapsed) in self.places.iter_mut().zip(&mut elapsed) {
                    if place.engine == engine {
                        let started = Instant::now();
                        checksums.push(work(&mut place.handle, slice)?);
                        *elapsed += started.elapsed();
                    }
                }
            }
            same(workload, &checksums)?;
            self.turn += 1;
        }
        for (place, elapsed) in self.places.iter().zip(elapsed) {
            if self.settings.wants(workload) && place.engine.can(workload) {
                self.results.add(workload, unit, place.engine, micros(elapsed) / count as f64);
            }
        }
        Ok(())
    }

    /// What is not timed.
    pub(crate) fn for_each(&mut self, act: impl Fn(&mut Handle) -> Outcome) -> Outcome {
        self.places.iter_mut().try_for_each(|place| act(&mut place.handle))
    }

    pub(crate) fn reopen(&mut self, cache_bytes: usize) -> Outcome {
        for Place { engine, path, handle } in std::mem::take(&mut self.places) {
            handle.close()?;
            let handle = engine.open(&path, cache_bytes)?;
            self.places.push(Place { engine, path, handle });
        }
        Ok(())
    }

    /// The length of the files, which are best closed before.
    pub(crate) fn note_sizes(&mut self, workload: &'static str) -> Outcome {
        for Place { engine, path, .. } in &self.places {
            if self.settings.wants(workload) && engine.can(workload) {
                self.results.add(workload, Unit::Bytes, *engine, bytes(path)? as f64);
            }
        }
        Ok(())
    }

    pub(crate) fn remove(self) -> Outcome {
        for Place { path, handle, .. } in self.places {
            handle.close()?;
            remove(&path)?;
        }
        Ok(())
    }
}

fn same(workload: &str, checksums: &[u64]) -> Outcome {
    match checksums {
        [first, rest @ ..] if rest.iter().any(|other| other != first) => {
            Err(format!("{workload}: the engines gave different answers").into())
        }
        _ => Ok(()),
    }
}
