//! Floor 0: numbered pieces of work, shared out among threads. Each piece is handed out once, in
//! order; where the system gives fewer threads than were asked for, those there are do it all.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// How many threads the system runs at once; asked for once, since the answer may take a look at
/// several files.
pub(crate) fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}

/// Runs `work` on up to `threads` threads, this one included. Each call takes pieces, `0..pieces`,
/// from the function it is given until there are none left, and returns what it made of them.
///
/// # Errors
/// The first error of a call, once all have ended. A panic in one goes on here.
pub(crate) fn share<T: Send, E: Send>(
    pieces: u64,
    threads: usize,
    work: impl Fn(&dyn Fn() -> Option<u64>) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let next = AtomicU64::new(0);
    let take = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|piece| *piece < pieces);
    let run = || work(&take);
    let others = u64::try_from(threads).unwrap_or(1).min(pieces).saturating_sub(1);
    let made: Vec<Result<T, E>> = thread::scope(|scope| {
        let spawn = |_| thread::Builder::new().spawn_scoped(scope, run).ok();
        let crew: Vec<_> = (0..others).filter_map(spawn).collect();
        let mut made = vec![run()];
        for worker in crew {
            match worker.join() {
                Ok(one) => made.push(one),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        made
    });
    made.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_is_handed_out_once() {
        let sums = share(1000, 4, |next| {
            let mut mine = Vec::new();
            while let Some(piece) = next() {
                mine.push(piece);
            }
            Ok::<_, ()>(mine)
        });
        let mut all = sums.unwrap().concat();
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
        let failed = share(9, 3, |next| if next() == Some(4) { Err("four") } else { Ok(()) });
        assert!(failed.is_ok() || failed == Err("four"));
        assert_eq!(share(0, 3, |next| Err::<(), _>(next())).unwrap_err(), None);
    }
}
