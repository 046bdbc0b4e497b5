//! The owner of the round keys, and the only calls into functions that need instructions which not
//! every processor has.
#![allow(unsafe_code, reason = "calls of functions that need certain instructions")]

mod block;
#[cfg(test)]
mod tests;
mod text;
mod wide256;
mod wide512;
mod wipe;

use core::arch::x86_64::_mm_setzero_si128;
use std::fmt;

use zeroize::Zeroize;

use super::{NotAuthentic, Opening, Sealing, Width};
use block::RoundKeys;
use text::Text;
use wipe::wipe_stack;

/// Neither a text nor its associated data may be longer (RFC 8452, section 6).
const BYTES_MAX: u64 = 1 << 36;

/// The functions of a kernel. They need the instructions that [`Width::runs_here`] asks for.
struct Kernel {
    seal: Seal,
    open: Open,
    seal_batch: unsafe fn(&RoundKeys, &mut [Sealing<'_>]),
    open_batch: unsafe fn(&RoundKeys, &mut [Opening<'_>]),
    /// Bytes of the stack to wipe after a message, and after a batch.
    stack: usize,
    stack_batch: usize,
}

type Seal = unsafe fn(&RoundKeys, &[u8; 12], &[u8], &mut Text<'_>) -> [u8; 16];
type Open = unsafe fn(&RoundKeys, &[u8; 12], &[u8], &[u8; 16], &mut Text<'_>) -> bool;

static WIDE_512: Kernel = Kernel {
    seal: wide512::seal,
    open: wide512::open,
    seal_batch: wide512::seal_batch,
    open_batch: wide512::open_batch,
    stack: wipe::MESSAGE_512,
    stack_batch: wipe::BATCH_512,
};

static WIDE_256: Kernel = Kernel {
    seal: wide256::seal,
    open: wide256::open,
    seal_batch: wide256::seal_batch,
    open_batch: wide256::open_batch,
    stack: wipe::MESSAGE_256,
    stack_batch: wipe::MESSAGE_256,
};

impl Width {
    /// Whether this processor has the instructions, and the system saves the registers.
    pub(crate) fn runs_here(self) -> bool {
        let narrow = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("aes")
            && is_x86_feature_detected!("pclmulqdq")
            && is_x86_feature_detected!("vaes")
            && is_x86_feature_detected!("vpclmulqdq");
        match self {
            Self::Bits256 => narrow,
            Self::Bits512 => {
                narrow
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("fma") // which AVX-512 includes
                    && is_x86_feature_detected!("f16c")
            }
        }
    }
}

/// A key ready for use, wiped when dropped. It exists only where its kernel runs.
pub(crate) struct Siv {
    keys: RoundKeys,
    kernel: &'static Kernel,
}

impl fmt::Debug for Siv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Siv")
    }
}

impl Drop for Siv {
    fn drop(&mut self) {
        self.keys.zeroize();
    }
}

impl Siv {
    /// `None` where this processor lacks the instructions.
    #[inline]
    pub(crate) fn new(width: Width, key: &[u8; 32]) -> Option<Self> {
        if !width.runs_here() {
            return None;
        }
        let kernel = match width {
            Width::Bits256 => &WIDE_256,
            Width::Bits512 => &WIDE_512,
        };
        // SAFETY: `runs_here` asked for every feature that these functions enable.
        unsafe {
            let mut siv = Self { keys: [_mm_setzero_si128(); 15], kernel };
            block::schedule(key, &mut siv.keys);
            Some(siv)
        }
    }

    /// seal[key, nonce](associated data, plain) -> (ciphertext in `out`, tag).
    ///
    /// # Panics
    /// As [`Siv::seal_in_place`], and where `out` is not as long as `plain`.
    pub(crate) fn seal(
        &self,
        nonce: &[u8; 12],
        associated_data: &[u8],
        plain: &[u8],
        out: &mut [u8],
    ) -> [u8; 16] {
        self.seal_text(nonce, associated_data, &mut Text::apart(plain, out))
    }

    /// The same, in place.
    ///
    /// # Panics
    /// Where the text or the associated data is longer than 2^36 bytes.
    pub(crate) fn seal_in_place(
        &self,
        nonce: &[u8; 12],
        associated_data: &[u8],
        buffer: &mut [u8],
    ) -> [u8; 16] {
        self.seal_text(nonce, associated_data, &mut Text::in_place(buffer))
    }

    fn seal_text(&self, nonce: &[u8; 12], associated_data: &[u8], text: &mut Text<'_>) -> [u8; 16] {
        check_lengths(associated_data.len(), text.len());
        // SAFETY: a `Siv` exists only where `runs_here` said that its kernel does.
        unsafe {
            let tag = (self.kernel.seal)(&self.keys, nonce, associated_data, text);
            wipe_stack(self.kernel.stack);
            tag
        }
    }

    /// open[key, nonce](associated data, sealed, tag) -> plain, into `out`.
    ///
    /// # Errors
    /// [`NotAuthentic`]; `out` is then zeros.
    ///
    /// # Panics
    /// As [`Siv::seal`].
    pub(crate) fn open_into(
        &self,
        nonce: &[u8; 12],
        associated_data: &[u8],
        tag: &[u8; 16],
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<(), NotAuthentic> {
        self.open_text(nonce, associated_data, tag, &mut Text::apart(sealed, out))
    }

    /// The same, in place.
    ///
    /// # Errors
    /// [`NotAuthentic`]; the buffer is then zeros.
    ///
    /// # Panics
    /// As [`Siv::seal_in_place`].
    pub(crate) fn open_in_place(
        &self,
        nonce: &[u8; 12],
        associated_data: &[u8],
        tag: &[u8; 16],
        buffer: &mut [u8],
    ) -> Result<(), NotAuthentic> {
        self.open_text(nonce, associated_data, tag, &mut Text::in_place(buffer))
    }

    fn open_text(
        &self,
        nonce: &[u8; 12],
        associated_data: &[u8],
        tag: &[u8; 16],
        text: &mut Text<'_>,
    ) -> Result<(), NotAuthentic> {
        check_lengths(associated_data.len(), text.len());
        // SAFETY: a `Siv` exists only where `runs_here` said that its kernel does.
        let opened = unsafe {
            let opened = (self.kernel.open)(&self.keys, nonce, associated_data, tag, text);
            wipe_stack(self.kernel.stack);
            opened
        };
        if opened {
            return Ok(());
        }
        text.target_mut().fill(0);
        Err(NotAuthentic)
    }

    /// Seals many messages; faster than one by one where they are equally long.
    ///
    /// # Panics
    /// As [`Siv::seal`].
    pub(crate) fn seal_batch(&self, messages: &mut [Sealing<'_>]) {
        for message in &*messages {
            check_lengths(message.associated_data.len(), message.plain.len());
        }
        // SAFETY: a `Siv` exists only where `runs_here` said that its kernel does.
        unsafe {
            (self.kernel.seal_batch)(&self.keys, messages);
            wipe_stack(self.kernel.stack_batch);
        }
    }

    /// Opens many messages, each with a verdict of its own.
    ///
    /// # Panics
    /// As [`Siv::seal`].
    pub(crate) fn open_batch(&self, messages: &mut [Opening<'_>]) {
        for message in &*messages {
            check_lengths(message.associated_data.len(), message.sealed.len());
        }
        // SAFETY: a `Siv` exists only where `runs_here` said that its kernel does.
        unsafe {
            (self.kernel.open_batch)(&self.keys, messages);
            wipe_stack(self.kernel.stack_batch);
        }
        for message in messages.iter_mut().filter(|message| message.verdict.is_err()) {
            message.out.fill(0);
        }
    }
}

fn check_lengths(associated_data: usize, text: usize) {
    assert!(
        associated_data as u64 <= BYTES_MAX && text as u64 <= BYTES_MAX,
        "AES-GCM-SIV takes 2^36 bytes at most"
    );
}
