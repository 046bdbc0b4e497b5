//! What a header copy says comes back; what no encoder writes is refused by name.

use super::*;
use crate::format::anchor_binding::tests::made as binding;
use crate::format::key_slot::tests::example as slot;
use crate::secret::Arena;
use zeroize::Zeroizing;

fn key(byte: u8) -> SecretKey {
    Arena::new().unwrap().keep(&Zeroizing::new([byte; 32])).unwrap()
}

pub(crate) fn example() -> Header {
    let epoch = |number, state| EpochRecord {
        epoch: Epoch(number),
        state,
        created: 1,
        retired: 0,
        sealed_pages: 2,
        wrapped: WrappedKey { nonce: [1; 12], ciphertext: [2; 32], tag: [3; 16] },
        check: [4; 16],
    };
    let mut slots = [const { None }; SLOTS];
    slots[0] = Some(slot(1));
    slots[11] = Some(slot(2));
    Header {
        generation: Generation(3),
        admin_generation: 4,
        file_id: FileId([5; 16]),
        combined_roles: true,
        created: 6,
        policy: Policy::default(),
        next_slot: 3,
        slots,
        epochs: vec![epoch(1, EpochState::Retired), epoch(2, EpochState::Active)],
        root_escrow: Some(WrappedKey { nonce: [7; 12], ciphertext: [8; 32], tag: [9; 16] }),
        anchor: Some(binding(2, 5)),
        clock_high_water: 11,
        next_epoch: Epoch(3),
        rotations: vec![Completion {
            from: Epoch(1),
            to: Epoch(2),
            begun: 3,
            ended: 4,
            pages: 5,
            lost: 6,
        }],
        admin_mac: [13; 32],
    }
}

#[test]
fn fields_come_back_and_encode_to_the_same_bytes() {
    let mac_key = key(1);
    let bytes = example().encode(CopyId::B, &[7; 32], &mac_key);
    let unverified = UnverifiedHeader::decode(&bytes, CopyId::B).unwrap();
    assert_eq!(unverified.verify(&mac_key), Some(&example()));
    assert_eq!(unverified.verify(&key(2)), None, "another root key");
    assert_eq!(unverified.slots().count(), 2);
    assert_eq!((unverified.generation(), unverified.copy()), (Generation(3), CopyId::B));
    assert_eq!((unverified.file_id(), unverified.combined_roles()), (FileId([5; 16]), true));
    let salt: [u8; 32] = bytes[80..112].try_into().unwrap();
    assert_eq!(salt, [7; 32]);
    assert_eq!(example().encode(CopyId::B, &salt, &mac_key), bytes);
}

#[test]
fn every_changed_byte_is_torn_and_with_a_mended_crc_never_verifies() {
    let mac_key = key(1);
    let bytes = example().encode(CopyId::A, &[7; 32], &mac_key);
    for at in 0..HEADER_COPY_SIZE {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        assert!(UnverifiedHeader::decode(&changed, CopyId::A).is_err(), "byte {at}");
        if at < CRC_AT {
            let crc = UnverifiedHeader::crc(&changed[..CRC_AT]);
            changed[CRC_AT..].copy_from_slice(&crc);
            if let Ok(unverified) = UnverifiedHeader::decode(&changed, CopyId::A) {
                assert_eq!(unverified.verify(&mac_key), None, "byte {at}");
            }
        }
    }
}

#[test]
fn blank_foreign_and_swapped_copies_are_told_apart() {
    let blank = [0; HEADER_COPY_SIZE];
    assert_eq!(UnverifiedHeader::decode(&blank, CopyId::A).err(), Some(NotAHeader::Blank));
    let mut bytes = example().encode(CopyId::A, &[0; 32], &key(1));
    assert!(matches!(
        UnverifiedHeader::decode(&bytes, CopyId::B).err(),
        Some(NotAHeader::Malformed(_))
    ));
    bytes[16] = 2;
    assert_eq!(UnverifiedHeader::decode(&bytes, CopyId::A).err(), Some(NotAHeader::Version(2)));
    bytes[0] = b'r';
    assert_eq!(UnverifiedHeader::decode(&bytes, CopyId::A).err(), Some(NotAHeader::BadMagic));
    bytes[..512].fill(0);
    assert_eq!(UnverifiedHeader::decode(&bytes, CopyId::A).err(), Some(NotAHeader::Torn));
}

#[test]
fn the_admin_mac_covers_slots_and_policy_and_nothing_that_moves() {
    let mac_key = key(3);
    let header = example();
    let mac = header.admin_mac(&mac_key);
    let later = Header { generation: Generation(99), clock_high_water: 99, ..example() };
    assert_eq!(later.admin_mac(&mac_key), mac);
    let mut fewer = example();
    fewer.slots[11] = None;
    assert_ne!(fewer.admin_mac(&mac_key), mac);
    let mut laxer = example();
    laxer.policy.slots_min = 0;
    assert_ne!(laxer.admin_mac(&mac_key), mac);
    let bindings = [None, Some(binding(2, 6)), Some(binding(3, 5))];
    for anchor in bindings {
        assert_ne!(Header { anchor, ..example() }.admin_mac(&mac_key), mac);
    }
}

// What the decoder makes of a header after a change to what is encoded.
fn changed(change: fn(&mut Header)) -> Result<Header, NotAHeader> {
    let mut header = example();
    change(&mut header);
    let bytes = header.encode(CopyId::A, &[7; 32], &key(1));
    UnverifiedHeader::decode(&bytes, CopyId::A).map(|unverified| unverified.claims().clone())
}

#[test]
fn the_table_of_data_keys_is_in_order_with_one_active() {
    let compromised = changed(|header| header.epochs[0].state = EpochState::Compromised);
    assert_eq!(compromised.unwrap().epochs[0].state, EpochState::Compromised);
    for (what, change) in [
        ("two active", (|header| header.epochs[0].state = EpochState::Active) as fn(&mut Header)),
        ("none active", |header| header.epochs[1].state = EpochState::Retired),
        ("none", |header: &mut Header| header.epochs.clear()),
        ("epoch 0", |header| header.epochs[0].epoch = Epoch(0)),
        ("the epoch of lost pages", |header| {
            header.next_epoch = Epoch(u32::MAX);
            header.epochs[1].epoch = Epoch(u32::MAX);
        }),
        ("twice one epoch", |header| header.epochs[0].epoch = Epoch(2)),
        ("a next epoch that is in use", |header| header.next_epoch = Epoch(2)),
    ] {
        assert!(matches!(changed(change), Err(NotAHeader::Malformed(_))), "{what}");
    }
}

#[test]
fn a_gap_in_the_data_keys_and_a_half_removed_escrow_are_refused() {
    let refused = |change: &dyn Fn(&mut HeaderBytes)| {
        let header = Header { root_escrow: None, ..example() };
        let mut bytes = header.encode(CopyId::A, &[7; 32], &key(1));
        change(&mut bytes);
        let crc = UnverifiedHeader::crc(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc);
        UnverifiedHeader::decode(&bytes, CopyId::A).is_err()
    };
    assert!(!refused(&|_| ()));
    let second = SLOTS_END + EPOCH_SIZE..SLOTS_END + 2 * EPOCH_SIZE;
    let third = second.end;
    assert!(refused(&|bytes| {
        bytes.copy_within(second.clone(), third);
        bytes[second.clone()].fill(0);
    }));
    assert!(refused(&|bytes| bytes[EPOCHS_END + 4 + 59] = 1), "no escrow, and a byte of one");
}
