//! Wipes the stack after a kernel. What it derived lies there wherever the compiler put it: in
//! variables, and in copies of registers. So as much of the stack as a kernel may have used is
//! overwritten, from the place where it was called. `tests/stack.rs` looks whether it is enough.
#![allow(unsafe_code, reason = "no safe code writes below the stack pointer")]

/// So many bytes, of which an optimised kernel needs fewer; others need far more.
const fn optimised(bytes: usize) -> usize {
    if cfg!(debug_assertions) { 256 << 10 } else { bytes }
}

/// After a message by the wide kernel.
pub(super) const MESSAGE_512: usize = optimised(1792);
/// After a message by the narrow kernel.
pub(super) const MESSAGE_256: usize = optimised(1536);
/// After a batch by either.
pub(super) const BATCH: usize = optimised(16 << 10);

/// Overwrites the bytes below the stack of the function that it is inlined into.
///
/// # Safety
/// The processor has AVX, and the stack has that many bytes left: a kernel was just there.
#[inline(always)]
pub(super) unsafe fn wipe_stack(bytes: usize) {
    // SAFETY: an assembler block may use the stack when it puts the pointer back. The bytes written
    // are between the moved pointer and where it was.
    unsafe {
        core::arch::asm!(
            "mov {end}, rsp",
            "sub rsp, {bytes}",
            "vpxor xmm0, xmm0, xmm0",
            // The uppermost 32 bytes, which the aligned ones below may not reach.
            "vmovdqu ymmword ptr [{end} - 32], ymm0",
            "lea {at}, [rsp + 31]",
            "and {at}, -32",
            "and {end}, -32",
            "2:",
            "vmovdqa ymmword ptr [{at}], ymm0",
            "add {at}, 32",
            "cmp {at}, {end}",
            "jb 2b",
            "add rsp, {bytes}",
            at = out(reg) _,
            end = out(reg) _,
            bytes = in(reg) bytes,
            out("xmm0") _,
        );
    }
}
