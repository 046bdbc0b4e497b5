//! Every buffer ends where a page begins that can't be touched, or begins where such a page ends: a
//! kernel that reads or writes one byte too much dies here.

use std::ptr;
use std::slice;

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};

use super::{Stream, widths};
use crate::siv::{NotAuthentic, Opening, Sealing, Siv};

const PAGE: usize = 4096;
const ROOM: usize = 5 * PAGE;

/// Some pages with a forbidden one on either side.
struct Guarded {
    room: *mut u8,
}

impl Guarded {
    fn new() -> Self {
        let (all, flags) = (ROOM + 2 * PAGE, MapFlags::PRIVATE);
        // SAFETY: a new mapping that nobody else knows; its first and last page are never touched.
        unsafe {
            let protection = ProtFlags::READ | ProtFlags::WRITE;
            let map = rustix::mm::mmap_anonymous(ptr::null_mut(), all, protection, flags).unwrap();
            let room = map.cast::<u8>().add(PAGE);
            rustix::mm::mprotect(map, PAGE, MprotectFlags::empty()).unwrap();
            rustix::mm::mprotect(room.add(ROOM).cast(), PAGE, MprotectFlags::empty()).unwrap();
            Self { room }
        }
    }

    fn all(&mut self) -> &mut [u8] {
        // SAFETY: these pages are this value's own, and as long as it borrows it no other slice is.
        unsafe { slice::from_raw_parts_mut(self.room, ROOM) }
    }

    /// So many bytes, at the upper end or at the lower one.
    fn bytes(&mut self, len: usize, upper: bool) -> &mut [u8] {
        let all = self.all();
        if upper { &mut all[ROOM - len..] } else { &mut all[..len] }
    }

    fn filled(&mut self, with: &[u8], upper: bool) -> &mut [u8] {
        let bytes = self.bytes(with.len(), upper);
        bytes.copy_from_slice(with);
        bytes
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made; no slice of it is left.
        unsafe {
            rustix::mm::munmap(self.room.sub(PAGE).cast(), ROOM + 2 * PAGE).unwrap();
        }
    }
}

/// One message in guarded buffers, compared with the same in ordinary ones.
fn one(siv: &Siv, rooms: &mut [Guarded; 5], stream: &mut Stream, (text, data): (usize, usize)) {
    let (mut plain, mut associated_data) = (vec![0; text], vec![0; data]);
    let mut nonce = [0; 12];
    stream.fill(&mut plain);
    stream.fill(&mut associated_data);
    stream.fill(&mut nonce);
    let mut sealed = vec![0; text];
    let tag = siv.seal(&nonce, &associated_data, &plain, &mut sealed);
    for upper in [false, true] {
        let [a, b, c, d, e] = &mut *rooms;
        let guarded_nonce: &[u8; 12] = (&*a.filled(&nonce, upper)).try_into().unwrap();
        let guarded_data = &*b.filled(&associated_data, upper);
        let guarded_tag: &[u8; 16] = (&*e.filled(&tag, upper)).try_into().unwrap();
        let source = &*c.filled(&plain, upper);
        let target = d.bytes(text, upper);
        assert_eq!(siv.seal(guarded_nonce, guarded_data, source, target), tag);
        assert_eq!(target, sealed);
        let source = &*c.filled(&sealed, upper);
        let opened = siv.open_into(guarded_nonce, guarded_data, guarded_tag, source, target);
        assert_eq!((opened, &*target), (Ok(()), &plain[..]));
        assert_eq!(siv.seal_in_place(guarded_nonce, guarded_data, target), tag);
        let opened = siv.open_in_place(guarded_nonce, guarded_data, guarded_tag, target);
        assert_eq!((opened, &*target), (Ok(()), &plain[..]));
    }
}

#[test]
fn no_kernel_leaves_its_buffers() {
    let mut rooms = [(); 5].map(|()| Guarded::new());
    let mut stream = Stream(3);
    let mut messages = 0;
    for width in widths() {
        let siv = Siv::new(width, &[5; 32]).unwrap();
        for text in (0..1100).chain([2047, 2048, 2049, 4095, 4096, 4097, 8191, 8192]) {
            let data = (text * 7) % 131;
            one(&siv, &mut rooms, &mut stream, (text, data));
            messages += 1;
        }
        for data in 0..300 {
            one(&siv, &mut rooms, &mut stream, (data % 70, data));
            messages += 1;
        }
    }
    println!("figure: siv_guarded_messages = {messages}");
}

#[test]
fn no_batch_leaves_its_buffers() {
    let mut rooms = [(); 5].map(|()| Guarded::new());
    let mut stream = Stream(4);
    for width in widths() {
        let siv = Siv::new(width, &[5; 32]).unwrap();
        for (size, upper) in [(512, false), (512, true), (1024, true), (4096, false), (4096, true)]
        {
            let count = ROOM / size;
            let [nonces, data, plain, sealed, tags] = &mut rooms;
            stream.fill(plain.all());
            let before = plain.all().to_vec();
            let nonces = nonces.bytes(count * 12, upper);
            stream.fill(nonces);
            let (data, tags) = (data.bytes(40, upper), tags.bytes(count * 16, upper));
            let mut batch = Vec::new();
            let rooms = plain.all().chunks(size).zip(sealed.all().chunks_mut(size));
            let nonces = nonces.as_chunks().0;
            for ((nonce, tag), (plain, out)) in nonces.iter().zip(tags.as_chunks_mut().0).zip(rooms)
            {
                batch.push(Sealing { nonce, associated_data: data, plain, out, tag });
            }
            siv.seal_batch(&mut batch);
            let mut batch = Vec::new();
            let rooms = sealed.all().chunks(size).zip(plain.all().chunks_mut(size));
            for ((nonce, tag), (sealed, out)) in nonces.iter().zip(tags.as_chunks().0).zip(rooms) {
                let verdict = Err(NotAuthentic);
                batch.push(Opening { nonce, associated_data: data, tag, sealed, out, verdict });
            }
            siv.open_batch(&mut batch);
            assert!(batch.iter().all(|message| message.verdict.is_ok()));
            assert_eq!(plain.all(), before);
        }
    }
}
