//! What the workloads ask of an engine. Every call returns a checksum of what it saw, or of what it
//! did; engines that were asked the same must return the same.

use crate::Outcome;

/// Records chosen at random: `count` of the first `records`, by a seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Picks {
    pub(crate) records: u64,
    pub(crate) count: u64,
    pub(crate) seed: u64,
}

/// Calls come from several threads at once, but for those that write.
pub(crate) trait Store: Sync {
    /// Inserts records `first..first + count` in one durable transaction.
    fn insert(&self, first: u64, count: u64) -> Outcome<u64>;

    /// Reads one record for each pick.
    fn reads(&self, picks: Picks) -> Outcome<u64>;

    /// Reads `length` records in order from each pick on, fewer at the end.
    fn ranges(&self, picks: Picks, length: usize) -> Outcome<u64>;

    /// Reads every record in order.
    fn scan(&self) -> Outcome<u64>;

    /// Removes every second of the first `records` records in one durable transaction.
    fn remove_half(&self, records: u64) -> Outcome<u64>;

    /// Inserts values number `first..first + count` of `size` bytes in one durable transaction.
    fn put_values(&self, size: usize, first: u64, count: u64) -> Outcome<u64>;

    /// Reads values number `first..first + count`, and something of each of their pages.
    fn read_values(&self, first: u64, count: u64) -> Outcome<u64>;

    /// Brings every record into the engine's cache, as far as it fits.
    fn warm(&self) -> Outcome {
        self.scan().map(drop)
    }
}

/// `commits` durable transactions of `count` records each.
pub(crate) fn commits(store: &dyn Store, first: u64, commits: u64, count: u64) -> Outcome<u64> {
    for commit in 0..commits {
        store.insert(first + commit * count, count)?;
    }
    Ok(commits)
}

/// The picks in as many parts as threads, all read at once.
pub(crate) fn parallel_reads(store: &dyn Store, picks: Picks, threads: u64) -> Outcome<u64> {
    let part = |thread: u64| {
        let seed = picks.seed.wrapping_add(thread * picks.count);
        let reads = store.reads(Picks { count: picks.count / threads, seed, ..picks });
        reads.map_err(|error| error.to_string())
    };
    std::thread::scope(|scope| {
        let readers: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || part(thread))).collect();
        let mut checksum: u64 = 0;
        for reader in readers {
            let read = reader.join().map_err(|_| "a reading thread panicked")?;
            checksum = checksum.wrapping_add(read?);
        }
        Ok(checksum)
    })
}
