//! What only the kernels need shown: that they stay inside their buffers, leave no key behind, and
//! take the same time whatever the bytes are. That their results are right is shown in
//! `crypto/page/tests.rs` and tests/siv.rs, against other implementations.

mod guard_pages;
mod stack;
mod timing;

use crate::siv::Width;

fn widths() -> impl Iterator<Item = Width> {
    let all = [Width::Bits256, Width::Bits512].into_iter();
    all.filter(|width| {
        let runs = width.runs_here();
        if !runs {
            println!("skipped: this processor has no kernel for {width:?}");
        }
        runs
    })
}

/// A stream of bytes that looks random: splitmix64.
struct Stream(u64);

impl Stream {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn fill(&mut self, out: &mut [u8]) {
        for piece in out.chunks_mut(8) {
            piece.copy_from_slice(&self.next().to_le_bytes()[..piece.len()]);
        }
    }
}
