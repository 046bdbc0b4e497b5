//! Wipes the stack after a kernel. What it derived lies there wherever the compiler put it: in
//! variables, and in copies of registers. So as much of the stack as a kernel may have used is
//! overwritten, from the place where it was called. `tests/stack.rs` looks whether it is enough.
#![allow(unsafe_code, reason = "no safe code writes below the stack pointer")]

/// Bytes that an optimised kernel uses, rounded up. Not more: who runs on a small stack has those,
/// since the kernel had. Without optimisation kernels use more, and leave it.
pub(super) const MESSAGE_512: usize = 1792;
pub(super) const BATCH_512: usize = 14 << 10;
/// The narrow kernel seals a batch one by one.
pub(super) const MESSAGE_256: usize = 1536;

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
