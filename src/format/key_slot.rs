//! A key slot (docs/keys.md, "Slot"): one credential's way to the root key, 2048 bytes. Everything
//! but the wrapped keys is in the clear. What made the secret is bound into the slot's derivation;
//! label and dates are covered by the header's MACs only.

use crate::crypto::wrap::WrappedKey;
use crate::units::FileId;
use crate::wire::{Malformed, Reader, Writer};

/// Bytes of a slot in the header.
pub(crate) const SLOT_SIZE: usize = 2048;
/// Bytes that a provider may keep in a slot.
pub(crate) const BLOB_SIZE_MAX: usize = 1728;
/// Bytes of a slot's label.
pub(crate) const LABEL_SIZE: usize = 32;

/// What kind of credential a slot wants. The ids are part of the format.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum SlotKind {
    /// 32 random bytes given by the application: id 1.
    RawKey,
    /// A file of 32 random bytes: id 2.
    KeyFile,
    /// A passphrase through Argon2id: id 3.
    Passphrase,
    /// A recovery code: id 4.
    RecoveryCode,
    /// Several credentials together: id 5.
    AllOf,
    /// A key service or token: id 6.
    Provider,
}

impl SlotKind {
    const ALL: [(Self, u8); 6] = [
        (Self::RawKey, 1),
        (Self::KeyFile, 2),
        (Self::Passphrase, 3),
        (Self::RecoveryCode, 4),
        (Self::AllOf, 5),
        (Self::Provider, 6),
    ];

    pub(crate) fn id(self) -> u8 {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or(0, |(_, id)| *id)
    }

    pub(crate) fn from_id(id: u8) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == id).map(|(kind, _)| *kind)
    }
}

/// What a slot's holder may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Read and write data: id 1. The slot wraps the root key.
    Data,
    /// Change slots and policy as well: id 2. The slot wraps the admin key.
    Admin,
}

/// How the slot secret comes from the credential.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kdf {
    /// The credential has 256 bits of entropy: id 0.
    None,
    /// Argon2id version 0x13 (RFC 9106): id 1.
    Argon2id(KdfCost),
}

/// The cost of one Argon2id run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KdfCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl KdfCost {
    // RFC 9106, 3.1: at least one pass and lane, at most 2^24 - 1 lanes, 8 KiB a lane.
    fn is_possible(self) -> bool {
        let lanes_max = (1 << 24) - 1;
        self.passes > 0
            && (1..=lanes_max).contains(&self.lanes)
            && self.memory_kib >= 8 * self.lanes
    }
}

/// A slot in use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct KeySlot {
    /// Never 0, never used twice in a file's life: stops a slot from being moved.
    pub(crate) id: u32,
    pub(crate) kind: SlotKind,
    pub(crate) role: Role,
    pub(crate) kdf: Kdf,
    pub(crate) salt: [u8; 32],
    /// Commits the slot to one secret: AES-GCM-SIV alone would open under several.
    pub(crate) commitment: [u8; 32],
    /// The root key (data slot) or the admin key (admin slot) under the slot's wrap key.
    pub(crate) wrapped: WrappedKey,
    /// The slot's wrap key, for a root-key change without this credential.
    pub(crate) escrow: WrappedKey,
    /// UTF-8, zero-padded, in the clear.
    pub(crate) label: [u8; LABEL_SIZE],
    /// Unix seconds.
    pub(crate) created: u64,
    /// Unix seconds; 0 is never.
    pub(crate) not_after: u64,
    /// What a provider keeps for itself.
    pub(crate) blob: Vec<u8>,
}

impl KeySlot {
    /// What the slot's wrap key and commitment are bound to, as parts of their derivation: every
    /// field that says how the secret was made, so that none of them can be turned down.
    pub(crate) fn binding(&self, file_id: FileId) -> [Vec<u8>; 3] {
        let mut fixed = [0; 16 + 4 + 4 + 12];
        let mut writer = Writer::new(&mut fixed);
        writer.bytes(&file_id.0);
        writer.u32(self.id);
        writer.bytes(&[self.kind.id(), role_id(self.role), kdf_id(self.kdf), 0]);
        put_cost(&mut writer, self.kdf);
        writer.finish();
        [fixed.to_vec(), self.salt.to_vec(), self.blob.clone()]
    }

    pub(crate) fn encode(&self, out: &mut [u8; SLOT_SIZE]) {
        let mut writer = Writer::new(out);
        writer.bytes(&[1, self.kind.id(), role_id(self.role), kdf_id(self.kdf)]);
        writer.u32(self.id);
        put_cost(&mut writer, self.kdf);
        writer.skip(4);
        writer.bytes(&self.salt);
        writer.bytes(&self.commitment);
        put_wrapped(&mut writer, &self.wrapped);
        put_wrapped(&mut writer, &self.escrow);
        writer.bytes(&self.label);
        writer.u64(self.created);
        writer.u64(self.not_after);
        let blob = self.blob.get(..BLOB_SIZE_MAX).unwrap_or(&self.blob);
        writer.u16(u16::try_from(blob.len()).unwrap_or(0));
        writer.skip(62);
        writer.bytes(blob);
        writer.skip(BLOB_SIZE_MAX - blob.len());
        writer.finish();
    }

    /// A slot, or `None` where it is empty (all zeros).
    ///
    /// # Errors
    /// [`Malformed`], for bytes that no encoder writes.
    pub(crate) fn decode(bytes: &[u8; SLOT_SIZE]) -> Result<Option<Self>, Malformed> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let mut reader = Reader::new(bytes);
        let [state, kind, role, kdf] = reader.array()?;
        if state != 1 {
            return Err(Malformed("a key slot of unknown state"));
        }
        let kind = SlotKind::from_id(kind).ok_or(Malformed("a key slot of unknown kind"))?;
        let role = match role {
            1 => Role::Data,
            2 => Role::Admin,
            _ => return Err(Malformed("a key slot of unknown role")),
        };
        let id = reader.u32()?;
        if id == 0 {
            return Err(Malformed("a key slot without an id"));
        }
        let cost =
            KdfCost { memory_kib: reader.u32()?, passes: reader.u32()?, lanes: reader.u32()? };
        let kdf = match (kdf, cost) {
            (0, KdfCost { memory_kib: 0, passes: 0, lanes: 0 }) => Kdf::None,
            (1, cost) if cost.is_possible() => Kdf::Argon2id(cost),
            _ => return Err(Malformed("a key slot with an unknown or impossible KDF")),
        };
        reader.zeros(4)?;
        let salt = reader.array()?;
        let commitment = reader.array()?;
        let wrapped = take_wrapped(&mut reader)?;
        let escrow = take_wrapped(&mut reader)?;
        let label = reader.array()?;
        let created = reader.u64()?;
        let not_after = reader.u64()?;
        let blob_len = usize::from(reader.u16()?);
        reader.zeros(62)?;
        let room = BLOB_SIZE_MAX.checked_sub(blob_len).ok_or(Malformed("blob too long"))?;
        let blob = reader.slice(blob_len)?.to_vec();
        reader.zeros(room)?;
        reader.finish()?;
        Ok(Some(Self {
            id,
            kind,
            role,
            kdf,
            salt,
            commitment,
            wrapped,
            escrow,
            label,
            created,
            not_after,
            blob,
        }))
    }
}

fn role_id(role: Role) -> u8 {
    match role {
        Role::Data => 1,
        Role::Admin => 2,
    }
}

fn kdf_id(kdf: Kdf) -> u8 {
    match kdf {
        Kdf::None => 0,
        Kdf::Argon2id(_) => 1,
    }
}

fn put_cost(writer: &mut Writer<'_>, kdf: Kdf) {
    match kdf {
        Kdf::None => writer.skip(12),
        Kdf::Argon2id(cost) => {
            writer.u32(cost.memory_kib);
            writer.u32(cost.passes);
            writer.u32(cost.lanes);
        }
    }
}

pub(crate) fn put_wrapped(writer: &mut Writer<'_>, wrapped: &WrappedKey) {
    writer.bytes(&wrapped.nonce);
    writer.bytes(&wrapped.ciphertext);
    writer.bytes(&wrapped.tag);
}

pub(crate) fn take_wrapped(reader: &mut Reader<'_>) -> Result<WrappedKey, Malformed> {
    let (nonce, ciphertext, tag) = (reader.array()?, reader.array()?, reader.array()?);
    Ok(WrappedKey { nonce, ciphertext, tag })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn example(id: u32) -> KeySlot {
        KeySlot {
            id,
            kind: SlotKind::Passphrase,
            role: Role::Admin,
            kdf: Kdf::Argon2id(KdfCost { memory_kib: 65536, passes: 3, lanes: 1 }),
            salt: [1; 32],
            commitment: [2; 32],
            wrapped: WrappedKey { nonce: [3; 12], ciphertext: [4; 32], tag: [5; 16] },
            escrow: WrappedKey { nonce: [6; 12], ciphertext: [7; 32], tag: [8; 16] },
            label: *b"laptop\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            created: 9,
            not_after: 10,
            blob: vec![11; 100],
        }
    }

    #[test]
    fn fields_come_back() {
        let mut bytes = [0; SLOT_SIZE];
        example(3).encode(&mut bytes);
        assert_eq!(KeySlot::decode(&bytes), Ok(Some(example(3))));
        assert_eq!(KeySlot::decode(&[0; SLOT_SIZE]), Ok(None));
    }

    #[test]
    fn every_single_byte_change_is_refused_or_encodes_as_it_reads() {
        let mut bytes = [0; SLOT_SIZE];
        example(3).encode(&mut bytes);
        for at in 0..SLOT_SIZE {
            for xor in [1, 0x80, 0xFF] {
                let mut changed = bytes;
                changed[at] ^= xor;
                if let Ok(Some(slot)) = KeySlot::decode(&changed) {
                    let mut again = [0; SLOT_SIZE];
                    slot.encode(&mut again);
                    assert_eq!(again, changed, "byte {at}");
                }
            }
        }
    }

    #[test]
    fn what_made_the_secret_is_bound() {
        let file = FileId([1; 16]);
        let slot = example(3);
        let cheaper = KeySlot {
            kdf: Kdf::Argon2id(KdfCost { memory_kib: 8, passes: 1, lanes: 1 }),
            ..slot.clone()
        };
        assert_ne!(slot.binding(file), cheaper.binding(file));
        assert_ne!(slot.binding(file), KeySlot { role: Role::Data, ..slot.clone() }.binding(file));
        assert_ne!(slot.binding(file), slot.binding(FileId([2; 16])));
        let relabelled = KeySlot { label: [0; 32], not_after: 0, ..slot.clone() };
        assert_eq!(slot.binding(file), relabelled.binding(file), "the admin MAC covers these");
    }

    #[test]
    fn only_costs_that_argon2id_has_are_possible() {
        for (memory_kib, passes, lanes, possible) in [
            (8, 1, 1, true),
            (7, 1, 1, false),
            (8, 0, 1, false),
            (8, 1, 0, false),
            (32, 1, 4, true),
            (31, 1, 4, false),
            (u32::MAX, u32::MAX, (1 << 24) - 1, true),
            (u32::MAX, 1, 1 << 24, false),
        ] {
            let cost = KdfCost { memory_kib, passes, lanes };
            assert_eq!(cost.is_possible(), possible, "{cost:?}");
            let slot = KeySlot { kdf: Kdf::Argon2id(cost), ..example(3) };
            let mut bytes = [0; SLOT_SIZE];
            slot.encode(&mut bytes);
            assert_eq!(KeySlot::decode(&bytes).is_ok(), possible, "{cost:?}");
        }
    }
}
