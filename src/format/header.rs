//! A header copy (docs/keys.md, "Header copy"): the key hierarchy, 32 KiB, in two copies. Bytes
//! come in as an [`UnverifiedHeader`], which can only offer its key slots; what it says is
//! believed once the root key behind a slot has verified its MAC: [`UnverifiedHeader::verify`].

use super::FORMAT_VERSION;
use super::anchor_binding::AnchorBinding;
use super::completion::{self, COMPLETIONS_SIZE, Completion};
use super::key_slot::{KeySlot, SLOT_SIZE, put_wrapped, take_wrapped};
use super::policy::Policy;
use crate::crypto::mac;
use crate::crypto::wrap::WrappedKey;
use crate::layout::HEADER_COPY_SIZE;
use crate::secret::SecretKey;
use crate::units::{CopyId, Epoch, FileId, Generation};
use crate::wire::{Malformed, Reader, Writer};

#[cfg(feature = "testkit")]
mod identity;
#[cfg(test)]
pub(crate) mod tests;

/// CR LF, a byte with its high bit set and a zero show a file that was transferred as text.
pub(crate) const MAGIC: [u8; 16] = *b"\x89STRONGROOM\r\n\x1a\n\0";
/// Key slots of a file.
pub(crate) const SLOTS: usize = 12;
/// Data keys that a header can hold at once.
pub(crate) const EPOCHS: usize = 32;

const EPOCH_SIZE: usize = 128;
const FIXED_SIZE: usize = 2048;
const SLOTS_END: usize = FIXED_SIZE + SLOTS * SLOT_SIZE;
const EPOCHS_END: usize = SLOTS_END + EPOCHS * EPOCH_SIZE;
const ADMIN_MAC_AT: usize = 32_700;
const DATA_MAC_AT: usize = 32_732;
const CRC_AT: usize = 32_764;
const ROTATIONS_END: usize = 30_864 + COMPLETIONS_SIZE;
const LENGTH: u32 = 32_768;
const CIPHER_AES_256_GCM_SIV: u8 = 1;
const HASH_BLAKE3: u8 = 1;

const _: () = assert!(SLOTS_END == 26_624 && EPOCHS_END == 30_720);
const _: () = assert!(ADMIN_MAC_AT + 32 == DATA_MAC_AT && DATA_MAC_AT + 32 == CRC_AT);
const _: () = assert!(CRC_AT + 4 == HEADER_COPY_SIZE && LENGTH as usize == HEADER_COPY_SIZE);

/// What a data key is at. No state means plaintext, and none means "not yet".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum EpochState {
    /// Seals everything new: id 1, exactly one.
    Active,
    /// Pages may still name it: id 2.
    Retired,
    /// As retired, and to be swept at once: id 3.
    Compromised,
}

/// A wrapped data key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct EpochRecord {
    pub(crate) epoch: Epoch,
    pub(crate) state: EpochState,
    /// Unix seconds.
    pub(crate) created: u64,
    /// Unix seconds; 0 while active.
    pub(crate) retired: u64,
    /// Counted when it retired; for the active epoch the root record counts.
    pub(crate) sealed_pages: u64,
    pub(crate) wrapped: WrappedKey,
    /// Tells a wrong data key from a right one.
    pub(crate) check: [u8; 16],
}

/// Everything a header says but which copy it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) generation: Generation,
    pub(crate) admin_generation: u64,
    pub(crate) file_id: FileId,
    /// An admin slot also opens the data, through the root key's escrow.
    pub(crate) combined_roles: bool,
    /// Unix seconds.
    pub(crate) created: u64,
    pub(crate) policy: Policy,
    /// No slot id from here on was ever given out; below the greatest one present it means nothing.
    pub(crate) next_slot: u32,
    pub(crate) slots: [Option<KeySlot>; SLOTS],
    pub(crate) epochs: Vec<EpochRecord>,
    pub(crate) root_escrow: Option<WrappedKey>,
    pub(crate) anchor: Option<AnchorBinding>,
    /// The latest Unix second that any session saw.
    pub(crate) clock_high_water: u64,
    pub(crate) next_epoch: Epoch,
    /// The last finished rotations, the newest last.
    pub(crate) rotations: Vec<Completion>,
    /// Made by an admin over policy and slots, carried over verbatim by everybody else.
    pub(crate) admin_mac: [u8; 32],
}

/// Why bytes are not a header copy that can be tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NotAHeader {
    /// All zeros, or no bytes at all: never written.
    Blank,
    /// Something else stands here.
    BadMagic,
    /// A header of another format version.
    Version(u16),
    /// Features that this version doesn't know.
    Features(u64),
    /// The CRC doesn't fit: torn, or rotten.
    Torn,
    /// The CRC fits but the fields make no sense.
    Malformed(Malformed),
}

impl From<Malformed> for NotAHeader {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// The bytes of one header copy.
pub(crate) type HeaderBytes = [u8; HEADER_COPY_SIZE];

/// A header copy whose fields decode but that no key has vouched for yet.
#[derive(Clone, Debug)]
pub(crate) struct UnverifiedHeader {
    header: Header,
    copy: CopyId,
    bytes: Box<HeaderBytes>,
}

impl UnverifiedHeader {
    /// # Errors
    /// [`NotAHeader`].
    pub(crate) fn decode(bytes: &HeaderBytes, copy: CopyId) -> Result<Self, NotAHeader> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(NotAHeader::Blank);
        }
        let mut reader = Reader::new(bytes);
        let magic: [u8; 16] = reader.array()?;
        if magic != MAGIC {
            // A first sector that never landed, or landed in part, leaves zeros.
            let cut = magic.iter().zip(MAGIC).all(|(found, right)| [0, right].contains(found));
            return Err(if cut { NotAHeader::Torn } else { NotAHeader::BadMagic });
        }
        match reader.u16()? {
            FORMAT_VERSION => {}
            0 => return Err(NotAHeader::Torn),
            major => return Err(NotAHeader::Version(major)),
        }
        if !Self::crc_fits(bytes) {
            return Err(NotAHeader::Torn);
        }
        let header = decode_fields(reader, copy)?;
        Ok(Self { header, copy, bytes: Box::new(*bytes) })
    }

    /// Whether the copy is whole.
    pub(crate) fn crc_fits(bytes: &HeaderBytes) -> bool {
        Self::crc(&bytes[..CRC_AT]) == bytes[CRC_AT..]
    }

    /// Tells a torn copy from a whole one before anything is unlocked; stops no attacker.
    pub(crate) fn crc(covered: &[u8]) -> [u8; 4] {
        crc32fast::hash(covered).to_le_bytes()
    }

    pub(crate) fn generation(&self) -> Generation {
        self.header.generation
    }

    pub(crate) fn copy(&self) -> CopyId {
        self.copy
    }

    pub(crate) fn file_id(&self) -> FileId {
        self.header.file_id
    }

    /// Whether an admin slot leads to the root key.
    pub(crate) fn combined_roles(&self) -> bool {
        self.header.combined_roles
    }

    /// The slots to try a credential on.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &KeySlot> {
        self.header.slots.iter().flatten()
    }

    /// The root key under the admin key, needed before the MAC can be checked.
    pub(crate) fn root_escrow(&self) -> Option<&WrappedKey> {
        self.header.root_escrow.as_ref()
    }

    /// What it claims: nothing vouches for a word of it.
    pub(crate) fn claims(&self) -> &Header {
        &self.header
    }

    /// Believes the header if the root key's MAC over all of it fits.
    pub(crate) fn verify(&self, data_mac_key: &SecretKey) -> Option<&Header> {
        let bytes: &HeaderBytes = &self.bytes;
        let mac = mac::tag(data_mac_key, &[&bytes[..DATA_MAC_AT]]);
        let mut stored = [0; 32];
        stored.copy_from_slice(&bytes[DATA_MAC_AT..CRC_AT]);
        mac::equal(&mac, &stored).then_some(&self.header)
    }
}

impl Header {
    /// The bytes of one copy, MACed. `salt` is fresh for each write, so that equal headers still
    /// have different MACs.
    pub(crate) fn encode(
        &self,
        copy: CopyId,
        salt: &[u8; 32],
        data_mac_key: &SecretKey,
    ) -> Box<HeaderBytes> {
        let mut boxed = Box::new([0; HEADER_COPY_SIZE]);
        let bytes: &mut HeaderBytes = &mut boxed;
        self.encode_fields(copy, salt, bytes);
        let mac = mac::tag(data_mac_key, &[&bytes[..DATA_MAC_AT]]);
        bytes[DATA_MAC_AT..CRC_AT].copy_from_slice(&mac);
        let crc = UnverifiedHeader::crc(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc);
        boxed
    }

    fn encode_fields(&self, copy: CopyId, salt: &[u8; 32], bytes: &mut HeaderBytes) {
        let mut writer = Writer::new(&mut bytes[..DATA_MAC_AT]);
        writer.bytes(&MAGIC);
        writer.u16(FORMAT_VERSION);
        writer.u16(0);
        writer.u32(LENGTH);
        writer.u64(self.generation.0);
        writer.u64(self.admin_generation);
        writer.bytes(&self.file_id.0);
        let role_mode = if self.combined_roles { 1 } else { 2 };
        writer.bytes(&[copy.index(), CIPHER_AES_256_GCM_SIV, HASH_BLAKE3, role_mode]);
        writer.skip(4);
        writer.u64(0);
        writer.u64(self.created);
        writer.bytes(salt);
        writer.skip(16);
        self.policy.encode(&mut writer);
        writer.u32(self.next_slot);
        writer.skip(FIXED_SIZE - 256);
        for slot in &self.slots {
            let mut slot_bytes = [0; SLOT_SIZE];
            if let Some(slot) = slot {
                slot.encode(&mut slot_bytes);
            }
            writer.bytes(&slot_bytes);
        }
        for place in 0..EPOCHS {
            match self.epochs.get(place) {
                Some(record) => record.encode(&mut writer),
                None => writer.skip(EPOCH_SIZE),
            }
        }
        writer.u32(u32::from(self.root_escrow.is_some()));
        put_wrapped(&mut writer, &self.root_escrow.unwrap_or_default());
        writer.bytes(&AnchorBinding::encode(self.anchor.as_ref()));
        writer.u64(self.clock_high_water);
        writer.u32(self.next_epoch.0);
        writer.skip(4);
        completion::encode_all(&self.rotations, &mut writer);
        writer.skip(ADMIN_MAC_AT - ROTATIONS_END);
        writer.bytes(&self.admin_mac);
        writer.finish();
    }

    /// What the admin MAC covers: file id, admin generation, policy, next slot id, slots and, where
    /// there is one, the anchor binding. Not the copy, the salt or the generation, so that a data
    /// session can carry it over.
    pub(crate) fn admin_mac(&self, admin_mac_key: &SecretKey) -> [u8; 32] {
        let bytes: &mut HeaderBytes = &mut Box::new([0; HEADER_COPY_SIZE]);
        self.encode_fields(CopyId::A, &[0; 32], bytes);
        let binding = self.anchor.as_ref().map(|binding| AnchorBinding::encode(Some(binding)));
        mac::tag(
            admin_mac_key,
            &[
                &self.file_id.0,
                &self.admin_generation.to_le_bytes(),
                &bytes[128..256],
                &bytes[FIXED_SIZE..SLOTS_END],
                // Nothing where there is none, as in files from before there was one.
                binding.as_ref().map_or(&[], |binding| binding.as_slice()),
            ],
        )
    }
}

impl EpochRecord {
    fn encode(&self, writer: &mut Writer<'_>) {
        writer.u32(self.epoch.0);
        writer.u8(match self.state {
            EpochState::Active => 1,
            EpochState::Retired => 2,
            EpochState::Compromised => 3,
        });
        writer.skip(3);
        writer.u64(self.created);
        writer.u64(self.retired);
        writer.u64(self.sealed_pages);
        put_wrapped(writer, &self.wrapped);
        writer.bytes(&self.check);
        writer.skip(20);
    }

    fn decode(bytes: &[u8; EPOCH_SIZE]) -> Result<Option<Self>, Malformed> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let mut reader = Reader::new(bytes);
        let epoch = Epoch(reader.u32()?);
        if epoch.0 == 0 || epoch.0 == u32::MAX {
            return Err(Malformed("a data key with a reserved epoch"));
        }
        let state = match reader.u8()? {
            1 => EpochState::Active,
            2 => EpochState::Retired,
            3 => EpochState::Compromised,
            _ => return Err(Malformed("a data key of unknown state")),
        };
        reader.zeros(3)?;
        let (created, retired, sealed_pages) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let wrapped = take_wrapped(&mut reader)?;
        let check = reader.array()?;
        reader.zeros(20)?;
        reader.finish()?;
        Ok(Some(Self { epoch, state, created, retired, sealed_pages, wrapped, check }))
    }
}

// The reader stands behind magic and major version.
fn decode_fields(mut reader: Reader<'_>, copy: CopyId) -> Result<Header, NotAHeader> {
    if reader.u16()? != 0 {
        return Err(Malformed("an unknown minor version").into());
    }
    if reader.u32()? != LENGTH {
        return Err(Malformed("a header of another length").into());
    }
    let generation = Generation(reader.u64()?);
    let admin_generation = reader.u64()?;
    let file_id = FileId(reader.array()?);
    let [index, cipher, hash, role_mode] = reader.array()?;
    if index != copy.index() {
        return Err(Malformed("one header copy stands in the other's place").into());
    }
    if (cipher, hash) != (CIPHER_AES_256_GCM_SIV, HASH_BLAKE3) {
        return Err(Malformed("algorithms that format version 1 doesn't have").into());
    }
    let combined_roles = match role_mode {
        1 => true,
        2 => false,
        _ => return Err(Malformed("an unknown role mode").into()),
    };
    reader.zeros(4)?;
    match reader.u64()? {
        0 => {}
        bits => return Err(NotAHeader::Features(bits)),
    }
    let created = reader.u64()?;
    let _salt: [u8; 32] = reader.array()?;
    reader.zeros(16)?;
    let policy = Policy::decode(&mut reader)?;
    let next_slot = reader.u32()?;
    reader.zeros(FIXED_SIZE - 256)?;
    let mut slots = [const { None }; SLOTS];
    for slot in &mut slots {
        *slot = KeySlot::decode(&reader.array()?)?;
    }
    let epochs = decode_epochs(&mut reader)?;
    let root_escrow = match (reader.u32()?, take_wrapped(&mut reader)?) {
        (0, empty) if empty == WrappedKey::default() => None,
        (1, wrapped) => Some(wrapped),
        _ => return Err(Malformed("a root key escrow of unknown state").into()),
    };
    let anchor = AnchorBinding::decode(&reader.array()?)?;
    let clock_high_water = reader.u64()?;
    let next_epoch = Epoch(reader.u32()?);
    if epochs.last().is_none_or(|last| last.epoch >= next_epoch) {
        return Err(Malformed("a next epoch that was given out already").into());
    }
    reader.zeros(4)?;
    let rotations = completion::decode_all(&mut reader)?;
    reader.zeros(ADMIN_MAC_AT - ROTATIONS_END)?;
    let admin_mac = reader.array()?;
    Ok(Header {
        generation,
        admin_generation,
        file_id,
        combined_roles,
        created,
        policy,
        next_slot,
        slots,
        epochs,
        root_escrow,
        anchor,
        clock_high_water,
        next_epoch,
        rotations,
        admin_mac,
    })
}

// Packed from the front, ids growing, exactly one active.
fn decode_epochs(reader: &mut Reader<'_>) -> Result<Vec<EpochRecord>, Malformed> {
    let mut epochs: Vec<EpochRecord> = Vec::new();
    let mut ended = false;
    for _ in 0..EPOCHS {
        match EpochRecord::decode(&reader.array()?)? {
            None => ended = true,
            Some(_) if ended => return Err(Malformed("a gap in the table of data keys")),
            Some(record) => {
                if epochs.last().is_some_and(|last| last.epoch >= record.epoch) {
                    return Err(Malformed("data keys out of order"));
                }
                epochs.push(record);
            }
        }
    }
    let active = epochs.iter().filter(|record| record.state == EpochState::Active).count();
    if active == 1 { Ok(epochs) } else { Err(Malformed("not exactly one active data key")) }
}
