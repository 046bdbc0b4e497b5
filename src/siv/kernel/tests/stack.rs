//! A kernel runs on a stack that the test owns, so that the test can read what is left of it: no
//! eight bytes of a key, of a round key, of a power of H, or of a text as short as a key.
//!
//! Registers are not looked at: they are not wiped. Of builds without optimisation nothing is said.

use std::arch::asm;
use std::arch::x86_64::_mm_setzero_si128;
use std::collections::HashSet;
use std::ffi::c_void;

use super::{Stream, widths};
use crate::siv::kernel::block;
use crate::siv::{NotAuthentic, Opening, Sealing, Siv, Width};

const STACK: usize = 2 << 20;
const UNTOUCHED: u8 = 0xA5;

extern "C" fn call(work: *mut c_void) {
    // SAFETY: `on_own_stack` passes a pointer to what it holds for as long as this runs.
    let work = unsafe { &mut *work.cast::<&mut dyn FnMut()>() };
    work();
}

/// Runs `work` with the stack pointer `below` bytes under the end of the stack.
fn on_own_stack(stack: &mut [u8], below: usize, mut work: &mut dyn FnMut()) {
    stack.fill(UNTOUCHED);
    let end = stack.as_mut_ptr_range().end;
    // SAFETY: the stack is this function's own and has room for what is called, which doesn't
    // unwind; the old pointer waits in a register that a callee restores.
    unsafe {
        let top = end.sub(below).map_addr(|address| address & !15);
        asm!(
            "xchg rsp, r12",
            "call {call}",
            "mov rsp, r12",
            call = sym call,
            inout("r12") top => _,
            in("rdi") &raw mut work,
            clobber_abi("C"),
        );
    }
}

// dot of RFC 8452, section 3, bit by bit.
fn dot(a: u128, b: u128) -> u128 {
    let mut product = 0_u128;
    for bit in 0..128 {
        product ^= if b >> bit & 1 == 1 { a } else { 0 };
        let low = product & 1 == 1;
        product = (product ^ if low { 1 | 1 << 121 | 1 << 126 | 1 << 127 } else { 0 }) >> 1;
        product |= if low { 1 << 127 } else { 0 };
    }
    product
}

/// All that must not be left, in halves of blocks.
#[derive(Default)]
struct Secrets(HashSet<[u8; 8]>);

impl Secrets {
    fn add(&mut self, bytes: &[u8]) {
        self.0.extend(bytes.as_chunks::<8>().0);
    }

    fn add_message(&mut self, key: &[u8; 32], nonce: &[u8; 12]) {
        // SAFETY: the test asked `widths`, and each has the instructions that these need.
        unsafe {
            let mut keys = [_mm_setzero_si128(); 15];
            block::schedule(key, &mut keys);
            keys.iter().for_each(|key| self.add(&block::to_bytes(*key)));
            let derived = block::derive(&keys, nonce);
            for key in block::expand(derived.encryption) {
                self.add(&block::to_bytes(key));
            }
            let h = u128::from_le_bytes(block::to_bytes(derived.authentication));
            let mut power = h;
            for _ in 0..32 {
                self.add(&power.to_le_bytes());
                power = dot(power, h);
            }
        }
    }

    /// Panics where one of them is on the stack; returns how much of it was used.
    fn search(&self, stack: &[u8], width: Width, what: &str) -> usize {
        let used = stack.iter().skip_while(|byte| **byte == UNTOUCHED).count();
        let used_part = &stack[STACK - used..];
        for (at, bytes) in used_part.array_windows_of_eight().enumerate() {
            assert!(
                !self.0.contains(bytes),
                "{what}, {width:?}: {bytes:02x?} is left {} bytes below the top",
                used - at
            );
        }
        used
    }
}

trait Windows {
    fn array_windows_of_eight(&self) -> impl Iterator<Item = &[u8; 8]>;
}

impl Windows for [u8] {
    fn array_windows_of_eight(&self) -> impl Iterator<Item = &[u8; 8]> {
        self.windows(8).filter_map(|window| window.first_chunk())
    }
}

/// Looks at the stack after each kind of call, with the stack pointer at each place within a cache
/// line.
fn look(text: usize, data: usize) {
    let (key, nonce) = ([0x3C; 32], [0x77; 12]);
    let (mut stack, mut stream) = (vec![0; STACK], Stream(5));
    let (mut plain, data) = (vec![0; text], vec![9; data]);
    stream.fill(&mut plain);
    for width in widths() {
        let mut secrets = Secrets::default();
        secrets.add_message(&key, &nonce);
        if text <= 64 {
            secrets.add(&plain);
        }
        let siv = Siv::new(width, &key).unwrap();
        let (mut sealed, mut opened) = (vec![0; text], vec![0; text]);
        for below in [256, 272, 288, 304] {
            let mut tag = [0; 16];
            on_own_stack(&mut stack, below, &mut || {
                tag = siv.seal(&nonce, &data, &plain, &mut sealed);
            });
            secrets.search(&stack, width, "seal");
            let mut verdict = Err(NotAuthentic);
            on_own_stack(&mut stack, below, &mut || {
                verdict = siv.open_into(&nonce, &data, &tag, &sealed, &mut opened);
            });
            secrets.search(&stack, width, "open_into");
            assert_eq!((verdict, &opened), (Ok(()), &plain));
            on_own_stack(&mut stack, below, &mut || {
                tag = siv.seal_in_place(&nonce, &data, &mut opened);
            });
            secrets.search(&stack, width, "seal_in_place");
            on_own_stack(&mut stack, below, &mut || {
                verdict = siv.open_in_place(&nonce, &data, &tag, &mut opened);
            });
            secrets.search(&stack, width, "open_in_place");
            on_own_stack(&mut stack, below, &mut || {
                verdict = siv.open_in_place(&[0; 12], &data, &tag, &mut opened);
            });
            secrets.search(&stack, width, "open that fails");
            assert_eq!(verdict, Err(NotAuthentic));
            opened.copy_from_slice(&plain);
        }
    }
}

#[test]
#[cfg_attr(debug_assertions, ignore = "holds for optimised builds")]
fn no_secret_is_left_on_the_stack_by_a_message() {
    for (text, data) in [(0, 0), (32, 24), (63, 0), (500, 70), (512, 40), (4096, 40), (4100, 300)] {
        look(text, data);
    }
}

#[test]
#[cfg_attr(debug_assertions, ignore = "holds for optimised builds")]
fn no_secret_is_left_on_the_stack_by_a_batch() {
    let (key, mut stream, mut stack) = ([0x3C; 32], Stream(6), vec![0; STACK]);
    for width in widths() {
        for (count, size) in [(11, 1024), (3, 4096), (2, 512), (5, 100)] {
            let mut plain = vec![0; count * size];
            stream.fill(&mut plain);
            let nonces: Vec<_> = (0..count).map(|i| [u8::try_from(i).unwrap(); 12]).collect();
            let mut secrets = Secrets::default();
            nonces.iter().for_each(|nonce| secrets.add_message(&key, nonce));
            let siv = Siv::new(width, &key).unwrap();
            let (mut sealed, mut tags) = (vec![0; count * size], vec![[0; 16]; count]);
            let mut batch = Vec::new();
            let rooms = plain.chunks(size).zip(sealed.chunks_mut(size));
            for ((nonce, tag), (plain, out)) in nonces.iter().zip(&mut tags).zip(rooms) {
                batch.push(Sealing { nonce, associated_data: &[9; 40], plain, out, tag });
            }
            for below in [256, 272, 288, 304] {
                on_own_stack(&mut stack, below, &mut || siv.seal_batch(&mut batch));
                secrets.search(&stack, width, "seal_batch");
            }
            let mut opened = vec![0; count * size];
            let mut batch = Vec::new();
            let rooms = sealed.chunks(size).zip(opened.chunks_mut(size));
            for ((nonce, tag), (sealed, out)) in nonces.iter().zip(&tags).zip(rooms) {
                let verdict = Err(NotAuthentic);
                let associated_data = &[9; 40];
                batch.push(Opening { nonce, associated_data, tag, sealed, out, verdict });
            }
            for below in [256, 272, 288, 304] {
                on_own_stack(&mut stack, below, &mut || siv.open_batch(&mut batch));
                secrets.search(&stack, width, "open_batch");
            }
            assert!(batch.iter().all(|message| message.verdict.is_ok()));
            assert_eq!(opened, plain);
        }
    }
}

// As `crypto::page::Cipher` is made: moves leave copies behind, all of them in this function's frame.
#[inline(never)]
fn made(width: Width, key: &[u8; 32]) -> Siv {
    Siv::new(width, key).unwrap()
}

#[test]
#[cfg_attr(debug_assertions, ignore = "holds for optimised builds")]
fn no_key_is_left_on_the_stack_by_a_value_made_used_and_dropped() {
    let (key, nonce) = ([0x3C; 32], [0x77; 12]);
    let (mut stack, mut buffer) = (vec![0; STACK], vec![1; 4096]);
    for width in widths() {
        let mut secrets = Secrets::default();
        secrets.add_message(&key, &nonce);
        for below in [256, 272, 288, 304] {
            on_own_stack(&mut stack, below, &mut || {
                let siv = made(width, &key);
                siv.seal_in_place(&nonce, &[], &mut buffer);
            });
            secrets.search(&stack, width, "made, sealed, dropped");
        }
    }
}

#[test]
fn the_search_finds_a_key_that_is_left() {
    let (key, mut stack) = ([0x3C; 32], vec![0; STACK]);
    let mut secrets = Secrets::default();
    secrets.add(&key);
    on_own_stack(&mut stack, 256, &mut || {
        std::hint::black_box(&mut key.map(std::hint::black_box));
    });
    let found =
        std::panic::catch_unwind(|| secrets.search(&stack, Width::Bits256, "left on purpose"));
    assert!(found.is_err());
}
