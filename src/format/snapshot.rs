//! The format as text, for `tests/format_snapshot.rs`: what moves here moves bytes on disk.

use std::fmt::Write;

use super::anchor_binding::{AnchorBinding, AnchorPolicy};
use super::associated_data::{Place, associated_data};
use super::backup::frame::GroupPages;
use super::backup::manifest::{Ancestor, FrameRow, Manifest};
use super::backup::{BackupKind, Head, Trailer};
use super::clean_index::{self, Row};
use super::completion::Completion;
use super::header::{self, EPOCHS, EpochRecord, EpochState, Header, SLOTS};
use super::journal::{self, Image};
use super::key_slot::{BLOB_SIZE_MAX, Kdf, KdfCost, KeySlot, Role, SLOT_SIZE, SlotKind};
use super::late_entry::LateEntry;
use super::policy::Policy;
use super::record::{HEAD_SIZE, SealedRecord};
use super::root_record::{RootRecord, RotationHint, Tail};
use super::tag_page::{Entry, TagPage};
use super::{FORMAT_VERSION, record::Body};
use crate::crypto::derive::{self, Purpose};
use crate::crypto::digest::{Digest, DigestKey};
use crate::crypto::hash;
use crate::crypto::mac;
use crate::crypto::wrap::WrappedKey;
use crate::layout::{self, JournalHalf};
use crate::secret::Arena;
use crate::units::{CopyId, Epoch, FileId, FileOffset, Generation, GroupNo, PageNo, SyncSeq};

const FILE: FileId = FileId(*b"an example file!");
const NONCE: [u8; 12] = *b"random nonce";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Where everything lies, every magic, every context string, and worked bytes under fixed keys.
///
/// # Errors
/// No key memory.
pub(crate) fn snapshot() -> std::io::Result<String> {
    let mut out = String::new();
    // Writing to a String can't fail.
    let _ = describe(&mut out);
    let _ = describe_derivation(&mut out);
    let arena = Arena::new()?;
    let _ = describe_records(&mut out, &arena);
    let _ = describe_header(&mut out, &arena);
    let _ = describe_backup(&mut out, &arena);
    Ok(out)
}

fn describe(out: &mut String) -> std::fmt::Result {
    writeln!(out, "format version {FORMAT_VERSION}")?;
    writeln!(out, "header magic {}", hex(&header::MAGIC))?;
    for copy in CopyId::BOTH {
        writeln!(out, "header {copy} at {}", layout::header_start(copy).0)?;
        writeln!(out, "root record {copy} at {}", layout::root_start(copy).0)?;
        let (first, second) = (GroupNo(0), GroupNo(1));
        writeln!(out, "tag page of group 0, {copy} at {}", layout::tag_page_start(first, copy).0)?;
        writeln!(out, "tag page of group 1, {copy} at {}", layout::tag_page_start(second, copy).0)?;
    }
    for page in [1, 125, 126] {
        writeln!(out, "data page {page} at {}", layout::data_page_start(PageNo(page)).0)?;
    }
    writeln!(out, "clean index of 18 pages at {}", layout::clean_index_start(18 * 4096).0)?;
    let half = JournalHalf::for_images(1008);
    writeln!(out, "journal of 18 pages at {}", layout::journal_start(18 * 4096).0)?;
    writeln!(out, "journal half of 1008 images: {} index pages", half.index_pages())?;
    writeln!(out, "journal half of batch 3 at {}", half.index_at(FileOffset(0), 3, 0).0)?;
    writeln!(out, "{SLOTS} slots of {SLOT_SIZE}, blob {BLOB_SIZE_MAX}, {EPOCHS} epochs")?;
    writeln!(out, "record head {HEAD_SIZE}")?;
    for (name, place) in [
        ("page 7", Place::Page(PageNo(7))),
        ("tag page of group 7", Place::TagPage(GroupNo(7))),
        ("root record copy B", Place::Root(CopyId::B)),
        ("index from row 127", Place::IndexFrom(127)),
        ("journal index page 2 of batch 9", Place::JournalIndex { batch: 9, page: 2 }),
        ("manifest of 3000 bytes at 40000", Place::Manifest { at: 40_000, len: 3000 }),
    ] {
        let bytes = associated_data(FILE, Epoch(3), place);
        writeln!(out, "associated data, {name}: {}", hex(&bytes))?;
    }
    Ok(())
}

fn describe_derivation(out: &mut String) -> std::fmt::Result {
    for purpose in Purpose::ALL {
        let key = derive::bytes(purpose, &[&[0x11; 32], &FILE.0]);
        writeln!(out, "derive {:?} {}", purpose.context(), hex(key.as_slice()))?;
    }
    Ok(())
}

fn describe_records(out: &mut String, arena: &Arena) -> std::fmt::Result {
    let Ok(key) = arena.keep(&[0x22; 32].into()) else { return Ok(()) };
    let mut tag_page = TagPage::absent();
    tag_page.sync = SyncSeq(5);
    tag_page.put_fresh(1, Entry { epoch: Epoch(1), nonce: [0xAA; 12], tag: [0xBB; 16] });
    let mut digest = Digest::default();
    DigestKey::new(&key, FILE).toggle(&mut digest, GroupNo(0), SyncSeq(5), &[0xCC; 16]);
    writeln!(out, "digest of one group {}", hex(&digest.0))?;
    let root = RootRecord {
        epoch: Epoch(1),
        clean: true,
        rotating: false,
        file_id: FILE,
        sync: SyncSeq(5),
        generation: Generation(1),
        logical_len: 18 * 4096,
        groups: 1,
        sealed_pages: 300,
        digest,
        tail: Tail::CleanIndex { first: 40, pages: 1 },
        rotation: RotationHint::default(),
        late: Vec::new(),
        count: 7,
        counted_at: SyncSeq(4),
        page_zero: Box::new([0xDD; layout::PAGE_ZERO_SIZE]),
    };
    let late = RootRecord {
        clean: false,
        tail: Tail::None,
        late: LateEntry::new(PageNo(7), &tag_page.entry(1), true, Epoch(1)).into_iter().collect(),
        ..root.clone()
    };
    let row = Row { sync: SyncSeq(5), tag: [0xCC; 16], copy: CopyId::B };
    let entry = |byte, epoch| Entry { epoch: Epoch(epoch), nonce: [byte; 12], tag: [byte; 16] };
    let image = Image { page: PageNo(7), old: entry(0xAA, 1), new: entry(0xBB, 2) };
    let index_page = Place::JournalIndex { batch: 9, page: 2 };
    let late_bytes = late.encode();
    let late_bytes = late_bytes.bytes().get(176..216).unwrap_or(&[]);
    writeln!(out, "late entries of a root record, plain, from 208 on {}", hex(late_bytes))?;
    let records = [
        ("tag page", tag_page.encode(), Place::TagPage(GroupNo(0))),
        ("root record with a late entry", late.encode(), Place::Root(CopyId::A)),
        ("root record", root.encode(), Place::Root(CopyId::A)),
        ("clean index", clean_index::encode(&[row]), Place::IndexFrom(0)),
        ("journal index", journal::encode(9, &[image]), index_page),
    ];
    for (name, body, place) in records {
        writeln!(out, "{name}, plain {}", hex(body.bytes().get(..176).unwrap_or(&[])))?;
        let sealed: SealedRecord = Body::seal(body, &key, NONCE, FILE, Epoch(1), place);
        writeln!(out, "{name}, sealed {}", hex(sealed.bytes().get(..64).unwrap_or(&[])))?;
        writeln!(out, "{name}, whole page BLAKE3 {}", blake3_of(&sealed))?;
    }
    Ok(())
}

fn describe_header(out: &mut String, arena: &Arena) -> std::fmt::Result {
    let Ok(key) = arena.keep(&[0x33; 32].into()) else { return Ok(()) };
    let wrapped = |byte| WrappedKey { nonce: [byte; 12], ciphertext: [byte; 32], tag: [byte; 16] };
    let slot = KeySlot {
        id: 1,
        kind: SlotKind::Passphrase,
        role: Role::Admin,
        kdf: Kdf::Argon2id(KdfCost { memory_kib: 65_536, passes: 3, lanes: 1 }),
        salt: [0x44; 32],
        commitment: [0x55; 32],
        wrapped: wrapped(0x66),
        escrow: wrapped(0x77),
        label: [0x88; 32],
        created: 1_795_000_000,
        not_after: 0,
        blob: vec![0x99; 3],
    };
    let mut slot_bytes = [0; SLOT_SIZE];
    slot.encode(&mut slot_bytes);
    writeln!(out, "key slot {}", hex(slot_bytes.get(..332).unwrap_or(&[])))?;
    let mut slots = [const { None }; SLOTS];
    slots[0] = Some(slot);
    let header = Header {
        generation: Generation(1),
        admin_generation: 1,
        file_id: FILE,
        combined_roles: true,
        created: 1_795_000_000,
        policy: Policy::default(),
        next_slot: 2,
        slots,
        epochs: vec![EpochRecord {
            epoch: Epoch(1),
            state: EpochState::Active,
            created: 1_795_000_000,
            retired: 0,
            sealed_pages: 0,
            wrapped: wrapped(0xAA),
            check: [0xBB; 16],
        }],
        root_escrow: Some(wrapped(0xCC)),
        anchor: Some(AnchorBinding {
            identity: [0x12; 32],
            since: Generation(1),
            first: 6,
            policy: AnchorPolicy { seconds: 60, ..AnchorPolicy::every_commit() },
        }),
        clock_high_water: 1_795_000_000,
        next_epoch: Epoch(2),
        rotations: vec![Completion {
            from: Epoch(1),
            to: Epoch(2),
            begun: 1_795_000_000,
            ended: 1_795_000_060,
            pages: 300,
            lost: 1,
        }],
        admin_mac: [0xDD; 32],
    };
    let bytes = header.encode(CopyId::B, &[0xEE; 32], &key);
    for (name, range) in [
        ("fixed fields", 0..256),
        ("first epoch", 26_624..26_752),
        ("escrow to next epoch", 30_720..30_864),
        ("first rotation record", 30_864..30_928),
        ("MACs and CRC", 32_700..32_768),
    ] {
        writeln!(out, "header, {name} {}", hex(bytes.get(range).unwrap_or(&[])))?;
    }
    writeln!(out, "header, whole copy BLAKE3 {}", hex(&mac::plain_hash(&*bytes)))
}

fn describe_backup(out: &mut String, arena: &Arena) -> std::fmt::Result {
    let Ok(key) = arena.keep(&[0x22; 32].into()) else { return Ok(()) };
    let head = Head { kind: BackupKind::Incremental, file_id: FILE, id: [0xB0; 16] };
    writeln!(out, "backup head {}", hex(&head.encode()))?;
    let mut group = GroupPages::blank();
    group.group = GroupNo(2);
    group.entries[1] = Entry { epoch: Epoch(1), nonce: [0xAA; 12], tag: [0xBB; 16] };
    group.entries[3] = Entry::LOST;
    let mut frame = Vec::new();
    let _ = group.encode(|bytes| {
        frame.extend_from_slice(bytes);
        Ok(())
    });
    writeln!(out, "backup frame of {} bytes {}", frame.len(), hex(frame.get(..96).unwrap_or(&[])))?;
    let row = Row { sync: SyncSeq(5), tag: [0xCC; 16], copy: CopyId::B };
    let manifest = Manifest {
        kind: BackupKind::Incremental,
        file_id: FILE,
        id: [0xB0; 16],
        created: 1_795_000_000,
        sync: SyncSeq(5),
        generation: Generation(1),
        logical_len: 18 * 4096,
        sealed_pages: 300,
        content: [0xC0; 32],
        page_zero: Box::new([0xDD; layout::PAGE_ZERO_SIZE]),
        ancestors: vec![Ancestor { id: [0xA0; 16], digest: [0xA1; 32], sync: SyncSeq(4) }],
        rows: vec![FrameRow { row, holder: 1, offset: 64, hash: [0xF0; 32] }],
    };
    let plain = manifest.encode();
    writeln!(out, "manifest, fixed fields {}", hex(plain.get(..144).unwrap_or(&[])))?;
    writeln!(out, "manifest, ancestor and row {}", hex(plain.get(2192..).unwrap_or(&[])))?;
    let sealed = manifest.seal(&key, NONCE, Epoch(1), 40_000);
    writeln!(out, "manifest, sealed {}", hex(sealed.get(..64).unwrap_or(&[])))?;
    writeln!(out, "manifest, whole BLAKE3 {}", hex(&hash::of(&[&sealed])))?;
    let (manifest_at, manifest_len) = (40_000, sealed.len() as u64);
    let (content, id) = ([0xC0; 32], [0xB0; 16]);
    let trailer = Trailer { manifest_at, manifest_len, content, file_id: FILE, id };
    writeln!(out, "backup trailer {}", hex(&trailer.encode()))
}

fn blake3_of(record: &SealedRecord) -> String {
    hex(&mac::plain_hash(record.bytes()))
}
