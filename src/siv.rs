//! Floor 2: AES-256-GCM-SIV (RFC 8452) over slices, in a kernel of our own for processors with VAES
//! and VPCLMULQDQ (docs/decisions/0016-why-our-own-aes-gcm-siv-kernel.md). Knows bytes: no page, no
//! place and no owner of a key.
//!
//! The only room that opens `unsafe`: loads and stores of vectors, one barrier for the compiler, and
//! calls into functions that need certain instructions. Everything else is safe code over slices.
//! [`Siv`] is the door: it exists only where its kernel runs, and it wipes what it leaves behind.
//! Where there is no kernel, `absent.rs` stands in, and `crypto/page.rs` takes a crate.

#[cfg(not(all(feature = "fast-siv", target_arch = "x86_64")))]
mod absent;
#[cfg(all(feature = "fast-siv", target_arch = "x86_64"))]
mod kernel;

#[cfg(not(all(feature = "fast-siv", target_arch = "x86_64")))]
pub(crate) use absent::Siv;
#[cfg(all(feature = "fast-siv", target_arch = "x86_64"))]
pub(crate) use kernel::Siv;

/// How wide the registers of a kernel are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Width {
    /// AVX2: two blocks.
    Bits256,
    /// AVX-512 (F, BW and VL): four blocks.
    Bits512,
}

/// The bytes don't belong to this key, nonce, tag and associated data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NotAuthentic;

/// A message of a batch to seal. `out` is as long as `plain`; `tag` is written.
#[derive(Debug)]
pub(crate) struct Sealing<'a> {
    pub(crate) nonce: &'a [u8; 12],
    pub(crate) associated_data: &'a [u8],
    pub(crate) plain: &'a [u8],
    pub(crate) out: &'a mut [u8],
    pub(crate) tag: &'a mut [u8; 16],
}

/// A message of a batch to open. `out` is as long as `sealed`; `verdict` is written, and where it
/// is an error, `out` is zeros.
#[derive(Debug)]
pub(crate) struct Opening<'a> {
    pub(crate) nonce: &'a [u8; 12],
    pub(crate) associated_data: &'a [u8],
    pub(crate) tag: &'a [u8; 16],
    pub(crate) sealed: &'a [u8],
    pub(crate) out: &'a mut [u8],
    pub(crate) verdict: Result<(), NotAuthentic>,
}
